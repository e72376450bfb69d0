"""Which process may write a store?"""

import contextlib
import fcntl
import itertools
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from functa_store.errors import ConfigError, StorageError, StoreExistsError
from functa_store.store.local import LocalObjects
from functa_store.store.objects import Objects, failed
from functa_store.store.remote import RemoteObjects
from functa_store.store.work import LEASE, WORK_SUFFIX

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
"""A claim on a bucket that was not renewed for so long is that of a dead process."""

MOST_ATTEMPTS = 100
"""Times that a lock is tried for whose folder vanishes."""

RENEWALS = 5
"""Times that a claim is renewed within `LEASE_SECONDS`."""


@contextlib.contextmanager
def sole_writer(store: Objects) -> Iterator[tuple[Objects, Objects]]:
    """Claim a store, so that no other process writes it.

    On a disk the claim is a lock, which ends with the process. In a bucket it is an object that is created
    and replaced only if nobody else has touched it, and renewed while the process lives.

    Yields:
        The store, and the folder `NAME.functa.work` beside it for what only its conversion needs.

    Raises:
        ConfigError: If places of its kind cannot be written.
        StoreExistsError: If another process holds it.
        StorageError: If the place cannot be written.
    """
    if not store.writable:
        raise ConfigError(f"{store.name}: a web server is for reading; copy the store to a path, s3:// or gs://")
    work = store.sibling(WORK_SUFFIX)
    if isinstance(work, LocalObjects):
        with _locked(work, store.name):
            yield store, work
    elif isinstance(store, RemoteObjects) and isinstance(work, RemoteObjects):
        with _leased(work, store.name) as check:
            yield store.guarded(check), work.guarded(check)
    else:  # objects of a caller's own, who knows who writes them
        yield store, work


@contextlib.contextmanager
def _locked(work: LocalObjects, name: str) -> Iterator[None]:
    descriptor = _lock(work, name)
    try:
        yield
    finally:
        for folder, _, _ in os.walk(work.path, topdown=False):
            with contextlib.suppress(OSError):  # it holds something, which is to be kept
                os.rmdir(folder)
        os.close(descriptor)


def _lock(work: LocalObjects, name: str) -> int:
    """A descriptor of the work folder, locked until it is closed."""
    for attempt in itertools.count():
        try:
            work.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(work.path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, FileExistsError) as error:  # its last owner may have removed it in between
            if attempt < MOST_ATTEMPTS:
                continue
            raise failed(work.name, "", "written", error) from error
        except OSError as error:
            raise failed(work.name, "", "written", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(work.path)):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise _held(name) from error
        except FileNotFoundError:
            pass
        os.close(descriptor)  # its last owner removed it meanwhile
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _leased(work: RemoteObjects, name: str) -> Iterator[Any]:
    lease = _Lease(work, name)
    lease.take()
    ended = threading.Event()
    thread = threading.Thread(target=lease.renew_until, args=(ended,), name="lease", daemon=True)
    thread.start()
    try:
        yield lease.check
    finally:
        ended.set()
        thread.join()
        lease.give_back()


class _Lease:
    """One object that says who writes."""

    def __init__(self, work: RemoteObjects, name: str) -> None:
        self._work, self._name = work, name
        self._holder = secrets.token_hex(8)
        self._count, self._version, self._lost = 0, None, False
        self._renewed, self._lock = time.monotonic(), threading.Lock()

    def take(self) -> None:
        """Hold the lease, waiting out one that nobody renews."""
        seen, since, waits = None, time.monotonic(), 0
        while True:
            found = self._work.read_version(LEASE)
            if found is not None and found != seen:
                if seen is not None:
                    raise _held(self._name)
                seen, since = found, time.monotonic()
            if found is None or time.monotonic() - since > LEASE_SECONDS:
                self._renewed = time.monotonic()
                self._version = self._work.write_if(LEASE, self._content(), None if found is None else found[1])
                if self._version is None and not self._is_ours():
                    raise _held(self._name)
                return
            if waits == 0:
                logger.warning("%s: waiting to see whether another process is still writing this store", self._name)
            waits += 1
            time.sleep(LEASE_SECONDS / RENEWALS / 2)

    def renew_until(self, ended: threading.Event) -> None:
        """Say now and then that this process lives; a server that cannot be reached is asked again."""
        while not ended.wait(LEASE_SECONDS / RENEWALS):
            with contextlib.suppress(StorageError):
                self._renew()
            if self._lost:
                return

    def _renew(self) -> None:
        """Renew until an answer comes in time, or the lease is somebody else's."""
        with self._lock:
            while not self._lost:
                began = time.monotonic()
                renewed = self._work.write_if(LEASE, self._content(), self._version)
                if renewed is not None:
                    self._version = renewed
                else:
                    self._lost = not self._is_ours()
                self._renewed = began
                if time.monotonic() - began <= LEASE_SECONDS / 2:
                    return

    def check(self) -> None:
        """Raise if another process took the store over, which happens to one that stood still."""
        if not self._lost and time.monotonic() - self._renewed > LEASE_SECONDS / 2:
            self._renew()
        if self._lost:
            raise StoreExistsError(
                f"{self._name}: another process went on with this store meanwhile; leave it to that."
            )

    def give_back(self) -> None:
        """Let the next process in at once."""
        overdue = time.monotonic() - self._renewed > LEASE_SECONDS / 2  # it may be somebody else's by now
        with contextlib.suppress(StorageError, StoreExistsError):
            if not self._lost and not overdue and self._is_ours():
                self._work.delete([LEASE])

    def _content(self) -> bytes:
        self._count += 1
        return f"{self._holder} {self._count}".encode()

    def _is_ours(self) -> bool:
        """Whether the lease bears our name; the answer to a request that succeeded may have been lost."""
        found = self._work.read_version(LEASE)
        if found is None or not found[0].startswith(self._holder.encode()):
            return False
        self._version = found[1]
        return True


def _held(name: str) -> StoreExistsError:
    return StoreExistsError(f"{name}: another process is writing this store. Wait for it to end.")
