"""A folder or a manifest of pictures as a data set.

Shape suffixes: ``N`` images.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from reslab.catalog.data_names import name_of
from reslab.catalog.datasets import Background, DataCard, FitPolicy
from reslab.data.pictures.headers import all_grey, usual_size
from reslab.data.pictures.ingest import ingest
from reslab.data.pictures.listing import Listed, Listing
from reslab.data.pictures.pace import Pace
from reslab.data.pictures.parts import Parts, divide, of_rank, take_out
from reslab.data.pictures.places import list_place
from reslab.data.pictures.preprocess import Fit
from reslab.data.pictures.undecoded import Undecoded
from reslab.data.source import Images
from reslab.data.split import number_groups
from reslab.engine.machine import inspect_machine
from reslab.errors import UserError
from reslab.wording import shown

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """How picture files are read and split.

    Attributes:
        fit: see ``reslab.data.pictures.preprocess.Fit``.
        background: likewise.
        image_size: side of the images in pixels; None: by the size of the pictures.
        channels: of the images; None: grey where all pictures are that are not for the test.
        test: share that is split off for the test where no pictures are for it; 1: nothing is
            trained on, and tested is what is for validation, or else all.
        split_seed: of that split.
        classes: in the order of the labels; None: those that there are.
        exclude: paths that are left out.
        tested: paths that were drawn for the test before, and so are it again; None: none were.
        rank: which of how many processes this is, each of which learns from a part of the pictures
            for training; the classes are those of all of them, and the test is everybody's.
        room: bytes that the cache of decoded pictures may take.
    """

    fit: FitPolicy = "crop"
    background: Background = "grey"
    image_size: int | None = None
    channels: int | None = None
    test: float = 0.15
    split_seed: int = 0
    classes: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    tested: tuple[str, ...] | None = None
    rank: tuple[int, int] = (0, 1)
    room: int = 20 * 2**30


class FolderSource:
    """Pictures in folders of classes, named by a manifest, in shards, or wherever else.

    Args:
        listing: which there are.
        settings: how they are read and split.

    Raises:
        UserError: where there are no classes, or fewer than two.
    """

    def __init__(self, listing: Listing, settings: FileSettings | None = None) -> None:
        self._settings = settings or FileSettings()
        excluded = self._settings.exclude
        self.listing = listing.without(excluded) if excluded else listing
        self._classes = _check_classes(self.listing, self._settings.classes)

    @cached_property
    def card(self) -> DataCard:
        """What is known of it before a picture is decoded."""
        fit = self._fit
        return DataCard(
            name=name_of(self.listing.origin),
            title=str(self.listing.origin),
            kind="folder",
            classes=self._classes,
            channels=fit.channels,
            image_size=fit.size,
            train_images=len(self.parts[0]),
            test_images=len(self.parts[1]),
            flip=True,
            licence="not stated",
            source=f"the files in {self.listing.origin}",
        )

    def load_train(self) -> Images:
        """The pictures for training and validation; those that cannot be decoded are left out.

        Raises:
            UserError: where none of them can be.
        """
        files = self._check_some_learn()
        images, rows_N = self._load(files)
        return _with_parts(images, [files[row] for row in rows_N])

    def load_undecoded(self) -> Images:
        """What ``load_train`` would give if all could be decoded, which a look at some spares."""
        files = self._check_some_learn()
        pixels = Undecoded(self.listing.store, tuple(file.path for file in files), self._fit)
        return _with_parts(Images(pixels, self._labels(files)), files)

    def _check_some_learn(self) -> tuple[Listed, ...]:
        """The pictures for training and validation, if there are any."""
        if not self.parts[0]:
            raise UserError(
                f"{self.listing.origin} has no pictures for training",
                received=f"{len(self.parts[1]):,} for the test alone",
                remedy="add a folder train with the same classes, or set data.test below 1",
            )
        return self.parts[0]

    def load_test(self) -> Images:
        """The pictures for the test, as ``load_train`` those for training."""
        tested = self._settings.tested
        if not self.parts[1] and tested:
            raise UserError(
                f"{self.listing.origin} has none of the pictures that were drawn for the test",
                expected=f"{len(tested):,} such as {shown(tested[0])}",
                remedy="give the folder that has them with --root",
            )
        if not self.parts[1]:
            raise UserError(
                f"{self.listing.origin} has no test images",
                remedy="add a folder test with the same classes, name the folder of those that are "
                "to be scored with --data, or evaluate --split val",
            )
        return self._load(self.parts[1])[0]

    @cached_property
    def _fit(self) -> Fit:
        asked = self._settings
        size, channels = asked.image_size, asked.channels
        # What is tested decides nothing, unless there is nothing else.
        learned = self.parts[0] or self.parts[1]
        if size is None:
            size = usual_size(self.listing.store, learned)
        if channels is None:
            channels = 1 if all_grey(self.listing.store, learned) else 3
        return Fit(channels=channels, size=size, policy=asked.fit, background=asked.background)

    @property
    def drawn(self) -> tuple[str, ...]:
        """Paths of the pictures that were drawn for the test; none where the data set has one."""
        return tuple(file.path for file in self.parts[1] if file.split != "test")

    def checksums(self, paths: Iterable[str]) -> dict[str, str]:
        """What tells the content of each picture's file; empty where it cannot be read."""
        store = self.listing.store

        def check(path: str) -> str:
            try:
                return f"crc32 {zlib.crc32(store.read(path)):08x}"
            except (OSError, UserError):
                return ""

        names = list(paths)
        with ThreadPoolExecutor(inspect_machine().cpus, thread_name_prefix="checksums") as pool:
            return dict(zip(names, pool.map(check, names), strict=True))

    @property
    def has_test(self) -> bool:
        """Whether some pictures are for the test by themselves, so that none are drawn for it."""
        return bool(self.listing.of("test"))

    @property
    def untested(self) -> tuple[str, ...]:
        """Classes that no picture for the test is of, though there are some of others."""
        tested = {file.label for file in self.parts[1]}
        return tuple(name for name in self._classes if name not in tested) if tested else ()

    @property
    def not_excluded(self) -> tuple[str, ...]:
        """See ``Listing.not_there`` of ``FileSettings.exclude``."""
        return self.listing.not_there(self._settings.exclude)

    @property
    def gone(self) -> tuple[str, ...]:
        """Those of ``FileSettings.tested`` that are no longer there."""
        there = {file.path for file in self.parts[1]}
        return tuple(path for path in self._settings.tested or () if path not in there)

    @property
    def scored(self) -> Literal["test", "val", "all"]:
        """What is tested where nothing is trained on: see ``FileSettings.test``."""
        if self.listing.of("test"):
            return "test"
        return "val" if self.listing.of("val") else "all"

    @cached_property
    def parts(self) -> Parts:
        """Pictures for training and validation, and for the test."""
        asked = self._settings
        if asked.tested is not None:
            pool, test = take_out(self.listing.files, asked.tested)
        else:
            pool, test = divide(self.listing, asked.test, seed=asked.split_seed)
        return of_rank(pool, *asked.rank), test

    def _labels(self, files: Sequence[Listed]) -> npt.NDArray[np.int64]:
        numbers = {name: number for number, name in enumerate(self._classes)}
        return np.array([numbers[file.label] for file in files], np.int64)

    def _load(self, files: Sequence[Listed]) -> tuple[Images, npt.NDArray[np.intp]]:
        found = ingest(
            self.listing.store,
            [file.path for file in files],
            self._fit,
            room=self._settings.room,
            workers=inspect_machine().cpus,
            tell=Pace().tell,
        )
        if not len(found.rows_N):
            raise UserError(
                f"none of the {len(files):,} pictures in {self.listing.origin} can be decoded",
                received=next(iter(found.faults.values()), "no pictures"),
                remedy="`reslab data check` tells what is wrong with each",
            )
        # What is tested is read once.
        if found.pixels_NCHW.homeless and files is self.parts[0]:
            _LOG.warning(
                "warning: %s of %s pictures have no room in the cache and are decoded in each "
                "epoch; give it more with --cache-size",
                f"{found.pixels_NCHW.homeless:,}",
                f"{len(found.rows_N):,}",
            )
        labels_N = self._labels([files[row] for row in found.rows_N])
        return Images(found.pixels_NCHW, labels_N, faults=found.faults), found.rows_N


