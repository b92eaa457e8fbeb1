"""``reslab data``: what data sets there are, and what a net would see of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reslab.catalog.datasets import DATASETS, Background
from reslab.cli.arguments import Json, Root, whole_number
from reslab.cli.asked import Asked
from reslab.cli.data_check import check
from reslab.cli.output import print_json, print_line, print_table, tell, warn
from reslab.errors import UserError

app = App(
    name="data",
    help_format="plaintext",
    help_epilogue="Example: reslab data preview digits --out digits.png",
)

app.command(check)

SHOWN = 25


@app.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the data sets that have a name."""
    if json:
        print_json(
            {
                "datasets": [
                    {
                        "name": card.name,
                        "title": card.title,
                        "classes": list(card.classes),
                        "train_images": card.train_images,
                        "test_images": card.test_images,
                        "channels": card.channels,
                        "image_size": card.image_size,
                        "licence": card.licence,
                        "source": card.source,
                    }
                    for card in DATASETS
                ]
            }
        )
        return
    print_table(
        ("name", "classes", "training", "test", "pixels", "licence"),
        [
            (
                card.name,
                str(len(card.classes)),
                f"{card.train_images:,}",
                f"{card.test_images:,}",
                f"{card.image_size} x {card.image_size} x {card.channels}",
                card.licence,
            )
            for card in DATASETS
        ],
    )


@app.command
def preview(
    name: Annotated[str, Parameter(help="the data set, or what train takes as --data")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the picture to write, a .png")],
    root: Root = None,
    augmented: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="show images as the recipe fast augments them"
        ),
    ] = False,
    fit: Annotated[
        str | None, Parameter(help="how a picture becomes square: crop, pad or squash")
    ] = None,
    background: Annotated[
        Background | None, Parameter(help="what transparent pixels are laid on")
    ] = None,
    image_size: Annotated[
        str | None, Parameter(help="side of the images in pixels, of a folder or manifest")
    ] = None,
    exclude: Annotated[
        str | None,
        Parameter(help="pictures to leave out, as `reslab data check --fix-list` lists them"),
    ] = None,
    seed: Annotated[str, Parameter(help="which images are drawn")] = "0",
    json: Json = False,
) -> None:
    """Draw some training images with their classes, as a training with these options sees them."""
    if out.suffix.lower() != ".png":
        raise UserError(
            "--out names no PNG", expected="a name that ends in .png", received=str(out)
        )
    number = whole_number(seed, "--seed", least=0)
    changes = {"background": background, "image_size": image_size}
    asked = Asked(
        data=name,
        root=root,
        fit=fit,
        exclude=exclude,
        seed=str(number),
        set_=tuple(f"data.{key}={value}" for key, value in changes.items() if value is not None),
    )
    spec = asked.spec()
    from reslab.workbench.preview import draw_preview

    drawn = draw_preview(spec, out, count=SHOWN, augmented=augmented)
    for text in drawn.warnings:
        warn(text)
    if json:
        print_json(
            {
                "out": str(out),
                "data": name,
                "images": drawn.images,
                "train_images": drawn.of,
                "image_size": drawn.image_size,
                "channels": drawn.channels,
                "augmented": augmented,
            }
        )
        return
    tell(
        f"{drawn.images:,} of {drawn.of:,} training images, as the net sees them: "
        f"{drawn.image_size} x {drawn.image_size} pixels, "
        f"{'grey' if drawn.channels == 1 else 'in colours'}"
    )
    print_line(str(out))
