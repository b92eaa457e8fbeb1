"""Does a net of 1,202 layers learn here, in the memory of a usual machine?

    python benchmarks/train_deepest.py --data fashion-mnist --root DATA --out FILE.json

Trains for a few hundred steps with reslab's own batches, step and engine, writes the loss of
each, and says whether the median of the last fifty lies well below that of the first fifty.
What counts as well below is declared here, before any run: see ``WELL_BELOW``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from measure import describe_machine, peak_bytes
from reslab.engine.runtime import Runtime
from reslab.ops.recompute import make_gradients
from reslab.spec.data import AugmentSpec, DataSpec
from reslab.spec.optimizers import SGD
from reslab.spec.run import EngineSpec, ModelSpec, RunSpec, TrainingSpec
from reslab.spec.schedules import Constant
from reslab.training.optim import make_optimizer, set_learning_rate
from reslab.training.step import train_step
from reslab.workbench.resolve import Prepared, resolve, train_batches
from reslab.workbench.train import initial_model

# The last losses' median over the first ones': at most this, or the net has not learned.
WELL_BELOW = 0.75
WINDOW = 50

# He et al. 2015, section 4.2, start nets of 110 layers at a tenth of the rate. Zero
# initialisation of the residual branches keeps the signal of 600 of them from adding up.
WARMUP_STEPS = 50


def main() -> None:
    """Parse, train, write, print."""
    arguments = _parse()
    spec = RunSpec(
        data=DataSpec(
            name=arguments.data, root=arguments.root, augment=AugmentSpec(flip=False), validation=0
        ),
        model=ModelSpec(name=arguments.model, zero_init_residual=True),
        training=TrainingSpec(
            epochs=1,
            batch_size=arguments.batch_size,
            lr=arguments.lr,
            weight_decay=1e-4,
            label_smoothing=0.0,
            optimizer=SGD(nesterov=False),
            schedule=Constant(),
        ),
        engine=EngineSpec(checkpoint_segments=arguments.segments),
    )
    prepared = resolve(spec)
    if not 2 * WINDOW <= arguments.steps <= prepared.run.facts.steps_per_epoch:
        raise SystemExit(
            f"--steps must lie within {2 * WINDOW} and one epoch, "
            f"{prepared.run.facts.steps_per_epoch}"
        )
    result = {
        "question": "does the net learn within a few hundred steps?",
        "threshold": f"median of the last {WINDOW} losses <= {WELL_BELOW} x the first {WINDOW}'s",
        "machine": describe_machine(),
        "warmup": f"the rate rises in a straight line over {WARMUP_STEPS} steps",
        "spec": prepared.run.model_dump(mode="json", exclude={"data": {"root"}}),
        **_train(prepared, arguments.steps, arguments.out),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"median loss {result['first']:.3f} in the first {WINDOW} steps, {result['last']:.3f} in "
        f"the last {WINDOW} of {arguments.steps}: {result['ratio']:.2f} of it, "
        f"{'learned' if result['learned'] else 'NOT learned'} (threshold {WELL_BELOW})"
    )


def _train(prepared: Prepared, steps: int, out: Path) -> dict[str, Any]:
    run = prepared.run
    runtime = Runtime(**run.engine.model_dump())
    batches = train_batches(prepared)
    log = out.with_suffix(".log")
    log.write_text("")
    losses: list[float] = []
    seconds: list[float] = []
    with runtime.active(), runtime.own_random_state():
        model = initial_model(run, runtime).train()
        idle = peak_bytes(reset=True)
        make_gradients(model)
        optimizer = make_optimizer(
            model,
            run.training.optimizer,
            lr=run.training.lr,
            weight_decay=run.training.weight_decay,
            decay_norm_and_bias=False,
        )
        for step in range(steps):
            began = time.perf_counter()
            set_learning_rate(optimizer, run.training.lr * min(1.0, (step + 1) / WARMUP_STEPS))
            batch = batches.batch(0, step)
            torch.manual_seed(batches.draws_seed(0, step))
            outcome = train_step(
                model,
                optimizer,
                batch.images_NCHW,
                batch.labels_N,
                label_smoothing=0.0,
                runtime=runtime,
            )
            losses.append(outcome.loss.item())
            seconds.append(time.perf_counter() - began)
            with log.open("a") as lines:
                lines.write(f"{step + 1} {losses[-1]:.4f} {seconds[-1]:.1f} s\n")
    first = statistics.median(losses[:WINDOW])
    last = statistics.median(losses[-WINDOW:])
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "segments": [list(stage.segments) for stage in model.stages()],
        "first": first,
        "last": last,
        "ratio": last / first,
        "learned": last <= WELL_BELOW * first,
        "peak_bytes_above_idle": peak_bytes() - idle,
        "seconds_per_step": statistics.median(seconds),
        "losses": [round(loss, 4) for loss in losses],
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="fashion-mnist", help="see `reslab data list`")
    parser.add_argument("--root", help="folder with the data set's files")
    parser.add_argument("--model", default="resnet1202", help="see `reslab models`")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--segments", type=int, default=24, help="of activation checkpointing")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
