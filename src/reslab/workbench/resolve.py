"""From what was asked to what will be done: the one place where ``auto`` is decided.

The rules are in ``reslab.workbench.decide``, those of the data in
``reslab.workbench.choose_images``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from reslab.catalog.datasets import DataCard
from reslab.data.batches import TrainBatches
from reslab.data.normalise import Normaliser, measure_normaliser
from reslab.data.source import DataSource, Images
from reslab.data.split import Split
from reslab.engine.machine import Choice
from reslab.engine.memory import free_memory
from reslab.engine.need import StepNeed, shortage
from reslab.errors import UserError
from reslab.models.cost import measure_cost
from reslab.models.create import create_model, find_net
from reslab.models.resnet import ResNet
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.text import Document, build, merge
from reslab.workbench.choose_images import (
    batches_of,
    choose_images,
    doubts_of_images,
    split_images,
)
from reslab.workbench.decide import (
    choose_engine,
    decide_class_weights,
    decide_evaluation,
    decide_memory,
    decide_model,
    decide_training,
    doubt_balance,
)
from reslab.workbench.sources import load_published, source_of


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A resolved run with the data that it was resolved on.

    Attributes:
        run: everything decided.
        source: the data set, its test split unread.
        train: the images to train on.
        numbers: positions of ``train`` in the published training split.
        validation: the images to choose by; none where ``run.facts.val_images`` is 0.
        scored: how many images score the net in the end, of the test split or the fold.
        groups_N: of the published training images, where the settings name groups.
        need: the memory that a step needs.
        faults: why pictures of the data set are not among the images, by their names.
        choices: what was decided of the engine, with reasons.
        warnings: what whoever trains should know before.
    """

    run: ResolvedRun
    source: DataSource
    train: Images
    numbers: npt.NDArray[np.intp]
    validation: Images
    scored: int
    groups_N: npt.NDArray[np.int64] | None
    need: StepNeed
    faults: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    warnings: tuple[str, ...] = ()


def resolve(spec: RunSpec, source: DataSource | str | None = None) -> Prepared:
    """Read the training split, look at the machine, decide what is open.

    Args:
        spec: what was asked.
        source: a data set of one's own, or a name, in place of the one that the spec names.

    Raises:
        UserError: where data or machine cannot give what was asked.
    """
    if source is None or isinstance(source, str):
        source = source_of(spec.data.model_copy(update={"name": source or spec.data.name}))
    published = load_published(source, spec.data)
    card = source.card
    data, split = choose_images(spec.data, source, published)
    train = published.take(split.train)
    training = decide_training(spec.training, len(train), len(split.validation))
    training["class_weights"] = decide_class_weights(
        spec.training.class_weights, train.labels_N, card.classes
    )
    model = decide_model(spec.model, card.image_size)
    engine = choose_engine(spec.engine)
    chosen = {choice.setting: str(choice.value) for choice in engine}
    need = measure_need(
        model,
        card,
        crop=data["augment"]["crop"],
        batch_size=training["batch_size"],
        averaged=spec.training.ema > 0,
        kernels=chosen["kernels"],
    )
    choices = [*engine, *decide_memory(spec.engine, need, chosen["device"])]
    normaliser = measure_normaliser(train.pixels_NCHW)
    facts = {
        "classes": list(card.classes),
        "channels": card.channels,
        "image_size": card.image_size,
        "mean": list(normaliser.mean),
        "sd": list(normaliser.sd),
        "train_images": len(train),
        "val_images": len(split.validation),
        "steps_per_epoch": len(train) // training["batch_size"],
        "fingerprint": published.fingerprint(),
    }
    seeds = {
        part: spec.seeds.base if getattr(spec.seeds, part) == "auto" else getattr(spec.seeds, part)
        for part in ("initialisation", "order", "augmentation")
    }
    decided = {
        "data": data,
        "model": model,
        "training": training,
        "evaluation": decide_evaluation(spec.evaluation, flip=data["augment"]["flip"]),
        "engine": {choice.setting: choice.value for choice in choices},
        "seeds": seeds,
        "facts": facts,
    }
    run = build(ResolvedRun, merge(spec.model_dump(mode="json"), decided))
    # What changes what is learned is said aloud.
    aloud = [c.reason for c in choices if c.setting == "micro_batches" and c.value != 1]
    if spec.engine.micro_batches != "auto":
        aloud = warn_of_shortage(run, need)
    return Prepared(
        run=run,
        source=source,
        train=train,
        numbers=split.train,
        validation=published.take(split.validation),
        scored=scored_images(card, split),
        groups_N=published.groups_N if spec.data.group_by else None,
        need=need,
        faults=published.faults,
        choices=tuple(choices),
        warnings=(
            *doubts_of_images(spec.data, source, published, split, run.data.augment),
            *doubt_balance(run),
            *aloud,
        ),
    )


