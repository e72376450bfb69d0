"""Conversion of a source to a functaset (learn, tune, fit, store), and its plan without doing it."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from functa_store.config import (
    CHANNELS_OF_HEAD,
    ConvertConfig,
    number,
)
from functa_store.conversion.agreement import clear, differences_from_conversion, identify, is_begun, versions
from functa_store.conversion.fit_shards import check_batch, compare_precision
from functa_store.conversion.hosts import EveryHost, Hosts, joined
from functa_store.conversion.recode import write_recoded
from functa_store.conversion.run_files import INTERVAL, Checkpoints, RunLog, SharedSnapshots
from functa_store.conversion.workers.engine import Engine, InProcess, check_engine, fit_missing
from functa_store.conversion.workers.worker import work
from functa_store.domains.domain import check_grid, network_inputs
from functa_store.errors import ArchiveError, ConfigError, StorageError, StoreFormatError, StoreMismatchError
from functa_store.learn.devices import copies, use_all_cores
from functa_store.learn.fit import estimate_seconds, plan_fit
from functa_store.learn.group import ALONE, Group
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.observers import check_domain
from functa_store.learn.outer_loop import Base, round_base
from functa_store.learn.scores import pca_reference
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import ReadyFit, tune
from functa_store.nets.siren import structure, to_weights
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import augmentations_of, originals_of
from functa_store.sources.recipe import recipe_of
from functa_store.sources.source import Source, check_source, check_unchanged, class_counts, counts, origin
from functa_store.store.format.layout import choose_layout
from functa_store.store.format.side_arrays import MOMENTA, RATES, base_shapes
from functa_store.store.format.spec import Contents, sha256_json
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    Location,
    Objects,
    StorageOptions,
)
from functa_store.store.storage.writer_lock import EXACT_STORE
from functa_store.store.writing.destination import Destination, already_complete, claim
from functa_store.store.writing.writer import MemoryObjects, rehearse

STAGES = ("learning", "tuning")

logger = logging.getLogger(__name__)


def convert(
    source: Source,
    path: Location,
    config: ConvertConfig,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    snapshot_seconds: float = INTERVAL,
    engine: Engine | None = None,
    hosts: Hosts | None = None,
    report: Report = silent,
) -> None:
    """Meta-learn a base network on a source and write its functaset.

    Interrupted at any moment, the same call goes on where it stopped, and ends in the same bytes.

    Args:
        source: The examples.
        path: The store, a path or URL ending in `.functa`. `PATH.work` beside it exists until it is complete,
            `PATH.log` tells times and speeds.
        config: The conversion.
        storage: How to reach the store.
        fit_batch_size: Examples per call of the fit, rounded up to a multiple of the devices; None takes 16
            per CPU core, or what a short probe finds fastest on an accelerator. Another number may change
            the last bits of modulations.
        snapshot_seconds: Seconds of learning that a crash may cost.
        engine: Who fits the examples once the base is learned: None fits in this process, `Processes` in processes of
            its own, `Dask` on a cluster; `Elsewhere` leaves that to `work` and `finish`, and the store unfinished. All
            but the first need a source that a converter has opened. The bytes are the same.
        hosts: The processes that learn the base together, each of which calls this with the same archive and
            configuration; None for this one alone. Each reads its part of every batch; what is learned is that of one
            process but for rounding. Process 0 writes the store. With `engine=None` all fit then, if they reach the
            store and a converter has opened the source; by another one process 0 fits, and the others are done.
        report: Told of the progress; with `hosts`, of this process.

    Raises:
        ArchiveError: If the source contradicts itself, an example cannot be read any more, or the archive was changed
            meanwhile.
        ConfigError: If the path does not end in `.functa`, a number is out of range, memory does not hold a single
            example, or hosts cannot share a batch equally or contradict each other.
        StoreExistsError: If the path holds a finished store or something foreign, or another process
            is writing it.
        StoreMismatchError: If another conversion was left unfinished at the path.
        LearningError: If meta-learning diverges.
        WorkerError: If workers die on one shard again and again, or none of them may work; or if another process of
            `hosts` does not come, fails or is gone.
        StorageError: If the disk is full, or the place cannot be reached or written; what is written stays.
    """
    check_conversion(source, config)
    check_batch(fit_batch_size)
    if engine is not None:
        check_engine(engine, source)
    if not number("snapshot_seconds", snapshot_seconds) >= 0:
        raise ConfigError(f"snapshot_seconds must be at least 0, got {snapshot_seconds}")
    if hosts is not None:
        hosts.check(config)

    def fit_into(store: Objects, work: Objects, conversion: dict[str, Any], log: RunLog) -> bool:
        group.shared(sha256_json(conversion).encode())
        contents, ready = _learn(work, conversion, source, config, snapshot_seconds, log, group)
        if engine is not None:
            _let_go(group)
        return fit_missing(
            store,
            contents,
            source,
            lambda: ready,
            engine or (InProcess() if group.count == 1 else EveryHost(group)),
            storage=storage,
            fit_batch_size=fit_batch_size,
            report=log,
        )

    with joined(hosts) as group:
        if group.leads:
            write_fitted(source, path, config, fit_into, storage=storage, report=report)
            _let_go(group)
        else:
            _follow(source, path, config, snapshot_seconds, group, storage, report)


def _let_go(group: Group) -> None:
    """Tell the other processes, if they wait for something to do, that there is nothing."""
    group.shared(None)
    group.leave()


def _follow(
    source: Source,
    path: Location,
    config: ConvertConfig,
    snapshot_seconds: float,
    group: Group,
    storage: StorageOptions,
    report: Report,
) -> None:
    """Learn with the first process of a group, and fit a part of the shards where that lets others do so."""
    conversion = identify(source, config)
    if (expected := group.shared(None)) is None:
        return
    if expected != sha256_json(conversion).encode():
        raise StoreMismatchError(
            f"{source.provenance['archive']}: process {group.number} converts otherwise than process 0: its archive, "
            "an option or the version of a library differs. Start all processes alike"
        )
    nowhere = MemoryObjects(f"process {group.number}", {})
    _learn(nowhere, conversion, source, config, snapshot_seconds, report, group)
    if group.shared(None) is None:
        return
    group.leave()
    recipe = recipe_of(source)
    assert recipe is not None  # or the first process had let nobody fit
    share = (group.number, group.count)
    try:
        work(path, archive=recipe.archive, options=recipe.files, share=share, storage=storage, report=report)
    except (StoreFormatError, StorageError) as error:
        logger.warning("this process does not reach the store, and leaves its part to process 0: %s", error)


FitInto = Callable[[Objects, Objects, dict[str, Any], RunLog], bool]
"""Writes the store of exact modulations: (store, work folder, what must agree to go on, log) -> is it complete."""


def write_fitted(
    source: Source,
    path: Location,
    config: ConvertConfig,
    fit_into: FitInto,
    *,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> None:
    """Write a functaset in the data type of its configuration; errors and resuming as for `convert`.

    Args:
        source: The examples.
        path: The store.
        config: The conversion.
        fit_into: Writes the exact one.
        storage: How to reach the store.
        report: Told of the progress.
    """
    use_all_cores()
    with claim(path, storage) as (destination, work), RunLog(store := destination.store, report) as log:
        log(Note(message=origin(source)))
        conversion = identify(source, config)
        exact = store if config.modulation_dtype == "float32" else work.below(EXACT_STORE)
        begun = is_begun(work, conversion)
        if destination.spec is not None and destination.state == "complete":
            if not begun or differences_from_conversion(destination.spec, source, config, config.modulation_dtype):
                raise already_complete(store)
            clear(work)  # all that was left to do
            return
        fitted = Destination.of(exact)
        if fitted.spec is None or fitted.state == "unfinished":
            if not fit_into(exact, work, conversion, log):
                return
        elif found := differences_from_conversion(fitted.spec, source, config, "float32"):
            raise StoreMismatchError(
                f"{exact.name}: is a functaset of another conversion: {'; '.join(found[:5])}. Delete it to fit the "
                "examples of this one."
            )
        if exact is not store:
            write_recoded(StoreReader(exact, verify=True), store, config.modulation_dtype)
        clear(work)


def _learn(
    work: Objects,
    conversion: dict[str, Any],
    source: Source,
    config: ConvertConfig,
    snapshot_seconds: float,
    log: Report,
    group: Group = ALONE,
) -> tuple[Contents, ReadyFit]:
    """Learn a base network; what the store of exact modulations holds, and the fit."""
    check = functools.partial(check_unchanged, source)
    learning, tuning = (
        SharedSnapshots(Checkpoints(work, stage, conversion, interval=snapshot_seconds, check=check), group)
        for stage in STAGES
    )
    reference = pca_reference(source, config.network.modulation_size) if group.leads else {}
    training = TrainingSet(source, config, group)
    base = round_base(meta_learn(training, config, report=log, snapshots=learning), config.base_dtype)
    ready = tune(base, training, config, report=log, snapshots=tuning)
    reference |= compare_precision(base, ready, training, config)
    return describe(source, base, ready, config, reference), ready


def check_conversion(source: Source, config: ConvertConfig) -> None:
    """Check what can be known before work starts.

    Raises:
        ArchiveError: If the source contradicts itself, or says what cannot be stored.
        ConfigError: If its domain is unknown, or it or its channels need another kind of network.
    """
    check_source(source)
    check_domain(source.domain)
    check_grid(source.domain, config.network)
    name = source.provenance["archive"]
    if source.domain.head != (head := config.network.head):
        raise ConfigError(
            f"{name}: the network's head is {head!r}, but this kind of example needs {source.domain.head!r}; give "
            f"NetworkConfig(head={source.domain.head!r}), or take one of the presets"
        )
    channels = source.features.channels
    if len(channels) != (expected := CHANNELS_OF_HEAD.get(head, len(channels))):
        raise ConfigError(f"{name}: has the channels {channels}, expected {expected} for a network's head {head!r}")
    _check_storable(source, config)


def _check_storable(source: Source, config: ConvertConfig) -> None:
    """Write an empty store of the source to memory, and open it: better refused now than after hours of learning.

    Raises:
        ArchiveError: If a writer or a reader refuses it.
    """
    network = config.network
    shapes = base_shapes(network, network_inputs(source.domain, network), source.features.num_channels)
    shapes |= dict.fromkeys((RATES, MOMENTA), (config.fit.num_steps, network.cell_size))
    base = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    try:
        rehearse(contents_of(source, config, base, {}))
    except ConfigError:  # of the conversion, and not of the archive
        raise
    except (ValueError, TypeError, OSError) as error:  # all of ours but those of learning, and of what lies under them
        raise ArchiveError(f"{source.provenance['archive']}: cannot be stored: {error}") from error


def describe(source: Source, base: Base, ready: ReadyFit, config: ConvertConfig, reference: dict[str, Any]) -> Contents:
    """Everything about the functaset that is known before its examples are fitted.

    Its modulations are exact, in float32, whatever they become in the end. What was decided on the way replaces
    what was left open, since it reproduces the store: the number of outer steps for a time budget, the stride and
    the tiles of the fit, and whether tuned steps were taken.
    """
    outer = dataclasses.replace(config.outer, num_steps=base.num_steps, time_budget=None)
    steps = ready.shared.steps
    weights = {name: np.asarray(array, config.base_dtype) for name, array in to_weights(base.learnable.base).items()}
    weights |= {RATES: np.asarray(steps.rates), MOMENTA: np.asarray(steps.momenta)}
    decided = dataclasses.replace(config, outer=outer, fit=ready.config)
    return contents_of(source, decided, weights, reference)


def contents_of(
    source: Source, config: ConvertConfig, base: dict[str, np.ndarray], reference: dict[str, Any]
) -> Contents:
    """What a store of exact modulations of a source holds."""
    return Contents(
        domain=source.domain,
        features=source.features,
        config=dataclasses.replace(config, modulation_dtype="float32"),
        base=base,
        ids=source.ids,
        split=source.split,
        labels=source.labels,
        augmentations=augmentations_of(source),
        rejects=source.rejects,
        provenance={**source.provenance, "versions": versions()},
        reference=reference,
    )


def plan(source: Source, config: ConvertConfig) -> dict[str, Any]:
    """What a conversion would do, without doing it.

    Args:
        source: The examples.
        config: The conversion.

    Returns:
        JSON-ready: `origin` of splits and labels in words, `examples` by split, the number of `augmentations` beside
        these, `classes` by label, `resolution`, `base_parameters`, `modulation_size`, `rows_per_shard`, `store_bytes`,
        and estimates of the `learning_seconds` (the time budget, if there is one) and `fitting_seconds` on this
        machine, from the cost model.
    """
    check_conversion(source, config)
    use_all_cores()
    network, num_examples, own = config.network, len(source.ids), originals_of(source)
    labels = {name: dataclasses.replace(label, values=label.values[own]) for name, label in source.labels.items()}
    inputs = network_inputs(source.domain, network)
    _, state = structure(network, inputs, source.features.num_channels, source.domain.closed)
    parameters = sum(int(np.prod(array.shape)) for array in to_weights(state).values())
    metrics = source.features.columns
    weight_bytes = np.dtype(config.base_dtype).itemsize
    inner_loop = 2 * config.fit.num_steps * network.cell_size
    row_bytes = network.modulation_size * np.dtype(config.modulation_dtype).itemsize
    layout = choose_layout(num_examples, row_bytes, config.rows_per_shard)
    rows = len(layout.shards(num_examples)) * layout.rows_per_shard
    learning, fitting = estimate_seconds(source, plan_fit(config, source.domain, source.features, num_copies=copies()))
    return {
        "origin": origin(source),
        "examples": counts(np.asarray(source.split)[own]),
        "augmentations": num_examples - len(own),
        "classes": {name: found for name, label in labels.items() if (found := class_counts(name, label))},
        "resolution": list(source.domain.resolution),
        "base_parameters": parameters,
        "modulation_size": network.modulation_size,
        "rows_per_shard": layout.rows_per_shard,
        "store_bytes": weight_bytes * parameters + 4 * inner_loop + rows * (row_bytes + 4 * (1 + len(metrics))),
        "learning_seconds": config.outer.time_budget or learning,
        "fitting_seconds": fitting,
    }
