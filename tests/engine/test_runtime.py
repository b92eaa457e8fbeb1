import subprocess
import sys

import pytest
import torch
from torch import nn

from reslab.engine.runtime import Runtime, keep_freed_memory
from reslab.errors import UserError
from reslab.ops.native import Found, Kernels, active_kernels

EXPECTED_FORMAT = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_convolutions_run_in_the_precision_and_weights_stay_fp32(precision, dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    seen = []
    model[0].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    with Runtime(precision=precision).autocast():
        model(torch.randn(2, 3, 5, 5)).float().sum().backward()
    assert seen == [dtype]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_autocast_ends_with_its_context():
    runtime = Runtime(precision="bf16")
    for _ in range(2):
        with runtime.autocast():
            assert torch.is_autocast_enabled("cpu")
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_images_are_placed_in_the_layout_with_their_values(memory_format):
    images = torch.randn(2, 3, 4, 5)
    for start in (images, images.to(memory_format=torch.channels_last)):
        placed = Runtime(memory_format=memory_format).place_images(start)
        assert torch.equal(placed, images)
        assert placed.is_contiguous(memory_format=EXPECTED_FORMAT[memory_format])


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_the_model_is_placed_in_the_layout_with_its_values(memory_format):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    placed = Runtime(memory_format=memory_format).place_model(model)
    assert placed is model
    assert all(torch.equal(before[name], t) for name, t in placed.state_dict().items())
    assert placed[0].weight.is_contiguous(memory_format=EXPECTED_FORMAT[memory_format])


def test_other_tensors_are_placed_as_they_are():
    labels = torch.arange(5)
    assert torch.equal(Runtime().place(labels), labels)
    assert Runtime(device="meta").place(labels).device.type == "meta"
    assert Runtime(device="meta").place_images(torch.zeros(1, 3, 2, 2)).device.type == "meta"


def test_without_compilation_the_model_is_called_as_it_is():
    model = nn.Linear(2, 2)
    assert Runtime(compile=False).compiled(model) is model


def test_a_compiled_model_shares_its_weights():
    model = nn.Linear(2, 2)
    compiled = Runtime(compile=True).compiled(model)
    assert compiled is not model
    for mine, theirs in zip(model.parameters(), compiled.parameters(), strict=True):
        assert mine is theirs


def test_threads_are_set_while_active_and_put_back():
    before = torch.get_num_threads()
    for threads in (1, 2):
        with pytest.raises(RuntimeError), Runtime(threads=threads).active():
            assert torch.get_num_threads() == threads
            raise RuntimeError
        assert torch.get_num_threads() == before


def test_waiting_for_the_cpu_returns_at_once():
    Runtime().synchronize()


# In a process of its own: what others have left of the heap decides where the blocks come from.
KEEPS = """
import ctypes, resource, sys
from reslab.engine.runtime import keep_freed_memory

if not keep_freed_memory():
    sys.exit("the C library is not glibc")
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
size = 40 * 2**20  # above the 32 MiB up to which glibc's own threshold can rise

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
    ctypes.memset(block, 1, size)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(sum(faults() for _ in range(5)) / (size / resource.getpagesize()))
"""


def test_freed_memory_is_kept():
    done = subprocess.run(
        [sys.executable, "-c", KEEPS], capture_output=True, text=True, check=False
    )
    if "not glibc" in done.stderr:
        pytest.skip("the C library is not glibc")
    # Given back and fetched anew, each of the five would cost a fault for each page.
    assert float(done.stdout) < 1, done.stderr


def test_elsewhere_than_on_linux_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert keep_freed_memory() is False


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", absent)
    monkeypatch.setattr(sys, "platform", "linux")
    assert keep_freed_memory() is False


def test_kernels_are_on_within_the_context_only(monkeypatch):
    kernels = Kernels(library=None, lanes=16, level="some", compiler="g++ 12")
    monkeypatch.setattr("reslab.engine.runtime.find_kernels", lambda: Found(kernels, "built"))
    with Runtime(kernels="reslab").active():
        assert active_kernels() is kernels
        with Runtime(kernels="torch").active():
            assert active_kernels() is None
        assert active_kernels() is kernels
    assert active_kernels() is None


def test_kernels_that_are_gone_are_told_before_anything_begins(monkeypatch):
    monkeypatch.setattr("reslab.engine.runtime.find_kernels", lambda: Found(None, "no compiler"))
    threads = torch.get_num_threads()
    with (
        pytest.raises(UserError, match=r"no compiler; install a C\+\+ .*kernels: torch"),
        Runtime(kernels="reslab", threads=threads + 1).active(),
    ):
        pass
    assert torch.get_num_threads() == threads


def test_mkl_chooses_no_threads_by_itself_even_where_their_number_stays():
    code = """
import ctypes, sys, torch
from pathlib import Path
from reslab.engine.runtime import Runtime
library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
if not hasattr(library, "mkl_serv_get_dynamic"):
    sys.exit(77)
before = library.mkl_serv_get_dynamic()
with Runtime(threads=torch.get_num_threads()).active():
    print(before, library.mkl_serv_get_dynamic())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 77 or sys.platform != "linux":
        pytest.skip("torch has no MKL here")
    assert done.stdout.split() == ["1", "0"], done.stderr
