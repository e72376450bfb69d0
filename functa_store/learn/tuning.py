"""Tuning of a fit's learning rates and momenta for a finished base network.

The base is learned through a few plain gradient steps. More steps, each on a part of the points, fit better
for the same arithmetic, if their rates and momenta suit them: those are learned here, by the gradient of the
error after the fit, with the base held still.
"""

import dataclasses
import functools
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.stages import Compiled
from jaxtyping import Array, Float32, Float64

from functa_store.config import ConvertConfig, FitConfig
from functa_store.learn.devices import (
    compile_within_memory,
    each,
    free_bytes,
    microbatch_sizes,
    num_devices,
    on_devices,
    over_devices,
    shared_jit,
)
from functa_store.learn.fit import Fit, Shared, mean_psnr
from functa_store.learn.inner_loop import Steps, extend
from functa_store.learn.meta_learn import Snapshots, keep
from functa_store.learn.outer_loop import Base
from functa_store.learn.training_set import TrainingSet
from functa_store.metrics import psnr_mean
from functa_store.progress import (
    Note,
    Report,
    Tuned,
    silent,
)

FACTOR_RATE = 0.05
"""Adam's rate for the logarithms of the factors on the learning rates."""

MOMENTUM_RATE = 0.02
"""Adam's rate for the momenta."""

MAX_GRADIENT_NORM = 1.0

logger = logging.getLogger(__name__)


class Adjustment(NamedTuple):
    """What tuning learns, one of each per step and modulation dimension.

    Attributes:
        log_factors: Logarithms of what the learning rates are multiplied by, which stay positive so.
        momenta: The momenta.
    """

    log_factors: Float32[Array, "steps modulation"]
    momenta: Float32[Array, "steps modulation"]


class Tuning(NamedTuple):
    """A moment of tuning, from which it goes on exactly.

    Attributes:
        step: Updates so far.
        adjustment: What has been learned.
        moments: State of the optimiser.
        microbatch_size: Examples that a device takes together, as first decided; 0 for not yet.
        psnr: Mean PSNR of the monitored examples before and after, in decibels; empty until both are known.
    """

    step: int
    adjustment: Adjustment
    moments: optax.OptState
    microbatch_size: int
    psnr: Float64[np.ndarray, " before_and_after"]


class ReadyFit(NamedTuple):
    """A fit that can begin.

    Attributes:
        fit: The compiled fit.
        shared: What all examples share, its steps tuned.
        config: Steps and points as they were decided; `tuning_steps` is 0 if the learned rates were kept.
    """

    fit: Fit
    shared: Shared
    config: FitConfig


def tune(
    base: Base,
    training: TrainingSet,
    config: ConvertConfig,
    *,
    report: Report = silent,
    snapshots: Snapshots | None = None,
) -> ReadyFit:
    """The fit of a conversion, its rates and momenta tuned to a finished base.

    Learned on the examples that the base was learned on, and taken if they fit the monitored ones better, by PSNR
    even where ones count more, than the rates it was learned with. The test split is never looked at.

    Args:
        base: The finished base.
        training: The examples that the base was learned on, and those that decide.
        config: The conversion.
        report: Told of the progress after every update.
        snapshots: Where to take up an interrupted run, and where to leave one.

    Returns:
        The fit, ready.

    Raises:
        ConfigError: If memory does not hold a single example.
        MemberError: If an example cannot be read any more, or is not finite.
    """
    fit = Fit(base.graph, config, training.source)
    untuned = ReadyFit(
        fit,
        fit.prepare(base.learnable.base, extend(base.learnable.rates, config.fit.num_steps)),
        dataclasses.replace(fit.plan.config.fit, tuning_steps=0),
    )
    if config.fit.tuning_steps == 0:
        return untuned
    tuner = _Tuner(fit, untuned.shared, training, config, report)
    latest = tuner.begin()
    if snapshots is not None:
        latest = snapshots.load(latest) or latest
    latest = keep(tuner.run(latest), latest, snapshots)
    before, after = latest.psnr
    return ReadyFit(fit, tuner.tuned(latest), fit.plan.config.fit) if after > before else untuned


