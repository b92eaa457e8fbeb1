"""Nets that are exactly as sure as they should be."""

import numpy as np
from scipy.special import softmax


def honest(n, k, spread=3.0, seed=0):
    """Logits whose softmax is exactly how the labels were drawn."""
    rng = np.random.default_rng(seed)
    logits_NK = spread * rng.normal(size=(n, k))
    ends_NK = np.cumsum(softmax(logits_NK, axis=1), axis=1)
    labels_N = (rng.random((n, 1)) > ends_NK).sum(axis=1).clip(max=k - 1)
    return logits_NK, labels_N
