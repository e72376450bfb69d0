"""How do examples reach the device without it waiting for them?"""

import collections
import concurrent.futures
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from functa_store.errors import MemberError
from functa_store.sources import Source

CACHE_BYTES = 32 * 2**20
THREADS = 4
AHEAD = 4


class Feed:
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
            MemberError: If an example cannot be read any more, or is not finite; missing values, where the source
                has some, are not a number.
        """
        waiting: collections.deque[list[concurrent.futures.Future]] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="feed") as pool:
            try:
                for batch in indices:
                    waiting.append([pool.submit(self._read, int(index)) for index in batch])
                    if len(waiting) > AHEAD:
                        yield _stack(waiting.popleft())
                while waiting:
                    yield _stack(waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, index: int) -> np.ndarray:
        if (kept := self._cache.get(index)) is not None:
            return kept
        raw = self._source.read(index)
        if raw.dtype.itemsize > 4:  # JAX would cut 64 bits to 32, and integers would wrap around
            with np.errstate(over="ignore"):
                raw = raw.astype(np.float32)
        if raw.dtype.kind == "f" and (np.isinf(raw) if self._source.features.missing else ~np.isfinite(raw)).any():
            name = self._source.provenance["archive"]
            raise MemberError(
                f"{name}: example {self._source.ids[index]!r} holds values that are not finite in float32; mend it"
            )
        raw = raw.reshape(-1, raw.shape[-1])
        with self._lock:
            if index not in self._cache and raw.nbytes <= self._free:
                self._cache[index] = raw
                self._free -= raw.nbytes
        return raw


def _stack(futures: list[concurrent.futures.Future]) -> np.ndarray:
    return np.stack([future.result() for future in futures])


def evenly(indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the indices, evenly spread."""
    count = min(len(indices), most)
    return indices[np.arange(count) * len(indices) // max(count, 1)]
