"""Meta-learning of a base network from the training examples of a source."""

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jax.stages import Compiled

from functa_store.config import ConvertConfig, FitConfig
from functa_store.domains.domain import network_inputs
from functa_store.errors import LearningError
from functa_store.learn.devices import (
    compile_within_memory,
    free_bytes,
    microbatch_sizes,
    num_devices,
    shared_jit,
    temporary_bytes,
)
from functa_store.learn.fit import Fit, mean_psnr
from functa_store.learn.inner_loop import extend
from functa_store.learn.observers import shares_grid
from functa_store.learn.outer_loop import (
    Base,
    Learnable,
    LearnState,
    fix_num_steps,
    init_learnable,
    make_optimizer,
    make_outer_step,
    rate_scale,
)
from functa_store.learn.training_set import TrainingSet
from functa_store.metrics import psnr_mean
from functa_store.progress import (
    Learned,
    Note,
    Report,
    silent,
)
from functa_store.sources.source import Source

S = TypeVar("S", bound=tuple)


@runtime_checkable
class Snapshots(Protocol):
    """Keeps the last state of one computation; `conversion/run_files.py` keeps it on disk.

    A state is a named tuple of arrays, numbers and trees of them.
    """

    def load(self, like: S) -> S | None:
        """The last snapshot kept, in the structure of `like`; None if there is none."""
        ...

    def offer(self, snapshot: tuple) -> None:
        """Keep the snapshot if enough time has passed since the last one."""
        ...

    def save(self, snapshot: tuple) -> None:
        """Keep the snapshot now."""
        ...


def keep(states: Iterable[S], latest: S, snapshots: Snapshots | None) -> S:
    """Go through the states of a computation, and leave the last one behind whatever ends it.

    Args:
        states: One state after the other.
        latest: The state before the first of them.
        snapshots: Where to leave them; None for nowhere.

    Returns:
        The last state.
    """
    try:
        for state in states:
            latest = state
            if snapshots is not None:
                snapshots.offer(latest)
    finally:
        if snapshots is not None:
            snapshots.save(latest)
    return latest


logger = logging.getLogger(__name__)

LOOK_EVERY = 10
SECONDS_BETWEEN_REPORTS = 2.0
MAX_ROLLBACKS = 5

EARLY = 5
"""How many times as often the monitored examples are looked at up to the first multiple of `monitor_every`: rates that
are too high undo in a hundred steps what the first hundred learned, and a state to go back to has to be from before."""

COLLAPSED = 1.0
"""Decibels below the best state at which learning has diverged without any infinity. Shapes whose rates were too high
lost nine of them in a thousand steps; while they learn well, looks differ by a few tenths."""


class Snapshot(NamedTuple):
    """Everything that meta-learning needs to go on as if it had never stopped.

    Attributes:
        step: Outer steps taken.
        num_steps: Outer steps in all; 0 while a time budget has not decided.
        seconds: Time spent learning, compilation apart.
        state: Weights, rates and optimiser moments.
        best: The learnable with the highest PSNR on the monitored examples.
        best_psnr: That PSNR in decibels.
        rollbacks: Times that learning diverged, went back to `best` and halved its rates.
        microbatch_size: Examples that a device takes together, as first decided; 0 for not yet.
    """

    step: int
    num_steps: int
    seconds: float
    state: LearnState
    best: Learnable
    best_psnr: float
    rollbacks: int
    microbatch_size: int


def meta_learn(
    training: TrainingSet, config: ConvertConfig, *, report: Report = silent, snapshots: Snapshots | None = None
) -> Base:
    """Meta-learn a base network on a training set (functa, Algorithm 1).

    Args:
        training: The examples to learn from and to monitor.
        config: The conversion.
        report: Told of the progress every few steps.
        snapshots: Where to take up an interrupted run, and where to leave one.

    Returns:
        The state with the highest PSNR on the monitored examples.

    Raises:
        LearningError: If learning diverges again and again.
        MemberError: If an example cannot be read any more, or is not finite.
        KeyboardInterrupt: After the last state has been kept, as after every other exception.
    """
    learning = _Learning(training, config, report)
    latest = learning.start()
    if snapshots is not None and (kept := snapshots.load(latest)) is not None:
        report(Note(message=f"going on from outer step {kept.step}"))
        latest = kept
    latest = keep(learning.run(latest), latest, snapshots)
    if latest.best_psnr == -math.inf:
        raise LearningError("meta-learning never gave a finite error; lower the learning rates or w0")
    return Base(learning.graph, jax.device_get(latest.best), latest.step, latest.best_psnr)


