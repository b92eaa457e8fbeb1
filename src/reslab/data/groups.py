"""Which images belong together, such as those of one patient, scene or author."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from reslab.errors import UserError


def read_groups(path: str | Path, images: int) -> npt.NDArray[np.int64]:
    """A number for each training image, equal for those of one group.

    Args:
        path: a text file with a line for each image, in the order of the data set's own
            training images; images with equal lines belong together.
        images: how many there are.

    Raises:
        UserError: where it cannot be read, has another number of lines, or an empty one.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise UserError(
            f"the groups in {path} cannot be read",
            received=str(reason).lower(),
            remedy="give a text file with a line for each training image",
        ) from error
    names = [line.strip() for line in lines]
    if len(names) != images:
        raise UserError(
            f"the groups in {path} do not fit the images",
            expected=f"{images} lines, one for each training image",
            received=str(len(names)),
        )
    if "" in names:
        raise UserError(
            f"line {names.index('') + 1} of {path} names no group",
            remedy="give an image that belongs to no other a name of its own",
        )
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def format_groups(groups_N: npt.NDArray[np.int64]) -> str:
    r"""The numbers as a text that ``read_groups`` makes the same ones of.

    >>> format_groups(np.array([0, 10, 2]))
    '000000000\n000000010\n000000002\n'
    """
    # Of one width, since names are numbered in the order of their letters.
    return "".join(f"{group:09d}\n" for group in groups_N.tolist())
