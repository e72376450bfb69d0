"""Under which names do base weights travel between a network and a store?"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from functa_store.config import NetworkConfig
from functa_store.nets.siren import ModulatedSiren, init_siren


def structure(config: NetworkConfig, num_inputs: int, num_channels: int) -> tuple[nnx.GraphDef, nnx.State]:
    """Structure and array shapes of a base network, without computing weights."""
    return nnx.split(nnx.eval_shape(lambda: init_siren(config, num_inputs, num_channels, seed=0)))


def to_weights(base: nnx.State) -> dict[str, Any]:
    """Base weights by name, such as "sine_0/kernel" (in, out) or "map/bias" (shifts)."""
    return flatten_dict(nnx.to_pure_dict(base), sep="/")


def from_weights(
    config: NetworkConfig, num_inputs: int, num_channels: int, weights: Mapping[str, jax.Array | np.ndarray]
) -> ModulatedSiren:
    """The base network that `to_weights` named; traceable, so that weights may be differentiated.

    Args:
        config: The network.
        num_inputs: Numbers that the network takes of a point.
        num_channels: Features at a point.
        weights: Arrays by name; names that are no weights of the network are ignored.
    """
    graph, state = structure(config, num_inputs, num_channels)
    names = to_weights(state)
    nnx.replace_by_pure_dict(state, unflatten_dict({name: weights[name] for name in names}, sep="/"))
    return nnx.merge(graph, state)
