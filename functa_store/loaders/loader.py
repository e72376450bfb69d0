"""Loader: batches of a functaset to train on, and the state from which it goes on."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from functa_store.config import differences, from_dict, whole
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.loaders.augmentation_draws import AugmentationChoice, select_rows
from functa_store.loaders.batch_content import Batch, Content, Decode, Functasets, Normalization, joined
from functa_store.loaders.windows import BlockShuffle, Order, Reading, SelectedRows, Shuffle
from functa_store.store.reading.rows import Index
from functa_store.store.reading.selected_store import Where
from functa_store.support.optional import require
from functa_store.support.threads import made_ahead

if TYPE_CHECKING:
    import jax


class ConvertedBatches:
    """The batches of a loader, converted; iterating moves the loader on.

    Args:
        loader: The loader.
        deliver: Begins an iteration over converted batches.
    """

    def __init__(self, loader: "Loader", deliver: Callable[[], Iterator[Any]]) -> None:
        self._loader, self._deliver = loader, deliver

    def __len__(self) -> int:
        """Batches that iterating gives from the beginning."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return self._deliver()

    def set_epoch(self, epoch: int) -> None:
        """`Loader.set_epoch`."""
        self._loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """`Loader.state`, by the name that PyTorch, Lightning and accelerate ask for."""
        return self._loader.state()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """`Loader.restore`, by the name that PyTorch, Lightning and accelerate ask for."""
        self._loader.restore(state_dict)


KEYS = {"functaset", "options", "epoch", "batch"}


def describe(functaset: Functaset, reading: Reading, place: tuple[int, int]) -> dict[str, Any]:
    """The state of a loader, plain JSON; the rank is left out, since all ranks move together."""
    order = dataclasses.asdict(reading.order)
    del order["rank"]
    draws = {} if reading.draws is None else {"augmentations": "one"}
    state = {
        "functaset": {"fingerprint": functaset.store.spec.fingerprint, "examples": len(functaset)},
        "options": order | {"examples": reading.table.fingerprint} | reading.content.options() | draws,
        "epoch": place[0],
        "batch": place[1],
    }
    return json.loads(json.dumps(state))  # compared with one that was read from JSON, where a tuple is a list


def place_in(state: Mapping[str, Any], expected: Mapping[str, Any], num_batches: int) -> tuple[int, int]:
    """Epoch and batch at which a state goes on.

    Args:
        state: What is to be restored.
        expected: The state of the loader that it is to be restored into.
        num_batches: Batches of an epoch.

    Raises:
        StoreMismatchError: If it was taken of another functaset.
        ConfigError: If it was taken with other options, or holds no such place.
    """
    if found := "; ".join(differences(state["functaset"], expected["functaset"], "functaset")):
        raise StoreMismatchError(f"the state of another functaset: {found}; open the functaset that it was taken of")
    if found := "; ".join(differences(state["options"], expected["options"])):
        raise ConfigError(f"the state of a loader with other options: {found}; make the loader as it was then")
    epoch, batch = state["epoch"], state["batch"]
    if type(epoch) is not int or type(batch) is not int or epoch < 0 or not 0 <= batch < num_batches:
        raise ConfigError(f"no place of {num_batches} batches per epoch: epoch {epoch!r}, batch {batch!r}")
    return epoch, batch


def shuffle_in(state: Mapping[str, Any]) -> Shuffle:
    """The order that a state was taken in.

    Raises:
        ConfigError: If it is no state of a loader.
    """
    options = state["options"] if isinstance(state, Mapping) and state.keys() == KEYS else None
    found = options.get("shuffle") if isinstance(options, Mapping) else None
    if found == "full" or found == "none":
        return found
    if not isinstance(found, Mapping):
        raise ConfigError(f"not the state of a loader: expected what Loader.state() returned, got {str(state)[:200]}")
    return from_dict(BlockShuffle, found)


