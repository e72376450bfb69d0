"""Shards that we encode ourselves are what every Zarr reader reads."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from functa_store.errors import StoreFormatError
from functa_store.store.format.layout import Shard, Table, choose_layout, rows_per_chunk_of_columns

powers = st.integers(0, 4).map(lambda exponent: 2**exponent)


@st.composite
def shards(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """Rows, rows per shard and rows per chunk; zeros and NaN, the fill value, among the values."""
    rows_per_chunk = draw(powers)
    rows_per_shard = rows_per_chunk * draw(powers)
    num_rows = draw(st.integers(1, rows_per_shard))
    shape = (num_rows, draw(st.integers(1, 5))) if draw(st.booleans()) else (num_rows,)
    value = st.sampled_from([0.0, 1.5, -2.0, np.nan])
    values = draw(st.lists(value, min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(values, np.float32).reshape(shape), rows_per_shard, rows_per_chunk


def write_as_zarr(path: Path, rows: np.ndarray, rows_per_shard: int, rows_per_chunk: int) -> None:
    """Metadata by zarr-python, the only shard by us."""
    zarr.create_array(
        path,
        shape=rows.shape,
        dtype="float32",
        shards=(rows_per_shard, *rows.shape[1:]),
        chunks=(rows_per_chunk, *rows.shape[1:]),
        compressors=None,
        fill_value=np.nan,
        overwrite=True,
    )
    shard = path.joinpath("c", *["0"] * rows.ndim)
    shard.parent.mkdir(parents=True, exist_ok=True)
    shard.write_bytes(b"".join(table(rows, rows_per_shard, rows_per_chunk).encode(rows)))


def table(rows: np.ndarray, rows_per_shard: int, rows_per_chunk: int) -> Table:
    """The table that some rows belong to."""
    return Table(
        name="rows",
        dtype=rows.dtype.newbyteorder("<"),
        row_shape=rows.shape[1:],
        rows_per_shard=rows_per_shard,
        rows_per_chunk=rows_per_chunk,
    )


@given(shards())
@settings(max_examples=15, deadline=None)
def test_zarr_and_tensorstore_read_back_an_encoded_shard(tmp_path_factory, shard):
    rows, *sizes = shard
    path = tmp_path_factory.mktemp("array")
    write_as_zarr(path, rows, *sizes)
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], rows)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}, "fill_missing_data_reads": False}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), rows)


@given(shards())
@settings(max_examples=30)
def test_a_shard_is_a_flat_matrix_padded_with_zeros(shard):
    rows, rows_per_shard, rows_per_chunk = shard
    described = table(rows, rows_per_shard, rows_per_chunk)
    data = b"".join(described.encode(rows))
    flat = described.decode(data)
    np.testing.assert_array_equal(flat[: len(rows)], rows)
    assert not flat[len(rows) :].any()
    assert data.startswith(rows.astype("<f4").tobytes())


def test_the_bytes_of_a_shard_are_those_of_the_specification():
    """The worked example of docs/explanation/format.md."""
    rows = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    data = b"".join(table(rows, rows_per_shard=4, rows_per_chunk=2).encode(rows))
    assert data.hex(" ", -8).split() == [
        "0000803f00000040",  # 1 2
        "0000404000008040",  # 3 4
        "0000a0400000c040",  # 5 6
        "0000000000000000",  # padding
        "0000000000000000",  # the first inner chunk starts at byte 0
        "1000000000000000",  # and is 16 bytes long
        "1000000000000000",  # the second one starts at byte 16
        "1000000000000000",  # and is 16 bytes long
        "da136a9d",  # CRC-32C of the four numbers above
    ]


@pytest.mark.parametrize("cut", [slice(0), slice(-1), slice(8, None)])
def test_a_damaged_shard_is_not_taken_for_flat(cut):
    rows = np.ones((3, 2), np.float32)
    described = table(rows, 4, 2)
    with pytest.raises(StoreFormatError, match="not flat"):
        described.decode(b"".join(described.encode(rows))[cut])


@settings(max_examples=50)
@given(st.integers(1, 3_000_000), st.integers(1, 8192), st.none() | powers)
def test_a_layout_keeps_its_promises(num_examples, size, rows_per_shard):
    layout = choose_layout(num_examples, 4 * size, rows_per_shard)
    for rows in (layout.rows_per_shard, layout.rows_per_chunk, layout.mse_rows_per_chunk):
        assert rows & (rows - 1) == 0
    assert layout.rows_per_shard % layout.rows_per_chunk == 0
    assert layout.rows_per_shard % layout.mse_rows_per_chunk == 0
    if rows_per_shard is None:
        assert layout.rows_per_shard * size * 4 % 4096 == 0
        assert layout.rows_per_shard * size * 4 <= 16 * 1024**2 or layout.rows_per_shard <= 1024  # whole pages first
    else:
        assert layout.rows_per_shard == rows_per_shard


@pytest.mark.parametrize("num_examples", [10**6, 10**8, 10**9, 10**10])
@pytest.mark.parametrize("row_bytes", [16, 256, 1024, 3000])
def test_of_many_examples_shards_become_longer_not_more(num_examples, row_bytes):
    layout = choose_layout(num_examples, row_bytes)
    shard_bytes = layout.rows_per_shard * row_bytes
    assert layout.num_shards(num_examples) <= 8192 or shard_bytes * 2 > 2**30
    assert shard_bytes <= 2**30
    if num_examples * row_bytes < 2**36:
        assert shard_bytes <= 2**24
    assert -(-num_examples // rows_per_chunk_of_columns(num_examples)) <= 20_000
    assert rows_per_chunk_of_columns(num_examples) <= 2**19


def test_shards_are_a_sequence_that_is_made_on_demand():
    shards = choose_layout(100, 32, 8).shards(100)
    assert (len(shards), shards[-1], shards[2:5][1]) == (13, Shard(12, 96, 100), Shard(3, 24, 32))
    assert [shard.index for shard in shards[1::5]] == [1, 6, 11]
    with pytest.raises(IndexError):
        _ = shards[13]


@settings(max_examples=20)
@given(st.integers(1, 5000), powers)
def test_shards_hold_every_example_once(num_examples, rows_per_shard):
    shards = choose_layout(num_examples, 32, rows_per_shard).shards(num_examples)
    assert [i for shard in shards for i in shard.examples] == list(range(num_examples))
    assert [shard.index for shard in shards] == list(range(len(shards)))


@pytest.mark.parametrize(
    ("num_examples", "size", "rows_per_shard", "rows_per_chunk"),
    [(200_000, 256, 16_384, 64), (200_000, 128, 16_384, 128), (1302, 128, 128, 128), (5, 3, 4096, 4096)],
)
def test_layouts_worked_by_hand(num_examples, size, rows_per_shard, rows_per_chunk):
    layout = choose_layout(num_examples, 4 * size)
    assert (layout.rows_per_shard, layout.rows_per_chunk) == (rows_per_shard, rows_per_chunk)
