"""Weights that others published: torchvision's, trained on ImageNet."""

from __future__ import annotations

import sys
from urllib.error import URLError

import torch
from torch import Tensor

from reslab.errors import UserError

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
    """A state dict from the web; its file's name holds the start of its SHA-256, as torch's do.

    Raises:
        UserError: where it cannot be reached or arrives damaged.
    """
    try:
        return torch.hub.load_state_dict_from_url(
            url,
            map_location="cpu",
            check_hash=True,
            weights_only=True,
            progress=sys.stderr.isatty(),
        )
    except (URLError, TimeoutError, ConnectionError) as error:
        raise UserError(
            f"{url} cannot be reached",
            received=str(getattr(error, "reason", error)),
            remedy=f"connect to a network, or put the file into {torch.hub.get_dir()}/checkpoints",
        ) from error
    except RuntimeError as error:
        if "hash" not in str(error):
            raise
        raise UserError(
            f"{url} arrived damaged",
            received="another checksum than its name promises",
            remedy="try again",
        ) from error


def _address(net: str, tag: str) -> str:
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
