"""How does a batch reach JAX's devices?"""

from collections.abc import Callable

import jax

from functa_store.loaders.content import Batch


def put(sharding: jax.sharding.Sharding | None) -> Callable[[Batch], Batch]:
    """A function that puts a batch onto devices.

    Args:
        sharding: Of the first axis of every array but `coords`, which has no examples' axis; None means the default
            device.
    """
    if sharding is None:
        return jax.device_put

    def put_sharded(batch: Batch) -> Batch:
        coords = {name: batch[name] for name in ("coords",) if name in batch}
        parts = {name: values for name, values in batch.items() if name not in coords}
        return jax.tree.map(lambda part: jax.make_array_from_process_local_data(sharding, part), parts) | coords

    return put_sharded
