"""Objects of a store in a bucket, over a network that fails now and then."""

import asyncio
import bisect
import collections
import contextlib
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import obstore
import obstore.exceptions

from functa_store.errors import FunctaStoreError, StorageError, StoreFormatError
from functa_store.store.storage.connections import Connection
from functa_store.store.storage.objects import (
    StorageOptions,
    check_key,
    open_objects,
    too_long,
)
from functa_store.store.storage.proxy import Trouble
from functa_store.store.storage.server_calls import (
    CutError,
    Patience,
    is_unsupported,
    is_worth_repeating,
    reason,
    status_of,
    wait_for,
)
from functa_store.support.threads import Birthplace

COALESCE = 2**20
"""Gap in bytes between two ranges up to which they are fetched by one request."""


def spans_of(starts: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Start and stop of what is fetched by one request each, ascending, for ranges with small gaps in between."""
    spans: list[tuple[int, int]] = []
    for start, length in sorted(zip(starts, lengths, strict=True)):
        if spans and start - spans[-1][1] <= COALESCE:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + length))
        else:
            spans.append((start, start + length))
    return spans


T = TypeVar("T")

REPEATS = 9
"""Times that a request is repeated after an error of the server or the connection, waiting longer each time."""

FIRST_WAIT, LONGEST_WAIT = 0.1, 15.0

RANGES_AT_A_TIME = 10
"""Ranges of one object that are asked for together."""

PIECE_BYTES = 2**17
"""Bytes of an answer that are taken at a time: few enough for a slow line to deliver some in time."""

MOST_KEYS = 2_000_000
"""Objects that a listing may name: more than any store has, and few enough for memory."""

BYTES_PER_KEY = 200
"""What an entry of a listing counts as, besides its name, when its pace is judged."""

MOST_LOG_BYTES = 2**30
MOST_LEASE_BYTES = 2**16

CONFLICTS = (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError)


class RemoteObjects:
    """Objects below a prefix of a bucket; see `Objects`.

    Args:
        connection: The way to it.
        bucket: URL of the bucket, for messages.
        prefix: Folder in it.
        storage: How it was reached.
        before_write: Called before every change; raises if this process may not write any more.
        requests: Where calls are counted.
        birthplace: The process in which the connection was made.

    Attributes:
        name: The URL, for messages.
        writable: Whether it is more than a web server or the hub.
        lists: Likewise.
        block_bytes: 64 MiB, as each call is a request.
        requests: Calls so far by kind, shared by all folders that were made from one another.
        storage: How it was reached.
    """

    block_bytes = 2**26

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        prefix: str,
        storage: StorageOptions,
        *,
        before_write: Callable[[], None] | None = None,
        requests: collections.Counter[str] | None = None,
        birthplace: Birthplace | None = None,
    ) -> None:
        self._connection, self._bucket, self.storage = connection, bucket, storage
        self._store = connection.store
        self._prefix = prefix.strip("/")
        self._before_write = before_write or (lambda: None)
        self.requests = collections.Counter[str]() if requests is None else requests
        self.name = f"{bucket}/{self._prefix}" if self._prefix else bucket
        self.writable = self.lists = not bucket.startswith(("http://", "https://", "hf://"))
        self._counting, self._birthplace = threading.Lock(), birthplace or Birthplace()

    def __repr__(self) -> str:
        return f"<RemoteObjects {self.name}>"

    def __reduce__(self) -> Any:
        return open_objects, (self.name, self.storage)  # no connection and no credentials

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object."""
        return self._ask("get", key, "read", lambda patience: self._fetch(key, at_most, patience)).data

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[memoryview]:
        """Some ranges of an object."""
        spans = spans_of(starts, lengths)
        try:
            fetched = self._ask(
                "get_ranges",
                key,
                "read",
                lambda patience: self._fetch_spans(key, spans, patience),
            )
        except _RefusedError as error:  # what begins behind the end
            if max(stop for _, stop in spans) <= (self.size(key) or 0):
                raise StorageError(str(error)) from None
            fetched = [b""] * len(spans)
        views = [memoryview(part) for part in fetched]
        firsts = [start for start, _ in spans]
        found = []
        for start, length in zip(starts, lengths, strict=True):
            span = bisect.bisect_right(firsts, start) - 1
            found.append(views[span][start - firsts[span] : start - firsts[span] + length])
        if [len(part) for part in found] != list(lengths):
            raise StoreFormatError(f"{self.name}/{key}: is shorter than expected; it is torn.")
        return found

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """One request, which stores all or nothing."""
        self._put(key, parts)

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """One request, which the server refuses if an object is there.

        Returns:
            Whether this call created it; False also if an earlier attempt did, whose answer was lost.
        """
        return self._put(key, parts, mode="create") is not None

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """Two requests, the second of which the server refuses if the object was changed since the first."""
        try:
            found = self._read_version(key, len(before))
        except StoreFormatError:  # it is longer
            return False
        return found is not None and found.data == before and self._put(key, parts, found.version) is not None

    def write_if(self, key: str, data: bytes, version: Any) -> Any:
        """Replace an object if it still has a version, or create it if `version` is None.

        Returns:
            The new version, or None if another process was faster.
        """
        return self._put(key, (data,), mode="create" if version is None else version, asks=False)

    def read_version(self, key: str) -> tuple[bytes, Any] | None:
        """A small object's bytes and version; None if there is none."""
        found = self._read_version(key, MOST_LEASE_BYTES)
        return None if found is None else (found.data, found.version)

    def _read_version(self, key: str, at_most: int) -> "_Fetched | None":
        try:
            return self._ask("get", key, "read", lambda patience: self._fetch(key, at_most, patience))
        except FileNotFoundError:
            return None

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Replace the object beside this folder by itself and more."""
        folder, _, name = self._prefix.rpartition("/")
        beside, key = self._at(folder, self._before_write), name + suffix
        try:
            before = beside.read(key, at_most=MOST_LOG_BYTES)
        except FileNotFoundError:
            before = b""
        beside.write(key, before, data)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects."""
        if not keys:
            self._before_write()
            return
        paths = [self._key(key) for key in keys]
        try:
            self._ask(
                "delete",
                keys[0],
                "removed",
                lambda _: obstore.delete_async(self._store, paths),
                before=self._before_write,
            )
            return
        except FileNotFoundError:  # some servers stop at the first that is gone
            pass
        for key, path in zip(keys, paths, strict=True):
            with contextlib.suppress(FileNotFoundError):
                self._ask(
                    "delete",
                    key,
                    "removed",
                    lambda _, path=path: obstore.delete_async(self._store, path),
                    before=self._before_write,
                )

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every object below a folder."""
        if not self.lists:
            raise StorageError(
                f"{self.name}/{below}: a web server does not list what it has, as reading an unfinished store takes; "
                "only complete stores can be read there"
            )
        folder = f"{self._key(below)}/" if below else f"{self._prefix}/" if self._prefix else ""
        found = self._ask("list", below, "read", lambda patience: self._list(folder, patience))
        skip = len(self._prefix) + 1 if self._prefix else 0
        # A listing may take "x" for a folder of "x.work", too.
        return {path[skip:]: size for path, size in sorted(found.items()) if path.startswith(folder)}

    def size(self, key: str) -> int | None:
        """Size of one object."""
        try:
            found = self._ask("head", key, "read", lambda _: obstore.head_async(self._store, self._key(key)))
        except FileNotFoundError:
            return None
        return int(found["size"])

    def sibling(self, suffix: str) -> "RemoteObjects":
        """The folder beside this one."""
        return self._at(self._prefix + suffix, self._before_write)

    def below(self, folder: str) -> "RemoteObjects":
        """A folder inside this one."""
        return self._at(f"{self._prefix}/{folder}", self._before_write)

    def guarded(self, before_write: Callable[[], None]) -> "RemoteObjects":
        """The same objects, which ask before every change."""
        return self._at(self._prefix, before_write)

    def _at(self, prefix: str, before_write: Callable[[], None]) -> "RemoteObjects":
        return RemoteObjects(
            self._connection,
            self._bucket,
            prefix,
            self.storage,
            before_write=before_write,
            requests=self.requests,
            birthplace=self._birthplace,
        )

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{check_key(key)}" if self._prefix else check_key(key)

    async def _fetch(
        self, key: str, at_most: int, patience: Patience, span: tuple[int, int] | None = None
    ) -> "_Fetched":
        """An object, or some of it, of which no more is taken than was asked for."""
        found = await obstore.get_async(self._store, self._key(key), options={"range": span} if span else None)
        first, last = found.range
        if span and first != span[0]:
            raise StoreFormatError(
                f"{self.name}/{key}: asked for the bytes from {span[0]:,} on, got those from {first:,}"
            )
        if last - first > at_most:
            raise too_long(self.name, key, last - first, at_most)
        pieces, received = [], 0
        try:
            with self._connection.expecting(last - first):
                async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                    pieces.append(piece)
                    received += len(piece)
                    patience.note(len(piece))
                    if received > last - first:
                        raise StoreFormatError(
                            f"{self.name}/{key}: the server sent more than the {last - first:,} bytes that it announced"
                        )
        except obstore.exceptions.GenericError:
            raise _cut(received, last - first) from None
        if received < last - first:
            raise _cut(received, last - first)
        return _Fetched(b"".join(pieces), _version(found.meta))

    async def _fetch_spans(self, key: str, spans: list[tuple[int, int]], patience: Patience) -> list[bytes]:
        """Some ranges, several at a time."""
        slots = asyncio.Semaphore(RANGES_AT_A_TIME)

        async def fetch(span: tuple[int, int]) -> bytes:
            async with slots:
                return (await self._fetch(key, span[1] - span[0], patience, span)).data

        if len(spans) == 1:
            return [await fetch(spans[0])]
        tasks = [asyncio.ensure_future(fetch(span)) for span in spans]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _list(self, folder: str, patience: Patience) -> dict[str, int]:
        found: dict[str, int] = {}
        count = 0
        async for page in obstore.list(self._store, folder or None, chunk_size=1000):
            count += len(page)
            if count > MOST_KEYS:
                raise StorageError(
                    f"{self.name}: the server lists more than {MOST_KEYS:,} objects, more than a store has"
                )
            found |= {str(meta["path"]): int(meta["size"]) for meta in page}
            patience.note(sum(len(meta["path"]) + BYTES_PER_KEY for meta in page))
        return found

    def _put(
        self, key: str, parts: Sequence[bytes | memoryview], mode: Any = "overwrite", *, asks: bool = True
    ) -> dict[str, Any] | None:
        """Store an object.

        Args:
            key: Its name.
            parts: Its bytes.
            mode: What may be there: anything, nothing ("create"), or a version.
            asks: Whether to ask before every attempt if this process may write.

        Returns:
            Its version, or None if `mode` forbids it.
        """
        data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        path = self._key(key)

        def put(_: Patience) -> Awaitable[Any]:
            return obstore.put_async(self._store, path, data, mode=mode, use_multipart=False)

        before = self._before_write if asks else None
        try:
            return _version(
                self._ask("put", key, "written", put, sent=len(data), before=before, conditional=mode != "overwrite")
            )
        except _ConflictError:
            return None

    def _ask(
        self,
        kind: str,
        key: str,
        action: str,
        call: Callable[[Patience], Awaitable[T]],
        *,
        sent: int = 0,
        before: Callable[[], None] | None = None,
        conditional: bool = False,
    ) -> T:
        """Make a request, again where the server or the connection fails, and say in our words what is wrong.

        Nothing that is raised leads back to the client's errors, in which servers and addresses tell secrets.
        """
        self._birthplace.check(f"{self.name}: reaching a server")
        patience = Patience(self.storage.timeout, self.storage.least_rate)
        for repeat in range(REPEATS + 1):
            if before is not None:
                before()
            with self._counting:
                self.requests[kind] += 1
            patience.begin_attempt(sent)
            gate = self._connection.gate
            troubles = gate.troubles if gate else 0
            try:
                return wait_for(lambda: call(patience), patience)
            except FunctaStoreError:
                raise
            except Exception as error:
                trouble = gate.last if gate and gate.troubles > troubles else None
                wait = min(FIRST_WAIT * 2**repeat, LONGEST_WAIT) * random.uniform(0.5, 1.0)
                asked = gate.seconds_to_wait if gate else 0.0
                wait = max(wait, asked)
                hopeless = trouble.final if trouble else not is_worth_repeating(error)
                ended = hopeless or repeat == REPEATS or wait >= patience.left
                failure = self._failure(key, action, error, conditional, trouble, asked) if ended else None
            if failure is not None:
                raise failure
            time.sleep(wait)
        raise AssertionError("unreachable")

    @property
    def _who_may(self) -> str:
        """What to do about a server that refuses access."""
        if self._bucket.startswith("hf://") and os.environ.get("HF_TOKEN") and not self.storage.anonymous:
            return (
                "there is no such data set, or the token of HF_TOKEN has expired or may not read it; a public one "
                "needs none: unset HF_TOKEN, or ask for anonymous access"
            )
        if self._bucket.startswith("hf://"):
            return (
                "there is no such data set, or it is private or gated: set HF_TOKEN in the environment to a token that "
                "may read it"
            )
        return (
            "set its credentials in the environment (such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or ask for "
            "anonymous access if it is public"
        )

    def _failure(
        self, key: str, action: str, error: Exception, conditional: bool, trouble: Trouble | None, asked: float
    ) -> Exception:
        where = f"{self.name}/{key}" if key else self.name
        advice = "" if action == "read" else "; what is written stays: mend it and run the same command again"
        if trouble is not None:
            return StorageError(f"{where}: cannot be {action}: {trouble.reason}{advice}")
        if isinstance(error, FileNotFoundError) and action == "written":
            return StorageError(f"{where}: cannot be written: the server knows no such bucket or folder; check the URL")
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(f"{where}: there is no such object")
        if conditional and isinstance(error, CONFLICTS):
            return _ConflictError()
        if conditional and is_unsupported(error):
            return StorageError(
                f"{where}: cannot be written: the server does not create objects only if there are none, without which "
                f"two processes could write one store ({reason(error)}); choose a server that knows conditional writes "
                "(If-None-Match)"
            )
        if isinstance(error, obstore.exceptions.PermissionDeniedError | obstore.exceptions.UnauthenticatedError):
            return StorageError(f"{where}: the server refuses access; {self._who_may}")
        kind = _RefusedError if action == "read" and _is_refused(error) else StorageError
        later = f", to be asked again in {asked:.0f} s; allow more with the option timeout" if asked > 0 else ""
        return kind(f"{where}: cannot be {action}: {reason(error)}{later}{advice}")


class _Fetched(NamedTuple):
    """Bytes of an object, and what tells its state from others."""

    data: bytes
    version: dict[str, Any]


class _ConflictError(Exception):
    """An object is there, or has another version."""


class _RefusedError(StorageError):
    """A server understood a request and said no."""


def _version(meta: Any) -> dict[str, Any]:
    """What tells two states of an object apart; obstore refuses None in it."""
    return {key: meta[key] for key in ("e_tag", "version") if meta.get(key) is not None}


def _cut(received: int, expected: int) -> CutError:
    return CutError(f"the connection ended after {received:,} of {expected:,} bytes")


def _is_refused(error: Exception) -> bool:
    """Whether a range may lie behind the end of an object."""
    status = status_of(error)
    return (400 <= status < 500 and status not in (408, 429)) if status else "Invalid range" in str(error)[:1000]
