"""The outer loop: one compiled step of a base network, its state and its learning-rate schedule.

The rates rise linearly, stay, and fall along a cosine to zero over the last part of the steps
(warm-up, stable, decay). Up to the start of the fall a schedule is the same whatever its length:
a time budget may decide the length only there, and the steps that it took, given as a number,
reproduce it exactly.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Wrapped
from jaxtyping import Array, Float, Float32, Int

from functa_store.config import BaseDtype, ConvertConfig, MatmulPrecision, OuterLoopConfig
from functa_store.learn.devices import each, over_devices, shared_jit
from functa_store.learn.grid_observers import with_same_cells
from functa_store.learn.inner_loop import (
    Predict,
    Target,
    descend,
    error_and_gradient,
    rates_of_cells,
    reconstruction_error,
    weigh_ones,
)
from functa_store.learn.observer import Observer
from functa_store.learn.tiling import Projection, tile_rows
from functa_store.nets.siren import init_siren

LOWEST_RATE = 1e-6

LOOKS_STREAM = 1
"""Keeps what is random about a look apart from the choice of rows."""


class Learnable(NamedTuple):
    """What the outer loop learns: the base network and the inner loop's rates."""

    base: nnx.State
    rates: Float32[Array, "steps numbers"]


class LearnState(NamedTuple):
    """A moment of meta-learning, from which it goes on exactly."""

    learnable: Learnable
    moments: optax.OptState


OuterStep = Wrapped
"""A jitted function; see `make_outer_step`."""


def init_learnable(
    config: ConvertConfig, num_inputs: int, num_channels: int, closed: tuple[bool, ...] = ()
) -> tuple[nnx.GraphDef, Learnable]:
    """The network's structure, and its initial weights with constant inner rates; arguments as for `init_siren`."""
    graph, base = nnx.split(init_siren(config.network, num_inputs, num_channels, config.seed, closed))
    shape = (config.inner.num_steps, config.network.cell_size)
    return graph, Learnable(base, jnp.full(shape, config.inner.learning_rate, jnp.float32))


def make_optimizer(config: OuterLoopConfig) -> optax.GradientTransformation:
    """Adam with a rate of its own for the SIREN, the map to shifts, and the inner rates."""
    rates = {"siren": config.learning_rate, "map": config.map_learning_rate, "rates": config.rates_learning_rate}

    def kind(path: tuple, _: Array) -> str:
        return "map" if path[0].key == "map" else "siren"

    def kinds(learnable: Learnable) -> Learnable:
        return Learnable(jax.tree_util.tree_map_with_path(kind, learnable.base), "rates")  # type: ignore[arg-type]

    return optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm),
        optax.partition({name: optax.adam(rate) for name, rate in rates.items()}, kinds),
    )


def loss_after_inner_loop(
    learnable: Learnable,
    graph: nnx.GraphDef,
    predict: Predict,
    looks: Target,
    precision: MatmulPrecision = "float32",
    share: float = 1.0,
    at_zero: Callable[[Target], tuple[Array, Array]] | None = None,
) -> Float[Array, ""]:
    """Reconstruction error of one example after the inner loop; differentiable through all its steps.

    Args:
        learnable: Base weights and inner rates.
        graph: Structure of the base network.
        predict: What a function looks like at places; see `observing`.
        looks: With a leading axis: each inner step looks at a part of its own, the outer loss at the last one.
        precision: Of the products between hidden layers.
        share: Share of a spatial modulation's cells that the looks see.
        at_zero: Error and gradient of a look at the zero modulation, if they are known otherwise.
    """
    base = nnx.merge(graph, learnable.base)

    def look(step: Int[Array, ""] | int) -> Target:
        return jax.tree.map(lambda array: array[step], looks)

    def gradient(modulation: Array, step: Array) -> Array:
        return error_and_gradient(predict, base, modulation, look(step), precision)[1]

    first = None if at_zero is None else at_zero(look(0))[1]
    modulation = descend(gradient, rates_of_cells(base.config, learnable.rates, share), first)
    return reconstruction_error(predict, base, modulation, look(-1), precision)


