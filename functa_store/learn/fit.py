"""How are examples fitted once the base network is learned?"""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Num

from functa_store.config import ConvertConfig, MatmulPrecision
from functa_store.errors import ConfigError
from functa_store.feed import Feed
from functa_store.learn.inner_loop import Steps, descend_safely
from functa_store.learn.losses import Target, error_and_gradient, reconstruction_error
from functa_store.learn.parallel import copies, each, on_devices, one_at_a_time, over_devices
from functa_store.learn.projection import Projection, is_small, project
from functa_store.learn.sizes import FIT_BATCH, fit_batch_size, timed
from functa_store.learn.views import View, choose_stride, strided, tile_points, whole
from functa_store.metrics import psnr_mean
from functa_store.sources import Source

MOST_LIFTED_BYTES = 2**28
"""Size up to which the first layer's product with the grid is kept for all examples."""


class Shared(NamedTuple):
    """What the fits of all examples have in common, on every device.

    Attributes:
        base: Weights of the base network.
        steps: Rates and momenta.
        lifted: Points of the steps and of the final error after the first layer; None for large grids.
        projection: The first gradient as a map of features; None where it is too large.
    """

    base: nnx.State
    steps: Steps
    lifted: tuple[Array, Array] | None
    projection: Projection | None


class Fit:
    """The compiled fit of a batch.

    Args:
        graph: Structure of the base network.
        config: The conversion; the final error is float32 whatever its `matmul_precision`.
        source: Where the examples are sampled, and what their raw values mean.

    Attributes:
        span: Width of the data range, which PSNRs are relative to.
        config: The steps and points, everything automatic decided.
        passes: Arithmetic of one fit in forward passes over the whole grid: two per step, as far as it is
            computed, and one for the final error.
    """

    def __init__(self, graph: nnx.GraphDef, config: ConvertConfig, source: Source) -> None:
        domain, spec, size = source.domain, source.features, config.network.modulation_size
        tile = tile_points(config.fit.tile_points)
        stride = config.fit.stride or choose_stride(domain, spec.num_channels, size)
        self.span = spec.span
        self.config = dataclasses.replace(config.fit, stride=stride, tile_points=tile)
        self._graph, self._spec = graph, spec
        self._precision: MatmulPrecision = config.matmul_precision
        self._coords = domain.coords()
        self._projected = is_small(domain.num_points, spec.num_channels, size)
        self._lifted = copies() * 8 * domain.num_points * config.network.width <= MOST_LIFTED_BYTES
        further = config.fit.num_steps - 1
        self._whole = whole(domain.num_points, tile)
        self._phases = strided(domain, stride, max(further, 1), tile)
        share = np.count_nonzero(self._phases.weights[0]) / domain.num_points
        self.passes = 1 + 2 * (not self._projected) + 2 * further * share
        self._prepare = jax.jit(self._share)
        self._fit = jax.jit(lambda shared, raw: over_devices(self._fit_part, shared, (raw,))[0])

    def prepare(self, base: nnx.State, steps: Steps) -> Shared:
        """Compute what all examples share; once per base network."""
        return on_devices(self._prepare(jax.device_get(base), jax.device_get(steps)), jax.local_device_count())

    def __call__(
        self, shared: Shared, raw: Num[Array | np.ndarray, "examples points channels"]
    ) -> tuple[Float32[Array, "examples modulation"], Float32[Array, " examples"]]:
        """Fit a batch.

        Args:
            shared: From `prepare`.
            raw: A source's values (examples, points, channels), as many on each device.

        Returns:
            Modulations, and mean squared errors over the whole grid in the squared unit of the features.
            An example's result does not depend on the others of its batch.

        Raises:
            ConfigError: If the devices cannot share the batch equally.
        """
        if len(raw) % (devices := jax.local_device_count()):
            raise ConfigError(
                f"a fit got {len(raw)} examples, expected a multiple of the {devices} devices; fill it up"
            )
        return self._fit(shared, raw)

    def inputs(self, shared: Shared, raw: Num[Array, "examples points channels"]) -> tuple[Array, ...]:
        """What `fit_one` takes of each example: its features, and error and gradient of step 0 if it is a product."""
        features = raw.astype(jnp.float32) * self._spec.scale + self._spec.offset
        return (features,) if shared.projection is None else (features, *shared.projection(features))

    def fit_one(
        self,
        shared: Shared,
        features: Float[Array, "points channels"],
        *first: Float[Array, "..."],
    ) -> tuple[Float[Array, " modulation"], Float[Array, ""]]:
        """Modulation and mean squared error of one example; differentiable in `shared.steps`."""
        base, (lifted, lifted_whole) = nnx.merge(self._graph, shared.base), shared.lifted or (None, None)
        everything = self._target(self._whole, features, lifted_whole)
        phases = self._target(self._phases, features, lifted)
        zero = jnp.zeros(shared.steps.rates.shape[-1], features.dtype)
        start = (first[0], first[1]) if first else error_and_gradient(base, zero, everything, self._precision)

        def of_phase(modulation: Array, step: Array) -> tuple[Array, Array]:
            phase = jax.tree.map(lambda array: array[(step - 1) % len(self._phases.points)], phases)
            return error_and_gradient(base, modulation, phase, self._precision)

        modulation = descend_safely(of_phase, shared.steps, start)
        return modulation, reconstruction_error(base, base.shifts(modulation), everything)

    def _share(self, base: nnx.State, steps: Steps) -> Shared:
        network, coords = nnx.merge(self._graph, base), jnp.asarray(self._coords)
        projection = project(network, coords, self._whole, self._precision) if self._projected else None
        lifted = network.lift(coords) if self._lifted else None
        views = None if lifted is None else (lifted[self._phases.points], lifted[self._whole.points])
        return Shared(base, steps, views, projection)

    def _fit_part(self, shared: Shared, raw: Array) -> tuple[tuple[Array, Array], tuple[()]]:
        def one(shared: Shared, *example: Array) -> tuple[tuple[Array, Array], tuple[()]]:
            return self.fit_one(shared, *example), ()

        return each(one, shared, self.inputs(shared, raw), 1 if one_at_a_time() else len(raw))

    def _target(self, view: View, features: Array, lifted: Array | None) -> Target:
        return Target(jnp.asarray(self._coords)[view.points], features[view.points], jnp.asarray(view.weights), lifted)


