"""The one residual net: stem, stages of blocks, global average pool, linear head.

Everything that differs between the members of the family is an argument; the table of
members is ``reslab.catalog.nets``. Plain nets are ``shortcut="none"``.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``D`` numbers
of an embedding, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from reslab.catalog.names import check_name
from reslab.catalog.nets import STEMS, Activation, Initialisation, Norm, Shortcut, Stem
from reslab.errors import UserError
from reslab.models.blocks import Block, MakeBlock
from reslab.models.checks import (
    channels_of,
    check_block,
    check_counts,
    check_images,
    check_plain,
    check_probabilities,
    check_sizes,
    class_of,
    is_count,
)
from reslab.models.fused import fused_chain, fused_stem
from reslab.models.initialise import initialise, silence
from reslab.models.layers import (
    MakeActivation,
    MakeNorm,
    convolution,
    find_activation,
    find_norm,
)
from reslab.models.preact import PreActivation
from reslab.models.stage import Stage, branch_convolutions, channels_kept
from reslab.ops.recompute import split_evenly, usual_segments
from reslab.ops.stochastic_depth import linear_decay


class ResNet(nn.Module):
    """A residual net for square or oblong images, (N, in_channels, H, W) to logits (N, K).

    Sub-module names equal torchvision's ``ResNet``: conv1, bn1, layer1 … layerS, fc.

    Of blocks with pre-activation the first goes without its own activation, and a last one
    stands before the pool (arXiv 1603.05027, appendix).

    Args:
        block: the residual block's class, one of reslab's or your own; see
            ``reslab.models.blocks.MakeBlock``.
        depths: blocks in each stage.
        widths: channels of each stage; every stage after the first halves H and W.
        num_classes: K, the width of the head.
        in_channels: channels of the images (1 grey, 3 colour, or any number).
        stem: ``imagenet``: 7x7 convolution of stride 2 and a 3x3 max pool of stride 2;
            ``small``: 3x3 convolution of stride 1 and no pool (He et al. 2015, section 4.2).
        shortcut: see ``reslab.models.shortcuts.make_shortcut``.
        norm: ``batch``, ``group``, ``none``, or what makes a norm from its channels.
        activation: a name of ``reslab.models.layers.ACTIVATIONS``, or what makes a module.
        dropout: probability that a number of the embedding is zeroed before the head in
            training (Hinton et al., arXiv 1207.0580).
        stochastic_depth: probability that the last residual branch is left out in training;
            earlier ones in proportion to their position (Huang et al., arXiv 1603.09382).
        zero_init_residual: start each residual branch at F(x) = 0 by zeroing the last module
            of it that has weights (Goyal et al., arXiv 1706.02677, section 5.1).
        initialisation: see ``reslab.models.initialise.SCHEMES``.

    Attributes:
        identity: what of a named net its weights' shapes do not tell, see ``create_model``.

    Raises:
        UserError: for sizes below 1, probabilities outside [0, 1), unknown names, what needs
            a shortcut in a plain net, or a block that is none.
    """

    identity: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        block: MakeBlock,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: Stem = "imagenet",
        shortcut: Shortcut = "B",
        norm: Norm | MakeNorm = "batch",
        activation: Activation | MakeActivation = "relu",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        zero_init_residual: bool = False,
        initialisation: Initialisation = "kaiming_fan_out",
    ) -> None:
        super().__init__()
        check_sizes(depths, widths, num_classes, in_channels)
        check_probabilities(dropout=dropout, stochastic_depth=stochastic_depth)
        check_name(stem, STEMS, "stem")
        if shortcut == "none":
            check_plain(
                zero_init_residual=zero_init_residual, stochastic_depth=stochastic_depth > 0
            )
        make_norm, make_activation = find_norm(norm), find_activation(activation)
        channels = widths[0]
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = convolution(in_channels, channels, kernel, stride, norm=make_norm)
        self.bn1 = make_norm(channels)
        self.relu = make_activation()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if stem == "imagenet" else nn.Identity()
        self.stage_names = tuple(f"layer{i}" for i in range(1, len(depths) + 1))
        preactivation = class_of(block).is_preactivation
        left_out = iter(linear_decay(stochastic_depth, sum(depths)))
        for i, (name, depth, width) in enumerate(
            zip(self.stage_names, depths, widths, strict=True)
        ):
            blocks: list[Block] = []
            for j in range(depth):
                options: dict[str, Any] = {
                    "shortcut": shortcut,
                    "norm": make_norm,
                    "activation": make_activation,
                    "stochastic_depth": next(left_out),
                }
                if preactivation and i == j == 0:
                    options["preactivate"] = False
                check_block(block, **options)
                blocks.append(block(channels, width, 2 if i > 0 and j == 0 else 1, **options))
                channels = channels_of(blocks[-1])
            self.add_module(name, Stage(*blocks))
        self.post = (
            PreActivation(channels, make_norm, make_activation) if preactivation else nn.Identity()
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self, initialisation)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, Block):
                    silence(module.branch_end())

    def stages(self) -> Iterator[Stage]:
        """The stages in their order."""
        for name in self.stage_names:
            stage = self.get_submodule(name)
            assert isinstance(stage, Stage)
            yield stage

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised images (N, in_channels, H, W), float, to logits (N, K).

        Raises:
            UserError: for images of another shape or of whole numbers.
        """
        logits_NK: Tensor = self.fc(self.dropout(self.embed(images_NCHW)))
        return logits_NK

    def embed(self, images_NCHW: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) to the pooled features (N, D) that the head sees.

        Raises:
            UserError: as ``forward``.
        """
        return self.avgpool(self.post(self._trunk(images_NCHW))).flatten(1)  # type: ignore[no-any-return]

    def features(self, images_NCHW: Tensor) -> dict[str, Tensor]:
        """What each stage gives, by name: ``stem``, then ``layer1`` … as (N, C, H, W).

        In nets with pre-activation they are what the next block would activate.

        Raises:
            UserError: as ``forward``.
        """
        found = {"stem": self._stem(images_NCHW)}
        x = found["stem"]
        for name, stage in zip(self.stage_names, self.stages(), strict=True):
            found[name] = x = stage(x)
        return found

    def replace_head(self, num_classes: int) -> None:
        """A new head for other classes, freshly initialised where the old one lay.

        Raises:
            UserError: for less than one class.
        """
        check_counts("num_classes", [num_classes])
        old = self.fc
        self.fc = nn.Linear(
            old.in_features, num_classes, device=old.weight.device, dtype=old.weight.dtype
        )

    def checkpoint_activations(self, segments: int | None = None) -> None:
        """Keep less for the backward: segment ends only, the rest is computed again.

        Args:
            segments: how many, at least one a stage; None: see
                ``reslab.ops.recompute.usual_segments``; 0: keep all, as a new net does.

        Raises:
            UserError: for a negative number.
        """
        stages = list(self.stages())
        if segments is None:
            branches = [branch_convolutions(residual) for stage in stages for residual in stage]
            segments = usual_segments(sum(map(len, branches)))
        if not is_count(segments, least=0):
            raise UserError(
                "segments must be a whole number of at least 0", received=repr(segments)
            )
        if segments == 0:
            for stage in stages:
                stage.segments = ()
            return
        weights = [
            # Each stage has a quarter of the pixels of the one before.
            [channels_kept(residual) / 4**i for residual in stage]
            for i, stage in enumerate(stages)
        ]
        for stage, sizes in zip(stages, split_evenly(weights, segments), strict=True):
            stage.segments = tuple(sizes)

    def _trunk(self, images_NCHW: Tensor) -> Tensor:
        """What the last stage gives."""
        check_images(images_NCHW, self.conv1.in_channels, self.conv1.weight.dtype)
        stages = list(self.stages())
        if isinstance(self.maxpool, nn.Identity):
            stem = [self.conv1, self.bn1, self.relu, self.maxpool]
            chained = fused_chain(images_NCHW, stem, stages)
            x = self._stem(images_NCHW) if chained is None else chained
        else:
            x = self._stem(images_NCHW)
            chained = fused_chain(x, [], stages)
            x = x if chained is None else chained
        if chained is None:
            for stage in stages:
                x = stage(x)
        return x

    def _stem(self, images_NCHW: Tensor) -> Tensor:
        check_images(images_NCHW, self.conv1.in_channels, self.conv1.weight.dtype)
        activated = fused_stem(images_NCHW, self.conv1, self.bn1, self.relu)
        if activated is None:
            activated = self.relu(self.bn1(self.conv1(images_NCHW)))
        stem_NCHW: Tensor = self.maxpool(activated)
        return stem_NCHW
