"""Write docs/performance.md from the results in benchmarks/results, or check that it is up to date.

    python benchmarks/document.py
    python benchmarks/document.py --check

A result is named DATE-KIND.json or DATE-KIND.jsonl, with more words after the kind where it is a
piece. The sections are in ``sections.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reslab.errors import UserError
from sections import SECTIONS, Loaded, gather

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

_INTRODUCTION = """# Performance

<!-- Made by `python benchmarks/document.py` from benchmarks/results. Do not edit. -->

What was measured, on which machine, with which command. Ratios compare contenders that took turns
in one run, each in a process of its own, all with the same number of threads; the interval holds
95 % of bootstrap resamples over the rounds. Beside the figures stand the machine's own limits,
measured in the same run. MFU is 6 x multiply-adds x images/s for training over the best matrix
product of any precision; what is computed again is not counted. The multiply-adds are those of the
plain sum: reslab's 3x3 convolutions make fewer, so that its MFU may exceed what their share of the
processor's peak is, and 100 %. Absolute figures are of that machine and day.
[benchmarks/README.md](../benchmarks/README.md) tells how each benchmark works."""


def write_page(results: list[Loaded]) -> str:
    """The page: a section for each kind of result that is there."""
    parts = [_INTRODUCTION]
    for section in SECTIONS:
        own = [loaded for loaded in results if section.takes(loaded)]
        if own:
            parts += [f"## {section.title}", section.about, section.write(own)]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Write the page, or tell whether it is what the results give: 1 if not, 2 for other faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it differs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with the results")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to write or check")
    options = parser.parse_args()
    try:
        text = write_page(gather(options.results))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        options.page.write_text(text)
        return 0
    if not options.page.exists() or options.page.read_text() != text:
        print(
            f"{options.page.name} is not what the results give; run python benchmarks/document.py",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
