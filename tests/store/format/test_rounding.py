"""A rounded modulation is the nearest one that can be stored, and the formula of the format gives it back."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from functa_store.config import ConvertConfig
from functa_store.errors import ConfigError, LearningError
from functa_store.store.format.quantization import Rounding, choose_rounding
from functa_store.store.reading.reader import StoreReader
from tests.store.conftest import NETWORK

tables = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 4)),
    elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False),
)


@given(tables)
def test_int8_is_off_by_half_a_step_at_most(values):
    low, high = values.min(axis=0), values.max(axis=0)
    rounding = choose_rounding("int8", low, high)
    stored = rounding.to_stored(values)
    assert stored.dtype == np.int8
    step = np.maximum((high.astype(np.float64) - low) / 255, np.finfo(np.float32).tiny)  # the least that there is
    ulp = 4 * np.spacing(np.abs(values).max(axis=0)).astype(np.float64)
    assert (np.abs(rounding.to_values(stored).astype(np.float64) - values) <= step / 2 + ulp).all()


@given(tables)
def test_rounding_twice_is_rounding_once(values):
    for dtype in ("float32", "float16", "int8"):
        rounding = choose_rounding(dtype, values.min(axis=0), values.max(axis=0))
        stored = rounding.to_stored(values)
        np.testing.assert_array_equal(rounding.to_stored(rounding.to_values(stored)), stored)


def test_rounding_worked_by_hand():
    rounding = choose_rounding("int8", np.array([0, 5], np.float32), np.array([255, 5], np.float32))
    np.testing.assert_array_equal(rounding.scale, [1, 1])
    np.testing.assert_array_equal(rounding.offset, [128, 5])
    stored = rounding.to_stored(np.array([[0, 5], [254.6, 5], [100.4, 5]], np.float32))
    np.testing.assert_array_equal(stored, [[-128, 0], [127, 0], [-28, 0]])


def test_what_float16_cannot_hold_is_refused():
    with pytest.raises(LearningError, match="7e\\+04, which float16 cannot; use float32 or int8"):
        Rounding("float16").to_stored(np.array([[7e4]], np.float32))


def test_a_store_of_another_dtype_than_its_configuration_is_refused(make_contents):
    with pytest.raises(ConfigError, match="rounding to float32, but modulation_dtype='int8'"):
        make_contents(config=ConvertConfig(network=NETWORK, modulation_dtype="int8"))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_any_zarr_reader_reads_rounded_modulations_by_the_formula(dtype, make_contents, write_shards, values, tmp_path):
    rounding = choose_rounding(dtype, values[0].min(axis=0), values[0].max(axis=0))
    config = ConvertConfig(network=NETWORK, rows_per_shard=8, modulation_dtype=dtype)
    path = write_shards(tmp_path / "small.functa", make_contents(config=config, rounding=rounding))
    root = zarr.open_group(path, mode="r")
    stored = np.asarray(root["modulations"][...])
    assert stored.dtype == dtype
    by_formula = stored * root["scale"][...] + root["offset"][...] if dtype == "int8" else stored.astype(np.float32)
    reader = StoreReader(path)
    np.testing.assert_array_equal(reader.modulations[:], by_formula, strict=True)
    np.testing.assert_allclose(reader.modulations[:], values[0], atol=0.02)
    assert reader.bytes_per_example == 4 * np.dtype(dtype).itemsize
    np.testing.assert_array_equal(reader.statistics["max"], by_formula.max(axis=0))
