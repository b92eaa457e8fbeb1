"""The engines that there are; a module is imported, with its packages, when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from reslab.catalog.names import check_name, find
from reslab.errors import UserError

if TYPE_CHECKING:
    from reslab.inference.engine import Engine

# The engine whose outputs all others are compared with.
REFERENCE = "eager"

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
        precision: ``fp32`` or ``bf16``.
        any_size: whether what it prepared takes batches of other sizes too.
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
    any_size: bool = False
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
    """

    reason: str
    remedy: str = ""


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


def load_engine(entry: Entry) -> Engine:
    """The engine itself; its packages are imported when it prepares a net."""
    module, _, kind = entry.where.partition(":")
    engine: Engine = getattr(import_module(module), kind)()
    return engine


def obstacle_to(entry: Entry, device: str, features: Mapping[str, bool]) -> Obstacle | None:
    """Why an engine cannot be used, or None where it can.

    Args:
        entry: the engine.
        device: ``cpu``, ``cuda`` or ``mps``.
        features: see ``reslab.engine.machine.Machine``.
    """
    if device not in entry.devices:
        return Obstacle(f"it works on {', '.join(entry.devices)} and not on {device}")
    missing = [name for name in entry.packages if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return Obstacle(
            f"{' and '.join(missing)} {verb} not installed",
            "`pip install 'reslab[export]'` installs it",
        )
    if entry.feature and not features.get(entry.feature, False):
        return Obstacle(f"the CPU has no usable {entry.feature}, without which it would be slower")
    reason = load_engine(entry).obstacle()
    return Obstacle(reason) if reason else None


def check_usable(entry: Entry, device: str, features: Mapping[str, bool]) -> None:
    """Refuse an engine that cannot be used; see ``obstacle_to``.

    Raises:
        UserError: with the reason and the remedy.
    """
    obstacle = obstacle_to(entry, device, features)
    if obstacle is not None:
        raise UserError(
            f"the engine {entry.name} cannot be used: {obstacle.reason}",
            remedy=obstacle.remedy or "let --engine auto choose another",
        )
