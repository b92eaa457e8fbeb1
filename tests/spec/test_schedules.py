import math

import pytest

from reslab.errors import UserError
from reslab.spec.run import RunSpec
from reslab.spec.schedules import Constant, Cosine, MultiStep, OneCycle, Step
from reslab.spec.text import build, nest


@pytest.mark.parametrize(
    ("kind", "setting", "values"),
    [
        ("constant", "warmup_epochs", [-1, math.nan, True]),
        ("step", "every", [0, 1.5, True]),
        ("step", "factor", [0, -1, math.inf]),
        ("multistep", "milestones", [[], [0], [-1.0], [math.nan], ["0.5"], [True], "0.5", 1]),
        ("cosine", "final", [1, -0.1]),
        ("onecycle", "warmup", [0, 1]),
        ("onecycle", "start", [1, -0.1]),
    ],
)
def test_settings_of_a_kind_are_checked(kind, setting, values):
    for value in values:
        told = f"^training.schedule.{setting} cannot be used: expected "
        with pytest.raises(UserError, match=told):
            build(RunSpec, nest("training.schedule", {"kind": kind, setting: value}))


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("cosine", "milestones"),
        ("constant", "factor"),
        ("onecycle", "warmup_epochs"),
        ("step", "final"),
    ],
)
def test_a_setting_without_meaning_for_the_kind_does_not_exist(kind, setting):
    with pytest.raises(UserError, match=f"^unknown setting training.schedule.{setting}; "):
        build(RunSpec, nest("training.schedule", {"kind": kind, setting: 0.5}))


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("constant", Constant),
        ("step", Step),
        ("multistep", MultiStep),
        ("cosine", Cosine),
        ("onecycle", OneCycle),
    ],
)
def test_the_kind_chooses_the_section(kind, made):
    assert type(build(RunSpec, nest("training.schedule.kind", kind)).training.schedule) is made


def test_milestones_may_come_as_a_list_and_stay_a_tuple():
    asked = {"kind": "multistep", "milestones": [30, 0.75]}
    found = build(RunSpec, nest("training.schedule", asked)).training.schedule
    assert found.milestones == (30.0, 0.75)
