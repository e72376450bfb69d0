"""Engines: who fits the shards of an unfinished store; the one in this process, and what all of them are given."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax

from functa_store.conversion.agreement import versions
from functa_store.conversion.fit_shards import ShardFit, Tally, fit_shards
from functa_store.conversion.workers.job import Canary, Job, bytes_of, epoch, read_job, sampled, write_job
from functa_store.errors import ConfigError, StoreFormatError
from functa_store.learn.devices import compute_threads
from functa_store.learn.tuning import ReadyFit
from functa_store.progress import Note, Report
from functa_store.sources.recipe import recipe_of
from functa_store.sources.source import Source, check_unchanged
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import NO_OPTIONS, Objects, StorageOptions
from functa_store.store.storage.writer_lock import EXACT_STORE, WORK_SUFFIX
from functa_store.store.writing.writer import StoreWriter
from functa_store.support.threads import one_behind


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Unfinished:
    """A store whose shards are to be fitted.

    Attributes:
        store: Where it lies.
        storage: How to reach it.
        writer: Holds the claim on it, and knows what is missing.
        contents: What the store holds beside its shards.
        source: The examples.
        ready: The fit, made when it is first asked for.
        fit_batch_size: As for `convert`.
        report: Told of the progress.
        tally: Told of what is fitted.
        job: What other processes need to fit shards, too; None if the source has no recipe.
    """

    store: Objects
    storage: StorageOptions
    writer: StoreWriter
    contents: Contents
    source: Source
    ready: Callable[[], ReadyFit]
    fit_batch_size: int | None
    report: Report
    tally: Tally
    job: Job | None

    def fit_by(self, run: Callable[[list[int]], str | None]) -> None:
        """Let others fit until nothing is missing; once they cannot, this process fits the rest.

        Args:
            run: Has the shards of these numbers fitted; None, or why that cannot be.
        """
        while missing := [shard.index for shard in self.writer.still_missing(self.writer.missing_shards())]:
            if (reason := run(missing)) is not None:
                self.report(Note(message=f"{reason}; this process fits the shards by itself"))
                self.fit_here()
                return

    def fit_here(self, share: tuple[int, int] = (0, 1)) -> None:
        """Fit in this process what nobody else has fitted by then.

        Args:
            share: (i, n) begins with the i-th of n parts of the shards, and goes on from the end with what those who
                begin with the others have left.
        """
        missing = self.writer.missing_shards()
        own = [shard for shard in missing if shard.index % share[1] == share[0]]
        others = [shard for shard in reversed(missing) if shard.index % share[1] != share[0]]
        missing = self.writer.still_missing([*own, *others])
        batch = self.fit_batch_size
        if self.job is not None:
            batch = self.job.examples_per_device * jax.local_device_count()
        with one_behind(self.writer.write) as write:
            for fitted in fit_shards(self.source, self.ready(), missing, self.contents.config, batch, self.tally):
                write(*fitted)


@runtime_checkable
class Engine(Protocol):
    """Decides which process fits which shard; receipts tell what is done, whatever an engine believes.

    Attributes:
        needs_recipe: Whether other processes open the archive.
        completes: Whether everything is fitted when `fit` returns.
    """

    needs_recipe: bool
    completes: bool

    def fit(self, unfinished: Unfinished) -> None:
        """Fit the missing shards, or as many as an interruption leaves time for.

        Raises:
            FunctaStoreError: What a worker raised, or `WorkerError` if workers died on one shard again and again.
        """
        ...


class InProcess:
    """Fits in this process."""

    needs_recipe, completes = False, True

    def fit(self, unfinished: Unfinished) -> None:
        """Fit the missing shards, one after the other."""
        unfinished.fit_here()


class Elsewhere:
    """Leaves the shards to `work`, called by processes of your own, and the completion to `finish`.

    Such processes share nothing but the store and the archive, and begin when `convert` has returned: jobs of a batch
    system, for example.
    """

    needs_recipe, completes = True, False

    def fit(self, unfinished: Unfinished) -> None:
        """Fit nothing, and say what is to be done."""
        name = unfinished.store.name.removesuffix(f"{WORK_SUFFIX}/{EXACT_STORE}")
        count = len(unfinished.writer.missing_shards())
        unfinished.report(
            Note(message=f"{name}: {count:,} shards are left to functa work; functa finish completes the store then")
        )


def check_engine(engine: Engine, source: Source) -> None:
    """Refuse an engine before anything is learned.

    Raises:
        ConfigError: If other processes cannot open the source.
    """
    if engine.needs_recipe and recipe_of(source) is None:
        raise ConfigError(
            f"{source.provenance['archive']}: was made in Python, so that workers cannot open it; take a converter "
            "(functa convert KIND, open_images, ...), write one for it, or convert in one process (engine=None)"
        )


def fit_missing(
    store: Objects,
    contents: Contents,
    source: Source,
    ready: Callable[[], ReadyFit],
    engine: Engine,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    report: Report,
) -> bool:
    """Fit what is missing of a store of exact modulations, and complete it.

    Args:
        store: Where it lies; claimed.
        contents: Everything but modulations and errors.
        source: The examples.
        ready: Makes the fit; called once, if something is missing.
        engine: Who fits.
        storage: How to reach the store.
        fit_batch_size: As for `convert`.
        report: Told of the progress.

    Returns:
        Whether the store is complete.
    """
    with StoreWriter.resume_or_create(store, contents) as writer:
        if missing := writer.missing_shards():
            ready = functools.cache(ready)
            done, total = contents.num_examples - sum(map(len, missing)), contents.num_examples
            unfinished = Unfinished(
                store=store,
                storage=storage,
                writer=writer,
                contents=contents,
                source=source,
                ready=ready,
                fit_batch_size=fit_batch_size,
                report=report,
                tally=Tally(done, total, source.features.span, report),
                job=_publish(store, contents, source, ready, fit_batch_size),
            )
            engine.fit(unfinished)
            if writer.look_again() and engine.completes:  # a receipt that is there is damaged
                unfinished.fit_here()
        check_unchanged(source)
        return not writer.missing_shards()


def _publish(
    store: Objects, contents: Contents, source: Source, ready: Callable[[], ReadyFit], fit_batch_size: int | None
) -> Job | None:
    """Let workers join; those that are there already go on if nothing changes for them."""
    if (recipe := recipe_of(source)) is None:
        return None
    fingerprint = contents.spec().fingerprint
    try:
        found = read_job(store)
    except StoreFormatError:  # damaged, and written anew
        found = None
    if found is not None and fit_batch_size is None:
        before = found[0]
        ours = (fingerprint, recipe, versions(), compute_threads())
        if (before.fingerprint, before.recipe, before.versions, before.threads) == ours:
            return before
    fit = ShardFit(source, ready(), contents.config, fit_batch_size)
    job = Job(
        epoch=epoch(),
        fingerprint=fingerprint,
        recipe=recipe,
        archive_bytes=bytes_of(recipe.archive),
        samples=sampled(source),
        examples_per_device=fit.examples_per_device,
        threads=compute_threads(),
        versions=versions(),
        canary=Canary.of(0, *fit.one(0)),
    )
    check_unchanged(source)
    if found is not None and job.is_alike(found[0]):
        return found[0]
    write_job(store, job)
    return job
