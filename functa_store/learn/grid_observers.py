"""Observers of values on a grid: at its points, and in runs of points of the cells of a modulation."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num

from functa_store.config import MatmulPrecision, NetworkConfig
from functa_store.domains.domain import Domain
from functa_store.learn.inner_loop import Target
from functa_store.learn.observer import Draws, Observer, SingleRows, normalized
from functa_store.learn.tiling import LEAST_POINTS, Projection, Tiles, in_groups, in_tiles, project
from functa_store.nets.cell_lookup import CellLookup, strides
from functa_store.nets.siren import ModulatedSiren
from functa_store.sources.features import FeatureSpec


class Points(NamedTuple):
    """Places of a grid.

    Attributes:
        coords: What the network takes of each point.
        lifted: The same after its first layer, where that is at hand.
    """

    coords: Float[Array, "*tiles inputs"]
    lifted: Float[Array, "*tiles width"] | None = None


def at_points(
    base: ModulatedSiren, modulation: Float[Array, " modulation"], places: Points, precision: MatmulPrecision
) -> Float[Array, "tile channels"]:
    """Features of a function at the points of a tile."""
    lifted = base.lift(places.coords) if places.lifted is None else places.lifted
    return base.evaluate(base.shifts(modulation), lifted, precision)


MOST_FOLDED = 2**20
"""Points of a grid up to which a compiler may look up the coordinates of rows that it knows."""


def unfolded(rows: Int[Array | np.ndarray, "*tiles"], num_rows: int) -> Int[Array, "*tiles"]:
    """Rows that a compiler does not know where a grid is large: to look up their coordinates takes it minutes."""
    return jax.lax.optimization_barrier(jnp.asarray(rows)) if num_rows > MOST_FOLDED else jnp.asarray(rows)


class GridObserver(SingleRows):
    """Examples that are values at the points of a grid, the same for all; see `Observer`.

    Args:
        domain: The grid.
        spec: What raw values mean.
        grid: What the network is given of each point; None takes the inputs of the domain.
    """

    evaluations = 1

    def __init__(
        self, domain: Domain, spec: FeatureSpec, grid: Float32[np.ndarray, "rows inputs"] | None = None
    ) -> None:
        self.grid = domain.inputs(domain.coords()) if grid is None else grid
        self.num_rows, self.step_shape = len(self.grid), domain.resolution
        self._spec = spec
        self._weights = None if domain.weights is None else np.asarray(domain.weights, np.float32)
        self.uneven = spec.missing or self._weights is not None

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles"],
        counts: Float[Array | np.ndarray, "*tiles"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some points of an example; nothing about them is random."""
        del key
        rows = unfolded(rows, self.num_rows)
        features = raw[rows].astype(jnp.float32) * self._spec.scale + self._spec.offset
        weights = jnp.asarray(counts, jnp.float32)
        if self.uneven:
            weights = weights if self._weights is None else weights * jnp.asarray(self._weights)[rows]
            weights = normalized(weights, features)
        return Target(Points(jnp.asarray(self.grid)[rows]), features, weights)

    predict = staticmethod(at_points)


class PointsOfCells(NamedTuple):
    """Places of a grid in runs of points that have the same candidate cells, which `predict` looks up tile by tile.

    Attributes:
        fractions: Positions of the points, in [0, 1] along each axis.
        groups: Which group of points each run is of; see `CellLookup.groups`.
    """

    fractions: Float[Array, "*tiles runs run axes"]
    groups: Int[Array, "*tiles runs"]


POINTS_OF_CELL = LEAST_POINTS
"""Most points of a cell that a look shows while learning: cells of a volume have thousands, of which one look would
show one cell, perhaps an empty one, instead of many."""

POINTS_STREAM = 2
"""Of the key of an example, what chooses these points; other numbers are of the outer loop."""


