"""The net in ONNX Runtime, on the CPU."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import torch
from torch import Tensor, nn

from reslab.engine.runtime import Runtime
from reslab.inference.engine import Forward
from reslab.inference.folded import fold


class OnnxRuntime:
    """ONNX Runtime's CPU provider, which computes in fp32."""

    def obstacle(self) -> str:
        """None beyond its packages."""
        return ""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; exports for this size of batch."""
        import onnxruntime  # noqa: PLC0415 - an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = runtime.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            to_onnx(model, images_NCHW), options, providers=["CPUExecutionProvider"]
        )
        (name,) = (entry.name for entry in session.get_inputs())

        def forward(images_NCHW: Tensor) -> Tensor:
            (outputs_ND,) = session.run(None, {name: images_NCHW.contiguous().numpy()})
            return torch.from_numpy(outputs_ND)

        forward(images_NCHW)
        return forward


def to_onnx(model: nn.Module, images_NCHW: Tensor) -> bytes:
    """The net in ONNX's format, for batches of exactly this shape."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # The exporter tells its steps on standard output, which may be somebody's JSON.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(fold(model).cpu(), (images_NCHW,), dynamo=True)
    finally:
        logger.setLevel(level)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content
