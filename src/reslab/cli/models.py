"""``reslab models``: the nets by name, and the stages of one."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from reslab.catalog.nets import NETS, Net
from reslab.cli.arguments import Json
from reslab.cli.output import print_json, print_line, print_table

app = App(
    name="models",
    help_format="plaintext",
    help_epilogue="Example: reslab models resnet18",
)


@app.default
def models(
    name: Annotated[str | None, Parameter(help="a net whose stages to show")] = None,
    /,
    *,
    json: Json = False,
) -> None:
    """List the nets with their parameters and multiply-adds, or show the stages of one."""
    if name is None:
        rows = [_describe(net) for net in NETS]
        if json:
            print_json({"models": [{k: r[k] for k in r if k != "stages"} for r in rows]})
        else:
            print_table(("net", "parameters", "multiply-adds", "image"), [_cells(r) for r in rows])
        return
    from reslab.models.create import find_net

    row = _describe(find_net(name))
    if json:
        print_json(row)
        return
    print_line(
        f"{row['name']}: {row['parameters']:,} parameters, {row['macs']:,} multiply-adds "
        f"for an image of {row['image_size']} pixels"
    )
    print_table(
        ("stage", "output", "parameters", "multiply-adds"),
        [
            (
                s["name"],
                " x ".join(map(str, s["output"])),
                f"{s['parameters']:,}",
                f"{s['macs']:,}",
            )
            for s in row["stages"]
        ],
    )


def _describe(net: Net) -> dict[str, Any]:
    from reslab.models.cost import measure_cost
    from reslab.models.create import create_model

    channels = 3
    cost = measure_cost(
        lambda: create_model(net.name, in_channels=channels), channels, net.image_size
    )
    return {
        "name": net.name,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "image_size": net.image_size,
        "in_channels": channels,
        "num_classes": net.num_classes,
        "stages": [
            {"name": s.name, "output": s.output, "parameters": s.parameters, "macs": s.macs}
            for s in cost.stages
        ],
    }


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    size = row["image_size"]
    return row["name"], f"{row['parameters']:,}", f"{row['macs']:,}", f"{size} x {size}"
