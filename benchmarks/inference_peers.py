"""How others classify the same images with the same net: stock code, best settings.

Each is built in a worker process (``measure.Worker``). None of them uses reslab's engines; the net
itself is reslab's, an ordinary ``nn.Module``.

Shape suffixes: ``N`` images, ``C`` channels, ``H`` and ``W`` rows and columns, ``K`` classes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from torch import Tensor, nn

import reslab
from reslab.inference.nncf import import_nncf
from reslab.inference.openvino import import_openvino

CLASSES = 100


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every contender does: one batch of images to probabilities.

    Attributes:
        net: its name.
        size: side of the images.
        batch: images of a call.
        threads: of the CPU.
        mean: of each channel, by which images are normalised.
        sd: likewise.
    """

    net: str
    size: int
    batch: int
    threads: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    sd: tuple[float, ...] = (0.229, 0.224, 0.225)

    def model(self) -> nn.Module:
        """The net with random weights and running statistics, the same in every process."""
        torch.manual_seed(0)
        model = reslab.create_model(self.net, num_classes=CLASSES)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        return model.eval()

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The images (N, 3, size, size)."""
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (self.batch, 3, self.size, self.size), dtype=np.uint8)

    def expected(self) -> npt.NDArray[np.float64]:
        """Probabilities (N, K) in fp64."""
        images_NCHW = torch.from_numpy(self.pixels() / 255.0)
        mean, sd = (torch.tensor(v).double().view(-1, 1, 1) for v in (self.mean, self.sd))
        with torch.no_grad():
            logits_NK: Tensor = self.model().double()((images_NCHW - mean) / sd)
        return np.asarray(logits_NK.softmax(dim=1).numpy())


class Peer:
    """What the peers share: the images, normalising and the clock."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pixels_NCHW = work.pixels()
        # One multiplication and one addition, written once.
        mean, sd = (torch.tensor(v).view(1, -1, 1, 1) for v in (work.mean, work.sd))
        self._scale, self._shift = 1 / (255 * sd), -mean / sd
        self._example_NCHW = self._normalise()

    def prepare(self) -> dict[str, Any]:
        """Make ready; nothing to tell."""
        self._forward = self.build()
        self.probabilities()
        return {}

    def build(self) -> Callable[[Tensor], npt.NDArray[np.float32]]:
        """From normalised images (N, C, H, W) to logits (N, K)."""
        raise NotImplementedError

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Of the images (N, K)."""
        return np.asarray(softmax(self._forward(self._normalise()), axis=1))

    def run_calls(self, calls: int) -> float:
        """Seconds of so many calls."""
        began = time.perf_counter()
        for _ in range(calls):
            self.probabilities()
        return time.perf_counter() - began

    def _normalise(self) -> Tensor:
        images_NCHW = torch.from_numpy(self._pixels_NCHW).float()
        return images_NCHW.mul_(self._scale).add_(self._shift)


class TorchEager(Peer):
    """The net as it is, channels_last."""

    def build(self) -> Callable[[Tensor], npt.NDArray[np.float32]]:
        """See ``Peer``."""
        model = self._work.model().to(memory_format=torch.channels_last)

        def forward(images_NCHW: Tensor) -> npt.NDArray[np.float32]:
            with torch.inference_mode():
                logits_NK = model(images_NCHW.contiguous(memory_format=torch.channels_last))
            return np.asarray(logits_NK.numpy())

        return forward


class TorchInductor(Peer):
    """``torch.compile`` with frozen weights, channels_last."""

    def build(self) -> Callable[[Tensor], npt.NDArray[np.float32]]:
        """See ``Peer``."""
        model = self._work.model().to(memory_format=torch.channels_last)
        compiled = torch.compile(
            model, dynamic=False, options={"freezing": True, "max_autotune": False}
        )

        def forward(images_NCHW: Tensor) -> npt.NDArray[np.float32]:
            with torch.no_grad():
                logits_NK = compiled(images_NCHW.contiguous(memory_format=torch.channels_last))
            return np.asarray(logits_NK.numpy())

        return forward


class Onnx(Peer):
    """Exported by ``torch.onnx``, on ONNX Runtime's CPU provider, all optimisations on."""

    def build(self) -> Callable[[Tensor], npt.NDArray[np.float32]]:
        """See ``Peer``."""
        import onnxruntime  # noqa: PLC0415 - an extra

        program = torch.onnx.export(
            self._work.model(), (self._example_NCHW,), dynamo=True, verbose=False
        )
        assert program is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._work.threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(
            program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        return lambda images_NCHW: session.run(None, {name: images_NCHW.numpy()})[0]


class OpenVino(Peer):
    """Converted from torch, static shape, in fp32 whatever the CPU could do.

    Of reslab's engine it has only that no reports of use are sent.
    """

    def build(self) -> Callable[[Tensor], npt.NDArray[np.float32]]:
        """See ``Peer``."""
        openvino = import_openvino()
        compiled = openvino.Core().compile_model(
            self.convert(),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self._work.threads,
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        return lambda images_NCHW: np.asarray(compiled(images_NCHW.numpy(), share_inputs=True)[0])

    def convert(self) -> Any:
        """OpenVINO's model of the net."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_openvino().convert_model(
                self._work.model(),
                example_input=self._example_NCHW,
                input=list(self._example_NCHW.shape),
            )


class OpenVinoInt8(OpenVino):
    """The same in int8, quantised by NNCF as its guide does it, on random images.

    So it measures speed only: how near such a model comes to the net says nothing of one that was
    quantised on real images.
    """

    def convert(self) -> Any:
        """Quantised, for one size of batch."""
        nncf = import_nncf()
        nncf.set_log_level(logging.ERROR)
        with contextlib.redirect_stdout(io.StringIO()):
            return nncf.quantize(super().convert(), nncf.Dataset([self._example_NCHW.numpy()]))


PEERS: dict[str, Callable[[Work], Peer]] = {
    "eager": TorchEager,
    "inductor": TorchInductor,
    "onnxruntime": Onnx,
    "openvino": OpenVino,
    "openvino-int8": OpenVinoInt8,
}
# Those that do not compute in fp32, each to be compared with its own kind.
INT8_PEERS = ("openvino-int8",)
