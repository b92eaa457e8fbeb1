"""A run that was made, opened from its folder: everything after training starts here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from reslab.data.arrays import to_nchw
from reslab.data.pictures.preprocess import Fit, decode_image
from reslab.data.pixels import Pixels
from reslab.data.source import Images
from reslab.engine.runtime import Runtime
from reslab.errors import UserError
from reslab.evaluation.calibration import Calibration, to_probabilities
from reslab.inference.catalog import AUTO, REFERENCE, check_engine
from reslab.inference.session import Session
from reslab.models.resnet import ResNet
from reslab.models.weights import restore_weights
from reslab.spec.run import EngineSpec
from reslab.workbench.calibrated import calibration_for, read_calibration
from reslab.workbench.decide import choose_engine
from reslab.workbench.quantized import Quantization, quantized_for, read_quantization, why_stale
from reslab.workbench.resolve import build_model, evaluation_batch, normaliser_of
from reslab.workbench.stored import StoredRun, open_run

Use = Literal["best", "last"]


class Run(StoredRun):
    """A trained net with all that is known of its training; see ``load_run``."""

    def model(self, use: Use = "best") -> ResNet:
        """The trained net, contiguous fp32 on the CPU, in evaluation mode.

        Args:
            use: ``best`` for the weights of the epoch that training.select_by chose on validation,
                ``last`` for the final ones. Without validation they are the same.

        Raises:
            UserError: where the weights are missing or damaged.
        """
        # On the meta device nothing is drawn at random only to be overwritten.
        with torch.device("meta"):
            model = build_model(self.spec)
        restore_weights(model, self.folder.weights(use))
        return model.eval()

    def logits(
        self,
        pixels_NCHW: Pixels,
        use: Use = "best",
        *,
        engine: str = REFERENCE,
    ) -> npt.NDArray[np.float32]:
        """Logits (N, K) of images that have the net's channels and size already.

        Args:
            pixels_NCHW: the images.
            use: see ``model``.
            engine: see ``session``; by default the net as it is.
        """
        return self.session(use, engine=engine, images=len(pixels_NCHW)).outputs(pixels_NCHW)

    def embeddings(
        self,
        pixels_NCHW: Pixels,
        use: Use = "best",
        *,
        engine: str = REFERENCE,
    ) -> npt.NDArray[np.float32]:
        """Pooled features (N, D), which the head sees, of what ``logits`` takes."""
        session = self.session(use, engine=engine, images=len(pixels_NCHW), embeddings=True)
        return session.outputs(pixels_NCHW)

    def session(
        self,
        use: Use = "best",
        *,
        engine: str = AUTO,
        images: int = 0,
        batch_size: int | None = None,
        embeddings: bool = False,
        flip: bool | None = None,
        warn: Callable[[str], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Session:
        """These weights at work, for who has images in several parts: see ``Session.outputs``.

        Args:
            use: see ``model``.
            engine: ``auto`` for what is soonest done, ``measure`` to find that out whatever it
                takes, ``eager`` for the net as it is, or another that ``reslab doctor`` lists.
            images: how many there will be in all parts together, by which ``auto`` chooses.
            batch_size: images of a batch; None: as many as are usual for their size.
            embeddings: give what the head sees instead of logits.
            flip: average over mirror images; None: as evaluation.flip has it.
            warn: told what went wrong with an engine; None: a Python warning.
            tell: told what was measured; None: nobody.

        Raises:
            UserError: for an engine that is unknown or cannot be used here, a batch of no images,
                or weights that are missing or damaged.
        """
        check_engine(engine)
        model = self.model(use)
        if embeddings:
            model.fc = nn.Identity()  # type: ignore[assignment]
        runtime = self.runtime()
        return Session(
            runtime.place_model(model),
            normaliser_of(self.spec),
            runtime,
            engine=engine,
            images=images,
            batch_size=evaluation_batch(self.spec) if batch_size is None else batch_size,
            are_logits=not embeddings,
            flip=self.spec.evaluation.flip if flip is None else flip,
            quantized=partial(quantized_for, self.folder, use),
            warn=warn,
            tell=tell,
        )

    def runtime(self) -> Runtime:
        """This machine's engine, on the device that the run was trained on where it is there."""
        try:
            choices = choose_engine(EngineSpec(device=self.spec.engine.device, kernels="torch"))
        except UserError:
            choices = choose_engine(EngineSpec(kernels="torch"))
        return Runtime(**{**{c.setting: c.value for c in choices}, "precision": "fp32"})  # type: ignore[arg-type]

    @property
    def calibration(self) -> Calibration | None:
        """How the run was calibrated, or None; see ``reslab calibrate``.

        One that was fitted for weights which were trained on since is left out of account, with
        a warning.

        Raises:
            UserError: where calibration.json is damaged or of a newer format.
        """
        stored = read_calibration(self.folder)
        return None if stored is None else self._calibration_for(stored.weights)

    def _calibration_for(self, use: str) -> Calibration | None:
        found = calibration_for(self.folder, use)
        if found.warning:
            warnings.warn(found.warning, stacklevel=3)
        return found.calibration

    @property
    def quantization(self) -> Quantization | None:
        """How the run was quantised, or None; see ``reslab quantize``.

        A model of weights which were trained on since is left out of account, with a warning.

        Raises:
            UserError: where int8/record.json is damaged or of a newer format.
        """
        stored = read_quantization(self.folder)
        if stored is None:
            return None
        reason = why_stale(self.folder, stored.weights, stored)
        if reason:
            warnings.warn(reason, stacklevel=2)
        return None if reason else stored

    def predict(
        self,
        images: npt.NDArray[np.uint8] | str | Path | Sequence[str | Path],
        *,
        use: Use = "best",
        engine: str = AUTO,
    ) -> npt.NDArray[np.float64]:
        """Class probabilities (N, K), rows adding to 1, columns as in ``classes``.

        Where these weights were calibrated (see ``calibration``) they are scaled by its
        temperature, which leaves the order of the classes as it is.

        Args:
            images: an image file or several, of any size, or uint8 pixels (N, H, W) or
                (N, H, W, C) of exactly the size that the net was trained on.
            use: see ``model``.
            engine: see ``session``.

        Raises:
            UserError: where an image cannot be read, an array does not fit the net,
                calibration.json is damaged, or the engine is unknown or cannot be used here.
        """
        check_engine(engine)
        pixels_NCHW = (
            to_nchw(images, "NHWC", "images")
            if isinstance(images, np.ndarray)
            else np.stack([self.decode(path) for path in _paths(images)])
        )
        facts = self.spec.facts
        unlabelled = Images(pixels_NCHW, np.zeros(len(pixels_NCHW), np.int64))
        unlabelled.check_fits(facts.channels, facts.image_size, len(facts.classes))
        return self.probabilities(pixels_NCHW, use, engine=engine)

    def probabilities(
        self, pixels_NCHW: npt.NDArray[np.uint8], use: Use = "best", *, engine: str = AUTO
    ) -> npt.NDArray[np.float64]:
        """Class probabilities (N, K) of what ``logits`` takes, scaled as those of ``predict``."""
        calibration = self._calibration_for(use)
        temperature = 1.0 if calibration is None else calibration.temperature
        return to_probabilities(self.logits(pixels_NCHW, use, engine=engine), temperature)

    def decode(self, image: Path) -> npt.NDArray[np.uint8]:
        """An image file as pixels (C, H, W) for this net; see ``decode_image``."""
        facts, data = self.spec.facts, self.spec.data
        return decode_image(
            image,
            Fit(
                channels=facts.channels,
                size=facts.image_size,
                policy=data.fit,
                background=data.background,
            ),
        )


def load_run(path: str | Path) -> Run:
    """Open the folder of a run, wherever it was moved to.

    Raises:
        UserError: where there is no run, or one of a newer format.
    """
    stored = open_run(path)
    return Run(stored.folder, stored.spec)


def _paths(images: str | Path | Sequence[str | Path]) -> list[Path]:
    listed = [images] if isinstance(images, str | Path) else list(images)
    if not listed or not all(isinstance(image, str | Path) for image in listed):
        raise UserError(
            "there are no images to predict",
            expected="paths of image files, or one uint8 array",
            received="nothing" if not listed else f"a list of {type(listed[0]).__name__}",
            remedy="stack arrays with numpy.stack",
        )
    return [Path(image) for image in listed]
