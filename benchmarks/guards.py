"""Do the guards against a full disk, a read-only one and too little memory act?

    sudo python benchmarks/guards.py --out FILE.json

Real ones, not planted errors: small file systems in memory that are too small, filled or made
read-only in mid-run, and control groups with less and less memory. Needs Linux and the right to
mount and to make control groups.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import reslab
from measure import describe_machine
from reslab.runs.checkpoint import Checkpoints

COMMAND = [sys.executable, "-m", "reslab", "train"]
SMALL = ["--epochs", "3", "--set", "engine.threads=1", "--set", "checkpoint.every_seconds=0"]
MIB = 2**20

# One step of a large batch, without a test, which would take most of the time.
LARGE = """
import sys
import numpy as np
import reslab
from reslab.training.observers import NullObserver

class Tells(NullObserver):
    def on_warning(self, text):
        print("reslab:", text, file=sys.stderr)

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (600, 28, 28)).astype(np.uint8)
source = reslab.ArraySource(images, rng.integers(0, 10, 600))
spec = reslab.recipe(
    model={"name": "resnet50"},
    training={"epochs": 1, "batch_size": 512},
    data={"validation": 50},
)
try:
    reslab.train(spec, data=source, out=sys.argv[1], observers=[Tells()])
except reslab.UserError as error:
    print("reslab:", error, file=sys.stderr)
    sys.exit(2)
"""

# Control groups of version 2, then of version 1: folder, file of the limit, file of the peak.
GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.peak"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
)


def main() -> None:
    """Parse, try each guard, write, print."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        whole = folder / "whole"
        _train([*SMALL, "--out", str(whole)])
        cases = [
            partial(_too_small, folder / "small"),
            partial(
                _in_mid_run, folder / "full", "the disk is filled in mid-run", _fill, _empty, whole
            ),
            partial(
                _in_mid_run,
                folder / "ro",
                "the disk is made read-only in mid-run",
                partial(_remount, how="ro"),
                partial(_remount, how="rw"),
                whole,
            ),
            *(partial(_short_memory, folder, mib) for mib in arguments.mib),
        ]
        results = []
        for case in cases:
            result = case()
            results.append(result)
            print(
                f"{'held' if result['held'] else 'FAILED'}: {result['case']}: {result['said']}",
                flush=True,
            )
    document = {"machine": describe_machine(), "cases": results}
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    if not all(result["held"] for result in results):
        raise SystemExit(1)


def _too_small(folder: Path) -> dict[str, Any]:
    """Too little room is told before training, and nothing is left behind."""
    with _file_system(folder, "3m"):
        done = _train([*SMALL, "--out", str(folder / "run")])
        left = sorted(path.name for path in folder.iterdir())
    return {
        "case": "a disk of 3 MiB",
        "code": done.returncode,
        "said": done.stderr.strip(),
        "held": done.returncode == 2 and left == [] and _is_one_sentence(done.stderr),
    }


def _in_mid_run(folder: Path, case: str, spoil: Any, mend: Any, whole: Path) -> dict[str, Any]:
    """Told at once with the last state intact; mended and resumed, the run is as if not spoilt."""
    run = folder / "run"
    with _file_system(folder, "48m"):
        process = subprocess.Popen(
            [*COMMAND, *SMALL, "--out", str(run)], stderr=subprocess.PIPE, text=True
        )
        # Of 39 steps.
        _wait(lambda: process.poll() is not None or _step(run) >= 15, 120)
        spoil(folder)
        _, errors = process.communicate(timeout=120)
        kept, damaged = Checkpoints(run / "checkpoint").load()
        mend(folder)
        resumed = _train(["--resume", str(run)])
        same = [
            (run / "weights" / f"{use}.safetensors").read_bytes()
            == (whole / "weights" / f"{use}.safetensors").read_bytes()
            for use in ("best", "last")
            if resumed.returncode == 0
        ]
    return {
        "case": case,
        "code": process.returncode,
        "said": errors.strip().splitlines()[-1] if errors.strip() else "",
        "kept_step": None if kept is None else kept.step,
        "equal_after_resuming": same == [True, True],
        "held": process.returncode == 2
        and "Traceback" not in errors
        and kept is not None
        and not damaged
        and same == [True, True],
    }


def _short_memory(folder: Path, mib: int) -> dict[str, Any]:
    """A container with less memory: batches are cut, or training is refused; never killed."""
    run = folder / f"memory-{mib}"
    with _group(mib) as (join, peak):
        done = subprocess.run(
            [sys.executable, "-c", LARGE, str(run)],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=join,
        )
        used = int(peak.read_text())
    parts = None
    if done.returncode == 0:
        parts = reslab.load_run(run).spec.engine.micro_batches
    said = done.stderr.strip().splitlines()
    return {
        "case": f"{mib} MiB for resnet50 with batches of 512",
        "code": done.returncode,
        "parts": parts,
        "peak_mib": used // MIB,
        "said": said[-1] if said else "fits as it is",
        "held": done.returncode == 0 or (done.returncode == 2 and _is_one_sentence(done.stderr)),
    }


def _train(options: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)


def _is_one_sentence(text: str) -> bool:
    return text.startswith("reslab: ") and len(text.strip().splitlines()) == 1


def _step(run: Path) -> int:
    found = Checkpoints(run / "checkpoint").paths()
    return int(found[0].name[5:14]) if found else 0


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def _empty(folder: Path) -> None:
    (folder / "filler").unlink()


def _remount(folder: Path, how: str) -> None:
    """Refused while a file is being written, so tried until it is not."""
    command = ["mount", "-o", f"remount,{how}", str(folder)]
    _wait(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, 60)


def _wait(done: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain")
        time.sleep(0.005)


@contextlib.contextmanager
def _file_system(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "reslab", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def _group(mib: int) -> Iterator[tuple[Any, Path]]:
    """A control group: what a process calls to join it, and the file of the most it used."""
    root, limit, peak = next(g for g in GROUPS if (Path(g[0]) / "cgroup.procs").is_file())
    if (Path(GROUPS[1][0]) / GROUPS[1][1]).is_file():
        root, limit, peak = GROUPS[1]
    group = Path(root) / f"reslab-guards-{os.getpid()}"
    group.mkdir()
    try:
        (group / limit).write_text(str(mib * MIB))
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid())), group / peak
    finally:
        group.rmdir()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mib", type=int, nargs="+", default=[6000, 3000, 1500, 1000])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
