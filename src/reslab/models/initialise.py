"""The first weights of a net, by published schemes.

All are for convolutions; their biases, where there are any, start at zero. Norms start as
the identity and the head as PyTorch's linear layers do, uniform within 1 / sqrt(inputs).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import init

from reslab.catalog.names import check_name
from reslab.catalog.nets import Initialisation
from reslab.errors import UserError

SCHEMES: dict[Initialisation, Callable[[Tensor], object]] = {
    # He et al., arXiv 1502.01852, equation 14: keeps the gradient's variance; torchvision's.
    "kaiming_fan_out": partial(init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    # The same, equation 10: keeps the signal's variance.
    "kaiming_fan_in": partial(init.kaiming_normal_, mode="fan_in", nonlinearity="relu"),
    # Glorot and Bengio 2010, equation 16.
    "xavier": init.xavier_uniform_,
    # LeCun et al. 1998, *Efficient BackProp*, equation 16: variance 1 / fan-in.
    "lecun": partial(init.kaiming_normal_, mode="fan_in", nonlinearity="linear"),
    # Saxe et al., arXiv 1312.6120, on the weights as a matrix of filters, scaled for ReLU.
    "orthogonal": partial(init.orthogonal_, gain=2**0.5),
    # Krizhevsky et al. 2012, section 5: the same spread at every width.
    "gaussian": partial(init.normal_, std=0.01),
}


def initialise(model: nn.Module, scheme: Initialisation) -> None:
    """Draw the weights of all convolutions anew, in the order of the modules.

    Raises:
        UserError: for an unknown scheme.
    """
    check_name(scheme, SCHEMES, "initialisation")
    for module in model.modules():
        # On the meta device there is nothing to draw, and trying takes long.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            SCHEMES[scheme](module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)


def silence(branch_end: nn.Module) -> None:
    """Zero a module's weights, so that the residual branch that it ends gives zero.

    Raises:
        UserError: where it has none.
    """
    parameters = list(branch_end.parameters())
    if not parameters:
        raise UserError(
            "zero_init_residual finds no weights at the end of the residual branch",
            received=type(branch_end).__name__,
            remedy="end the branch in a norm with a scale or in a convolution",
        )
    for parameter in parameters:
        init.zeros_(parameter)
