"""Rows read from formats that hold arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats.peer import Batches, Peer, each

STORE = "rows.functa"
H5_CHUNK_ROWS = 64
CACHE_BYTES = 2**30
"""Of h5py's and TensorStore's chunk caches: enough for all 200,000 x 256 numbers."""


def write_npy(rows: np.ndarray, folder: Path) -> None:
    np.save(folder / "rows.npy", rows)


def open_memmap(folder: Path) -> Batches:
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    return each(rows.__getitem__)


def _open_memmap_take(folder: Path) -> Batches:
    rows = np.asarray(np.load(folder / "rows.npy", mmap_mode="r"))
    return each(lambda indices: rows.take(indices, axis=0))


def _write_h5(rows: np.ndarray, folder: Path) -> None:
    import h5py

    with h5py.File(folder / "rows.h5", "w") as file:
        file.create_dataset("rows", data=rows, chunks=(min(H5_CHUNK_ROWS, len(rows)), rows.shape[1]))


def _open_h5(folder: Path) -> Batches:
    import h5py

    file = h5py.File(folder / "rows.h5", "r", rdcc_nbytes=CACHE_BYTES, rdcc_nslots=1_000_003)
    rows: Any = file["rows"]
    return each(lambda indices: np.stack([rows[i] for i in indices]))


def write_store(rows: np.ndarray, folder: Path) -> None:
    """A functaset, which zarr-python and TensorStore read, too."""
    from benchmarks.generated import write_functaset

    write_functaset(folder / STORE, lambda start, stop: rows[start:stop], *rows.shape)


def _open_zarr(folder: Path) -> Batches:
    import zarr

    array = zarr.open_array(folder / STORE / "modulations", mode="r")
    return each(lambda indices: np.asarray(array.oindex[indices]))


def _open_tensorstore(cache_bytes: int) -> Callable[[Path], Batches]:
    def opened(folder: Path) -> Batches:
        import tensorstore

        path = f"{folder.resolve() / STORE / 'modulations'}/"
        array = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}, "recheck_cached_data": "open"},
            read=True,
            context=tensorstore.Context({"cache_pool": {"total_bytes_limit": cache_bytes}}),
        ).result()
        if cache_bytes:
            array.read().result()
        return each(lambda indices: array[indices].read().result())

    return opened


MEMMAP = Peer(name="numpy memmap", module="numpy", how="`x[indices]`", write=write_npy, open=open_memmap)

ARRAYS = (
    Peer(
        name="numpy memmap, take",
        module="numpy",
        how="`x.take(indices, axis=0)`, which few write",
        write=write_npy,
        open=_open_memmap_take,
    ),
    Peer(
        name="h5py",
        module="h5py",
        how="`x[i]` per row, chunks of 64 rows, all cached; a list of indices is slower",
        write=_write_h5,
        open=_open_h5,
    ),
    Peer(
        name="zarr-python",
        module="zarr",
        how="`x.oindex[indices]` on a functaset's modulations",
        write=write_store,
        open=_open_zarr,
    ),
    Peer(
        name="TensorStore",
        module="tensorstore",
        how="`x[indices].read().result()` on a functaset's modulations",
        write=write_store,
        open=_open_tensorstore(0),
    ),
    Peer(
        name="TensorStore, cached",
        module="tensorstore",
        how="the same, all chunks decoded in its cache",
        write=write_store,
        open=_open_tensorstore(CACHE_BYTES),
    ),
)
