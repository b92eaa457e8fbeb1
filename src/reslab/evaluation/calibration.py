"""Making probabilities mean what they say: one temperature, and what it changes.

Temperature scaling is that of Guo et al. 2017 (arXiv 1706.04599): logits are divided by one
number, which changes how sure the net is and never what it takes an image for.

Shape suffixes: ``N`` images, ``K`` classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import softmax

from reslab.evaluation.reliability import Labels, Reliability, measure_reliability, surest
from reslab.evaluation.selective import Accepted, Curve, Target, accept, accept_curve, choose

POINTS = 200  # of a curve, that are kept

# No temperature leaves these: what lies beyond is a net that knows nothing, or one whose few
# mistakes were so narrow that they say nothing about other images.
COLDEST, HOTTEST = 0.05, 20.0

Logits = npt.NDArray[np.float32]


def to_probabilities(logits_NK: Logits, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Softmax of each row of logits over a temperature, in float64 so that rows add to 1."""
    # Neither scipy's, which takes a tenth of the time of a call for a single small image, nor
    # torch's, whose threads are then in the way of the next call's: docs/decisions/0016.
    wide_NK = logits_NK.astype(np.float64)
    if temperature != 1.0:
        wide_NK /= temperature
    wide_NK -= wide_NK.max(axis=1, keepdims=True)
    np.exp(wide_NK, out=wide_NK)
    wide_NK /= wide_NK.sum(axis=1, keepdims=True)
    return wide_NK


def fit_temperature(logits_NK: Logits, labels_N: Labels) -> float:
    """The temperature T, 0.05 to 20, with the least cross-entropy of softmax(logits / T).

    The loss is convex in 1 / T, so that its slope has one root, which is bracketed and found
    without any start value. Where every image is right (or there is none) the loss falls for
    ever as T does, and nothing can be learned from it: T is 1.

    Args:
        logits_NK: finite logits.
        labels_N: 0 to K - 1.
    """
    wide_NK = logits_NK.astype(np.float64)
    ahead_NK = wide_NK - wide_NK[np.arange(len(labels_N)), labels_N][:, None]
    if (ahead_NK <= 0).all():
        return 1.0

    def slope(sharpness: float) -> float:
        return float((softmax(sharpness * ahead_NK, axis=1) * ahead_NK).sum(axis=1).mean())

    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    if slope(1 / COLDEST) <= 0:
        return COLDEST
    return float(1 / brentq(slope, 1 / HOTTEST, 1 / COLDEST, xtol=1e-10, rtol=1e-10))


