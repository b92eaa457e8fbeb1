"""``reslab predict``: the classes of image files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from reslab.cli.arguments import Engine, Json, RunPath, Use, fraction, whole_number
from reslab.cli.output import percent, print_json, print_line, tell, warn, warn_of_end
from reslab.errors import UserError
from reslab.inference.catalog import AUTO, check_engine
from reslab.wording import shown
from reslab.workbench.stored import open_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reslab.inference.session import Session
    from reslab.workbench.run import Run

# Images held in memory at the same time.
AT_ONCE = 256

app = App(
    name="predict",
    help_format="plaintext",
    help_epilogue="Example: reslab predict runs/digits-resnet14-20260101-120000 seven.png --top 3",
)


@app.default
def predict(
    run: RunPath,
    /,
    *images: Annotated[Path, Parameter(help="image files, or folders with such below them")],
    top: Annotated[str, Parameter(help="classes to name for each image")] = "5",
    use: Use = "best",
    threshold: Annotated[
        str | None,
        Parameter(
            help="highest probability, 0 to 1, below which the answer is don't know; auto: that "
            "which `reslab calibrate` chose"
        ),
    ] = None,
    engine: Engine = AUTO,
    json: Json = False,
) -> None:
    """Classify image files with a run."""
    count = whole_number(top, "--top", least=1)
    given = None if threshold in (None, "auto") else fraction(str(threshold), "--threshold")
    check_engine(engine)
    warn_of_end(open_run(run))
    # Only now, so that a mistake is told without waiting for torch.
    from reslab.workbench.calibrated import calibration_for
    from reslab.workbench.run import load_run

    loaded = load_run(run)
    paths = expand(images)
    found = calibration_for(loaded.folder, use)
    if found.warning:
        warn(found.warning)
    calibration = found.calibration
    if threshold == "auto":
        if calibration is None:
            raise UserError(
                f"there is no threshold for the {use} weights of {loaded.path}",
                remedy="choose one with `reslab calibrate`, or give a number",
            )
        given = calibration.threshold
    temperature = 1.0 if calibration is None else calibration.temperature
    session = loaded.session(use, engine=engine, images=len(paths), warn=warn, tell=tell)
    documents = [
        document
        for first in range(0, len(paths), AT_ONCE)
        for document in _classify(
            loaded, session, paths[first : first + AT_ONCE], count, temperature
        )
    ]
    if given is not None:
        for document in documents:
            if "predictions" in document:
                document["known"] = document["predictions"][0]["probability"] >= given
    if json:
        settings = {"engine": session.engine, "temperature": temperature, "threshold": given}
        print_json({"run": str(loaded.path), **settings, "images": documents})
    else:
        for document in documents:
            if "predictions" in document:
                names = ", ".join(
                    f"{p['class']} {percent(p['probability'])}" for p in document["predictions"]
                )
                doubt = "" if document.get("known", True) else "don't know, best guess "
                print_line(f"{shown(document['image'])}: {doubt}{names}")
    faults = [document["error"] for document in documents if "error" in document]
    if faults:
        heading = [f"{len(faults)} images cannot be classified:"] if len(faults) > 1 else []
        raise UserError("\n  ".join([*heading, *faults]))


def _classify(
    loaded: Run, session: Session, paths: list[Path], top: int, temperature: float
) -> list[dict[str, Any]]:
    """An entry for each path: its predictions, or why there are none."""
    import numpy as np

    from reslab.evaluation.calibration import to_probabilities

    pixels, documents = [], []
    for path in paths:
        try:
            pixels.append(loaded.decode(path))
            documents.append({"image": str(path)})
        except UserError as error:
            documents.append({"image": str(path), "error": str(error)})
    rows = iter(to_probabilities(session.outputs(np.stack(pixels)), temperature) if pixels else ())
    return [
        document
        if "error" in document
        else {**document, "predictions": _best(next(rows), loaded.classes, top)}
        for document in documents
    ]


def _best(row_K: NDArray[np.float64], classes: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    order = (-row_K).argsort(kind="stable")[:top]
    return [{"class": classes[k], "probability": float(row_K[k])} for k in order]


def expand(images: tuple[Path, ...]) -> list[Path]:
    """Files as they are, folders as the image files in them and below them, by name.

    Raises:
        UserError: where there is nothing to classify.
    """
    from reslab.data.pictures.preprocess import SUFFIXES
    from reslab.data.pictures.walk import pictures
    from reslab.runs.folder import SPEC

    if not images:
        raise UserError("there is nothing to classify", remedy="give image files or a folder")
    paths = []
    for path in images:
        if not _is_folder(path):
            # Decoding tells what is wrong with it, if anything.
            paths.append(path)
            continue
        inside = [path / name for name in pictures(path, "", [], frozenset())]
        if (path / SPEC).is_file():
            raise UserError(
                f"{path} is a run, not a folder of images", remedy="give images after the run"
            )
        if not inside:
            raise UserError(
                f"the folder {path} holds no images",
                expected=f"files in {', '.join(SUFFIXES)}",
                remedy="give another folder or the files themselves",
            )
        paths.extend(inside)
    return paths


def _is_folder(path: Path) -> bool:
    """Whether it is a folder that can be read."""
    try:
        return path.is_dir() and os.access(path, os.R_OK)
    except OSError:
        return False
