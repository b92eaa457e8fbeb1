"""What will be done: the asked-for run with nothing left open, and the facts it rests on.

The classes narrow those of ``reslab.spec.run``: where those allow ``auto``, these do not.
A resolved run is stored as run.yaml and never decided again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from reslab.catalog.datasets import Background
from reslab.catalog.names import check_name
from reslab.catalog.nets import NETS, Shortcut, Stem
from reslab.errors import UserError
from reslab.spec.data import AugmentSpec, DataSpec
from reslab.spec.run import EngineSpec, EvaluationSpec, ModelSpec, RunSpec, SeedSpec, TrainingSpec
from reslab.spec.text import Document
from reslab.spec.values import Count, Frozen, NonNegative, Seed

FORMAT: Literal[2] = 2

# Those that ``upgrade`` knows.
_OLDER = (1,)


class ResolvedAugment(AugmentSpec):
    """Augmentation in pixels."""

    pad: Annotated[int, Field(ge=0, le=64)]
    crop: Count
    # Runs from before the settings had black and plain crops.
    fill: Background = "black"
    flip: bool
    resized: Annotated[float, Field(gt=0, le=1)] = 1.0


class ResolvedData(DataSpec):
    """The split as a count. The name may be that of a data set of one's own."""

    validation: Annotated[int, Field(ge=0)]
    # Runs from before the settings had black; None: their facts tell the size.
    background: Background = "black"
    image_size: Count | None = None  # type: ignore[assignment]
    augment: ResolvedAugment

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        # Replaces the check of the same name that a specification as asked for has.
        return name


class ResolvedModel(ModelSpec):
    """The net with its shortcut and stem."""

    name: str
    shortcut: Shortcut
    stem: Stem

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return check_name(name, [net.name for net in NETS], "net")


class ResolvedTraining(TrainingSpec):
    """Training as numbers."""

    epochs: Count
    batch_size: Count
    lr: Annotated[float, Field(gt=0)]
    class_weights: Annotated[tuple[NonNegative, ...], Field(strict=False)] | None = None


class ResolvedEvaluation(EvaluationSpec):
    """Whether images are mirrored; runs from before the setting had none of it."""

    flip: bool = False


class ResolvedEngine(EngineSpec):
    """The engine as this machine runs it."""

    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    memory_format: Literal["contiguous", "channels_last"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    # Runs from before the settings had torch's and kept everything.
    kernels: Literal["reslab", "torch"] = "torch"
    checkpoint_segments: Annotated[int, Field(ge=0)] = 0
    micro_batches: Count = 1


class ResolvedSeeds(SeedSpec):
    """Every seed as a number."""

    initialisation: Seed
    order: Seed
    augmentation: Seed


class Facts(Frozen):
    """What was found out about the data, and what follows from it.

    Attributes:
        classes: class names, in the order of the labels.
        channels: channels of the images.
        image_size: side of the images in pixels, at which the net evaluates.
        mean: of each channel over the training part, of pixels in 0 … 1.
        sd: standard deviation of each channel over the training part.
        train_images: images trained on.
        val_images: images split off for validation.
        steps_per_epoch: whole batches in an epoch; the images of a last, smaller one wait
            for a later epoch, whose order differs.
        fingerprint: SHA-256 of the published training split.
    """

    classes: Annotated[tuple[str, ...], Field(strict=False)]
    channels: Count
    image_size: Count
    mean: Annotated[tuple[float, ...], Field(strict=False)]
    sd: Annotated[tuple[float, ...], Field(strict=False)]
    train_images: Count
    val_images: Annotated[int, Field(ge=0)]
    steps_per_epoch: Count
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ResolvedRun(RunSpec):
    """A run, complete: what run.yaml holds."""

    format: Literal[2] = FORMAT
    data: ResolvedData
    model: ResolvedModel
    training: ResolvedTraining
    evaluation: ResolvedEvaluation = ResolvedEvaluation()
    engine: ResolvedEngine
    seeds: ResolvedSeeds
    facts: Facts

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.training.epochs * self.facts.steps_per_epoch

    def asked(self) -> dict[str, Any]:
        """The part that a ``RunSpec`` is built from, facts and format left out."""
        return self.model_dump(mode="json", exclude={"facts", "format"})


def upgrade(document: Document, origin: str) -> Document:
    """A stored run in the form of today.

    Format 2 came with checkpoints, limits of time and micro-batches: to runs of format 1 all of
    them have the values by which such runs were made, which are the defaults.

    Args:
        document: of any format.
        origin: where it came from, for the error's text.

    Raises:
        UserError: for a format that is newer or none.
    """
    found = document.get("format")
    if found == FORMAT:
        return document
    if found in _OLDER and not isinstance(found, bool):
        return {**document, "format": FORMAT}
    raise UserError(
        f"{origin} has a format that this reslab does not know",
        expected=f"format {FORMAT} or older",
        received=repr(found),
        remedy="install the reslab that wrote it, named in environment.json",
    )
