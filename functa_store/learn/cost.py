"""How much arithmetic does a conversion take, and how long on this machine?

The unit is a forward pass: 2 floating-point operations per weight and point. The published fit of n inner
steps on all points costs 2 n + 1 of them (forward and activation gradient per step, and the final error), a
second-order outer step about 3 (2 n + 1); `Fit.passes` says what a fit costs here.
"""

import time

import jax
import jax.numpy as jnp

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.learn.fit import Fit
from functa_store.learn.observing import num_step_rows
from functa_store.sources import Source

EFFICIENCY = 0.6
"""Share of the matrix-product rate that small networks reach, as seen at 128x6."""


def forward_flops(network: NetworkConfig, num_inputs: int, num_channels: int, num_points: int) -> int:
    """Floating-point operations of one forward pass of one example."""
    hidden = (network.depth - 2) * network.width**2
    return 2 * num_points * (num_inputs * network.width + hidden + network.width * num_channels)


def estimate_seconds(config: ConvertConfig, source: Source, fit: Fit) -> tuple[float, float]:
    """Seconds of learning and of fitting, by the cost model and a short probe of this machine.

    Args:
        config: The conversion.
        source: The examples, all of which are fitted.
        fit: How.

    Returns:
        Learning with tuning (nan under a time budget), and fitting.
    """
    rate = EFFICIENCY * matmul_rate()
    shape, observer = (config.network, source.domain.num_inputs, source.features.num_channels), fit.observer
    forward = forward_flops(*shape, num_step_rows(observer) * observer.evaluations) / rate
    rows = min(config.outer.num_points or observer.num_rows, observer.num_rows)
    update = 3 * (2 * config.inner.num_steps + 1) * forward_flops(*shape, rows * observer.evaluations) / rate
    updates = config.outer.num_steps or float("nan")
    learning = config.outer.batch_size * (updates * update + config.fit.tuning_steps * 3 * fit.passes * forward)
    return learning, len(source.ids) * fit.passes * forward


def matmul_rate(size: int = 1024, repeats: int = 8) -> float:
    """Floating-point operations per second of a float32 matrix product on one device."""
    product = jax.jit(lambda a: a @ a / size)
    value = product(jnp.ones((size, size), jnp.float32)).block_until_ready()
    began = time.perf_counter()
    for _ in range(repeats):
        value = product(value)
    value.block_until_ready()
    return repeats * 2 * size**3 / (time.perf_counter() - began)