class Loader:
    """Ready batches of NumPy arrays, in an order that a seed decides; with `to_jax` and `to_torch`, of theirs.

    A batch is a dictionary: `modulations` float32, (batch, modulation), or (batch, *cells, channel) where a modulation
    is a grid, `index` (batch,) in the functaset, `labels` by name, with `ids` `id`, and, with `decode`, `values` and
    `coords`. Its arrays belong to the caller.

    A loader remembers its place: iterating goes on behind the last batch that was delivered, whichever view delivered
    it, up to the end of an epoch. The next iteration is the next epoch, in another order. One iteration at a time: when
    another one begins, or a state is restored, the older one raises `ConfigError`.

    Args:
        functaset: What to load; several of one base network, in a list, are loaded as one, whose `index` counts on
            from each to the next.
        batch_size: Examples per batch and rank, at least 1.
        split: Only the examples of this split.
        index: Only these examples: a slice, integers or a mask; one named twice comes twice. With `split`, those of
            both.
        where: Only examples with these labels, such as `{"digit": [3, 8]}` or, by the name of a class,
            `{"animal": "cat"}`, and of `split` and `index`.
        shuffle: "full" permutes all examples, "none" keeps their order, `BlockShuffle` mixes blocks of a table that
            memory does not hold, and "auto" takes "full" if half of the free memory holds the table, else blocks.
            Ranks must agree, so several need one of the others.
        seed: Decides everything random, at least 0 and below 2**32.
        normalize: True: by mean and standard deviation over all examples, as the store holds them; False: not at all;
            or by a `Normalization` of the caller's.
        labels: Names of the labels in a batch; None means all.
        decode: `DecodeGrid` or `DecodePoints`; needs JAX.
        flatten: Give modulations that are grids as vectors, (batch, numbers), in C order.
        ids: Give the names of examples in their archive as `id`: strings of NumPy, a list from torch.
        augmentations: Of a functaset that has some: "one" draws, for every epoch, one of each example and its
            augmentations, among the rows that `split` or `index` means; "all" takes every row by itself, and "none"
            leaves augmentations out. Other functasets, and splits without any, are the same with each.
        rank: Which of several processes this is, from 0.
        num_ranks: How many there are; each gets other examples, and as many batches.
        drop_last: Leave out what fills no batch at the end of an epoch; else the last batch is smaller.
        num_epochs: Epochs after which iterating ends, counted from a multiple of it; None means never.

    Attributes:
        functaset: What is loaded; several as one.
        num_examples: Examples of an epoch, of all ranks together.
        shuffle: The order that was chosen.
        num_epochs: Epochs after which iterating ends.
        reading: What makes its batches, for other views of them, such as `Batches`.

    Raises:
        ConfigError: If functasets have different base networks, an option is out of range or of another kind, ranks
            would get different orders, different numbers of batches, or none, there is no such split or label, a
            bucket's table cannot be shuffled so, or `index` names a row twice of which one is to be drawn.
        ExampleIndexError: If `index` names one that is not there.
        GridError: If a grid to decode does not fit the domain.
        StoreFormatError: If the store is unfinished and `normalize` is True, or it is damaged.
    """

    def __init__(
        self,
        functaset: Functasets,
        batch_size: int,
        *,
        split: str | None = None,
        index: Index | None = None,
        where: Where | None = None,
        shuffle: Literal["auto"] | Shuffle = "auto",
        seed: int = 0,
        normalize: bool | Normalization = True,
        labels: Sequence[str] | None = None,
        decode: Decode | None = None,
        flatten: bool = False,
        ids: bool = False,
        augmentations: AugmentationChoice = "one",
        rank: int = 0,
        num_ranks: int = 1,
        drop_last: bool = False,
        num_epochs: int | None = 1,
    ) -> None:
        functaset = joined(functaset)
        rows, draws = select_rows(functaset, split, index, where, augmentations)
        table = SelectedRows(functaset, rows)
        self._chooses_shuffle = False
        if isinstance(shuffle, str) and shuffle == "auto":
            self._chooses_shuffle, shuffle = True, table.choose_shuffle(whole("num_ranks", num_ranks, 1))
        order = Order(
            num_examples=len(table) if draws is None else len(draws),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            num_ranks=num_ranks,
            drop_last=drop_last,
        )
        table.check_shuffle(order.shuffle)
        content = Content(functaset, normalize, labels, decode, flatten, ids)
        self.functaset = functaset
        self.num_epochs = None if num_epochs is None else whole("num_epochs", num_epochs, 1)
        self.reading = Reading(order=order, table=table, content=content, draws=draws)
        self._place, self._iteration = (0, 0), 0

    def __len__(self) -> int:
        """Batches that iterating gives from the beginning.

        Raises:
            TypeError: If it never ends.
        """
        if self.num_epochs is None:
            raise TypeError("a loader with num_epochs=None never ends; batches_per_epoch is the length of an epoch")
        return self.num_epochs * self.batches_per_epoch

    def __repr__(self) -> str:
        return f"<Loader {self.functaset.store.path}: {self.reading.order}, at {self._place}>"

    def __iter__(self) -> Iterator[Batch]:
        return self._deliver(lambda batch: batch, 0)

    @property
    def num_examples(self) -> int:
        """Examples of an epoch, of all ranks together."""
        return self.reading.order.num_examples

    @property
    def batches_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.reading.order.num_batches

    @property
    def shuffle(self) -> Shuffle:
        """The order that was chosen."""
        return self.reading.order.shuffle

    @property
    def epoch(self) -> int:
        """The epoch that the next batch is of, from 0."""
        return self._place[0]

    def to_jax(self, *, prefetch: int = 2, sharding: "jax.sharding.Sharding | None" = None) -> ConvertedBatches:
        """Batches of JAX arrays, put on the device by a thread before they are asked for.

        Args:
            prefetch: Batches ahead, at least 0; 0 makes each when it is asked for, without a thread.
            sharding: Where to put them, by their first axis; with several processes, each one's batch becomes its part
                of a global array. `coords` are replicated. None means JAX's default device.

        Raises:
            ConfigError: If a batch cannot be divided so, or labels do not fit into the 32 bits that JAX keeps.
        """
        from functa_store.loaders.jax_arrays import check_labels, put

        check_labels(self.reading.content)
        return self.converted(put(sharding, self.reading.order), prefetch=prefetch)

    def to_torch(self, *, prefetch: int = 0) -> ConvertedBatches:
        """Batches of torch tensors on the CPU, which share the memory of the NumPy arrays.

        Args:
            prefetch: Batches that a thread makes ahead, at least 0; worth it where batches are decoded.

        Raises:
            MissingLibraryError: If torch is not installed.
        """
        require("torch", extra="torch", name="PyTorch")  # now, not at the first batch
        return self.converted(to_tensors, prefetch=prefetch)

    def converted(self, convert: Callable[[Batch], Any], *, prefetch: int = 0) -> ConvertedBatches:
        """Batches of any other kind; `to_jax` and `to_torch` are made of it.

        Args:
            convert: What to do with each batch, in the thread that makes it.
            prefetch: Batches that a thread makes ahead, at least 0; what was not delivered is not lost.

        Raises:
            ConfigError: If `prefetch` is out of range.
        """
        return ConvertedBatches(self, functools.partial(self._deliver, convert, whole("prefetch", prefetch, 0)))

    def _deliver(self, convert: Callable[[Batch], Any], prefetch: int) -> Iterator[Any]:
        self._iteration += 1
        iteration = self._iteration
        made = ((behind, convert(batch)) for behind, batch in self.reading.batches_from(self._place, self.num_epochs))
        for behind, batch in made_ahead(made, prefetch) if prefetch else made:
            if self._iteration != iteration:
                raise ConfigError(
                    f"{self!r} has gone on elsewhere: another iteration has begun, or a state was restored; begin "
                    "a new iteration, or make a loader for each"
                )
            self._place = behind
            yield batch

    @property
    def place(self) -> tuple[int, int]:
        """The epoch and the batch in it that the next batch is, both from 0."""
        return self._place

    def set_epoch(self, epoch: int) -> None:
        """Go on with the first batch of an epoch, or, if the next batch is of it already, with that one.

        So an epoch may be named before each pass, also before the one that goes on after a state was restored.

        Args:
            epoch: From 0; the order of its batches depends on it and the seed alone.

        Raises:
            ConfigError: If it is no whole number of at least 0.
        """
        if (epoch := whole("epoch", epoch, 0)) != self.epoch:
            self._place, self._iteration = (epoch, 0), self._iteration + 1

    def state(self) -> dict[str, Any]:
        """Where iterating goes on, as plain JSON; the same for all ranks that have had as many batches."""
        return describe(self.functaset, self.reading, self._place)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, in this process or another.

        With `shuffle="auto"` the order that the state was taken in is taken over.

        Args:
            state: What `state` returned.

        Raises:
            StoreMismatchError: If it was taken of another functaset.
            ConfigError: If it was taken with other options, or is none.
        """
        shuffle, reading = shuffle_in(state), self.reading
        if self._chooses_shuffle:
            reading.table.check_shuffle(shuffle)
            reading = dataclasses.replace(reading, order=dataclasses.replace(reading.order, shuffle=shuffle))
        self._place = place_in(state, describe(self.functaset, reading, self._place), self.batches_per_epoch)
        self.reading, self._iteration = reading, self._iteration + 1


def to_tensors(batch: Batch) -> Batch:
    """The same arrays as tensors of PyTorch, without a copy; ids as a list, or a string."""
    torch = require("torch", extra="torch", name="PyTorch")

    def convert(name: str, values: Any) -> Any:
        if isinstance(values, dict):
            return to_tensors(values)
        if name == "id":
            return str(values) if np.ndim(values) == 0 else values.tolist()
        return torch.as_tensor(values)

    return {name: convert(name, values) for name, values in batch.items()}
