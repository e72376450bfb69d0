"""Workers: processes that open a job, prove that they give its bytes, and fit shards without a claim on the store."""

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import jax
import numpy as np

from functa_store.conversion.agreement import versions
from functa_store.conversion.fit_shards import Counts, FittedShard, Sampling, ShardFit, Tally, ready_fit
from functa_store.conversion.workers.job import job_bytes, places_of_job, read_job
from functa_store.conversion.workers.reopen import reopen
from functa_store.errors import ConfigError, StoreExistsError, StoreFormatError
from functa_store.learn.devices import compute_threads, use_all_cores, use_threads
from functa_store.progress import Note, Report, silent
from functa_store.sources.recipe import AnyArchive
from functa_store.store.format.layout import Shard
from functa_store.store.format.load_spec import load_spec
from functa_store.store.format.receipts import Receipts
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.reader import read_base, read_examples, read_rounding
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions, open_objects
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.support.threads import one_behind


class Worker:
    """This process as a worker of one job.

    Opening it takes what any start of a fit takes: the archive is opened, the base is read from the store, the fit is
    compiled, and the canary is fitted.

    Args:
        location: The unfinished store.
        storage: How to reach it.
        archive: Where the archive is on this machine; None means where the converting process found it.
        options: Options of the converter that are others here.
        name: Of this worker, for messages; None takes that of the machine and the number of the process.
        report: Told of what takes long.

    Attributes:
        name: As given.
        shards: All shards of the store.
        span: Width of the data range that PSNR is relative to.

    Raises:
        StoreFormatError: If nothing is to be fitted there, or what is there is damaged.
        StoreMismatchError: If libraries, the archive, or the fit of the canary differ; says which.
        ArchiveError: If the archive cannot be read.
        StorageError: If the store cannot be reached.
    """

    def __init__(
        self,
        location: Location,
        *,
        storage: StorageOptions = NO_OPTIONS,
        archive: AnyArchive | None = None,
        options: Mapping[str, Any] | None = None,
        name: str | None = None,
        report: Report = silent,
    ) -> None:
        self.name = name or f"{socket.gethostname()}:{os.getpid()}"
        found = ((place, read_job(place)) for place in places_of_job(open_objects(location, storage)))
        store, job_and_bytes = next(((place, job) for place, job in found if job is not None), (None, None))
        if store is None or job_and_bytes is None:
            raise StoreFormatError(
                f"{open_objects(location, storage).name}: found no job beside it, expected one, which functa convert "
                "leaves there once its base is learned, until the store is complete"
            )
        job, self._job = job_and_bytes
        job.check_versions(self.name, versions())
        self._store = store.existing() if isinstance(store, LocalObjects) else store
        spec = load_spec(store)
        self._receipts = Receipts(store, spec.fingerprint)
        records = self._receipts.read_skeleton()
        if spec.fingerprint != job.fingerprint or spec.complete or records is None:
            raise StoreFormatError(
                f"{store.name}: found {'a complete' if spec.complete else 'an unfinished'} store of fingerprint "
                f"{spec.fingerprint[:16]}, expected an unfinished one of {job.fingerprint[:16]} with its receipts, "
                "which the job beside it is for. Run functa convert again."
            )
        records = {key: file for key, file in records.items() if key != ROOT}
        examples = read_examples(store, spec, records)
        ids = [str(name) for name in examples.ids[:]]
        source = reopen(job, spec, ids, archive=archive, options=options, report=report)
        use_threads(job.threads)
        use_all_cores(job.threads)
        ready = ready_fit(
            spec.config, read_base(store, spec, records), Sampling(domain=spec.domain, features=spec.features)
        )
        self._fit = ShardFit(source, ready, spec.config, job.examples_per_device * jax.local_device_count())
        job.check_canary(self.name, compute_threads(), *self._fit.one(job.canary.example))
        self._source, self.span = source, spec.features.span
        self.shards = spec.layout.shards(spec.examples.count)
        rounding = read_rounding(store, spec, records)
        self._writer = ShardWriter(self._store, spec, rounding, examples, self.is_over, self.name)

    def is_over(self) -> bool:
        """Whether the store has been completed, or its conversion begun anew."""
        return job_bytes(self._store) != self._job

    def is_done(self, shard: Shard) -> bool:
        """Whether a shard has a receipt."""
        return self._receipts.has(shard)

    def fit(self, shards: Iterable[Shard], tally: Counts) -> Iterator[FittedShard]:
        """Fit some shards; see `ShardFit`."""
        return self._fit(shards, tally)

    def write(self, shard: Shard, modulations: np.ndarray, mse: np.ndarray, metrics: np.ndarray | None) -> None:
        """Write a shard and its receipt.

        Raises:
            StoreExistsError: If the job is over; nothing has changed then.
            StoreMismatchError: If another worker has written other values; names this one.
        """
        self._writer.write(shard, modulations, mse, metrics)


