"""Single pages of a Parquet column are decoded as pyarrow decodes the whole column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.archives.packed import RandomFile
from converters.tables.parquet_files import ParquetTable
from converters.tables.parquet_pages import find_pages
from converters.tables.snappy_blocks import BLOCK, find_blocks
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.memory import LRUCache
from tests.converters.tables.tables import BYTES


def values(count=120, most=1500):
    random = np.random.default_rng(1)
    return [random.bytes(int(n)) if n > 50 else None for n in random.integers(0, most, count)]


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip", "lz4", "brotli"])
@pytest.mark.parametrize("options", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}])
def test_every_value_is_the_one_that_pyarrow_reads(tmp_path, codec, options):
    content = values()
    rows = [{"bytes": value, "path": None} if k % 7 else None for k, value in enumerate(content)]
    layout = {"row_group_size": 80, "write_batch_size": 8, "data_page_size": 10_000}
    pq.write_table(
        pa.table({"image": pa.array(rows, BYTES)}), tmp_path / "t.parquet", compression=codec, **layout, **options
    )
    column = ParquetTable(RandomFile(str(tmp_path / "t.parquet")), "t").values("image.bytes")
    expected = [value if k % 7 else None for k, value in enumerate(content)]
    kept = LRUCache(0, keeps_last=True)
    order = np.random.default_rng(2).permutation(120)
    for _ in range(2):  # the second time from where values lie, if the column is not compressed
        found = {int(k): column.read(int(k), kept) for k in order}
        assert [found[k] for k in range(120)] == expected
    assert bool(column._places) == (codec in ("none", "snappy") and "use_dictionary" in options)
    assert len(column._pages[0].offsets) > 3 or "use_dictionary" not in options


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string()])
def test_columns_of_bytes_and_texts_need_no_struct(tmp_path, kind):
    pq.write_table(pa.table({"x": pa.array(["one", "two", None], pa.string()).cast(kind)}), tmp_path / "t.parquet")
    column = ParquetTable(RandomFile(str(tmp_path / "t.parquet")), "t").values("x")
    assert [column.read(k, LRUCache(1 << 20)) for k in range(3)] == [b"one", b"two", None]


def test_required_columns_have_no_levels(tmp_path):
    schema = pa.schema([pa.field("x", pa.binary(), nullable=False)])
    pq.write_table(pa.table({"x": [b"a", b"bc"]}, schema), tmp_path / "t.parquet", compression="zstd")
    column = ParquetTable(RandomFile(str(tmp_path / "t.parquet")), "t").values("x")
    assert [column.read(k, LRUCache(1 << 20)) for k in range(2)] == [b"a", b"bc"]


@example(201, 36)  # a footer at which pyarrow ends the process
@example(166, 2)  # a number beyond the end of a dictionary
@example(114, 24)
@settings(max_examples=40)
@given(st.integers(4, 400), st.integers(0, 255))
def test_damage_is_an_error_of_ours_or_other_bytes(where, byte):
    data = bytearray(DAMAGED)
    data[where % len(data)] = byte

    class Memory:
        name = path = "t.parquet"
        size = len(data)

        def read_at(self, offset, count):
            if offset < 0 or offset + count > len(data):
                raise MemberError("truncated")
            return bytes(data[offset : offset + count])

    try:
        column = ParquetTable(Memory(), "t").values("x")
        for k in range(20):
            column.read(k, LRUCache(1 << 20))
    except ArchiveError:  # of which MemberError is one
        pass


def _written():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [bytes([k]) * 9 for k in range(20)]}), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


DAMAGED = _written()


def test_headers_that_tell_of_other_rows_are_refused():
    with pytest.raises(MemberError, match="damaged"):
        find_pages(lambda offset, count: DAMAGED[offset : offset + count], 4, len(DAMAGED), 21)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"),
        (b"PAR1", "no Parquet file"),
        (b"", "no Parquet file"),
        (DAMAGED[:-30], "no Parquet file, or is truncated"),
        (DAMAGED[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1", "more than can be"),
        (DAMAGED[:-4] + b"PARE", "encrypted"),
    ],
)
def test_what_is_no_parquet_file_is_named(tmp_path, content, expected):
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(ArchiveError, match=expected):
        ParquetTable(RandomFile(str(tmp_path / "t.parquet")), "t")


@pytest.mark.parametrize("kind", ["noise", "text", "mixed"])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 3 * BLOCK, 3 * BLOCK + 77])
def test_parts_of_a_snappy_stream_are_those_of_the_whole(kind, size):
    random = np.random.default_rng(3)
    noise, text = random.bytes(size), (b"the quick brown fox " * (size // 20 + 1))[:size]
    data = {"noise": noise, "text": text, "mixed": (noise[: size // 2] + text)[:size]}[kind]
    stream = pa.compress(data, codec="snappy", asbytes=True)
    blocks = find_blocks(stream)
    assert blocks is not None
    for _ in range(20):
        start, stop = sorted(random.integers(0, size + 1, 2).tolist())
        if start < stop:
            low, high = blocks.span(start, stop)
            assert blocks.unpack(stream[low:high], start, stop) == data[start:stop]
    assert find_blocks(stream[:-1]) is None


def test_values_across_blocks_of_snappy_are_read_alone(tmp_path):
    random = np.random.default_rng(4)
    content = [random.bytes(100_000) if k % 3 else b"ab" * 70_000 for k in range(8)]
    options = {"compression": "snappy", "use_dictionary": False}
    pq.write_table(pa.table({"x": content}), tmp_path / "t.parquet", **options)
    column = ParquetTable(RandomFile(str(tmp_path / "t.parquet")), "t").values("x")
    assert [column.read(k, LRUCache(1 << 30)) for k in range(8)] == content
    assert column._places
    column._read_page = None  # which would unpack all of the page
    assert [column.read(k, LRUCache(0)) for k in range(8)] == content


def test_a_place_that_is_known_is_compared_with_what_lies_there(tmp_path):
    """What is not compressed is read where it lies; the length before it must still be its own."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": [b"abcd", b"efgh"]}), path, compression="none", use_dictionary=False)
    column = ParquetTable(RandomFile(str(path)), "t").values("x")
    assert [column.read(row, LRUCache(0)) for row in (0, 1)] == [b"abcd", b"efgh"]
    data = path.read_bytes()
    assert data.count(b"\4\0\0\0abcd") == 1
    path.write_bytes(data.replace(b"\4\0\0\0abcd", b"\3\0\0\0abcd"))
    column._file = RandomFile(str(path))
    with pytest.raises(MemberError, match="page"):
        column.read(0, LRUCache(0))
