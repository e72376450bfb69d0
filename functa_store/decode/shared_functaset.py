"""One open functaset per process and store, pickled as an address."""

import dataclasses
import hashlib
import os
import threading
import weakref
from typing import Any

import numpy as np

from functa_store.decode.functaset import Functaset, open_functaset
from functa_store.decode.grid_cache import DEFAULT_CACHE_BYTES
from functa_store.errors import StoreMismatchError
from functa_store.store.reading.joined_store import JoinedStore, open_store
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.selected_store import SelectedStore
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import NO_OPTIONS, StorageOptions
from functa_store.support.memory import LRUCache

MOST_OPEN = 2
"""Functasets that a process keeps open although nothing there uses them at the moment, each with its decoded grids (up
to `cache_bytes`) and, from a bucket, the shards that its reader keeps. Opening another one again compiles nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """Where a functaset is, how it was opened, and which one was found there; small, and the same in every process.

    Attributes:
        location: Absolute path, or URL.
        storage: How to reach the store.
        verify: Whether checksums of shards are compared.
        cache_bytes: Most bytes of decoded grids that are kept.
        identity: The store's fingerprint, and which shards it had while unfinished.
        alone: Whether parts that its root lists are left out.
    """

    location: str
    storage: StorageOptions
    verify: bool
    cache_bytes: int
    identity: str
    alone: bool = False

    def open(self) -> Functaset:
        """Open what is there now; everybody but this module asks for `SharedFunctaset.functaset`.

        Raises:
            StoreMismatchError: If it is another store by now, or an unfinished one that has gone on.
            StoreFormatError: If there is no functaset any more.
            StorageError: If the place cannot be read.
        """
        if self.alone:
            store = StoreReader(self.location, storage=self.storage, verify=self.verify, alone=True)
        else:
            store = open_store(self.location, storage=self.storage, verify=self.verify)
        functaset = Functaset(store, cache_bytes=self.cache_bytes)
        if (found := _identity(functaset.store)) != self.identity:
            store, expected = found.partition(" ")[0], self.identity.partition(" ")[0]
            what = "has other shards by now" if store == expected else f"is {store[:16]} by now"
            raise StoreMismatchError(
                f"{self.location}: the store {what}, expected {expected[:16]} as it was opened. Open it again."
            )
        return functaset


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewAddress:
    """The same of functasets that are read as one, or of some examples of one.

    Attributes:
        parts: Where they are.
        chosen: Which examples, as int64; None means all.
        cache_bytes: Most bytes of decoded grids that are kept.
    """

    parts: tuple["StoreAddress | ViewAddress", ...]
    chosen: bytes | None
    cache_bytes: int

    @property
    def location(self) -> str:
        """Where they are, for messages."""
        return " + ".join(part.location for part in self.parts[:3])

    def open(self) -> Functaset:
        """Open what is there now; errors as for a `StoreAddress`."""
        stores = [part.open().store for part in self.parts]
        if self.chosen is None:
            return Functaset(JoinedStore(stores), cache_bytes=self.cache_bytes)
        chosen = np.frombuffer(self.chosen, np.int64)
        return Functaset(SelectedStore(stores[0], chosen), cache_bytes=self.cache_bytes)


Address = StoreAddress | ViewAddress


def address_of(store: StoreReader, cache_bytes: int) -> Address:
    """Where an open functaset is, so that another process can open it."""
    if isinstance(store, SelectedStore):
        parts, chosen = [store.store], np.ascontiguousarray(store.chosen, np.int64).tobytes()
    elif isinstance(store, JoinedStore) and store.is_view:
        parts, chosen = store.stores, None
    else:
        objects = store.objects
        is_local = isinstance(objects, LocalObjects)
        return StoreAddress(
            location=os.path.abspath(objects.path) if is_local else objects.name,
            storage=StorageOptions(mapped=objects.mapped) if is_local else getattr(objects, "storage", NO_OPTIONS),
            verify=store.verifies,
            cache_bytes=cache_bytes,
            identity=_identity(store),
            alone=not isinstance(store, JoinedStore) and store.alone,
        )
    return ViewAddress(parts=tuple(address_of(part, 0) for part in parts), chosen=chosen, cache_bytes=cache_bytes)


class SharedFunctaset:
    """A functaset that is pickled as its address, and opened again once per process.

    Args:
        address: Where it is, and which one it is.
        functaset: The same, where it is open already.
    """

    def __init__(self, address: Address, functaset: Functaset | None = None) -> None:
        self.address = address
        self._functaset = functaset

    def __repr__(self) -> str:
        return f"<SharedFunctaset {self.address.location}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedFunctaset, (self.address,)

    @property
    def functaset(self) -> Functaset:
        """The open functaset; all that arrive here from elsewhere, and share its address, share it.

        Raises:
            StoreMismatchError: If it is another store by now, or an unfinished one that has gone on.
            StoreFormatError: If there is no functaset any more.
            StorageError: If the place cannot be read.
        """
        if self._functaset is None:
            self._functaset = _OPEN.get(self.address)
        return self._functaset


def open_shared(
    location: str | os.PathLike[str] | Functaset,
    *,
    storage: StorageOptions = NO_OPTIONS,
    verify: bool = False,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> SharedFunctaset:
    """Open a functaset such that arrays of it can travel; arguments and errors as for `functa_store.open`.

    One that is open already is taken as it is, without the other arguments.
    """
    if isinstance(location, Functaset):
        functaset, limit = location, location.cache.limit
    else:
        functaset = open_functaset(location, storage=storage, verify=verify, cache_bytes=cache_bytes)
        limit = cache_bytes
    address = address_of(functaset.store, limit)
    _OPEN.keep(address, functaset)
    return SharedFunctaset(address, functaset)


class _Open:
    """The open functasets of this process: those in use, and the ones that were asked for last."""

    def __init__(self) -> None:
        self._in_use: weakref.WeakValueDictionary[Address, Functaset] = weakref.WeakValueDictionary()
        self._last: LRUCache[Functaset] = LRUCache(MOST_OPEN)
        self._lock = threading.Lock()

    def get(self, address: Address) -> Functaset:
        with self._lock:  # also while opening: whoever comes second waits for the first
            functaset = self._in_use.get(address)
            return self._keep(address, address.open() if functaset is None else functaset)

    def keep(self, address: Address, functaset: Functaset) -> None:
        """Give this one to all that arrive from now on: it shows what is at the address now."""
        with self._lock:
            self._keep(address, functaset)

    def _keep(self, address: Address, functaset: Functaset) -> Functaset:
        self._in_use[address] = functaset
        self._last.put(address, functaset, cost=1)
        return functaset


_OPEN = _Open()


def _identity(store: StoreReader) -> str:
    if store.spec.complete or isinstance(store, JoinedStore):
        return store.spec.fingerprint
    shards = ",".join(str(shard.index) for shard in store.shards)
    return f"{store.spec.fingerprint} with shards {hashlib.sha256(shards.encode()).hexdigest()}"
