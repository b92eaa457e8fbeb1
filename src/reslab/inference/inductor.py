"""The folded net compiled by torch's inductor, its weights frozen into the code."""

from __future__ import annotations

import os
import sys

import torch
from torch import Tensor, nn

from reslab.engine.runtime import Runtime
from reslab.inference.engine import Forward
from reslab.inference.folded import fold
from reslab.ops.compiler import find_compilers, no_compiler


class Inductor:
    """``torch.compile`` with freezing and static shapes."""

    def obstacle(self) -> str:
        """Inductor writes C++, which somebody has to compile."""
        usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
        named = os.environ.get("CXX", "")
        return "" if find_compilers(named, [usual]) else no_compiler(named, [usual])

    def prepare(self, model: nn.Module, images_NCHW: Tensor, runtime: Runtime) -> Forward:
        """See ``Engine``; compiles for this size of batch and this number of threads."""
        folded = runtime.place_model(fold(model))
        compiled = torch.compile(folded, dynamic=False, options={"freezing": True})

        def forward(images_NCHW: Tensor) -> Tensor:
            # Compiled under one mode, it would be compiled again under another.
            with torch.inference_mode():
                outputs_ND: Tensor = compiled(runtime.place_images(images_NCHW)).float().cpu()
            return outputs_ND

        # Beyond its limit dynamo would leave the net as it is without a word.
        with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
            forward(images_NCHW)
        return forward