def build_model(run: ResolvedRun) -> ResNet:
    """The net of a resolved run, freshly initialised: the one function from spec to model."""
    return create_model(
        run.model.name,
        num_classes=len(run.facts.classes),
        in_channels=run.facts.channels,
        **run.model.model_dump(exclude={"name"}),
    )


def normaliser_of(run: ResolvedRun) -> Normaliser:
    """The normaliser that the run's net was trained with."""
    return Normaliser(run.facts.mean, run.facts.sd)


def split_again(run: ResolvedRun, published: Images) -> Split:
    """The split of the published training images that the run was resolved with."""
    return split_images(run.data, run.data.validation, published)


def scored_images(card: DataCard, split: Split) -> int:
    """How many images score a net in the end: those of its fold, else those of the test split."""
    return len(split.held_out) or card.test_images


def evaluation_batch(run: ResolvedRun) -> int | None:
    """Images that are evaluated at a time: as many as a step takes where memory is short.

    None leaves it to the inference engine. Evaluation keeps nothing for a backward and so never
    needs more than a step of as many images.
    """
    if run.engine.micro_batches == 1 and run.engine.checkpoint_segments == 0:
        return None
    return -(-run.training.batch_size // run.engine.micro_batches)


def train_batches(prepared: Prepared) -> TrainBatches:
    """The training images in batches, as the run says."""
    run = prepared.run
    batches = batches_of(
        prepared.train,
        normaliser_of(run),
        run.data.augment,
        batch_size=run.training.batch_size,
        order_seed=run.seeds.order,
        augmentation_seed=run.seeds.augmentation,
    )
    return replace(
        batches,
        balanced=run.data.sampling == "balanced",
        numbers=prepared.numbers,
        classes=len(run.facts.classes),
    )


def measure_need(
    model: Document,
    card: DataCard,
    *,
    crop: int,
    batch_size: int,
    averaged: bool,
    kernels: str,
) -> StepNeed:
    """The memory that a training step needs, without making one.

    Args:
        model: the net's name and options.
        card: the data set.
        crop: rows and columns of an image as the net sees it.
        batch_size: images of a batch.
        averaged: whether a running average of the weights is kept.
        kernels: ``reslab`` or ``torch``: whose operations train.

    Raises:
        UserError: for what would only fail at the first step.
    """
    cost = measure_cost(
        lambda: create_model(in_channels=card.channels, **model), card.channels, crop
    )
    last_stage = next(s for s in reversed(cost.stages) if s.name.startswith("layer"))
    least = 2 if model["norm"] == "batch" and last_stage.output[1:] == (1, 1) else 1
    if batch_size < least:
        raise UserError(
            f"batch norm cannot train on single images of {crop} pixels, of which "
            f"{model['name']} leaves one value a channel",
            remedy="set training.batch_size to 2 or more",
        )
    return StepNeed(
        batch_size=batch_size,
        least=least,
        image_bytes=cost.activation_bytes,
        # An average of the weights is held as they are.
        copies=6 if averaged else 5,
        parameters=cost.parameters,
        convolutions=find_net(model["name"]).convolutions,
        scratch=cost.scratch if kernels == "reslab" else (),
    )


def warn_of_shortage(run: ResolvedRun, need: StepNeed) -> list[str]:
    """A warning where a step as the run has it may take more memory than is free now."""
    # On a GPU a step that does not fit fails, and its batch is cut then.
    if run.engine.device != "cpu":
        return []
    told = shortage(
        need,
        segments=run.engine.checkpoint_segments,
        parts=run.engine.micro_batches,
        free=free_memory(run.engine.device),
    )
    return [] if told is None else [told]
