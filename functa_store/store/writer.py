"""How does a store come to be, shard by shard, across interruptions?"""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from functa_store.config import differences
from functa_store.errors import ConfigError, LearningError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.store.disk import LOCK_SUFFIX, files_below, put, record, sync, sync_tree
from functa_store.store.layout import Shard, encode_shard, flat_rows
from functa_store.store.receipts import Receipts
from functa_store.store.skeleton import create_skeleton, table_chunks, table_keys, write_statistics
from functa_store.store.spec import Contents, FileRecord, StoreSpec, identity, load_spec, work_path
from functa_store.store.summary import moments, quality_by_split

SUFFIX = ".functa"


class StoreWriter:
    """Writes the shards of one store; made by `resume_or_create`."""

    def __init__(self, path: Path, contents: Contents, spec: StoreSpec) -> None:
        self.path = path
        self._contents = contents
        self._spec = spec
        self._shards = spec.layout.shards(spec.examples.count)
        self._chunks = table_chunks(spec.layout, contents.config.network.modulation_size)
        self._receipts = Receipts(path, spec.fingerprint)

    @classmethod
    @contextlib.contextmanager
    def resume_or_create(cls, path: str | os.PathLike[str], contents: Contents) -> Iterator["StoreWriter"]:
        """Start a store, or go on with the same conversion where it was interrupted; under `sole_writer`.

        On leaving the context with nothing missing, the store is completed in one atomic step.
        After an error, or with shards missing, what was written stays and can be resumed.

        Args:
            path: The store, ending in `.functa`; `PATH.work` beside it holds the receipts.
            contents: Everything but modulations and errors.

        Yields:
            The writer.

        Raises:
            ConfigError: If the path has another suffix.
            StoreExistsError: If the path holds a complete store or something foreign.
            StoreMismatchError: If the path holds an unfinished store of another conversion.
        """
        store = check_output_path(path)
        spec = contents.spec()
        found = store.exists() and any(store.iterdir())
        writer = cls(store, contents, _resume(store, spec) if found else _create(store, contents, spec))
        yield writer
        if not writer.missing_shards():
            writer._complete()

    def missing_shards(self) -> list[Shard]:
        """The shards that are still to be written, in order."""
        return [shard for shard in self._shards if self._receipts.read(shard) is None]

    def write(self, shard: Shard, modulations: ArrayLike, mse: ArrayLike) -> None:
        """Write one shard atomically, then its receipt. Different shards may be written from threads.

        Args:
            shard: One of `missing_shards`.
            modulations: Shape (len(shard), modulation size), stored as float32.
            mse: Mean squared error of each fit, shape (len(shard),), stored as float32.

        Raises:
            StoreFormatError: If a shape does not fit the shard.
            LearningError: If a value is not finite.
            StoreMismatchError: If the shard was written before with other values.
        """
        tables = {"modulations": np.asarray(modulations, np.float32), "mse": np.asarray(mse, np.float32)}
        files = {key: self._encode(shard, name, tables[name]) for name, key in table_keys(shard.index).items()}
        records = {key: record(data) for key, data in files.items()}
        before = self._receipts.read(shard)
        if before not in (None, records):
            raise StoreMismatchError(
                f"{self.path}: shard {shard.index} was written before with other values; the same conversion must "
                "give the same bytes. Convert again into an empty path."
            )
        put(self.path, files)
        self._receipts.write(shard, records)

    def _encode(self, shard: Shard, name: str, rows: np.ndarray) -> bytes:
        shard_shape, chunk_shape = self._chunks[name]
        expected = (len(shard), *shard_shape[1:])
        if rows.shape != expected:
            raise StoreFormatError(
                f"{self.path}/{name}: shard {shard.index} got values of shape {rows.shape}, expected {expected}."
            )
        if not np.isfinite(rows).all():
            row = int(np.argwhere(~np.isfinite(rows))[0, 0])
            raise LearningError(
                f"{self.path}/{name}: the fit of example {self._contents.ids[shard.start + row]!r} is not finite. "
                "Look at its features, or learn with lower learning rates."
            )
        return encode_shard(rows, shard_shape[0], chunk_shape[0])

    def _complete(self) -> None:
        """Statistics, manifest and quality, then `complete: true` in one atomic replacement of the root."""
        shutil.rmtree(self.path / "statistics", ignore_errors=True)
        write_statistics(self.path, moments(self._read_back(shard, "modulations") for shard in self._shards))
        mse = np.concatenate([self._read_back(shard, "mse") for shard in self._shards])
        spec = dataclasses.replace(
            self._spec,
            complete=True,
            quality=quality_by_split(mse, np.asarray(self._contents.split), self._contents.features.span),
            manifest=self._manifest(),
        )
        sync_tree(self.path)
        root = json.loads((self.path / "zarr.json").read_bytes()) | {"attributes": spec.to_attributes()}
        put(self.path, {"zarr.json": json.dumps(root, indent=2).encode()})
        self._receipts.clear()

    def _read_back(self, shard: Shard, name: str) -> np.ndarray:
        key = table_keys(shard.index)[name]
        data = (self.path / key).read_bytes()
        if self._records(shard).get(key) != record(data):
            raise StoreFormatError(
                f"{self.path}/{key}: the shard changed after it was written; delete it and convert again to resume."
            )
        shard_shape, chunk_shape = self._chunks[name]
        return flat_rows(data, shard_shape[1:], shard_shape[0], chunk_shape[0])[: len(shard)]

    def _manifest(self) -> dict[str, FileRecord]:
        shards = {key: file for shard in self._shards for key, file in self._records(shard).items()}
        files = files_below(self.path)
        del files["zarr.json"]
        return {key: shards.get(key) or record(path.read_bytes()) for key, path in files.items()}

    def _records(self, shard: Shard) -> dict[str, FileRecord]:
        return self._receipts.read(shard) or {}


