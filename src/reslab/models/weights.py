"""A run's own weights as bytes and back: safetensors, strict, nothing executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from reslab.errors import UserError
from reslab.models.state_files import IDENTITY, read_safetensors


def weights_to_bytes(model: nn.Module, state: Mapping[str, Tensor] | None = None) -> bytes:
    """All parameters and buffers of the model in safetensors' format, contiguous.

    The file's metadata say what net they are of, where it has a name.

    Args:
        model: the net.
        state: its tensors at another time; None: now.
    """
    state = model.state_dict() if state is None else state
    identity = dict(getattr(model, "identity", {}))
    # One entry, because safetensors writes several in an order of its own each time.
    metadata = {IDENTITY: json.dumps(identity, sort_keys=True)} if identity else None
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()},
        metadata=metadata,
    )


def restore_weights(model: nn.Module, path: Path) -> None:
    """Give the model the tensors of a safetensors file; all must agree one to one.

    The model may lie on the meta device: what it had is replaced, not filled.

    Raises:
        UserError: where the file is missing, damaged or of another net.
    """
    state = read_safetensors(path)
    wanted = {name: (tuple(t.shape), t.dtype) for name, t in model.state_dict().items()}
    found = {name: (tuple(t.shape), t.dtype) for name, t in state.items()}
    if wanted != found:
        odd = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        raise UserError(
            f"{path} holds the weights of another net",
            received=f"{len(odd)} tensors that differ, {odd[0]} among them",
            remedy="give the weights of this run",
        )
    model.load_state_dict(state, assign=True)
