"""Is a run that was killed at any moment and resumed the run that was not?

    python benchmarks/kill_resume.py --kills 50 --inside-save 15 --out FILE.json

Trains once without interruption, then again and again: each time the process is killed with
SIGKILL at a moment drawn at random over its whole life, start-up and report included, or as soon
as a checkpoint is being written; then it is resumed, or begun anew where nothing of it was there
yet. Weights, optimiser, buffers and history, its times apart, are compared to the bit.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from measure import describe_machine
from reslab.runs.checkpoint import Checkpoints
from reslab.runs.history import parse_history, without_times

COMMAND = [sys.executable, "-m", "reslab", "train"]
PARTS = ("report.html", "curves.png", "confusion.png", "metrics.json", "openings.jsonl")


def main() -> None:
    """Parse, kill, compare, write, print."""
    arguments = _parse()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        began = time.perf_counter()
        _run([*_settings(arguments), "--out", str(folder / "whole")])
        life = time.perf_counter() - began
        expected = _state(folder / "whole")
        seeds = [rng.random() for _ in range(arguments.kills)]
        with ThreadPoolExecutor(arguments.workers) as pool:
            trials = list(
                pool.map(
                    lambda i: _trial(
                        arguments,
                        folder / str(i),
                        random.Random(seeds[i]),
                        None if i < arguments.inside_save else life,
                        expected,
                    ),
                    range(arguments.kills),
                )
            )
    equal = sum(trial["equal"] for trial in trials)
    result = {
        "question": "does a killed and resumed run equal the one that was not killed?",
        "machine": describe_machine(),
        "settings": _settings(arguments),
        "seconds_of_a_run": life,
        "equal": equal,
        "trials": trials,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{equal} of {len(trials)} killed runs equal to the bit")
    if equal < len(trials):
        raise SystemExit(1)


def _trial(
    arguments: argparse.Namespace,
    path: Path,
    rng: random.Random,
    life: float | None,
    expected: Any,
) -> dict[str, Any]:
    """Kill a training at a moment of its life, or within a save (None), finish it, compare."""
    killed = None
    while killed is None:
        shutil.rmtree(path, ignore_errors=True)
        # Two trials at a time take longer than one; a process that ended before is no trial.
        moment = rng.uniform(0, 1.3 * life) if life is not None else 0.0
        save = rng.randint(1, arguments.saves) if life is None else 0
        killed = _kill(arguments, path, moment, save)
    half_written = sum(1 for _ in path.rglob(".*.tmp"))
    stage = _stage(path)
    resumed = (path / "run.yaml").exists()
    _run(["--resume", str(path)] if resumed else [*_settings(arguments), "--out", str(path)])
    found = _state(path)
    shutil.rmtree(path)
    return {
        "kind": "save" if life is None else "time",
        "seconds": round(killed, 3),
        "stage": stage,
        "half_written": half_written,
        "resumed": resumed,
        "equal": _equal(found, expected),
    }


def _kill(arguments: argparse.Namespace, path: Path, moment: float, save: int) -> float | None:
    """Begin a training and kill it at a moment, or within a save; None where it ended before."""
    process = subprocess.Popen(
        [*COMMAND, *_settings(arguments), "--out", str(path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    began = time.perf_counter()
    seen: set[str] = set()
    while process.poll() is None:
        seen |= {half.name for half in (path / "checkpoint").glob(".step-*.tmp")} if save else set()
        after = time.perf_counter() - began
        if (save and len(seen) >= save) or (not save and after >= moment):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.0002)
    return after if process.wait() == -signal.SIGKILL else None


def _stage(path: Path) -> str:
    """How far a killed process had come."""
    if not (path / "run.yaml").exists():
        return "start-up"
    if (path / "metrics.json").exists():
        status = json.loads((path / "metrics.json").read_text())["status"]
        return "finished" if status == "finished" else "test and report"
    return "training" if Checkpoints(path / "checkpoint").paths() else "before a checkpoint"


def _state(path: Path) -> dict[str, Any]:
    """What must be equal."""
    last, _ = Checkpoints(path / "checkpoint").load()
    assert last is not None
    history = [without_times(r) for r in parse_history((path / "history.csv").read_text())]
    weights = [(path / "weights" / f"{use}.safetensors").read_bytes() for use in ("best", "last")]
    assert json.loads((path / "metrics.json").read_text())["status"] == "finished"
    assert all((path / part).is_file() for part in PARTS)
    return {"tensors": last.tensors, "step": last.step, "history": history, "weights": weights}


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    tensors = a["tensors"].keys() == b["tensors"].keys() and all(
        torch.equal(a["tensors"][name], b["tensors"][name]) for name in a["tensors"]
    )
    return tensors and all(a[part] == b[part] for part in ("step", "history", "weights"))


def _run(options: list[str]) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{options} ended with {done.returncode}: {done.stderr[-500:]}")


def _settings(arguments: argparse.Namespace) -> list[str]:
    return [
        "--epochs",
        str(arguments.epochs),
        "--set",
        "engine.threads=1",
        "--set",
        f"checkpoint.every_seconds={arguments.every_seconds}",
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--inside-save", type=int, default=15, help="of the kills")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--every-seconds", type=float, default=0.0, help="between checkpoints")
    parser.add_argument("--saves", type=int, default=150, help="within which kills are drawn")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
