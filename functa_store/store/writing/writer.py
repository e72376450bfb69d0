"""Writer of a store: rehearsed in memory, begun or taken up, filled shard by shard, and completed."""

import collections
import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from functa_store.config import differences
from functa_store.errors import StorageError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.metrics import Moments
from functa_store.store.format.layout import Shard
from functa_store.store.format.load_spec import MOST_JSON_BYTES
from functa_store.store.format.manifest import series_of_columns, series_of_tables, sha256_of
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.receipts import Receipts, Written
from functa_store.store.format.spec import ROOT, Contents, StoreSpec, identity
from functa_store.store.format.summaries import Examples, ShardSummary, merged_quality, merged_statistics
from functa_store.store.reading.reader import StoreReader, read_examples, read_rounding
from functa_store.store.reading.verify import damage
from functa_store.store.storage.objects import (
    REQUESTS_AT_A_TIME,
    FileRecord,
    Location,
    Objects,
    check_key,
    record,
    too_long,
    write_all,
)
from functa_store.store.storage.server_calls import map_in_threads
from functa_store.store.storage.writer_lock import JOB, SKELETON, WORK_SUFFIX, is_of_store, is_part
from functa_store.store.writing.destination import already_complete, check_output
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.store.writing.skeleton import Skeleton, manifest_objects, skeleton, statistics_objects


def create(store: Objects, built: Skeleton, receipts: Receipts) -> dict[str, FileRecord]:
    """Write everything but shards, the root last: without it there is no store."""
    files, chunks = built.files, built.chunk_keys
    written = {key: record(data) for key, data in files.items()}
    receipts.write_skeleton(written)  # first: from now on, whatever lies there is known to be ours
    receipts.clear_shards()
    # Of an attempt with other options; what a user put there stays.
    wanted = {*files, *chunks}
    store.delete([key for key in store.sizes() if key not in wanted and is_of_store(key)])
    write_all(store, {key: data for key, data in files.items() if key != ROOT})
    if chunks:
        written |= _write_chunks(store, built, chunks)
        receipts.write_skeleton(written)  # with what was known only once it was encoded
    store.write(ROOT, files[ROOT])
    return written


def _write_chunks(store: Objects, built: Skeleton, keys: Sequence[str]) -> dict[str, FileRecord]:
    """Write chunks of columns, a few of which are in memory at a time."""

    def write(key: str, data: bytes) -> FileRecord:
        store.write(key, data)
        return record(data)

    encoded = (built[key] for key in keys)  # in this thread: zarr encodes all of them into one dictionary
    return dict(zip(keys, map_in_threads(write, keys, encoded, threads=REQUESTS_AT_A_TIME, name="write"), strict=True))


def resume(
    found: StoreSpec, store: Objects, spec: StoreSpec, built: Skeleton, receipts: Receipts
) -> dict[str, FileRecord]:
    """Make sure that the unfinished store is this one, and whole but for its shards.

    What is there is judged by its receipt, not by encoding it again, which another release of zstd does differently.

    Returns:
        The records of everything but shards.
    """
    different = list(differences(identity(found), identity(spec)))
    if different:
        different.sort(key=lambda difference: not difference.startswith(("format_version", "config")))  # causes first
        raise StoreMismatchError(
            f"{store.name}: unfinished store of another conversion: {'; '.join(different[:5])}. "
            f"Convert as before to finish it, delete it and {store.sibling(WORK_SUFFIX).name}, or choose another path."
        )
    store.delete([key for key in store.sizes() if is_part(key)])  # what a killed writer left behind
    keys = [*(key for key in built.files if key != ROOT), *built.chunk_keys]
    known = receipts.read_skeleton() or {}
    recorded = {key: known[key] for key in keys if key in known}
    wrong = [key for key in keys if not _holds(store, key, recorded.get(key))]
    if wrong:
        for key in wrong:
            recorded.pop(key, None)
        receipts.write_skeleton(recorded)
        recorded |= _write_chunks(store, built, wrong)
        receipts.write_skeleton(recorded)
    return recorded


def _holds(store: Objects, key: str, expected: FileRecord | None) -> bool:
    try:
        return expected is not None and record(store.read(key, expected.bytes)) == expected
    except (FileNotFoundError, StoreFormatError):
        return False


