"""Which rates and momenta fit best in a given number of steps, once the base network is learned?

The base is learned through a few plain gradient steps. More steps, each on a part of the points, fit better
for the same arithmetic, if their rates and momenta suit them: those are learned here, by the gradient of the
error after the fit, with the base held still.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.stages import Compiled
from jaxtyping import Array, Float32

from functa_store.config import ConvertConfig
from functa_store.feed import Feed
from functa_store.learn.fit import Fit, Shared, fit_examples
from functa_store.learn.inner_loop import Steps, extend
from functa_store.learn.meta_learn import Base, choose_examples
from functa_store.learn.parallel import at_once, each, num_devices, on_devices, over_devices
from functa_store.learn.sizes import FIT_BATCH, compile_within_memory, free_bytes
from functa_store.learn.snapshots import Snapshots
from functa_store.metrics import psnr_mean
from functa_store.progress import Note, Report, Tuned, silent
from functa_store.sources import Source

FACTOR_RATE = 0.05
"""Adam's rate for the logarithms of the factors on the learning rates."""

MOMENTUM_RATE = 0.02
"""Adam's rate for the momenta."""

MAX_GRADIENT_NORM = 1.0


class Learned(NamedTuple):
    """What tuning learns, one of each per step and modulation dimension.

    Attributes:
        log_factors: Logarithms of what the learning rates are multiplied by, which stay positive so.
        momenta: The momenta.
    """

    log_factors: Float32[Array, "steps modulation"]
    momenta: Float32[Array, "steps modulation"]


class Tuning(NamedTuple):
    """A moment of tuning, from which it goes on exactly."""

    step: int
    learned: Learned
    moments: optax.OptState


def tune(
    base: Base, source: Source, config: ConvertConfig, *, report: Report = silent, snapshots: Snapshots | None = None
) -> tuple[Fit, Shared]:
    """The fit of a conversion, its rates and momenta tuned to a finished base.

    Learned on the examples that the base was learned on, and taken if they fit the monitored ones better
    than the rates it was learned with. The test split is never looked at.

    Args:
        base: The finished base.
        source: The examples.
        config: The conversion.
        report: Told of the progress after every update.
        snapshots: Where to take up an interrupted run, and where to leave one.

    Returns:
        The fit, and what all examples share, the steps among it.

    Raises:
        ConfigError: If memory does not hold a single example.
        MemberError: If an example cannot be read any more, or is not finite.
    """
    fit = Fit(base.graph, config, config.fit, source)
    start = fit.prepare(base.learnable.base, extend(base.learnable.rates, config.fit.num_steps))
    if config.fit.tuning_steps == 0:
        return fit, start
    tuner = _Tuner(fit, start, source, config)
    latest = tuner.begin()
    if snapshots is not None:
        latest = snapshots.load(latest) or latest
    try:
        for following, losses in tuner.run(latest):
            latest = following
            psnr = psnr_mean(losses, fit.span)
            report(Tuned(step=latest.step, num_steps=config.fit.tuning_steps, psnr=psnr))
            if snapshots is not None:
                snapshots.offer(latest)
    finally:
        if snapshots is not None:
            snapshots.save(latest)
    tuned = start._replace(steps=on_devices(tuner.steps(latest.learned), jax.local_device_count()))
    before, after = tuner.monitor(start), tuner.monitor(tuned)
    gain = f"{before:.2f} -> {after:.2f} dB on the monitored examples"
    report(Note(message=f"tuned the {config.fit.num_steps} steps of the fit: {gain}"))
    return fit, tuned if after > before else start


class _Tuner:
    """The compiled update and fixed choices of one tuning."""

    def __init__(self, fit: Fit, shared: Shared, source: Source, config: ConvertConfig) -> None:
        self.fit, self.config, self.feed = fit, config, Feed(source)
        self.train, self.monitored = choose_examples(source, config.outer.num_monitored)
        self.batch_size = min(config.outer.batch_size, len(self.train))
        self.shared = on_devices(shared, self.batch_size)
        optimizers = [
            optax.adam(optax.cosine_decay_schedule(rate, config.fit.tuning_steps))
            for rate in (FACTOR_RATE, MOMENTUM_RATE)
        ]
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(MAX_GRADIENT_NORM),
            optax.partition(dict(enumerate(optimizers)), Learned(0, 1)),  # type: ignore[arg-type]
        )

    def begin(self) -> Tuning:
        learned = Learned(jnp.zeros_like(self.shared.steps.rates), self.shared.steps.momenta)
        return jax.device_get(Tuning(0, learned, self.optimizer.init(learned)))

    def steps(self, learned: Learned) -> Steps:
        return Steps(self.shared.steps.rates * jnp.exp(learned.log_factors), jnp.asarray(learned.momenta))

    def run(self, tuning: Tuning) -> Iterator[tuple[Tuning, np.ndarray]]:
        """Yield the state and its batch's losses after every update."""
        update = None
        for raw in self.feed.batches(self._indices(tuning.step)):
            update = update or self._compile(tuning.learned, raw)
            gradient, losses = update(self.shared, tuning.learned, raw)
            # To the host before the next update: two programs in flight can wait for each other's cores.
            gradient, losses = jax.device_get((gradient, losses))
            updates, moments = self.optimizer.update(gradient, tuning.moments, tuning.learned)
            learned: Any = optax.apply_updates(tuning.learned, updates)
            tuning = jax.device_get(Tuning(tuning.step + 1, learned, moments))
            yield tuning, losses

    def monitor(self, shared: Shared) -> float:
        """Mean PSNR of the monitored examples; minus infinity if a fit diverges."""
        fitted = fit_examples(self.fit, shared, self.feed, self.monitored, min(FIT_BATCH, len(self.monitored)))
        psnr = psnr_mean(np.concatenate([mse for _, mse in fitted]), self.fit.span)
        return psnr if np.isfinite(psnr) else -np.inf

    def _indices(self, first: int) -> Iterator[np.ndarray]:
        for step in range(first, self.config.fit.tuning_steps):
            rng = np.random.default_rng((self.config.seed, step, self.config.fit.tuning_steps))
            yield rng.choice(self.train, self.batch_size, replace=False)

    def _compile(self, learned: Learned, raw: np.ndarray) -> Compiled:
        share = self.batch_size // num_devices(self.batch_size)
        together = at_once(self.config.outer.microbatch_size, share)

        def compile(together: int) -> Compiled:
            gradient = jax.jit(functools.partial(self._gradient, together))
            return gradient.lower(self.shared, learned, raw).compile()

        return compile_within_memory(compile, together, free_bytes())[0]

    def _gradient(self, together: int, shared: Shared, learned: Learned, raw: Array) -> tuple[Learned, Array]:
        """Gradient of a batch's mean loss after the fit, and the loss of each example."""

        def one(shared: Shared, *example: Array) -> tuple[Array, Learned]:
            def loss(learned: Learned) -> Array:
                return self.fit.fit_one(shared._replace(steps=self.steps(learned)), *example)[1]

            return jax.value_and_grad(loss)(learned)

        def part(shared: Shared, raw: Array) -> tuple[Array, Learned]:
            return each(one, shared, self.fit.examples(shared, raw), together)

        losses, gradient = over_devices(part, shared, (raw,))
        return jax.tree.map(lambda g: g / len(losses), gradient), losses
