"""How do decoded examples become files of arrays or pictures?"""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from functa_store.behind import one_behind
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, ExampleIndexError, FunctaStoreError, StorageError, StoreExistsError
from functa_store.exporting.array_files import ArrayFiles, ArraysInMemory, Folder, Selection
from functa_store.exporting.zarr_files import ExportDtype, ZarrGroup, check_names
from functa_store.grids import Region
from functa_store.metrics import psnr
from functa_store.progress import Exported, Note, Report, silent
from functa_store.store.local import PART_SUFFIX, LocalObjects
from functa_store.store.positions import Index, as_array, places_of

BLOCK_BYTES = 8 * 2**20
"""Features decoded at once, or one example where that is more; another block is being written meanwhile."""

BLOCKS_HELD = 4
"""Blocks that memory must hold: one being decoded, one being written, and a copy of each."""

NO_FOLDERS = (".functa", ".png", ".npy", PART_SUFFIX)
"""Endings that a folder of pictures or arrays may not have."""


def export(
    functaset: Functaset,
    out: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    *,
    region: Region | None = None,
    index: Index = slice(None),
    clip: bool = True,
    dtype: ExportDtype = "float32",
    report: Report = silent,
) -> tuple[int, ...]:
    """Decode examples into files for those who want arrays.

    Memory holds a few blocks of `BLOCK_BYTES` whatever the size of the whole; NAME.npz is the exception. Until
    everything is written the output has another name, which ends in `.part`; whatever ends the export early, an
    interruption included, removes it.

    Args:
        functaset: An unfinished one exports the examples that are finished.
        out: NAME.zarr is a Zarr v3 group, NAME.npz one file of arrays, any other name a folder with a picture
            (8-bit PNG: two axes and 1, 3 or 4 channels) or an array (.npy) per example and a table, `index.csv`.
        resolution: Points inside the region, one number for all axes or one per axis; None keeps the spacing
            of the archive.
        region: Per axis (low, high) in [0, 1]; None means the whole domain.
        index: Which examples; a mask such as `functaset.split[:] == "test"` takes a split.
        clip: Clip to the data range; pictures always are.
        dtype: Of features in NAME.zarr: `uint8` has 256 levels over the data range.
        report: Told every block.

    Returns:
        Shape of all features, (examples, *resolution, channels).

    Raises:
        ConfigError: If `out` is no path on this machine or lies inside the store, or options contradict it, or
            memory does not hold what must be held.
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain.
        StoreExistsError: If there is something at `out` already.
        StorageError: If the disk cannot be written, or is too small, or the store cannot be read.
    """
    path = _check_out(out, functaset)
    chosen = _select(functaset, index, resolution, region)
    make = _kind(path, chosen, clip, dtype)
    _check_room(path, chosen)
    if not functaset.store.complete:
        found, total = len(functaset), functaset.store.num_total
        report(Note(message=f"{functaset.store.path}: unfinished; has {found:,} of {total:,} examples so far"))
    with _finished_or_gone(path) as part:
        files, began = make(part), time.monotonic()
        with one_behind(files.write) as write:
            for block in _blocks(chosen, files.examples_at_once):
                positions = chosen.positions[block.start : block.stop]
                features = functaset.decode(positions, resolution, region=region, clip=clip)
                write(block.start, np.asarray(features))
                report(_event(block.stop, len(chosen), time.monotonic() - began))
        files.finish()
    return (len(chosen), *chosen.shape)


def _check_out(out: str | os.PathLike[str], functaset: Functaset) -> Path:
    """The output as a path that is free and can be told from the store."""
    text = os.fspath(out)
    if "://" in text:
        raise ConfigError(
            f"{text.partition('://')[0]}://...: an export is written to a disk of this machine, expected a path; "
            "copy it to a bucket afterwards"
        )
    path = Path(text)
    if path.suffix.lower() in NO_FOLDERS:
        raise ConfigError(f"{path}: expected NAME.zarr, NAME.npz, or the name of a folder, got one in {path.suffix}")
    if not os.path.isdir(path.parent):
        raise ConfigError(f"{path}: there is no folder {path.parent}; create it first")
    store = functaset.store.objects
    if isinstance(store, LocalObjects) and path.resolve().is_relative_to(store.path.resolve()):
        raise ConfigError(f"{path}: lies inside the store {store.name}, which would be damaged; choose another path")
    _refuse_existing(path)
    part = path.with_name(path.name + PART_SUFFIX)
    if os.path.lexists(part):
        raise StoreExistsError(
            f"{part}: another export to {path.name} is running, or was cut off; delete it if none is running"
        )
    return path


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise StoreExistsError(f"{path}: exists already; delete it, or choose another path")


