"""A run opened from its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reslab
from reslab.errors import UserError


def test_a_moved_run_is_the_same(
    trained: reslab.Run, tiny_source: reslab.ArraySource, tmp_path: Path
) -> None:
    pixels = tiny_source.load_test().pixels_NCHW[:, 0]
    moved = reslab.load_run(shutil.copytree(trained.path, tmp_path / "a" / "b"))
    assert moved.spec == trained.spec
    assert moved.history == trained.history
    np.testing.assert_array_equal(moved.predict(pixels), trained.predict(pixels))


def test_model_is_ordinary(trained: reslab.Run) -> None:
    model = trained.model()
    assert not model.training
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in model.parameters())


def test_predictions_are_probabilities(
    trained: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    test = tiny_source.load_test()
    for pixels in (test.pixels_NCHW[:, 0], test.pixels_NCHW.transpose(0, 2, 3, 1)):
        probabilities = trained.predict(pixels)
        assert probabilities.shape == (60, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    accuracy = (probabilities.argmax(axis=1) == test.labels_N).mean()
    assert accuracy == trained.metrics["test"]["best"]["top1"]


def test_files_and_arrays_agree(trained: reslab.Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    np.testing.assert_array_equal(
        trained.predict([tmp_path / "image.png"]), trained.predict(pixels[None])
    )


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 9, 9), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((2, 8, 8), np.float32),
        [],
        [np.zeros((8, 8), np.uint8)],
    ],
)
def test_images_that_do_not_fit(trained: reslab.Run, images: object) -> None:
    with pytest.raises(UserError):
        trained.predict(images)


def test_repr_and_path(trained: reslab.Run) -> None:
    assert repr(trained) == f"Run({str(trained.path)!r})"
    assert trained.classes == ("dark", "grey", "bright")


def test_each_way_to_ask_takes_an_engine(
    trained: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    pixels = tiny_source.load_test().pixels_NCHW
    np.testing.assert_allclose(
        trained.logits(pixels, engine="folded"), trained.logits(pixels), rtol=1e-4, atol=1e-5
    )
    features = trained.embeddings(pixels)
    folded = trained.embeddings(pixels, engine="folded")
    np.testing.assert_allclose(folded, features, rtol=1e-4, atol=1e-5)
    fc = trained.model().fc
    logits = features @ fc.weight.detach().numpy().T + fc.bias.detach().numpy()
    np.testing.assert_allclose(trained.logits(pixels), logits, rtol=1e-4, atol=1e-5)
    plain = trained.predict(pixels[:, 0], engine="eager")
    np.testing.assert_allclose(trained.predict(pixels[:, 0]), plain, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        trained.probabilities(pixels, engine="folded"), plain, rtol=0, atol=1e-5
    )


def test_a_session_takes_images_in_parts(
    trained: reslab.Run, tiny_source: reslab.ArraySource
) -> None:
    pixels = tiny_source.load_test().pixels_NCHW
    session = trained.session(engine="auto", images=len(pixels))
    parts = [session.outputs(pixels[i : i + 20]) for i in range(0, 60, 20)]
    assert session.engine == "folded"
    np.testing.assert_allclose(np.concatenate(parts), trained.logits(pixels), rtol=1e-4, atol=1e-5)


def test_no_images_give_no_rows_and_no_batch_is_refused(trained: reslab.Run) -> None:
    nothing = np.zeros((0, 1, 8, 8), np.uint8)
    assert trained.logits(nothing).shape == (0, 3)
    for size in (0, -1):
        with pytest.raises(UserError, match=f"a batch_size of 1 or more, received {size}; leave"):
            trained.session(batch_size=size)


def test_an_engine_that_is_unknown_is_refused_before_anything_is_read(
    trained: reslab.Run, tmp_path: Path
) -> None:
    for call in (trained.predict, trained.session, trained.logits, trained.embeddings):
        arguments = [] if call == trained.session else [tmp_path / "no.png"]
        if call in (trained.logits, trained.embeddings):
            arguments = [np.zeros((1, 1, 8, 8), np.uint8)]
        with pytest.raises(UserError, match="did you mean 'inductor'"):
            call(*arguments, engine="inducter")