def open_folder(place: str | Path, settings: FileSettings | None = None) -> FolderSource:
    """The pictures of whatever ``list_place`` takes.

    Raises:
        UserError: where there is none.
    """
    return FolderSource(list_place(place), settings)


def _with_parts(images: Images, files: Sequence[Listed]) -> Images:
    """The images with what their files say of validation and groups."""
    groups = [file.group for file in files]
    if any(file.split == "val" for file in files):
        images = replace(images, judged_N=np.array([file.split == "val" for file in files]))
    if any(groups):
        images = replace(images, groups_N=number_groups(groups))
    return images


def _check_classes(listing: Listing, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The classes in the order of their labels."""
    found = listing.classes
    # As Python reads bytes of a name that are no UTF-8, which no text file can hold.
    odd = [name for name in found if re.search("[\ud800-\udfff]", name)]
    if odd:
        raise UserError(
            f"a class of {listing.origin} has a name that is no UTF-8",
            received=shown(odd[0]),
            remedy="rename its folder",
        )
    if wanted is not None:
        unknown = sorted(set(found) - set(wanted))
        if unknown:
            raise UserError(
                f"{listing.origin} has classes that the net does not know",
                expected=", ".join(wanted[:12]),
                received=", ".join(unknown[:12]),
                remedy="rename or leave them out",
            )
        return wanted
    if len(found) < 2:
        raise UserError(
            f"{listing.origin} has a single class",
            expected="two folders with pictures at least",
            received=found[0] if found else "none",
            remedy="name the folder that holds the folders of the classes",
        )
    return found