def _select(
    functaset: Functaset, index: Index, resolution: int | Sequence[int] | None, region: Region | None
) -> Selection:
    """The examples that an index names, and where they are to be decoded."""
    store, count = functaset.store, len(functaset)
    positions = as_array(places_of(store.path, index, count))
    if not positions.size:
        raise ExampleIndexError(f"{store.path}: found no list of examples to export, expected some of its {count}")
    if len(set(store.domain.axes)) < store.domain.num_axes:
        raise ConfigError(f"{store.path}: axes {store.domain.axes} share a name; coordinates cannot be told apart")
    shape = store.domain.resolve(resolution, region)
    _check_memory(store.path, BLOCKS_HELD * 4 * math.prod(shape) * store.features.num_channels, "")
    return Selection(
        positions=positions,
        quantity=store.domain.quantity,
        shape=(*shape, store.features.num_channels),
        features=store.features,
        coords=dict(zip(store.domain.axes, store.domain.axis_coords(resolution, region), strict=True)),
        ids=store.ids[positions],
        split=store.split[positions],
        psnr=psnr(store.mse[positions], store.features.span),
        labels={name: values[positions] for name, values in store.labels.items()},
        label_names=dict(store.label_names),
    )


def _kind(path: Path, chosen: Selection, clip: bool, dtype: ExportDtype) -> Callable[[Path], ArrayFiles]:
    """What writes such an output, given its place."""
    ending = path.suffix.lower()
    if dtype == "uint8" and (ending != ".zarr" or not clip):
        raise ConfigError(f"{path}: dtype uint8 is for NAME.zarr and for clipped features; take float32")
    if ending == ".zarr":
        check_names(os.fspath(path), chosen)
        return lambda part: ZarrGroup(part, chosen, dtype)
    if ending == ".npz":
        return lambda part: ArraysInMemory(part, chosen)
    if chosen.makes_pictures and not clip:
        raise ConfigError(f"{path}: pictures are always clipped; write NAME.zarr or NAME.npz for unclipped features")
    return lambda part: Folder(part, chosen)


def _check_room(path: Path, chosen: Selection) -> None:
    """Refuse what memory or, where its size is known, the disk cannot hold."""
    ending, everything = path.suffix.lower(), len(chosen) * chosen.example_bytes
    if ending == ".npz":
        texts = 4 * len(chosen) * max(len(str(name)) for name in chosen.ids)
        _check_memory(os.fspath(path), everything + texts, "write NAME.zarr, or ")
    is_compressed = ending == ".zarr" or (ending != ".npz" and chosen.makes_pictures)
    if not is_compressed and everything > (free := shutil.disk_usage(path.parent).free):
        raise StorageError(f"{path}: needs {_gib(everything)}, but {path.parent} has only {_gib(free)}; make room")


def _check_memory(name: str, needed: int, advice: str) -> None:
    if needed > (free := psutil.virtual_memory().available):
        raise ConfigError(
            f"{name}: exporting needs {_gib(needed)} of memory at once, {_gib(free)} are free; {advice}choose "
            "a lower resolution, a region or fewer examples"
        )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:,.3g} GiB"


@contextlib.contextmanager
def _finished_or_gone(path: Path) -> Iterator[Path]:
    """A place beside the output, a file or a folder as that is, which becomes it; removed if the block fails."""
    part, is_file = path.with_name(path.name + PART_SUFFIX), path.suffix.lower() == ".npz"
    try:
        part.touch(exist_ok=False) if is_file else part.mkdir()
    except OSError as error:
        raise StorageError(f"{part}: cannot be made: {error.strerror}; choose another folder") from error
    try:
        yield part
        _refuse_existing(path)
        part.rename(path)
    except BaseException as error:
        left = _remove(part)
        if isinstance(error, OSError) and not isinstance(error, FunctaStoreError):
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}; {left}") from error
        raise


def _remove(part: Path) -> str:
    """Delete what is unfinished, and say so."""
    with contextlib.suppress(OSError):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    return f"delete {part}" if os.path.lexists(part) else "what had been written is removed"


def _blocks(chosen: Selection, multiple: int) -> Iterator[range]:
    """Places among the chosen of the examples that are decoded together."""
    size = multiple * max(1, BLOCK_BYTES // (multiple * chosen.example_bytes))
    return (range(start, min(start + size, len(chosen))) for start in range(0, len(chosen), size))


def _event(done: int, total: int, seconds: float) -> Exported:
    speed = done / max(seconds, 1e-9)
    return Exported(done=done, total=total, examples_per_second=speed, seconds_left=(total - done) / speed)
