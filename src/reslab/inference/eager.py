"""The reference engine: the net as it is, in fp32, a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError


def compute_logits(
    model: nn.Module,
    pixels_NCHW: npt.NDArray[np.uint8],
    normaliser: Normaliser,
    runtime: Runtime,
    *,
    batch_size: int = 500,
) -> npt.NDArray[np.float32]:
    """Logits (N, K) of uint8 images (N, C, H, W), in evaluation mode and fp32 throughout.

    Every module is put back into the mode that it was found in.

    Raises:
        ReslabError: where a part of the model stays in training mode, in which batch norm
            would make an image's logits depend on its neighbours.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        if any(module.training for module in model.modules()):
            raise ReslabError("a part of the net cannot be put into evaluation mode")
        with torch.inference_mode():
            parts = [
                model(runtime.place_images(normaliser(pixels_NCHW[i : i + batch_size])))
                .float()
                .cpu()
                for i in range(0, len(pixels_NCHW), batch_size)
            ]
    finally:
        for module, was_training in modes.items():
            module.training = was_training
    logits_NK: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return logits_NK
