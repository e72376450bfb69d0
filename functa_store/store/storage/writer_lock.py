"""The work folder beside a store: names of files in it, and the lock or lease that lets one process at a time write."""

import contextlib
import fcntl
import itertools
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator

from functa_store.errors import (
    ConfigError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
)
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import Objects, failed
from functa_store.store.storage.remote import RemoteObjects
from functa_store.support.interrupts import removing

WORK_SUFFIX = ".work"
"""Ending of that folder's name."""

LOG_SUFFIX = ".log"
"""Ending of the name of the file beside a store that tells times and speeds."""

LEASE = "lease"
"""In a bucket: who writes."""

RECEIPTS = "receipts"
"""Folder of the proofs that shards are written."""

SKELETON = f"{RECEIPTS}/skeleton.json"
"""Proof of everything that is written before the first shard."""

JOB = "job.json"
"""What workers must know to fit the shards of a store, while it lasts."""

REPAIR = "repair.json"
"""What a repair found damaged, while it lasts."""

LISTED = "parts.json"
"""The parts of a functaset while what they follow is repaired: until then its root lists none."""

LEARNING = "learning"
"""Folder of the snapshots of learning and tuning."""

CONVERSION = f"{LEARNING}/conversion.json"
"""Which conversion they belong to."""

EXACT_STORE = "exact.functa"
"""Modulations in float32 until all are fitted and their range is known."""

FOLDERS = (RECEIPTS, LEARNING, EXACT_STORE, EXACT_STORE + WORK_SUFFIX)
"""Folders in the work folder."""

_ARRAY = r"(zarr\.json|c(/[0-9]+)*)"
_FLAT = "modulations|mse|metrics|id|split|scale|offset|augmentation_[a-z]+"
_NESTED = "labels|statistics|base|rejects|manifest"
_STORE = rf"(zarr\.json|({_FLAT})/{_ARRAY}|({_NESTED})/(.+/)?{_ARRAY})"
_RECEIPT = rf"{RECEIPTS}/([0-9]+|skeleton)\.json"
_SNAPSHOT = rf"{LEARNING}/(conversion\.json|[a-z]+\.npz)"
_EXACT = re.escape(EXACT_STORE)
_WORK = rf"({LEASE}|(repair|parts)\.json|{_SNAPSHOT}|({_EXACT}\.work/)?(job\.json|{_RECEIPT})|{_EXACT}/{_STORE})"
_PART = r"\.[0-9a-f]{16}\.part"
_OF_STORE, _OF_WORK = (re.compile(rf"{names}({_PART})?", re.DOTALL) for names in (_STORE, _WORK))


def is_of_store(key: str) -> bool:
    """Whether a key below a store is one that a writer gives, be it of a file that it has not finished."""
    return _OF_STORE.fullmatch(key) is not None


def is_of_work(key: str) -> bool:
    """Whether a key below a work folder is one that a writer gives; whatever else lies there is a user's."""
    return _OF_WORK.fullmatch(key) is not None


def is_part(key: str) -> bool:
    """Whether a key that a writer gives is that of a file that it had not finished when it was killed."""
    return re.search(rf"{_PART}$", key) is not None and (is_of_store(key) or is_of_work(key))


logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
"""A claim on a bucket that was not renewed for so long is that of a dead process."""

MOST_ATTEMPTS = 100
"""Times that a lock is tried for whose folder vanishes."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux the second stands still while the machine sleeps; elsewhere it goes on."""

RENEWALS = 5
"""Times that a claim is renewed within `LEASE_SECONDS`."""


@contextlib.contextmanager
def sole_writer(store: Objects) -> Iterator[tuple[Objects, Objects]]:
    """Claim a store, so that no other process writes it.

    On a disk the claim is a lock on the work folder, which ends with the process; what is written asks whether the
    folder that was locked is still there. In a bucket it is an object that is created and replaced only if nobody
    else has touched it, and renewed while the process lives.

    Yields:
        The store, and the folder `NAME.functa.work` beside it for what only its conversion needs. Both refuse every
        change once another process may have begun to write the store.

    Raises:
        ConfigError: If places of its kind cannot be written.
        StoreExistsError: If another process holds it.
        StoreFormatError: If the work folder is a link.
        StorageError: If the place cannot be written.
    """
    if not store.writable:
        raise ConfigError(f"{store.name}: a web server is for reading; copy the store to a path, s3:// or gs://")
    work = store.sibling(WORK_SUFFIX)
    if isinstance(store, LocalObjects) and isinstance(work, LocalObjects):
        with _locked(work, store.name) as check:
            yield store.guarded(check), work.guarded(check)
    elif isinstance(store, RemoteObjects) and isinstance(work, RemoteObjects):
        with _leased(work, store.name) as check:
            yield store.guarded(check), work.guarded(check)
    else:  # objects of a caller's own, who knows who writes them
        yield store, work


