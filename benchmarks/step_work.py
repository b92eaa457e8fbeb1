"""What is trained in the step benchmark: nets at the size of image that they are used at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reslab.catalog.nets import Shortcut
from reslab.data.arrays import ArraySource
from reslab.data.catalog import open_source
from reslab.data.source import DataSource, Images
from reslab.errors import UserError
from reslab.models.cost import measure_cost
from reslab.spec.recipes import recipe_document
from reslab.spec.resolved import ResolvedRun
from reslab.spec.run import RunSpec
from reslab.spec.schedules import Constant
from reslab.spec.text import build, parse_override
from reslab.workbench.resolve import build_model, resolve

# Batches that steps go through in turns: enough that none of it stays in the processor's caches.
BATCHES = 4

# Low enough that a net does not diverge on labels that mean nothing.
_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Case:
    """A net and what it is trained on.

    Attributes:
        name: what ``--cases`` takes.
        net: see ``reslab models``.
        shortcut: of the net; None: its own.
        image_size: side of the images, in pixels.
        channels: of the images.
        classes: of the labels.
        batch_size: unless ``--batch-size`` says otherwise.
    """

    name: str
    net: str
    shortcut: Shortcut | None = None
    image_size: int
    channels: int
    classes: int
    batch_size: int


CASES = (
    Case(
        name="resnet14@28",
        net="resnet14",
        shortcut="conv3x3",
        image_size=28,
        channels=1,
        classes=10,
        batch_size=256,
    ),
    Case(
        name="resnet14@32",
        net="resnet14",
        shortcut="conv3x3",
        image_size=32,
        channels=3,
        classes=10,
        batch_size=256,
    ),
    Case(
        name="resnet20@28",
        net="resnet20",
        image_size=28,
        channels=1,
        classes=10,
        batch_size=256,
    ),
    Case(
        name="resnet20@32",
        net="resnet20",
        image_size=32,
        channels=3,
        classes=10,
        batch_size=256,
    ),
    Case(
        name="resnet18@32",
        net="resnet18",
        image_size=32,
        channels=3,
        classes=10,
        batch_size=128,
    ),
    Case(
        name="resnet50@224",
        net="resnet50",
        image_size=224,
        channels=3,
        classes=1000,
        batch_size=32,
    ),
)


@dataclass(frozen=True, kw_only=True)
class StepWork:
    """What all contenders do.

    Attributes:
        run: net, batch size and engine, resolved as ``reslab train`` would.
        images: ``BATCHES`` batches of them.
        seconds: that a round takes at least.
        compile: whether contenders may choose torch.compile.
        threads: of each contender.
    """

    run: ResolvedRun
    images: Images
    seconds: float
    compile: bool
    threads: int

    @property
    def batch_size(self) -> int:
        """Images of a step."""
        return self.run.training.batch_size

    @property
    def image_size(self) -> int:
        """Side of the images, in pixels."""
        return self.run.facts.image_size

    @property
    def classes(self) -> int:
        """Of the labels."""
        return len(self.run.facts.classes)


def prepare_case(
    case: Case,
    *,
    seconds: float,
    compile_: bool,
    threads: int | None = None,
    batch_size: int | None = None,
    data: str | None = None,
    root: str | None = None,
    settings: Sequence[str] = (),
) -> StepWork:
    """Resolve the case as ``reslab train`` would.

    Args:
        case: what to train.
        seconds: that a round takes at least.
        compile_: whether contenders may choose torch.compile.
        threads: of each contender; None: what reslab takes.
        batch_size: None: the case's.
        data: data set whose first training images are taken; None: random pixels and labels.
        root: folder that holds its files.
        settings: further settings of reslab's, such as ``engine.precision=fp32``.

    Raises:
        UserError: where data, settings and machine do not fit each other.
    """
    size = case.batch_size if batch_size is None else batch_size
    source = _source(case, BATCHES * size, data, root)
    asked: dict[str, Any] = {
        "data": {
            "validation": 0,
            "augment": {"pad": 0, "crop": source.card.image_size, "flip": False},
        },
        "model": {"name": case.net},
        "training": {
            "epochs": 1,
            "batch_size": size,
            "lr": _RATE,
            # The others have no Muon.
            "optimizer": {"kind": "sgd"},
            "schedule": Constant().model_dump(),
        },
        "engine": {"device": "cpu", "threads": threads or "auto"},
    }
    if case.shortcut is not None:
        asked["model"]["shortcut"] = case.shortcut
    document = recipe_document("fast", asked, *map(parse_override, settings))
    prepared = resolve(build(RunSpec, document), source)
    return StepWork(
        run=prepared.run,
        images=prepared.train,
        seconds=seconds,
        compile=compile_,
        threads=prepared.run.engine.threads,
    )


def describe_case(work: StepWork) -> dict[str, Any]:
    """Net, images and what they cost, for the record."""
    run = work.run
    cost = measure_cost(lambda: build_model(run), run.facts.channels, work.image_size)
    return {
        "model": run.model.name,
        "shortcut": run.model.shortcut,
        "stem": run.model.stem,
        "image_size": work.image_size,
        "channels": run.facts.channels,
        "classes": work.classes,
        "batch_size": work.batch_size,
        "data": run.data.name,
        "parameters": cost.parameters,
        "macs": cost.macs,
    }


def _source(case: Case, count: int, data: str | None, root: str | None) -> DataSource:
    """So many images, real or random."""
    if data is not None:
        whole = open_source(data, root)
        wanted, there = (
            (case.channels, case.image_size),
            (whole.card.channels, whole.card.image_size),
        )
        if wanted != there:
            raise UserError(
                f"the images of {data} do not fit {case.name}",
                expected=f"{wanted[0]} channels of {wanted[1]} pixels",
                received=f"{there[0]} channels of {there[1]} pixels",
                remedy="choose another of --cases, or leave --data out",
            )
        train = whole.load_train().take(np.arange(count))
        names = whole.card.classes
        return ArraySource(
            train.pixels_NCHW[:], train.labels_N, layout="NCHW", name=data, classes=names
        )
    rng = np.random.default_rng(0)
    pixels_NCHW = rng.integers(
        0, 256, (count, case.channels, case.image_size, case.image_size), np.uint8
    )
    labels_N = rng.integers(0, case.classes, count)
    names = tuple(map(str, range(case.classes)))
    return ArraySource(pixels_NCHW, labels_N, layout="NCHW", name="random", classes=names)
