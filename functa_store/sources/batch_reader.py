"""Batches of examples, read ahead of the device on several threads, and the training set of a conversion."""

import collections
import concurrent.futures
import itertools
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from functa_store.config import ConvertConfig
from functa_store.errors import MemberError
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly

CACHE_BYTES = 32 * 2**20
THREADS = 4

AHEAD, AHEAD_BYTES = 4, 2**28
"""Batches that are read ahead at most, and the raw values of those beyond the first."""


class BatchReader:
    """Reads batches of a source in threads, a few ahead of whoever consumes them.

    The first examples read stay in memory up to `cache_bytes`, so that a small archive is decoded
    once and a large one costs no more memory than that.

    Args:
        source: Where the examples come from.
        cache_bytes: Raw values that may stay in memory.
    """

    def __init__(self, source: Source, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._source = source
        self._free = cache_bytes
        self._cache: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Raw values of one batch after the other, shape (examples, points, channels).

        Args:
            indices: The examples of each batch; may be endless.

        Raises:
            MemberError: If an example cannot be read any more, has another shape or type, is not finite, or has no
                value at all; missing values, where the source has some, are not a number.
        """
        waiting: collections.deque[list[concurrent.futures.Future]] = collections.deque()
        ahead = 1  # until the first batch says how large they are
        with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="feed") as pool:
            try:
                for batch in indices:
                    waiting.append([pool.submit(self._read, int(index)) for index in batch])
                    while len(waiting) > ahead:
                        stacked = _stack(waiting.popleft())
                        ahead = min(AHEAD, max(1, AHEAD_BYTES // max(1, stacked.nbytes)))
                        yield stacked
                while waiting:
                    yield _stack(waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, index: int) -> np.ndarray:
        if (kept := self._cache.get(index)) is not None:
            return kept
        raw = self._source.read(index)
        if (
            raw.dtype.kind in "iuf" and raw.dtype.itemsize > 4
        ):  # JAX would cut 64 bits to 32; integers would wrap around
            with np.errstate(over="ignore"):
                raw = raw.astype(np.float32)
        if problem := self._problem(raw):
            name = self._source.provenance["archive"]
            raise MemberError(f"{name}: example {self._source.ids[index]!r} {problem}; mend it, or leave it out")
        raw = raw.reshape(-1, raw.shape[-1])
        with self._lock:
            if index not in self._cache and raw.nbytes <= self._free:
                self._cache[index] = raw
                self._free -= raw.nbytes
        return raw

    def _problem(self, raw: np.ndarray) -> str | None:
        """What makes raw values useless, if anything does."""
        observed, missing = self._source.domain.observed, self._source.features.missing
        if raw.dtype.kind not in "biuf":
            return f"holds values of type {raw.dtype}, expected numbers"
        if raw.shape[:-1] != observed:
            return f"has shape {raw.shape}, expected (*{observed}, channels)"
        if raw.dtype.kind != "f":
            return None
        if (np.isinf(raw) if missing else ~np.isfinite(raw)).any():
            return "holds values that are not finite in float32"
        return "has no value: all are missing" if missing and np.isnan(raw).all() else None


def _stack(futures: list[concurrent.futures.Future]) -> np.ndarray:
    return np.stack([future.result() for future in futures])


TUNING_STREAM = 1
"""Keeps the random numbers of tuning apart from those of learning."""


class TrainingSet:
    """Examples of a source that a conversion learns from, chosen once, and read through one cache.

    The monitored examples come evenly from the split "validation", or from "train" (at most a tenth of it,
    and then not learned from, unless there are fewer than ten). The test split is never looked at.

    Args:
        source: The examples.
        config: The conversion; its seed, batch size and number of monitored examples are used.

    Attributes:
        source: The examples.
        train: Indices of the examples to learn from, ascending.
        monitored: Indices of the examples by which the best state is chosen, ascending.
        seen: As many of `train`, evenly spread, which tell divergence from overfitting.
        batch_size: Examples per update, no more than there are in `train`.
        reader: Reads any of the examples; those that it keeps in memory serve all of these uses.
    """

    def __init__(self, source: Source, config: ConvertConfig) -> None:
        self.source = source
        self.train, self.monitored = _choose(source, config.outer.num_monitored)
        self.seen = evenly(self.train, len(self.monitored))
        self.batch_size = min(config.outer.batch_size, len(self.train))
        self._seed = config.seed
        self.reader = BatchReader(source)

    def learning_batches(self, first: int) -> Iterator[np.ndarray]:
        """Endless batches of `batch_size` training examples, from an outer step on, shuffled anew every epoch.

        Args:
            first: The outer step, from 0.
        """
        return self.reader.batches(self._of_learning(first))

    def tuning_batches(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """Batches of `batch_size` training examples for the updates of tuning, drawn anew for each.

        The same seed gives other batches than those of learning.

        Args:
            first: The first update, from 0.
            stop: The update to end before.
        """
        return self.reader.batches(self._of_tuning(first, stop))

    def _of_learning(self, first: int) -> Iterator[np.ndarray]:
        per_epoch = len(self.train) // self.batch_size
        for epoch in itertools.count(first // per_epoch):
            # A generator of its own for every epoch: an interrupted run finds its place without the epochs before.
            order = np.random.default_rng((self._seed, epoch)).permutation(self.train)
            batches = order[: per_epoch * self.batch_size].reshape(per_epoch, self.batch_size)
            yield from batches[max(0, first - epoch * per_epoch) :]

    def _of_tuning(self, first: int, stop: int) -> Iterator[np.ndarray]:
        for step in range(first, stop):
            rng = np.random.default_rng((self._seed, step, TUNING_STREAM))
            yield rng.choice(self.train, self.batch_size, replace=False)


def _choose(source: Source, num_monitored: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the examples to learn from, and of those to monitor; see `TrainingSet`."""
    train, validation = (np.flatnonzero(source.split == name) for name in ("train", "validation"))
    if len(validation):
        return train, evenly(validation, num_monitored)
    if len(train) < 10:
        return train, evenly(train, num_monitored)
    monitored = evenly(train, min(num_monitored, len(train) // 10))
    return np.setdiff1d(train, monitored), monitored
