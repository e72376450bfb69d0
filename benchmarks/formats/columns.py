"""Rows read from formats that hold columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats.peer import Batches, Peer, each

ROW_GROUP = 1024
"""Rows of a Parquet row group: 1 MB."""

GROUPS_MIXED = 16
"""Row groups that are mixed at a time."""


def _table(rows: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])})


def _matrix(table: Any) -> np.ndarray:
    """The column of an arrow table, without a copy where it is in one piece."""
    column = table.column("x").combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def _write_datasets(rows: np.ndarray, folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset(_table(rows)).save_to_disk(folder / "rows")


def _open_datasets_numpy(folder: Path) -> Batches:
    import datasets

    rows: Any = datasets.load_from_disk(folder / "rows").with_format("numpy")
    return each(lambda indices: rows[indices]["x"])


def _open_datasets_arrow(folder: Path) -> Batches:
    import datasets

    rows = datasets.load_from_disk(folder / "rows").with_format("arrow")
    return each(lambda indices: _matrix(rows[indices]))


def _write_parquet(rows: np.ndarray, folder: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        _table(rows), folder / "rows.parquet", row_group_size=ROW_GROUP, compression="none", use_dictionary=False
    )


def _open_parquet(folder: Path) -> Batches:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "rows.parquet", memory_map=True)

    def read(indices: np.ndarray) -> np.ndarray:
        groups, inside = np.divmod(indices, ROW_GROUP)
        touched, places = np.unique(groups, return_inverse=True)
        starts = np.cumsum([0, *(file.metadata.row_group(g).num_rows for g in touched[:-1])])
        return _matrix(file.read_row_groups(touched.tolist()))[starts[places] + inside]

    return each(read)


def _open_parquet_groups(folder: Path) -> Batches:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "rows.parquet", memory_map=True)

    def batches(order: np.ndarray) -> Iterator[np.ndarray]:
        rng, batch = np.random.default_rng(order[0, 0]), order.shape[1]
        groups = rng.permutation(file.num_row_groups).tolist()
        left: list[np.ndarray] = []
        for start in range(0, len(groups), GROUPS_MIXED):
            read = _matrix(file.read_row_groups(groups[start : start + GROUPS_MIXED]))
            rows = np.concatenate([*left, read]) if left else read
            mixed = rng.permutation(len(rows))
            whole = len(rows) // batch * batch
            yield from (rows[indices] for indices in mixed[:whole].reshape(-1, batch))
            left = [rows[mixed[whole:]]] if whole < len(rows) else []

    return batches


COLUMNS = (
    Peer(
        name="Hugging Face datasets",
        module="datasets",
        how='memory-mapped arrow, `with_format("numpy")[indices]`',
        write=_write_datasets,
        open=_open_datasets_numpy,
    ),
    Peer(
        name="Hugging Face datasets, arrow",
        module="datasets",
        how='`with_format("arrow")[indices]`, its buffer as numpy',
        write=_write_datasets,
        open=_open_datasets_arrow,
    ),
    Peer(
        name="Parquet",
        module="pyarrow",
        how="`read_row_groups` of those that a batch touches, 1 MB each, uncompressed",
        write=_write_parquet,
        open=_open_parquet,
    ),
    Peer(
        name="Parquet, row groups mixed",
        module="pyarrow",
        how="`read_row_groups` of 16 at random, their rows mixed",
        write=_write_parquet,
        open=_open_parquet_groups,
        shuffles="a buffer",
    ),
)
