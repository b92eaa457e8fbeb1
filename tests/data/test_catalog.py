import subprocess
import sys

import pytest

from reslab.catalog.datasets import DATASETS
from reslab.data.catalog import BUNDLED, READERS, find_card, open_source
from reslab.errors import UserError

names = [card.name for card in DATASETS]
with_files = [card.name for card in DATASETS if card.kind not in BUNDLED]


@pytest.mark.parametrize("name", names)
def test_every_card_has_a_reader_that_opens_without_reading(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = open_source(name)
    assert source.card is find_card(name)
    assert callable(source.load_train)
    assert callable(source.load_test)
    assert list(tmp_path.iterdir()) == []


def test_a_kind_has_one_reader():
    assert not set(BUNDLED) & set(READERS)


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [("fashion_mnist", "fashion-mnist"), ("MNIST", "mnist"), ("cifar-10", "cifar10"),
     ("digit", "digits"), ("CIFAR_100", "cifar100")],
)  # fmt: skip
def test_a_misspelt_name_is_told_with_the_nearest(asked, nearest):
    with pytest.raises(UserError, match=f"unknown data set '{asked}', .* mean '{nearest}'"):
        open_source(asked)


def test_a_name_like_none_of_them_gets_no_guess():
    with pytest.raises(UserError, match="unknown data set 'xyzzy'") as caught:
        open_source("xyzzy")
    assert "did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("name", with_files)
def test_a_root_that_does_not_exist_is_told(name, tmp_path):
    with pytest.raises(UserError, match="missing does not exist; give the folder"):
        open_source(name, tmp_path / "missing")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_root_that_is_a_file_is_told(name, tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(UserError, match="is a file: expected a folder"):
        open_source(name, path)


def test_bundled_digits_take_no_root(tmp_path):
    with pytest.raises(UserError, match="digits is bundled with scikit-learn and takes no --root"):
        open_source("digits", tmp_path)


@pytest.mark.parametrize("name", with_files)
def test_the_root_reaches_the_reader_as_text_or_path(name, tmp_path):
    for root in (tmp_path, str(tmp_path)):
        with pytest.raises(UserError, match=tmp_path.name):
            open_source(name, root).load_train()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=str(tmp_path / "data")):
        open_source("mnist", "~/data").load_train()


def test_opening_a_data_set_imports_neither_torch_nor_scikit_learn():
    code = (
        "import sys; from reslab.data.catalog import open_source; open_source('digits');"
        "sys.exit(bool({'torch', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
