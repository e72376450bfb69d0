"""The compiled fit of a batch of modulations, base network held still, and what it costs.

The unit is a forward pass: 2 floating-point operations per weight and point. The published fit of n inner
steps on all points costs 2 n + 1 of them (forward and activation gradient per step, and the final error), a
second-order outer step about 3 (2 n + 1); `Fit.passes` says what a fit costs here.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Num

from functa_store.config import ConvertConfig, MatmulPrecision, NetworkConfig
from functa_store.errors import ConfigError
from functa_store.learn.devices import (
    copies,
    each,
    on_devices,
    one_at_a_time,
    over_devices,
)
from functa_store.learn.inner_loop import (
    Steps,
    Target,
    descend_safely,
    error_and_gradient,
    reconstruction_error,
    weigh_ones,
)
from functa_store.learn.observers import num_step_rows, observer_of
from functa_store.learn.scores import in_order, score
from functa_store.learn.tiling import (
    Projection,
    Tiles,
    all_points,
    choose_stride,
    flat,
    in_tiles,
    is_small,
    project,
    some_rows,
    strided,
    tile_points,
    tile_rows,
)
from functa_store.sources.source import Source

MOST_LIFTED_BYTES = 2**28
"""Size up to which the first layer's product with the grid is kept for all examples."""

