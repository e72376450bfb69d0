"""What is kept of a fit beside its error comes back column by column."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr

from functa_store.conversion.recode import recode
from functa_store.decode.descriptions import summary
from functa_store.decode.facts import info
from functa_store.decode.functaset import Functaset
from functa_store.errors import LearningError, StoreFormatError
from functa_store.sources.features import FeatureSpec
from functa_store.store.reading import reader as reader_module
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.writing.writer import StoreWriter
from tests.store.conftest import make_contents, make_metrics, write_shards

FEATURES = FeatureSpec(
    channels=("t2m", "u", "v"), units=("K", "m s-1", "m s-1"), metrics=("iou", "rmse", "mse_held_out")
)
COLUMNS = ("iou", "rmse_t2m", "rmse_u", "rmse_v", "mse_held_out")


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """A complete store with metrics; tests that change one copy it first."""
    return write_shards(tmp_path_factory.mktemp("metrics") / "measured.functa", make_contents(features=FEATURES))


@pytest.fixture(scope="module")
def metrics() -> np.ndarray:
    return make_metrics(make_contents(features=FEATURES))


def test_every_column_comes_back_to_the_last_bit(measured, metrics):
    reader = StoreReader(measured)
    assert tuple(reader.metrics) == COLUMNS
    for name, values in zip(COLUMNS, metrics.T, strict=True):
        np.testing.assert_array_equal(reader.metrics[name][:], values, strict=True)
        np.testing.assert_array_equal(reader.metrics[name][[20, 0, 9]], values[[20, 0, 9]])
        np.testing.assert_array_equal(reader.metrics[name][::-2], values[::-2])
        np.testing.assert_array_equal(reader.metrics[name][3], values[3])
    np.testing.assert_array_equal(reader.metrics_table, metrics)
    assert verify(measured).damaged == {}


def test_other_readers_see_a_table_with_the_names_of_its_columns(measured, metrics):
    array = zarr.open_array(measured / "metrics", mode="r")
    np.testing.assert_array_equal(array[...], metrics)
    assert array.attrs["columns"] == list(COLUMNS)
    assert array.attrs["column_units"] == ["1", "K", "m s-1", "m s-1", "1"]
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(measured / "metrics")}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), metrics)
    with xr.open_zarr(measured, consolidated=False) as dataset:
        assert dataset.metrics.dims == ("example", "metric")


def test_all_columns_are_read_through_one_table(measured, monkeypatch):
    opened = []
    open_rows = reader_module.open_rows
    monkeypatch.setattr(
        reader_module, "open_rows", lambda shards, values: opened.append(shards.table.name) or open_rows(shards, values)
    )
    reader = StoreReader(measured)
    _ = [reader.metrics[name][:] for name in COLUMNS]
    assert opened == ["metrics"]


def test_a_functaset_and_its_examples_have_metrics_after_pickling_too(measured, metrics):
    functaset = Functaset(StoreReader(measured))
    _ = functaset.metrics["iou"][:]
    for again in (functaset, pickle.loads(pickle.dumps(functaset))):
        assert list(again[4].metrics) == list(COLUMNS)
        np.testing.assert_array_equal(list(again[4].metrics.values()), metrics[4])
        assert np.isnan(again[5].metrics["mse_held_out"])


def test_without_metrics_there_is_no_table(store):
    reader = StoreReader(store)
    assert not (store / "metrics").exists()
    assert (dict(reader.metrics), reader.metrics_table, Functaset(reader)[0].metrics) == ({}, None, {})


def test_an_unfinished_store_has_the_metrics_of_its_examples(tmp_path, metrics):
    path = tmp_path / "part.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, make_contents(features=FEATURES), stop_before=2)
    np.testing.assert_array_equal(StoreReader(path).metrics["iou"][:], metrics[:16, 0])
    (path / "metrics/c/0/0").unlink()
    np.testing.assert_array_equal(StoreReader(path).metrics["iou"][:], metrics[8:16, 0])
    assert verify(path).foreign == []
    write_shards(path, make_contents(features=FEATURES))
    np.testing.assert_array_equal(StoreReader(path).metrics["iou"][:], metrics[:, 0])


def test_a_damaged_shard_of_metrics_is_named_and_the_others_are_read(measured, tmp_path):
    copy = shutil.copytree(measured, tmp_path / "copy.functa")
    (copy / "metrics/c/1/0").write_bytes(b"torn")
    reader = StoreReader(copy)
    assert reader.metrics["iou"][:8].shape == (8,)
    assert np.isfinite(reader.mse[:]).all()
    with pytest.raises(StoreFormatError, match="metrics/c/1/0: a shard is missing or damaged"):
        reader.metrics["rmse_u"][:]
    assert list(verify(copy).damaged) == ["metrics/c/1/0"]


def test_metrics_are_written_exactly_if_the_features_have_them(tmp_path, values, metrics):
    modulations, mse = (table[:8] for table in values)
    with StoreWriter.resume_or_create(tmp_path / "with.functa", make_contents(features=FEATURES)) as writer:
        shard = writer.missing_shards()[0]
        with pytest.raises(StoreFormatError, match=r"got \['modulations', 'mse'\], expected .*'metrics'\]"):
            writer.write(shard, modulations, mse)
        with pytest.raises(StoreFormatError, match=r"metrics: .*shape \(8, 4\), expected \(8, 5\)"):
            writer.write(shard, modulations, mse, metrics[:8, :4])
        infinite = metrics[:8].copy()
        infinite[2, 1] = np.inf
        with pytest.raises(LearningError, match=r"metrics: the fit of example 'bild_2_ä.png' is not finite"):
            writer.write(shard, modulations, mse, infinite)
    with (
        StoreWriter.resume_or_create(tmp_path / "without.functa", make_contents()) as writer,
        pytest.raises(StoreFormatError, match=r"got .*'metrics'\], expected \['modulations', 'mse'\]"),
    ):
        writer.write(shard, modulations, mse, metrics[:8])


def test_info_has_the_mean_of_every_metric_by_split(measured, metrics):
    found = info(measured)
    test = np.arange(21) % 3 == 2
    assert found["units"] == ["K", "m s-1", "m s-1"]
    assert found["domain"] == {"kind": "cells", "axes": ["y", "x"], "resolution": [8, 8]}
    for column, values in zip(COLUMNS, metrics[test].T, strict=True):
        assert found[f"{column}_mean"]["test"] == pytest.approx(np.nanmean(values), rel=1e-6)
    decibels = -10 * np.log10(metrics[test, -1].astype(np.float64))
    assert found["psnr_held_out_mean"]["test"] == pytest.approx(np.nanmean(decibels), rel=1e-6)
    assert found["metric_units"]["psnr_held_out"] == "dB"
    assert summary(Functaset(StoreReader(measured)))[-1].endswith(f"iou {found['iou_mean']['validation']:.3g}")


def test_recoding_copies_metrics(measured, metrics, tmp_path):
    recode(measured, tmp_path / "int8.functa", "int8")
    reader = StoreReader(tmp_path / "int8.functa")
    np.testing.assert_array_equal(reader.metrics_table, metrics)
    assert reader.spec.quality["test"].metrics == StoreReader(measured).spec.quality["test"].metrics


def test_a_decoded_dataset_has_metrics_as_columns_with_units(measured, metrics):
    with xr.open_dataset(measured, engine="functa") as dataset:
        np.testing.assert_array_equal(dataset.iou, metrics[:, 0])
        np.testing.assert_array_equal(dataset.rmse_u[[20, 3]], metrics[[20, 3], 2])
        assert dataset.rmse_t2m.attrs == {"long_name": "root mean squared error of t2m", "units": "K"}
        assert dataset.mse_held_out.attrs["units"] == "1"
