"""Export of decoded examples to files of arrays or pictures."""

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from functa_store.config import ExportDtype
from functa_store.decode.functaset import Functaset, opened
from functa_store.domains.cells import Region
from functa_store.exporting.array_files import ArrayFiles, ArraysInMemory, Folder
from functa_store.exporting.selection import Chosen, check_out, check_room, check_values, choose
from functa_store.exporting.zarr_files import ZarrGroup
from functa_store.progress import (
    Exported,
    Note,
    Report,
    silent,
)
from functa_store.store.reading.rows import Index
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.support.atomic_output import check_free, finished_or_gone
from functa_store.support.threads import one_behind

BATCH_BYTES = 8 * 2**20
"""Values decoded at once, or one example where that is more; another batch is being written meanwhile."""


def export(
    functaset: Functaset | Location,
    out: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    *,
    region: Region | None = None,
    index: Index = slice(None),
    clip: bool = True,
    dtype: ExportDtype = "float32",
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> tuple[int, ...]:
    """Decode examples into files for those who want arrays.

    Memory holds a few batches of `BATCH_BYTES` whatever the size of the whole; NAME.npz is the exception. Until
    everything is written the output has another name, which ends in `.part`; whatever ends the export early, an
    interruption included, removes it.

    Args:
        functaset: An open one, or where it is. An unfinished one exports the examples that are finished.
        out: NAME.zarr is a Zarr v3 group, NAME.npz one file of arrays, any other name a folder with a picture
            (8-bit PNG: images of 1, 3 or 4 channels) or an array (.npy) per example and a table, `index.csv`.
        resolution: Points inside the region, one number for all axes or one per axis; None keeps the spacing
            of the archive.
        region: Per axis (low, high), in [0, 1] or degrees; None means the whole domain.
        index: Which examples; a mask such as `functaset.split[:] == "test"` takes a split.
        clip: Clip to the ranges of the values; pictures always are.
        dtype: Of values in NAME.zarr: `uint8` has 256 levels over the range of all channels, or 255 and one for points
            without a value where the domain has such.
        storage: How to reach a store that is not open.
        report: Told every batch.

    Returns:
        Shape of all values, (examples, *resolution, channels).

    Raises:
        ConfigError: If `out` is no path on this machine or lies inside the store, or options contradict it.
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain, or memory does not hold what must be held.
        StoreExistsError: If there is something at `out` already.
        StorageError: If the disk cannot be written, or is too small, or the store cannot be read.
    """
    functaset = opened(functaset, storage)
    path = check_out(out, functaset.store.places)
    check_free(path)
    chosen = choose(functaset, index, resolution, region, clip=clip)
    check_values(path, chosen, dtype)
    check_room(path, chosen)
    if not functaset.store.spec.complete:
        found, total = len(functaset), functaset.store.spec.examples.count
        report(Note(message=f"{functaset.store.path}: unfinished; has {found:,} of {total:,} examples so far"))
    make, uncached, began = _kind(path, dtype), functaset.without_cache(), time.monotonic()
    with finished_or_gone(path, is_file=make is ArraysInMemory) as part:
        files = make(part, chosen)
        with one_behind(files.write) as write:
            for batch in _batches(chosen, files.examples_at_once):
                positions = chosen.positions[batch.start : batch.stop]
                write(batch.start, uncached.decode(positions, resolution, region=region, clip=clip))
                report(_event(batch.stop, len(chosen), time.monotonic() - began))
        files.finish()
    return (len(chosen), *chosen.shape)


def _kind(path: Path, dtype: ExportDtype) -> Callable[[Path, Chosen], ArrayFiles]:
    """What writes such an output, given its place."""
    kinds = {".zarr": functools.partial(ZarrGroup, dtype=dtype), ".npz": ArraysInMemory}
    return kinds.get(path.suffix.lower(), Folder)


def _batches(chosen: Chosen, multiple: int) -> Iterator[range]:
    """Places among the chosen of the examples that are decoded together."""
    size = multiple * max(1, BATCH_BYTES // (multiple * chosen.example_bytes))
    return (range(start, min(start + size, len(chosen))) for start in range(0, len(chosen), size))


def _event(done: int, total: int, seconds: float) -> Exported:
    speed = done / max(seconds, 1e-9)
    return Exported(done=done, total=total, examples_per_second=speed, seconds_left=(total - done) / speed)
