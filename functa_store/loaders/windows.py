"""Order of examples in epochs, and windows of modulations that are read together and cut into batches."""

import copy
import dataclasses
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.loaders.augmentation_draws import OnePerOriginal
from functa_store.loaders.batch_content import Batch, Content, keep_whole
from functa_store.support.memory import available_bytes
from functa_store.support.threads import made_ahead

_EPOCH, _WINDOW, _POINTS = range(3)
"""What a stream of random numbers is for, so that no two are the same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockShuffle:
    """Shuffle without random reads: contiguous blocks come in random order, and several are mixed.

    Memory holds two windows of `size * mixed` modulations.

    Attributes:
        size: Examples per block, at least 1; what is read at once.
        mixed: Blocks whose examples are permuted together, at least 1.

    Raises:
        ConfigError: If a number is out of range.
    """

    size: int = 1024
    mixed: int = 64

    def __post_init__(self) -> None:
        keep_whole(self, 1, "size", "mixed")


Shuffle = Literal["full", "none"] | BlockShuffle
"""How an epoch is ordered: a permutation of all examples, their order in the archive, or see `BlockShuffle`."""


class Window(NamedTuple):
    """Examples that are read together.

    Attributes:
        positions: Which ones, as they are best read.
        places: Where in `positions` each stands, as they are delivered.
    """

    positions: np.ndarray
    places: np.ndarray

    def ascending(self) -> "Window":
        """The same examples, delivered in the same order, but read from the first row to the last."""
        order = np.argsort(self.positions)
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        return Window(self.positions[order], ranks[self.places])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """The order of every epoch for one rank: a pure function of these options and the epoch.

    An epoch is one sequence of all examples, which is cut into as many contiguous parts as there are ranks; their
    lengths differ by one at most. A rank's part is cut into batches, as many for every rank.

    Attributes:
        num_examples: Examples of an epoch.
        batch_size: Examples per batch, at least 1.
        shuffle: How an epoch is ordered.
        seed: Decides everything random, at least 0 and below 2**32.
        rank: Which part is meant, at least 0.
        num_ranks: Number of parts, at least 1.
        drop_last: Leave out what does not fill a batch; else the last batch is smaller.

    Raises:
        ConfigError: If a number is out of range, or ranks would get different numbers of batches, or none.
    """

    num_examples: int
    batch_size: int
    shuffle: Shuffle = "full"
    seed: int = 0
    rank: int = 0
    num_ranks: int = 1
    drop_last: bool = False

    def __post_init__(self) -> None:
        keep_whole(self, 1, "batch_size", "num_ranks")
        keep_whole(self, 0, "rank", "seed")
        object.__setattr__(self, "drop_last", bool(self.drop_last))
        is_named = isinstance(self.shuffle, str) and self.shuffle in ("full", "none")
        if not is_named and not isinstance(self.shuffle, BlockShuffle):
            raise ConfigError(f"shuffle must be 'auto', 'full', 'none' or a BlockShuffle, got {self.shuffle!r}")
        if self.rank >= self.num_ranks or self.seed >= 2**32:
            raise ConfigError(
                f"expected rank below num_ranks and seed below 2**32, got {self.rank} of {self.num_ranks}, {self.seed}"
            )
        shortest, longest = self._shares
        if not self.drop_last and -(-shortest // self.batch_size) != -(-longest // self.batch_size):
            raise ConfigError(
                f"{self.num_examples} examples over {self.num_ranks} ranks give some a batch of {self.batch_size} "
                "more than others, who would wait; choose another batch_size, or drop_last=True"
            )
        if self.num_batches == 0:
            raise ConfigError(
                f"{self.num_examples} examples over {self.num_ranks} ranks fill no batch of {self.batch_size}; "
                "choose more examples, a smaller batch_size, or drop_last=False"
            )

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, the same for every rank."""
        shortest, _ = self._shares
        return shortest // self.batch_size if self.drop_last else -(-shortest // self.batch_size)

    @property
    def last_sizes(self) -> set[int]:
        """Examples of an epoch's last batch: two numbers if one of the ranks has an example more than another."""
        if self.drop_last:
            return {self.batch_size}
        return {share - (self.num_batches - 1) * self.batch_size for share in self._shares}

    @property
    def _shares(self) -> tuple[int, int]:
        """Examples of the rank that has fewest, and of the one that has most."""
        return self.num_examples // self.num_ranks, -(-self.num_examples // self.num_ranks)

    @property
    def batches_per_window(self) -> int:
        """Batches of a window, about as many in each of an epoch; the last one may have fewer."""
        if self.shuffle == "full":
            return self.num_batches
        blocks = BlockShuffle() if self.shuffle == "none" else self.shuffle
        most = max(1, blocks.size * blocks.mixed // self.batch_size)
        return -(-self.num_batches // -(-self.num_batches // most))  # a short window at the end would mix little

    @property
    def num_windows(self) -> int:
        """Windows of an epoch."""
        return -(-self.num_batches // self.batches_per_window)

    def window(self, epoch: int, number: int) -> Window:
        """One window of an epoch.

        Args:
            epoch: Counted from 0.
            number: Of the window in this rank's part, below `num_windows`.
        """
        first, last = (self.num_examples * rank // self.num_ranks for rank in (self.rank, self.rank + 1))
        if self.drop_last:
            last = first + self.num_batches * self.batch_size
        size = self.batches_per_window * self.batch_size
        start, stop = first + number * size, min(first + (number + 1) * size, last)
        in_turn = np.arange(stop - start)
        if self.shuffle == "none":
            return Window(in_turn + start, in_turn)
        rng = self._rng(epoch, _EPOCH)
        if self.shuffle == "full":
            return Window(rng.permutation(self.num_examples)[start:stop], in_turn)
        positions = blocks_in_random_order(rng, self.num_examples, self.shuffle.size, start, stop)
        return Window(positions, self._rng(epoch, _WINDOW, start).permutation(stop - start))

    def places(self, window: Window, batch: int) -> np.ndarray:
        """Which of a window's positions a batch of an epoch holds, in order."""
        start = batch % self.batches_per_window * self.batch_size
        return window.places[start : start + self.batch_size]

    def points_rng(self, epoch: int, batch: int) -> np.random.Generator:
        """Random numbers of one batch, the same for every rank."""
        return self._rng(epoch, _POINTS, batch)

    def _rng(self, epoch: int, purpose: int, number: int = 0) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, epoch, purpose, number]))


def blocks_in_random_order(rng: np.random.Generator, num_examples: int, size: int, start: int, stop: int) -> np.ndarray:
    """Part of the sequence that contiguous blocks make, one after the other in random order.

    Args:
        rng: Decides the order.
        num_examples: Positions 0, 1, ... that are cut into blocks, the last of which may be short.
        size: Positions per block.
        start: First element of the sequence.
        stop: One past the last one.
    """
    blocks = rng.permutation(-(-num_examples // size))
    lengths = np.minimum(size, num_examples - blocks * size)
    ends = np.cumsum(lengths)
    touched = slice(int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(ends, stop)) + 1)
    runs = [
        np.arange(block * size, block * size + n) for block, n in zip(blocks[touched], lengths[touched], strict=True)
    ]
    skipped = start - int(ends[touched.start] - lengths[touched.start])
    return np.concatenate(runs)[skipped : skipped + stop - start]


BLOCK_BYTES = 2**20
"""Bytes of a block: far more than a disk or a bucket needs to be as fast as it can."""


class SelectedRows:
    """The modulations of some examples, by their position among these.

    Those on a disk are gathered where they lie. Those in a bucket are read once into memory if it holds them, else
    whenever they are asked for.

    Args:
        functaset: Where they are.
        examples: Which ones; None means all.
    """

    def __init__(self, functaset: Functaset, examples: np.ndarray | None) -> None:
        self._functaset, self._examples = functaset, examples
        self._length = len(functaset) if examples is None else len(examples)
        self._is_local = functaset.store.is_local
        self._keep = not self._is_local and self.fits()
        self._kept: np.ndarray | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"} | {"_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Modulations, float32 of shape (positions, modulation) or (positions, *cells, channel), the caller's own."""
        if not self._keep:
            return self._functaset.modulations[self.indices(positions)]
        with self._lock:
            if (kept := self._kept) is None:
                everything = slice(None) if self._examples is None else self._examples
                # a copy of the table opens its shards for itself, and lets them go with it: they are not kept twice
                self._kept = kept = copy.copy(self._functaset.modulations)[everything]
        return kept[positions]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """Index in the functaset of the examples at some positions."""
        return positions if self._examples is None else self._examples[positions]

    def fits(self) -> bool:
        """Whether half of the memory that is free holds them: as stored on a disk, as float32 from a bucket."""
        size = self._functaset.config.network.modulation_size
        row_bytes = self._functaset.store.bytes_per_example if self._is_local else 4 * size
        return len(self) * row_bytes <= available_bytes() // 2

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of which examples these are."""
        return hashlib.sha256(b"all" if self._examples is None else self._examples.tobytes()).hexdigest()

    def choose_shuffle(self, num_ranks: int) -> Shuffle:
        """A full shuffle if memory holds the table, else blocks of about 1 MB.

        Raises:
            ConfigError: If there are several ranks, each of which would choose for itself.
        """
        if num_ranks > 1:
            raise ConfigError(
                f"shuffle='auto' depends on free memory, which may differ among {num_ranks} ranks, and they would "
                "train on overlapping examples; name an order for all: shuffle='full' or BlockShuffle()"
            )
        if self.fits():
            return "full"
        return BlockShuffle(size=max(1, BLOCK_BYTES // self._functaset.store.bytes_per_example))

    def check_shuffle(self, shuffle: Shuffle) -> None:
        """Refuse an order that would fetch every row of a bucket by itself.

        Raises:
            ConfigError: If the table lies in a bucket, memory does not hold it, and the shuffle is a full one.
        """
        if shuffle == "full" and not self._is_local and not self._keep:
            raise ConfigError(
                f"{self._functaset.store.path}: memory does not hold this table, and a full shuffle would fetch "
                "every row of the bucket by itself; use shuffle='auto' or BlockShuffle(), or copy the store to a disk"
            )


class OpenWindow(NamedTuple):
    """A window of an epoch, ready to be cut into batches.

    Attributes:
        epoch: Which epoch.
        number: Which window of it.
        window: Its positions.
        rows: Their modulations; None if each batch gathers its own.
    """

    epoch: int
    number: int
    window: Window
    rows: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything that decides what the batches of a loader are.

    Attributes:
        order: Which example comes when; where one of several rows is drawn, which group of them.
        table: The modulations.
        content: What is made of them.
        draws: Chooses a row of the table for each group; None if groups are rows.
    """

    order: Order
    table: SelectedRows
    content: Content
    draws: OnePerOriginal | None = None

    def batches_from(
        self, place: tuple[int, int], num_epochs: int | None, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[tuple[int, int], Batch]]:
        """The place behind each batch, and the batch.

        Args:
            place: Epoch and batch to begin with.
            num_epochs: End behind the next multiple of so many epochs; None never ends.
            share: (k, n) makes the k-th of every n batches alone, from 0, as workers take them in turns.
        """
        turns, (mine, num_shares) = itertools.count(), share
        epoch, done = place
        last = None if num_epochs is None else (epoch // num_epochs + 1) * num_epochs
        epochs = itertools.count(epoch) if last is None else range(epoch, last)
        skipped = done // self.order.batches_per_window
        windows = ((e, w) for e in epochs for w in range(skipped if e == epoch else 0, self.order.num_windows))
        for opened in made_ahead((self.open_window(*window) for window in windows), 1):
            for number in self.batches(opened):
                if (opened.epoch, number) < place or next(turns) % num_shares != mine:
                    continue
                behind = (opened.epoch, number + 1) if number + 1 < self.order.num_batches else (opened.epoch + 1, 0)
                yield behind, self.batch(opened, number)

    @property
    def repeats(self) -> bool:
        """Whether all epochs have the same batches, in the same order."""
        return self.order.shuffle == "none" and self.draws is None and not self.content.has_random_points

    def open_window(self, epoch: int, number: int) -> OpenWindow:
        """Read a window of an epoch, at once unless its batches are gathered one by one."""
        window = self.order.window(epoch, number)
        if self.draws is not None:
            window = window._replace(positions=self.draws.draw(self.order.seed, epoch, window.positions))
            window = window if self.order.shuffle == "full" else window.ascending()
        rows = None if self.order.shuffle == "full" else self.table[window.positions]
        return OpenWindow(epoch, number, window, rows)

    def batches(self, opened: OpenWindow) -> range:
        """The batches of its epoch that a window holds."""
        first = opened.number * self.order.batches_per_window
        return range(first, min(first + self.order.batches_per_window, self.order.num_batches))

    def batch(self, opened: OpenWindow, number: int) -> Batch:
        """One batch of the window."""
        places = self.order.places(opened.window, number)
        positions = opened.window.positions[places]
        modulations = self.table[positions] if opened.rows is None else opened.rows[places]
        rng = self.order.points_rng(opened.epoch, number)
        return self.content.batch(self.table.indices(positions), modulations, rng)
