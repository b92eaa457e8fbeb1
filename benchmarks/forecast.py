"""Is the forecast made before the first epoch true, and is a limit of time kept?

    python benchmarks/forecast.py --data fashion-mnist --root DATA --out FILE.json

Trains three nets of different depth and kind on some thousand images, and one with a limit of
time on all of them, each by the command line in a process of its own, and sets what was
foretold beside what happened.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import describe_machine

# (net, images, epochs): about a minute each on two cores.
CASES = (("resnet14", 8000, 4), ("preact_resnet110", 2000, 2), ("resnet18", 1500, 3))


def main() -> None:
    """Parse, train, write, print."""
    arguments = _parse()
    data = ["--data", arguments.data] + (["--root", arguments.root] if arguments.root else [])
    with tempfile.TemporaryDirectory() as made:
        results = [
            _run(Path(made), net, [*data, "--epochs", str(epochs), "--set", f"data.limit={images}"])
            for net, images, epochs in CASES
        ]
        limited = _run(Path(made), "resnet14", [*data, "--time-limit", arguments.time_limit])
    for result in (*results, limited):
        print(
            f"{result['net']}: foretold {result['foretold']:.1f} s, took {result['took']:.1f} s "
            f"({result['took'] / result['foretold'] - 1:+.0%}); whole process "
            f"{result['process']:.1f} s; last rate {result['last_rate']:.2g} of {result['lr']:.2g}"
        )
    document = {
        "question": "is the forecast true, and is a limit of time kept?",
        "machine": describe_machine(),
        "cases": results,
        "time_limit": arguments.time_limit,
        "limited": limited,
    }
    arguments.out.write_text(json.dumps(document, indent=1) + "\n")


def _run(folder: Path, net: str, options: list[str]) -> dict[str, Any]:
    out = folder / f"{net}-{len(list(folder.iterdir()))}"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "reslab", "train", "--model", net, *options, "--out", str(out)],
        check=True,
        capture_output=True,
    )
    process = time.perf_counter() - began
    metrics = json.loads((out / "metrics.json").read_text())
    with (out / "history.csv").open() as lines:
        last = list(csv.DictReader(lines))[-1]
    resolved = (out / "run.yaml").read_text()
    return {
        "net": net,
        "foretold": metrics["forecast"]["seconds"],
        "took": metrics["took"]["seconds"],
        "process": process,
        "peak_foretold": metrics["forecast"]["peak_bytes"],
        "peak": metrics["took"]["peak_bytes"],
        "steps": metrics["steps"],
        "last_rate": float(last["learning_rate"]),
        "lr": float(resolved.partition("\n  lr: ")[2].split()[0]),
        "complete": sorted(path.name for path in out.iterdir()),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="fashion-mnist", help="see `reslab data list`")
    parser.add_argument("--root", help="folder with the data set's files")
    parser.add_argument("--time-limit", default="60s")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
