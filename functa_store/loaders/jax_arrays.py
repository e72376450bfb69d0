"""Batches on JAX's devices."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from functa_store.errors import ConfigError
from functa_store.loaders.batch_content import Batch, Content
from functa_store.loaders.windows import Order


def check_labels(content: Content) -> None:
    """Refuse labels that JAX would silently make others.

    Raises:
        ConfigError: If one does not fit into 32 bits, unless JAX keeps 64.
    """
    if jax.dtypes.canonicalize_dtype(np.int64) == np.int64:
        return
    for name, values in content.labels.items():
        if values.dtype in (np.int64, np.uint64) and len(values):
            kept = np.iinfo(np.uint32 if values.dtype.kind == "u" else np.int32)
            if values.min() < kept.min or values.max() > kept.max:
                raise ConfigError(
                    f"label {name!r} reaches {values.max()}, which JAX cuts to 32 bits; leave it out "
                    "by labels=, or set jax_enable_x64"
                )


def put(sharding: jax.sharding.Sharding | None, order: Order) -> Callable[[Batch], Batch]:
    """A function that puts a batch onto devices.

    Args:
        sharding: Of the first axis of every array but `coords`, which has no examples' axis and is replicated; None
            means the default device.
        order: Decides how many examples batches have.

    Raises:
        ConfigError: If batches of so many examples cannot be divided so.
    """
    if sharding is None:
        return _without_ids(jax.device_put)
    batches = [_divided(sharding, size) for size in (order.batch_size, *order.last_sizes)]
    if len(order.last_sizes) > 1:
        raise ConfigError(
            f"the last batches of ranks have {order.last_sizes} examples and make no array together; use drop_last=True"
        )
    devices = np.array(list(sharding.devices_indices_map(batches[0].shape)))
    everywhere = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, "all"), jax.sharding.PartitionSpec())

    def put_sharded(batch: Batch) -> Batch:
        shardings = {name: everywhere if name == "coords" else sharding for name in batch}
        makes = {name: functools.partial(jax.make_array_from_process_local_data, to) for name, to in shardings.items()}
        return {name: jax.tree.map(make, batch[name]) for name, make in makes.items()}

    return _without_ids(put_sharded)


def _without_ids(put_all: Callable[[Batch], Batch]) -> Callable[[Batch], Batch]:
    """The same for batches whose ids stay strings of NumPy, of which JAX has no arrays."""

    def put_batch(batch: Batch) -> Batch:
        if "id" not in batch:
            return put_all(batch)
        return put_all({name: values for name, values in batch.items() if name != "id"}) | {"id": batch["id"]}

    return put_batch


def _divided(sharding: jax.sharding.Sharding, size: int) -> jax.Array:
    try:
        return jax.make_array_from_process_local_data(sharding, np.zeros(size, np.float32))
    except ValueError as error:
        raise ConfigError(
            f"batches of {size} examples cannot be divided by {sharding}; choose another batch_size, or drop_last=True "
            "if it is the last batch"
        ) from error
