"""What to run, as it was asked for: one frozen value, complete before anything is built.

``auto`` leaves a choice to resolution, which knows the data and the machine; the rules stand
in ``reslab.workbench.resolve``. ``reslab.spec.resolved`` has the same value with nothing left
open. Every field changes something that can be observed; a setting that has no meaning for
the chosen kind (milestones of a cosine) does not exist there and is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator

from reslab.catalog.names import check_name
from reslab.catalog.nets import NETS, Activation, Initialisation, Norm, Shortcut, Stem
from reslab.spec.data import DataSpec
from reslab.spec.duration import parse_duration
from reslab.spec.optimizers import Muon, OptimizerSpec
from reslab.spec.schedules import OneCycle, ScheduleSpec
from reslab.spec.values import Auto, Count, Fraction, Frozen, NonNegative, Positive, Seed


class ModelSpec(Frozen):
    """Which residual net."""

    name: str = Field(
        "auto",
        description="net, see `reslab models`; auto: resnet14 below 96 pixels, else resnet18",
    )
    shortcut: Shortcut | Auto = Field(
        "auto",
        description="shortcut where a block changes the shape: A (zero padding), B (1x1 "
        "convolution), C (that on every block), conv3x3, none; auto: the net's own",
    )
    stem: Stem | Auto = Field(
        "auto",
        description="first layers: imagenet (7x7, stride 2, max pool) or small (3x3); auto: small "
        "below 96 pixels, else the net's own",
    )
    widen: Annotated[int, Field(ge=1, le=32)] = Field(
        1, description="times the net's own channels in the stem and every stage"
    )
    norm: Norm = Field(
        "batch", description=f"what normalises the channels: {', '.join(get_args(Norm))}"
    )
    activation: Activation = Field(
        "relu", description=f"the nonlinearity throughout: {', '.join(get_args(Activation))}"
    )
    dropout: Fraction = Field(
        0.0, description="probability that a number before the head is zeroed in training"
    )
    stochastic_depth: Fraction = Field(
        0.0,
        description="probability that the last residual branch is left out in training; "
        "earlier ones in proportion",
    )
    zero_init_residual: bool = Field(
        False, description="start every residual branch at zero, so that blocks are identities"
    )
    stride_in_1x1: bool = Field(
        False, description="bottlenecks take their stride in the first 1x1 convolution"
    )
    initialisation: Initialisation = Field(
        "kaiming_fan_out",
        description="scheme of the convolutions' first weights: "
        + ", ".join(get_args(Initialisation)),
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return name if name == "auto" else check_name(name, [net.name for net in NETS], "net")


class TrainingSpec(Frozen):
    """How the net learns."""

    epochs: Count | Auto = Field(
        "auto", description="passes over the training images; auto: fewer, the more images"
    )
    batch_size: Count | Auto = Field(
        "auto", description="images a step; auto: 32 to 256 by the number of images"
    )
    lr: Positive | Auto = Field(
        "auto", description="peak learning rate; auto: by optimiser and batch size"
    )
    optimizer: OptimizerSpec = Muon()
    weight_decay: NonNegative = Field(
        5e-4, description="pull of the weights to zero, as the optimiser applies it"
    )
    decay_norm_and_bias: bool = Field(
        False, description="let weight decay pull batch-norm parameters and biases too"
    )
    schedule: ScheduleSpec = OneCycle()
    l1: NonNegative = Field(
        0.0, description="times the sum of the weights' magnitudes, added to the loss"
    )
    l2: NonNegative = Field(
        0.0,
        description="times half the sum of the weights' squares, added to the loss; unlike "
        "weight_decay under adamw, it is part of the gradient",
    )
    clip_norm: Positive | None = Field(
        None, description="longest gradient, longer ones are scaled down to it; null: none is"
    )
    mixup: NonNegative = Field(
        0.0, description="blend images of a batch in shares from Beta(mixup, mixup); 0: none"
    )
    cutmix: NonNegative = Field(
        0.0,
        description="paste a rectangle of another image, its area from Beta(cutmix, cutmix); 0: "
        "none; with mixup: the one or the other for each batch",
    )
    ema: Fraction = Field(
        0.0,
        description="judge and keep a running average of the weights, of which each step leaves "
        "this share; 0: the weights themselves",
    )
    class_weights: (
        Annotated[tuple[NonNegative, ...], Field(strict=False)] | Literal["balanced"] | None
    ) = Field(
        None,
        description="what an image's loss is multiplied by, a number for each class; balanced: "
        "more for rare ones, so that all classes weigh alike; null: 1",
    )
    select_by: Literal["accuracy", "macro_f1", "loss"] = Field(
        "accuracy",
        description="what of validation the best epoch is chosen by; macro_f1: the mean over the "
        "classes, so that rare ones count as much",
    )
    patience: Count | None = Field(
        None,
        description="end training when validation has not become better for so many epochs; null: "
        "never",
    )
    min_delta: Fraction = Field(
        0.0, description="by how much what select_by names must improve to count for patience"
    )
    label_smoothing: Fraction = Field(
        0.1, description="share of the target spread evenly over all classes"
    )
    time_limit: Annotated[Positive, BeforeValidator(parse_duration)] | None = Field(
        None,
        description="seconds, or such as 90s, 1.5m, 1h30m: train what of the epochs fits, the "
        "schedule shortened with them; null: no limit",
    )
    non_finite: Literal["stop", "skip", "rollback"] = Field(
        "stop",
        description="what to do where loss or gradient are not finite: stop; skip the step; or "
        "skip it and go back to the weights that the epoch began with, which also undoes an epoch "
        "whose last update broke the weights",
    )


class EvaluationSpec(Frozen):
    """How a net is judged and used, while it is trained and afterwards."""

    flip: bool | Auto = Field(
        False,
        description="give the mean output of an image and its mirror image (test-time "
        "augmentation), which takes twice the time; auto: where data.augment.flip mirrors too",
    )


class EngineSpec(Frozen):
    """How fast it runs: nothing here is meant to change what is learned."""

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where it runs; auto: cuda, else mps, else cpu"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of convolutions in training; auto: bf16 where it is faster"
    )
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto", description="layout of images in memory; auto: channels_last on cpu and cuda"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | Auto = Field(
        "auto", description="threads on the cpu; auto: what the process may use"
    )
    compile: bool = Field(
        False, description="compile the net with torch.compile; pays on long runs only"
    )
    kernels: Literal["auto", "reslab", "torch"] = Field(
        "auto",
        description="whose operations train: reslab's own for fp32 on a cpu, which are built with "
        "a C++ compiler at first use, or torch's; auto: reslab's where they can be had",
    )
    checkpoint_segments: Annotated[int, Field(ge=0)] | Auto = Field(
        "auto",
        description="segments of the net whose activations are computed again in the backward "
        "to save memory; 0: none; auto: none, or the root of what is kept where memory is short",
    )
    micro_batches: Count | Auto = Field(
        "auto",
        description="parts that a batch is computed in, one after the other, to save memory; "
        "batch norm then sees a part at a time; auto: 1, or more where memory is too short",
    )


class CheckpointSpec(Frozen):
    """How often the state of a training is kept on disk, to be resumed from."""

    every_seconds: Annotated[NonNegative, BeforeValidator(parse_duration)] = Field(
        60.0,
        description="seconds of training, or such as 5m, between two checkpoints, more where the "
        "disk is slow; 0: one after each step",
    )
    keep: Count = Field(
        2, description="checkpoints that are kept while it trains, the newest; one when it is done"
    )


class SeedSpec(Frozen):
    """Where randomness begins. The three parts follow ``base`` unless given."""

    base: Seed = Field(0, description="seed of all three below, unless they are given")
    initialisation: Seed | Auto = Field("auto", description="seed of the first weights")
    order: Seed | Auto = Field("auto", description="seed of the images' order")
    augmentation: Seed | Auto = Field(
        "auto", description="seed of what augmentation, dropout and stochastic depth draw"
    )


class RunSpec(Frozen):
    """What was asked for.

    Build it with ``reslab.recipe(name, **overrides)``, from YAML with
    ``reslab.spec.text.load_document``, or from its parts.
    """

    recipe: str = Field("fast", description="recipe that the rest started from, for the record")
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    engine: EngineSpec = EngineSpec()
    checkpoint: CheckpointSpec = CheckpointSpec()
    seeds: SeedSpec = SeedSpec()
