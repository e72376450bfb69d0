"""Fits of modulations with the base held still: the compiled fit of a batch, what it costs, many batches through it.

The unit of cost is a forward pass: 2 floating-point operations per weight and point. The published fit of n inner
steps on all points costs 2 n + 1 of them (forward and activation gradient per step, and the final error), a
second-order outer step about 3 (2 n + 1); `FitPlan.passes` says what a fit costs here.
"""

import collections
import dataclasses
import functools
import itertools
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Num

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.domain import Domain, network_inputs
from functa_store.errors import ConfigError
from functa_store.learn.devices import (
    FIT_BATCH,
    copies,
    each,
    first_ones,
    fit_batch_size,
    on_devices,
    one_at_a_time,
    over_devices,
    timed,
    unsplit_jit,
)
from functa_store.learn.grid_observers import CellObserver, with_same_cells
from functa_store.learn.group import ALONE, Group
from functa_store.learn.inner_loop import (
    Steps,
    Target,
    descend_safely,
    error_and_gradient,
    reconstruction_error,
    steps_of_cells,
    weigh_ones,
)
from functa_store.learn.observer import Observer, num_step_rows
from functa_store.learn.observers import observer_of
from functa_store.learn.scores import in_order, score
from functa_store.learn.tiling import (
    Projection,
    Tiles,
    choose_stride,
    flat,
    is_small,
    project,
    some_rows,
    strided,
    tile_points,
    tile_rows,
)
from functa_store.metrics import psnr_mean
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitPlan:
    """What a fit looks at, step by step, and how; decided before anything is compiled. From `plan_fit`.

    Attributes:
        config: The conversion, the stride and the tiles of its fit decided; the final error is float32 whatever its
            `matmul_precision`.
        features: What raw values mean.
        observer: How an example is looked at.
        whole: All points that a fit may look at.
        phases: Those of one further step after the other, in turn.
        held_out: Those on which the fit is measured alone; None if there are none.
        tuned_on: Those on which a tuning minimises the error.
        projected: Whether the first gradient is a product with the features.
        same_cells: The observer, if that product is the same for each cell of a spatial modulation.
        lifted: Whether the first layer's product with the grid is kept for all examples.
        passes: Arithmetic of one fit in forward passes over the whole grid: two per step, as far as it is
            computed, and one for the final error.
    """

    config: ConvertConfig
    features: FeatureSpec
    observer: Observer
    whole: Tiles
    phases: Tiles
    held_out: Tiles | None
    tuned_on: Tiles
    projected: bool
    same_cells: CellObserver | None
    lifted: bool
    passes: float

    @property
    def first_whole(self) -> bool:
        """Whether the first step looks at all points; on a grid that all share, its gradient costs little.

        Without such a grid the first step costs as much as another one, so it looks at a part, too.
        """
        return self.observer.grid is not None

    @property
    def uneven(self) -> bool:
        """Whether points count differently."""
        return self.observer.uneven or self.config.weight_of_ones != 1


