"""``reslab quantize``: an int8 model of a run, kept if it is nearly as accurate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, Root, RunPath, Use, fraction, whole_number
from reslab.cli.output import percent, print_json, print_line, print_table, tell, warn_of_end
from reslab.errors import ReslabError
from reslab.workbench.stored import open_run

if TYPE_CHECKING:
    from reslab.workbench.quantized import Quantization

app = App(
    name="quantize",
    help_format="plaintext",
    help_epilogue="Example: reslab quantize runs/digits-resnet14-20260101-120000 --tolerance 0.005",
)


@app.default
def quantize(
    run: RunPath,
    /,
    *,
    use: Use = "best",
    images: Annotated[str, Parameter(help="training images to choose ranges by")] = "300",
    tolerance: Annotated[
        str, Parameter(help="by how much accuracy on validation may fall; 0.002 for 0.2 points")
    ] = "0.002",
    root: Root = None,
    json: Json = False,
) -> None:
    """Make an int8 model of a run, judge it on the validation images, and keep it if it is good."""
    count = whole_number(images, "--images", least=1)
    most = fraction(tolerance, "--tolerance")
    warn_of_end(open_run(run))
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.inference.catalog import INT8, REFERENCE
    from reslab.workbench.quantize import quantize_run, time_engines
    from reslab.workbench.quantized import FOLDER
    from reslab.workbench.run import load_run

    loaded = load_run(run)
    found = quantize_run(loaded, use=use, images=count, tolerance=most, root=root, tell=tell)
    loss = found.chosen.loss
    speeds = time_engines(loaded, use=use, root=root) if found.passed else {}
    if json:
        print_json({"run": str(loaded.path), **found.to_json(), "images_per_second": speeds})
    else:
        _print_losses(found)
    if not found.passed:
        raise ReslabError(
            f"nothing is kept: in int8 accuracy on validation falls by {_points(loss.drop)}, more "
            f"than the {_points(most)} that are allowed; more --images may help, or a higher "
            "--tolerance"
        )
    if json:
        return
    if loss.interval[1] > most:
        print_line(
            f"that it loses no more than {_points(most)} on other images is not certain: the "
            "interval goes beyond it"
        )
    if speeds:
        print_table(
            ("engine", "images/s here"), [(name, f"{n:,.0f}") for name, n in speeds.items()]
        )
        print_line("medians of rounds in turns; engines far behind the fastest had few rounds")
    print_line(
        f"`reslab predict` may now take the engine {INT8} for long work; --engine {INT8} has it "
        f"take no other, --engine {REFERENCE} never takes it"
    )
    print_line(str(loaded.path / FOLDER))


def _print_losses(found: Quantization) -> None:
    n = found.chosen.loss.n
    print_line(
        f"{found.weights} weights, ranges of {found.calibration_images:,} training images, judged "
        f"on {n:,} validation images"
    )
    print_table(
        (
            *("way", "accuracy fp32", "accuracy int8", "lost points (95 % interval)"),
            *("other class", "loss fp32", "loss int8"),
        ),
        [
            (
                str(trial.way),
                percent(trial.loss.top1_fp32),
                percent(trial.loss.top1_int8),
                "{:.2f} ({:.2f} to {:.2f})".format(
                    *(100 * share for share in (trial.loss.drop, *trial.loss.interval))
                ),
                percent(trial.loss.changed / trial.loss.n),
                f"{trial.loss.nll_fp32:.4f}",
                f"{trial.loss.nll_int8:.4f}",
            )
            for trial in found.tried
        ],
    )


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
