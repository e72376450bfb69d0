"""Observers: comparison of a modulation's function with an example, on grids and along rays."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num, PyTree

from functa_store.config import MatmulPrecision, NetworkConfig
from functa_store.domains.domain import KINDS, Domain, check_grid
from functa_store.domains.scene import SceneVolume
from functa_store.errors import ConfigError
from functa_store.learn.inner_loop import Target
from functa_store.learn.tiling import Projection, Tiles, in_groups, in_tiles, project
from functa_store.nets.cell_lookup import CellLookup
from functa_store.nets.siren import ModulatedSiren
from functa_store.nets.volume_rendering import random_offsets, render, samples_along
from functa_store.sources.features import FeatureSpec


@runtime_checkable
class Observer(Protocol):
    """What the loops ask of a kind of domain; see `GridObserver` for the plain one.

    Attributes:
        num_rows: Rows of an example's raw values: points of a grid, or rays.
        step_shape: Shape, in C order, of the leading rows, which the steps of a fit look at; all others are held out.
        evaluations: Points at which the network is evaluated for one row.
        uneven: Whether rows may count differently, or be missing.
        tile_axes: Axes of the rows of a tile: 1, or 2 where they are runs of rows that belong together.
    """

    num_rows: int
    step_shape: tuple[int, ...]
    evaluations: int
    uneven: bool
    tile_axes: int

    @property
    def grid(self) -> Float32[np.ndarray, "rows inputs"] | None:
        """What the network takes of each row, where it is the same for all examples; else None."""
        ...

    def tiles(self, rows: Int[np.ndarray, "*phases rows"], tile: int, counts: np.ndarray | None = None) -> Tiles:
        """Rows in tiles; see `tiling.in_tiles`."""
        ...

    def draws(self, num_rows: int, tile: int) -> "Draws":
        """How rows are drawn while learning.

        Args:
            num_rows: About how many an example shows in each inner step, and in the outer loss.
            tile: Most rows in a tile.
        """
        ...

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles"],
        counts: Float[Array | np.ndarray, "*tiles"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some rows of an example.

        Args:
            raw: All of them.
            rows: Which, in tiles.
            counts: What each of them counts as far as the pattern of the rows goes; 0 for filling.
            key: For whatever is random about a look while learning; None in a fit, where nothing is.
        """
        ...

    def predict(
        self,
        base: ModulatedSiren,
        modulation: Float[Array, " modulation"],
        places: PyTree,
        precision: MatmulPrecision,
    ) -> Float[Array, "tile channels"]:
        """What a modulated network gives at the places of a tile: features, or colours of rays."""
        ...


class Draws(NamedTuple):
    """How an example's rows are drawn while learning.

    Attributes:
        rows: (key, number of looks) -> rows of each look and what they count, (looks, *tiles): a look for each inner
            step, and the last for the outer loss.
        share: Share of a spatial modulation's cells that a look sees; 1 where all places do.
    """

    rows: Callable[[Array, int], tuple[Array, Array]]
    share: float = 1.0


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


