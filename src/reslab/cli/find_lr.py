"""``reslab find-lr``: suggests a learning rate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, whole_number
from reslab.cli.asked import Asked
from reslab.cli.output import print_json, print_line

app = App(
    name="find-lr",
    help_format="plaintext",
    help_epilogue="Example: reslab find-lr --data fashion-mnist --root DATA --out rates.png",
)


@app.default
def find_lr(
    *,
    asked: Annotated[Asked | None, Parameter(name="*")] = None,
    steps: Annotated[str, Parameter(help="steps from the lowest to the highest rate")] = "100",
    out: Annotated[Path | None, Parameter(help="picture to write (PNG)")] = None,
    json: Json = False,
) -> None:
    """Raise the learning rate from step to step, and suggest one by how the loss falls."""
    spec = (asked or Asked()).spec()
    count = whole_number(steps, "--steps", least=20)
    if out is not None:
        from reslab.evaluation.canvas import check_picture

        check_picture(out)
    # Only now, so that mistakes in the settings are told without waiting for torch.
    from reslab.workbench.find_lr import find_learning_rate

    sweep, usual = find_learning_rate(spec, steps=count)
    if out is not None:
        from reslab.evaluation.canvas import save
        from reslab.evaluation.range_test import range_test

        save(range_test(sweep.rates, sweep.losses, sweep.smoothed, sweep.suggestion), out)
    if json:
        print_json({"suggestion": sweep.suggestion, "lr": usual, **asdict(sweep)})
        return
    print_line(
        f"loss {sweep.losses[0]:.3f} at rate {sweep.rates[0]:.1e}, {min(sweep.smoothed):.3f} at "
        f"best, {len(sweep.rates)} steps up to rate {sweep.rates[-1]:.2g}"
    )
    print_line(f"as it is the peak rate is {usual:.3g}")
    why = (
        "where the loss is least, since the schedule warms up to it"
        if sweep.warms_up
        else "where the loss falls most steeply, since the schedule begins with it"
    )
    print_line(f"suggested: --lr {sweep.suggestion:.2g}, {why}")
