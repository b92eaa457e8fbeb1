"""Check that every module of src has a test file of the same name in the mirrored place."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "reslab"
# Modules that only name a package, or only start the command line.
EXEMPT = {"__init__.py", "__main__.py"}


def main() -> int:
    """Print modules without tests and tests without modules; 1 if there are any."""
    modules = {p.relative_to(SOURCE) for p in SOURCE.rglob("*.py") if p.name not in EXEMPT}
    expected = {m.parent / f"test_{m.name}" for m in modules}
    tests = ROOT / "tests"
    missing = sorted(t for t in expected if not (tests / t).is_file())
    mirrored = [d for d in SOURCE.iterdir() if d.is_dir() and d.name != "__pycache__"]
    found = {p.relative_to(tests) for d in mirrored for p in (tests / d.name).rglob("test_*.py")}
    orphans = sorted(found - expected)
    for test in missing:
        sys.stdout.write(f"no test file tests/{test}\n")
    for test in orphans:
        sys.stdout.write(f"tests/{test} tests no module\n")
    return 1 if missing or orphans else 0


if __name__ == "__main__":
    sys.exit(main())
