import math

import pytest

from reslab.errors import UserError
from reslab.spec.optimizers import SGD, Adam, AdamW
from reslab.spec.run import RunSpec
from reslab.spec.text import build, nest


@pytest.mark.parametrize(
    ("kind", "setting", "values"),
    [
        ("sgd", "momentum", [-0.1, 1, True, math.nan]),
        ("sgd", "nesterov", [1, "auto"]),
        ("adam", "beta1", [-0.1, 1.0]),
        ("adamw", "beta2", [1, math.inf]),
    ],
)
def test_settings_of_a_kind_are_checked(kind, setting, values):
    for value in values:
        told = f"^training.optimizer.{setting} cannot be used: expected "
        with pytest.raises(UserError, match=told):
            build(RunSpec, nest("training.optimizer", {"kind": kind, setting: value}))


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("adam", "momentum"),
        ("adamw", "nesterov"),
        ("sgd", "beta1"),
    ],
)
def test_a_setting_without_meaning_for_the_kind_does_not_exist(kind, setting):
    with pytest.raises(UserError, match=f"^unknown setting training.optimizer.{setting}; "):
        build(RunSpec, nest("training.optimizer", {"kind": kind, setting: 0.5}))


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("sgd", SGD),
        ("adam", Adam),
        ("adamw", AdamW),
    ],
)
def test_the_kind_chooses_the_section(kind, made):
    assert type(build(RunSpec, nest("training.optimizer.kind", kind)).training.optimizer) is made