def cross_fit(logits_NK: Logits, labels_N: Labels, seed: int = 0) -> npt.NDArray[np.float64]:
    """Probabilities (N, K) with, for each half of the images, the temperature of the other half.

    Args:
        logits_NK: finite logits.
        labels_N: 0 to K - 1; the halves are drawn so that each has half of every class.
        seed: of the draw.
    """
    drawn_N = np.random.default_rng(seed).permutation(len(labels_N))
    by_class_N = drawn_N[np.argsort(labels_N[drawn_N], kind="stable")]
    probabilities_NK = np.empty(logits_NK.shape)
    halves = (by_class_N[::2], by_class_N[1::2])
    for judged, fitted in zip(halves, halves[::-1], strict=True):
        temperature = fit_temperature(logits_NK[fitted], labels_N[fitted])
        probabilities_NK[judged] = to_probabilities(logits_NK[judged], temperature)
    return probabilities_NK


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a set of weights was calibrated on the validation images.

    Attributes:
        weights: ``best`` or ``last``.
        weights_sha256: digest of the file that holds them.
        temperature: what logits are divided by.
        before: the net as it is.
        after: with the temperature, on the very images that it was fitted on.
        cross_fitted_nll, cross_fitted_ece: of each half of the images with the temperature of
            the other half: what to expect of other images.
        target: what the threshold was chosen for.
        threshold: highest probability, 0 to 1, from which on an image is accepted.
        chosen: what it accepts of the images that it was chosen on.
        curve: what other thresholds would, at most 200 of them.
    """

    weights: str
    weights_sha256: str
    temperature: float
    before: Reliability
    after: Reliability
    cross_fitted_nll: float
    cross_fitted_ece: float
    target: Target
    threshold: float
    chosen: Accepted
    curve: Curve

    def __post_init__(self) -> None:
        fractions = (self.threshold, self.cross_fitted_ece)
        if not 0 < self.temperature < math.inf or not all(0 <= f <= 1 for f in fractions):
            raise ValueError("temperature, threshold or error is out of range")
        sums = {sum(self.before.counts), sum(self.after.counts), self.chosen.n, self.curve.n}
        if sums != {self.n} or not math.isfinite(self.cross_fitted_nll):
            raise ValueError("the parts are not of the same images")

    @property
    def n(self) -> int:
        """Validation images that it was fitted on."""
        return self.chosen.n

    def to_json(self) -> dict[str, Any]:
        """As calibration.json and the command line have it."""
        return {
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "n": self.n,
            "temperature": self.temperature,
            "bins": len(self.before.counts),
            "nll_before": self.before.nll,
            "nll_after": self.after.nll,
            "nll_cross_fitted": self.cross_fitted_nll,
            "ece_before": self.before.ece,
            "ece_after": self.after.ece,
            "ece_cross_fitted": self.cross_fitted_ece,
            "target": {self.target.kind: self.target.share},
            "threshold": self.threshold,
            **describe_accepted(self.chosen),
            "reliability": {
                name: {
                    "counts": list(part.counts),
                    "right": list(part.right),
                    "confidence": list(part.confidence),
                }
                for name, part in (("before", self.before), ("after", self.after))
            },
            "curve": {
                "threshold": list(self.curve.thresholds),
                "accepted": list(self.curve.accepted),
                "right": list(self.curve.right),
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Calibration:
        """The inverse of ``to_json``.

        Raises:
            KeyError, TypeError, ValueError: where it is not what ``to_json`` gives.
        """
        ((kind, share),) = document["target"].items()
        n, curve = int(document["n"]), document["curve"]

        def reliability(name: str) -> Reliability:
            columns = document["reliability"][name]
            return Reliability(
                counts=tuple(map(int, columns["counts"])),
                right=tuple(map(int, columns["right"])),
                confidence=tuple(map(float, columns["confidence"])),
                nll=float(document[f"nll_{name}"]),
            )

        return cls(
            weights=str(document["weights"]),
            weights_sha256=str(document["weights_sha256"]),
            temperature=float(document["temperature"]),
            before=reliability("before"),
            after=reliability("after"),
            cross_fitted_nll=float(document["nll_cross_fitted"]),
            cross_fitted_ece=float(document["ece_cross_fitted"]),
            target=Target(kind, float(share)),
            threshold=float(document["threshold"]),
            chosen=Accepted(n, int(document["accepted"]), int(document["accepted_right"])),
            curve=Curve(
                n=n,
                thresholds=tuple(map(float, curve["threshold"])),
                accepted=tuple(map(int, curve["accepted"])),
                right=tuple(map(int, curve["right"])),
            ),
        )


def describe_accepted(accepted: Accepted) -> dict[str, Any]:
    """Coverage and accuracy of the accepted, as JSON has them."""
    return {
        "coverage": accepted.coverage,
        "accepted": accepted.accepted,
        "accepted_right": accepted.right,
        "accepted_top1": accepted.top1,
        "accepted_top1_interval": list(accepted.interval),
    }


def calibrate(
    logits_NK: Logits, labels_N: Labels, target: Target, *, weights: str, weights_sha256: str
) -> Calibration:
    """Fit a temperature on validation images and choose a threshold with it.

    Args:
        logits_NK: finite logits of at least one image.
        labels_N: 0 to K - 1.
        target: what the threshold is for.
        weights: ``best`` or ``last``.
        weights_sha256: digest of the file that the logits came from.

    Raises:
        UserError: where no threshold reaches the target.
    """
    temperature = fit_temperature(logits_NK, labels_N)
    scaled_NK = to_probabilities(logits_NK, temperature)
    curve = accept_curve(*surest(scaled_NK, labels_N))
    place = choose(curve, target)
    crossed = measure_reliability(cross_fit(logits_NK, labels_N), labels_N)
    return Calibration(
        weights=weights,
        weights_sha256=weights_sha256,
        temperature=temperature,
        before=measure_reliability(to_probabilities(logits_NK), labels_N),
        after=measure_reliability(scaled_NK, labels_N),
        cross_fitted_nll=crossed.nll,
        cross_fitted_ece=crossed.ece,
        target=target,
        threshold=curve.thresholds[place],
        chosen=curve.at(place),
        curve=curve.thinned(POINTS, place),
    )


def judge(logits_NK: Logits, labels_N: Labels, calibration: Calibration | None) -> dict[str, Any]:
    """How well confidence and accuracy agree on images of any split, as JSON has it.

    ``ece`` is of the net as it is. With a calibration ``temperature``, ``ece_calibrated`` and
    ``nll_calibrated`` (in nats) are added, and what its ``threshold`` accepts.
    """
    plain = measure_reliability(to_probabilities(logits_NK), labels_N)
    if calibration is None:
        return {"ece": plain.ece}
    scaled_NK = to_probabilities(logits_NK, calibration.temperature)
    scaled = measure_reliability(scaled_NK, labels_N)
    accepted = accept(*surest(scaled_NK, labels_N), calibration.threshold)
    return {
        "ece": plain.ece,
        "temperature": calibration.temperature,
        "ece_calibrated": scaled.ece,
        "nll_calibrated": scaled.nll,
        "threshold": calibration.threshold,
        **describe_accepted(accepted),
    }