class _Tuner:
    """The compiled update and fixed choices of one tuning."""

    def __init__(self, fit: Fit, shared: Shared, training: TrainingSet, config: ConvertConfig, report: Report) -> None:
        self.fit, self.start, self.training, self.config, self.report = fit, shared, training, config, report
        self.group, self.mesh = training.group, training.group.mesh(training.batch_size)
        devices = num_devices(training.batch_size)
        if self.mesh is not None:
            self.shared = self.group.copied(jax.device_get(shared), self.mesh)
        else:
            self.shared = shared if devices == jax.local_device_count() else on_devices(shared, devices)
        optimizers = [
            optax.adam(optax.cosine_decay_schedule(rate, config.fit.tuning_steps))
            for rate in (FACTOR_RATE, MOMENTUM_RATE)
        ]
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(MAX_GRADIENT_NORM),
            optax.partition(dict(enumerate(optimizers)), Adjustment(0, 1)),  # type: ignore[arg-type]
        )

    def begin(self) -> Tuning:
        adjustment = Adjustment(jnp.zeros_like(self.start.steps.rates), self.start.steps.momenta)
        return jax.device_get(Tuning(0, adjustment, self.optimizer.init(adjustment), 0, np.zeros(0)))

    def tuned(self, tuning: Tuning) -> Shared:
        """What examples share, with the steps as they are now."""
        return self.start._replace(steps=on_devices(self._steps(tuning.adjustment), jax.local_device_count()))

    def run(self, tuning: Tuning) -> Iterator[Tuning]:
        """Yield the state after every update, and once more with the PSNRs before and after."""
        update = None
        for raw in self.training.tuning_batches(tuning.step, self.config.fit.tuning_steps):
            if update is None:
                update, size = self._compile(tuning, raw)
                tuning = tuning._replace(microbatch_size=size)
            # To the host before the next update: two programs in flight can wait for each other's cores.
            self.group.meet()
            with self.group.program():
                batch = self.group.spread(raw, self.mesh)
                gradient, losses = jax.device_get(update(self.shared, tuning.adjustment, batch))
            tuning = self._update(tuning._replace(step=tuning.step + 1), gradient, losses)
            yield tuning  # before the report, which may raise: a state that was yielded can be kept
            psnr = psnr_mean(losses, self.fit.plan.features.span)
            self.report(Tuned(step=tuning.step, num_steps=self.config.fit.tuning_steps, psnr=psnr))
        if not len(tuning.psnr):
            before, after = (
                mean_psnr(self.fit, shared, self.training.reader, self.training.monitored, self.group)
                for shared in (self.start, self.tuned(tuning))
            )
            yield tuning._replace(psnr=np.array([before, after]))
            self.report(Note(message=f"tuned the fit: {before:.2f} -> {after:.2f} dB on the monitored examples"))

    def _steps(self, adjustment: Adjustment) -> Steps:
        return Steps(self.start.steps.rates * jnp.exp(adjustment.log_factors), jnp.asarray(adjustment.momenta))

    def _update(self, tuning: Tuning, gradient: Adjustment, losses: np.ndarray) -> Tuning:
        if not all(np.isfinite(array).all() for array in (losses, *gradient)):
            logger.warning("a loss is not finite at tuning step %d; this update is left out", tuning.step)
            return tuning
        updates, moments = self.optimizer.update(gradient, tuning.moments, tuning.adjustment)
        adjustment: Any = optax.apply_updates(tuning.adjustment, updates)
        return jax.device_get(tuning._replace(adjustment=adjustment, moments=moments))

    def _compile(self, tuning: Tuning, raw: np.ndarray) -> tuple[Compiled, int]:
        batch = self.group.spread(raw, self.mesh)

        def compile(microbatch_size: int) -> Compiled:
            gradient = shared_jit(functools.partial(self._gradient, microbatch_size), self.mesh)
            return gradient.lower(self.shared, tuning.adjustment, batch).compile()

        wanted, part = tuning.microbatch_size or self.config.outer.microbatch_size, len(raw)
        sizes = microbatch_sizes(wanted, part, self.group.fewest_devices())
        return compile_within_memory("an update of tuning", compile, sizes, free_bytes(), self.group.most)

    def _gradient(
        self, microbatch_size: int, shared: Shared, adjustment: Adjustment, raw: Array
    ) -> tuple[Adjustment, Array]:
        """Gradient of a batch's mean loss after the fit, and the loss of each example."""

        def one(shared: Shared, *example: Array) -> tuple[Array, Adjustment]:
            def loss(adjustment: Adjustment) -> Array:
                adjusted = shared._replace(steps=self._steps(adjustment))
                return self.fit.tuned_error(shared, example[0], self.fit.modulate(adjusted, *example))

            return jax.value_and_grad(loss)(adjustment)

        def part(shared: Shared, raw: Array) -> tuple[Array, Adjustment]:
            return each(one, shared, self.fit.inputs(shared, raw), microbatch_size)

        losses, gradient = over_devices(part, shared, (raw,), self.mesh)
        return jax.tree.map(lambda g: g / len(losses), gradient), losses