TUNED_POINTS = 2**14
"""Most points of an example on which the error is tuned; their activations are computed again for its gradient."""


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
        observer: How an example is looked at.
        span: Width of the data range, which PSNRs are relative to.
        config: The steps and points, everything automatic decided.
        passes: Arithmetic of one fit in forward passes over the whole grid: two per step, as far as it is
            computed, and one for the final error.
    """

    def __init__(self, graph: nnx.GraphDef, config: ConvertConfig, source: Source) -> None:
        self.observer = observer = observer_of(source.domain, source.features)
        spec, size = source.features, config.network.modulation_size
        shape, num_rows = observer.step_shape, num_step_rows(observer)
        stride = config.fit.stride or choose_stride(shape, spec.num_channels, size)
        self.span = spec.span
        self.config = dataclasses.replace(config.fit, stride=stride, tile_points=tile_points(config.fit.tile_points))
        tile = tile_rows(self.config.tile_points, observer)
        self._graph, self._spec = graph, spec
        self._precision: MatmulPrecision = config.matmul_precision
        self._weight_of_ones = config.weight_of_ones
        self._uneven = observer.uneven or config.weight_of_ones != 1
        on_grid = observer.grid is not None
        self._projected = on_grid and is_small(num_rows, spec.num_channels, size)
        self._lifted = on_grid and copies() * 8 * num_rows * config.network.width <= MOST_LIFTED_BYTES
        # Without a grid that all share, the first step costs as much as another one, so it looks at a part, too.
        self._first_strided = int(on_grid)
        further = config.fit.num_steps - self._first_strided
        self._whole = all_points(num_rows, tile)
        self._phases = strided(shape, stride, max(further, 1), tile)
        self._held_out = (
            in_tiles(np.arange(num_rows, observer.num_rows), tile) if observer.num_rows > num_rows else None
        )
        self._tuned_on = some_rows(num_rows, max(1, TUNED_POINTS // observer.evaluations), tile)
        share = np.count_nonzero(self._phases.weights[0]) / num_rows
        self.passes = 1 + 2 * (on_grid and not self._projected) + 2 * further * share
        self._prepare = jax.jit(self._share)
        self._fit = jax.jit(lambda shared, raw: over_devices(self._fit_part, shared, (raw,))[0])

    def prepare(self, base: nnx.State, steps: Steps) -> Shared:
        """Compute what all examples share; once per base network."""
        return on_devices(self._prepare(jax.device_get(base), jax.device_get(steps)), jax.local_device_count())

    def __call__(
        self, shared: Shared, raw: Num[Array | np.ndarray, "examples rows raw"]
    ) -> tuple[Float32[Array, "examples modulation"], Float32[Array, " examples"], Float32[Array, "examples columns"]]:
        """Fit a batch.

        Args:
            shared: From `prepare`.
            raw: A source's values, as many examples on each device.

        Returns:
            Modulations, mean squared errors over all that was fitted in the squared unit of the features, and the
            metrics of the source. An example's result does not depend on the others of its batch.

        Raises:
            ConfigError: If the devices cannot share the batch equally.
        """
        if len(raw) % (devices := jax.local_device_count()):
            raise ConfigError(
                f"a fit got {len(raw)} examples, expected a multiple of the {devices} devices; fill it up"
            )
        return self._fit(shared, raw)

    def inputs(self, shared: Shared, raw: Num[Array, "examples rows raw"]) -> tuple[Array, ...]:
        """What `modulate` takes of each example: its raw values, error and gradient of step 0 if it is a product."""
        if shared.projection is None:
            return (raw,)
        everything = jax.vmap(lambda raw: self.observer.look(raw, *flat(self._whole), None))(raw)
        everything = weigh_ones(everything, self._weight_of_ones)
        weights = everything.weights if self._uneven else None
        return (raw, *shared.projection(everything.features, weights))

    def modulate(
        self, shared: Shared, raw: Num[Array, "rows raw"], *first: Float[Array, "..."]
    ) -> Float[Array, " modulation"]:
        """Modulation of one example; differentiable in `shared.steps`."""
        base, (lifted, lifted_whole) = nnx.merge(self._graph, shared.base), shared.lifted or (None, None)
        phases = self._minimised(raw, self._phases, lifted)

        def of_phase(modulation: Array, step: Array) -> tuple[Array, Array]:
            number = (step - self._first_strided) % len(self._phases.points)
            phase = jax.tree.map(lambda array: array[number], phases)
            return error_and_gradient(self.observer.predict, base, modulation, phase, self._precision)

        zero = jnp.zeros(shared.steps.rates.shape[-1], jnp.float32)
        if first:
            start = (first[0], first[1])
        elif self._first_strided:
            everything = self._minimised(raw, self._whole, lifted_whole)
            start = error_and_gradient(self.observer.predict, base, zero, everything, self._precision)
        else:
            start = of_phase(zero, jnp.zeros((), jnp.int32))
        return descend_safely(of_phase, shared.steps, start)

    def tuned_error(
        self, shared: Shared, raw: Num[Array, "rows raw"], modulation: Float[Array, " modulation"]
    ) -> Float[Array, ""]:
        """What the steps minimise of one example, on as many rows as a tuning looks at."""
        base = nnx.merge(self._graph, shared.base)
        some = self._minimised(raw, self._tuned_on, None)
        return reconstruction_error(self.observer.predict, base, base.shifts(modulation), some)

    def _score(self, shared: Shared, raw: Array, modulation: Array) -> tuple[Array, Array]:
        """Mean squared error of one example on all that was fitted, and its metrics."""
        base, predict = nnx.merge(self._graph, shared.base), self.observer.predict
        shifts, lifted = base.shifts(modulation), None if shared.lifted is None else shared.lifted[1]
        error, metrics = score(predict, base, shifts, self._look(raw, self._whole, lifted), self._spec)
        held_out = jnp.full((), jnp.nan)
        if self._held_out is not None:
            unseen = self._look(raw, self._held_out, None)
            found = reconstruction_error(predict, base, shifts, unseen)
            held_out = jnp.where(jnp.any(unseen.weights > 0), found, jnp.nan)
        return error, in_order(self._spec, metrics, held_out)

    def _share(self, base: nnx.State, steps: Steps) -> Shared:
        network = nnx.merge(self._graph, base)
        if self.observer.grid is None:
            return Shared(base, steps, None, None)
        coords = jnp.asarray(self.observer.grid)
        projection = project(network, coords, self._whole, self._precision) if self._projected else None
        lifted = network.lift(coords) if self._lifted else None
        views = None if lifted is None else (lifted[self._phases.points], lifted[self._whole.points])
        return Shared(base, steps, views, projection)

    def _fit_part(self, shared: Shared, raw: Array) -> tuple[tuple[Array, Array, Array], tuple[()]]:
        def one(shared: Shared, raw: Array, *first: Array) -> tuple[tuple[Array, Array, Array], tuple[()]]:
            modulation = self.modulate(shared, raw, *first)
            return (modulation, *self._score(shared, raw, modulation)), ()

        return each(one, shared, self.inputs(shared, raw), 1 if one_at_a_time() else len(raw))

    def _minimised(self, raw: Array, view: Tiles, lifted: Array | None) -> Target:
        """What the steps see of an example; what is kept of its error and metrics, `_score` sees."""
        return weigh_ones(self._look(raw, view, lifted), self._weight_of_ones)

    def _look(self, raw: Array, view: Tiles, lifted: Array | None) -> Target:
        def look(rows: Array, weights: Array) -> Target:
            return self.observer.look(raw, rows, weights, None)

        arrays = [jnp.asarray(array) for array in view]
        target = jax.vmap(look)(*arrays) if view.points.ndim > 2 else look(*arrays)
        return target if lifted is None else target._replace(places=target.places._replace(lifted=lifted))


EFFICIENCY = 0.6
"""Share of the matrix-product rate that small networks reach, as seen at 128x6."""


def forward_flops(network: NetworkConfig, num_inputs: int, num_channels: int, num_points: int) -> int:
    """Floating-point operations of one forward pass of one example."""
    hidden = (network.depth - 2) * network.width**2
    return 2 * num_points * (num_inputs * network.width + hidden + network.width * num_channels)


def estimate_seconds(config: ConvertConfig, source: Source, fit: Fit) -> tuple[float, float]:
    """Seconds of learning and of fitting, by the cost model and a short probe of this machine.

    Args:
        config: The conversion.
        source: The examples, all of which are fitted.
        fit: How.

    Returns:
        Learning with tuning (nan under a time budget), and fitting.
    """
    rate = EFFICIENCY * matmul_rate()
    shape, observer = (config.network, source.domain.num_inputs, source.features.num_channels), fit.observer
    forward = forward_flops(*shape, num_step_rows(observer) * observer.evaluations) / rate
    rows = min(config.outer.num_points or observer.num_rows, observer.num_rows)
    update = 3 * (2 * config.inner.num_steps + 1) * forward_flops(*shape, rows * observer.evaluations) / rate
    updates = config.outer.num_steps or float("nan")
    learning = config.outer.batch_size * (updates * update + config.fit.tuning_steps * 3 * fit.passes * forward)
    return learning, len(source.ids) * fit.passes * forward


def matmul_rate(size: int = 1024, repeats: int = 8) -> float:
    """Floating-point operations per second of a float32 matrix product on one device."""
    product = jax.jit(lambda a: a @ a / size)
    value = product(jnp.ones((size, size), jnp.float32)).block_until_ready()
    began = time.perf_counter()
    for _ in range(repeats):
        value = product(value)
    value.block_until_ready()
    return repeats * 2 * size**3 / (time.perf_counter() - began)