class GridObserver:
    """Examples that are values at the points of a grid, the same for all; see `Observer`.

    Args:
        domain: The grid.
        spec: What raw values mean.
    """

    evaluations = tile_axes = 1

    def __init__(self, domain: Domain, spec: FeatureSpec) -> None:
        self.grid = domain.inputs(domain.coords())
        self.num_rows, self.step_shape = len(self.grid), domain.resolution
        self._spec = spec
        self._weights = None if domain.weights is None else np.asarray(domain.weights, np.float32)
        self.uneven = spec.missing or self._weights is not None

    def tiles(self, rows: Int[np.ndarray, "*phases rows"], tile: int, counts: np.ndarray | None = None) -> Tiles:
        """Points in tiles."""
        return in_tiles(rows, tile, counts)

    def draws(self, num_rows: int, tile: int) -> Draws:
        """Random points, stratified; see `sample_points`."""
        return _in_tiles(lambda key, looks: sample_points(key, (looks, num_rows), self.num_rows), num_rows, tile)

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles"],
        counts: Float[Array | np.ndarray, "*tiles"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some points of an example; nothing about them is random."""
        del key
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


class CellObserver(GridObserver):
    """Examples that are values at the points of a grid, for modulations that are grids of cells; see `Observer`.

    Points that have the same candidate cells are looked at together, so that a shift is mapped once for all of them.
    While learning, an example shows a window of cells with all of their points: cells know nothing of each other, or
    only of their neighbours, and the steps of a fit see all points of a cell, too.

    Args:
        domain: The grid.
        spec: What raw values mean.
        network: Whose modulations they are.
        lookup: Of the network.

    Attributes:
        cell: Coordinates of the points of a cell local to it, where all cells have the same: at the zero modulation
            the network is the same function in each of them, so that one projection serves all. None where they
            differ, or cells are not by themselves.
    """

    tile_axes = 2

    def __init__(self, domain: Domain, spec: FeatureSpec, network: NetworkConfig, lookup: CellLookup) -> None:
        super().__init__(domain, spec)
        self.grid = domain.fractions(domain.coords())
        self.evaluations = lookup.num_candidates
        self._lookup, self._group_of = lookup, lookup.group_of(self.grid)
        self.cell = None if network.map_kernel > 1 or lookup.blended else self._points_of_each_cell()

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
        """A random window of groups, the same in each look, with all of their points."""
        sizes = np.bincount(self._group_of, minlength=math.prod(self._lookup.groups))
        by_group = in_groups(np.arange(self.num_rows), self._group_of, self.num_rows)
        table, there = by_group.points.reshape(-1, by_group.points.shape[-1]), np.flatnonzero(sizes)
        groups, run = self._lookup.groups, table.shape[-1]
        window = _window(groups, max(1, num_rows // run))
        row_of_group = np.zeros(len(sizes), np.int32)
        row_of_group[there] = np.arange(len(there))
        inside = np.ravel_multi_index(tuple(np.indices(window).reshape(len(window), -1)), groups)
        places = in_groups(np.arange(len(inside) * run), np.repeat(np.arange(len(inside)), run), tile)
        last = np.asarray(groups) - np.asarray(window)
        strides = np.cumprod((1, *groups[:0:-1]))[::-1]

        def rows(key: Array, num_looks: int) -> tuple[Array, Array]:
            start = jax.random.randint(key, (len(groups),), 0, jnp.asarray(last) + 1)
            chosen = jnp.asarray(inside) + jnp.sum(start * jnp.asarray(strides, jnp.int32))
            found = jnp.asarray(table)[jnp.asarray(row_of_group)[chosen]]
            counted = (jnp.arange(run) < jnp.asarray(sizes)[chosen][:, None]).astype(jnp.float32)
            counted = (counted / jnp.maximum(jnp.sum(counted), 1)).reshape(-1)[places.points] * (places.weights > 0)
            looks = (num_looks, *places.points.shape)
            return jnp.broadcast_to(found.reshape(-1)[places.points], looks), jnp.broadcast_to(counted, looks)

        return Draws(rows, math.prod(window) / math.prod(groups))

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles runs run"],
        counts: Float[Array | np.ndarray, "*tiles runs run"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some points of an example; nothing about them is random."""
        target = super().look(raw, rows, counts, key)
        groups = jnp.asarray(self._group_of)[rows[..., 0]]
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


def _in_tiles(sample: Callable[[Array, int], Array], num_rows: int, tile: int) -> Draws:
    """Rows that are drawn for each look by itself, in tiles."""
    tiles = in_tiles(np.arange(num_rows), tile)

    def rows(key: Array, num_looks: int) -> tuple[Array, Array]:
        drawn = sample(key, num_looks)[:, tiles.points]
        return drawn, jnp.broadcast_to(tiles.weights, drawn.shape)

    return Draws(rows)


def normalized(weights: Float[Array, "*tiles"], features: Float[Array, "*tiles channels"]) -> Float[Array, "*tiles"]:
    """Weights such that the errors of the features that are not missing count 1 together; 0 if all are missing."""
    present = jnp.sum(weights * jnp.mean(~jnp.isnan(features), axis=-1))
    return jnp.where(present > 0, weights / jnp.where(present > 0, present, 1), 0)


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


def num_step_rows(observer: Observer) -> int:
    """Rows that the steps of a fit look at."""
    return math.prod(observer.step_shape)


COLOUR = 6
"""Where the colour begins among the numbers of a ray: behind its origin and direction."""


class Rays(NamedTuple):
    """Places of a scene. The samples along them are computed tile by tile: they are many.

    Attributes:
        origins: x, y, z in the world.
        directions: Unit vectors.
        offsets: Where in its bin each sample lies; None means bin centres.
    """

    origins: Float[Array, "*tiles 3"]
    directions: Float[Array, "*tiles 3"]
    offsets: Float[Array, "*tiles samples"] | None = None


class RayObserver:
    """Examples that are views of a scene: rays, and the colour seen along each; see `Observer`.

    While learning, the inner steps of an example see only some of its views, from one to all of them at equal odds on a
    logarithmic scale, and the outer loss sees all: the base learns what one view says about the others. In place of a
    view that is missing, another one of the example is looked at: of the fitted views in a fit, of the held-out ones
    where it is measured. Those that stand in for others count for less, so that all views count the same.

    Args:
        domain: The cube and its views.
        spec: Of the field's features; colours are features as they are.
    """

    def __init__(self, domain: SceneVolume, spec: FeatureSpec) -> None:
        del spec
        self._domain = domain
        self.grid: Float32[np.ndarray, "rows inputs"] | None = None
        self.uneven = True
        self._views, height, width = domain.observed
        self._pixels = height * width
        self.num_rows = self._views * self._pixels
        self.step_shape = (domain.views, height, width)
        self.evaluations = domain.num_samples
        self.tile_axes = 1

    def tiles(self, rows: Int[np.ndarray, "*phases rows"], tile: int, counts: np.ndarray | None = None) -> Tiles:
        """Rays in tiles."""
        return in_tiles(rows, tile, counts)

    def draws(self, num_rows: int, tile: int) -> Draws:
        """Random rays of random views; see `sample`."""
        return _in_tiles(lambda key, looks: self.sample(key, looks, num_rows), num_rows, tile)

    def sample(self, key: Key[Array, ""], num_looks: int, num_rows: int) -> Int[Array, "looks rows"]:
        """Random rays of random views: pixels stratified over the image, views independent of them."""
        of_count, of_order, of_views, of_pixels = jax.random.split(key, 4)
        few = jnp.floor((self._views + 1) ** jax.random.uniform(of_count)).astype(jnp.int32)
        seen = jnp.where(jnp.arange(num_looks) < num_looks - 1, jnp.clip(few, 1, self._views), self._views)
        order = jax.random.permutation(of_order, self._views)
        place = jax.random.uniform(of_views, (num_looks, num_rows)) * seen[:, None]
        views = order[jnp.minimum(place.astype(jnp.int32), seen[:, None] - 1)]
        return views * self._pixels + sample_points(of_pixels, (num_looks, num_rows), self._pixels)

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles"],
        counts: Float[Array | np.ndarray, "*tiles"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some rays of an example; samples lie at random in their bins while learning, and in the middle in a fit."""
        spans = [slice(0, self._domain.views), slice(self._domain.views, self._views)]
        view, pixel = jnp.divmod(jnp.asarray(rows), self._pixels)
        instead, share = self._stand_ins(raw, spans if key is None else [slice(0, self._views)])
        found = raw[instead[view] * self._pixels + pixel].astype(jnp.float32)
        offsets = None if key is None else random_offsets(key, (*found.shape[:-1], self._domain.num_samples))
        colour = found[..., COLOUR:]
        weights = normalized(jnp.asarray(counts, jnp.float32) * share[view], colour)
        return Target(Rays(found[..., :3], found[..., 3:6], offsets), colour, weights)

    def predict(
        self, base: ModulatedSiren, modulation: Float[Array, " modulation"], places: Rays, precision: MatmulPrecision
    ) -> Float[Array, "tile 3"]:
        """Colours seen along the rays of a tile."""
        samples = samples_along(places.origins, places.directions, self._domain, places.offsets)
        positions = samples.positions.reshape(-1, self._domain.num_inputs)
        features = base(modulation, positions, precision)
        return render(features.reshape(*samples.distances.shape, -1), samples).colour

    def _stand_ins(
        self, raw: Num[Array, "rows raw"], spans: Sequence[slice]
    ) -> tuple[Int[Array, " views"], Float[Array, " views"]]:
        """Which view is looked at in place of each, one of the same span, and what it counts there.

        Views that are not missing take turns; a span without any stays as it is.
        """
        missing = jnp.isnan(raw[:, COLOUR]).reshape(self._views, self._pixels).all(axis=-1)
        instead, share = [], []
        for span in spans:
            order = span.start + jnp.argsort(missing[span], stable=True)
            count = jnp.maximum(jnp.sum(~missing[span]), 1)
            turn = jnp.arange(len(order)) % count
            instead.append(order[turn])
            share.append(1 / ((len(order) - 1 - turn) // count + 1))
        return jnp.concatenate(instead), jnp.concatenate(share)


def observer_of(domain: Domain, spec: FeatureSpec, network: NetworkConfig) -> Observer:
    """How examples of a domain are looked at.

    Args:
        domain: Where they are.
        spec: What their values mean.
        network: The network that is fitted to them.

    Raises:
        ConfigError: If nothing looks at this kind of domain, or a grid of modulations has other axes.
    """
    check_domain(domain)
    check_grid(domain, network)
    if domain.scene is not None:
        return RayObserver(domain.scene, spec)
    lookup = CellLookup.of(network, domain.closed)
    return GridObserver(domain, spec) if lookup is None else CellObserver(domain, spec, network, lookup)


def shares_grid(domain: Domain) -> bool:
    """Whether all examples of a domain are values at the same points; makes none of these points.

    Raises:
        ConfigError: If nothing looks at this kind of domain.
    """
    check_domain(domain)
    return domain.scene is None


def check_domain(domain: Domain) -> None:
    """Refuse a kind of domain that nothing looks at.

    Raises:
        ConfigError: If it is such a one.
    """
    if (kind := type(domain)) not in KINDS:
        known = ", ".join(known.__name__ for known in KINDS)
        raise ConfigError(f"the domain is a {kind.__name__}, expected one of {known}")
