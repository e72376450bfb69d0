"""Points and tiles that a step looks at, and the first gradient as one matrix product.

At the zero modulation the base network is the same function f for all examples, and so is its Jacobian J.
The gradient of the mean squared error there is 2/N J^T (f - features): an affine map of the features. Once
J is known, the first inner step of any example is a product with it: for a latent modulation less than a
hundredth of the arithmetic of a pass through the network.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from functa_store.config import MatmulPrecision
from functa_store.learn.devices import copies, one_at_a_time
from functa_store.nets.siren import ModulatedSiren

TILE_POINTS = 1024
"""Points that a CPU evaluates at once, whose activations stay in its cache: from 512 to 2,048 the fit is equally
fast to within 3 % at 128x6, 256x10 and 512x15."""

TILE_POINTS_ON_ACCELERATOR = 2048

LEAST_POINTS = 256
"""Points per step that a stride must leave."""

NUMBERS_PER_NUMBER = 4
"""Numbers per step and number of the modulation that a stride must leave."""


class Tiles(NamedTuple):
    """Points of a grid in tiles of one size, the last one filled up.

    Where an observer looks at points in groups, a tile is some runs of points, each of one group.

    Attributes:
        points: Which points; a leading axis, if there is one, counts the phases of a stride.
        weights: What the error at each point counts: together 1, and 0 for filling.
    """

    points: Int[np.ndarray, "*phases_and_tiles tile"]
    weights: Float32[np.ndarray, "*phases_and_tiles tile"]


def tile_points(wanted: int | None) -> int:
    """Points per tile: as wanted, or what suits the device."""
    return wanted or (TILE_POINTS if one_at_a_time() else TILE_POINTS_ON_ACCELERATOR)


def tile_rows(wanted: int | None, evaluations: int) -> int:
    """Rows per tile, for as many points, of which there are so many for each row."""
    return max(1, tile_points(wanted) // evaluations)


def in_tiles(points: Int[np.ndarray, "*phases points"], tile: int, counts: np.ndarray | None = None) -> Tiles:
    """Cut points into as few tiles as possible, all of one size and none longer than `tile`.

    Args:
        points: Indices of points.
        tile: Most points in a tile.
        counts: How many of each row's points count, from the first; None for all of them.
    """
    num_points = points.shape[-1]
    tiles = -(-num_points // tile)
    size = -(-num_points // tiles)
    padded = np.take(points, np.minimum(np.arange(tiles * size), num_points - 1), axis=-1)
    count = np.full(points.shape[:-1], num_points) if counts is None else counts
    weights = (np.arange(tiles * size) < count[..., None]) / count[..., None]
    shape = (*points.shape[:-1], tiles, size)
    return Tiles(padded.reshape(shape).astype(np.int32), weights.reshape(shape).astype(np.float32))


def in_groups(
    points: Int[np.ndarray, "*phases points"],
    group_of: Int[np.ndarray, " grid"],
    tile: int,
    counts: np.ndarray | None = None,
) -> Tiles:
    """Cut points into tiles of shape (runs, points of a run), each run in one group; arguments as for `in_tiles`.

    Args:
        points: Indices of points of a grid.
        group_of: The group of each point of that grid.
        tile: Most points in a tile.
        counts: How many of each row's points count, from the first; None for all of them.
    """
    phases = points.reshape(-1, points.shape[-1])
    count = np.full(len(phases), points.shape[-1]) if counts is None else np.broadcast_to(counts, len(phases))
    some_of_group = np.zeros(int(group_of.max()) + 1, np.int64)
    some_of_group[group_of] = np.arange(len(group_of))
    wanted = [phase[:number] for phase, number in zip(phases, count, strict=True)]
    sizes = np.stack([np.bincount(group_of[phase], minlength=len(some_of_group)) for phase in wanted])
    there = np.flatnonzero(sizes.sum(axis=0))
    longest = int(sizes.max())
    runs = -(-longest // max(1, tile))
    run = -(-longest // runs)
    filled = np.broadcast_to(some_of_group[there, None], (len(phases), len(there), runs * run)).copy()
    weights = np.zeros(filled.shape, np.float32)
    place = np.full(len(some_of_group), -1)
    place[there] = np.arange(len(there))
    for phase, rows in enumerate(wanted):
        order = rows[np.argsort(group_of[rows], kind="stable")]
        groups = group_of[order]
        within = np.arange(len(order)) - np.searchsorted(groups, groups)
        filled[phase, place[groups], within] = order
        weights[phase, place[groups], within] = 1 / len(order)
    of_tile = max(1, tile // run)
    total = len(there) * runs
    tiles = -(-total // of_tile)
    of_tile = -(-total // tiles)
    padded = np.minimum(np.arange(tiles * of_tile), total - 1)
    shape = (*points.shape[:-1], tiles, of_tile, run)
    filled = filled.reshape(len(phases), total, run)[:, padded]
    weights = weights.reshape(len(phases), total, run)[:, padded] * (np.arange(tiles * of_tile) < total)[:, None]
    return Tiles(filled.reshape(shape).astype(np.int32), weights.reshape(shape).astype(np.float32))


def flat(view: Tiles) -> Tiles:
    """A view of all points without its tiles and filling."""
    count = np.count_nonzero(view.weights)
    return Tiles(*(array.ravel()[:count] for array in view))


def some_rows(num_rows: int, most: int) -> Int[np.ndarray, " rows"]:
    """All rows, or a random choice of so many, always the same one: a pattern would be that of a step."""
    if num_rows <= most:
        return np.arange(num_rows)
    return np.sort(np.random.default_rng(0).choice(num_rows, most, replace=False))


def strided(
    shape: tuple[int, ...], stride: int, phases: int
) -> tuple[Int[np.ndarray, "phases points"], Int[np.ndarray, " phases"]]:
    """Every stride-th point along each axis, once per phase of that pattern.

    Consecutive phases lie far apart; all of them together are the grid.

    Args:
        shape: Points along each axis of the grid.
        stride: Points from one to the next.
        phases: How many phases are wanted; at most stride ** axes exist.

    Returns:
        The points of each phase, and how many of them count.
    """
    grid = np.arange(math.prod(shape)).reshape(shape)
    offsets = _far_apart([min(stride, n) for n in shape], phases)
    rows = [grid[tuple(slice(first, None, stride) for first in offset)].ravel() for offset in offsets]
    counts = np.array([len(row) for row in rows])
    return np.stack([np.resize(row, counts.max()) for row in rows]), counts


def choose_stride(shape: tuple[int, ...], num_channels: int, modulation_size: int) -> int:
    """The largest of 1, 2 and 4 that leaves every step enough points.

    A step sees at least `LEAST_POINTS` points, and `NUMBERS_PER_NUMBER` times as many numbers as a modulation
    has: with fewer, its gradient says more about the pattern of the points than about the example.
    """
    enough = max(LEAST_POINTS, NUMBERS_PER_NUMBER * modulation_size / num_channels)
    strides = [s for s in (1, 2, 4) if math.prod(max(1, n // s) for n in shape) >= enough]
    return max(strides, default=1)


def _far_apart(sizes: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Some of the offsets below the sizes, each as far as possible from those before it, on a torus."""
    offsets = np.indices(sizes).reshape(len(sizes), -1).T
    nearest, order = np.full(len(offsets), np.inf), []
    for _ in range(min(count, len(offsets))):
        order.append(int(np.argmax(nearest)))
        away = np.abs(offsets - offsets[order[-1]])
        nearest = np.minimum(nearest, (np.minimum(away, np.array(sizes) - away) ** 2).sum(axis=1))
        nearest[order] = -1
    return [tuple(map(int, offsets[i])) for i in order]


