"""Spreading of a batch over the devices at hand."""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


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


def one_at_a_time() -> bool:
    """Whether a device takes one example at a time, as a CPU core does, whose cache holds its activations then."""
    return jax.default_backend() == "cpu"


def copies() -> int:
    """Copies that one memory holds of what is on every device: CPU cores share it, accelerators have their own."""
    return jax.local_device_count() if one_at_a_time() else 1


def microbatch_sizes(wanted: int | None, batch_size: int) -> list[int]:
    """Examples that a device may take together, the most first: divisors of its share of a batch.

    Args:
        wanted: Leaves only the largest divisor up to this; None leaves 1 on a CPU, which is fastest there.
        batch_size: Examples of the batch.
    """
    share = batch_size // num_devices(batch_size)
    divisors = [n for n in range(share, 0, -1) if share % n == 0]
    if wanted is not None:
        return [max(n for n in divisors if n <= wanted)]
    return [1] if one_at_a_time() else divisors


def on_devices(value: Any, count: int) -> Any:
    """Copies of arrays on the first devices, where `over_devices` finds them without moving them."""
    return jax.device_put(jax.device_get(value), NamedSharding(_mesh(count), PartitionSpec()))


def over_devices(
    function: Callable[..., tuple[Any, Any]], shared: Any, batch: tuple[jax.Array, ...]
) -> tuple[Any, Any]:
    """Apply a function to equal parts of a batch, one on each local device.

    As many devices take part as divide the batch.

    Args:
        function: (shared, *part) -> (kept, summed), for any number of examples.
        shared: What all examples share; copied to every device.
        batch: Arrays with the examples' axis first.

    Returns:
        What the function keeps, examples' axis first, and the sum of `summed` over the parts.
    """
    count = num_devices(len(batch[0]))

    def on_device(shared, batch):
        kept, summed = function(shared, *batch)
        return kept, jax.lax.psum(summed, "example")

    part, copy = PartitionSpec("example"), PartitionSpec()
    return jax.shard_map(on_device, mesh=_mesh(count), in_specs=(copy, part), out_specs=(part, copy), check_vma=False)(
        shared, batch
    )


def each(
    function: Callable[..., tuple[Any, Any]], shared: Any, batch: tuple[jax.Array, ...], microbatch_size: int
) -> tuple[Any, Any]:
    """Apply a function to every example of a batch on one device, some of them together.

    Args:
        function: (shared, *example) -> (kept, summed), for one example, without a batch axis.
        shared: What all examples share.
        batch: Arrays with the examples' axis first.
        microbatch_size: Examples taken together, a divisor of the batch; memory grows with them.

    Returns:
        What the function keeps, examples' axis first, and the sum of `summed` over the batch.
    """
    size = len(batch[0])

    def group(*examples):
        if microbatch_size == 1:
            return function(shared, *(array[0] for array in examples))
        kept, summed = jax.vmap(lambda *example: function(shared, *example))(*examples)
        return kept, jax.tree.map(lambda one: one.sum(axis=0), summed)

    def add(total, examples):
        kept, summed = group(*examples)
        return jax.tree.map(jnp.add, total, summed), kept

    groups = tuple(array.reshape(size // microbatch_size, microbatch_size, *array.shape[1:]) for array in batch)
    shapes = jax.eval_shape(group, *(array[0] for array in groups))[1]
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, kept = jax.lax.scan(add, start, groups)
    return (kept if microbatch_size == 1 else jax.tree.map(lambda one: one.reshape(size, *one.shape[2:]), kept)), total


def num_devices(batch_size: int) -> int:
    """Local devices that share a batch equally: the most that divide it."""
    return max(n for n in range(1, jax.local_device_count() + 1) if batch_size % n == 0)


def _mesh(count: int) -> Mesh:
    return Mesh(np.array(jax.local_devices()[:count]), ("example",))