def make_outer_step(
    graph: nnx.GraphDef,
    config: ConvertConfig,
    observer: Observer,
    microbatch_size: int = 1,
    mesh: Mesh | None = None,
) -> OuterStep:
    """The compiled outer step.

    Args:
        graph: Structure of the base network.
        config: The conversion.
        observer: How an example is looked at.
        microbatch_size: Examples that a device takes together, a divisor of its share; gradients add up.
        mesh: Devices of several processes that share the batch, as for `over_devices`.

    Returns:
        A function (state, raw, key, scale) -> (state, losses), where `raw` are a source's values of
        a batch (examples, rows, raw channels), `key` draws the rows, and `scale` multiplies the
        learning rates; the losses are those of the batch's examples before the update.
    """
    optimizer = make_optimizer(config.outer)
    num_rows = min(config.outer.num_points or observer.num_rows, observer.num_rows)
    tile = tile_rows(config.fit.tile_points, observer.evaluations)
    draws = observer.draws(num_rows, tile)
    same = with_same_cells(observer, tile) if draws.whole_cells else None
    num_looks = config.inner.num_steps + 1

    def shared_by_examples(learnable: Learnable) -> tuple[Learnable, Projection | None]:
        if same is None:
            return learnable, None
        return learnable, same.project(nnx.merge(graph, learnable.base), config.matmul_precision)

    def loss(shared: tuple[Learnable, Projection | None], looks: Target) -> Array:
        learnable, projection = shared
        at_zero = None if same is None or projection is None else functools.partial(same.at_zero, projection)
        return loss_after_inner_loop(
            learnable, graph, observer.predict, looks, config.matmul_precision, draws.share, at_zero
        )

    def one_example(shared: tuple[Learnable, Projection | None], raw: Array, key: Array) -> tuple[Array, Any]:
        rows, counts = draws.rows(key, num_looks)
        keys = jax.random.split(jax.random.fold_in(key, LOOKS_STREAM), num_looks)
        looks = jax.vmap(lambda rows, counts, key: observer.look(raw, rows, counts, key))(rows, counts, keys)
        return jax.value_and_grad(loss)(shared, weigh_ones(looks, config.weight_of_ones))

    def part(shared: tuple[Learnable, Projection | None], raw: Array, keys: Array) -> tuple[Array, Any]:
        return each(one_example, shared, (raw, keys), microbatch_size)

    def outer_step(state: LearnState, raw: Array, key: Array, scale: Array) -> tuple[LearnState, Array]:
        shared, pull_back = jax.vjp(shared_by_examples, state.learnable)
        losses, gradient = over_devices(part, shared, (raw, jax.random.split(key, len(raw))), mesh)
        (gradient,) = pull_back(jax.tree.map(lambda g: g / len(raw), gradient))
        updates, moments = optimizer.update(gradient, state.moments, state.learnable)
        base, rates = jax.tree.map(lambda value, update: value + scale * update, state.learnable, updates)
        return LearnState(Learnable(base, jnp.maximum(rates, LOWEST_RATE)), moments), losses

    return shared_jit(outer_step, mesh)


def decay_start(config: OuterLoopConfig, num_steps: int) -> int:
    """The first outer step of the fall."""
    return math.floor(num_steps * (1 - config.decay_fraction))


def fix_num_steps(config: OuterLoopConfig, step: int, seconds: float) -> int | None:
    """Outer steps that fit into the time budget, once enough of it has passed to tell.

    Args:
        config: With the time budget in seconds.
        step: Outer steps so far.
        seconds: Time that they took.

    Returns:
        The number of outer steps, whose fall starts no earlier than `step`; None for not yet.
    """
    if config.time_budget is None or step == 0 or seconds < config.time_budget * (1 - config.decay_fraction):
        return None
    num_steps = math.ceil(step / (1 - config.decay_fraction))
    while decay_start(config, num_steps) < step:
        num_steps += 1
    return num_steps


def rate_scale(config: OuterLoopConfig, step: int, num_steps: int | None, rollbacks: int = 0) -> np.float32:
    """Factor on every learning rate at an outer step (from 0), in [0, 1]; half as much after each roll-back."""
    highest = min(1.0, (step + 1) / (config.warmup_steps + 1)) * 0.5**rollbacks
    if num_steps is None or step < (start := decay_start(config, num_steps)):
        return np.float32(highest)
    return np.float32(highest * 0.5 * (1 + math.cos(math.pi * (step - start + 1) / (num_steps - start + 1))))


class Base(NamedTuple):
    """A finished base network.

    Attributes:
        graph: Structure of the network.
        learnable: Its weights and the inner loop's rates.
        num_steps: Outer steps that it took.
        psnr: Mean PSNR of the monitored examples in decibels.
    """

    graph: nnx.GraphDef
    learnable: Learnable
    num_steps: int
    psnr: float


def round_base(base: Base, dtype: BaseDtype) -> Base:
    """The base network that its weights are after they were stored as `dtype`; the inner loop's rates stay."""
    weights = jax.tree.map(lambda array: np.asarray(array, dtype).astype(np.float32), base.learnable.base)
    return base._replace(learnable=base.learnable._replace(base=weights))
