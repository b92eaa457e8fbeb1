"""``reslab data``: what data sets there are, and what a net would see of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from reslab.catalog.datasets import DATASETS, name_and_root
from reslab.cli.arguments import Json, Root, whole_number
from reslab.cli.data_check import check
from reslab.cli.output import print_json, print_line, print_table
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
    name: Annotated[str, Parameter(help="the data set, or a folder or manifest of pictures")],
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
    seed: Annotated[str, Parameter(help="which images are drawn")] = "0",
    json: Json = False,
) -> None:
    """Draw some training images with their classes."""
    if out.suffix.lower() != ".png":
        raise UserError(
            "--out names no PNG", expected="a name that ends in .png", received=str(out)
        )
    number = whole_number(seed, "--seed", least=0)
    from reslab.workbench.preview import draw_preview

    data, place = name_and_root(name, root)
    draw_preview(data, place, out, count=SHOWN, augmented=augmented, seed=number)
    if json:
        print_json({"out": str(out), "data": name, "images": SHOWN, "augmented": augmented})
    else:
        print_line(str(out))
