"""Datasets of PyTorch: examples and ready batches as tensors."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from functa_store.config import whole
from functa_store.errors import ConfigError
from functa_store.loaders.batch_content import Batch
from functa_store.loaders.datasets import Examples, example_at
from functa_store.loaders.loader import Loader, describe, to_tensors
from functa_store.loaders.torch_passes import Passes
from functa_store.support.optional import require

if TYPE_CHECKING:
    import torch.utils.data
    from torch.utils.data._utils.collate import collate, default_collate_fn_map
else:
    torch = require("torch", extra="torch", name="PyTorch")
    require("torch.utils.data", extra="torch", name="PyTorch")
    from torch.utils.data._utils.collate import collate, default_collate_fn_map  # what its documentation names


class ExampleOfBatch(Mapping[str, Any]):
    """One example of a batch, cut out of its tensors when it is looked at.

    Args:
        batch: The batch.
        place: Which of its examples.
    """

    __slots__ = ("_batch", "_place")

    def __init__(self, batch: Batch, place: int) -> None:
        self._batch, self._place = batch, place

    def __getitem__(self, name: str) -> Any:
        return example_at(self._batch[name], self._place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._batch)

    def __len__(self) -> int:
        return len(self._batch)


class GatheredExamples(Sequence[ExampleOfBatch]):
    """Examples that were read together, as a list of them, for whatever collates them.

    PyTorch's `default_collate` takes the batch as it is: it finds `ExampleOfBatch` in `default_collate_fn_map`.

    Args:
        batch: What was read.

    Attributes:
        batch: The same.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["index"])

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        return ExampleOfBatch(self.batch, range(len(self))[place])


class TorchExample(dict[str, Any]):
    """One example, which knows where it is from, so that no batch is made of what cannot be mixed.

    Args:
        origin: Fingerprints of the base network and the normalisation of its modulation.
        content: What it holds.

    Attributes:
        origin: The same.
    """

    __slots__ = ("origin",)

    def __init__(self, origin: tuple[str, str], content: Batch) -> None:
        super().__init__(content)
        self.origin = origin

    def __reduce__(self) -> tuple[type["TorchExample"], tuple[tuple[str, str], Batch]]:
        return TorchExample, (self.origin, dict(self))


def _collate_examples(examples: Sequence[Mapping[str, Any]], *, collate_fn_map: Any = None) -> Any:
    """A batch of examples, read together or one by one, for `default_collate`."""
    if isinstance(examples, GatheredExamples):
        return examples.batch
    bases, normalizations = (set(some) for some in zip(*(_origin_of(one) for one in examples), strict=True))
    if len(bases) > 1:
        raise ConfigError(
            f"a batch of modulations of {len(bases)} base networks, {sorted(one[:8] for one in bases)}, in each of "
            "which they mean something else; load together what has one base network, and one base_fingerprint"
        )
    if len(normalizations) > 1:
        raise ConfigError(
            "a batch of modulations that are normalised by different numbers; give all TorchExamples one normalize=, "
            "such as Normalization.of_all([functaset, other]), or make one of both: TorchExamples([functaset, other])"
        )
    return collate([dict(example) for example in examples], collate_fn_map=collate_fn_map)


def _origin_of(example: Mapping[str, Any]) -> tuple[str, str]:
    """Where an example is from, two empty texts if it does not say."""
    return getattr(example, "origin", ("", ""))


class ReadyBatch(dict[str, Any]):
    """A batch of `TorchBatches`, which a `DataLoader` hands on as it is, whether it has `batch_size=None` or 1."""

    __slots__ = ()


def _collate_ready(batches: Sequence[Batch], *, collate_fn_map: Any = None) -> Batch:
    """The one batch, for `default_collate`."""
    del collate_fn_map
    if len(batches) > 1:
        raise ConfigError(
            f"a DataLoader would put {len(batches)} ready batches into one; give it batch_size=None, the Loader the "
            "number of examples of a batch"
        )
    return batches[0]


default_collate_fn_map.update(
    {ExampleOfBatch: _collate_examples, TorchExample: _collate_examples, ReadyBatch: _collate_ready}
)


