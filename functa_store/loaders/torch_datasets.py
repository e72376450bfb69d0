"""Datasets of PyTorch: examples and ready batches as tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from functa_store.loaders.batch_content import Batch
from functa_store.loaders.datasets import Batches, Examples
from functa_store.loaders.loader import to_tensors
from functa_store.support.optional import require

if TYPE_CHECKING:
    import torch.utils.data
else:
    torch = require("torch", extra="torch", name="PyTorch")
    require("torch.utils.data", extra="torch", name="PyTorch")


def keep_batch(batch: Batch) -> Batch:
    """What `DataLoader` takes as `collate_fn` for `TorchExamples`, which collate each batch themselves."""
    return batch


class TorchExamples(Examples, torch.utils.data.Dataset[Batch]):
    """Examples as tensors, for a `torch.utils.data.DataLoader` with samplers of PyTorch's.

    `DataLoader(TorchExamples(functaset), batch_size=256, shuffle=True, collate_fn=keep_batch)` gathers each batch at
    once. Without `collate_fn=keep_batch` torch takes the batch for a list of examples, and fails with `KeyError: 0`.
    Works in forked and spawned workers; from a bucket, and with `decode` once JAX has begun, in spawned ones alone.
    Arguments and errors are those of `Examples`.
    """

    def __getitem__(self, index: int) -> Batch:
        """One example, without a batch axis."""
        return to_tensors(super().__getitem__(index))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch, which `DataLoader` must not collate again: give it `collate_fn=keep_batch`."""
        return to_tensors(super().__getitems__(indices))


class TorchBatches(Batches, torch.utils.data.Dataset[Batch]):
    """The batches of a loader as tensors, for workers of a `torch.utils.data.DataLoader`.

    `DataLoader(TorchBatches(loader), batch_size=None, num_workers=2)` delivers the batches of the loader, in its order.
    Worth it where batches take long to make; else `loader.to_torch()` is faster. Arguments and errors are those of
    `Batches`.
    """

    def __getitem__(self, index: int) -> Any:
        """One batch."""
        return to_tensors(super().__getitem__(index))
