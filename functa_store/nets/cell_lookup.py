"""Which cells of a grid of modulations a point is evaluated with, and its coordinates local to them."""

import dataclasses
import functools
import itertools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from functa_store.config import NetworkConfig


class Located(NamedTuple):
    """The candidate cells of points: one each for a look-up of the nearest, 2 ** axes for a linear one.

    Arrays of JAX, or of NumPy where the points were.

    Attributes:
        cells: Which cells, counted in C order.
        local: Coordinates of each point local to each of them: 0 and 1 are the borders of the cell.
        weights: What each cell's result counts; together 1.
    """

    cells: Int[Array, "*points candidates"]
    local: Float[Array, "*points candidates axes"]
    weights: Float[Array, "*points candidates"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellLookup:
    """The look-up of a spatial modulation (Bauer et al. 2023, "Spatial Functa", section 3).

    Attributes:
        grid: Cells along each axis.
        blended: Whether the cells around a point are blended linearly, instead of the nearest one taken.
        closed: Whether each axis closes on itself, so that its last cell is beside its first.
    """

    grid: tuple[int, ...]
    blended: bool
    closed: tuple[bool, ...]

    @classmethod
    def of(cls, network: NetworkConfig, closed: tuple[bool, ...] = ()) -> "CellLookup | None":
        """The look-up of a network; None if its modulations are vectors.

        Args:
            network: The network.
            closed: Whether each axis of the domain closes on itself; none do unless given.
        """
        if network.modulation_grid is None:
            return None
        grid = network.modulation_grid
        return cls(grid=grid, blended=network.lookup == "linear", closed=closed or (False,) * len(grid))

    @property
    def num_candidates(self) -> int:
        """Cells that a point is evaluated with."""
        return 2 ** len(self.grid) if self.blended else 1

    @property
    def num_cells(self) -> int:
        """Cells of the whole grid."""
        return math.prod(self.grid)

    @property
    def groups(self) -> tuple[int, ...]:
        """Groups of points along each axis of which all have the same candidates: cells, or halves of them."""
        return tuple((2 if self.blended else 1) * cells for cells in self.grid)

    def locate(self, fractions: Float[Array | np.ndarray, "*points axes"]) -> Located:
        """Candidates of points; of arrays of NumPy with NumPy, and of JAX with JAX.

        Args:
            fractions: Positions in [0, 1] along each axis of the grid.
        """
        xp: Any = np if isinstance(fractions, np.ndarray) else jnp
        places = fractions * xp.asarray(self.grid, fractions.dtype)
        lower = xp.floor(places - 0.5) if self.blended else xp.floor(places)
        return self.relative(places, self._within(xp, lower.astype(xp.int32)))

    def group_of(self, fractions: Float[np.ndarray, "points axes"]) -> Int[np.ndarray, " points"]:
        """Which group each point is in, counted in C order."""
        halves = (fractions * np.asarray(self.grid, fractions.dtype)) * (2 if self.blended else 1)
        last = np.asarray(self.groups) - 1
        index = np.clip(halves.astype(np.int64), 0, last)
        return np.asarray(np.ravel_multi_index(tuple(index.T), self.groups), np.int32)

    def in_group(
        self, fractions: Float[Array, "*groups run axes"], groups: Int[Array, "*groups"]
    ) -> tuple[Int[Array, "*groups candidates"], Float[Array, "*groups run candidates axes"], Float[Array, "..."]]:
        """Candidates of points that lie in groups: their cells once for each group, the rest for each point.

        Args:
            fractions: Positions of the points of each group.
            groups: Which group.
        """
        half = jnp.stack(jnp.unravel_index(groups, self.groups), axis=-1).astype(jnp.int32)
        lower = jnp.floor_divide(half - 1, 2) if self.blended else half
        located = self.relative(fractions * jnp.asarray(self.grid, fractions.dtype), lower[..., None, :])
        return located.cells[..., 0, :], located.local, located.weights

    def relative(self, places: Any, lower: Any) -> Located:
        """Candidates of points, given the lower one of the two along each axis (or the only one).

        Args:
            places: Positions of points in cells, from 0 to the number of cells.
            lower: Of the cells along each axis; for a linear look-up from -1 on.
        """
        xp: Any = np if isinstance(places, np.ndarray) else jnp
        grid = xp.asarray(self.grid, xp.int32)
        if not self.blended:
            cells = self._flat(xp, lower)[..., None]
            weights = xp.ones((*places.shape[:-1], 1), places.dtype)
            return Located(cells, (places - lower.astype(places.dtype))[..., None, :], weights)
        share = places - 0.5 - lower.astype(places.dtype)  # of the upper one
        closed = xp.asarray(self.closed)
        share = xp.where(~closed & (lower < 0), 1, xp.where(~closed & (lower >= grid - 1), 0, share))
        cells, local, weights = [], [], []
        for upper in itertools.product((0, 1), repeat=len(self.grid)):
            corner = lower + xp.asarray(upper, xp.int32)
            cells.append(self._flat(xp, xp.where(closed, corner % grid, xp.clip(corner, 0, grid - 1))))
            local.append(places - corner.astype(places.dtype))
            weights.append(xp.prod(xp.where(xp.asarray(upper, bool), share, 1 - share), axis=-1))
        return Located(xp.stack(cells, axis=-1), xp.stack(local, axis=-2), xp.stack(weights, axis=-1))

    @functools.cached_property
    def neighbours(self) -> Int[np.ndarray, "cells kernel"]:
        """The 3 ** axes cells around each cell, itself included, in C order of offsets; `num_cells` beyond a border."""
        index = np.indices(self.grid).reshape(len(self.grid), -1).T
        around = index[:, None] + np.array(list(itertools.product((-1, 0, 1), repeat=len(self.grid))))
        wrapped = np.where(np.asarray(self.closed), around % np.asarray(self.grid), around)
        outside = np.any((wrapped < 0) | (wrapped >= np.asarray(self.grid)), axis=-1)
        flat = np.ravel_multi_index(tuple(np.moveaxis(np.where(outside[:, :, None], 0, wrapped), -1, 0)), self.grid)
        return np.where(outside, self.num_cells, flat).astype(np.int32)

    def _within(self, xp: Any, lower: Any) -> Any:
        """The outermost points, which rounding may take for those of a cell beyond, with those of the last one."""
        first = -1 if self.blended else 0
        return xp.clip(lower, first, xp.asarray(self.grid, xp.int32) - 1)

    def _flat(self, xp: Any, index: Any) -> Any:
        return xp.sum(index * xp.asarray(strides(self.grid), xp.int32), axis=-1)


def strides(shape: tuple[int, ...]) -> Int[np.ndarray, " axes"]:
    """How many elements of an array in C order a step along each axis passes."""
    return np.cumprod((1, *shape[:0:-1]))[::-1]
