"""``reslab data check``: what is wrong with a folder of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from reslab.catalog.datasets import Background
from reslab.cli.arguments import Json
from reslab.cli.options import in_options
from reslab.cli.output import print_json, print_line, tell, warn
from reslab.errors import UserError
from reslab.wording import one_line, quoted, some
from reslab.writing import check_parent, write_atomically

if TYPE_CHECKING:
    from reslab.data.checks.check import Checked
    from reslab.data.checks.findings import Finding

# The worst first.
_SEVERITIES = ("error", "warning", "note")

# Options of this command that are settings too.
_OPTIONS = ("--background",)

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
    from reslab.workbench.sources import tell_not_excluded

    excluded = () if exclude is None else read_paths(exclude)
    source = open_folder(place, FileSettings(exclude=excluded, test=0.0))
    source.listing.check_excluded(excluded)
    for text in tell_not_excluded(source):
        warn(text)

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
        for finding in sorted(checked.findings, key=_rank):
            _print(finding)
        _summarise(checked)
        if fix_list is not None:
            print_line(_next_step(place, fix_list, len(leave_out), background))
    errors = [finding for finding in checked.findings if finding.kind.severity == "error"]
    if errors:
        raise UserError(
            f"{place} has errors",
            received=", ".join(finding.kind.name for finding in errors),
            remedy=_remedy(errors, fix_list),
        )


def _rank(finding: Finding) -> int:
    return _SEVERITIES.index(finding.kind.severity)


def _next_step(place: str, fix_list: Path, count: int, background: Background) -> str:
    """What to do with the list."""
    if not count:
        return f"{fix_list} names none, since nothing is settled by leaving pictures out"
    # Kept by training only if it is told.
    more = "" if background == "grey" else f" --set data.background={background}"
    return (
        f"{fix_list} names {count:,} to leave out: reslab train --data {quoted(Path(place))} "
        f"--exclude {quoted(fix_list)}{more}"
    )


def _remedy(errors: Sequence[Finding], fix_list: Path | None) -> str:
    """What to do about errors: some are settled by leaving pictures out."""
    settled = [finding.kind.name for finding in errors if finding.kind.leave_out]
    if not settled:
        return "mend them"
    named = "what --fix-list names" if fix_list is None else f"what {fix_list} names"
    if len(settled) == len(errors):
        return f"mend them, or train without {named}"
    return f"mend them; of {', '.join(settled)} it is enough to train without {named}"


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
    kind = finding.kind
    what = in_options(kind.what, _OPTIONS)
    print_line(f"{kind.severity}: {what}: {len(finding.files):,} ({kind.name})")
    print_line(f"  {some(finding.files)}")
    if finding.told:
        print_line(f"  {one_line(finding.told)}")
    print_line(f"  {in_options(kind.remedy, _OPTIONS)}")


def _summarise(checked: Checked) -> None:
    for split, classes in checked.pictures.items():
        where = "" if split == "all" else f"{split}: "
        print_line(f"{where}{sum(classes.values()):,} pictures of {len(classes):,} classes")
    if not checked.findings:
        print_line("nothing is wrong with them")
        return
    counts = [
        sum(finding.kind.severity == severity for finding in checked.findings)
        for severity in _SEVERITIES
    ]
    print_line("kinds of errors, warnings, notes: {}, {}, {}".format(*counts))
