"""The rules by which ``auto`` is decided: plain functions of what was asked and found.

Rules that the machine decides alone are in ``reslab.engine``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reslab.catalog.nets import Stem
from reslab.engine import machine as machines
from reslab.engine.memory import free_memory, memory_of
from reslab.engine.need import StepNeed, choose_checkpoint_segments, choose_micro_batches
from reslab.errors import UserError
from reslab.models.create import find_net
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import EngineSpec, EvaluationSpec, ModelSpec, TrainingSpec
from reslab.spec.schedules import ScheduleSpec
from reslab.spec.text import Document

# Below this side, in pixels, the imagenet stem would leave too little to see.
SMALL_STEM_BELOW = 96


def decide_evaluation(asked: EvaluationSpec, *, flip: bool) -> Document:
    """Whether mirror images are looked at; ``flip``: whether the net learns from such."""
    return {"flip": flip if asked.flip == "auto" else asked.flip}


def decide_class_weights(
    asked: tuple[float, ...] | str | None, labels_N: npt.NDArray[np.int64], classes: Sequence[str]
) -> list[float] | None:
    """What the losses of each class are multiplied by.

    Balanced weights are in inverse proportion to the images of a class, with a mean of 1 over
    the images (King and Zeng 2001); a class without images has 0.

    Args:
        asked: numbers, ``balanced``, or None.
        labels_N: of the training images.
        classes: their names.

    Raises:
        UserError: for another number of weights than classes.
    """
    if asked is None:
        return None
    if isinstance(asked, str):
        counts = np.bincount(labels_N, minlength=len(classes))
        present = (counts > 0).sum()
        return [len(labels_N) / (present * count) if count else 0.0 for count in counts.tolist()]
    if len(asked) != len(classes):
        raise UserError(
            "training.class_weights must have a number for each class",
            expected=f"{len(classes)}, for {', '.join(classes[:12])}",
            received=str(len(asked)),
            remedy="set training.class_weights=balanced to have them computed",
        )
    return list(asked)


def doubt_balance(run: ResolvedRun) -> list[str]:
    """A warning where rare classes are favoured twice."""
    if run.data.sampling == "natural" or run.training.class_weights is None:
        return []
    return [
        "data.sampling=balanced and training.class_weights both favour rare classes, which "
        "together is more than balance"
    ]


def decide_training(asked: TrainingSpec, images: int, validation: int) -> Document:
    """Epochs, batch size and rate as numbers.

    Args:
        asked: what was asked for.
        images: to train on.
        validation: images to choose by.

    Raises:
        UserError: for a batch of more images than there are, a schedule that outlasts the
            training, or patience with what cannot be seen.
    """
    batch_size = _auto_batch_size(images) if asked.batch_size == "auto" else asked.batch_size
    if batch_size > images:
        raise UserError(
            f"training.batch_size is larger than the {images} training images",
            expected=f"at most {images}",
            received=str(batch_size),
            remedy="set training.batch_size=auto",
        )
    if asked.patience is not None and validation == 0:
        raise UserError(
            "training.patience needs validation images, and there are none",
            remedy="set data.validation, or training.patience=null",
        )
    if asked.min_delta and asked.patience is None:
        raise UserError(
            "training.min_delta has no meaning without training.patience",
            remedy="set training.patience=5, or leave training.min_delta out",
        )
    epochs = _auto_epochs(images) if asked.epochs == "auto" else asked.epochs
    _check_schedule(asked.schedule, epochs)
    return {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": _auto_lr(asked.optimizer.kind, batch_size) if asked.lr == "auto" else asked.lr,
    }


def _check_schedule(schedule: ScheduleSpec, epochs: int) -> None:
    """Refuse what would never happen within the training."""
    late = {
        "warmup_epochs": [getattr(schedule, "warmup_epochs", 0)],
        "milestones": getattr(schedule, "milestones", ()),
    }
    for name, values in late.items():
        if any(value >= epochs and value >= 1 for value in values):
            raise UserError(
                f"training.schedule.{name} lies beyond the end of training",
                expected=f"less than {epochs} epochs",
                received=str(max(values)),
                remedy="train for more epochs",
            )


def _auto_batch_size(images: int) -> int:
    """32 to 256, so that an epoch has at least forty steps where the images allow it."""
    batch_size = 32
    while batch_size < 256 and images >= 80 * batch_size:
        batch_size *= 2
    return min(batch_size, images)


def _auto_epochs(images: int) -> int:
    """As many as show about 440,000 images, within 8 to 30."""
    return max(8, min(30, round(440_000 / images)))


def _auto_lr(optimizer: str, batch_size: int) -> float:
    """For SGD in proportion to the batch size (Goyal et al., arXiv 1706.02677)."""
    if optimizer == "sgd":
        return 0.4 * batch_size / 256
    # Muon's is a share of a kernel's norm, of which batches of any size may take as much.
    return 0.05 if optimizer == "muon" else 0.001


def decide_model(asked: ModelSpec, image_size: int) -> Document:
    """Arguments of ``create_model`` for images of that side, classes and channels left out."""
    name = asked.name
    if name == "auto":
        name = "resnet14" if image_size < SMALL_STEM_BELOW else "resnet18"
    net = find_net(name)
    by_size: Stem = "small" if image_size < SMALL_STEM_BELOW else net.stem
    return {
        **asked.model_dump(),
        "name": name,
        "shortcut": net.shortcut if asked.shortcut == "auto" else asked.shortcut,
        "stem": by_size if asked.stem == "auto" else asked.stem,
    }


def decide_memory(asked: EngineSpec, need: StepNeed, device: str) -> list[machines.Choice]:
    """What is done for a step to fit into the device's memory, with reasons.

    Raises:
        UserError: where there is too little for any.
    """
    free = free_memory(device)
    segments = choose_checkpoint_segments(
        asked.checkpoint_segments, need, memory=memory_of(device), free=free
    )
    parts = choose_micro_batches(asked.micro_batches, need, segments=int(segments.value), free=free)
    return [segments, parts]


def choose_engine(asked: EngineSpec) -> list[machines.Choice]:
    """Device, precision, layout, threads and kernels on this machine, with reasons.

    Raises:
        UserError: where the machine lacks what was asked for.
    """
    machine = machines.inspect_machine()
    device = machines.choose_device(machine, asked.device)
    precision = machines.choose_precision(machine, str(device.value), asked.precision)
    layout = machines.choose_memory_format(str(device.value), asked.memory_format)
    kernels = machines.choose_kernels(
        asked.kernels,
        device=str(device.value),
        precision=str(precision.value),
        memory_format=str(layout.value),
        compiled=asked.compile,
    )
    return [
        device,
        precision,
        layout,
        machines.choose_threads(machine, asked.threads),
        kernels,
    ]
