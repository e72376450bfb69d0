"""Modulations become numbers around 0, whoever computes with them, and come back."""

import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.errors import ConfigError
from functa_store.loaders import Loader, Normalization
from functa_store.store.reading import selected_store as module


def test_all_examples_get_mean_zero_and_deviation_one_however_they_are_stored(stored):
    """But for a dimension that does not vary, which becomes 0."""
    normalized = Normalization.of_all(stored).apply(stored.modulations[:])
    np.testing.assert_allclose(normalized.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(normalized.std(axis=0), [1, 1, 1, 0], atol=1e-3)


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray, "torch"], ids=["numpy", "jax", "torch"])
def test_the_inverse_gives_back_what_was_normalised_in_the_same_library(fs, as_array):
    if as_array == "torch":
        as_array = pytest.importorskip("torch").as_tensor
    rows = fs.modulations[:10]
    normalization = Normalization.of_all(fs)
    normalized = normalization.apply(as_array(rows))
    back = normalization.invert(normalized)
    assert type(normalized) is type(back) is type(as_array(rows))
    np.testing.assert_allclose(np.asarray(normalized), normalization.apply(rows), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.asarray(back), rows, rtol=1e-6, atol=1e-6)


def test_a_split_is_measured_by_itself_some_rows_at_a_time(fs, monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_A_TIME", 7)
    rows = fs.modulations[fs.split[:] == "train"].astype(np.float64)
    found = Normalization.of_split(fs, "train")
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std[:3], rows.std(axis=0)[:3], rtol=1e-6)
    assert (found.mean != Normalization.of_all(fs).mean).any()


def test_held_out_examples_do_not_leak_through_a_normalisation_of_the_training_split(fs):
    normalization = Normalization.of_split(fs, "train")
    train, test = (
        np.concatenate([b["modulations"] for b in Loader(fs, 8, split=split, normalize=normalization)])
        for split in ("train", "test")
    )
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-4)
    assert np.abs(test.mean(axis=0)).max() > 1e-2


def test_a_split_without_examples_has_no_mean(fs):
    with pytest.raises(ConfigError, match="no split 'validation', there are"):
        Normalization.of_split(fs, "validation")


def test_lists_and_tensors_are_normalised_and_normalise(fs):
    torch = pytest.importorskip("torch")
    rows, of_all = fs.modulations[:2], Normalization.of_all(fs)
    wanted = of_all.apply(rows)
    for given in (rows.tolist(), list(rows), tuple(torch.tensor(rows))):
        found = of_all.apply(given)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(of_all.invert(wanted.tolist()), rows, rtol=1e-6)
    np.testing.assert_array_equal(of_all.apply(rows[0].tolist()), wanted[0])
    for mean, std in ((of_all.mean.tolist(), of_all.std.tolist()), map(torch.tensor, (of_all.mean, of_all.std))):
        assert Normalization(mean, std).fingerprint == of_all.fingerprint
    with pytest.raises(ConfigError, match=r"modulations of shape \(2, 3\), expected 4 dimensions or channels"):
        of_all.apply(rows[:, :3])


@pytest.mark.parametrize("std", [[1.0, -1.0], [1.0, np.nan], [1.0]])
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_normalise_is_refused(std):
    with pytest.raises(ConfigError, match="expected finite means"):
        Normalization(np.zeros(2, np.float32), np.array(std, np.float32))
