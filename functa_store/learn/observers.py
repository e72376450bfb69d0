"""Observers: comparison of a modulation's function with an example, on grids and along rays."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num, PyTree

from functa_store.config import MatmulPrecision
from functa_store.domains.domain import KINDS, Domain
from functa_store.domains.scene import SceneVolume
from functa_store.errors import ConfigError
from functa_store.learn.inner_loop import Target
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
        """What a modulated network gives at the places of a tile: features, or colours of rays."""
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
        self, base: ModulatedSiren, shifts: Float[Array, "layers width"], places: Rays, precision: MatmulPrecision
    ) -> Float[Array, "tile 3"]:
        """Colours seen along the rays of a tile."""
        samples = samples_along(places.origins, places.directions, self._domain, places.offsets)
        positions = samples.positions.reshape(-1, self._domain.num_inputs)
        features = base.evaluate(shifts, base.lift(positions), precision)
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


def observer_of(domain: Domain, spec: FeatureSpec) -> Observer:
    """How examples of a domain are looked at.

    Args:
        domain: Where they are.
        spec: What their values mean.

    Raises:
        ConfigError: If nothing looks at this kind of domain.
    """
    check_domain(domain)
    return GridObserver(domain, spec) if domain.scene is None else RayObserver(domain.scene, spec)


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
