"""Making an int8 model of a net with NNCF, OpenVINO's own tool for it: quantising after training.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.errors import ReslabError, UserError
from reslab.inference.engine import fill_up
from reslab.inference.openvino import convert, import_openvino, without_reports
from reslab.inference.signal_stack import kept_signal_stack

PACKAGES = ("nncf", "openvino")


@dataclass(frozen=True, kw_only=True)
class Way:
    """How ranges are chosen and biases corrected, in NNCF's terms.

    Attributes:
        preset: ``performance`` for symmetric ranges throughout, ``mixed`` for asymmetric ones of
            activations.
        fast_bias_correction: correct each layer's bias by itself, in place of one after the other
            on what the layers before it give then.
    """

    preset: str
    fast_bias_correction: bool

    def __str__(self) -> str:
        kind = "fast" if self.fast_bias_correction else "full"
        return f"preset {self.preset}, {kind} bias correction"


# The second is tried where the first costs too much accuracy.
WAYS = (
    Way(preset="performance", fast_bias_correction=True),
    Way(preset="mixed", fast_bias_correction=False),
)


def check_packages() -> None:
    """Refuse where a package is missing, before any work is done.

    Raises:
        UserError: with the remedy.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"nothing can be quantised: {' and '.join(missing)} {verb} not installed",
            remedy="`pip install 'reslab[export]'` installs what is needed",
        )


def quantize(
    model: nn.Module, pixels_NCHW: npt.NDArray[np.uint8], normaliser: Normaliser, way: Way
) -> tuple[bytes, bytes]:
    """An int8 model of a net, for batches of any size.

    Ranges of activations are those of these images, one at a time. Threads are as many as OpenVINO
    takes by itself.

    Args:
        model: the net, in evaluation mode; it is not changed.
        pixels_NCHW: images, one at least.
        normaliser: that of the net's training.
        way: how.

    Returns:
        OpenVINO's description of the model (XML), and the numbers that it refers to.

    Raises:
        UserError: where a package is missing.
        ReslabError: where NNCF cannot take the net.
    """
    check_packages()
    openvino = import_openvino()
    # Two rows, so that a batch of one is not taken for a constant.
    pair_NCHW = normaliser(fill_up(pixels_NCHW[:1], 2))
    # NNCF compiles models of its own to look at their numbers.
    with _quiet(), kept_signal_stack():
        converted = convert(model, pair_NCHW, any_batch=True)
        nncf = import_nncf()
        try:
            quantized = nncf.quantize(
                converted,
                nncf.Dataset(
                    list(pixels_NCHW), lambda pixels_CHW: normaliser(pixels_CHW[None]).numpy()
                ),
                preset=nncf.QuantizationPreset(way.preset),
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(pixels_NCHW),
                fast_bias_correction=way.fast_bias_correction,
            )
        except Exception as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            raise ReslabError(f"NNCF cannot quantise this net: {text}") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(quantized, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def import_nncf() -> Any:
    """NNCF without its reports of use to its maker, which it otherwise sends unasked."""
    before = logging.getLoggerClass()
    try:
        with without_reports():
            import nncf  # noqa: PLC0415 - an extra
    finally:
        # It makes its own kind of logger everybody's.
        logging.setLoggerClass(before)
    return nncf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within the context nothing that Python code prints or logs is seen."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