MOST_BYTES = 2**28
"""Size of the map, on all CPU cores together or on an accelerator, above which it is not kept, but the first
gradient of each example computed."""


class Projection(NamedTuple):
    """The gradient at the zero modulation, as a map of features.

    Attributes:
        start: The base network's features at the zero modulation, at all points of the grid.
        matrix: Gradient per unit of difference from them.
    """

    start: Float32[Array, "points channels"]
    matrix: Float32[Array, "points channels modulation"]

    def __call__(
        self, features: Float[Array, "examples points channels"], weights: Float[Array, "examples points"] | None
    ) -> tuple[Float[Array, " examples"], Float[Array, "examples modulation"]]:
        """Squared error of every example over the grid, by its weights, and its gradient, at the zero modulation.

        Args:
            features: Of each example; not a number where they are missing.
            weights: What the error at each point counts; None for 1 together, all alike.
        """
        difference = self.start - features
        shares = jnp.ones((), difference.dtype)
        if weights is not None:
            difference = jnp.where(jnp.isnan(features), 0, difference)
            shares = (weights * weights.shape[-1])[..., None]
        error = jnp.mean(shares * difference**2, axis=(1, 2))
        weighted = (shares * difference).reshape(len(features), -1)
        return error, jnp.matmul(weighted, self.matrix.reshape(weighted.shape[-1], -1), precision="float32")


def is_small(num_points: int, num_channels: int, modulation_size: int) -> bool:
    """Whether the map is small enough to keep."""
    return copies() * 4 * num_points * num_channels * modulation_size <= MOST_BYTES


def project(
    base: ModulatedSiren, coords: Float[Array, "points axes"], view: Tiles, precision: MatmulPrecision
) -> Projection:
    """The projection of a base network, tile by tile; costs about as much as fitting ten examples.

    Args:
        base: The base network.
        coords: All points of the grid, or of a cell, local to it.
        view: The same points in tiles.
        precision: Of the products between hidden layers.
    """
    zero = jnp.zeros(base.config.cell_size, coords.dtype)
    shifts, pull_back = jax.vjp(base.shifts, zero)
    num_channels = base.linear.kernel[...].shape[-1]

    def tile(_, index):
        lifted = base.lift(coords[index])
        # Shifts of its own for every point make one backward pass per channel give all rows of the Jacobian.
        own = jnp.broadcast_to(shifts[:, None], (len(shifts), len(index), shifts.shape[-1]))
        features, pull_to_shifts = jax.vjp(lambda s: base.evaluate(s, lifted, precision), own)

        def gradient_of_channel(unit):
            slopes = pull_to_shifts(jnp.broadcast_to(unit, features.shape))[0]
            return jax.vmap(lambda s: pull_back(s)[0], in_axes=1)(slopes)

        return None, (features, jax.vmap(gradient_of_channel, out_axes=1)(jnp.eye(num_channels)))

    _, (features, jacobian) = jax.lax.scan(tile, None, jnp.asarray(view.points))
    num_points = len(coords)
    features, jacobian = (a.reshape(-1, *a.shape[2:])[:num_points] for a in (features, jacobian))
    return Projection(features, 2 / (num_points * num_channels) * jacobian)
