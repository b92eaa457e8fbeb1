import os
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from reslab.errors import UserError
from reslab.models.create import create_model
from reslab.models.state_files import read_identity, read_safetensors, read_state
from reslab.models.weights import weights_to_bytes

STATE = {"conv1.weight": torch.randn(2, 3), "fc.bias": torch.arange(4.0)}


def same(found):
    return found.keys() == STATE.keys() and all(torch.equal(found[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
def test_what_torch_saved_comes_back(tmp_path, suffix):
    torch.save(STATE, tmp_path / f"w{suffix}")
    assert same(read_state(tmp_path / f"w{suffix}"))


def test_the_older_format_of_torch_too(tmp_path):
    torch.save(STATE, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same(read_state(tmp_path / "w.pth"))


def test_safetensors(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "w.safetensors")
    assert same(read_state(tmp_path / "w.safetensors"))


def test_the_best_weights_of_a_run(tmp_path):
    (tmp_path / "weights").mkdir()
    safetensors.torch.save_file(STATE, tmp_path / "weights" / "best.safetensors")
    assert same(read_state(tmp_path))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"state": {}}},
        lambda s: {"model_state_dict": s},
        lambda s: {"epoch": 1, "model": {"state_dict": s}},
        lambda s: {f"module.{name}": t for name, t in s.items()},
        lambda s: {"state_dict": {f"module._orig_mod.backbone.{name}": t for name, t in s.items()}},
        lambda s: {"state_dict": {f"model.{name}": t for name, t in s.items()}},
    ],
)
def test_what_others_wrap_around_is_taken_off(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "w.pth")
    assert same(read_state(tmp_path / "w.pth"))


def test_data_parallel_itself(tmp_path):
    net = nn.Linear(2, 2)
    torch.save(nn.DataParallel(net).state_dict(), tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth").keys() == net.state_dict().keys()


def test_a_prefix_that_only_some_names_have_is_part_of_them(tmp_path):
    state = {"module.weight": torch.zeros(1), "weight": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth").keys() == state.keys()


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
def test_a_file_that_would_run_code_runs_none(tmp_path, new):
    trap = tmp_path / "trap"
    path = tmp_path / "w.pth"
    torch.save(
        {"fc.bias": torch.zeros(1), "x": Hostile(trap)}, path, _use_new_zipfile_serialization=new
    )
    with pytest.raises(UserError, match=r"w.pth was refused: expected tensors alone, .*mkdir"):
        read_state(path)
    path.write_bytes(pickle.dumps(Hostile(trap)))
    with pytest.raises(UserError):
        read_state(path)
    assert not trap.exists()


def test_a_whole_pickled_net_is_refused_in_one_sentence(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"Linear, which reading .* would have to execute") as info:
        read_state(tmp_path / "w.pth")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "pickle"])
def test_no_cut_or_scrambled_file_gets_through(tmp_path, new):
    path = tmp_path / "w.pth"
    torch.save({"w": torch.randn(300)}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    damaged = [whole[: len(whole) * i // 16] for i in range(16)]
    damaged += [b"", b"\0" * 100, b"not weights at all", b"PK\x03\x04", b"\x80\x02."]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"w\.pth") as info:
            read_state(path)
        assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [torch.zeros(1)], torch.zeros(2), 5, {"state_dict": {}}]
)
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds no weights: expected tensors by name"):
        read_state(tmp_path / "w.pth")


def test_an_empty_safetensors_file_is_refused(tmp_path):
    safetensors.torch.save_file({}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="holds no weights"):
        read_state(tmp_path / "w.safetensors")


def test_a_dictionary_that_holds_itself_is_refused(tmp_path):
    endless = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no weights"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(2**20, 2**20),
        torch.zeros(2, device="meta"),
        torch.zeros(2).to_sparse(),
        torch.zeros(2, dtype=torch.float8_e4m3fn),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.int8),
    ],
    ids=["giant view", "meta", "sparse", "float8", "complex", "int8"],
)
def test_tensors_that_no_weight_is_are_refused(tmp_path, tensor):
    torch.save({"bn1.num_batches_tracked": torch.tensor(3), "w": tensor}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w in .* cannot be a weight: expected") as info:
        read_state(tmp_path / "w.pth")
    assert "\n" not in str(info.value)


def test_types_that_torch_has_not_are_refused(tmp_path):
    header = b'{"w":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(UserError, match="is not a safetensors file"):
        read_state(path)


def test_a_name_too_long_for_a_file_is_none(tmp_path):
    with pytest.raises(UserError, match="there are no weights at"):
        read_state(tmp_path / ("x" * 300))


def test_what_reslab_wrote_says_what_net_it_is_of(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_to_bytes(create_model("resnet14", activation="elu")))
    told = {"net": "resnet14", "shortcut": "A", "activation": "elu", "stride_in_1x1": "false"}
    assert read_identity(path) == told
    safetensors.torch.save_file(STATE, path)
    assert read_identity(path) == {}
    torch.save(STATE, tmp_path / "w.pth")
    assert read_identity(tmp_path / "w.pth") == {}
    for odd in ("[]", "no json", '"text"'):
        safetensors.torch.save_file(STATE, path, metadata={"reslab": odd})
        assert read_identity(path) == {}


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1), "b": torch.tensor([1.0, torch.inf])}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"are broken: received numbers that are not finite in b"):
        read_state(tmp_path / "w.pth")


def test_nothing_there(tmp_path):
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(UserError, match="there are no weights at"):
            read_state(path)


def test_damaged_safetensors(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"{}")
    with pytest.raises(UserError, match="is not a safetensors file"):
        read_state(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="cannot be read"):
        read_safetensors(tmp_path / "missing.safetensors")
