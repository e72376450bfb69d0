"""How does one outer step improve the base network through the inner loops of a batch?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.stages import Wrapped
from jaxtyping import Array, Float, Float32, Int, Key

from functa_store.config import ConvertConfig, MatmulPrecision, OuterLoopConfig
from functa_store.learn.inner_loop import descend
from functa_store.learn.losses import Target, error_and_gradient, reconstruction_error
from functa_store.learn.parallel import each, over_devices
from functa_store.learn.views import in_tiles, tile_points
from functa_store.nets.siren import init_siren
from functa_store.sources import FeatureSpec

LOWEST_RATE = 1e-6


class Learnable(NamedTuple):
    """What the outer loop learns: the base network and the inner loop's rates."""

    base: nnx.State
    rates: Float32[Array, "steps modulation"]


class LearnState(NamedTuple):
    """A moment of meta-learning, from which it goes on exactly."""

    learnable: Learnable
    moments: optax.OptState


OuterStep = Wrapped
"""A jitted function; see `make_outer_step`."""


def init_learnable(config: ConvertConfig, num_axes: int, num_channels: int) -> tuple[nnx.GraphDef, Learnable]:
    """The network's structure, and its initial weights with constant inner rates."""
    graph, base = nnx.split(init_siren(config.network, num_axes, num_channels, config.seed))
    shape = (config.inner.num_steps, config.network.modulation_size)
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


def sample_points(key: Key[Array, ""], shape: tuple[int, ...], num_points: int) -> Int[Array, "..."]:
    """Random points, one in each of equally long runs (to within one point) of the grid's points.

    Stratification keeps an inner gradient closer to that of the whole grid than
    independent points would, at the same cost.

    Args:
        key: Random key.
        shape: Shape of the result; its last axis counts the runs.
        num_points: Points of the whole grid.

    Returns:
        Indices into the grid's points, ascending along the last axis.
    """
    edges = np.arange(shape[-1] + 1) * num_points // shape[-1]
    return jnp.asarray(edges[:-1]) + (jax.random.uniform(key, shape) * np.diff(edges)).astype(jnp.int32)


def loss_after_inner_loop(
    learnable: Learnable, graph: nnx.GraphDef, views: Target, precision: MatmulPrecision = "float32"
) -> Float[Array, ""]:
    """Loss of one example after its inner loop.

    Args:
        learnable: The base network and the inner rates.
        graph: Structure of the base network.
        views: With a leading axis: each inner step looks at a view of its own, the outer loss at the last one.
        precision: Of the products between hidden layers.
    """
    base = nnx.merge(graph, learnable.base)

    def view(step: Int[Array, ""] | int) -> Target:
        return jax.tree.map(lambda array: array[step], views)

    def gradient(modulation: Array, step: Array) -> Array:
        return error_and_gradient(base, modulation, view(step), precision)[1]

    modulation = descend(gradient, learnable.rates)
    return reconstruction_error(base, base.shifts(modulation), view(-1), precision)


def make_outer_step(
    graph: nnx.GraphDef,
    config: ConvertConfig,
    grid: Float32[np.ndarray, "points axes"],
    spec: FeatureSpec,
    microbatch_size: int = 1,
) -> OuterStep:
    """The compiled outer step.

    Args:
        graph: Structure of the base network.
        config: The conversion.
        grid: All points of an example.
        spec: What raw values mean.
        microbatch_size: Examples that a device takes together, a divisor of its share; gradients add up.

    Returns:
        A function (state, raw, key, scale) -> (state, losses), where `raw` are a source's values of
        a batch (examples, points, channels), `key` draws the points, and `scale` multiplies the
        learning rates; the losses are those of the batch's examples before the update.
    """
    optimizer = make_optimizer(config.outer)
    num_points = min(config.outer.num_points or len(grid), len(grid))
    tiles = in_tiles(np.arange(num_points), tile_points(config.fit.tile_points))
    num_views = config.inner.num_steps + 1

    def one_example(learnable: Learnable, raw: Array, key: Array) -> tuple[Array, Learnable]:
        index = sample_points(key, (num_views, num_points), len(grid))[:, tiles.points]
        features = raw[index].astype(jnp.float32) * spec.scale + spec.offset
        views = Target(jnp.asarray(grid)[index], features, jnp.broadcast_to(tiles.weights, index.shape))
        return jax.value_and_grad(loss_after_inner_loop)(learnable, graph, views, config.matmul_precision)

    def part(learnable: Learnable, raw: Array, keys: Array) -> tuple[Array, Learnable]:
        return each(one_example, learnable, (raw, keys), microbatch_size)

    def outer_step(state: LearnState, raw: Array, key: Array, scale: Array) -> tuple[LearnState, Array]:
        losses, gradient = over_devices(part, state.learnable, (raw, jax.random.split(key, len(raw))))
        gradient = jax.tree.map(lambda g: g / len(raw), gradient)
        updates, moments = optimizer.update(gradient, state.moments, state.learnable)
        base, rates = jax.tree.map(lambda value, update: value + scale * update, state.learnable, updates)
        return LearnState(Learnable(base, jnp.maximum(rates, LOWEST_RATE)), moments), losses

    return jax.jit(outer_step)
