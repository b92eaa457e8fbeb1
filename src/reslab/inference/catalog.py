"""The engines that there are; a module is imported, with its packages, when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from reslab.catalog.names import check_name, find
from reslab.errors import UserError

if TYPE_CHECKING:
    from reslab.inference.engine import Engine
    from reslab.inference.int8 import Quantized

# The engine whose outputs all others are compared with.
REFERENCE = "eager"

# Computes what is no whole batch where the engine in use takes whole ones only.
SHORT = "folded"

OTHER = "let --engine auto choose another"
_INSTALL = "`pip install 'reslab[export]'` installs it"

# The engine that needs a model made by `reslab quantize`.
INT8 = "openvino-int8"

# What may stand for an engine's name: the choice, without and with measuring at any cost.
AUTO, MEASURE = "auto", "measure"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An engine.

    Attributes:
        name: what --engine takes.
        where: module and class.
        what: it in a few words.
        packages: those that it imports, of the extra ``export``.
        devices: where it works.
        feature: instruction set of the CPU, without which it would be slower than its kin.
        precision: ``fp32``, ``bf16``, or ``int8``, which runs a model that was made of a net
            before and is kept in its run.
        makers: packages, of the same extra, that such a model is made with.
        any_size: whether what it prepared takes batches of other sizes too.
        remedy: what to do where a net cannot be prepared.
        setup: seconds that preparing takes at least, and for each convolution, of which it is
            estimated whether trying the engine can be worth it; measured, and rounded up, on two
            cores (docs/decisions/0016-inference-engines.md).
    """

    name: str
    where: str
    what: str
    packages: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    feature: str = ""
    precision: str = "fp32"
    makers: tuple[str, ...] = ()
    any_size: bool = False
    remedy: str = OTHER
    setup: tuple[float, float]

    def setup_seconds(self, convolutions: int) -> float:
        """About how long preparing takes, for a net of so many convolutions."""
        return self.setup[0] + self.setup[1] * convolutions


@dataclass(frozen=True)
class Obstacle:
    """Why an engine cannot be used here.

    Attributes:
        reason: in a few words.
        remedy: what to do about it; empty where nothing helps.
        is_news: whether those should know of it too who did not ask for the engine by its name.
    """

    reason: str
    remedy: str = ""
    is_news: bool = False


ENGINES = (
    Entry(
        name=REFERENCE,
        where="reslab.inference.eager:Eager",
        what="the net as it is: the reference",
        devices=("cpu", "cuda", "mps"),
        any_size=True,
        setup=(0.0, 0.0),
    ),
    Entry(
        name="folded",
        where="reslab.inference.folded:Folded",
        what="batch norms folded into convolutions",
        devices=("cpu", "cuda", "mps"),
        any_size=True,
        setup=(0.1, 0.003),
    ),
    Entry(
        name="kernels",
        where="reslab.inference.kernels:OwnKernels",
        what="reslab's own kernels",
        any_size=True,
        # Most of it is building them, once on a machine.
        setup=(8.0, 0.003),
    ),
    Entry(
        name="openvino",
        where="reslab.inference.openvino:OpenVino",
        what="OpenVINO in fp32",
        packages=("openvino",),
        setup=(1.0, 0.02),
    ),
    Entry(
        name="openvino-bf16",
        where="reslab.inference.openvino:OpenVinoBf16",
        what="OpenVINO in bf16",
        packages=("openvino",),
        feature="amx_bf16",
        precision="bf16",
        setup=(1.0, 0.02),
    ),
    Entry(
        name=INT8,
        where="reslab.inference.int8:OpenVinoInt8",
        what="OpenVINO in int8, of a run that `reslab quantize` made a model of",
        packages=("openvino",),
        precision="int8",
        makers=("nncf",),
        remedy=f"make its model anew with `reslab quantize`, or {OTHER}",
        setup=(1.0, 0.02),
    ),
    Entry(
        name="onnxruntime",
        where="reslab.inference.onnxruntime:OnnxRuntime",
        what="ONNX Runtime",
        packages=("onnxruntime", "onnx", "onnxscript"),
        setup=(4.0, 0.1),
    ),
    Entry(
        name="inductor",
        where="reslab.inference.inductor:Inductor",
        what="torch.compile with frozen weights",
        setup=(10.0, 0.5),
    ),
)


def find_engine(name: str) -> Entry:
    """The entry of that name.

    Raises:
        UserError: where there is none, with the nearest name.
    """
    return find(ENGINES, name, "engine")


def check_engine(name: str) -> str:
    """``name``, where it is that of an engine, ``auto`` or ``measure``.

    Raises:
        UserError: where it is not, with the nearest name.
    """
    return check_name(name, [AUTO, *(entry.name for entry in ENGINES), MEASURE], "engine")


def load_engine(entry: Entry, quantized: Quantized | None = None) -> Engine:
    """The engine itself; its packages are imported when it prepares a net.

    Args:
        entry: which.
        quantized: the model that one in int8 runs.
    """
    module, _, kind = entry.where.partition(":")
    given = [quantized] if entry.precision == "int8" else []
    engine: Engine = getattr(import_module(module), kind)(*given)
    return engine


def obstacle_to(entry: Entry, device: str, features: Mapping[str, bool]) -> Obstacle | None:
    """Why an engine cannot be used, or None where it can: in int8, for a run that has a model.

    Args:
        entry: the engine.
        device: ``cpu``, ``cuda`` or ``mps``.
        features: see ``reslab.engine.machine.Machine``.
    """
    if device not in entry.devices:
        return Obstacle(f"it works on {', '.join(entry.devices)} and not on {device}")
    missing = _not_installed(entry.packages)
    if missing:
        return Obstacle(missing, _INSTALL)
    if entry.feature and not features.get(entry.feature, False):
        return Obstacle(f"the CPU has no usable {entry.feature}, without which it would be slower")
    reason = load_engine(entry).obstacle()
    return Obstacle(reason) if reason else None


def obstacle_to_making(entry: Entry) -> Obstacle | None:
    """Why no model can be made for an engine in int8, or None where one can or none is needed."""
    missing = _not_installed(entry.makers)
    return Obstacle(f"no model can be made for it: {missing}", _INSTALL) if missing else None


def _not_installed(packages: Sequence[str]) -> str:
    missing = [name for name in packages if find_spec(name) is None]
    verb = "is" if len(missing) == 1 else "are"
    return f"{' and '.join(missing)} {verb} not installed" if missing else ""


def check_usable(entry: Entry, obstacle: Obstacle | None) -> None:
    """Refuse an engine that something is in the way of; see ``obstacle_to``.

    Raises:
        UserError: with the reason and the remedy.
    """
    if obstacle is not None:
        raise UserError(
            f"the engine {entry.name} cannot be used: {obstacle.reason}",
            remedy=obstacle.remedy or OTHER,
        )
