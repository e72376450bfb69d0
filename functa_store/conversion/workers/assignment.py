"""Assignment of shards to workers, whoever these are: what is next for one, and how often workers died on a shard."""

import collections
from collections.abc import Collection, Sequence

from functa_store.errors import WorkerError

MOST_DEATHS = 3
"""Workers that may die on one shard."""


class Deaths:
    """Counts workers that died on a shard."""

    def __init__(self) -> None:
        self._counts: collections.Counter[int] = collections.Counter()

    def count(self, shard: int, how: str) -> None:
        """Note that a worker has died while it fitted a shard.

        Args:
            shard: Which.
            how: What is known of its death.

        Raises:
            WorkerError: If it is the last one that may.
        """
        self._counts[shard] += 1
        if self._counts[shard] >= MOST_DEATHS:
            raise WorkerError(
                f"shard {shard}: {self._counts[shard]} workers died while they fitted it, the last one {how}. Look at "
                "its examples, and at the memory of the machine; what is written stays: the same command goes on."
            )


class Assignment:
    """Hands out shards to workers in order; those of workers that have died, or say nothing, once more.

    Args:
        shards: Numbers of the shards that are missing.
    """

    def __init__(self, shards: Sequence[int]) -> None:
        self._waiting = collections.deque(shards)
        self._held: dict[str, list[int]] = collections.defaultdict(list)
        self._left = set(shards)

    @property
    def left(self) -> int:
        """How many shards are not done."""
        return len(self._left)

    def held_by(self, worker: str) -> int:
        """How many shards a worker has been given and not done."""
        return len(self._held[worker])

    def next_for(self, worker: str, silent: Collection[str] = ()) -> int | None:
        """The next shard for a worker; None if nothing is left for it.

        Args:
            worker: Which.
            silent: Workers that have said nothing for a while; theirs are given to others, too, once all are given.
        """
        while self._waiting:
            shard = self._waiting.popleft()
            if shard in self._left:
                self._held[worker].append(shard)
                return shard
        for other in silent:
            for shard in self._held[other]:
                if not any(shard in held for name, held in self._held.items() if name not in silent):
                    self._held[worker].append(shard)
                    return shard
        return None

    def done(self, shard: int) -> None:
        """Note that a shard is written, by whomever."""
        self._left.discard(shard)
        for held in self._held.values():
            if shard in held:
                held.remove(shard)

    def gone(self, worker: str) -> None:
        """Note that a worker is no more: what it held is handed out again, before all others."""
        self._waiting.extendleft(reversed([shard for shard in self._held.pop(worker, []) if shard in self._left]))