class TorchExamples(Examples, torch.utils.data.Dataset[Batch]):
    """Examples as tensors, for a `torch.utils.data.DataLoader` with samplers of PyTorch's.

    `DataLoader(TorchExamples(functaset), batch_size=256, shuffle=True)` gathers each batch at once, also through
    `Subset` and `random_split`. `ConcatDataset` asks for examples one by one, which is many times slower than a list of
    functasets; PyTorch's `default_collate` refuses those of different base networks, or normalised differently. Works
    in forked and spawned workers; from a bucket, and with `decode` once JAX has begun, in spawned ones alone.
    Arguments and errors are those of `Examples`.
    """

    def __getitem__(self, index: int) -> Batch:
        """One example, without a batch axis."""
        return TorchExample(self.origin, to_tensors(super().__getitem__(index)))

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Several examples as a sequence, whose `batch` has all of them."""
        return GatheredExamples(to_tensors(super().__getitems__(indices)))


class TorchBatches(torch.utils.data.IterableDataset[Batch]):
    """The batches of a loader as tensors, for PyTorch's `DataLoader` with workers, and for Lightning and accelerate.

    Every pass begins a new epoch: the first one at the place of the loader, each other one with the first epoch that no
    pass has begun, whether the pass before it went to its end or not. A pass may be over `TorchBatches`, or over
    `DataLoader(TorchBatches(loader), batch_size=None, num_workers=2)`, whose workers take the batches in turns and
    deliver them in the loader's order, forked or spawned, persistent or not. Workers are worth it where batches take
    long to make; else `loader.to_torch()` is faster. With a `BlockShuffle`, each worker reads every window.

    Give Lightning's `Trainer` the `TorchBatches` without a `DataLoader`, and it goes on in the middle of an epoch.

    Args:
        loader: The loader, whose place stays as it is. Where PyTorch has several ranks it needs `rank`, `num_ranks`.

    Raises:
        ConfigError: If the loader never ends.
    """

    def __init__(self, loader: Loader) -> None:
        if loader.num_epochs is None:
            raise ConfigError(
                "a pass over the batches of a loader with num_epochs=None would never end; give it a number of epochs, "
                "after which the next pass goes on with new ones"
            )
        self._loader, self._num_epochs, self._ranks = copy.copy(loader), loader.num_epochs, (0, 1)
        self._passes = Passes(loader.place, loader.num_epochs)
        self._begun = self._behind = loader.place

    def __len__(self) -> int:
        """Batches of a pass that begins with an epoch."""
        return len(self._loader)

    def __repr__(self) -> str:
        return f"<TorchBatches of {self._loader!r}>"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ranks": self._find_ranks()}  # of which a spawned worker knows nothing

    def __iter__(self) -> Iterator[Batch]:
        """Begin a pass.

        Raises:
            ConfigError: If workers of a `DataLoader` would load different epochs. With the first batch: if PyTorch has
                several ranks, and the loader knows of one alone.
        """
        worker = torch.utils.data.get_worker_info()
        if worker is None:
            begun, share = self._passes.begin(), (0, 1)
        else:
            begun, share = self._passes.begin_in_worker(worker), (worker.id, worker.num_workers)
        self._begun = self._behind = begun
        return self._deliver(begun, share)

    def set_epoch(self, epoch: int) -> None:
        """Begin the next pass with an epoch, or, if a state of that epoch was loaded, in the middle of it.

        Nobody has to: passes begin new epochs anyhow. For the process of the loop, not for its workers.

        Args:
            epoch: From 0; the order of its batches depends on it and the seed alone.

        Raises:
            ConfigError: If it is no whole number of at least 0.
        """
        epoch, place = whole("epoch", epoch, 0), self._passes.next_place()
        self._move(place if place[0] == epoch else (epoch, 0))

    def state_dict(self, num_batches: int | None = None) -> dict[str, Any]:
        """Where to go on, as plain JSON; what `Loader.state` gives, and takes by `Loader.restore`.

        Args:
            num_batches: Batches of the last pass that the loop has had. They are counted where the process of the loop
                makes them; workers are ahead of the loop, so that it must say.

        Raises:
            ConfigError: If workers have made batches, and it does not say.
        """
        begun = self._begun
        if self._passes.begun_by_workers():
            if num_batches is None:
                raise ConfigError(
                    "workers make batches before the loop asks for them, and do not know how many it has had; give "
                    "state_dict(num_batches) those of this pass"
                )
            begun = self._passes.last_of_workers()
        place = self._behind
        if num_batches is not None:
            epochs, batch = divmod(begun[1] + whole("num_batches", num_batches, 0), self._loader.batches_per_epoch)
            place = (begun[0] + epochs, batch)
        return describe(self._loader.functaset, self._loader.reading, place)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Begin the next pass where a state was taken; it ends with that epoch. For the process of the loop.

        Args:
            state_dict: What `state_dict` or `Loader.state` returned, in this process or another.

        Raises:
            StoreMismatchError: If it was taken of another functaset.
            ConfigError: If it was taken with other options, or is none, or in a worker, as torchdata's
                `StatefulDataLoader` asks for.
        """
        if torch.utils.data.get_worker_info() is not None:
            raise ConfigError(
                "a state would be loaded by each worker for itself, and their epochs would differ; give a "
                "StatefulDataLoader num_workers=0, or load the state into these TorchBatches in the process of the "
                "loop: load_state_dict(state_dict(num_batches)), with the batches that the loop has had"
            )
        shuffle = self._loader.shuffle
        self._loader.restore(state_dict)
        if self._loader.shuffle != shuffle:
            self._passes.close()
            self._passes = Passes(self._loader.place, self._num_epochs)
        self._move(self._loader.place)

    def _move(self, place: tuple[int, int]) -> None:
        self._passes.set(place)
        self._begun = self._behind = place

    def _deliver(self, begun: tuple[int, int], share: tuple[int, int]) -> Iterator[Batch]:
        reading, (rank, num_ranks) = self._loader.reading, self._find_ranks()
        if rank and reading.order.num_ranks == 1:  # the first rank may make batches for all, as accelerate's does
            raise ConfigError(
                f"rank {rank} of {num_ranks} would load the batches that rank 0 loads; make the Loader with rank= and "
                "num_ranks=, or, where ranks are to have the same batches, iterate over loader.to_torch()"
            )
        for behind, batch in reading.batches_from(begun, self._num_epochs, share):
            if self._begun == begun:  # no other pass has begun
                self._behind = behind
            yield ReadyBatch(to_tensors(batch))

    def _find_ranks(self) -> tuple[int, int]:
        """This process among those that train together, and how many they are."""
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return (0, 1) if torch.utils.data.get_worker_info() is None else self._ranks
