"""Against over-fitting: what may be added to a batch, a loss or the weights in training.

Each is off by default, and then does not exist. Functions hold nothing; the average of the
weights is the one that is a state. Other remedies live where they work: augmentation in
``reslab.data.augment``, dropout and stochastic depth in the nets, weight decay in the optimiser.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision.transforms import v2

from reslab.runs.history import EpochRecord
from reslab.training.optim import is_pulled


def penalised_weights(model: nn.Module, *, norm_and_bias: bool) -> list[Tensor]:
    """The parameters that penalties pull: those that learn, without norms and biases or with."""
    learning = (p for p in model.parameters() if p.requires_grad)
    return [p for p in learning if is_pulled(p, norm_and_bias=norm_and_bias)]


def penalty(weights: Iterable[Tensor], *, l1: float, l2: float) -> Tensor:
    """l1 Σ|w| + ½ l2 Σw², to be added to the loss.

    With plain SGD the second term moves weights as a weight decay of ``l2`` does. Adam divides
    it by the gradient's size like the rest of the gradient, which a decay that shrinks the
    weights themselves escapes (Loshchilov and Hutter, arXiv 1711.05101).

    >>> round(penalty([torch.tensor([3.0, -4.0])], l1=0.1, l2=0.01).item(), 4)
    0.825
    """
    weights = list(weights)
    total = torch.zeros((), device=weights[0].device)
    if l1:
        total = total + l1 * torch.stack([w.abs().sum() for w in weights]).sum()
    if l2:
        total = total + 0.5 * l2 * torch.stack([w.square().sum() for w in weights]).sum()
    return total


def mix(
    images_NCHW: Tensor, labels_N: Tensor, *, mixup: float, cutmix: float, classes: int
) -> tuple[Tensor, Tensor]:
    """Blend each image of a batch with its neighbour, and their labels likewise.

    Draws come from torch's own generator. Where both are on, a coin chooses for each batch.

    Args:
        images_NCHW: the batch.
        labels_N: its classes.
        mixup: both parameters of the Beta distribution that shares come from; 0: off. Sums of
            whole images (Zhang et al., arXiv 1710.09412).
        cutmix: likewise; a rectangle of one lies in the other (Yun et al., arXiv 1905.04899).
        classes: how many there are.

    Returns:
        Images, and targets (N, K): shares of the classes.
    """
    kinds: list[v2.Transform] = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup, num_classes=classes))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix, num_classes=classes))
    kind = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)
    mixed_NCHW, targets_NK = kind(images_NCHW, labels_N)
    return mixed_NCHW, targets_NK


def rank(record: EpochRecord, select_by: str) -> tuple[float, float] | None:
    """What the best epoch is chosen by, the higher the better; None without validation.

    Small validation splits saturate, so that of equals the one of the lower loss is better.

    Args:
        record: of the epoch.
        select_by: ``accuracy``, ``macro_f1`` or ``loss``.
    """
    if record.val_loss is None or record.val_accuracy is None:
        return None
    if select_by == "loss":
        return (-record.val_loss, record.val_accuracy)
    chosen = record.val_macro_f1 if select_by == "macro_f1" else record.val_accuracy
    assert chosen is not None
    return (chosen, -record.val_loss)


def has_stalled(
    history: Sequence[EpochRecord], *, patience: int, min_delta: float, select_by: str = "accuracy"
) -> bool:
    """Whether validation has not become better for so many epochs.

    An epoch is better that has a higher accuracy, or what else is asked for, than any before
    it, by more than ``min_delta``; with a ``min_delta`` of 0 any higher rank will do. The early
    stopping of Prechelt (1998), whose patience is counted in epochs.

    Args:
        history: the finished epochs.
        patience: epochs without a better one after which there is no hope.
        min_delta: in the unit of what is asked for: fraction of the images, F1 or nats.
        select_by: see ``rank``.
    """
    best: tuple[float, float] | None = None
    since = 0
    for record in history:
        score = rank(record, select_by)
        if score is None:
            return False
        if best is None or (score[0] > best[0] + min_delta if min_delta else score > best):
            best, since = score, 0
        else:
            since += 1
    return since >= patience


class WeightAverage:
    """A running average of a net's weights and statistics, to be judged in its place.

    After each update it moves by a share of 1 - decay towards the net. Early on, while the net
    still leaves its first weights behind, it moves further: of n updates so far the decay is at
    most (1 + n) / (10 + n), as TensorFlow's ExponentialMovingAverage has it. The idea is
    Polyak and Juditsky's (1992).

    Args:
        model: the net.
        decay: share of the average that an update leaves, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def move(averages: Sequence[Tensor], news: Sequence[Tensor], updates: Tensor | int) -> None:
            n = int(updates)
            share = 1 - min(decay, (1 + n) / (10 + n))
            if averages[0].is_floating_point():
                torch._foreach_lerp_(list(averages), list(news), share)
            else:  # counters
                torch._foreach_copy_(list(averages), list(news))

        self._average = AveragedModel(model, multi_avg_fn=move, use_buffers=True)
        self._model = model
        # It is judged and never trained.
        self._average.module.requires_grad_(False)
        self.update()

    @property
    def model(self) -> nn.Module:
        """The net with the average as its weights."""
        return self._average.module

    @torch.no_grad()
    def update(self) -> None:
        """Take the net's weights in, after a step."""
        self._average.update_parameters(self._model)

    def tensors(self) -> dict[str, Tensor]:
        """All of its state, the live tensors."""
        return dict(self._average.state_dict())
