import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torchvision.datasets as published

from reslab.catalog.data_names import name_and_root
from reslab.catalog.datasets import DATASETS, DataCard
from reslab.errors import UserError

CARDS = {card.name: card for card in DATASETS}
everyone = pytest.mark.parametrize("card", DATASETS, ids=lambda card: card.name)


def test_the_names_are_unique_and_the_expected_ones():
    names = [card.name for card in DATASETS]
    assert len(set(names)) == len(names)
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100"} <= set(names)


@everyone
def test_a_card_is_complete_and_plausible(card: DataCard):
    assert re.fullmatch(r"[a-z][a-z0-9-]*", card.name)
    assert card.title
    assert card.licence
    assert card.source
    assert card.channels in (1, 3)
    assert card.image_size > 0
    assert card.train_images > card.test_images > 0
    assert len(set(card.classes)) == len(card.classes) >= 2
    assert all(name == name.strip() and name for name in card.classes)


@everyone
def test_published_files_have_a_plain_name_and_an_md5_sum(card: DataCard):
    for file in card.files:
        assert re.fullmatch(r"[0-9a-f]{32}", file.md5)
        assert re.fullmatch(r"[A-Za-z0-9._-]+", file.name)
        assert not file.url or file.url.startswith("https://")


def test_a_card_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        CARDS["mnist"].flip = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "twin"), [("mnist", published.MNIST), ("fashion-mnist", published.FashionMNIST)]
)
def test_idx_files_are_those_that_torchvision_knows(name, twin):
    card = CARDS[name]
    assert [(file.name, file.md5) for file in card.files] == twin.resources
    assert card.folder == twin.__name__


@pytest.mark.parametrize(
    ("name", "twin"), [("cifar10", published.CIFAR10), ("cifar100", published.CIFAR100)]
)
def test_cifar_files_are_those_that_torchvision_knows(name, twin):
    card = CARDS[name]
    archive, *batches = card.files
    assert (archive.name, archive.md5, archive.url) == (twin.filename, twin.tgz_md5, twin.url)
    known = [tuple(entry) for entry in twin.train_list + twin.test_list]
    assert [(file.name, file.md5) for file in batches] == known
    assert card.folder == twin.base_folder


def test_class_names():
    assert CARDS["mnist"].classes == tuple("0123456789")
    assert list(CARDS["fashion-mnist"].classes) == published.FashionMNIST.classes
    assert CARDS["cifar10"].classes[:3] == ("airplane", "automobile", "bird")
    hundred = CARDS["cifar100"].classes
    assert len(hundred) == 100
    assert list(hundred) == sorted(hundred)
    # Spot checks of the published numbering.
    assert (hundred[0], hundred[49], hundred[99]) == ("apple", "mountain", "worm")


def test_a_mirrored_digit_is_no_digit():
    assert {card.name for card in DATASETS if card.flip} == {
        "fashion-mnist",
        "cifar10",
        "cifar100",
    }


def test_licences():
    assert CARDS["mnist"].licence == "CC BY-SA 3.0"
    assert CARDS["fashion-mnist"].licence == "MIT"
    assert CARDS["cifar10"].licence.startswith("none stated")


def test_reading_the_cards_imports_no_torch():
    code = "import sys, reslab.catalog.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_link_to_itself_has_a_label(tmp_path: Path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert name_and_root(str(loop)) == ("folder:loop", str(loop))


@pytest.mark.parametrize(
    ("place", "received"),
    [
        ("~no-such-user/x", "~ with no such user"),
        ("x" * 5000, "file name too long"),
    ],
)
def test_paths_that_cannot_be_followed_are_told(place: str, received: str):
    with pytest.raises(UserError, match=f"cannot be found: received {received}; check the path"):
        name_and_root(place)
