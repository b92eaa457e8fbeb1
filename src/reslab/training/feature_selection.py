"""Which of a net's pooled features are enough, and a linear head on those alone.

Selection is scikit-learn's; here a head is made of it that fits where the net's own lies.

Shape suffixes: ``N`` images, ``D`` pooled features, ``M`` chosen ones, ``K`` classes.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import SelectFromModel, SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from reslab.errors import UserError

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Method = Literal["univariate", "l1", "model"]
METHODS: tuple[Method, ...] = get_args(Method)

# Images that selection looks at, in the classes' proportions: more change its choice little.
_MOST_IMAGES = 10_000

# Of a class, of which fewer are all looked at.
_FEW_IMAGES = 100

# Strengths of the head's L2 penalty that are tried, as scikit-learn's inverse C.
_STRENGTHS = (0.01, 0.1, 1.0, 10.0)

# Of the L1 penalty, the inverse again, the strongest first.
_SPARSE = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0, 10.0)

# Logit of a class that no training image has: far below those of the others.
_NEVER = -30.0


@dataclass(frozen=True)
class LinearHead:
    """A linear layer on pooled features; zero where a feature was not chosen.

    Attributes:
        weight_KD: of each feature for each class.
        bias_K: of each class.
        strength: the inverse of the L2 penalty that it was fitted with.
    """

    weight_KD: Features
    bias_K: Features
    strength: float

    def logits(self, features_ND: Features) -> Features:
        """Logits (N, K)."""
        return features_ND @ self.weight_KD.T + self.bias_K


def count_features(keep: float, features: int) -> int:
    """How many to choose: an ``int`` as it is, a ``float`` as a fraction of them all.

    Raises:
        UserError: for none, more than there are, or a fraction beyond 0 to 1.
    """
    if isinstance(keep, int) and 1 <= keep <= features:
        return keep
    if isinstance(keep, float) and 0 < keep <= 1:
        return max(1, round(keep * features))
    raise UserError(
        "so many features cannot be kept",
        expected=f"a fraction above 0.0 and up to 1.0, or a number from 1 to {features}",
        received=f"{keep}",
    )


def choose_features(
    features_ND: Features, labels_N: Labels, *, method: Method, count: int
) -> npt.NDArray[np.intp]:
    """Positions of the chosen features, ascending.

    Args:
        features_ND: of training images only.
        labels_N: their classes.
        method: ``univariate``: those whose means differ most between the classes, for their
            spread (the F-test of an analysis of variance); ``l1``: those of the largest weights
            in a linear classifier with the strongest L1 penalty that leaves so many (Tibshirani
            1996);
            ``model``: those that most lessen the impurity in a forest of randomised trees
            (Geurts et al. 2006).
        count: how many.
    """
    chosen = _some(labels_N)
    features_ND, labels_N = StandardScaler().fit_transform(features_ND[chosen]), labels_N[chosen]
    with warnings.catch_warnings():
        # A feature that is constant says nothing and is not chosen; a linear classifier that has
        # not quite converged ranks the features all the same.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        if method == "univariate":
            selector = SelectKBest(f_classif, k=count)
        elif method == "l1":
            linear = _sparse(features_ND, labels_N, count)
            selector = SelectFromModel(linear, max_features=count, threshold=-math.inf, prefit=True)
        else:
            forest = ExtraTreesClassifier(n_estimators=100, random_state=0)
            selector = SelectFromModel(forest, max_features=count, threshold=-math.inf)
        selector.fit(features_ND, labels_N)
    found: npt.NDArray[np.intp] = selector.get_support(indices=True)
    return found


def _sparse(features_ND: Features, labels_N: Labels, count: int) -> LinearSVC:
    """A linear classifier with the strongest of some penalties that leaves it so many features."""
    for strength in _SPARSE:
        linear = LinearSVC(penalty="l1", dual=False, C=strength, random_state=0)
        if linear.fit(features_ND, labels_N).coef_.any(axis=0).sum() >= count:
            break
    return linear


def fit_head(
    train: tuple[Features, Labels],
    validation: tuple[Features, Labels],
    chosen: npt.NDArray[np.intp],
    classes: int,
) -> LinearHead:
    """A logistic regression on the chosen features, its penalty chosen on validation.

    Args:
        train: features (N, D) and classes (N,) that it is fitted on.
        validation: those by whose cross-entropy the strength of the penalty is chosen; without
            any it is 1.
        chosen: positions of the features that it may use.
        classes: how many there are.
    """
    heads = [
        _fit(train, chosen, classes, strength)
        for strength in (_STRENGTHS if len(validation[1]) else (1.0,))
    ]
    if len(heads) == 1:
        return heads[0]
    features_ND, labels_N = validation
    return min(heads, key=lambda head: cross_entropy(head.logits(features_ND), labels_N))


def cross_entropy(logits_NK: Features, labels_N: Labels) -> float:
    """Mean over the images, in nats."""
    return float(-log_softmax(logits_NK, axis=1)[np.arange(len(labels_N)), labels_N].mean())


def _fit(
    train: tuple[Features, Labels], chosen: npt.NDArray[np.intp], classes: int, strength: float
) -> LinearHead:
    features_ND, labels_N = train
    scaler = StandardScaler()
    scaled_NM = scaler.fit_transform(features_ND[:, chosen])
    model = LogisticRegression(C=strength, max_iter=500)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit(scaled_NM, labels_N)
    present = model.classes_
    coefficients, intercepts = model.coef_, model.intercept_
    if len(present) == 2:  # one row stands for the second class against the first
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    # The head sees features as they are: what standardised them becomes part of it.
    coefficients = coefficients / scaler.scale_
    weight_KD = np.zeros((classes, features_ND.shape[1]))
    bias_K = np.full(classes, _NEVER)
    weight_KD[np.ix_(present, chosen)] = coefficients
    bias_K[present] = intercepts - coefficients @ scaler.mean_
    return LinearHead(weight_KD, bias_K, strength)


def _some(labels_N: Labels) -> npt.NDArray[np.intp]:
    """Positions of at most so many images as selection looks at, in the classes' proportions."""
    if len(labels_N) <= _MOST_IMAGES:
        return np.arange(len(labels_N))
    # The rarest classes in whole: a share of them may be nobody.
    rng = np.random.default_rng(0)
    share = _MOST_IMAGES / len(labels_N)
    drawn = []
    for label in np.unique(labels_N):
        of_class = np.flatnonzero(labels_N == label)
        count = min(len(of_class), max(_FEW_IMAGES, round(share * len(of_class))))
        drawn.append(rng.choice(of_class, count, replace=False))
    return np.sort(np.concatenate(drawn))
