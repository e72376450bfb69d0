"""Small functasets of a base that was never learned, whose examples are fitted as a conversion fits them."""

import numpy as np

import functa_store
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.conversion.convert import contents_of
from functa_store.conversion.fit_shards import ready_fit
from functa_store.conversion.workers.engine import InProcess, fit_missing
from functa_store.decode.functaset import Functaset
from functa_store.domains.domain import network_inputs
from functa_store.learn.outer_loop import init_learnable
from functa_store.nets.siren import to_weights
from functa_store.progress import silent
from functa_store.store.format.side_arrays import MOMENTA, RATES
from functa_store.store.storage.local import LocalObjects

NETWORKS = {
    "latent": NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=6),
    "shift": NetworkConfig(width=16, depth=3, w0=10.0, modulation="shift", modulation_dim=None),
    "spatial": NetworkConfig(
        width=16, depth=3, w0=10.0, modulation="spatial", modulation_dim=4, modulation_grid=(2, 2), map_kernel=3
    ),
}
RATE = {"latent": 0.5, "shift": 0.25, "spatial": 0.7}
"""About the highest that the steps can take, so that four of them go a part of the way."""


def fitted(path, source, network: NetworkConfig = NETWORKS["latent"], **choices) -> Functaset:
    """Write the functaset of a source, and open it."""
    steps = FitConfig(num_steps=4, stride=2, tuning_steps=0, tile_points=64)
    config = ConvertConfig(network=network, fit=steps, rows_per_shard=8, **choices)
    channels = source.features.num_channels
    _, learnable = init_learnable(config, network_inputs(source.domain, network), channels)
    rng, shape = np.random.default_rng(1), (steps.num_steps, network.cell_size)
    base = {name: np.asarray(array, config.base_dtype) for name, array in to_weights(learnable.base).items()}
    base[RATES] = (RATE[network.modulation] * rng.uniform(0.5, 1, shape)).astype(np.float32)
    base[MOMENTA] = rng.uniform(0, 0.3, shape).astype(np.float32)
    contents = contents_of(source, config, base, {})
    fit_missing(
        LocalObjects(path), contents, source, lambda: ready_fit(config, base, source), InProcess(), report=silent
    )
    return functa_store.open(path)


def blends(count: int, height: int = 12, width: int = 10, channels: int = 3) -> np.ndarray:
    """Pictures of smooth colours, bytes."""
    corners = np.random.default_rng(0).random((count, 2, 2, channels))
    y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[:, None]
    left, right = ((1 - y) * corners[:, None, 0, None, k] + y * corners[:, None, 1, None, k] for k in (0, 1))
    return np.round(((1 - x) * left + x * right) * 255).astype(np.uint8)
