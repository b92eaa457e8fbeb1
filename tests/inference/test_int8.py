"""Int8 models at work; how near they come to their nets is told by tests/contract."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from reslab.data.normalise import Normaliser
from reslab.engine.runtime import Runtime
from reslab.errors import ReslabError
from reslab.inference.eager import usual_batch
from reslab.inference.int8 import OpenVinoInt8, Quantized, compute_int8
from reslab.inference.nncf import WAYS, quantize
from reslab.models.blocks import BasicBlock
from reslab.models.resnet import ResNet

pytestmark = pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")

PIXELS = np.random.default_rng(0).integers(0, 256, (150, 3, 8, 8)).astype(np.uint8)
NORMALISER = Normaliser((0.5,) * 3, (0.2,) * 3)


@cache
def stored() -> Quantized:
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (1,), (8,), num_classes=3, stem="small").eval()
    return Quantized(*quantize(model, PIXELS[:8], NORMALISER, WAYS[0]))


def prepare(quantized: Quantized | None, images=4):
    images_NCHW = NORMALISER(PIXELS[:images])
    engine = OpenVinoInt8(quantized)
    assert engine.obstacle() == ""
    return engine.prepare(nn.Identity(), images_NCHW, Runtime())


def test_one_model_takes_batches_of_any_size_and_each_image_stands_for_itself() -> None:
    whole = prepare(stored(), 6)(NORMALISER(PIXELS[:6])).numpy()
    alone = prepare(stored(), 1)
    rows = np.concatenate([alone(NORMALISER(PIXELS[i : i + 1])).numpy() for i in range(6)])
    np.testing.assert_allclose(rows, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3, 150])
def test_any_number_of_images_is_computed_whole_batches_and_the_rest(count: int) -> None:
    assert usual_batch(8, 8) == 128 < 150
    found = compute_int8(stored(), PIXELS[:count], NORMALISER, Runtime())
    assert found.shape == (count, 3) and found.dtype == np.float32
    forward = prepare(stored(), count)
    expected = forward(NORMALISER(PIXELS[:count])).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_without_a_model_there_is_nothing_to_prepare() -> None:
    with pytest.raises(ReslabError, match="there is no int8 model of it"):
        prepare(None)


@pytest.mark.parametrize(
    "part",
    ["xml", "numbers"],
)
def test_what_is_no_model_is_told_in_a_line(part: str) -> None:
    good = stored()
    xml = b"<net version='11'><layers><layer/></layers></net>" if part == "xml" else good.xml
    numbers = good.numbers[:10] if part == "numbers" else good.numbers
    with pytest.raises(ReslabError, match="OpenVINO cannot use the int8 model: ") as caught:
        prepare(Quantized(xml, numbers))
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)


def test_images_of_another_kind_are_told() -> None:
    with pytest.raises(ReslabError, match="OpenVINO cannot use the int8 model"):
        OpenVinoInt8(stored()).prepare(nn.Identity(), torch.zeros(2, 1, 8, 8), Runtime())
