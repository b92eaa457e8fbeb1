import pytest

from reslab.training.plan import Budget, Plan


def walk(plan):
    positions = []
    while not plan.done:
        positions.append(plan.position)
        plan.advance()
    return positions


def test_without_a_limit_each_step_is_one():
    assert walk(Plan(total=5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "steps"), [(100, 10), (5, 5), (2.5, 2), (0.1, 1), (-3, 1)])
def test_the_rest_takes_as_long_as_it_may(seconds, steps):
    plan = Plan(total=12)
    plan.advance()
    plan.advance()
    plan.fit_into(seconds, 1.0)
    assert plan.steps_left == steps
    assert len(walk(plan)) == steps
    assert plan.position == pytest.approx(12)
    assert plan.steps_left == 0


def test_a_pace_that_changes_is_made_up_for():
    plan, now = Plan(total=1000), 0.0
    while not plan.done:
        pace = 1.0 if now < 30 else 2.0
        plan.fit_into(100 - now, pace)
        plan.advance()
        now += pace
    assert 98 <= now <= 100
    assert plan.position == pytest.approx(1000)


def test_a_stride_is_never_shorter_than_a_step():
    plan = Plan(total=100)
    plan.fit_into(10, 1.0)
    assert plan.stride == 10
    plan.fit_into(1000, 1.0)
    assert plan.stride == 1


def test_a_budget_leaves_time_for_the_last_checkpoint():
    plan = Plan(total=100)
    budget = Budget(ends_at=130.0, validation_seconds=0.0, steps_per_epoch=10, now=lambda: 100.0)
    budget.apply(plan, 1.0, saving=10.0)
    assert plan.steps_left == 20


def test_a_budget_leaves_time_for_validations():
    budget = Budget(ends_at=130.0, validation_seconds=10.0, steps_per_epoch=10, now=lambda: 100.0)
    plan = Plan(total=50)
    budget.apply(plan, 1.0)
    # 20 s are left for steps of 1 s and their share of a validation every tenth step.
    assert plan.steps_left == 10
