"""How much arithmetic does a conversion take, and how long on this machine?

The unit is a forward pass: 2 floating-point operations per weight and point. The published fit of n inner
steps on all points costs 2 n + 1 of them (forward and activation gradient per step, and the final error), a
second-order outer step about 3 (2 n + 1); `Fit.passes` says what a fit costs here.
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
    config: ConvertConfig, domain: CellGrid, features: FeatureSpec, num_examples: int, fit_passes: float
) -> tuple[float, float]:
    """Seconds of learning and of fitting, by the cost model and a short probe of this machine.

    Args:
        config: The conversion.
        domain: Where the examples are sampled.
        features: What their values mean.
        num_examples: How many are fitted.
        fit_passes: Forward passes of one fit.

    Returns:
        Learning with tuning (nan under a time budget), and fitting.
    """
    rate = EFFICIENCY * matmul_rate()
    shape = (config.network, domain.num_axes, features.num_channels)
    forward = forward_flops(*shape, domain.num_points) / rate
    points = min(config.outer.num_points or domain.num_points, domain.num_points)
    update = 3 * (2 * config.inner.num_steps + 1) * forward_flops(*shape, points) / rate
    updates = config.outer.num_steps or float("nan")
    learning = config.outer.batch_size * (updates * update + config.fit.tuning_steps * 3 * fit_passes * forward)
    return learning, num_examples * fit_passes * forward


def matmul_rate(size: int = 1024, repeats: int = 8) -> float:
    """Floating-point operations per second of a float32 matrix product on one device."""
    product = jax.jit(lambda a: a @ a / size)
    value = product(jnp.ones((size, size), jnp.float32)).block_until_ready()
    began = time.perf_counter()
    for _ in range(repeats):
        value = product(value)
    value.block_until_ready()
    return repeats * 2 * size**3 / (time.perf_counter() - began)
