"""How much arithmetic does a conversion take, and how long on this machine?

The unit is a forward pass: 2 floating-point operations per weight and point. A fit of n inner steps
costs 2 n + 1 of them (forward and activation gradient per step, and the final error), a second-order
outer step about 3 (2 n + 1).
"""

import time

import jax
import jax.numpy as jnp

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.grids import CellGrid
from functa_store.sources import FeatureSpec

EFFICIENCY = 0.6
"""Share of the matrix-product rate that small networks reach, as seen at 128x6."""


def forward_flops(network: NetworkConfig, num_axes: int, num_channels: int, num_points: int) -> int:
    """Floating-point operations of one forward pass of one example."""
    hidden = (network.depth - 2) * network.width**2
    return 2 * num_points * (num_axes * network.width + hidden + network.width * num_channels)


def estimate_seconds(
    config: ConvertConfig, domain: CellGrid, features: FeatureSpec, num_examples: int
) -> tuple[float, float]:
    """Seconds of meta-learning and of fitting, by the cost model and a short probe of this machine.

    Returns:
        Learning (nan under a time budget) and fitting.
    """
    rate = EFFICIENCY * matmul_rate()
    passes = 2 * config.inner.num_steps + 1
    shape = (config.network, domain.num_axes, features.num_channels)
    points = min(config.outer.num_points or domain.num_points, domain.num_points)
    updates = (config.outer.num_steps or float("nan")) * config.outer.batch_size
    learning = updates * 3 * passes * forward_flops(*shape, points) / rate
    return learning, num_examples * passes * forward_flops(*shape, domain.num_points) / rate


def matmul_rate(size: int = 1024, repeats: int = 8) -> float:
    """Floating-point operations per second of a float32 matrix product on one device."""
    product = jax.jit(lambda a: a @ a / size)
    value = product(jnp.ones((size, size), jnp.float32)).block_until_ready()
    began = time.perf_counter()
    for _ in range(repeats):
        value = product(value)
    value.block_until_ready()
    return repeats * 2 * size**3 / (time.perf_counter() - began)
