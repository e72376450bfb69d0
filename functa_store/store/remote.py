"""How are the objects of a store kept in a bucket, over a network that fails now and then?"""

import bisect
import collections
import contextlib
import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import obstore
import obstore.exceptions
import obstore.store

from functa_store.errors import ConfigError, StorageError, StoreFormatError
from functa_store.forks import Birthplace
from functa_store.store.objects import StorageOptions, check_key, failed, first_line, open_objects, too_long
from functa_store.store.ranges import spans_of

REPEATS = 8
"""Times that an answer is asked for again that was cut in its middle; obstore repeats whole requests itself."""

FIRST_WAIT = 0.1
MOST_LOG_BYTES = 2**30


class RemoteObjects:
    """Objects below a prefix of a bucket; see `Objects`.

    Args:
        store: The connection.
        bucket: URL of the bucket, for messages.
        prefix: Folder in it.
        storage: How it was reached.
        before_write: Called before every change; raises if this process may not write any more.
        requests: Where calls are counted.
        birthplace: The process in which the connection was made.

    Attributes:
        name: The URL, for messages.
        writable: Whether it is more than a web server.
        lists: Likewise.
        requests: Calls so far by kind, shared by all folders that were made from one another.
    """

    def __init__(
        self,
        store: Any,
        bucket: str,
        prefix: str,
        storage: StorageOptions,
        *,
        before_write: Callable[[], None] | None = None,
        requests: collections.Counter[str] | None = None,
        birthplace: Birthplace | None = None,
    ) -> None:
        self._store, self._bucket, self._storage = store, bucket, storage
        self._prefix = prefix.strip("/")
        self._before_write = before_write or (lambda: None)
        self.requests = collections.Counter[str]() if requests is None else requests
        self.name = f"{bucket}/{self._prefix}" if self._prefix else bucket
        self.writable = self.lists = not bucket.startswith(("http://", "https://"))
        self._counting, self._birthplace = threading.Lock(), birthplace or Birthplace()

    def __repr__(self) -> str:
        return f"<RemoteObjects {self.name}>"

    def __reduce__(self) -> Any:
        return open_objects, (self.name, self._storage)  # no connection and no credentials

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object."""
        with self._named_errors(key, "read"):
            return self._persist("get", lambda: self._get(key, at_most))

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[memoryview]:
        """Some ranges of an object."""
        with self._named_errors(key, "read"):
            spans = spans_of(starts, lengths)
            call = functools.partial(
                obstore.get_ranges,
                self._store,
                self._key(key),
                starts=[start for start, _ in spans],
                ends=[stop for _, stop in spans],
                coalesce=0,  # obstore's own coalescing panics on an object that ends too soon
            )
            try:
                fetched = [memoryview(part) for part in self._persist("get_ranges", call)]
            except obstore.exceptions.GenericError as error:  # a server refuses what begins behind the end
                if not _is_final(error) or max(stop for _, stop in spans) <= (self.size(key) or 0):
                    raise
                fetched = [memoryview(b"")] * len(spans)
            firsts = [start for start, _ in spans]
            found = []
            for start, length in zip(starts, lengths, strict=True):
                span = bisect.bisect_right(firsts, start) - 1
                found.append(fetched[span][start - firsts[span] : start - firsts[span] + length])
        if [len(part) for part in found] != list(lengths):
            raise StoreFormatError(f"{self.name}/{key}: is shorter than expected; it is torn.")
        return found

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """One request, which stores all or nothing."""
        self._before_write()
        data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        with self._named_errors(key, "written"):
            self._persist("put", lambda: obstore.put(self._store, self._key(key), data, use_multipart=False))

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """One request, which stores all or nothing, and nothing if there is an object."""
        self._before_write()
        return self.write_if(key, b"".join(parts), None) is not None

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """One request, which stores all or nothing, and nothing if the object is not what it was."""
        self._before_write()
        if (found := self.read_version(key)) is None or found[0] != before:
            return False
        return self.write_if(key, b"".join(parts), found[1]) is not None

    def write_if(self, key: str, data: bytes, version: Any) -> Any:
        """Replace an object if it still has a version, or create it if `version` is None.

        Returns:
            The new version, or None if another process was faster.
        """
        mode = "create" if version is None else version
        try:
            with self._named_errors(key, "written"):
                call = functools.partial(obstore.put, self._store, self._key(key), data, mode=mode, use_multipart=False)
                return _version(self._persist("put", call))
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
            return None

    def read_version(self, key: str) -> tuple[bytes, Any] | None:
        """An object's bytes and version; None if there is none."""

        def call() -> tuple[bytes, Any]:
            found = obstore.get(self._store, self._key(key))
            return bytes(found.bytes()), _version(found.meta)

        try:
            with self._named_errors(key, "read"):
                return self._persist("get", call)
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
        self._before_write()
        if keys:
            paths = [self._key(key) for key in keys]
            with self._named_errors(keys[0], "removed"):
                try:
                    self._persist("delete", lambda: obstore.delete(self._store, paths))
                except FileNotFoundError:  # some servers stop at the first that is gone
                    for path in paths:
                        with contextlib.suppress(FileNotFoundError):
                            self._persist("delete", functools.partial(obstore.delete, self._store, path))

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every object below a folder."""
        if not self.lists:
            raise StorageError(
                f"{self.name}/{below}: a web server does not list what it has; only complete stores can be read"
            )
        folder = f"{self._key(below)}/" if below else f"{self._prefix}/" if self._prefix else ""
        with self._named_errors(below, "read"):
            listed = self._persist("list", lambda: obstore.list(self._store, folder or None).collect())
        skip = len(self._prefix) + 1 if self._prefix else 0
        found = {str(meta["path"]): int(meta["size"]) for meta in listed}
        # A listing may take "x" for a folder of "x.work", too.
        return {path[skip:]: size for path, size in sorted(found.items()) if path.startswith(folder)}

    def size(self, key: str) -> int | None:
        """Size of one object."""
        try:
            with self._named_errors(key, "read"):
                return int(self._persist("head", lambda: obstore.head(self._store, self._key(key)))["size"])
        except FileNotFoundError:
            return None

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
            self._store,
            self._bucket,
            prefix,
            self._storage,
            before_write=before_write,
            requests=self.requests,
            birthplace=self._birthplace,
        )

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{check_key(key)}" if self._prefix else check_key(key)

    def _get(self, key: str, at_most: int) -> bytes:
        found = obstore.get(self._store, self._key(key))
        if (size := int(found.meta["size"])) > at_most:
            raise too_long(self.name, key, size, at_most)
        data = bytes(found.bytes())
        if len(data) != size:
            raise obstore.exceptions.GenericError(f"the connection ended after {len(data)} of {size} bytes")
        return data

    def _persist(self, kind: str, call: Callable[[], Any]) -> Any:
        """Ask again where the answer was cut."""
        self._birthplace.check(f"{self.name}: reaching a server")
        for repeat in range(REPEATS + 1):
            with self._counting:
                self.requests[kind] += 1
            try:
                return call()
            except obstore.exceptions.GenericError as error:
                if not _is_cut(error) or repeat == REPEATS:
                    raise
            time.sleep(FIRST_WAIT * 2**repeat)
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def _named_errors(self, key: str, action: str) -> Iterator[None]:
        where = f"{self.name}/{key}"
        try:
            yield
        except FileNotFoundError as error:
            if action == "written":
                raise StorageError(
                    f"{where}: cannot be written: the server knows no such bucket or folder; check the URL"
                ) from error
            raise FileNotFoundError(f"{where}: there is no such object") from error
        except (
            obstore.exceptions.AlreadyExistsError,
            obstore.exceptions.PreconditionError,
            StoreFormatError,
            ConfigError,
        ):
            raise
        except (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError) as error:
            raise StorageError(
                f"{where}: the server refuses access; set its credentials in the environment (such as "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or ask for anonymous access if it is public"
            ) from error
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise failed(self.name, key, action, error) from error


def _version(meta: Any) -> Any:
    """What tells two states of an object apart; obstore refuses None in it."""
    return {key: meta[key] for key in ("e_tag", "version") if meta.get(key) is not None}


def _is_cut(error: Exception) -> bool:
    """Whether an answer began and did not end."""
    return re.search(r"response body|connection ended", first_line(error)) is not None


def _is_final(error: Exception) -> bool:
    """Whether a server understood the request and said no: 4xx but a timeout and too many requests."""
    return re.search(r"status code: 4(?!08|29)|Invalid range", first_line(error)) is not None
