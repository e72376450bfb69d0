"""Observer of values at points of an example's own, such as the part of it that was seen, or a coarse grid."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num

from functa_store.config import MatmulPrecision, NetworkConfig
from functa_store.domains.domain import Domain, network_inputs
from functa_store.learn.grid_observers import Points
from functa_store.learn.inner_loop import Target
from functa_store.learn.observer import Draws, drawn_in_tiles, sample_points
from functa_store.learn.tiling import Tiles, in_tiles
from functa_store.nets.cell_lookup import CellLookup
from functa_store.nets.siren import ModulatedSiren


class PointObserver:
    """Examples that are rows of points: what the network takes of each, its weight and its features; see `Observer`.

    The points of an example travel with it, so that one compilation serves all that have as many rows. Rows that are
    filled up have no weight. Those of a step are every so-many-th one, so rows should come in a random order.

    Args:
        domain: Where the points are.
        network: Whose modulations are fitted.
        num_rows: Rows of an example.
    """

    tile_axes = 1
    uneven = True

    def __init__(self, domain: Domain, network: NetworkConfig, num_rows: int) -> None:
        self.grid: Float32[np.ndarray, "rows inputs"] | None = None
        self.num_rows, self.step_shape = num_rows, (num_rows,)
        self._inputs = network_inputs(domain, network)
        lookup = CellLookup.of(network, domain.closed)
        self.evaluations = 1 if lookup is None else lookup.num_candidates

    def tiles(self, rows: Int[np.ndarray, "*phases rows"], tile: int, counts: np.ndarray | None = None) -> Tiles:
        """Points in tiles."""
        return in_tiles(rows, tile, counts)

    def draws(self, num_rows: int, tile: int) -> Draws:
        """Random points, stratified; see `sample_points`."""
        return drawn_in_tiles(lambda key, looks: sample_points(key, (looks, num_rows), self.num_rows), num_rows, tile)

    def look(
        self,
        raw: Num[Array, "rows raw"],
        rows: Int[Array | np.ndarray, "*tiles"],
        counts: Float[Array | np.ndarray, "*tiles"],
        key: Key[Array, ""] | None,
    ) -> Target:
        """Some points of an example; nothing about them is random."""
        del key
        found = raw[rows].astype(jnp.float32)
        weights = found[..., self._inputs] * jnp.asarray(counts, jnp.float32) * self.num_rows
        return Target(Points(found[..., : self._inputs]), found[..., self._inputs + 1 :], weights)

    @staticmethod
    def predict(
        base: ModulatedSiren, modulation: Float[Array, " modulation"], places: Points, precision: MatmulPrecision
    ) -> Float[Array, "tile channels"]:
        """Features of a function at the points of a tile."""
        return base(modulation, places.coords, precision)


def point_rows(
    domain: Domain,
    network: NetworkConfig,
    inputs: Float32[np.ndarray, "points inputs"],
    features: Float[np.ndarray, "examples points channels"],
    fractions: Float32[np.ndarray, "points axes"],
    weights: Float[np.ndarray, " points"] | None,
    num_rows: int,
) -> tuple[Float32[np.ndarray, "examples rows columns"], Float32[np.ndarray, " examples"]]:
    """Rows of examples for a `PointObserver`.

    Weights of an example are 1 together. Of a spatial modulation those of each cell are the share of that cell in all
    cells, however few of its points were seen, as the rates of a fit expect; cells without a point count nothing.

    Args:
        domain: Where the points are.
        network: Whose modulations are fitted.
        inputs: What the network takes of each point.
        features: Of each example there; not a number where they were not seen.
        fractions: Where each point lies along each axis, in [0, 1].
        weights: What points count beside each other; None for all the same.
        num_rows: Rows of an example, at least as many as points.

    Returns:
        The rows, and the sum of the weights of each example: less than 1 where cells have no point.
    """
    count, num_points, channels = features.shape
    present = np.mean(~np.isnan(features), axis=-1)
    seen = present if weights is None else present * weights
    lookup = CellLookup.of(network, domain.closed)
    cells = np.zeros(num_points, np.int64)
    if lookup is not None:
        nearest = CellLookup(grid=lookup.grid, blended=False, closed=lookup.closed)
        cells = nearest.group_of(fractions).astype(np.int64)
    rows = np.zeros((count, num_rows, inputs.shape[1] + 1 + channels), np.float32)
    places = np.random.default_rng(0).permutation(num_rows)[:num_points]
    share = np.empty(count, np.float32)
    for example in range(count):
        of_cell = np.bincount(cells, seen[example], network.num_cells) * network.num_cells
        found = of_cell[cells]
        weight = np.divide(1.0 if weights is None else weights, found, out=np.zeros(num_points), where=found > 0)
        share[example] = np.sum(weight * present[example])
        rows[example, places] = np.concatenate([inputs, weight[:, None], features[example]], axis=1)
    return rows, share
