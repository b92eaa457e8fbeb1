"""What is decided of images before they are decoded; rules are in test_decide_data."""

from __future__ import annotations

import numpy as np

import reslab
from reslab.workbench.choose_images import augment_of, batches_of, choose_images
from reslab.workbench.resolve import normaliser_of, resolve, train_batches


def test_what_is_decided_without_decoding_is_what_training_decides() -> None:
    spec = reslab.recipe()
    prepared = resolve(spec)
    source = prepared.source
    data, split = choose_images(spec.data, source, source.load_train())
    augment = augment_of(spec.data, data)
    assert augment == prepared.run.data.augment
    assert (split.train == prepared.numbers).all()
    batches = batches_of(
        prepared.train,
        normaliser_of(prepared.run),
        augment,
        batch_size=prepared.run.training.batch_size,
        order_seed=0,
        augmentation_seed=0,
    )
    seen, expected = (found.pixels(0, 0)[0] for found in (batches, train_batches(prepared)))
    assert np.array_equal(seen, expected)
