"""How is the function of a modulation compared with what an archive holds of an example?"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num, PyTree

from functa_store.config import MatmulPrecision
from functa_store.domains import Domain
from functa_store.learn.losses import Target
from functa_store.nets.siren import ModulatedSiren
from functa_store.sources import FeatureSpec


@runtime_checkable
class Observer(Protocol):
    """What the loops ask of a kind of domain; see `GridObserver` for the plain one.

    Attributes:
        num_rows: Rows of an example's raw values: points of a grid, or rays.
        step_shape: Shape, in C order, of the leading rows, which the steps of a fit look at; all others are held out.
        evaluations: Points at which the network is evaluated for one row.
        uneven: Whether rows may count differently, or be missing.
    """

    num_rows: int
    step_shape: tuple[int, ...]
    evaluations: int
    uneven: bool

    @property
    def grid(self) -> Float32[np.ndarray, "rows inputs"] | None:
        """What the network takes of each row, where it is the same for all examples; else None."""
        ...

    def sample(self, key: Key[Array, ""], num_looks: int, num_rows: int) -> Int[Array, "looks rows"]:
        """Random rows for each inner step and, in the last look, for the outer loss."""
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
        self, base: ModulatedSiren, shifts: Float[Array, "layers width"], places: PyTree, precision: MatmulPrecision
    ) -> Float[Array, "tile channels"]:
        """What the function looks like at the places of a tile."""
        ...


class Points(NamedTuple):
    """Places of a grid.

    Attributes:
        coords: What the network takes of each point.
        lifted: The same after its first layer, where that is at hand.
    """

    coords: Float[Array, "*tiles inputs"]
    lifted: Float[Array, "*tiles width"] | None = None


def at_points(
    base: ModulatedSiren, shifts: Float[Array, "layers width"], places: Points, precision: MatmulPrecision = "float32"
) -> Float[Array, "tile channels"]:
    """Features of a function at the points of a tile."""
    lifted = base.lift(places.coords) if places.lifted is None else places.lifted
    return base.evaluate(shifts, lifted, precision)


class GridObserver:
    """Examples that are values at the points of a grid, the same for all; see `Observer`.

    Args:
        domain: The grid.
        spec: What raw values mean.
    """

    evaluations = 1

    def __init__(self, domain: Domain, spec: FeatureSpec) -> None:
        self.grid = domain.inputs(domain.coords())
        self.num_rows, self.step_shape = len(self.grid), domain.resolution
        self._spec = spec
        self._weights = None if domain.weights is None else np.asarray(domain.weights, np.float32)
        self.uneven = spec.missing or self._weights is not None

    def sample(self, key: Key[Array, ""], num_looks: int, num_rows: int) -> Int[Array, "looks rows"]:
        """Random points, stratified; see `sample_points`."""
        return sample_points(key, (num_looks, num_rows), self.num_rows)

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