def learned_fit(graph: nnx.GraphDef, config: ConvertConfig, source: Source) -> Fit:
    """The fit that a base is learned for: as many steps, each on the whole grid (functa, Algorithm 1).

    Where examples share no grid, each on a part of an example, as the steps of learning.
    """
    stride = 1 if shares_grid(source.domain) else config.fit.stride
    steps = FitConfig(num_steps=config.inner.num_steps, stride=stride, tile_points=config.fit.tile_points)
    return Fit(graph, dataclasses.replace(config, fit=steps), source)


class _Learning:
    """The compiled functions and fixed choices of one meta-learning."""

    def __init__(self, training: TrainingSet, config: ConvertConfig, report: Report) -> None:
        self.training, self.config, self.report = training, config, report
        self.group, self.mesh = training.group, training.group.mesh(training.batch_size)
        source = training.source
        inputs = network_inputs(source.domain, config.network)
        self.graph, self.initial = init_learnable(config, inputs, source.features.num_channels, source.domain.closed)
        self.fit = learned_fit(self.graph, config, source)
        self.key = jax.random.key(config.seed)
        self.key_of = functools.partial(jax.random.fold_in, self.key)
        if self.mesh is not None:
            self.key_of = shared_jit(self.key_of, self.mesh)
        self.reported = 0.0
        self.best_seen: tuple[Learnable | None, float] = (None, math.nan)  # and its PSNR on examples seen

    def start(self) -> Snapshot:
        state = LearnState(self.initial, make_optimizer(self.config.outer).init(self.initial))
        return Snapshot(0, self.config.outer.num_steps or 0, 0.0, state, self.initial, -math.inf, 0, 0)

    def run(self, snapshot: Snapshot) -> Iterator[Snapshot]:
        """Yield the snapshot after every outer step until the last one."""
        if 0 < snapshot.num_steps <= snapshot.step:
            return
        batches = self.training.learning_batches(snapshot.step)
        snapshot = self._compile(snapshot, next(self.training.learning_batches(0)))
        losses, began = [], time.perf_counter() - snapshot.seconds
        while not 0 < snapshot.num_steps <= snapshot.step:
            raw = next(batches)
            self.group.meet()
            with self.group.program():
                snapshot, loss = self._step(snapshot, raw)
                losses.append(np.asarray(loss))
            snapshot = self._spend(snapshot, self.group.meet(time.perf_counter() - began))
            if snapshot.step % LOOK_EVERY == 0 or snapshot.step == snapshot.num_steps:
                snapshot = self._look(snapshot, np.concatenate(losses))
                losses = []
            elif snapshot.seconds > self.reported + SECONDS_BETWEEN_REPORTS:
                self._tell(snapshot, np.concatenate(losses))
            yield snapshot

    def _compile(self, snapshot: Snapshot, raw: np.ndarray) -> Snapshot:
        snapshot = snapshot._replace(state=self.group.copied(snapshot.state, self.mesh))
        given = (snapshot.state, self.group.spread(raw, self.mesh), self.key_of(0), np.float32(0))

        def compile(microbatch_size: int) -> Compiled:
            step = make_outer_step(self.graph, self.config, self.fit.plan.observer, microbatch_size, self.mesh)
            return step.lower(*given).compile()

        batch_size, most = self.training.batch_size // self.group.count, self.group.fewest_devices()
        sizes = microbatch_sizes(snapshot.microbatch_size or self.config.outer.microbatch_size, batch_size, most)
        self.outer_step, size = compile_within_memory("an outer step", compile, sizes, free_bytes(), self.group.most)
        megabytes = temporary_bytes(self.outer_step) / 1e6
        share = f"{size} of {batch_size // num_devices(batch_size, most)} examples at once on a device"
        self.report(Note(message=f"an outer step takes {share}, {megabytes / size:,.1f} MB for each"))
        self._mean_psnr(snapshot.state.learnable, self.training.monitored)  # compiles it before the clock starts
        return snapshot._replace(microbatch_size=size)

    def _step(self, snapshot: Snapshot, raw: np.ndarray) -> tuple[Snapshot, jax.Array]:
        scale = rate_scale(self.config.outer, snapshot.step, snapshot.num_steps or None, snapshot.rollbacks)
        batch = self.group.spread(raw, self.mesh)
        state, losses = self.outer_step(snapshot.state, batch, self.key_of(snapshot.step), scale)
        return snapshot._replace(step=snapshot.step + 1, state=state), losses

    def _spend(self, snapshot: Snapshot, seconds: float) -> Snapshot:
        """Note the time, and let a time budget decide how many steps there are once it can."""
        num_steps = snapshot.num_steps or fix_num_steps(self.config.outer, snapshot.step, seconds) or 0
        return snapshot._replace(seconds=seconds, num_steps=num_steps)

    def _look(self, snapshot: Snapshot, losses: np.ndarray) -> Snapshot:
        """Check, monitor and report; losses are those since the last look."""
        if not np.isfinite(losses).all():
            return self._roll_back(snapshot)
        monitored = None
        if self._monitors(snapshot):
            monitored = self._mean_psnr(snapshot.state.learnable, self.training.monitored)
            # The losses are those before the last update, which may have broken the state.
            if math.isnan(monitored) or self._has_collapsed(snapshot, monitored):
                return self._roll_back(snapshot)
            if monitored > snapshot.best_psnr:
                snapshot = snapshot._replace(best=snapshot.state.learnable, best_psnr=monitored)
        self._tell(snapshot, losses, monitored)
        return snapshot

    def _monitors(self, snapshot: Snapshot) -> bool:
        """Whether a look, one of those every `LOOK_EVERY` steps, is the first at or after a moment to monitor."""
        every = self.config.outer.monitor_every
        if snapshot.step < every:
            every = -(-every // EARLY)
        return snapshot.step % every < LOOK_EVERY or snapshot.step == snapshot.num_steps

    def _tell(self, snapshot: Snapshot, losses: np.ndarray, monitored: float | None = None) -> None:
        self.reported = snapshot.seconds
        left = (self.config.outer.time_budget or math.inf) - snapshot.seconds
        if snapshot.num_steps:
            left = snapshot.seconds * (snapshot.num_steps / snapshot.step - 1)
        self.report(
            Learned(
                step=snapshot.step,
                num_steps=snapshot.num_steps or None,
                seconds=snapshot.seconds,
                seconds_left=left,
                psnr=psnr_mean(losses, self.fit.plan.features.span),
                monitored_psnr=monitored,
                examples_per_second=snapshot.step * self.training.batch_size / snapshot.seconds,
            )
        )

    def _mean_psnr(self, learnable: Learnable, indices: np.ndarray) -> float:
        shared = self.fit.prepare(learnable.base, extend(learnable.rates, len(learnable.rates)))
        return mean_psnr(self.fit, shared, self.training.reader, indices, self.group)

    def _has_collapsed(self, snapshot: Snapshot, monitored: float) -> bool:
        """Whether the state is far worse than the best one on examples that are learned from, too: not overfitting.

        The last state is not judged, since the best one is what remains; nor is any after the last roll-back.
        """
        over = snapshot.step == snapshot.num_steps or snapshot.rollbacks == MAX_ROLLBACKS
        if over or monitored >= snapshot.best_psnr - COLLAPSED:
            return False
        if self.best_seen[0] is not snapshot.best:
            self.best_seen = (snapshot.best, self._mean_psnr(snapshot.best, self.training.seen))
        return self._mean_psnr(snapshot.state.learnable, self.training.seen) < self.best_seen[1] - COLLAPSED

    def _roll_back(self, snapshot: Snapshot) -> Snapshot:
        if snapshot.rollbacks == MAX_ROLLBACKS:
            raise LearningError(
                f"meta-learning diverged {MAX_ROLLBACKS + 1} times, the last time by outer step {snapshot.step}; "
                "lower the learning rates or w0"
            )
        logger.warning(
            "learning diverged by outer step %d; going back to the best state, with half the rates", snapshot.step
        )
        best = snapshot.best if self.mesh is None else jax.device_get(snapshot.best)
        state = LearnState(best, make_optimizer(self.config.outer).init(best))
        return snapshot._replace(state=self.group.copied(state, self.mesh), rollbacks=snapshot.rollbacks + 1)
