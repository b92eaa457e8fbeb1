"""From what was asked to what will be done: the one place where ``auto`` is decided.

The rules that the data decide are in ``_decide_training`` and ``_decide_data``; those that
the machine decides are in ``reslab.engine.machine``.
"""

from __future__ import annotations

from dataclasses import dataclass

from reslab.catalog.datasets import DataCard
from reslab.catalog.nets import Stem
from reslab.data.batches import TrainBatches
from reslab.data.catalog import open_source
from reslab.data.normalise import Normaliser, measure_normaliser
from reslab.data.source import DataSource, Images
from reslab.data.split import split_train
from reslab.engine import machine as machines
from reslab.engine.memory import choose_checkpoint_segments, memory_of
from reslab.errors import UserError
from reslab.models.cost import Cost, measure_cost
from reslab.models.create import create_model, find_net
from reslab.models.resnet import ResNet
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import (
    DataSpec,
    EngineSpec,
    ModelSpec,
    RunSpec,
    ScheduleSpec,
    TrainingSpec,
)
from reslab.spec.text import Document, build, merge

# Below this side, in pixels, the imagenet stem would leave too little to see.
SMALL_STEM_BELOW = 96


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A resolved run with the data that it was resolved on.

    Attributes:
        run: everything decided.
        source: the data set, its test split unread.
        train: the images to train on.
        validation: the images to choose by; none where ``run.facts.val_images`` is 0.
    """

    run: ResolvedRun
    source: DataSource
    train: Images
    validation: Images


def resolve(spec: RunSpec, source: DataSource | str | None = None) -> Prepared:
    """Read the training split, look at the machine, decide what is open.

    Args:
        spec: what was asked.
        source: a data set of one's own, or a name, in place of the one that the spec names.

    Raises:
        UserError: where data or machine cannot give what was asked.
    """
    if source is None or isinstance(source, str):
        source = open_source(source or spec.data.name, spec.data.root)
    published = source.load_train()
    card = source.card
    published.check_fits(card.channels, card.image_size, len(card.classes))
    data = _decide_data(spec.data, card, len(published))
    split = split_train(
        published.labels_N,
        validation=data["validation"],
        limit=spec.data.limit,
        seed=spec.data.split_seed,
    )
    train = published.take(split.train)
    training = _decide_training(spec.training, len(train))
    model = decide_model(spec.model, card.image_size)
    cost = _price(model, card, data["augment"]["crop"], training["batch_size"])
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
        "engine": _decide_engine(
            spec.engine,
            batch_bytes=cost.activation_bytes * training["batch_size"],
            blocks=sum(find_net(spec.model.name).depths),
        ),
        "seeds": seeds,
        "facts": facts,
    }
    return Prepared(
        run=build(ResolvedRun, merge(spec.model_dump(mode="json"), decided)),
        source=source,
        train=train,
        validation=published.take(split.validation),
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


def train_batches(prepared: Prepared, *, augmented: bool = True) -> TrainBatches:
    """The training images in batches, as the run says, or without augmentation."""
    run = prepared.run
    augment = run.data.augment
    return TrainBatches(
        images=prepared.train,
        normaliser=normaliser_of(run),
        batch_size=run.training.batch_size,
        pad=augment.pad if augmented else 0,
        crop=augment.crop if augmented else run.facts.image_size,
        flip=augment.flip and augmented,
        cutout=augment.cutout if augmented else 0,
        order_seed=run.seeds.order,
        augmentation_seed=run.seeds.augmentation,
    )


def _decide_data(asked: DataSpec, card: DataCard, images: int) -> Document:
    validation: float = asked.validation if asked.validation != "auto" else 0.1
    if asked.validation == "auto" and images >= 50_000:
        validation = 5000  # the papers' 45k/5k
    if isinstance(validation, float):
        count = round(validation * images)
        if validation > 0 and count == 0:
            raise UserError(
                f"data.validation is less than one of {images} images",
                received=str(validation),
                remedy="set data.validation=0 if you want none",
            )
        validation = count
    augment = asked.augment
    # Half of the papers' 4 pixels of 32: short trainings gain from shifting less.
    pad = max(1, min(64, card.image_size // 16)) if augment.pad == "auto" else augment.pad
    crop = card.image_size if augment.crop == "auto" else augment.crop
    if crop > card.image_size + 2 * pad:
        raise UserError(
            "data.augment.crop is larger than the padded image",
            expected=f"at most {card.image_size} + 2 x {pad}",
            received=str(crop),
            remedy="enlarge data.augment.pad",
        )
    if augment.cutout > crop:
        raise UserError(
            "data.augment.cutout hides whole images",
            expected=f"at most {crop}",
            received=str(augment.cutout),
        )
    flip = card.flip if augment.flip == "auto" else augment.flip
    return {
        "name": card.name,
        "validation": validation,
        "augment": {"pad": pad, "crop": crop, "flip": flip},
    }


def _decide_training(asked: TrainingSpec, images: int) -> Document:
    batch_size = _auto_batch_size(images) if asked.batch_size == "auto" else asked.batch_size
    if batch_size > images:
        raise UserError(
            f"training.batch_size is larger than the {images} training images",
            expected=f"at most {images}",
            received=str(batch_size),
            remedy="set training.batch_size=auto",
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
    return 0.4 * batch_size / 256 if optimizer == "sgd" else 0.001


def decide_model(asked: ModelSpec, image_size: int) -> Document:
    """Arguments of ``create_model`` for images of that side, classes and channels left out."""
    net = find_net(asked.name)
    by_size: Stem = "small" if image_size < SMALL_STEM_BELOW else net.stem
    return {
        **asked.model_dump(),
        "shortcut": net.shortcut if asked.shortcut == "auto" else asked.shortcut,
        "stem": by_size if asked.stem == "auto" else asked.stem,
    }


def _price(model: Document, card: DataCard, crop: int, batch_size: int) -> Cost:
    """What the net costs; refuses before training what would only fail at its first step."""
    cost = measure_cost(
        lambda: create_model(in_channels=card.channels, **model), card.channels, crop
    )
    last_stage = next(s for s in reversed(cost.stages) if s.name.startswith("layer"))
    if model["norm"] == "batch" and batch_size == 1 and last_stage.output[1:] == (1, 1):
        raise UserError(
            f"batch norm cannot train on single images of {crop} pixels, of which "
            f"{model['name']} leaves one value a channel",
            remedy="set training.batch_size to 2 or more",
        )
    return cost


def _decide_engine(asked: EngineSpec, *, batch_bytes: int, blocks: int) -> dict[str, str | int]:
    choices = choose_engine(asked)
    device = next(str(choice.value) for choice in choices if choice.setting == "device")
    segments = choose_checkpoint_segments(
        asked.checkpoint_segments,
        batch_bytes=batch_bytes,
        memory=memory_of(device),
        blocks=blocks,
    )
    return {choice.setting: choice.value for choice in [*choices, segments]}


def choose_engine(asked: EngineSpec) -> list[machines.Choice]:
    """Device, precision, memory format and threads on this machine, with reasons.

    Raises:
        UserError: where the machine lacks what was asked for.
    """
    machine = machines.inspect_machine()
    device = machines.choose_device(machine, asked.device)
    return [
        device,
        machines.choose_precision(machine, str(device.value), asked.precision),
        machines.choose_memory_format(str(device.value), asked.memory_format),
        machines.choose_threads(machine, asked.threads),
    ]
