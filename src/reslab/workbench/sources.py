"""From the settings of a run to the data set that they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reslab.catalog.data_names import HUB, SHARDS, is_own, name_and_root
from reslab.data.catalog import find_card, open_source
from reslab.data.groups import read_groups
from reslab.data.pictures.folder import FileSettings, FolderSource
from reslab.data.pictures.path_lists import read_paths
from reslab.data.pictures.preprocess import SUFFIXES
from reslab.data.source import DataSource, Images
from reslab.errors import UserError
from reslab.paths import find_place
from reslab.runs.folder import EXCLUDED, GROUPS, TESTED, RunFolder
from reslab.spec.data import DataSpec
from reslab.spec.resolved import ResolvedRun
from reslab.wording import some
from reslab.workbench.stored import StoredRun

# Settings of folders and manifests alone.
_OF_FOLDERS = ("image_size", "test", "exclude", "cache_size")

# What is told before training of what a listing passed over, by the reason.
_TOLD = {
    "outside": "outside of the classes",
    "unlabelled": "with nothing that tells the classes of the pictures",
    "no_class": "with nothing that tells their class",
    "twice": "of a key that another picture has",
    "damaged": "cut off or damaged, the rest of which is lost",
    "empty": "without pictures",
    "unreadable": "that may not be read",
    "loop": "links that lead back",
}


def source_of(data: DataSpec) -> DataSource:
    """The data set that the settings name.

    Raises:
        UserError: where it cannot be had, or a setting has no meaning for it.
    """
    if not is_own(data.name):
        _refuse_settings_of_folders(data)
    elif data.group_by is not None:
        raise UserError(
            f"data.group_by has no meaning for {data.name}",
            expected="groups in the column group of a manifest",
            remedy="name a manifest with --data, and leave data.group_by out",
        )
    files = _files(data, data.exclude)
    source = open_source(data.name, data.root, files)
    if isinstance(source, FolderSource):
        source.listing.check_excluded(files.exclude)
    return source


def source_again(run: StoredRun, root: str | Path | None = None) -> DataSource:
    """The data set that a run was trained on, its pictures read for the same net.

    Args:
        run: the run, which keeps its lists of what is left out and of what was drawn for the test.
        root: where the data set lies now; None: where the run found it.

    Raises:
        UserError: where it cannot be had.
    """
    data, facts = run.spec.data, run.spec.facts
    if root is None and is_own(data.name):
        _check_there(data.root or "", run)
    kept, tested = run.folder.path / EXCLUDED, run.folder.path / TESTED
    files = replace(
        _files(data, kept if kept.exists() else data.exclude),
        tested=read_paths(tested) if tested.exists() else None,
        image_size=facts.image_size,
        channels=facts.channels,
        classes=facts.classes,
    )
    return open_source(data.name, root or data.root, files)


def _check_there(place: str, run: StoredRun) -> None:
    """Refuse a run whose pictures lie where it found them no longer.

    Raises:
        UserError: where there is no such folder or manifest.
    """
    if not place.startswith((SHARDS, HUB)) and find_place(place) is None:
        raise UserError(
            f"there is no folder or manifest {place}, which {run.path} was trained on",
            remedy="give what holds its pictures now with --root",
        )


def _files(data: DataSpec, exclude: str | Path | None) -> FileSettings:
    """How pictures are read, by the settings and a list of what is left out."""
    return FileSettings(
        fit=data.fit,
        background=data.background,
        image_size=None if data.image_size == "auto" else data.image_size,
        test=data.test,
        split_seed=data.split_seed,
        exclude=() if exclude is None else read_paths(exclude),
        room=data.cache_size,
    )


def _refuse_settings_of_folders(data: DataSpec) -> None:
    """Refuse what a named data set leaves no choice of; its own size may be said again."""
    usual = {name: {DataSpec.model_fields[name].default} for name in _OF_FOLDERS}
    usual["image_size"].add(find_card(data.name).image_size)
    for name in _OF_FOLDERS:
        if getattr(data, name) not in usual[name]:
            raise UserError(
                f"data.{name} has no meaning for {data.name}",
                expected="a folder or manifest of pictures",
                remedy="leave it out",
            )


def other_source(spec: ResolvedRun, data: str, root: str | None) -> DataSource:
    """Another data set, to score a run on: named, or a folder or manifest of pictures.

    Of pictures that are not split all are for the test, else those that are not for training.

    Args:
        spec: of the run, whose classes and images these are to be.
        data: its name, or the folder or manifest.
        root: where the files of a named one lie.

    Raises:
        UserError: where it cannot be had.
    """
    name, place = name_and_root(data, root)
    if not is_own(name):
        return open_source(name, place)
    facts, own = spec.facts, spec.data
    files = replace(
        _files(own, exclude=None),
        image_size=facts.image_size,
        channels=facts.channels,
        classes=facts.classes,
        test=1.0,
    )
    return open_source(name, place, files)


def tell_faults(images: Images) -> tuple[str, ...]:
    """What to say of pictures that are left out since they cannot be decoded."""
    if not images.faults:
        return ()
    plural = "picture is" if len(images.faults) == 1 else "pictures are"
    return (
        f"{len(images.faults):,} {plural} left out, since they cannot be decoded: "
        f"{some(list(images.faults))}; `reslab data check` tells of each",
    )


def tell_passed_over(source: DataSource) -> tuple[str, ...]:
    """What to say of files and folders that whoever made the folder may have meant to be in it."""
    if not isinstance(source, FolderSource):
        return ()
    found: dict[str, list[str]] = {}
    for item in source.listing.passed_over:
        # A readme beside the classes is nobody's picture.
        if item.reason in _TOLD and item.path.lower().endswith(("/", *SUFFIXES)):
            found.setdefault(_TOLD[item.reason], []).append(item.path)
    if not found:
        return ()
    count = sum(len(paths) for paths in found.values())
    parts = [f"{what} ({some(paths)})" for what, paths in found.items()]
    plural = "file or folder is" if count == 1 else "files and folders are"
    return (
        f"{count:,} {plural} passed over: {', '.join(parts)}; `reslab data check` tells of each",
    )


def tell_not_excluded(source: DataSource) -> tuple[str, ...]:
    """What to say of pictures that were to be left out and are not there."""
    names = source.not_excluded if isinstance(source, FolderSource) else ()
    if not names:
        return ()
    fit = "path to be excluded fits" if len(names) == 1 else "paths to be excluded fit"
    return (f"{len(names):,} {fit} no picture of {source.card.title}: {some(names)}",)


def load_published(source: DataSource, data: DataSpec, folder: RunFolder | None = None) -> Images:
    """The published training images, with their groups where the settings name some.

    Args:
        source: the data set.
        data: the settings.
        folder: of the run, which keeps its groups, wherever their file is now; None: there is
            none yet.

    Raises:
        UserError: where they cannot be read.
    """
    published = source.load_train()
    if data.group_by is None:
        return published
    kept = folder is not None and folder.has(GROUPS)
    path = folder.path / GROUPS if kept and folder is not None else data.group_by
    return replace(published, groups_N=read_groups(path, len(published)))
