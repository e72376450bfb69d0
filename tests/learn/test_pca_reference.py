"""The linear reference against a plain singular value decomposition."""

import numpy as np

from functa_store.domains.sphere import SphereGrid
from functa_store.learn.scores import pca_reference
from functa_store.metrics import psnr_mean
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec


def test_held_out_psnr_is_that_of_a_plain_svd():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 48)) * 0.1 + 0.5).reshape(60, 4, 4, 3)
    source = ArraySource(values.astype(np.float32), value_range=(0, 1))
    flat = values.reshape(60, -1)
    train, test = flat[source.split == "train"], flat[source.split == "test"]
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:5]
    errors = np.mean(((test - mean) - (test - mean) @ axes.T @ axes) ** 2, axis=1)
    reference = pca_reference(source, 5)
    assert reference["train_examples"] == len(train)
    np.testing.assert_allclose(reference["psnr_mean"]["test"], psnr_mean(errors), atol=1e-3)


def test_points_count_as_they_do_in_a_fit():
    """Against a plain singular value decomposition of rows that are scaled by the roots of the weights."""
    rng = np.random.default_rng(0)
    domain = SphereGrid(latitudes=(80.0, 20.0, -60.0), longitudes=(0.0, 90.0, 180.0, 270.0), area_weighting=True)
    values = (rng.normal(size=(40, 8)) @ rng.normal(size=(8, 24)) * 0.1 + 0.5).reshape(40, 3, 4, 2).astype(np.float32)
    source = ArraySource(values, features=FeatureSpec(channels=("u", "v")))
    source.domain = domain
    assert domain.weights is not None
    flat = (values * np.sqrt(domain.weights / domain.weights.mean()).reshape(3, 4, 1)).reshape(40, -1)
    train, test = flat[source.split == "train"], flat[source.split == "test"]
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2][:5]
    errors = np.mean(((test - mean) - (test - mean) @ axes.T @ axes) ** 2, axis=1)
    np.testing.assert_allclose(pca_reference(source, 5)["psnr_mean"]["test"], psnr_mean(errors), atol=1e-3)


def test_without_enough_examples_there_is_no_reference():
    assert pca_reference(ArraySource(np.zeros((20, 2, 2, 1), np.float32)), 18) == {}