def check_output_path(path: str | os.PathLike[str]) -> Path:
    """The path as a `Path`, if a store can be written or resumed there; ask before hours of work.

    Raises:
        ConfigError: If it does not end in `.functa`.
        StoreExistsError: If it holds a complete store or something foreign.
    """
    store = Path(path)
    if store.suffix != SUFFIX:
        raise ConfigError(f"{store}: the path of a functaset must end in {SUFFIX}, such as {store.stem}{SUFFIX}")
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return store
    try:
        complete = load_spec(store).complete
    except StoreFormatError as error:
        raise StoreExistsError(f"{store}: holds something else ({error}). Choose another path.") from error
    if complete:
        raise StoreExistsError(f"{store}: holds a complete functaset already. Delete it, or choose another path.")
    return store


def _resume(path: Path, spec: StoreSpec) -> StoreSpec:
    found = load_spec(path)
    different = list(differences(identity(found), identity(spec)))
    if different:
        different.sort(key=lambda difference: not difference.startswith(("format_version", "config")))  # causes first
        raise StoreMismatchError(
            f"{path}: unfinished store of another conversion: {'; '.join(different[:5])}. "
            f"Convert as before to finish it, delete it and {work_path(path).name}, or choose another path."
        )
    for leftover in path.rglob(f"*{LOCK_SUFFIX}"):
        leftover.unlink()
    return found


def _create(path: Path, contents: Contents, spec: StoreSpec) -> StoreSpec:
    """Build the store in the work directory and move it into place, so that it appears as a whole."""
    Receipts(path, spec.fingerprint).clear()
    skeleton = work_path(path) / f"skeleton{SUFFIX}"
    shutil.rmtree(skeleton, ignore_errors=True)
    create_skeleton(skeleton, contents, spec)
    sync_tree(skeleton)
    skeleton.replace(path)
    sync(path.absolute().parent)
    return spec


@contextlib.contextmanager
def sole_writer(path: Path) -> Iterator[Path]:
    """Hold the work directory of a store, so that no other process writes it; it goes when it is left empty.

    Yields:
        The work directory.

    Raises:
        StoreExistsError: If another process holds it.
    """
    work = work_path(path)
    work.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(work, os.O_RDONLY)
    try:
        _lock(descriptor, path)
        yield work
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # it holds something, which is to be kept
            work.rmdir()


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreExistsError(f"{path}: another process is writing this store. Wait for it to end.") from error