class StoreWriter:
    """Writes the shards of one store, and completes it; made by `resume_or_create` and `taken_up`.

    Other processes may write shards of the same store at a time, each by a `ShardWriter`; this one holds the claim.
    """

    def __init__(
        self,
        store: Objects,
        spec: StoreSpec,
        rounding: Rounding,
        examples: Examples,
        skeleton_files: Mapping[str, FileRecord],
        done: dict[int, Written],
    ) -> None:
        self._store = store
        self._spec = spec
        self._examples = examples
        self._shards = _shards(spec)
        self._receipts = Receipts(store, spec.fingerprint)
        self._writer = ShardWriter(store, spec, rounding, examples)
        self._skeleton_files = skeleton_files
        self._done = done
        self._root = store.read(ROOT, MOST_JSON_BYTES)

    @classmethod
    @contextlib.contextmanager
    def resume_or_create(cls, location: Location, contents: Contents) -> Iterator["StoreWriter"]:
        """Start a store, or go on with the same conversion where it was interrupted; under `sole_writer`.

        On leaving the context with nothing missing, the store is completed in one atomic step.
        After an error, or with shards missing, what was written stays and can be resumed.

        Args:
            location: The store, ending in `.functa`; `NAME.functa.work` beside it holds the receipts.
            contents: Everything but modulations and errors.

        Yields:
            The writer.

        Raises:
            ConfigError: If the location has another suffix.
            StoreExistsError: If it holds a complete store or something foreign.
            StoreMismatchError: If it holds an unfinished store of another conversion.
            StorageError: If it cannot be written.
        """
        found, spec = check_output(location), contents.spec()
        store, receipts, examples = found.store, Receipts(found.store, spec.fingerprint), examples_of(contents)
        if found.spec is not None and found.state == "complete":
            if found.spec.fingerprint != spec.fingerprint or receipts.read_skeleton() is None:
                raise already_complete(store)
            clear_job(store)  # all that was left to do: the process that completed it died before it had cleared up
            receipts.clear()
            yield cls(
                store, spec, contents.rounding, examples, {}, done=dict.fromkeys(map(_index, _shards(spec)), GONE)
            )
            return
        built = skeleton(contents, spec)
        if found.spec is None:
            written = create(store, built, receipts)
        else:
            written = resume(found.spec, store, spec, built, receipts)
        writer = cls(store, spec, contents.rounding, examples, written, done=receipts.done(_shards(spec)))
        if found.spec is not None:
            writer._remove(writer.missing_shards())  # what an interrupted writer left, perhaps of other last bits
        yield writer
        writer.complete_if_done()

    @classmethod
    def taken_up(cls, store: Objects, spec: StoreSpec) -> "StoreWriter":
        """The writer of an unfinished store that others fill, from what lies there; under `sole_writer`.

        Args:
            store: The store.
            spec: What it says about itself.

        Raises:
            StoreFormatError: If something is missing or damaged.
        """
        receipts = Receipts(store, spec.fingerprint)
        if (skeleton_files := receipts.read_skeleton()) is None:
            raise StoreFormatError(
                f"{store.sibling(WORK_SUFFIX).name}/{SKELETON}: missing or damaged, so that nothing tells what the "
                "store should hold. Run the command that was interrupted again."
            )
        described = {key: file for key, file in skeleton_files.items() if key != ROOT}
        for key in described:
            if not _holds(store, key, described[key]):
                raise StoreFormatError(
                    f"{store.name}/{key}: missing or damaged. Run the command that was interrupted again, which "
                    "mends it."
                )
        rounding, examples = read_rounding(store, spec, described), read_examples(store, spec, described)
        return cls(store, spec, rounding, examples, described, done=receipts.done(_shards(spec)))

    def missing_shards(self) -> list[Shard]:
        """The shards that are still to be written, in order."""
        return [shard for shard in self._shards if shard.index not in self._done]

    def still_missing(self, shards: Iterable[Shard]) -> Iterator[Shard]:
        """Those of some shards that nobody has written by the time they are asked for."""
        return (shard for shard in shards if shard.index not in self._done and not self._receipts.has(shard))

    def look_again(self) -> list[Shard]:
        """Take note of what other processes have written; the shards that are still missing, in order.

        A shard that is not what its receipt says is removed with it: nobody could write another one in its place.
        """
        had_receipt = set(self._receipts.indices())  # before any that is just being written
        self._done |= self._receipts.done(self.missing_shards())
        left = self.missing_shards()
        self._remove([shard for shard in left if shard.index in had_receipt])
        return left

    def write(
        self,
        shard: Shard,
        modulations: ArrayLike,
        mse: ArrayLike | None,
        metrics: ArrayLike | None = None,
        *,
        some_unknown: bool = False,
    ) -> None:
        """Write one shard atomically, then its receipt. Different shards may be written from threads.

        Args:
            shard: One of `missing_shards`.
            modulations: Shape (len(shard), *shape of a modulation), see `NetworkConfig.modulation_shape`; rounded as
                the store's contents say.
            mse: Mean squared error of each fit, shape (len(shard),), stored as float32. None if errors are unknown,
                since modulations were not fitted to anything: they are stored as not a number, and so are all metrics.
            metrics: Its metrics, shape (len(shard), columns), in the order of the columns of the store's features,
                stored as float32; not a number where an example has none. None if the features have no metrics.
            some_unknown: Errors may be not a number, of those examples of a finished functaset that were not fitted.

        Raises:
            StoreFormatError: If a shape does not fit the shard, or metrics are there or absent against the features.
            LearningError: If a value is not finite, or cannot be stored.
            StoreMismatchError: If the shard was written before with other values, or is by another process meanwhile.
            StorageError: If it cannot be written.
        """
        if (before := self._done.get(shard.index)) is None:
            self._done[shard.index] = self._writer.write(shard, modulations, mse, metrics, some_unknown=some_unknown)
        elif before.files != self._writer.encode(shard, modulations, mse, metrics, some_unknown=some_unknown).files:
            raise StoreMismatchError(
                f"{self._store.name}: shard {shard.index} was written before with other values; the same conversion "
                "must give the same bytes. Convert again into an empty path."
            )

    def complete_if_done(self) -> None:
        """Complete the store if no shard is missing; see `resume_or_create`."""
        if not self.missing_shards():
            self._complete()

    def _remove(self, shards: Sequence[Shard]) -> None:
        """Remove shards that are not what they should be; they are missing then."""
        for shard in shards:
            self._done.pop(shard.index, None)
        self._writer.remove(shards)

    def _complete(self) -> None:
        """Statistics, manifest and quality, then `complete: true` in one atomic replacement of the root."""
        if all(written is GONE for written in self._done.values()):  # it is complete, and cleared up
            return
        self._check_shards()
        summaries = [self._done[shard.index].summary for shard in self._shards]
        statistics = statistics_objects(merged_statistics(summaries), self._spec.config.network)
        arrays = self._manifest_arrays()
        last = statistics | manifest_objects(arrays)
        write_all(self._store, last)
        spec = dataclasses.replace(
            self._spec,
            complete=True,
            quality=merged_quality((summary.splits for summary in summaries), self._spec.features.span),
            manifest=self._manifest(arrays, last),
            manifest_sha256=sha256_of(arrays),
        )
        root = spec.to_root()
        if not self._store.replace(ROOT, self._root, root) and self._store.read(ROOT, MOST_JSON_BYTES) != root:
            raise StoreExistsError(
                f"{self._store.name}: another process completed or changed this store meanwhile; leave it to that, and "
                "look at it with functa verify."
            )
        clear_job(self._store)  # first: from now on, whoever comes late knows
        self._receipts.clear()
        self._store.delete([key for key in self._store.sizes() if is_part(key)])

    def _check_shards(self) -> None:
        """Compare the bytes of all shards with what was written.

        Raises:
            StoreFormatError: If shards changed since they were written; they are missing then.
        """
        damaged = damage(self._store, {k: file for written in self._done.values() for k, file in written.files.items()})
        if damaged:
            spoilt = [s for s in self._shards if not damaged.keys().isdisjoint(self._done[s.index].files)]
            problem = StoreFormatError(
                f"{self._store.name}: {', '.join(damaged)} changed after they were written. Run the same conversion "
                "again, or functa work, to write them anew, and mistrust this disk."
            )
            try:
                self._remove(spoilt)
            except StorageError as error:
                raise problem from error
            raise problem

    def _manifest_arrays(self) -> dict[str, np.ndarray]:
        """Checksums of all shards, and of all chunks of columns."""
        shards = {key: file for written in self._done.values() for key, file in written.files.items()}
        arrays = {series.name: series.numbers(shards) for series in series_of_tables(self._spec)}
        for series in series_of_columns(self._skeleton_files):
            arrays[series.name] = series.numbers(self._skeleton_files)
        return arrays

    def _manifest(self, arrays: Mapping[str, np.ndarray], last: Mapping[str, bytes]) -> dict[str, FileRecord]:
        """All files that are in none of these arrays."""
        files = {key: file for key, file in self._skeleton_files.items() if key.partition("/c/")[0] not in arrays}
        files |= {key: file for key, file in self._skeleton_files.items() if key.endswith("/zarr.json")}
        files |= {key: record(data) for key, data in last.items()}
        return {key: files[key] for key in sorted(files) if key != ROOT}


