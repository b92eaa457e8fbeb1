"""Weights out of files that other tools wrote: tensors by name, and nothing executed."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from reslab.errors import UserError

# Where a run folder keeps the weights that it is judged by.
_OF_A_RUN = Path("weights/best.safetensors")

# What training scripts call the part of their checkpoints that is the net.
_NESTED = ("state_dict", "model_state_dict", "model", "net")

# What wrappers put before every name: DataParallel and DDP, torch.compile, Lightning modules.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file or run folder, on the CPU.

    Takes .safetensors, and .pth, .pt, .bin or .ckpt as torch.save writes them; unwraps nested
    dictionaries and the prefixes of wrappers.

    Raises:
        UserError: where there are no weights, the file is damaged, or reading it would have
            to execute something.
    """
    if path.is_dir():
        path = path / _OF_A_RUN
    if not path.is_file():
        raise UserError(
            f"there are no weights at {path}",
            expected="a .safetensors or .pth file, or a run that has finished an epoch",
        )
    if path.suffix == ".safetensors":
        state = read_safetensors(path)
    else:
        state = _unnest(_read_pickle(path), path)
    state = _strip(state)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f"the weights {path} are broken",
                received=f"numbers that are not finite in {name}",
                remedy="take those of an earlier epoch",
            )
    return state


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file.

    Raises:
        UserError: where it is missing or damaged.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"the weights {path} cannot be read",
            received=(error.strerror or str(error)).lower(),
            remedy="give a run that has finished at least one epoch",
        ) from error
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path} is not a safetensors file",
            received=str(error),
            remedy="restore it from a copy",
        ) from error


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            # On pickles of a protocol that torch itself does not write; what fails is told below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's text explains at length how to switch the protection off.
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise _damaged(path) from error
        raise UserError(
            f"{path} was refused",
            expected="tensors alone",
            received=f"{named[1].rstrip('.,')}, which reading the file would have to execute",
            remedy="save the net's state_dict alone, best as .safetensors",
        ) from error
    except PermissionError as error:
        raise UserError(f"the weights {path} cannot be read", received="no permission") from error
    except Exception as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} cannot be read",
        expected="what torch.save or safetensors wrote",
        received="a damaged file or one of another kind",
        remedy="restore it from a copy",
    )


def _unnest(found: object, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors, out of those that hold a whole training's state."""
    while isinstance(found, Mapping):
        inner = next((found[k] for k in _NESTED if isinstance(found.get(k), Mapping)), None)
        if inner is None:
            break
        found = inner
    tensors = (
        {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise UserError(
            f"{path} holds no weights",
            expected="tensors by name, as a net's state_dict",
            received=type(found).__name__,
        )
    return tensors


def _strip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that all names share."""
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
