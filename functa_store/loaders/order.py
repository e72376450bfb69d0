"""Order of examples in epochs."""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np

from functa_store.errors import ConfigError
from functa_store.loaders.selection import keep_whole

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
