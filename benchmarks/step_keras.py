"""Whole training steps with Keras 3, on JAX or torch: ``train_on_batch`` of a compiled model.

The nets are those of ``keras.applications`` where Keras has them, else the same basic-block nets
built of Keras's layers. Shape suffixes: ``N`` images, ``H`` and ``W`` rows and columns, ``C``
channels; Keras takes channels last.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from measure import trim_memory
from race import Round
from reslab.catalog.nets import Net
from reslab.errors import UserError
from reslab.models.cost import measure_cost
from reslab.models.create import create_model, find_net
from step_peers import run_steps
from step_work import BATCHES, StepWork
from stock import Variant, find_fastest

POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16"}


class KerasStep:
    """Steps of Keras in the faster of its policies; the backend is that of KERAS_BACKEND.

    Args:
        work: what all contenders do.
    """

    def __init__(self, work: StepWork) -> None:
        if hasattr(os, "sched_setaffinity"):
            # XLA takes as many threads as the process may use processors.
            usable = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, usable[: work.threads])
        self._work = work
        pixels_NHWC = np.ascontiguousarray(work.images.pixels_NCHW[:].transpose(0, 2, 3, 1))
        self._pixels = np.array_split(pixels_NHWC, BATCHES)
        self._labels = np.array_split(work.images.labels_N, BATCHES)
        self._next = 0

    def prepare(self) -> dict[str, Any]:
        """Try both policies and keep the faster."""
        import keras  # noqa: PLC0415 - the backend is chosen by this process's environment

        models: dict[Variant, Any] = {}
        compiled = keras.backend.backend() == "jax"

        def attempt(variant: Variant, steps: int) -> None:
            if variant not in models:
                models[variant] = self._build(POLICIES[variant.precision])
            for _ in range(steps):
                self._step(models[variant])

        variants = [
            Variant(precision=precision, memory_format="channels_last", compile=compiled)
            for precision in POLICIES
        ]
        trial = find_fastest(variants, attempt)
        self._model = models[trial.best]
        return {
            "batch_size": self._work.batch_size,
            **asdict(trial.best),
            "keras": keras.__version__,
            "parameters": sum(int(np.prod(w.shape)) for w in self._model.trainable_weights),
            "macs": self._macs(),
            "first_step_seconds": trial.first_step_seconds,
            **trial.record,
        }

    def wake(self) -> None:
        """A step that is not timed."""
        self._step(self._model)

    def rest(self) -> None:
        """Give back what the allocator keeps, for those whose turn it is."""
        trim_memory()

    def run_round(self, number: int) -> Round:
        """As many steps as fit into a round."""
        return run_steps(self._work, lambda: self._step(self._model))

    def _step(self, model: Any) -> float:
        i = self._next
        self._next = (i + 1) % BATCHES
        pixels_NHWC: npt.NDArray[np.uint8] = self._pixels[i]
        return float(model.train_on_batch(pixels_NHWC, self._labels[i]))

    def _build(self, policy: str) -> Any:
        import keras  # noqa: PLC0415

        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        facts, run = self._work.run.facts, self._work.run
        inputs = keras.Input((self._work.image_size, self._work.image_size, facts.channels))
        mean = [255 * m for m in facts.mean]
        variance = [(255 * sd) ** 2 for sd in facts.sd]
        x = keras.layers.Normalization(mean=mean, variance=variance)(inputs)
        if is_application(run.model.name, run.model.stem):
            net = keras.applications.ResNet50(
                weights=None,
                input_tensor=x,
                classes=self._work.classes,
                classifier_activation=None,
            )
            logits = net.outputs[0]
        else:
            x = basic_net(x, find_net(run.model.name), run.model.shortcut)
            logits = keras.layers.Dense(self._work.classes)(x)
        # The loss is computed in fp32.
        logits = keras.layers.Activation("linear", dtype="float32")(logits)
        model = keras.Model(inputs, logits)
        model.compile(
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=1e-4),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    def _macs(self) -> int:
        """Multiply-adds of the net that Keras trains; its ResNet50 has the stride in the 1x1."""
        run = self._work.run
        other = is_application(run.model.name, run.model.stem)
        options: dict[str, Any] = (
            {"stride_in_1x1": True} if other else {"shortcut": run.model.shortcut}
        )
        cost = measure_cost(
            lambda: create_model(
                run.model.name,
                num_classes=self._work.classes,
                in_channels=run.facts.channels,
                stem=run.model.stem,
                **options,
            ),
            run.facts.channels,
            self._work.image_size,
        )
        return cost.macs


def is_application(name: str, stem: str) -> bool:
    """Whether ``keras.applications`` has the net."""
    return name == "resnet50" and stem == "imagenet"


def basic_net(x: Any, net: Net, shortcut: str) -> Any:
    """A net of basic blocks with a small stem, from normalised images to pooled features.

    Args:
        x: Keras's symbolic images.
        net: depths and widths.
        shortcut: ``A``, ``B`` or ``conv3x3``.

    Raises:
        UserError: for other blocks or shortcuts.
    """
    from keras import layers, ops  # noqa: PLC0415

    if net.block != "basic" or shortcut not in ("A", "B", "conv3x3"):
        raise UserError(f"the Keras step has no {net.name} with shortcut {shortcut}")

    def conv(x: Any, width: int, side: int, stride: int) -> Any:
        # As torch pads: on both sides, also where the stride is 2.
        if side > 1:
            x = layers.ZeroPadding2D(side // 2)(x)
        x = layers.Conv2D(width, side, stride, use_bias=False, kernel_initializer="he_normal")(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    x = layers.ReLU()(conv(x, net.widths[0], 3, 1))
    for stage, (depth, width) in enumerate(zip(net.depths, net.widths, strict=True)):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            y = layers.ReLU()(conv(x, width, 3, stride))
            y = conv(y, width, 3, 1)
            if x.shape[-1] != width or stride > 1:
                if shortcut == "A":
                    more = width - x.shape[-1]
                    x = ops.pad(x[:, ::2, ::2], [(0, 0), (0, 0), (0, 0), (0, more)])
                else:
                    x = conv(x, width, 1 if shortcut == "B" else 3, stride)
            x = layers.ReLU()(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)
