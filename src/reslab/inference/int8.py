"""An int8 model that was made of a net before, in OpenVINO on the CPU.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from reslab.data.normalise import Normaliser
from reslab.data.pixels import Pixels
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.inference.eager import usual_batch
from reslab.inference.engine import Forward, fill_up
from reslab.inference.openvino import compile_model, import_openvino


@dataclass(frozen=True)
class Quantized:
    """An int8 model, and how far it is known to differ from its net.

    Attributes:
        xml: OpenVINO's description of it, for batches of any size.
        numbers: what the description refers to.
        changed: images of those that it was judged on to which it gave another class.
        images: that it was judged on.
    """

    xml: bytes
    numbers: bytes
    changed: int = 0
    images: int = 0


class OpenVinoInt8:
    """OpenVINO's CPU plugin: int8 where the model says so, fp32 elsewhere.

    Args:
        quantized: the model; None: there is none.
    """

    def __init__(self, quantized: Quantized | None = None) -> None:
        self._quantized = quantized

    def obstacle(self) -> str:
        """None beyond its package; whether there is a model is a question of the run."""
        return ""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; the net itself is not looked at.

        Raises:
            ReslabError: where there is no model, or one that cannot be read or takes other images.
        """
        del model
        if self._quantized is None:
            raise ReslabError("there is no int8 model of it")
        try:
            quantized = (
                import_openvino()
                .Core()
                .read_model(model=self._quantized.xml, weights=self._quantized.numbers)
            )
            # One size of batch is faster than any.
            quantized.reshape(list(images_NCHW.shape))
            return compile_model(quantized, images_NCHW, runtime)
        except Exception as error:
            text = " ".join(str(error).split()) or type(error).__name__
            # It tells its own source lines first, and what was wrong last.
            text = re.sub(r"^.*\.cpp:\d+:? ", "", text)[-200:]
            raise ReslabError(f"OpenVINO cannot use the int8 model: {text}") from error


def compute_int8(
    quantized: Quantized,
    pixels_NCHW: Pixels,
    normaliser: Normaliser,
    runtime: Runtime,
) -> npt.NDArray[np.float32]:
    """What an int8 model gives for all images (N, C, H, W): its logits (N, K).

    Args:
        quantized: the model.
        pixels_NCHW: one image at least.
        normaliser: that of the net's training.
        runtime: its threads are used; on the CPU.

    Raises:
        ReslabError: where the model cannot be used.
    """
    size = min(usual_batch(*pixels_NCHW.shape[2:]), len(pixels_NCHW))
    first_NCHW = normaliser(pixels_NCHW[:size])
    forward = OpenVinoInt8(quantized).prepare(nn.Identity(), first_NCHW, runtime)
    parts = []
    for done in range(0, len(pixels_NCHW), size):
        batch_NCHW = pixels_NCHW[done : done + size]
        logits_NK = forward(normaliser(fill_up(batch_NCHW, size))).numpy()
        parts.append(logits_NK[: len(batch_NCHW)])
    return np.concatenate(parts)
