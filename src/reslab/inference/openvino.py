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
from reslab.inference.signal_stack import kept_signal_stack


class OpenVino:
    """OpenVINO's CPU plugin, by default in fp32 whatever the processor could do."""

    hint = "f32"

    def obstacle(self) -> str:
        """None beyond its package."""
        return ""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; compiles for this size of batch."""
        return compile_model(convert(model, images_NCHW), images_NCHW, runtime, hint=self.hint)


class OpenVinoBf16(OpenVino):
    """The same in bf16, which is faster where the processor has matrix tiles for it."""

    hint = "bf16"


def convert(model: nn.Module, images_NCHW: Tensor, *, any_batch: bool = False) -> Any:
    """The net as OpenVINO's model, for images of exactly this shape.

    It is traced: one shape and no control flow need nothing better, and ``torch.export`` takes
    some seconds more.

    Args:
        model: the net, in evaluation mode.
        images_NCHW: normalised images, as many as a batch has.
        any_batch: leave open how many they are; such a model is reshaped before it is compiled.
    """
    openvino = import_openvino()
    folded = fold(model).cpu()
    shape = [-1 if any_batch else len(images_NCHW), *images_NCHW.shape[1:]]
    with torch.no_grad(), warnings.catch_warnings():
        # torch would have us export, see above.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(folded, images_NCHW, check_trace=False)  # type: ignore[no-untyped-call]
        return openvino.convert_model(traced, input=[shape])


def compile_model(
    converted: Any, images_NCHW: Tensor, runtime: Runtime, *, hint: str = "f32"
) -> Forward:
    """OpenVINO's model made ready for batches like these, and called once.

    Args:
        converted: OpenVINO's model, for images of this shape.
        images_NCHW: a batch as ``Forward`` takes it.
        runtime: its threads are used.
        hint: ``f32`` or ``bf16``: what is computed in where the model itself says nothing.
    """
    with kept_signal_stack():
        compiled = (
            import_openvino()
            .Core()
            .compile_model(
                converted,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": hint,
                    "INFERENCE_NUM_THREADS": runtime.threads,
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": "1",
                    # Two processes with a thread each would pin them to the same CPU.
                    "ENABLE_CPU_PINNING": runtime.threads >= inspect_machine().cpus,
                },
            )
        )
    request = compiled.create_infer_request()

    def forward(images_NCHW: Tensor) -> Tensor:
        # The only input by itself: it takes longer in a list.
        found = request.infer(images_NCHW.contiguous().numpy(), share_inputs=True)
        return torch.from_numpy(found[0])

    forward(images_NCHW)
    return forward


def import_openvino() -> Any:
    """OpenVINO without its reports of use to its maker, which it otherwise sends unasked."""
    with without_reports():
        import openvino  # noqa: PLC0415 - an extra
        import openvino.tools.ovc.convert_impl  # noqa: PLC0415
    return openvino


@contextlib.contextmanager
def without_reports() -> Iterator[None]:
    """Within the context the package that reports use to OpenVINO's maker cannot be imported.

    What is imported meanwhile does without it for good; afterwards it is there as it was before.
    """
    package = "openvino_telemetry"
    before = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[package]
        else:
            sys.modules[package] = before
