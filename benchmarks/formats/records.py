"""Rows read from formats that hold records."""

import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats.peer import Batches, Peer, each, joined, stacked

SHUFFLE_BUFFER = 1000
"""Samples in WebDataset's shuffle buffer, as in its documentation."""

TARS, CHUNK = 16, "16MB"


def _imported(module: str) -> Any:
    """A module that type checkers know nothing of."""
    return importlib.import_module(module)


def _write_lmdb(rows: np.ndarray, folder: Path) -> None:
    import lmdb  # pyright: ignore[reportMissingImports]

    environment = lmdb.open(str(folder / "rows.lmdb"), map_size=2 * rows.nbytes + 2**24)
    keys = np.arange(len(rows), dtype=">u4").tobytes()
    with environment.begin(write=True) as transaction:
        items = [(keys[4 * i : 4 * i + 4], row.tobytes()) for i, row in enumerate(rows)]
        transaction.cursor().putmulti(items, append=True)
    environment.close()


def _open_lmdb(folder: Path) -> Batches:
    import lmdb  # pyright: ignore[reportMissingImports]

    environment = lmdb.open(str(folder / "rows.lmdb"), readonly=True, lock=False, readahead=False)
    transaction = environment.begin(buffers=True)
    get: Any = transaction.get

    def read(indices: np.ndarray) -> np.ndarray:
        keys = indices.astype(">u4").tobytes()
        return joined([get(keys[start : start + 4]) for start in range(0, len(keys), 4)], size)

    size = len(get(bytes(4))) // 4
    return each(read)


def _write_array_record(rows: np.ndarray, folder: Path) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer: Any = ArrayRecordWriter(str(folder / "rows.array_record"), "group_size:1,uncompressed")
    for row in rows:
        writer.write(row.tobytes())
    writer.close()


def _open_array_record(folder: Path) -> Batches:
    from array_record.python.array_record_module import ArrayRecordReader

    reader: Any = ArrayRecordReader(str(folder / "rows.array_record"), "readahead_buffer_size:0")
    size = len(reader.read([0])[0]) // 4
    return each(lambda indices: joined(reader.read(indices.tolist()), size))


def _open_grain(folder: Path) -> Batches:
    import grain
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    records: Any = ArrayRecordDataSource(str(folder / "rows.array_record"))

    def batches(order: np.ndarray) -> Iterator[np.ndarray]:
        rows = grain.MapDataset.source(records).shuffle(seed=int(order[0, 0])).map(_vector)
        return iter(
            rows.batch(order.shape[1], drop_remainder=True).to_iter_dataset(
                grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
            )
        )

    return batches


def _vector(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.float32)


def _write_webdataset(rows: np.ndarray, folder: Path) -> None:
    webdataset = _imported("webdataset")
    per_tar = -(-len(rows) // TARS)
    with webdataset.ShardWriter(f"{folder}/%05d.tar", maxcount=per_tar, maxsize=2**40, verbose=0) as writer:
        for i, row in enumerate(rows):
            writer.write({"__key__": f"{i:08d}", "vector": row.tobytes()})


def _open_webdataset(folder: Path) -> Batches:
    webdataset = _imported("webdataset")
    tars = sorted(map(str, folder.glob("*.tar")))

    def batches(order: np.ndarray) -> Iterator[np.ndarray]:
        samples = webdataset.WebDataset(tars, shardshuffle=len(tars), seed=int(order[0, 0]))
        vectors = samples.shuffle(SHUFFLE_BUFFER).map(lambda sample: _vector(sample["vector"]))
        return iter(vectors.batched(order.shape[1], collation_fn=stacked, partial=False))

    return batches


def _write_mosaic(rows: np.ndarray, folder: Path) -> None:
    streaming = _imported("streaming")
    with streaming.MDSWriter(out=str(folder / "rows"), columns={"x": f"ndarray:float32:{rows.shape[1]}"}) as writer:
        for row in rows:
            writer.write({"x": row})


def _open_mosaic(folder: Path) -> Batches:
    streaming = _imported("streaming")
    streaming.base.util.clean_stale_shared_memory()
    rows = streaming.StreamingDataset(local=str(folder / "rows"), batch_size=1)
    return each(lambda indices: stacked([sample["x"] for sample in rows[indices.tolist()]]))


def _write_litdata(rows: np.ndarray, folder: Path) -> None:
    cache = _imported("litdata.streaming.cache").Cache(  # what `litdata.optimize` writes with, in processes of its own
        str(folder / "rows"), chunk_bytes=CHUNK
    )
    for i, row in enumerate(rows):
        cache[i] = row
    cache.done()
    cache.merge()


def _open_litdata(folder: Path) -> Batches:
    litdata = _imported("litdata")
    seeds = itertools.count()

    def batches(order: np.ndarray) -> Iterator[np.ndarray]:
        rows = litdata.StreamingDataset(str(folder / "rows"), shuffle=True, seed=next(seeds))
        loader = litdata.StreamingDataLoader(rows, batch_size=order.shape[1], num_workers=0, collate_fn=stacked)
        return iter(loader)

    return batches


RECORDS = (
    Peer(
        name="LMDB",
        module="lmdb",
        how="`get` per row in one transaction with buffers, joined",
        write=_write_lmdb,
        open=_open_lmdb,
    ),
    Peer(
        name="ArrayRecord",
        module="array_record",
        how="`ArrayRecordReader.read(indices)`, groups of 1, uncompressed",
        write=_write_array_record,
        open=_open_array_record,
    ),
    Peer(
        name="ArrayRecord, grain",
        module="array_record",
        how="`MapDataset.source(...).shuffle().map().batch()`; its threads do not help",
        write=_write_array_record,
        open=_open_grain,
        shuffles="all rows",
    ),
    Peer(
        name="WebDataset",
        module="webdataset",
        how="16 tar files in random order, `shuffle(1000)`, `batched`",
        write=_write_webdataset,
        open=_open_webdataset,
        shuffles="a buffer",
    ),
    Peer(
        name="MosaicML streaming",
        module="streaming",
        how="`dataset[indices]`; its iterator, which shuffles in blocks, is slower",
        write=_write_mosaic,
        open=_open_mosaic,
    ),
    Peer(
        name="LitData",
        module="litdata",
        how="`StreamingDataLoader`, no workers, chunks of 16 MB",
        write=_write_litdata,
        open=_open_litdata,
        shuffles="a buffer",
    ),
)
