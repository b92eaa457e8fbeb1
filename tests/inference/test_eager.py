import numpy as np
import pytest
import torch
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError, UserError
from reslab.inference.eager import check_batch, compute_logits
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet

MEAN, SD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NORMALISER = Normaliser(MEAN, SD)
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 3, 7, 7)).astype(np.uint8)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (1, 1), (4, 8), num_classes=3, stem="small", shortcut="B")
    for _ in range(3):  # running statistics other than those it starts with
        model(torch.randn(8, 3, 7, 7) * 2 + 1)
    return model


def by_hand(model):
    """The same in fp64, on a normalisation written out."""
    images = (PIXELS / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(SD, (3, 1, 1))
    with torch.no_grad():
        logits = model.double().eval()(torch.from_numpy(images))
    return logits.numpy()


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 500])
def test_logits_are_those_of_the_net_for_any_batch_size(model, memory_format, batch_size):
    logits = compute_logits(
        model, PIXELS, NORMALISER, Runtime(memory_format=memory_format), batch_size=batch_size
    )
    assert logits.shape == (11, 3)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, by_hand(model), rtol=1e-4, atol=1e-5)


def test_batches_are_of_the_asked_size_in_order(model):
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    together = compute_logits(model, PIXELS, NORMALISER, Runtime())
    assert sizes == [11]
    apart = compute_logits(model, PIXELS, NORMALISER, Runtime(), batch_size=4)
    assert sizes == [11, 4, 4, 3]
    np.testing.assert_allclose(apart, together, rtol=0, atol=1e-5)


def test_no_images_give_no_rows(model):
    found = compute_logits(model, PIXELS[:0], NORMALISER, Runtime())
    assert (found.shape, found.dtype) == ((0, 3), np.float32)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_no_images_is_refused(size):
    for good in (None, 1):
        check_batch(good)
    with pytest.raises(UserError, match=f"expected a batch_size of 1 or more, received {size}"):
        check_batch(size)


def test_where_memory_is_short_batches_become_smaller(model):
    plain = compute_logits(model, PIXELS, NORMALISER, Runtime())
    sizes = []

    def fail(_, args):
        sizes.append(len(args[0]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    planted = model.register_forward_pre_hook(fail)
    found = compute_logits(model, PIXELS, NORMALISER, Runtime())
    assert sizes == [11, 6, 3, 3, 3, 2]
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-5)
    planted.remove()

    def never(_, args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    model.register_forward_pre_hook(never)
    with pytest.raises(UserError, match="too little memory on cpu for a single image"):
        compute_logits(model, PIXELS, NORMALISER, Runtime())


def test_each_batch_is_computed_exactly_as_the_net_would(model):
    logits = compute_logits(
        model, PIXELS, NORMALISER, Runtime(memory_format="contiguous"), batch_size=4
    )
    model.eval()
    with torch.no_grad():
        expected = torch.cat([model(NORMALISER(PIXELS[i : i + 4])) for i in (0, 4, 8)])
    np.testing.assert_array_equal(logits, expected.numpy())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_restored_and_nothing_in_the_net_changes(model, training):
    model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compute_logits(model, PIXELS, NORMALISER, Runtime())
    assert {module.training for module in model.modules()} == {training}
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_the_mode_is_restored_after_a_failure(model):
    model.train()
    with pytest.raises(UserError):
        compute_logits(model, PIXELS[:, :1], Normaliser(MEAN[:1], SD[:1]), Runtime())
    assert model.training


def test_evaluation_stays_in_fp32_when_training_is_in_bf16(model):
    seen = []
    model.conv1.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    half = compute_logits(model, PIXELS, NORMALISER, Runtime(precision="bf16"))
    assert seen == [torch.float32]
    np.testing.assert_array_equal(half, compute_logits(model, PIXELS, NORMALISER, Runtime()))


def test_no_graph_is_kept(model):
    seen = []
    model.fc.register_forward_hook(lambda _, __, out: seen.append(out.requires_grad))
    compute_logits(model, PIXELS, NORMALISER, Runtime())
    assert seen == [False]


def test_a_net_that_keeps_a_part_in_training_mode_is_refused():
    class Stubborn(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(True)

    with pytest.raises(ReslabError, match="evaluation mode"):
        compute_logits(nn.Sequential(Stubborn(3)), PIXELS, NORMALISER, Runtime())
