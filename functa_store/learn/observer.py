"""What the loops ask of a kind of domain: the protocol Observer, and how rows are drawn and weighed."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num, PyTree

from functa_store.config import MatmulPrecision
from functa_store.learn.inner_loop import Target
from functa_store.learn.tiling import Tiles, in_tiles
from functa_store.nets.siren import ModulatedSiren


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
        whole_cells: Whether it sees all points of these cells.
    """

    rows: Callable[[Array, int], tuple[Array, Array]]
    share: float = 1.0
    whole_cells: bool = True


class SingleRows:
    """The part of an `Observer` that says which rows are looked at, where each stands for itself."""

    tile_axes = 1
    num_rows: int

    def tiles(self, rows: Int[np.ndarray, "*phases rows"], tile: int, counts: np.ndarray | None = None) -> Tiles:
        """Rows in tiles; see `tiling.in_tiles`."""
        return in_tiles(rows, tile, counts)

    def draws(self, num_rows: int, tile: int) -> Draws:
        """Rows that are drawn for each look by itself, in tiles; see `sample`."""
        tiles = in_tiles(np.arange(num_rows), tile)

        def rows(key: Array, num_looks: int) -> tuple[Array, Array]:
            drawn = self.sample(key, num_looks, num_rows)[:, tiles.points]
            return drawn, jnp.broadcast_to(tiles.weights, drawn.shape)

        return Draws(rows)

    def sample(self, key: Key[Array, ""], num_looks: int, num_rows: int) -> Int[Array, "looks rows"]:
        """Random rows, stratified; see `sample_points`."""
        return sample_points(key, (num_looks, num_rows), self.num_rows)


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