class CellObserver(GridObserver):
    """Examples that are values at the points of a grid, for modulations that are grids of cells; see `Observer`.

    Points that have the same candidate cells are looked at together, so that a shift is mapped once for all of them.
    While learning, an example shows a window of cells, with all of their points or with `POINTS_OF_CELL` of each, which
    are others in each look: cells know nothing of each other. Where the map to a cell's shifts sees those around it,
    the window is the whole grid: a cell at its border would be learned with fewer neighbours than it has in a fit.

    Args:
        domain: The grid.
        spec: What raw values mean.
        network: Whose modulations they are.
        lookup: Of the network.

    Attributes:
        cell: Coordinates of the points of a cell local to it, where all cells have the same: at the zero modulation
            the network is the same function in each of them, so that one projection serves all. None where they
            differ, or cells are not by themselves, or have biases of their own.
    """

    tile_axes = 2

    def __init__(self, domain: Domain, spec: FeatureSpec, network: NetworkConfig, lookup: CellLookup) -> None:
        super().__init__(domain, spec, domain.fractions(domain.coords()))
        self.evaluations = lookup.num_candidates
        self._lookup, self._group_of = lookup, lookup.group_of(self.grid)
        self._alone = network.map_kernel == 1
        alike = self._alone and not lookup.blended and network.map_bias == "shared"
        self.cell = self._points_of_each_cell() if alike else None

    def _points_of_each_cell(self) -> Float32[np.ndarray, "points axes"] | None:
        """Local coordinates of the points of a cell, if those of all cells are the same."""
        order = np.argsort(self._group_of, kind="stable")
        count = np.bincount(self._group_of, minlength=self._lookup.num_cells)
        if (count != count[0]).any():
            return None
        local = np.asarray(self._lookup.locate(self.grid[order]).local).reshape(len(count), count[0], -1)
        return local[0] if np.allclose(local, local[:1], atol=1e-4) else None

    def tiles(self, rows: Int[np.ndarray, "*phases rows"], tile: int, counts: np.ndarray | None = None) -> Tiles:
        """Points in runs of one group each."""
        return in_groups(rows, self._group_of, tile, counts)

    def draws(self, num_rows: int, tile: int) -> Draws:
        """A random window of groups, or all of them, the same in each look, with all or some of their points."""
        sizes = np.bincount(self._group_of, minlength=math.prod(self._lookup.groups))
        by_group = in_groups(np.arange(self.num_rows), self._group_of, self.num_rows)
        table, there = by_group.points.reshape(-1, by_group.points.shape[-1]), np.flatnonzero(sizes)
        groups, run = self._lookup.groups, min(table.shape[-1], POINTS_OF_CELL)
        all_points = run == table.shape[-1]
        window = _window(groups, max(1, num_rows // run)) if self._alone else groups
        row_of_group = np.zeros(len(sizes), np.int32)
        row_of_group[there] = np.arange(len(there))
        inside = np.ravel_multi_index(tuple(np.indices(window).reshape(len(window), -1)), groups)
        places = in_groups(np.arange(len(inside) * run), np.repeat(np.arange(len(inside)), run), tile)
        last = np.asarray(groups) - np.asarray(window)

        def rows(key: Array, num_looks: int) -> tuple[Array, Array]:
            start = jax.random.randint(key, (len(groups),), 0, jnp.asarray(last) + 1)
            chosen = jnp.asarray(inside) + jnp.sum(start * jnp.asarray(strides(groups), jnp.int32))
            of_cell, size = jnp.asarray(row_of_group)[chosen], jnp.asarray(sizes)[chosen][:, None]
            shape = (num_looks, len(inside), run)
            if all_points:
                found = jnp.broadcast_to(jnp.asarray(table)[of_cell], shape)
                counted = (jnp.arange(run) < size).astype(jnp.float32)
            else:  # one of each of equally long runs of a cell's points
                edges = (np.arange(run + 1) * sizes[:, None] // run).astype(np.int32)
                between = jnp.asarray(edges)[chosen]
                moved = jax.random.uniform(jax.random.fold_in(key, POINTS_STREAM), shape) * jnp.diff(between)
                found = jnp.asarray(table)[of_cell[:, None], between[:, :-1] + moved.astype(jnp.int32)]
                counted = jnp.broadcast_to(size, shape[1:]).astype(jnp.float32)
            counted = (counted / jnp.maximum(jnp.sum(counted), 1)).reshape(-1)[places.points] * (places.weights > 0)
            shown = found.reshape(num_looks, -1)[:, places.points]
            return shown, jnp.broadcast_to(counted, shown.shape)

        return Draws(rows, math.prod(window) / math.prod(groups), all_points)

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles runs run"],
        counts: Float[Array | np.ndarray, "*tiles runs run"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some points of an example; nothing about them is random."""
        target = super().look(raw, rows, counts, key)
        groups = jnp.asarray(self._group_of)[unfolded(rows[..., 0], self.num_rows)]
        places = PointsOfCells(target.places.coords, groups)
        features = target.features.reshape(*groups.shape[:-1], -1, target.features.shape[-1])
        return Target(places, features, target.weights.reshape(features.shape[:-1]))

    def project(self, base: ModulatedSiren, precision: MatmulPrecision) -> Projection:
        """The first gradient of every cell as a map of its features, where they have the same points."""
        assert self.cell is not None, "cells differ"
        return project(base, jnp.asarray(self.cell), in_tiles(np.arange(len(self.cell)), len(self.cell)), precision)

    def at_zero(self, projection: Projection, target: Target) -> tuple[Float[Array, ""], Float[Array, " modulation"]]:
        """Error of a target at the zero modulation and its gradient, as a product for each cell.

        Args:
            projection: At the points of `cell`, in their order.
            target: Runs of these points.
        """
        run = len(projection.start)
        features, weights = target.features.reshape(-1, run, target.features.shape[-1]), target.weights.reshape(-1, run)
        errors, gradients = projection(features, weights)
        cells = target.places.groups.reshape(-1)  # of the nearest, groups are cells
        total = jnp.zeros((self._lookup.num_cells, gradients.shape[-1]), gradients.dtype)
        return jnp.sum(errors), total.at[cells].add(gradients).reshape(-1)

    @staticmethod
    def predict(
        base: ModulatedSiren,
        modulation: Float[Array, " modulation"],
        places: PointsOfCells,
        precision: MatmulPrecision,
    ) -> Float[Array, "tile channels"]:
        """Features of a function at the points of a tile."""
        assert base.lookup is not None, "modulations are no grid"
        cells, local, weights = base.lookup.in_group(places.fractions, places.groups)
        shifts = base.shifts(modulation, cells)[..., None, :]
        numbers = base.numbers(shifts, base.lift(jnp.moveaxis(local, -2, -3)), precision)
        features = base.blend(jnp.moveaxis(numbers, -3, -2), weights)
        return features.reshape(-1, features.shape[-1])


def with_same_cells(observer: Observer, tile: int) -> CellObserver | None:
    """The observer, if the first gradient of each cell is the same map of its features; see `CellObserver.cell`.

    Args:
        observer: Of the examples.
        tile: Most rows of a tile, which has to hold a cell.
    """
    if isinstance(observer, CellObserver) and observer.cell is not None and len(observer.cell) <= tile:
        return observer
    return None


def _window(groups: tuple[int, ...], most: int) -> tuple[int, ...]:
    """The largest window of no more groups than are wanted, at least one, its longest side halved again and again."""
    sides = list(groups)
    while math.prod(sides) > most and max(sides) > 1:
        longest = sides.index(max(sides))
        sides[longest] = -(-sides[longest] // 2)
    return tuple(sides)
