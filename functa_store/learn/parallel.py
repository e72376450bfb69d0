"""How is a batch of examples spread over the devices at hand?"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec


def use_all_cores() -> None:
    """Make every CPU core a device of its own.

    No effect once JAX has started, if the caller has chosen a number, or on accelerators.

    The small matrix products of one example leave a second core idle; an example per core does
    not (1.5 times as fast at 128x6 with 512 points on 2 cores).
    """
    if jax.config.jax_num_cpu_devices > 0:  # type: ignore[attr-defined]  # JAX defines its options at run time
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # a backend exists already; whoever started it chose its devices
        return


def spread(function: Callable[..., tuple[Any, Any]], shared: Any, batch: tuple[jax.Array, ...]) -> tuple[Any, Any]:
    """Apply a function to every example of a batch, on all local devices at once.

    A CPU core takes one example at a time, whose activations then stay in its cache; an
    accelerator takes all of its share together.

    Args:
        function: (shared, *example) -> (kept, summed), for one example, without a batch axis.
        shared: What all examples share; copied to every device.
        batch: Arrays with the examples' axis first.

    Returns:
        What the function keeps, examples' axis first, and the sum of `summed` over the batch.
    """
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if len(batch[0]) % n == 0)
    one_by_one = devices[0].platform == "cpu"

    def on_device(shared, batch):
        kept, summed = (_scan if one_by_one else _vmap)(function, shared, batch)
        return kept, jax.lax.psum(summed, "example")

    share, copy = PartitionSpec("example"), PartitionSpec()
    mesh = Mesh(np.array(devices[:count]), ("example",))
    spread_out = jax.shard_map(on_device, mesh=mesh, in_specs=(copy, share), out_specs=(share, copy), check_vma=False)
    return spread_out(shared, batch)


def _scan(function, shared, batch):
    def add(total, example):
        kept, summed = function(shared, *example)
        return jax.tree.map(jnp.add, total, summed), kept

    shapes = jax.eval_shape(function, shared, *(array[0] for array in batch))[1]
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, kept = jax.lax.scan(add, start, batch)
    return kept, total


def _vmap(function, shared, batch):
    kept, summed = jax.vmap(lambda *example: function(shared, *example))(*batch)
    return kept, jax.tree.map(lambda each: each.sum(axis=0), summed)
