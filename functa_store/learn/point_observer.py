"""Observer of values at points of an example's own, such as the part of it that was seen, or a coarse grid."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num

from functa_store.config import MatmulPrecision, NetworkConfig
from functa_store.domains.domain import Domain, inputs_of, network_inputs
from functa_store.learn.grid_observers import Points
from functa_store.learn.inner_loop import Target
from functa_store.learn.observer import SingleRows
from functa_store.nets.cell_lookup import CellLookup
from functa_store.nets.siren import ModulatedSiren


class PointObserver(SingleRows):
    """Examples that are rows of points: what the network takes of each, its weight and its features; see `Observer`.

    The points of an example travel with it, so that one compilation serves all that have as many rows. Rows that are
    filled up have no weight. Those of a step are every so-many-th one, so rows should come in a random order.

    Args:
        domain: Where the points are.
        network: Whose modulations are fitted.
        num_rows: Rows of an example.
    """

    uneven = True

    def __init__(self, domain: Domain, network: NetworkConfig, num_rows: int) -> None:
        self.grid: Float32[np.ndarray, "rows inputs"] | None = None
        self.num_rows, self.step_shape = num_rows, (num_rows,)
        self._inputs = network_inputs(domain, network)
        lookup = CellLookup.of(network, domain.closed)
        self.evaluations = 1 if lookup is None else lookup.num_candidates

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


class PointRows:
    """Examples that were all seen at the same points, as rows for a `PointObserver`: as many as the next power of two.

    Weights of an example are 1 together. Of a spatial modulation those of each cell are the share of that cell in all
    cells, however few of its points were seen, as the rates of a fit expect; cells without a point count nothing.

    Args:
        domain: Where the points are.
        network: Whose modulations are fitted.
        positions: Of the points, in the coordinates of the domain.

    Attributes:
        num_rows: Rows of an example.
    """

    def __init__(self, domain: Domain, network: NetworkConfig, positions: Float[np.ndarray, "points axes"]) -> None:
        self.num_rows = 1 << (len(positions) - 1).bit_length()
        self._inputs = np.asarray(inputs_of(domain, network, positions), np.float32)
        self._weights, self._num_cells = domain.weights_at(positions), network.num_cells
        self._cells = np.zeros(len(positions), np.int64)
        if (lookup := CellLookup.of(network, domain.closed)) is not None:
            nearest = dataclasses.replace(lookup, blended=False)
            self._cells = nearest.group_of(np.asarray(domain.fractions(positions), np.float32)).astype(np.int64)
        self._places = np.random.default_rng(0).permutation(self.num_rows)[: len(positions)]

    def __call__(
        self, features: Float[np.ndarray, "examples points channels"]
    ) -> tuple[Float32[np.ndarray, "examples rows columns"], Float32[np.ndarray, " examples"]]:
        """Rows of examples, and the sum of the weights of each: less than 1 where cells have no point.

        Args:
            features: Of each example at the points; not a number where they were not seen.
        """
        count, num_points, channels = features.shape
        present = np.mean(~np.isnan(features), axis=-1)
        seen = present if self._weights is None else present * self._weights
        rows = np.zeros((count, self.num_rows, self._inputs.shape[1] + 1 + channels), np.float32)
        share = np.empty(count, np.float32)
        for example in range(count):
            found = (np.bincount(self._cells, seen[example], self._num_cells) * self._num_cells)[self._cells]
            alike = 1.0 if self._weights is None else self._weights
            weight = np.divide(alike, found, out=np.zeros(num_points), where=found > 0)
            share[example] = np.sum(weight * present[example])
            rows[example, self._places] = np.concatenate([self._inputs, weight[:, None], features[example]], axis=1)
        return rows, share