@contextlib.contextmanager
def _locked(work: LocalObjects, name: str) -> Iterator[Callable[[], None]]:
    descriptor = _lock(work, name)

    def check() -> None:
        if not _is_at(work, descriptor):
            raise StoreExistsError(
                f"{name}: {work.name}, by which this process had locked it, was removed or replaced meanwhile; leave "
                "the store to whoever did that, or run the same command again."
            )

    try:
        yield check
    finally:
        try:
            if _is_at(work, descriptor):
                _leave(work)
        finally:
            os.close(descriptor)


def _leave(work: LocalObjects) -> None:
    """Remove what a killed writer left half-written, and the folder if nothing else is in it."""
    with contextlib.suppress(OSError, StoreFormatError):  # what ended the block counts, and the next writer tries again
        work.delete([key for key in work.sizes() if is_part(key)])
        work.remove_empty_folders(FOLDERS)
        os.rmdir(work.path)


def _is_at(work: LocalObjects, descriptor: int) -> bool:
    """Whether the folder that was opened still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(work.path, follow_symlinks=False))
    except OSError:
        return False


def _lock(work: LocalObjects, name: str) -> int:
    """A descriptor of the work folder, locked until it is closed."""
    for attempt in itertools.count():
        try:
            descriptor = work.make()
        except FileNotFoundError as error:  # its last owner may have removed it in between
            if attempt < MOST_ATTEMPTS:
                continue
            raise failed(work.name, "", "written", error) from error
        except OSError as error:
            raise failed(work.name, "", "written", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(work, descriptor):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise _held(name) from error
        except OSError as error:
            os.close(descriptor)
            raise failed(work.name, "", "locked", error) from error
        os.close(descriptor)  # its last owner removed it meanwhile
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _leased(work: RemoteObjects, name: str) -> Iterator[Callable[[], None]]:
    lease = _Lease(work, name)
    lease.take()
    ended = threading.Event()
    thread = threading.Thread(target=lease.renew_until, args=(ended,), name="lease", daemon=True)
    thread.start()
    try:
        with removing(lease.give_back):
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
        self._renewed, self._lock = _now(), threading.Lock()

    def take(self) -> None:
        """Hold the lease, waiting out one that nobody renews."""
        seen, since, waits = None, _now(), 0
        while True:
            found = self._work.read_version(LEASE)
            if found is not None and found != seen:
                if seen is not None:
                    raise _held(self._name)
                seen, since = found, _now()
            if found is None or _now() - since > LEASE_SECONDS:
                self._renewed = _now()
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
                began = _now()
                renewed = self._work.write_if(LEASE, self._content(), self._version)
                if renewed is not None:
                    self._version = renewed
                else:
                    self._lost = not self._is_ours()
                self._renewed = began
                if _now() - began <= LEASE_SECONDS / 2:
                    return

    def check(self) -> None:
        """Raise if another process took the store over, which happens to one that stood still."""
        if not self._lost and _now() - self._renewed > LEASE_SECONDS / 2:
            self._renew()
        if self._lost:
            raise StoreExistsError(
                f"{self._name}: another process went on with this store meanwhile; leave it to that."
            )

    def give_back(self) -> None:
        """Let the next process in at once."""
        overdue = _now() - self._renewed > LEASE_SECONDS / 2  # it may be somebody else's by now
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


def _now() -> float:
    """Seconds that go on while the machine sleeps, as other machines do, by whose clocks a lease ends."""
    return time.clock_gettime(_CLOCK)


def _held(name: str) -> StoreExistsError:
    return StoreExistsError(f"{name}: another process is writing this store. Wait for it to end.")
