"""Batches of examples, read ahead of the device on several threads."""

import collections
import concurrent.futures
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from functa_store.errors import MemberError
from functa_store.sources.source import Source

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
