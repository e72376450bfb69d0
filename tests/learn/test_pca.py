"""The linear reference against a plain singular value decomposition."""

import numpy as np

from functa_store.learn.pca import pca_reference
from functa_store.metrics import psnr_mean
from functa_store.sources import ArraySource


def test_held_out_psnr_is_that_of_a_plain_svd():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 48)) * 0.1 + 0.5).reshape(60, 4, 4, 3)
    source = ArraySource(values.astype(np.float32))
    flat = values.reshape(60, -1)
    train, test = flat[source.split == "train"], flat[source.split == "test"]
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:5]
    errors = np.mean(((test - mean) - (test - mean) @ axes.T @ axes) ** 2, axis=1)
    reference = pca_reference(source, 5)
    assert reference["train_examples"] == len(train)
    np.testing.assert_allclose(reference["psnr_mean"]["test"], psnr_mean(errors), atol=1e-3)


def test_without_enough_examples_there_is_no_reference():
    assert pca_reference(ArraySource(np.zeros((20, 2, 2, 1), np.float32)), 18) == {}
