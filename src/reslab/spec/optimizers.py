"""Optimisers as they are asked for; ``reslab.training.optim`` makes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reslab.spec.values import Fraction, Frozen, Positive


class SGD(Frozen):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: Fraction = Field(0.9, description="fraction of the last update that is kept")
    nesterov: bool = Field(True, description="look ahead along the momentum")


class Adam(Frozen):
    """Adam (Kingma and Ba, arXiv 1412.6980); weight decay is added to the gradient."""

    kind: Literal["adam"] = "adam"
    beta1: Fraction = Field(0.9, description="decay of the gradient's running mean")
    beta2: Fraction = Field(0.999, description="decay of the squared gradient's running mean")


class AdamW(Frozen):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101); weight decay shrinks the weights."""

    kind: Literal["adamw"] = "adamw"
    beta1: Fraction = Field(0.9, description="decay of the gradient's running mean")
    beta2: Fraction = Field(0.999, description="decay of the squared gradient's running mean")


class Muon(Frozen):
    """Muon (Jordan et al. 2024): all directions of a kernel's step count alike; the rest by SGD."""

    kind: Literal["muon"] = "muon"
    momentum: Fraction = Field(0.6, description="fraction of the last update that is kept")
    nesterov: bool = Field(True, description="look ahead along the momentum")
    sgd_lr: Positive = Field(
        0.5,
        description="peak rate of what is no kernel of a convolution: norms, biases, the head; "
        "training.lr is the share of its norm by which a step moves a kernel",
    )


OptimizerSpec = Annotated[SGD | Adam | AdamW | Muon, Field(discriminator="kind")]
