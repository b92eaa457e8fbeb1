"""Weights that others published: torchvision's, trained on ImageNet."""

from __future__ import annotations

import hashlib
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from reslab.errors import UserError
from reslab.models.state_files import read_state

TAGS = ("imagenet", "imagenet_v1", "imagenet_v2")


def fetch_published(net: str, tag: str) -> dict[str, Tensor]:
    """Torchvision's weights of a net, downloaded into torch.hub's cache if not yet there.

    Args:
        net: the net's name, the same here and there.
        tag: ``imagenet`` for those that torchvision recommends, ``imagenet_v1`` for those of
            the original recipe, ``imagenet_v2`` for those of its later one.

    Raises:
        UserError: where there are none, or they cannot be downloaded whole.
    """
    return download(_address(net, tag))


def download(url: str) -> dict[str, Tensor]:
    """A state dict from the web, kept in torch.hub's cache.

    The file's name holds the start of its SHA-256, as torchvision's do; what is in the cache
    is held to it as well.

    Raises:
        UserError: where it cannot be reached, stored or read, or is damaged.
    """
    name = url.rpartition("/")[2]
    prefix = name.rpartition("-")[2].partition(".")[0]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        _fetch(url, path, prefix)
    elif not hashlib.sha256(path.read_bytes()).hexdigest().startswith(prefix):
        raise UserError(
            f"{path} is damaged",
            received="another checksum than its name promises",
            remedy="delete it and try again",
        )
    return read_state(path)


def _fetch(url: str, path: Path, prefix: str) -> None:
    """Download into the cache; what does not arrive whole leaves nothing there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        progress = sys.stderr.isatty()
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=progress)
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise UserError(
            f"{url} cannot be reached",
            received=str(getattr(error, "reason", error)),
            remedy=f"connect to a network, or put the file into {path.parent}",
        ) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be written",
            received=(error.strerror or str(error)).lower(),
            remedy="let the environment variable TORCH_HOME name another folder",
        ) from error
    except RuntimeError as error:  # torch's word for a wrong checksum
        raise UserError(
            f"{url} arrived damaged",
            received="another checksum than its name promises",
            remedy="try again",
        ) from error


def _address(net: str, tag: str) -> str:
    if not net:
        raise UserError("which net's published weights?", remedy="give net=, such as resnet18")
    # Only who asks for published weights waits for torchvision's import.
    from torchvision.models import get_model_weights  # noqa: PLC0415

    try:
        published = get_model_weights(net)
    except ValueError:
        raise UserError(
            f"nobody publishes ImageNet weights of {net} that reslab knows",
            expected="a net of torchvision's, such as resnet18",
            remedy="give a file or a run",
        ) from None
    by_tag = {
        f"imagenet_{entry.name.rpartition('_')[2].lower()}": str(entry.url) for entry in published
    }
    by_tag["imagenet"] = str(published.DEFAULT.url)
    if tag not in by_tag:
        raise UserError(
            f"there are no weights {tag} of {net}", expected=f"one of {', '.join(sorted(by_tag))}"
        )
    return by_tag[tag]