GONE = Written(files={}, summary=ShardSummary(moments=Moments(0, *[np.zeros(0)] * 4), splits={}))
"""What is known of the shards of a complete store whose receipts have gone."""


def clear_job(store: Objects) -> None:
    """Tell workers that the store is complete."""
    store.sibling(WORK_SUFFIX).delete([JOB])


def _shards(spec: StoreSpec) -> Sequence[Shard]:
    return spec.layout.shards(spec.examples.count)


def _index(shard: Shard) -> int:
    return shard.index


def examples_of(contents: Contents) -> Examples:
    """What a store is to keep of its examples."""
    of = None if contents.augmentations is None else contents.augmentations.of
    return Examples(ids=contents.ids, split=contents.split, augmentation_of=of)


def rehearse(contents: Contents) -> None:
    """Write everything of a store but its shards to memory, and open it.

    Raises:
        ConfigError: If something cannot be written.
        StoreFormatError: If it cannot be read again.
        ValueError: If something cannot be written that was not thought of.
    """
    spec, store = contents.spec(), MemoryObjects("rehearsal.functa", {})
    built = skeleton(contents, spec)
    for key in built.chunk_keys:
        _ = built[key]  # encoded, but not kept: of many examples that would take much memory
    create(store, Skeleton(built.files, {}), Receipts(store, spec.fingerprint))
    reader = StoreReader(store)
    _ = reader.stored_base, reader.rejects


