"""Statistics and quality of a store equal those of the table in memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functa_store.metrics import moments, moments_of
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.format.summaries import merged_quality, sums_by_split
from functa_store.support.memory import BLOCK_NUMBERS


def quality_by_split(mse, metrics, split, span):
    """Of two shards, the second one of the last example."""
    parts = slice(0, -1), slice(-1, None)
    sums = [
        sums_by_split(
            mse[part],
            {name: column[part] for name, column in metrics.items()},
            {str(name): split[part] == name for name in split},
            span,
        )
        for part in parts
    ]
    return merged_quality(sums, span)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(-1e4, 1e4))
def test_moments_do_not_depend_on_how_the_table_is_cut(lengths, offset):
    rng = np.random.default_rng(0)
    tables = [(rng.normal(size=(length, 3)) + offset).astype(np.float32) for length in lengths]
    table = np.concatenate(tables)
    found = moments(tables)
    exact = table.astype(np.float64)
    np.testing.assert_allclose(found["mean"], exact.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["std"], exact.std(axis=0), rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(found["min"], table.min(axis=0), strict=True)
    np.testing.assert_array_equal(found["max"], table.max(axis=0), strict=True)


@pytest.mark.parametrize("columns", [1, 2, 16, 300, 2 * BLOCK_NUMBERS])
def test_moments_of_blocks_are_those_of_the_whole_table_bit_for_bit(columns):
    """Receipts of one shard must not differ by how it is looked at, and stores of before are resumed."""
    rng = np.random.default_rng(columns)
    table = rng.integers(-128, 128, (5 * BLOCK_NUMBERS // (2 * columns) + 3, columns)).astype(np.int8)
    scale = rng.lognormal(size=columns).astype(np.float32)
    values = table * scale + np.float32(0.3)
    found, exact = moments_of(table, lambda rows: rows * scale + np.float32(0.3)), values.astype(np.float64)
    expected = (len(table), exact.mean(axis=0), exact.var(axis=0), values.min(axis=0), values.max(axis=0))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=isinstance(other, np.ndarray))


def test_moments_and_rounding_need_no_copies_of_a_shard():
    values = np.linspace(-4, 4, 2**22, dtype=np.float32).reshape(-1, 16)
    rounding = choose_rounding("int8", *np.full((2, 16), [[-4], [4]], np.float32))
    tracemalloc.start()
    try:
        stored = rounding.to_stored(values)
        moments_of(stored, rounding.to_values)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < stored.nbytes + values.nbytes / 2


def test_both_psnrs_are_reported_by_split():
    """Errors of 0.1 and 0.001 are 10 and 30 dB: 20 on average, but their mean error is 12.97 dB."""
    quality = quality_by_split(np.array([0.1, 0.001, 0.01]), {}, np.array(["test", "test", "train"]), 1.0)
    assert list(quality) == ["test", "train"]
    assert quality["test"].examples == 2
    assert quality["test"].psnr_mean == pytest.approx(20)
    assert quality["test"].psnr_of_mean_mse == pytest.approx(12.967, abs=1e-3)


def test_an_infinite_psnr_is_no_number():
    """JSON knows no infinity."""
    held_out = {"mse_held_out": np.array([0.0, 0.01], np.float32)}
    quality = quality_by_split(np.array([0.0, 0.01]), held_out, np.array(["train", "train"]), 1.0)["train"]
    assert quality.psnr_mean is None
    assert quality.metrics == {"mse_held_out": pytest.approx(0.005), "psnr_held_out": None}
    assert quality.psnr_of_mean_mse == pytest.approx(23.01, abs=1e-2)


def test_metrics_are_averaged_over_the_examples_that_have_one():
    """Held-out errors of 0.1 and 0.001 are 10 and 30 dB in a data range of 1, and 16.02 and 36.02 dB in one of 2."""
    split = np.array(["test", "test", "test", "train"])
    metrics = {
        "iou": np.array([0.5, np.nan, 1.0, np.nan], np.float32),
        "mse_held_out": np.array([0.1, np.nan, 0.001, np.nan], np.float32),
    }
    quality = quality_by_split(np.full(4, 0.01), metrics, split, 2.0)
    assert quality["test"].metrics == pytest.approx({"iou": 0.75, "mse_held_out": 0.0505, "psnr_held_out": 26.0206})
    assert quality["train"].metrics == {"iou": None, "mse_held_out": None, "psnr_held_out": None}
