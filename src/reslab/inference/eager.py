"""The reference engine: the net as it is, in fp32, a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime


def compute_logits(
    model: nn.Module,
    pixels_NCHW: npt.NDArray[np.uint8],
    normaliser: Normaliser,
    runtime: Runtime,
    *,
    batch_size: int = 500,
) -> npt.NDArray[np.float32]:
    """Logits (N, K) of uint8 images (N, C, H, W), in evaluation mode and fp32 throughout.

    The model is put back into the mode that it was found in.
    """
    was_training = model.training
    model.eval()
    # Batch norm that still counts batch statistics would make an image's logits depend on
    # its neighbours; a net of one's own may keep a part of itself in training mode.
    assert not any(module.training for module in model.modules())
    try:
        with torch.inference_mode():
            parts = [
                model(runtime.place_images(normaliser(pixels_NCHW[i : i + batch_size])))
                .float()
                .cpu()
                for i in range(0, len(pixels_NCHW), batch_size)
            ]
    finally:
        model.train(was_training)
    logits_NK: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return logits_NK
