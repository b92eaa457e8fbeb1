"""``reslab predict``: the classes of image files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Json, RunPath, Use, whole_number
from reslab.cli.output import percent, print_json, print_line
from reslab.errors import UserError

app = App(
    name="predict",
    help_format="plaintext",
    help_epilogue="Example: reslab predict runs/digits-resnet14-20260101-120000 seven.png --top 3",
)


@app.default
def predict(
    run: RunPath,
    /,
    *images: Annotated[Path, Parameter(help="image files, or folders of them")],
    top: Annotated[str, Parameter(help="classes to name for each image")] = "5",
    use: Use = "best",
    json: Json = False,
) -> None:
    """Classify image files with a run."""
    from reslab.workbench.run import load_run

    count = whole_number(top, "--top", least=1)
    loaded = load_run(run)
    loaded.model(use)
    pixels, results = [], []
    for path in expand(images):
        try:
            pixels.append(loaded.decode(path))
            results.append({"image": str(path)})
        except UserError as error:
            results.append({"image": str(path), "error": str(error)})
    faults = [result["error"] for result in results if "error" in result]
    answers = iter(_answers(loaded, pixels, count, use) if pixels else [])
    documents: list[dict[str, Any]] = [
        result if "error" in result else {**result, "predictions": next(answers)}
        for result in results
    ]
    if json:
        print_json({"run": str(loaded.path), "images": documents})
    else:
        for document in documents:
            if "predictions" in document:
                names = ", ".join(
                    f"{p['class']} {percent(p['probability'])}" for p in document["predictions"]
                )
                print_line(f"{document['image']}: {names}")
    if faults:
        others = f" (and {len(faults) - 1} more images)" if len(faults) > 1 else ""
        raise UserError(faults[0] + others)


def _answers(loaded: Any, pixels: list[Any], top: int, use: Any) -> list[list[dict[str, Any]]]:
    import numpy as np

    probabilities_NK = loaded.probabilities(np.stack(pixels), use)
    return [
        [
            {"class": loaded.classes[k], "probability": float(row[k])}
            for k in np.argsort(-row, kind="stable")[:top]
        ]
        for row in probabilities_NK
    ]


def expand(images: tuple[Path, ...]) -> list[Path]:
    """Files as they are, folders as the image files in them, by name.

    Raises:
        UserError: where there is nothing to classify.
    """
    from reslab.data.preprocess import SUFFIXES

    if not images:
        raise UserError("there is nothing to classify", remedy="give image files or a folder")
    paths = []
    for path in images:
        if not path.is_dir():
            paths.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not inside:
            raise UserError(
                f"the folder {path} holds no images",
                expected=f"files in {', '.join(SUFFIXES)}",
                remedy="give another folder or the files themselves",
            )
        paths.extend(inside)
    return paths
