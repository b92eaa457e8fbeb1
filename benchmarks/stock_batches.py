"""Augmented batches as a good practitioner makes them with torch alone: no DataLoader, no PIL.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``S`` the crop.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reslab.data.source import Images
from reslab.spec.resolved import ResolvedRun


class StockBatches:
    """All images in memory as one padded uint8 tensor; each batch is cut out of it.

    Every sample has an own offset and mirroring (one gather of rows, one of columns); then the
    batch is normalised.

    Args:
        run: augmentation, batch size and what normalises the images.
        images: the images to train on.
    """

    def __init__(self, run: ResolvedRun, images: Images) -> None:
        augment = run.data.augment
        self.size = run.training.batch_size
        self._flip = augment.flip
        self._padded_NCHW = nn.functional.pad(
            torch.from_numpy(images.pixels_NCHW), (augment.pad,) * 4
        )
        self._labels_N = torch.from_numpy(images.labels_N)
        mean, sd = torch.tensor(run.facts.mean), torch.tensor(run.facts.sd)
        self._scale = (1 / (255 * sd)).view(-1, 1, 1)
        self._shift = (-mean / sd).view(-1, 1, 1)
        self._line = torch.arange(augment.crop)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return len(self._labels_N) // self.size

    def draw(
        self, steps: int, memory_format: torch.memory_format
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """So many batches of a new order: normalised images and their labels."""
        order_N = torch.randperm(len(self._labels_N))
        for step in range(steps):
            # Trials may ask for more steps than there are batches.
            begin = step * self.size % (len(order_N) - self.size + 1)
            chosen_N = order_N[begin : begin + self.size]
            images_NCSS = self._cut(chosen_N).float().mul_(self._scale).add_(self._shift)
            yield images_NCSS.contiguous(memory_format=memory_format), self._labels_N[chosen_N]

    def _cut(self, chosen_N: Tensor) -> Tensor:
        """A random square of each chosen image, every second one mirrored; uint8 (N, C, S, S)."""
        channels, height, width = self._padded_NCHW.shape[1:]
        n, line, crop = len(chosen_N), self._line, len(self._line)
        first_row_N = torch.randint(0, height - crop + 1, (n,))
        first_column_N = torch.randint(0, width - crop + 1, (n,))
        plane_NC = chosen_N[:, None] * channels + torch.arange(channels)
        row_NCS = (plane_NC * height + first_row_N[:, None])[:, :, None] + line
        rows_NCSW = self._padded_NCHW.view(-1, width).index_select(0, row_NCS.view(-1))
        column_NS = first_column_N[:, None] + line
        if self._flip:
            mirrored_N1 = torch.rand(n, 1) < 0.5
            column_NS = torch.where(mirrored_N1, column_NS.flip(1), column_NS)
        return rows_NCSW.view(n, channels, crop, width).gather(
            3, column_NS[:, None, None].expand(n, channels, crop, crop)
        )
