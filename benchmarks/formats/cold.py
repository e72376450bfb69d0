"""Speed of a shuffled epoch of a table that is not in memory."""

import gc
import mmap
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats.arrays import STORE, open_memmap
from benchmarks.formats.ours import BLOCK_BYTES, BLOCKS_MIXED, open_loader
from benchmarks.formats.peer import Batches, each
from benchmarks.generated import random_table, write_functaset

ROWS_AT_A_TIME = 2**16


def write_cold(folder: Path, num_examples: int, size: int) -> None:
    """The same table as numpy's file and as a functaset, some rows in memory at a time."""
    table = random_table(size)
    kind = {"dtype": np.float32, "shape": (num_examples, size)}
    rows = np.lib.format.open_memmap(folder / "rows.npy", mode="w+", **kind)
    for start in range(0, num_examples, ROWS_AT_A_TIME):
        stop = min(start + ROWS_AT_A_TIME, num_examples)
        rows[start:stop] = table(start, stop)
    rows.flush()
    write_functaset(folder / STORE, lambda start, stop: rows[start:stop], num_examples, size)


def _open_advised(folder: Path) -> Batches:
    rows: Any = np.load(folder / "rows.npy", mmap_mode="r")
    rows._mmap.madvise(mmap.MADV_RANDOM)
    return each(rows.__getitem__)


def _open_blocks(folder: Path) -> Batches:
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    size = BLOCK_BYTES // (4 * rows.shape[1])

    def batches(order: np.ndarray) -> Iterator[np.ndarray]:
        rng, batch = np.random.default_rng(order[0, 0]), order.shape[1]
        starts = rng.permutation(-(-len(rows) // size)) * size
        for first in range(0, len(starts), BLOCKS_MIXED):
            mixed = np.concatenate([rows[start : start + size] for start in starts[first : first + BLOCKS_MIXED]])
            places = rng.permutation(len(mixed))
            yield from (mixed[places[place : place + batch]] for place in range(0, len(mixed), batch))

    return batches


SIDES: dict[str, Callable[[Path], Batches]] = {
    "numpy memmap": open_memmap,
    "numpy memmap, MADV_RANDOM": _open_advised,
    "numpy memmap, blocks": _open_blocks,
    "functa-store, loader of blocks": open_loader(blocks=True),
}
"""Ways to read a shuffled epoch, the first of which is what the others are compared with."""


def drop_from_memory(folder: Path) -> None:
    """Forget the files below a folder, which are read from the disk again; files that are mapped stay."""
    gc.collect()  # unmaps what the side before has read
    for path in filter(Path.is_file, folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def measure_cold(
    side: Callable[[Path], Batches], folder: Path, order: np.ndarray, most_bytes: float
) -> dict[str, float]:
    """The beginning of a shuffled epoch of dropped files, opening them included.

    Args:
        side: What reads.
        folder: What `write_cold` wrote.
        order: Indices of the batches.
        most_bytes: Ends when so much came from the disk and is in memory now.

    Returns:
        JSON-ready: `rows_per_second`, `rows` that were read, and `bytes_per_row` that came from the disk.
    """
    drop_from_memory(folder)
    before, began = _bytes_from_disk(), time.perf_counter()
    num_rows = 0
    for rows in side(folder)(order):
        num_rows += len(rows)
        if _bytes_from_disk() - before > most_bytes:
            break
    took = time.perf_counter() - began
    bytes_per_row = (_bytes_from_disk() - before) / num_rows
    return {"rows_per_second": num_rows / took, "rows": num_rows, "bytes_per_row": bytes_per_row}


def _bytes_from_disk() -> int:
    """Bytes that this process made the system read from disks so far; Linux only."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))
