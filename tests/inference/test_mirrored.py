"""Test-time augmentation by mirror images."""

from __future__ import annotations

import numpy as np

from reslab.inference.mirrored import Mirrored, averaged


def test_left_and_right_are_exchanged_and_the_outputs_averaged() -> None:
    pixels_NCHW = np.arange(2 * 1 * 2 * 3, dtype=np.uint8).reshape(2, 1, 2, 3)

    def corner(pixels_NCHW):
        """The first row's first pixel: of the mirror image its last."""
        batch_NCHW = pixels_NCHW[:]
        assert batch_NCHW.flags.c_contiguous
        return batch_NCHW[:, 0, 0, :1].astype(np.float32)

    np.testing.assert_array_equal(averaged(corner, pixels_NCHW, flip=False), [[0.0], [6.0]])
    found_ND = averaged(corner, pixels_NCHW, flip=True)
    np.testing.assert_array_equal(found_ND, [[1.0], [7.0]])
    assert found_ND.dtype == np.float32


def test_mirror_images_are_made_as_they_are_asked_for() -> None:
    pixels_NCHW = np.arange(2 * 1 * 2 * 3, dtype=np.uint8).reshape(2, 1, 2, 3)
    found = Mirrored(pixels_NCHW)
    assert (found.shape, found.ndim, found.dtype, len(found)) == ((2, 1, 2, 3), 4, np.uint8, 2)
    np.testing.assert_array_equal(found[1:], pixels_NCHW[1:, :, :, ::-1])
