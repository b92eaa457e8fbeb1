"""Named starting points: each is the default run with some settings replaced.

What a recipe leaves at ``auto`` follows the data; see ``reslab.workbench.resolve``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reslab.catalog.names import find
from reslab.spec.run import RunSpec
from reslab.spec.text import Document, build, merge, nest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named starting point.

    Attributes:
        name: what ``--recipe`` takes.
        summary: what it is for, in a line.
        source: whose settings these are.
        changes: settings that differ from the defaults of ``RunSpec``, nested as in YAML.
    """

    name: str
    summary: str
    source: str
    changes: Mapping[str, Any] = field(default_factory=dict)


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="fast",
        summary="high accuracy in few epochs, adapted to the number of images; the default",
        source="reslab, tuned on validation images of Fashion-MNIST",
    ),
    Recipe(
        name="best",
        summary="higher accuracy on small images in 120 epochs, in two hours at most",
        source="reslab; resnet20, long, with random erasing: Zhong et al., arXiv 1708.04896",
        changes={
            "data": {"augment": {"erasing": 0.5}},
            "model": {"name": "resnet20", "shortcut": "B"},
            "training": {"epochs": 120, "time_limit": 7200.0},
        },
    ),
    Recipe(
        name="mnist-basic",
        summary="the hands-on note on handwritten digits, its settings taken literally",
        # Its optimiser, loss and normalisation are ours: docs/decisions/0005.
        source="study note N1.2 to N1.4",
        changes={
            "data": {
                "name": "mnist",
                "validation": 0,
                # The note mirrors digits, a questionable choice that is kept on purpose.
                "augment": {"pad": 4, "crop": 32, "flip": True},
            },
            "model": {"name": "resnet14", "shortcut": "conv3x3"},
            "training": {
                "epochs": 100,
                "batch_size": 32,
                "lr": 0.001,
                "optimizer": {"kind": "adam"},
                "weight_decay": 0.0,
                "schedule": {"kind": "constant"},
                "label_smoothing": 0.0,
            },
        },
    ),
    Recipe(
        name="paper",
        summary="the CIFAR-10 training of He et al.",
        source="arXiv 1512.03385, section 4.2: 64,000 steps of 128 of 45,000 images are 182 epochs",
        changes={
            "data": {
                "name": "cifar10",
                "validation": 5000,
                "augment": {"pad": 4, "flip": True},
            },
            "model": {"name": "resnet20"},
            "training": {
                "epochs": 182,
                "batch_size": 128,
                "lr": 0.1,
                "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": False},
                "weight_decay": 1e-4,
                "decay_norm_and_bias": True,
                "schedule": {"kind": "multistep", "milestones": [0.5, 0.75], "factor": 0.1},
                "label_smoothing": 0.0,
            },
        },
    ),
    Recipe(
        name="cifar100-steplr",
        summary="CIFAR-100 with a rate that drops in steps",
        # What the note leaves open follows the usual CIFAR training: docs/decisions/0005.
        source="study note N0.7: 0.1, times 0.2 every 60 epochs, 150 epochs",
        changes={
            "data": {
                "name": "cifar100",
                "augment": {"pad": 4, "flip": True},
            },
            "model": {"name": "resnet18"},
            "training": {
                "epochs": 150,
                "batch_size": 128,
                "lr": 0.1,
                "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": False},
                "weight_decay": 5e-4,
                "decay_norm_and_bias": True,
                "schedule": {"kind": "step", "every": 60, "factor": 0.2},
                "label_smoothing": 0.0,
            },
        },
    ),
)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: for an unknown name, with the nearest one.
    """
    return find(RECIPES, name, "recipe")


def recipe_document(name: str, *changes: Mapping[str, Any]) -> Document:
    """The recipe's settings as a nested mapping, with changes laid over them.

    Kinds are written out first, so that a change can see that it names another kind.
    """
    start = merge(RunSpec().model_dump(mode="json"), find_recipe(name).changes)
    return merge(start, {"recipe": name}, *changes)


def recipe(name: str = "fast", **overrides: Any) -> RunSpec:
    """A recipe as a specification.

    Args:
        name: see ``RECIPES``.
        overrides: sections as nested mappings, ``training={"epochs": 3}``, or dotted names,
            ``**{"training.epochs": 3}``.

    Raises:
        UserError: for an unknown recipe or settings that cannot be used.

    >>> recipe("paper", training={"epochs": 10}).training.schedule.kind
    'multistep'
    """
    changes = [nest(key, value) for key, value in overrides.items()]
    return build(RunSpec, recipe_document(name, *changes))
