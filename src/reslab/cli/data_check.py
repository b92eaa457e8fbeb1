"""``reslab data check``: what is wrong with a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reslab.catalog.datasets import Background
from reslab.cli.arguments import Json
from reslab.cli.output import print_json, print_line, tell
from reslab.errors import UserError
from reslab.wording import one_line, shown
from reslab.writing import check_parent, write_atomically

if TYPE_CHECKING:
    from reslab.data.checks.check import Checked
    from reslab.data.checks.findings import Finding

# Files that are named of each finding; --json names all.
_SHOWN = 3

# Pictures after which it is told how many were looked at.
_TOLD_EACH = 2000


def check(
    place: Annotated[
        str, Parameter(help="folder or manifest of pictures, or what else train takes as --data")
    ],
    /,
    *,
    fix_list: Annotated[
        Path | None,
        Parameter(help="file to write the pictures to that had better be left out"),
    ] = None,
    exclude: Annotated[
        Path | None, Parameter(help="such a file, whose pictures are not looked at")
    ] = None,
    background: Annotated[
        Background, Parameter(help="what transparent pixels will be laid on")
    ] = "grey",
    json: Json = False,
) -> None:
    """Look for whatever is wrong with a folder or manifest of pictures; 2 is returned on errors."""
    if fix_list is not None:
        check_parent(fix_list, "--fix-list")
    from reslab.data.checks.check import check_pictures
    from reslab.data.pictures.folder import FileSettings, open_folder
    from reslab.data.pictures.path_lists import format_reasons, read_paths
    from reslab.engine.machine import inspect_machine

    excluded = () if exclude is None else read_paths(exclude)
    source = open_folder(place, FileSettings(exclude=excluded, test=0.0))
    if excluded:
        source.listing.check_excluded(excluded)

    def told(done: int, whole: int) -> None:
        if done % _TOLD_EACH == 0 and done < whole:
            tell(f"looked at {done:,} of {whole:,} pictures")

    checked = check_pictures(
        source.listing,
        source.card.image_size,
        background=background,
        workers=inspect_machine().cpus,
        tell=told,
    )
    leave_out = checked.to_leave_out()
    if fix_list is not None:
        write_atomically(fix_list, format_reasons(leave_out).encode())
    if json:
        print_json(_document(place, checked, source.card.image_size))
    else:
        for finding in checked.findings:
            _print(finding)
        _summarise(checked)
        if fix_list is not None:
            print_line(
                f"{fix_list} names {len(leave_out):,} to leave out: reslab train --data {place} "
                f"--exclude {fix_list}"
            )
    errors = [f.kind.name for f in checked.findings if f.kind.severity == "error"]
    if errors:
        raise UserError(
            f"{place} has errors",
            received=", ".join(errors),
            remedy="mend them, or train without what --fix-list names",
        )


def _document(place: str, checked: Checked, image_size: int) -> dict[str, Any]:
    return {
        "data": place,
        "pictures": checked.pictures,
        "image_size": image_size,
        "findings": [
            {
                "kind": finding.kind.name,
                "severity": finding.kind.severity,
                "what": finding.kind.what,
                "files": list(finding.files),
                "told": finding.told,
                "remedy": finding.kind.remedy,
            }
            for finding in checked.findings
        ],
    }


def _print(finding: Finding) -> None:
    count, kind = len(finding.files), finding.kind
    more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
    print_line(f"{kind.severity}: {kind.what}: {count:,} ({kind.name})")
    print_line(f"  {', '.join(map(shown, finding.files[:_SHOWN]))}{more}")
    if finding.told:
        print_line(f"  {one_line(finding.told)}")
    print_line(f"  {kind.remedy}")


def _summarise(checked: Checked) -> None:
    for split, classes in checked.pictures.items():
        where = "" if split == "all" else f"{split}: "
        print_line(f"{where}{sum(classes.values()):,} pictures of {len(classes):,} classes")
    if not checked.findings:
        print_line("nothing is wrong with them")
        return
    counts = [
        sum(finding.kind.severity == severity for finding in checked.findings)
        for severity in ("error", "warning", "note")
    ]
    print_line("kinds of errors, warnings, notes: {}, {}, {}".format(*counts))
