"""Observer of scenes: the colours that are seen along rays."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Key, Num

from functa_store.config import MatmulPrecision
from functa_store.domains.scene import SceneVolume
from functa_store.learn.inner_loop import Target
from functa_store.learn.observer import SingleRows, normalized, sample_points
from functa_store.nets.siren import ModulatedSiren
from functa_store.nets.volume_rendering import random_offsets, render, samples_along
from functa_store.sources.features import FeatureSpec

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


class RayObserver(SingleRows):
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
