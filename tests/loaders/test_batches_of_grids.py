"""Modulations that are grids come as they are, or as vectors, normalised per channel."""

import numpy as np
import pytest

import functa_store
from functa_store import loaders
from functa_store.errors import ConfigError
from functa_store.loaders import Batches, BlockShuffle, Examples, Loader, Normalization
from tests.store.conftest import make_cells, write_shards

BLOCKS = BlockShuffle(size=5, mixed=4)


@pytest.mark.parametrize("shuffle", ["full", "none", BLOCKS], ids=str)
def test_a_batch_has_the_grids_of_its_examples(grids, shuffle):
    for batch in Loader(grids, 8, split="train", shuffle=shuffle, normalize=False):
        np.testing.assert_array_equal(batch["modulations"], grids.modulations[batch["index"]], strict=True)
        assert batch["modulations"].shape[1:] == (2, 3, 4)


def test_a_bucket_s_grids_are_loaded_like_those_of_a_disk(write, grids):
    dtype = grids.config.modulation_dtype
    bucket = write(f"memory://loaders/grids-{dtype}.functa", dtype, network=grids.config.network)
    for batch in Loader(bucket, 8, shuffle="full", normalize=False):
        np.testing.assert_array_equal(batch["modulations"], grids.modulations[batch["index"]], strict=True)


def test_statistics_are_over_all_examples_and_cells_per_channel(grids):
    columns = grids.modulations[:].reshape(-1, 4).astype(np.float64)
    statistics = grids.store.statistics
    np.testing.assert_allclose(statistics["mean"], columns.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(statistics["std"][:3], columns.std(axis=0)[:3], rtol=1e-5)
    np.testing.assert_array_equal(statistics["min"], columns.min(axis=0))
    np.testing.assert_array_equal(statistics["max"], columns.max(axis=0))


def test_grids_are_normalised_per_channel_before_they_are_flattened(grids):
    batch = next(iter(Loader(grids, 90, shuffle="none")))["modulations"]
    np.testing.assert_allclose(batch.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(batch.std(axis=(0, 1, 2)), [1, 1, 1, 0], atol=1e-3)
    flat = next(iter(Loader(grids, 90, shuffle="none", flatten=True)))["modulations"]
    np.testing.assert_array_equal(flat, batch.reshape(90, 24), strict=True)
    back = Normalization.of_all(grids).invert(flat.reshape(batch.shape))
    np.testing.assert_allclose(back, grids.modulations[:], rtol=1e-6, atol=1e-6)


def test_a_split_s_grids_are_measured_per_channel(grids):
    columns = grids.modulations[grids.split[:] == "train"].reshape(-1, 4).astype(np.float64)
    normalization = Normalization.of_split(grids)
    np.testing.assert_allclose(normalization.mean, columns.mean(axis=0), rtol=1e-6)
    batch = next(iter(Loader(grids, 60, split="train", shuffle="none", normalize=normalization)))["modulations"]
    np.testing.assert_allclose(batch.mean(axis=(0, 1, 2)), 0, atol=1e-4)


def test_a_normalisation_of_every_number_is_refused(grids):
    with pytest.raises(ConfigError, match="modulations have 4 channels, got <Normalization of 24"):
        Loader(grids, 8, normalize=Normalization(np.zeros(24, np.float32), np.ones(24, np.float32)))


@pytest.mark.parametrize("view", ["jax", "torch", "examples", "batches"])
@pytest.mark.parametrize("flatten", [False, True])
def test_every_view_gives_grids_or_vectors(grids, view, flatten):
    loader, shape = Loader(grids, 9, shuffle="none", flatten=flatten), (24,) if flatten else (2, 3, 4)
    expected = Normalization.of_all(grids).apply(grids.modulations[:9]).reshape(9, *shape)
    if view == "examples":
        examples = Examples(grids, flatten=flatten)
        np.testing.assert_array_equal(examples[4]["modulations"], expected[4], strict=True)
        np.testing.assert_array_equal(examples.__getitems__(range(9))["modulations"], expected, strict=True)
    elif view == "batches":
        np.testing.assert_array_equal(Batches(loader)[0]["modulations"], expected, strict=True)
    else:
        if view == "torch":
            pytest.importorskip("torch")
        batch = next(iter(getattr(loader, f"to_{view}")()))
        np.testing.assert_array_equal(np.asarray(batch["modulations"]), expected, strict=True)


def test_a_state_says_whether_grids_are_flattened(fs, grids):
    """A loader of vectors is the same with either, and its states are those of earlier releases."""
    flat, as_they_are = Loader(grids, 9, flatten=True), Loader(grids, 9)
    next(iter(flat))
    again = Loader(grids, 9, flatten=True)
    again.restore(flat.state())
    assert again.state() == flat.state()
    with pytest.raises(ConfigError, match="flatten is True, expected 'missing'"):
        as_they_are.restore(flat.state())
    Loader(fs, 9).restore(Loader(fs, 9, flatten=True).state())


@pytest.mark.usefixtures("unchecked")
def test_flatten_is_yes_or_no(grids):
    with pytest.raises(ConfigError, match="flatten must be True or False, got 'yes'"):
        Loader(grids, 9, flatten="yes")


def test_a_dataset_of_hugging_face_has_arrays_of_the_grid_s_shape(grids, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("functa_store.loaders.huggingface.NUMBERS_PER_BLOCK", 24 * 7)  # several blocks
    dataset = loaders.to_huggingface(grids, split="test")
    assert dataset.features["modulation"] == datasets.Array3D(shape=(2, 3, 4), dtype="float32")
    chosen = grids.modulations[grids.split[:] == "test"]
    np.testing.assert_array_equal(dataset.with_format("numpy")["modulation"][:], chosen, strict=True)
    np.testing.assert_array_equal(np.float32(dataset[5]["modulation"]), chosen[5])
    flat = loaders.to_huggingface(grids, split="test", flatten=True)
    np.testing.assert_array_equal(flat.with_format("numpy")["modulation"][:], chosen.reshape(30, 24), strict=True)


def test_a_dataset_of_hugging_face_can_be_saved_and_read_again(grids, tmp_path):
    datasets = pytest.importorskip("datasets")
    loaders.to_huggingface(grids, index=[3, 1]).save_to_disk(tmp_path / "saved")
    found = datasets.load_from_disk(tmp_path / "saved").with_format("numpy")
    np.testing.assert_array_equal(found["modulation"][:], grids.modulations[[3, 1]], strict=True)


def test_grids_of_more_axes_than_a_dataset_s_arrays_are_refused(tmp_path):
    pytest.importorskip("datasets")
    functaset = functa_store.open(write_shards(tmp_path / "x.functa", make_cells((1, 2, 1, 2, 1))))
    with pytest.raises(ConfigError, match="modulations of 6 axes, expected at most the 5"):
        loaders.to_huggingface(functaset)
    assert len(loaders.to_huggingface(functaset, flatten=True)["modulation"][0]) == 8
