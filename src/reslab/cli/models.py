"""``reslab models``: the nets by name, the stages and costs of one, and what weights fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from reslab.catalog.nets import NETS
from reslab.cli.arguments import Json, settings, whole_number
from reslab.cli.output import print_json, print_line, print_table, warn
from reslab.errors import UserError
from reslab.spec.run import ModelSpec, RunSpec
from reslab.spec.text import build, merge, parse_override

if TYPE_CHECKING:
    from reslab.models.pretrained import LoadReport

app = App(
    name="models",
    help_format="plaintext",
    help_epilogue="Example: reslab models resnet50 --set model.stride_in_1x1=true\n"
    "         reslab models resnet18 --num-classes 10 --try-weights resnet18.pth",
)

_MIB = 2**20


@app.default
def models(
    name: Annotated[str | None, Parameter(help="a net whose stages to show")] = None,
    /,
    *,
    image_size: Annotated[
        str | None,
        Parameter(
            help="side of the images in pixels, which decides the stem as in training; "
            "default: as published"
        ),
    ] = None,
    in_channels: Annotated[str | None, Parameter(help="of the images; default: 3")] = None,
    num_classes: Annotated[str | None, Parameter(help="default: as published")] = None,
    set_: Annotated[
        tuple[str, ...],
        settings(
            "a setting of the net as KEY=VALUE, such as model.shortcut=C, see `reslab train --help`"
        ),
    ] = (),
    try_weights: Annotated[
        str | None,
        Parameter(help="a weights file or run, or imagenet: tell what of it the net would take"),
    ] = None,
    json: Json = False,
) -> None:
    """List the nets with their parameters and multiply-adds, or show the stages of one."""
    if name is None:
        given = {
            "--image-size": image_size,
            "--in-channels": in_channels,
            "--num-classes": num_classes,
            "--set": set_,
            "--try-weights": try_weights,
        }
        if odd := [option for option, value in given.items() if value]:
            raise UserError(
                f"{odd[0]} is about one net", remedy=f"name it: reslab models resnet18 {odd[0]} …"
            )
        _list(json)
        return
    spec = _model_spec(name, set_)
    numbers = {
        key: whole_number(text, f"--{key.replace('_', '-')}", least=1)
        for key, text in (("num_classes", num_classes), ("in_channels", in_channels))
        if text is not None
    }
    size = None if image_size is None else whole_number(image_size, "--image-size", least=1)
    document = _describe(spec, size, **numbers)
    report = None if try_weights is None else _try_weights(document["options"], try_weights)
    if json:
        told = {} if report is None else {"weights": _report_document(report)}
        print_json({**document, **told})
        return
    _print_net(document)
    if report is not None:
        print_line("")
        print_line(f"weights from {report.source}")
        print_table(("part", "fate", "tensors", "why"), report.rows())
        for doubt in report.doubts:
            warn(doubt)


def _list(json: bool) -> None:
    rows = [_describe(ModelSpec(name=net.name)) for net in NETS]
    if json:
        keys = ("name", "parameters", "macs", "image_size", "in_channels", "num_classes")
        print_json({"models": [{k: r[k] for k in keys} for r in rows]})
        return
    print_table(
        ("net", "parameters", "multiply-adds", "image"),
        [
            (
                r["name"],
                f"{r['parameters']:,}",
                f"{r['macs']:,}",
                f"{r['image_size']} x {r['image_size']}",
            )
            for r in rows
        ],
    )


def _model_spec(name: str, overrides: tuple[str, ...]) -> ModelSpec:
    document = merge({}, *map(parse_override, overrides))
    given = document.get("model", {})
    if not isinstance(given, dict) or "name" in given:
        raise UserError("the net is named twice", remedy=f"leave model.name out: it is {name}")
    document = merge(document, {"model": {"name": name}})
    if other := sorted(set(document) - {"model"}):
        raise UserError(
            f"{other[0]} is no setting of a net",
            expected="settings that begin with model.",
            remedy="see `reslab train --help`",
        )
    return build(RunSpec, document).model


def _describe(
    spec: ModelSpec, image_size: int | None = None, *, in_channels: int = 3, num_classes: int = 0
) -> dict[str, Any]:
    from reslab.models.cost import measure_cost
    from reslab.models.create import create_model, find_net
    from reslab.workbench.decide import decide_model

    net = find_net(spec.name)
    size = image_size or net.image_size
    options = {
        **decide_model(spec, size),
        "in_channels": in_channels,
        "num_classes": num_classes or net.num_classes,
    }
    cost = measure_cost(lambda: create_model(**options), in_channels, size)
    return {
        "name": spec.name,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "activation_bytes": cost.activation_bytes,
        "image_size": size,
        "in_channels": in_channels,
        "num_classes": options["num_classes"],
        "options": options,
        "stages": [
            {
                "name": s.name,
                "layers": s.layers,
                "output": s.output,
                "parameters": s.parameters,
                "macs": s.macs,
                "activation_bytes": s.activation_bytes,
            }
            for s in cost.stages
        ],
    }


def _print_net(net: dict[str, Any]) -> None:
    size = net["image_size"]
    print_line(
        f"{net['name']}: {net['parameters']:,} parameters; for an image of {net['in_channels']} x "
        f"{size} x {size} {net['macs']:,} multiply-adds, and in training "
        f"{net['activation_bytes'] / _MIB:.1f} MiB of activations"
    )
    print_table(
        ("stage", "layers", "output", "parameters", "multiply-adds", "activations (MiB)"),
        [
            (
                s["name"],
                s["layers"],
                " x ".join(map(str, s["output"])),
                f"{s['parameters']:,}",
                f"{s['macs']:,}",
                f"{s['activation_bytes'] / _MIB:.2f}",
            )
            for s in net["stages"]
            if s["layers"]
        ],
    )


def _try_weights(options: dict[str, Any], source: str) -> LoadReport:
    from reslab.models.create import create_model
    from reslab.models.pretrained import load_weights

    return load_weights(create_model(**options), source, net=options["name"])


def _report_document(report: LoadReport) -> dict[str, Any]:
    return {
        "source": report.source,
        "parts": [
            {"name": part, "fate": fate, "tensors": int(tensors), "why": why}
            for part, fate, tensors, why in report.rows()
        ],
        "tensors": [{"name": t.name, "fate": t.fate, "why": t.why} for t in report.tensors],
        "doubts": list(report.doubts),
    }
