from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from reslab.inference.signal_stack import _Stack, kept_signal_stack

linux = pytest.mark.skipif(sys.platform != "linux", reason="there it has no use")


def own() -> tuple[int | None, int, int]:
    found = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found.sp, found.flags, found.size


@linux
@pytest.mark.parametrize("fails", [False, True])
def test_what_was_there_is_put_back(fails: bool) -> None:
    room = ctypes.create_string_buffer(2**16)
    other = _Stack(ctypes.addressof(room), 0, len(room))
    before = own()
    try:
        with kept_signal_stack():
            ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None)
            assert own() == (ctypes.addressof(room), 0, len(room))
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert own() == before


PROGRAM = """
import signal, sys, torch
from reslab.engine.runtime import Runtime
from reslab.inference.openvino import OpenVino
from reslab.models.create import create_model
net, images = create_model("resnet14", in_channels=1).eval(), torch.rand(2, 1, 8, 8)
models = [OpenVino().prepare(net, images, Runtime(threads=1)) for _ in range(2)]
while models:
    del models[0]
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@linux
def test_ctrl_c_is_heard_after_models_were_deleted_in_any_order() -> None:
    pytest.importorskip("openvino")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