def choose_batch_size(fit: Fit, shared: Shared, source: Source, wanted: int | None, most: int) -> int:
    """Examples per call of a fit, a multiple of the number of devices; see `sizes.fit_batch_size`.

    Args:
        fit: The compiled fit.
        shared: From its `prepare`.
        source: The examples.
        wanted: What the user asked for.
        most: Examples that are fitted in a row.
    """
    example = source.read(0).reshape(source.domain.num_points, -1)

    def time_of(size: int) -> float:
        return timed(fit, shared, np.repeat(example[None], size, axis=0))

    return fit_batch_size(wanted, 4 * example.size, most, time_of)


def in_batches(start: int, stop: int, batch_size: int) -> list[np.ndarray]:
    """Consecutive numbers in batches, the last one perhaps short."""
    return np.split(np.arange(start, stop), range(batch_size, stop - start, batch_size))


def fit_examples(fit: Fit, shared: Shared, feed: Feed, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modulations and mean squared errors of a few examples, all at once in memory; see `fit_batches`."""
    devices = jax.local_device_count()
    batch_size = devices * min(FIT_BATCH, -(-len(indices) // devices))
    batches = [indices[batch] for batch in in_batches(0, len(indices), batch_size)]
    modulations, mse = zip(*fit_batches(fit, shared, feed, batches, batch_size), strict=True)
    return np.concatenate(modulations), np.concatenate(mse)


def mean_psnr(fit: Fit, shared: Shared, feed: Feed, indices: np.ndarray) -> float:
    """Mean PSNR of a few examples in decibels."""
    return psnr_mean(fit_examples(fit, shared, feed, indices)[1], fit.span)


def fit_batches(
    fit: Fit, shared: Shared, feed: Feed, batches: Sequence[np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fit batches of examples with one compilation; the next one starts while one is consumed.

    Args:
        fit: The compiled fit.
        shared: From its `prepare`.
        feed: Reads the examples ahead of the device.
        batches: Which examples.
        batch_size: Examples per call of `fit`, a multiple of the number of devices; no batch is larger.

    Yields:
        Modulations and mean squared errors of one batch after the other. A batch is filled up by
        repetition and cut again.
    """
    started = collections.deque()
    for batch, raw in zip(batches, feed.batches(np.resize(batch, batch_size) for batch in batches), strict=True):
        started.append((len(batch), fit(shared, raw)))
        if len(started) > 1:
            yield _fetch(*started.popleft())
    while started:
        yield _fetch(*started.popleft())


def _fetch(count: int, fitted: tuple[Array, Array]) -> tuple[np.ndarray, np.ndarray]:
    modulations, mse = fitted
    return np.asarray(modulations)[:count], np.asarray(mse)[:count]
