import re

import pytest
import safetensors.torch
import torch

from reslab.errors import UserError
from reslab.models.create import create_model
from reslab.models.weights import restore_weights, weights_to_bytes


def trained(seed=0, **options):
    """A net whose buffers are no longer those it starts with."""
    torch.manual_seed(seed)
    model = create_model("resnet14", in_channels=1, **options)
    model(torch.randn(4, 1, 8, 8))
    return model


def same(model, other):
    a, b = model.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_weights_come_back_bit_for_bit(tmp_path, layout):
    model = trained().to(memory_format=layout)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(weights_to_bytes(model))
    other = trained(seed=1).to(memory_format=layout)
    assert not same(model, other)
    restore_weights(other, path)
    assert same(model, other)
    assert other.conv1.weight.is_contiguous(memory_format=layout)


def test_bytes_do_not_depend_on_the_layout():
    model = trained()
    before = weights_to_bytes(model)
    assert weights_to_bytes(model.to(memory_format=torch.channels_last)) == before


def test_saving_leaves_the_model_in_its_layout():
    model = trained().to(memory_format=torch.channels_last)
    weights_to_bytes(model)
    assert model.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_file_is_plain_safetensors_with_the_names_of_the_state_dict():
    model = trained()
    read = safetensors.torch.load(weights_to_bytes(model))
    assert read.keys() == model.state_dict().keys()
    assert torch.equal(read["layer3.1.bn2.running_var"], model.layer3[1].bn2.running_var)
    assert read["bn1.num_batches_tracked"].item() == 1


@pytest.fixture(scope="module")
def spoilt_files():
    whole = weights_to_bytes(trained())
    return {
        "missing": None,
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "header cut": whole[:100],
        "last byte gone": whole[:-1],
        "text": b"these are not weights, but a line of text\n" * 20,
        "deeper net": weights_to_bytes(create_model("resnet20", in_channels=1)),
        "shallower shape": weights_to_bytes(trained(num_classes=5)),
        "other channels": weights_to_bytes(create_model("resnet14", in_channels=3)),
        "one tensor more": safetensors.torch.save(
            {**trained().state_dict(), "extra": torch.zeros(1)}
        ),
    }


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "cannot be read: received no such file"),
        ("empty", "is not a safetensors file: received"),
        ("half", "is not a safetensors file: received"),
        ("header cut", "is not a safetensors file: received"),
        ("last byte gone", "is not a safetensors file: received"),
        ("text", "is not a safetensors file: received"),
        ("deeper net", "holds the weights of another net: received"),
        ("shallower shape", "another net: received 2 tensors that differ, fc.bias among them"),
        ("other channels", "another net: received 1 tensors that differ, conv1.weight among"),
        ("one tensor more", "another net: received 1 tensors that differ, extra among them"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(
    tmp_path, spoilt_files, kind, text
):
    path = tmp_path / "weights.safetensors"
    content = spoilt_files[kind]
    if content is not None:
        path.write_bytes(content)
    model = trained(seed=1)
    with pytest.raises(UserError, match=text) as caught:
        restore_weights(model, path)
    assert re.search(re.escape(str(path)), str(caught.value))
    assert "; " in str(caught.value), "the remedy is missing"
    assert same(model, trained(seed=1))


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        restore_weights(trained(), tmp_path)
