"""The workshop and laboratory for deep residual networks.

Names are loaded when they are first used, so that ``import reslab`` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reslab.data.arrays import ArraySource
    from reslab.errors import Interrupted, ReslabError, TrainingDiverged, UserError
    from reslab.models.blocks import Block
    from reslab.models.create import create_model, list_models
    from reslab.models.pretrained import load_weights
    from reslab.models.resnet import ResNet
    from reslab.spec.recipes import recipe
    from reslab.spec.run import RunSpec
    from reslab.tracking.tracker import tracker
    from reslab.workbench.cross_validate import cross_validate, resume_folds
    from reslab.workbench.quantize import quantize_run
    from reslab.workbench.resume import resume
    from reslab.workbench.run import Run, load_run
    from reslab.workbench.train import train

__version__ = "0.1.0.dev0"

__all__ = [
    "ArraySource",
    "Block",
    "Interrupted",
    "ResNet",
    "ReslabError",
    "Run",
    "RunSpec",
    "TrainingDiverged",
    "UserError",
    "create_model",
    "cross_validate",
    "list_models",
    "load_run",
    "load_weights",
    "quantize_run",
    "recipe",
    "resume",
    "resume_folds",
    "tracker",
    "train",
]

_HOMES = {
    "ArraySource": "reslab.data.arrays",
    "Block": "reslab.models.blocks",
    "Interrupted": "reslab.errors",
    "ResNet": "reslab.models.resnet",
    "ReslabError": "reslab.errors",
    "Run": "reslab.workbench.run",
    "RunSpec": "reslab.spec.run",
    "TrainingDiverged": "reslab.errors",
    "UserError": "reslab.errors",
    "create_model": "reslab.models.create",
    "cross_validate": "reslab.workbench.cross_validate",
    "list_models": "reslab.models.create",
    "load_run": "reslab.workbench.run",
    "load_weights": "reslab.models.pretrained",
    "quantize_run": "reslab.workbench.quantize",
    "recipe": "reslab.spec.recipes",
    "resume": "reslab.workbench.resume",
    "resume_folds": "reslab.workbench.cross_validate",
    "tracker": "reslab.tracking.tracker",
    "train": "reslab.workbench.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'reslab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
