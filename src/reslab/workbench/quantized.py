"""The int8 model that a run's folder holds, and whether it is of the weights that lie there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reslab.errors import UserError
from reslab.evaluation.quantization import Loss
from reslab.inference.catalog import Obstacle
from reslab.inference.int8 import Quantized
from reslab.inference.nncf import Way
from reslab.runs.folder import RunFolder
from reslab.wording import quoted
from reslab.workbench.of_weights import digest_weights, read_record, why_other

FORMAT = 1

# The model as OpenVINO keeps one, and what is known of it.
FOLDER = "int8"
XML = f"{FOLDER}/model.xml"
NUMBERS = f"{FOLDER}/model.bin"
RECORD = f"{FOLDER}/record.json"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A way to quantise, and what it lost."""

    way: Way
    loss: Loss


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a set of weights was quantised, and judged on the validation images.

    Attributes:
        weights: ``best`` or ``last``.
        weights_sha256: digest of the file that holds them.
        calibration_images: training images by which ranges were chosen.
        tolerance: by how much accuracy may fall, 0.002 for 0.2 percentage points.
        tried: one way after the other, until one passes.
        versions: of the packages that made the model.
        files: digests of its files, by name; none where nothing is stored.
    """

    weights: str
    weights_sha256: str
    calibration_images: int
    tolerance: float
    tried: tuple[Trial, ...]
    versions: Mapping[str, str | None]
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.tried or not 0 <= self.tolerance <= 1 or self.calibration_images < 1:
            raise ValueError("the parts do not fit together")

    @property
    def chosen(self) -> Trial:
        """The one that lost least."""
        return min(self.tried, key=lambda trial: trial.loss.drop)

    @property
    def passed(self) -> bool:
        """Whether the accuracy fell by no more than it may, so that the model is stored."""
        return self.chosen.loss.drop <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """As record.json and the command line have it: the figures are those of ``chosen``."""
        return {
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "calibration_images": self.calibration_images,
            "tolerance": self.tolerance,
            "passed": self.passed,
            **asdict(self.chosen.way),
            **self.chosen.loss.to_json(),
            "tried": [{**asdict(t.way), **t.loss.to_json()} for t in self.tried],
            "versions": dict(self.versions),
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Quantization:
        """The inverse of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: where it is not what ``to_json`` gives.
        """
        return cls(
            weights=str(document["weights"]),
            weights_sha256=str(document["weights_sha256"]),
            calibration_images=int(document["calibration_images"]),
            tolerance=float(document["tolerance"]),
            tried=tuple(
                Trial(
                    way=Way(
                        preset=str(entry["preset"]),
                        fast_bias_correction=bool(entry["fast_bias_correction"]),
                    ),
                    loss=Loss.from_json(entry),
                )
                for entry in document["tried"]
            ),
            versions={str(k): v if v is None else str(v) for k, v in document["versions"].items()},
            files={name: str(document["files"][name]) for name in (XML, NUMBERS)},
        )


def quantize_command(folder: RunFolder, use: str) -> str:
    """What to type to quantise these weights."""
    which = "" if use == "best" else f" --use {use}"
    return f"`reslab quantize {quoted(folder.path)}{which}`"


def quantized_for(folder: RunFolder, use: str) -> Quantized | Obstacle:
    """The int8 model of the ``best`` or the ``last`` weights as they are now, or why there is none.

    Weights and the model's files are known by their digests, so that a training which went on,
    or a file that was damaged, is noticed.
    """
    anew = f"{quantize_command(folder, use)} makes it anew"
    try:
        stored = read_quantization(folder)
    except UserError as error:
        return Obstacle(error.what, anew, is_news=True)
    remedy = f"{quantize_command(folder, use)} makes one for them"
    if stored is None:
        return Obstacle(f"there is no int8 model of the {use} weights of {folder.path}", remedy)
    if reason := why_stale(folder, use, stored):
        return Obstacle(reason, remedy, is_news=True)
    if reason := why_damaged(folder, stored):
        return Obstacle(reason, anew, is_news=True)
    xml, numbers = ((folder.path / name).read_bytes() for name in (XML, NUMBERS))
    loss = stored.chosen.loss
    return Quantized(xml, numbers, changed=loss.changed, images=loss.n)


def why_stale(folder: RunFolder, use: str, stored: Quantization) -> str:
    """Why a model is not of the weights as they are now; empty where it is."""
    what = why_other(folder, use, weights=stored.weights, digest=stored.weights_sha256)
    return what and f"the int8 model in {folder.path} {what}"


def why_damaged(folder: RunFolder, stored: Quantization) -> str:
    """Which file of a model is not as it was stored; empty where all are."""
    for name, digest in stored.files.items():
        if digest_weights(folder.path / name) != digest:
            return f"{folder.path / name} is damaged or missing"
    return ""


def read_quantization(folder: RunFolder) -> Quantization | None:
    """What int8/record.json holds, of whatever weights; None where there is none.

    Raises:
        UserError: where it is damaged or of a newer format.
    """
    return read_record(folder, RECORD, Quantization.from_json, command="quantize", version=FORMAT)
