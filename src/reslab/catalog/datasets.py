"""The data sets that have a name, as cards: a new data set is one card and one reader.

Torch-free literals. The readers are in ``reslab.data``; a card names its reader by ``kind``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_DIGITS = tuple("0123456789")

# Spelt as the publisher spells them, and as torchvision does.
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# The fine labels of CIFAR-100; the files number them in alphabetical order.
_CIFAR100_TEXT = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew
skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf
woman worm
"""
_CIFAR100 = tuple(_CIFAR100_TEXT.split())

_NO_LICENCE = "none stated; the publisher asks to cite the report"


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A published file.

    Attributes:
        name: its name, without folders.
        md5: the published MD5 sum, in hexadecimal.
        url: the address that it is downloaded from; empty where torchvision knows the mirrors
            and for a file that comes inside an archive.
    """

    name: str
    md5: str
    url: str = ""


# Files that name pictures with their classes; see ``reslab.data.pictures.manifest``.
MANIFESTS = (".csv", ".tsv", ".jsonl")

# How a picture of any size becomes a square: see ``reslab.data.pictures.preprocess.Fit``.
FitPolicy = Literal["crop", "pad", "squash"]
Background = Literal["black", "grey", "white"]


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What is known about a data set before any of its images is read.

    Attributes:
        name: the name under which ``--data`` finds it.
        title: its full name.
        kind: the reader in ``reslab.data`` (``digits``, ``idx``, ``cifar``, ``arrays``).
        classes: class names, in the order of the labels.
        channels: 1 grey, 3 colour.
        image_size: side of the square images, in pixels.
        train_images: images published for training (validation is split off from them).
        test_images: images published for testing.
        flip: whether a mirrored image keeps its meaning (a mirrored digit does not).
        licence: the terms under which the images are published.
        source: who published them.
        folder: the folder under ``--root``, in torchvision's layout.
        files: the published files, where the data set is not bundled with a library; of a
            ``cifar`` card the archive comes first, then the files in it that hold images.
    """

    name: str
    title: str
    kind: str
    classes: tuple[str, ...]
    channels: int
    image_size: int
    train_images: int
    test_images: int
    flip: bool
    licence: str
    source: str
    folder: str = ""
    files: tuple[DataFile, ...] = ()


DATASETS: tuple[DataCard, ...] = (
    DataCard(
        name="digits",
        title="Optical recognition of handwritten digits",
        kind="digits",
        classes=_DIGITS,
        channels=1,
        image_size=8,
        train_images=1437,
        test_images=360,
        flip=False,
        licence="CC BY 4.0",
        source="Alpaydin and Kaynak 1998, UCI; bundled with scikit-learn",
    ),
    DataCard(
        name="mnist",
        title="MNIST handwritten digits",
        kind="idx",
        classes=_DIGITS,
        channels=1,
        image_size=28,
        train_images=60_000,
        test_images=10_000,
        flip=False,
        licence="CC BY-SA 3.0",
        source="LeCun, Cortes and Burges 1998, from NIST's special databases 1 and 3",
        folder="MNIST",
        files=(
            DataFile(name="train-images-idx3-ubyte.gz", md5="f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            DataFile(name="train-labels-idx1-ubyte.gz", md5="d53e105ee54ea40749a09fcbcd1e9432"),
            DataFile(name="t10k-images-idx3-ubyte.gz", md5="9fb629c4189551a2d022fa330f9573f3"),
            DataFile(name="t10k-labels-idx1-ubyte.gz", md5="ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    DataCard(
        name="fashion-mnist",
        title="Fashion-MNIST articles of clothing",
        kind="idx",
        classes=_FASHION,
        channels=1,
        image_size=28,
        train_images=60_000,
        test_images=10_000,
        flip=True,
        licence="MIT",
        source="Xiao, Rasul and Vollgraf 2017 (arXiv 1708.07747), Zalando SE",
        folder="FashionMNIST",
        files=(
            DataFile(name="train-images-idx3-ubyte.gz", md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            DataFile(name="train-labels-idx1-ubyte.gz", md5="25c81989df183df01b3e8a0aad5dffbe"),
            DataFile(name="t10k-images-idx3-ubyte.gz", md5="bef4ecab320f06d8554ea6380940ec79"),
            DataFile(name="t10k-labels-idx1-ubyte.gz", md5="bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    DataCard(
        name="cifar10",
        title="CIFAR-10 natural images",
        kind="cifar",
        classes=_CIFAR10,
        channels=3,
        image_size=32,
        train_images=50_000,
        test_images=10_000,
        flip=True,
        licence=_NO_LICENCE,
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        folder="cifar-10-batches-py",
        files=(
            DataFile(
                name="cifar-10-python.tar.gz",
                md5="c58f30108f718f92721af3b95e74349a",
                url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            ),
            DataFile(name="data_batch_1", md5="c99cafc152244af753f735de768cd75f"),
            DataFile(name="data_batch_2", md5="d4bba439e000b95fd0a9bffe97cbabec"),
            DataFile(name="data_batch_3", md5="54ebc095f3ab1f0389bbae665268c751"),
            DataFile(name="data_batch_4", md5="634d18415352ddfa80567beed471001a"),
            DataFile(name="data_batch_5", md5="482c414d41f54cd18b22e5b47cb7c3cb"),
            DataFile(name="test_batch", md5="40351d587109b95175f43aff81a1287e"),
        ),
    ),
    DataCard(
        name="cifar100",
        title="CIFAR-100 natural images, fine labels",
        kind="cifar",
        classes=_CIFAR100,
        channels=3,
        image_size=32,
        train_images=50_000,
        test_images=10_000,
        flip=True,
        licence=_NO_LICENCE,
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        folder="cifar-100-python",
        files=(
            DataFile(
                name="cifar-100-python.tar.gz",
                md5="eb9058c3a382ffc7106e4002c42a8d85",
                url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            ),
            DataFile(name="train", md5="16019d7e3df5f24257cddd939b257f8d"),
            DataFile(name="test", md5="f0ef6b0ae62326f3e7ffdfab6717acfc"),
        ),
    ),
)
