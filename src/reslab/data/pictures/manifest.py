"""A manifest: a text file with a line for each picture, its class, and maybe split and group."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from reslab.data.pictures.layout import SPLIT_FOLDERS
from reslab.data.pictures.listing import Listed, Listing
from reslab.data.pictures.stores import Files
from reslab.errors import UserError
from reslab.wording import shown

_COLUMNS = ("path", "label", "split", "group")
# Spreadsheets of languages with decimal commas write CSV with semicolons.
_DELIMITERS = {".csv": (",", ";"), ".tsv": ("\t",)}

# Faults that are told at once.
_MOST_FAULTS = 5


def read_manifest(path: Path) -> Listing:
    """The pictures that a manifest names.

    A CSV or TSV file has a line with the columns' names first: ``path`` and ``label``, and maybe
    ``split`` (train, val or test) and ``group`` (of those that belong together); a JSONL file has
    an object with these keys in each line. Other columns are not looked at. In a CSV file commas
    or semicolons may stand between the columns. Paths count from the folder of the manifest.

    Raises:
        UserError: where it cannot be read, lacks a column, or has faulty lines, with the first
            of them.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UserError(
            f"the manifest {path} cannot be read",
            received=str(reason).lower(),
            remedy="save it as UTF-8 text, with a line for each picture",
        ) from error
    suffix = path.suffix.lower()
    rows = _json_rows(text) if suffix == ".jsonl" else _csv_rows(path, text)
    files: list[Listed] = []
    faults: list[str] = []
    lines: dict[str, int] = {}
    for number, row in rows:
        found = row if isinstance(row, str) else _listed(row, lines)
        if isinstance(found, str):
            faults.append(f"line {number}: {found}")
        else:
            lines[found.path] = number
            files.append(found)
    if faults:
        more = f", and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise UserError(
            f"the manifest {path} has faulty lines",
            received="; ".join(faults[:_MOST_FAULTS]) + more,
            remedy="mend or delete them",
        )
    if not files:
        raise UserError(f"the manifest {path} names no pictures", expected="a line for each")
    if {file.split for file in files} >= {None, "train"}:
        raise UserError(
            f"the manifest {path} says of some pictures only which split they belong to",
            expected="a split for all, or none for those that are to be split",
            remedy="fill the column, or leave it out",
        )
    _check_groups(path, files)
    return Listing(store=Files(path.parent), files=tuple(files), origin=path)


def _check_groups(path: Path, files: Sequence[Listed]) -> None:
    """Refuse groups that are in more than one split, or in one and left open besides."""
    splits: dict[str, set[str]] = defaultdict(set)
    for file in files:
        if file.group is not None:
            splits[file.group].add(file.split or "none")
    divided = {group: found for group, found in splits.items() if len(found) > 1}
    if divided:
        group, found = next(iter(divided.items()))
        raise UserError(
            f"the manifest {path} divides groups between splits",
            expected="all pictures of a group in one split",
            received=f"group {group} in {' and '.join(sorted(found))}"
            + (f", and {len(divided) - 1} more groups" if len(divided) > 1 else ""),
            remedy="mend the column split, or group",
        )


def _open_csv(path: Path, text: str) -> csv.DictReader[str]:
    """A reader whose columns have their names."""
    found: list[str] = []
    delimiters = _DELIMITERS[path.suffix.lower()]
    for delimiter in delimiters:
        # Strict, since a quote that is not closed would take in the lines after it.
        reader = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            names = [str(name).strip().lower() for name in reader.fieldnames or ()]
        except csv.Error as error:
            names = [str(error).lower()]
        if {"path", "label"} <= set(names):
            reader.fieldnames = names
            return reader
        found = max(found, names, key=len)
    raise UserError(
        f"the manifest {path} lacks columns",
        expected=f"a first line with their names: path{delimiters[0]}label, then maybe split and "
        "group",
        received=", ".join(found)[:200] or "nothing",
        remedy="add the line, or name the columns so",
    )


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Number and content of each line below the names of the columns."""
    reader = _open_csv(path, text)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield number, f"{error}, as after a quote that is not closed"
            return
        if row is None:
            return
        if None in row:
            yield reader.line_num, "too many columns"
        elif over := [name for name in _COLUMNS if "\n" in (row.get(name) or "")]:
            yield number, f"{over[0]} goes over several lines, as after a quote that is not closed"
        else:
            yield reader.line_num, row


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Number and object of each line that is not empty."""
    # Other ends of lines, such as U+2028, may stand in a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, f"no JSON: {error.msg}"
            continue
        except RecursionError:
            yield number, "no JSON object that is read: nested too deeply"
            continue
        except ValueError:
            yield number, "no JSON object that is read: a number of too many digits"
            continue
        yield number, row if isinstance(row, dict) else "no JSON object"


def _listed(row: Mapping[str, Any], lines: Mapping[str, int]) -> Listed | str:
    """The picture of a line, or what is wrong with it."""
    told = {name: _told(row.get(name)) for name in _COLUMNS}
    for name, text in told.items():
        if text is None:
            return f"the {name} is neither text nor a number"
        if not _is_name(text):
            return f"the {name} holds what no name of a file may: {shown(text)}"
    if not told["path"] or not told["label"]:
        return f"no {'path' if not told['path'] else 'label'}"
    path = PurePosixPath(told["path"]).as_posix()
    if path in lines:
        return f"{path} again, as in line {lines[path]}"
    split = None
    if told["split"]:
        split = SPLIT_FOLDERS.get(told["split"].lower())
        if split is None:
            return f"the split {told['split']!r}, which is none of train, val and test"
    return Listed(path=path, label=told["label"], split=split, group=told["group"] or None)


def _told(value: Any) -> str | None:
    """A cell as text; numbers are names too. None: it is neither."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value).strip()


def _is_name(text: str) -> bool:
    """Whether a file may be called so: JSON can write halves of characters, and NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