class MemoryObjects:
    """Objects in a dictionary, gone with it; see `Objects`.

    Args:
        name: Of the folder.
        files: All objects, by the name of the folder and their key.
    """

    writable = True
    lists = True
    block_bytes = 2**22

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name, self._files = name, files
        self.requests: collections.Counter[str] = collections.Counter()

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object."""
        try:
            data = self._files[self._key(key)]
        except KeyError as error:
            raise FileNotFoundError(f"{self._key(key)}: there is no such object") from error
        if len(data) > at_most:
            raise too_long(self.name, key, len(data), at_most)
        return data

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Some ranges of an object."""
        data = self.read(key, 2**63)
        parts = [data[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        if [len(part) for part in parts] != list(lengths):
            raise StoreFormatError(f"{self._key(key)}: ends before a range does")
        return parts

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Replace an object."""
        self._files[self._key(key)] = b"".join(parts)

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """Create an object, if there is none."""
        if self._key(key) in self._files:
            return False
        self.write(key, *parts)
        return True

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """Replace an object, if it is still what it was."""
        if self._files.get(self._key(key)) != before:
            return False
        self.write(key, *parts)
        return True

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Add to the end of the object beside this folder."""
        self._files[self.name + suffix] = self._files.get(self.name + suffix, b"") + data

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects."""
        for key in keys:
            self._files.pop(self._key(key), None)

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every object below a folder."""
        folder, skip = self._key(below) + "/" if below else f"{self.name}/", len(self.name) + 1
        return {key[skip:]: len(data) for key, data in sorted(self._files.items()) if key.startswith(folder)}

    def size(self, key: str) -> int | None:
        """Size of one object."""
        return None if (data := self._files.get(self._key(key))) is None else len(data)

    def sibling(self, suffix: str) -> "MemoryObjects":
        """The folder beside this one."""
        return MemoryObjects(self.name + suffix, self._files)

    def below(self, folder: str) -> "MemoryObjects":
        """A folder inside this one."""
        return MemoryObjects(self._key(folder), self._files)

    def _key(self, key: str) -> str:
        return f"{self.name}/{check_key(key)}"
