"""How much memory, and how much time a step, does training take as nets get deeper?

    python benchmarks/memory_depth.py --out FILE.json

Three ways on the same net and batch, each measurement in a process of its own: ``keep`` keeps
every activation, ``reslab`` is its engine option checkpoint_segments at its own number,
``torch`` is torch.utils.checkpoint.checkpoint_sequential over the same blocks with as many
segments. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.utils.checkpoint import checkpoint_sequential

from measure import Worker, describe_machine, peak_bytes, spread, turns
from reslab.engine.memory import memory_of
from reslab.engine.runtime import Runtime
from reslab.models.cost import measure_cost
from reslab.models.create import create_model
from reslab.models.resnet import ResNet
from reslab.ops.recompute import make_gradients
from reslab.training.step import train_step

NETS = (
    "resnet20",
    "resnet56",
    "resnet110",
    "preact_resnet164",
    "preact_resnet1001",
    "resnet1202",
)
WAYS = ("keep", "reslab", "torch")

# Of the machine's memory: what would need more is computed and not run.
RUNNABLE = 0.7


@dataclass(frozen=True, kw_only=True)
class Case:
    """What one process trains."""

    net: str
    way: str
    batch_size: int
    image_size: int
    threads: int


class Sequential(nn.Module):
    """A net whose blocks run through torch's checkpoint_sequential, in as many segments."""

    def __init__(self, model: ResNet) -> None:
        super().__init__()
        self.model = model
        model.checkpoint_activations()
        self.segments = sum(len(stage.segments) for stage in model.stages())
        model.checkpoint_activations(0)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Images (N, C, H, W) to logits (N, K)."""
        model = self.model
        x = model.maxpool(model.relu(model.bn1(model.conv1(images_NCHW))))
        blocks = [block for stage in model.stages() for block in stage]
        x = checkpoint_sequential(  # type: ignore[no-untyped-call]
            blocks, self.segments, x, use_reentrant=False
        )
        logits: Tensor = model.fc(model.avgpool(model.post(x)).flatten(1))
        return logits


class Training:
    """Random images, one net, one way; built and measured in a worker's process."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._runtime = Runtime(threads=case.threads)
        torch.manual_seed(0)
        self._images_NCHW = self._runtime.place_images(
            torch.randn(case.batch_size, 3, case.image_size, case.image_size)
        )
        self._labels_N = torch.randint(10, (case.batch_size,))
        self._load_what_a_first_step_loads()

    def run(self, steps: int) -> dict[str, Any]:
        """Build the net, make a step to warm up and then so many; seconds and peak bytes."""
        idle = peak_bytes(reset=True)
        with self._runtime.active():
            model = create_model(self._case.net, num_classes=10, zero_init_residual=True).train()
            self._runtime.place_model(model)
            forward = self._forward(model)
            optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9, fused=True)
            if self._case.way == "reslab":
                make_gradients(model)  # as reslab.training.fit does with segments
            # Whose gradients are kept, as those of nets in segments are.
            runtime = replace(
                self._runtime, checkpoint_segments=1 if self._case.way == "reslab" else 0
            )
            seconds = []
            for _ in range(1 + steps):
                began = time.perf_counter()
                train_step(
                    forward,
                    optimizer,
                    self._images_NCHW,
                    self._labels_N,
                    label_smoothing=0.0,
                    runtime=runtime,
                )
                seconds.append(time.perf_counter() - began)
        return {"seconds": seconds[1:], "bytes": peak_bytes() - idle}

    def _load_what_a_first_step_loads(self) -> None:
        """Modules and kernels that no net is to blame for: the idle process has them."""
        model = create_model("resnet14", num_classes=10).train()
        self._runtime.place_model(model)
        model.checkpoint_activations()
        optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9, fused=True)
        with self._runtime.active():
            train_step(
                model,
                optimizer,
                self._images_NCHW[:2],
                self._labels_N[:2],
                label_smoothing=0.0,
                runtime=self._runtime,
            )

    def _forward(self, model: ResNet) -> nn.Module:
        if self._case.way == "keep":
            return model
        if self._case.way == "reslab":
            model.checkpoint_activations()
            return model
        return Sequential(model)


def measure_net(net: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table: what is computed of the net, and what each way took."""
    cost = measure_cost(
        lambda: create_model(net, num_classes=10), in_channels=3, image_size=options.image_size
    )
    activations = cost.activation_bytes * options.batch_size
    # Weights, gradients and momentum come on top.
    needed = activations + 3 * 4 * cost.parameters
    ways = [w for w in WAYS if w != "keep" or needed <= RUNNABLE * memory_of("cpu")]
    found: dict[str, dict[str, Any]] = {way: {"seconds": [], "bytes": []} for way in ways}
    for _, way in turns(ways, options.rounds):
        case = Case(
            net=net,
            way=way,
            batch_size=options.batch_size,
            image_size=options.image_size,
            threads=options.threads,
        )
        with Worker(partial(Training, case), threads=options.threads) as worker:
            measured = worker.call("run", options.steps).value
        found[way]["seconds"] += measured["seconds"]
        found[way]["bytes"].append(measured["bytes"])
        say(
            f"{net} {way}: {measured['bytes'] / 2**30:.2f} GiB, "
            f"{statistics.median(measured['seconds']):.2f} s a step"
        )
    return {
        "parameters": cost.parameters,
        "activation_bytes": activations,
        "ways": {
            way: {"seconds_per_step": spread(f["seconds"]), "peak_bytes": spread(f["bytes"])}
            for way, f in found.items()
        },
    }


def format_report(found: dict[str, Any]) -> str:
    """The table, in GiB above the idle process and as ratios of medians."""
    lines = [
        f"batch {found['batch_size']}, {found['image_size']} pixels, {found['threads']} threads; "
        "peak memory above the idle process",
        f"{'net':<18} {'computed':>9} {'keep':>9} {'reslab':>9} {'torch':>9} "
        f"{'less by':>8} {'time x':>7} {'torch x':>7}",
    ]
    for net, row in found["nets"].items():
        peaks = {way: w["peak_bytes"]["median"] for way, w in row["ways"].items()}
        seconds = {way: w["seconds_per_step"]["median"] for way, w in row["ways"].items()}
        cells = [row["activation_bytes"], *(peaks.get(way) for way in WAYS)]
        sizes = " ".join(f"{'-' if c is None else f'{c / 2**30:.2f} GiB':>9}" for c in cells)
        kept = seconds.get("keep")
        ratios = [seconds[way] / kept if kept else None for way in ("reslab", "torch")]
        times = " ".join(f"{'-' if r is None else f'{r:.2f}':>7}" for r in ratios)
        less = row["activation_bytes"] / peaks["reslab"]
        lines.append(f"{net:<18} {sizes} {less:>7.1f}x {times}")
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nets", nargs="+", default=NETS, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2, help="processes for each way")
    parser.add_argument("--steps", type=int, default=3, help="in each, after one to warm up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="file for the JSON")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, print, write."""
    options = parse()
    found = {
        "environment": describe_machine(),
        "memory_bytes": memory_of("cpu"),
        "batch_size": options.batch_size,
        "image_size": options.image_size,
        "threads": options.threads,
        "rounds": options.rounds,
        "steps": options.steps,
        "nets": {net: measure_net(net, options) for net in options.nets},
    }
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(format_report(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
