"""What is looked at to tell how far two modulations of a functaset lie apart?"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from functa_store.decode.decoder import TiledDecoder
from functa_store.decode.rendering import make_renderer
from functa_store.domains import Domain
from functa_store.grids import CellGrid
from functa_store.scenes import SceneVolume
from functa_store.sphere import SphereGrid
from functa_store.store.reader import StoreReader


class Compared(NamedTuple):
    """Places that are the same for all examples, as the errors of a functaset are taken at.

    Attributes:
        look: (modulation) -> features or colours there, (places, channels), not as values.
        weights: What each place counts.
    """

    look: Callable[[Float32[np.ndarray, " modulation"]], Float32[np.ndarray, "places channels"]]
    weights: Float64[np.ndarray, " places"]


def compared(store: StoreReader, most_points: int) -> Compared:
    """Where modulations of a functaset are compared.

    Args:
        store: The functaset.
        most_points: Points at which the network may be evaluated for one modulation.
    """
    return _COMPARED[type(store.domain)](store, most_points)


def _on_grid(store: StoreReader, most_points: int) -> Compared:
    """Points of the native grid that have a value, evenly spread."""
    domain = store.domain
    decoder = TiledDecoder(store.config.network, store.base, domain, store.features.num_channels)
    places = np.unique(np.linspace(0, domain.num_points - 1, most_points).astype(np.int64))
    coords = domain.points()[places]
    weights = np.ones(len(places)) if domain.weights is None else np.asarray(domain.weights, np.float64)[places]
    present = np.where(domain.missing(coords), 0.0, weights)
    return Compared(lambda modulation: decoder(modulation[None], coords)[0], present if present.any() else weights)


def _along_rays(store: StoreReader, most_points: int) -> Compared:
    """Rays from where cameras may stand, all around, through random points of the cube."""
    domain, rng = store.domain, np.random.default_rng(0)
    assert isinstance(domain, SceneVolume), "nothing else is looked at along rays"
    count = max(1, most_points // domain.num_samples)
    around = rng.normal(size=(count, 3))
    origins = (domain.near + domain.far) / 2 * around / np.linalg.norm(around, axis=1, keepdims=True)
    towards = rng.uniform(-domain.bound, domain.bound, (count, 3)) - origins
    directions = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    renderer = make_renderer(store.config.network, domain)
    return Compared(
        lambda modulation: np.asarray(renderer(store.base, modulation, origins, directions).colour), np.ones(count)
    )


_COMPARED: Mapping[type[Domain], Callable[[StoreReader, int], Compared]] = {
    CellGrid: _on_grid,
    SphereGrid: _on_grid,
    SceneVolume: _along_rays,
}
