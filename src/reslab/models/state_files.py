"""Weights out of files that other tools wrote: tensors by name, and nothing executed."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reslab.errors import UserError

# The entry of a file's metadata that says what net its weights are of.
IDENTITY = "reslab"

# Where a run folder keeps the weights that it is judged by.
_OF_A_RUN = Path("weights/best.safetensors")

# What training scripts call the part of their checkpoints that is the net.
_NESTED = ("state_dict", "model_state_dict", "model", "net")

# Dictionaries within each other, at most; a file may hold one that holds itself.
_DEEPEST = 4

_REAL = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

# What wrappers put before every name: DataParallel and DDP, torch.compile, Lightning modules,
# and nets that hold another one.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "resnet.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a weights file or run folder, on the CPU.

    Takes .safetensors, and .pth, .pt, .bin or .ckpt as torch.save writes them; unwraps nested
    dictionaries and the prefixes of wrappers.

    Raises:
        UserError: where there are no weights, the file is damaged, or reading it would have
            to execute something.
    """
    path = _locate(path)
    is_safe = path.suffix == ".safetensors"
    state = _strip(_tensors(read_safetensors(path) if is_safe else _read_pickle(path), path))
    for name, tensor in state.items():
        _check_tensor(name, tensor, path)
    return state


def read_identity(path: Path) -> dict[str, str]:
    """What a file that reslab wrote says of its net; empty for others.

    Raises:
        UserError: where there is no such file.
    """
    path = _locate(path)
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get(IDENTITY, "{}"))
    except (SafetensorError, OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {}


def _locate(path: Path) -> Path:
    """The file itself, in a run's folder too."""
    try:
        found = path / _OF_A_RUN if path.is_dir() else path
        if found.is_file():
            return found
    except OSError:  # such as a name that is too long for one
        pass
    raise UserError(
        f"there are no weights at {path}",
        expected="a .safetensors or .pth file, or a run that has finished an epoch",
    )


def _check_tensor(name: str, tensor: Tensor, path: Path) -> None:
    """Refuse what no net's weight is, before anything is computed with it."""
    # A view that repeats few numbers would take any memory at all where it is copied.
    whole = (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
    )
    is_counter = name.endswith("num_batches_tracked") and not tensor.is_complex()
    if not whole or not (tensor.dtype in _REAL or is_counter):
        raise UserError(
            f"{name} in {path} cannot be a weight",
            expected="an ordinary tensor of fp64, fp32, fp16 or bf16",
            received=f"{tensor.dtype} {tuple(tensor.shape)}".replace("torch.", ""),
            remedy="convert the file, or save the net's state_dict again",
        )
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise UserError(
            f"the weights {path} are broken",
            received=f"numbers that are not finite in {name}",
            remedy="take those of an earlier epoch",
        )


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
    # KeyError: for types of number that torch has not.
    except (SafetensorError, ValueError, KeyError) as error:
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


def _tensors(found: object, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors, out of those that hold a whole training's state."""
    for _ in range(_DEEPEST):
        if isinstance(found, Mapping):
            found = next((found[k] for k in _NESTED if isinstance(found.get(k), Mapping)), found)
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
