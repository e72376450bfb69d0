"""Which observer looks at the examples of a domain?"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from functa_store.domains import Domain
from functa_store.errors import ConfigError
from functa_store.grids import CellGrid
from functa_store.learn.observing import GridObserver, Observer
from functa_store.learn.rays import RayObserver
from functa_store.scenes import SceneVolume
from functa_store.sources import FeatureSpec
from functa_store.sphere import SphereGrid

OBSERVERS: Mapping[type[Domain], Callable[[Any, FeatureSpec], Observer]] = {
    CellGrid: GridObserver,
    SphereGrid: GridObserver,
    SceneVolume: RayObserver,
}


def observer_of(domain: Domain, spec: FeatureSpec) -> Observer:
    """How examples of a domain are looked at.

    Args:
        domain: Where they are.
        spec: What their values mean.

    Raises:
        ConfigError: If nothing looks at this kind of domain.
    """
    if (kind := type(domain)) not in OBSERVERS:
        known = ", ".join(known.__name__ for known in OBSERVERS)
        raise ConfigError(f"the domain is a {kind.__name__}, expected one of {known}")
    return OBSERVERS[kind](domain, spec)


def shapes_at_a_row(observer: Observer, num_columns: int, graph: nnx.GraphDef, base: nnx.State) -> tuple[int, int]:
    """Channels that an example shows in one of its rows, and those that are predicted for it; nothing is computed.

    Args:
        observer: How it is looked at.
        num_columns: Numbers in a row of its raw values.
        graph: Structure of the base network.
        base: Its weights, or their shapes.
    """
    raw = jax.ShapeDtypeStruct((observer.num_rows, num_columns), jnp.float32)

    def both(base: nnx.State, raw: jax.Array) -> tuple[jax.Array, jax.Array]:
        network = nnx.merge(graph, base)
        target = observer.look(raw, np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32), None)
        places = jax.tree.map(lambda array: array[0], target.places)
        shifts = network.shifts(jnp.zeros(network.config.modulation_size))
        return target.features[0], observer.predict(network, shifts, places, "float32")

    shown, predicted = jax.eval_shape(both, base, raw)
    return shown.shape[-1], predicted.shape[-1]
