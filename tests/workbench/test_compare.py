"""Cross-validations compared on the same folds, and refused on others."""

from __future__ import annotations

from pathlib import Path

import pytest

import reslab
from reslab.errors import UserError
from reslab.evaluation.paired import corrected_t_test
from reslab.workbench.compare import compare_folds
from reslab.workbench.cross_validate import cross_validate
from reslab.workbench.folds import CrossValidation


def validate(source: reslab.ArraySource, out: Path, lr: float, **data: object) -> CrossValidation:
    spec = reslab.recipe(
        data={"folds": 3, **data},
        training={"epochs": 3, "batch_size": 8, "lr": lr, "optimizer": "sgd"},
    )
    return cross_validate(spec, data=source, out=out)


@pytest.fixture(scope="module")
def learned(
    tiny_source: reslab.ArraySource, tmp_path_factory: pytest.TempPathFactory
) -> CrossValidation:
    return validate(tiny_source, tmp_path_factory.mktemp("a") / "run", 0.05)


def test_specifications_that_differ(
    learned: CrossValidation, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    never = validate(tiny_source, tmp_path / "run", 1e-8)
    found = compare_folds(learned, never, metric="loss")
    assert found.test.mean < 0
    assert found.shown
    assert found.test.p is not None
    assert found.settings == {"training.lr": (0.05, 1e-8)}
    back = compare_folds(never, learned, metric="loss")
    assert back.test.mean == pytest.approx(-found.test.mean)
    assert back.test.p == pytest.approx(found.test.p)
    assert back.scores == tuple((b, a) for a, b in found.scores)


def test_the_same_specification_twice(
    learned: CrossValidation, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    again = validate(tiny_source, tmp_path / "run", 0.05)
    found = compare_folds(learned, again)
    assert (found.test.mean, found.test.p, found.shown) == (0.0, 1.0, False)
    assert found.settings == {}


def test_the_larger_share_counts_both_ways_round(
    learned: CrossValidation, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    fewer = validate(tiny_source, tmp_path / "run", 0.01, limit=30)
    assert fewer.summary["scores"][0]["train_images"] == 30
    pairs = ((learned, fewer), (fewer, learned))
    one, other = (compare_folds(*pair, metric="loss") for pair in pairs)
    assert one.test.p == pytest.approx(other.test.p)
    # 40 images score what was trained on 30.
    expected = corrected_t_test([a - b for a, b in one.scores], 40 / 30)
    assert one.test.p == pytest.approx(expected.p)


@pytest.mark.parametrize(
    ("data", "told"), [({"folds": 4}, "number of folds"), ({"split_seed": 1}, "split_seed")]
)
def test_other_folds_cannot_be_compared(
    learned: CrossValidation,
    tiny_source: reslab.ArraySource,
    tmp_path: Path,
    data: dict[str, int],
    told: str,
) -> None:
    with pytest.raises(UserError, match=told):
        compare_folds(learned, validate(tiny_source, tmp_path / "run", 0.05, **data))
