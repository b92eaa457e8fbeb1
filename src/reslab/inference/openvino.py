"""The net in OpenVINO, on the CPU."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from reslab.engine.machine import inspect_machine
from reslab.engine.runtime import Runtime
from reslab.inference.engine import Forward
from reslab.inference.folded import fold


class OpenVino:
    """OpenVINO's CPU plugin, by default in fp32 whatever the processor could do."""

    hint = "f32"

    def obstacle(self) -> str:
        """None beyond its package."""
        return ""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; compiles for this size of batch."""
        openvino = import_openvino()
        compiled = openvino.Core().compile_model(
            convert(model, images_NCHW),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self.hint,
                "INFERENCE_NUM_THREADS": runtime.threads,
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": "1",
                # Two processes with a thread each would pin them to the same CPU.
                "ENABLE_CPU_PINNING": runtime.threads >= inspect_machine().cpus,
            },
        )
        request = compiled.create_infer_request()

        def forward(images_NCHW: Tensor) -> Tensor:
            found = request.infer([images_NCHW.contiguous().numpy()], share_inputs=True)
            return torch.from_numpy(found[0])

        forward(images_NCHW)
        return forward


class OpenVinoBf16(OpenVino):
    """The same in bf16, which is faster where the processor has matrix tiles for it."""

    hint = "bf16"


def convert(model: nn.Module, images_NCHW: Tensor) -> Any:
    """The net as OpenVINO's model, for batches of exactly this shape.

    It is traced: one shape and no control flow need nothing better, and ``torch.export`` takes
    some seconds more.
    """
    openvino = import_openvino()
    folded = fold(model).cpu()
    with torch.no_grad(), warnings.catch_warnings():
        # torch would have us export, see above.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(folded, images_NCHW, check_trace=False)  # type: ignore[no-untyped-call]
        return openvino.convert_model(traced, input=[list(images_NCHW.shape)])


def import_openvino() -> Any:
    """OpenVINO without its reports of use to its maker, which it otherwise sends unasked."""
    with _hidden("openvino_telemetry"):
        import openvino  # noqa: PLC0415 - an extra
        import openvino.tools.ovc.convert_impl  # noqa: PLC0415
    return openvino


@contextlib.contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Within the context the package cannot be imported; what was imported before stays."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
