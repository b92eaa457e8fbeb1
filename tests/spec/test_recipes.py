import pytest

from reslab.catalog.datasets import DATASETS
from reslab.errors import UserError
from reslab.spec.optimizers import SGD, Adam
from reslab.spec.recipes import RECIPES, find_recipe, recipe, recipe_document
from reslab.spec.run import RunSpec
from reslab.spec.schedules import Constant, Cosine, MultiStep, Step
from reslab.spec.text import build

NAMES = [entry.name for entry in RECIPES]


def test_names_are_unique():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_a_run_and_says_where_it_comes_from(name):
    spec = recipe(name)
    assert isinstance(spec, RunSpec)
    assert spec.recipe == name
    entry = find_recipe(name)
    assert entry.summary and entry.source and "\n" not in entry.summary


@pytest.mark.parametrize("name", NAMES)
def test_what_a_recipe_changes_is_what_comes_out(name):
    def check(changes, made):
        for key, value in changes.items():
            if isinstance(value, dict):
                check(value, made[key])
            else:
                assert made[key] == value

    check(find_recipe(name).changes, recipe(name).model_dump(mode="json"))


def test_the_default_recipe_is_the_default_run():
    assert recipe() == recipe("fast") == RunSpec()


def test_best_is_fast_but_longer_deeper_and_with_erasing():
    longer = recipe("fast", training={"epochs": 120, "time_limit": 2 * 60 * 60})
    model = longer.model.model_copy(update={"name": "resnet20", "shortcut": "B"})
    augment = longer.data.augment.model_copy(update={"erasing": 0.5})
    data = longer.data.model_copy(update={"augment": augment})
    expected = longer.model_copy(update={"recipe": "best", "model": model, "data": data})
    assert recipe("best") == expected


def test_mnist_basic_is_the_note_taken_literally():
    spec = recipe("mnist-basic")
    assert spec.data.name == "mnist"
    assert (spec.data.augment.pad, spec.data.augment.crop) == (4, 32)
    assert spec.data.augment.flip is True
    assert spec.data.augment.cutout == 0
    assert spec.data.validation == 0  # the note splits nothing off
    assert (spec.model.name, spec.model.shortcut) == ("resnet14", "conv3x3")
    assert (spec.training.epochs, spec.training.batch_size, spec.training.lr) == (100, 32, 0.001)
    assert spec.training.optimizer == Adam(beta1=0.9, beta2=0.999)
    assert spec.training.schedule == Constant(warmup_epochs=0.0)
    assert spec.training.weight_decay == 0.0
    assert spec.training.label_smoothing == 0.0


def test_paper_is_section_4_2_of_he_et_al():
    spec = recipe("paper")
    assert spec.data.name == "cifar10"
    assert spec.data.validation == 5000
    assert (spec.data.augment.pad, spec.data.augment.flip) == (4, True)
    assert spec.data.augment.crop in ("auto", 32)
    assert spec.model.shortcut in ("auto", "A")
    assert spec.training.batch_size == 128
    assert spec.training.lr == 0.1
    assert spec.training.optimizer == SGD(momentum=0.9, nesterov=False)
    assert spec.training.weight_decay == 1e-4
    assert spec.training.decay_norm_and_bias is True
    assert spec.training.label_smoothing == 0.0
    # 64,000 steps with drops at 32,000 and 48,000.
    steps_per_epoch = 45_000 // spec.training.batch_size
    assert abs(spec.training.epochs * steps_per_epoch - 64_000) < steps_per_epoch
    assert spec.training.epochs == 182
    assert spec.training.schedule == MultiStep(milestones=(0.5, 0.75), factor=0.1)


def test_cifar100_steplr_is_the_note():
    spec = recipe("cifar100-steplr")
    assert spec.data.name == "cifar100"
    assert spec.model.name in ("resnet18", "resnet34")
    assert spec.training.lr == 0.1
    assert spec.training.epochs == 150
    assert spec.training.schedule == Step(every=60, factor=0.2)
    assert spec.training.label_smoothing == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_no_recipe_mirrors_digits_unless_its_note_does(name):
    spec = recipe(name)
    card = next(card for card in DATASETS if card.name == spec.data.name)
    if not card.flip:
        assert spec.data.augment.flip in ("auto", False) or name == "mnist-basic"


def test_an_unknown_recipe_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown recipe 'mnist-bsic'; did you mean 'mnist-basic'"):
        recipe("mnist-bsic")
    with pytest.raises(UserError, match=f"expected one of {', '.join(NAMES)}"):
        recipe("zzzzzz")


def test_overrides_by_section_and_by_dotted_name():
    by_section = recipe("paper", training={"epochs": 3}, seeds={"base": 7})
    by_name = recipe("paper", **{"training.epochs": 3, "seeds.base": 7})
    assert by_section == by_name
    assert by_section.training.epochs == 3
    assert by_section.training.batch_size == 128


def test_a_change_of_kind_leaves_nothing_of_the_old_kind():
    spec = recipe("paper", training={"schedule": "cosine", "optimizer": {"kind": "adam"}})
    assert spec.training.schedule == Cosine()
    assert spec.training.optimizer == Adam()
    same = recipe("paper", training={"schedule": {"factor": 0.5}})
    assert same.training.schedule == MultiStep(milestones=(0.5, 0.75), factor=0.5)


def test_faults_of_overrides_are_told_at_once():
    with pytest.raises(UserError) as caught:
        recipe("paper", training={"epochs": 0, "lrr": 1}, **{"data.limit": 0.5})
    assert len(str(caught.value).splitlines()) == 4


def test_recipes_cannot_be_changed_through_what_they_give():
    given = recipe_document("paper")["training"]["schedule"]["milestones"]
    kept = find_recipe("paper").changes["training"]["schedule"]["milestones"]
    assert given == kept
    assert given is not kept


def test_a_later_change_wins():
    document = recipe_document("fast", {"seeds": {"base": 1}}, {"seeds": {"base": 2}})
    assert build(RunSpec, document).seeds.base == 2
