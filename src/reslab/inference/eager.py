"""The reference engine: the net as it is, in fp32, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from reslab.data.normalise import Normaliser
from reslab.data.pixels import Pixels
from reslab.engine.memory import is_out_of_memory, release
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.inference.engine import Forward, evaluation_mode

# Images of a batch: more are not faster on a CPU and take more memory than training does.
MOST_IMAGES = 128

# Pixels of a batch: large images come in smaller batches, which take the same memory.
_PIXELS = MOST_IMAGES * 128 * 128


class Eager:
    """The net itself, nothing copied."""

    def obstacle(self) -> str:
        """None: it is the reference."""
        return ""

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; takes batches of any size."""

        def forward(images_NCHW: Tensor) -> Tensor:
            with torch.inference_mode():
                outputs_ND: Tensor = model(runtime.place_images(images_NCHW)).float().cpu()
            return outputs_ND

        forward(images_NCHW)
        return forward


def compute_logits(
    model: nn.Module,
    pixels_NCHW: Pixels,
    normaliser: Normaliser,
    runtime: Runtime,
    *,
    first: int = 0,
    batch_size: int | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> npt.NDArray[np.float32]:
    """Logits (N, K) of uint8 images (N, C, H, W), in evaluation mode and fp32 throughout.

    Every module is put back into the mode that it was found in. Where memory turns out to be
    short, batches become smaller.

    Args:
        model: the net.
        pixels_NCHW: the images.
        normaliser: that of the net's training.
        runtime: the engine.
        first: the image to begin with.
        batch_size: images of a batch; None: 128, or fewer where they are large.
        on_batch: called before each batch; what it raises ends the work.

    Raises:
        UserError: where memory is too short for a single image.
        ReslabError: where a part of the model stays in training mode, in which batch norm
            would make an image's logits depend on its neighbours.
    """
    if len(pixels_NCHW) == 0:
        # Those of an image, without it: not every operation takes a batch of none.
        blank_NCHW = np.zeros((1, *pixels_NCHW.shape[1:]), np.uint8)
        return compute_logits(model, blank_NCHW, normaliser, runtime)[:0]
    size = batch_size or usual_batch(*pixels_NCHW.shape[2:])
    parts: list[Tensor] = []
    done = first
    with evaluation_mode(model), torch.inference_mode():
        while done < len(pixels_NCHW):
            on_batch()
            batch_NCHW = pixels_NCHW[done : done + size]
            logits_NK = _try_batch(model, normaliser(batch_NCHW), runtime)
            if logits_NK is not None:
                parts.append(logits_NK)
                done += len(batch_NCHW)
            elif len(batch_NCHW) == 1:
                raise UserError(
                    f"there is too little memory on {runtime.device} for a single image",
                    remedy="choose a smaller net or smaller images, or end what else uses it",
                )
            else:
                release(runtime.device)
                size = -(-len(batch_NCHW) // 2)
    found_NK: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return found_NK


def _try_batch(model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Tensor | None:
    """Logits on the CPU, or None where memory was too short."""
    try:
        logits_NK: Tensor = model(runtime.place_images(images_NCHW)).float().cpu()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    return logits_NK


def check_batch(size: int | None) -> None:
    """Refuse a batch of no images; None stands for the usual ones.

    Raises:
        UserError: where it is one.
    """
    if size is not None and size < 1:
        raise UserError(
            "a batch needs images",
            expected="a batch_size of 1 or more",
            received=str(size),
            remedy="leave it out to have it chosen",
        )


def usual_batch(rows: int, columns: int) -> int:
    """Images of a batch: as many as may be, or fewer where they are large.

    >>> usual_batch(28, 28), usual_batch(224, 224)
    (128, 41)
    """
    return max(1, min(MOST_IMAGES, _PIXELS // (rows * columns)))