def plan_fit(
    config: ConvertConfig, domain: Domain, features: FeatureSpec, *, num_copies: int, observer: Observer | None = None
) -> FitPlan:
    """Decide what the fits of a conversion look at.

    Args:
        config: The conversion.
        domain: Where its examples are sampled.
        features: What their raw values mean.
        num_copies: Of what examples share, in one memory; see `devices.copies`.
        observer: How examples are looked at; None means as their domain has it.
    """
    network, num_channels = config.network, features.num_channels
    observer, size = observer or observer_of(domain, features, network), network.modulation_size
    num_rows, on_grid = num_step_rows(observer), observer.grid is not None
    stride = config.fit.stride or choose_stride(observer.step_shape, num_channels, size)
    steps = dataclasses.replace(config.fit, stride=stride, tile_points=tile_points(config.fit.tile_points))
    tile = tile_rows(steps.tile_points, observer.evaluations)
    further = steps.num_steps - on_grid
    rows, counts = strided(observer.step_shape, stride, max(further, 1))
    phases = observer.tiles(rows, tile, counts)
    same = with_same_cells(observer, tile)
    if network.modulation_grid is None:
        projected = on_grid and is_small(num_rows, num_channels, size)
    else:
        projected = same is not None and is_small(num_rows // network.num_cells, num_channels, network.cell_size)
    unseen = np.arange(num_rows, observer.num_rows)
    share = np.count_nonzero(phases.weights[0]) / num_rows
    return FitPlan(
        config=dataclasses.replace(config, fit=steps),
        features=features,
        observer=observer,
        whole=observer.tiles(np.arange(num_rows), tile),
        phases=phases,
        held_out=observer.tiles(unseen, tile) if len(unseen) else None,
        tuned_on=observer.tiles(some_rows(num_rows, max(1, TUNED_POINTS // observer.evaluations)), tile),
        projected=projected,
        same_cells=same,
        # two views of float32, of the steps and of the final error
        lifted=on_grid
        and network.modulation_grid is None
        and num_copies * 8 * num_rows * network.width <= MOST_LIFTED_BYTES,
        passes=1 + 2 * (on_grid and not projected) + 2 * further * share,
    )


@runtime_checkable
class Sampled(Protocol):
    """Examples as far as a fit has to know them; a source is such a one."""

    @property
    def domain(self) -> Domain:
        """Where they are sampled."""
        ...

    @property
    def features(self) -> FeatureSpec:
        """What their raw values mean."""
        ...


class Fit:
    """The compiled fit of a batch.

    Args:
        graph: Structure of the base network.
        config: The conversion.
        source: Where the examples are sampled, and what their raw values mean: a source, or whatever has both.
        observer: How examples are looked at; None means as their domain has it.

    Attributes:
        plan: What is compiled.
    """

    def __init__(
        self, graph: nnx.GraphDef, config: ConvertConfig, source: Sampled, observer: Observer | None = None
    ) -> None:
        self.plan = plan_fit(config, source.domain, source.features, num_copies=copies(), observer=observer)
        self._graph = graph
        self._prepare = jax.jit(self._share)
        self._fit = unsplit_jit(lambda shared, *batch: over_devices(self._fit_part, shared, batch)[0])

    def prepare(self, base: nnx.State, steps: Steps) -> Shared:
        """Compute what all examples share; once per base network."""
        return on_devices(self._prepare(jax.device_get(base), jax.device_get(steps)), jax.local_device_count())

    def __call__(
        self,
        shared: Shared,
        raw: Num[Array | np.ndarray, "examples rows raw"],
        wanted: Bool[np.ndarray, " examples"] | None = None,
    ) -> tuple[Float32[Array, "examples modulation"], Float32[Array, " examples"], Float32[Array, "examples columns"]]:
        """Fit a batch.

        Args:
            shared: From `prepare`.
            raw: A source's values, as many examples on each device.
            wanted: Which examples are fitted, of those on a device the first ones; None for all. On a CPU the others
                cost no steps, and what is returned of them means nothing.

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
        return self._fit(shared, raw, np.ones(len(raw), bool) if wanted is None else wanted)

    def inputs(self, shared: Shared, raw: Num[Array, "examples rows raw"]) -> tuple[Array, ...]:
        """What `modulate` takes of each example: its raw values, error and gradient of step 0 if it is a product."""
        if shared.projection is None or self.plan.same_cells is not None:
            return (raw,)
        everything = jax.vmap(lambda raw: self.plan.observer.look(raw, *flat(self.plan.whole), None))(raw)
        everything = weigh_ones(everything, self.plan.config.weight_of_ones)
        weights = everything.weights if self.plan.uneven else None
        return (raw, *shared.projection(everything.features, weights))

    def modulate(
        self, shared: Shared, raw: Num[Array, "rows raw"], *first: Float[Array, "..."]
    ) -> Float[Array, " modulation"]:
        """Modulation of one example; differentiable in `shared.steps`."""
        plan, predict, precision = self.plan, self.plan.observer.predict, self.plan.config.matmul_precision
        base, (lifted, lifted_whole) = nnx.merge(self._graph, shared.base), shared.lifted or (None, None)
        phases = self._minimised(raw, plan.phases, lifted)

        def of_phase(modulation: Array, step: Array) -> tuple[Array, Array]:
            number = (step - int(plan.first_whole)) % len(plan.phases.points)
            phase = jax.tree.map(lambda array: array[number], phases)
            return error_and_gradient(predict, base, modulation, phase, precision)

        zero = jnp.zeros(plan.config.network.modulation_size, jnp.float32)
        if first:
            start = (first[0], first[1])
        elif plan.first_whole:
            everything = self._minimised(raw, plan.whole, lifted_whole)
            if plan.same_cells is not None and shared.projection is not None:
                start = plan.same_cells.at_zero(shared.projection, everything)
            else:
                start = error_and_gradient(predict, base, zero, everything, precision)
        else:
            start = of_phase(zero, jnp.zeros((), jnp.int32))
        return descend_safely(of_phase, steps_of_cells(plan.config.network, shared.steps), start)

    def tuned_error(
        self, shared: Shared, raw: Num[Array, "rows raw"], modulation: Float[Array, " modulation"]
    ) -> Float[Array, ""]:
        """What the steps minimise of one example, on as many rows as a tuning looks at."""
        base = nnx.merge(self._graph, shared.base)
        some = self._minimised(raw, self.plan.tuned_on, None)
        return reconstruction_error(self.plan.observer.predict, base, modulation, some)

    def _score(self, shared: Shared, raw: Array, modulation: Array) -> tuple[Array, Array]:
        """Mean squared error of one example on all that was fitted, and its metrics."""
        base, predict = nnx.merge(self._graph, shared.base), self.plan.observer.predict
        lifted = None if shared.lifted is None else shared.lifted[1]
        error, metrics = score(predict, base, modulation, self._look(raw, self.plan.whole, lifted), self.plan.features)
        held_out = jnp.full((), jnp.nan)
        if self.plan.held_out is not None:
            unseen = self._look(raw, self.plan.held_out, None)
            found = reconstruction_error(predict, base, modulation, unseen)
            held_out = jnp.where(jnp.any(unseen.weights > 0), found, jnp.nan)
        return error, in_order(self.plan.features, metrics, held_out)

    def _share(self, base: nnx.State, steps: Steps) -> Shared:
        plan, network = self.plan, nnx.merge(self._graph, base)
        if plan.observer.grid is None:
            return Shared(base, steps, None, None)
        coords, precision = jnp.asarray(plan.observer.grid), plan.config.matmul_precision
        projection = None
        if plan.projected:
            same = plan.same_cells
            on_grid = functools.partial(project, coords=coords, view=plan.whole)
            projection = (on_grid if same is None else same.project)(network, precision=precision)
        lifted = network.lift(coords) if plan.lifted else None
        views = None if lifted is None else (lifted[plan.phases.points], lifted[plan.whole.points])
        return Shared(base, steps, views, projection)

    def _fit_part(self, shared: Shared, raw: Array, wanted: Array) -> tuple[tuple[Array, Array, Array], tuple[()]]:
        def one(shared: Shared, raw: Array, *first: Array) -> tuple[Array, Array, Array]:
            modulation = self.modulate(shared, raw, *first)
            return (modulation, *self._score(shared, raw, modulation))

        inputs = self.inputs(shared, raw)
        if one_at_a_time():
            return first_ones(one, shared, inputs, jnp.sum(wanted)), ()
        return each(lambda *example: (one(*example), ()), shared, inputs, len(raw))

    def _minimised(self, raw: Array, view: Tiles, lifted: Array | None) -> Target:
        """What the steps see of an example; what is kept of its error and metrics, `_score` sees."""
        return weigh_ones(self._look(raw, view, lifted), self.plan.config.weight_of_ones)

    def _look(self, raw: Array, view: Tiles, lifted: Array | None) -> Target:
        def look(rows: Array, weights: Array) -> Target:
            return self.plan.observer.look(raw, rows, weights, None)

        arrays = [jnp.asarray(array) for array in view]
        phased = view.points.ndim > 1 + self.plan.observer.tile_axes
        target = jax.vmap(look)(*arrays) if phased else look(*arrays)
        return target if lifted is None else target._replace(places=target.places._replace(lifted=lifted))


EFFICIENCY = 0.6
"""Share of the matrix-product rate that small networks reach, as seen at 128x6."""


def forward_flops(network: NetworkConfig, num_inputs: int, num_channels: int, num_points: int) -> int:
    """Floating-point operations of one forward pass of one example."""
    hidden = (network.depth - 2) * network.width**2
    return 2 * num_points * (num_inputs * network.width + hidden + network.width * num_channels)


def estimate_seconds(source: Source, plan: FitPlan) -> tuple[float, float]:
    """Seconds of learning and of fitting, by the cost model and a short probe of this machine.

    Args:
        source: The examples, all of which are fitted.
        plan: How, with the conversion.

    Returns:
        Learning with tuning (nan under a time budget), and fitting.
    """
    # CPU cores, which are devices, share a product; accelerators compute one each.
    share = jax.local_device_count() // copies()
    rate, config = EFFICIENCY * matmul_rate() * share, plan.config
    shape, observer = (config.network, network_inputs(source.domain, config.network)), plan.observer
    shape = (*shape, source.features.num_channels)
    forward = forward_flops(*shape, num_step_rows(observer) * observer.evaluations) / rate
    rows = min(config.outer.num_points or observer.num_rows, observer.num_rows)
    update = 3 * (2 * config.inner.num_steps + 1) * forward_flops(*shape, rows * observer.evaluations) / rate
    updates = config.outer.num_steps or float("nan")
    learning = config.outer.batch_size * (updates * update + config.fit.tuning_steps * 3 * plan.passes * forward)
    return learning, len(source.ids) * plan.passes * forward


def matmul_rate(size: int = 1024, repeats: int = 8) -> float:
    """Floating-point operations per second of a float32 matrix product on an accelerator, or all CPU cores."""
    product = jax.jit(lambda a: a @ a / size)
    value = product(jnp.ones((size, size), jnp.float32)).block_until_ready()
    began = time.perf_counter()
    for _ in range(repeats):
        value = product(value)
    value.block_until_ready()
    return repeats * 2 * size**3 / (time.perf_counter() - began)


class FittedExamples(NamedTuple):
    """Some examples, fitted.

    Attributes:
        modulations: Their modulations.
        mse: Mean squared error of each over all that was fitted, in the squared unit of the features.
        metrics: The metrics of the source; see `FeatureSpec.columns`.
    """

    modulations: Float32[np.ndarray, "examples modulation"]
    mse: Float32[np.ndarray, " examples"]
    metrics: Float32[np.ndarray, "examples columns"]


def choose_batch_size(fit: Fit, shared: Shared, feed: BatchReader, wanted: int | None, most: int) -> int:
    """Examples per call of a fit, a multiple of the number of devices; see `devices.fit_batch_size`.

    Args:
        fit: The compiled fit.
        shared: From its `prepare`.
        feed: Reads the examples.
        wanted: What the user asked for.
        most: Examples that are fitted in a row.
    """
    example = next(feed.batches([np.zeros(1, np.int64)]))[0]

    def time_of(size: int) -> float:
        return timed(fit, shared, np.repeat(example[None], size, axis=0))

    return fit_batch_size(wanted, 4 * example.size, most, time_of)


def in_batches(start: int, stop: int, batch_size: int) -> list[np.ndarray]:
    """Consecutive numbers in batches, the last one perhaps short."""
    return np.split(np.arange(start, stop), range(batch_size, stop - start, batch_size))


def fit_examples(fit: Fit, shared: Shared, feed: BatchReader, indices: np.ndarray) -> FittedExamples:
    """A few examples, all at once in memory; see `fit_batches`."""
    devices = jax.local_device_count()
    batch_size = devices * min(FIT_BATCH, -(-len(indices) // devices))
    batches = [indices[batch] for batch in in_batches(0, len(indices), batch_size)]
    return join(fit_batches(fit, shared, feed, batches, batch_size))


def join(fitted: Iterable[FittedExamples]) -> FittedExamples:
    """Batches of fitted examples, joined."""
    return FittedExamples(*map(np.concatenate, zip(*fitted, strict=True)))


def mean_psnr(fit: Fit, shared: Shared, feed: BatchReader, indices: np.ndarray, group: Group = ALONE) -> float:
    """Mean PSNR of a few examples in decibels; each process of a group fits a part of them, and all get the same."""
    each = -(-len(indices) // group.count)
    own = group.part(np.resize(indices, each * group.count))  # filled up by repetition
    mse = group.gather(fit_examples(fit, shared, feed, own).mse).reshape(-1)[: len(indices)]
    return psnr_mean(mse, fit.plan.features.span)


def fit_batches(
    fit: Fit, shared: Shared, feed: BatchReader, batches: Iterable[np.ndarray], batch_size: int
) -> Iterator[FittedExamples]:
    """Fit batches of examples with one compilation; the next one starts while one is consumed.

    Args:
        fit: The compiled fit.
        shared: From its `prepare`.
        feed: Reads the examples ahead of the device.
        batches: Which examples.
        batch_size: Examples per call of `fit`, a multiple of the number of devices; no batch is larger.

    Yields:
        One batch after the other. A batch is filled up by repetition and cut again.
    """
    started = collections.deque()
    listed, read = itertools.tee(batches)
    for batch, raw in zip(listed, feed.batches(np.resize(batch, batch_size) for batch in read), strict=True):
        started.append((len(batch), fit(shared, raw)))
        if len(started) > 1:
            yield _fetch(*started.popleft())
    while started:
        yield _fetch(*started.popleft())


def _fetch(count: int, fitted: tuple[Array, Array, Array]) -> FittedExamples:
    return FittedExamples(*(np.asarray(array)[:count] for array in fitted))