def work(
    path: Location,
    *,
    archive: AnyArchive | None = None,
    options: Mapping[str, Any] | None = None,
    share: tuple[int, int] | None = None,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> int:
    """Fit missing shards of an unfinished store, beside any number of processes that do the same.

    Workers share nothing but the store and the archive; they may begin, die and come back at any time, and every shard
    has the same bytes whoever fits it. When all shards are there, `finish` completes the store.

    Args:
        path: The store, once `convert` has learned its base.
        archive: Where the archive is on this machine, a pattern or list of its files if it is several; None means where
            `convert` found it.
        options: Options of the converter that are others here, such as the path of a table of labels.
        share: (i, n) takes the i-th of n parts of the shards, i from 0 on, which no other part takes; None takes
            whatever is missing, in random order.
        storage: How to reach the store.
        report: Told of the progress.

    Returns:
        How many shards this call has written.

    Raises:
        ConfigError: If `share` is none, or an option is wrong.
        StoreFormatError: If there is nothing to work on, or what is there is damaged.
        StoreMismatchError: If this process would not give the same bytes: it has other libraries, another archive or
            another processor; or if a shard is there with other values.
        ArchiveError: If the archive cannot be read, or was changed meanwhile; nothing is written of it then.
        MemberError: If an example cannot be read any more.
        StorageError: If a place cannot be reached, read or written; what is written stays.
    """
    check_share(share)
    objects = open_objects(path, storage)
    if objects.size(ROOT) is not None and load_spec(objects).complete and read_job(objects) is None:
        report(Note(message=f"{objects.name}: is complete; nothing is left to do"))
        return 0
    worker = Worker(objects, archive=archive, options=options, report=report)
    mine = worker.shards if share is None else worker.shards[share[0] :: share[1]]
    missing = [shard for shard in mine if not worker.is_done(shard)]
    if share is None:
        missing = [missing[k] for k in np.random.default_rng().permutation(len(missing))]
    num_examples = sum(map(len, mine))
    tally = Tally(num_examples - sum(map(len, missing)), num_examples, worker.span, report)
    written = 0

    def write(*fitted: Any) -> None:
        nonlocal written
        worker.write(*fitted)
        written += 1

    def still_missing() -> Iterator[Shard]:
        for shard in missing:
            if worker.is_over():
                return
            if not worker.is_done(shard):
                yield shard

    with contextlib.suppress(StoreExistsError), one_behind(write) as write_behind:
        for fitted in worker.fit(still_missing(), tally):
            write_behind(*fitted)
    if worker.is_over():
        report(Note(message=f"{objects.name}: was completed or begun anew meanwhile"))
    elif all(map(worker.is_done, worker.shards)):
        report(Note(message=f"{objects.name}: all shards are written; functa finish completes the store"))
    return written


def check_share(share: tuple[int, int] | None) -> None:
    """Refuse what is no share of a work.

    Raises:
        ConfigError: If it is none.
    """
    if share is None:
        return
    numbers: Any = share if isinstance(share, Sequence) else ()
    if len(numbers) != 2 or not all(isinstance(n, Integral) for n in numbers) or not 0 <= numbers[0] < numbers[1]:
        raise ConfigError(f"share must be (i, n), whole numbers with 0 <= i < n, got {share!r}")
