"""ImageNet's own layout: validation pictures in one folder, their classes in a file elsewhere."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

from reslab.errors import UserError

# As Kaggle publishes it: ImageId,PredictionString, with a class and a box for each object.
SOLUTION = "LOC_val_solution.csv"

# Kaggle's archive has it three folders above train and val: ILSVRC/Data/CLS-LOC.
_LEVELS = 3


def find_solution(root: Path) -> Path | None:
    """The file with the classes of the validation pictures, in a folder or up to three above it."""
    root = root.absolute()
    places = [root, *islice(root.parents, _LEVELS)]
    return next((place / SOLUTION for place in places if (place / SOLUTION).is_file()), None)


def read_solution(path: Path) -> dict[str, str]:
    """The class of each picture, by its name without a suffix: that of its first object.

    Raises:
        UserError: where it cannot be read, or is another file.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"ImageId", "PredictionString"} <= set(rows.fieldnames or ()):
                raise _unreadable(path, ",".join(rows.fieldnames or ())[:200] or "nothing")
            return {
                row["ImageId"]: words[0]
                for row in rows
                if (words := (row["PredictionString"] or "").split())
            }
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _unreadable(path, str(reason).lower()) from error


def _unreadable(path: Path, received: str) -> UserError:
    return UserError(
        f"the classes of the validation pictures cannot be read from {path}",
        expected="columns ImageId and PredictionString",
        received=received,
        remedy="restore it from the published archive",
    )
