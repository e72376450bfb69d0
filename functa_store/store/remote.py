"""How are the objects of a store kept in a bucket, over a network that fails now and then?"""

import collections
import contextlib
import datetime
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import obstore
import obstore.exceptions
import obstore.store

from functa_store.errors import ConfigError, StorageError, StoreFormatError
from functa_store.store.objects import StorageOptions, check_key, failed, first_line, open_objects, too_long

RETRIES = 12
"""Times that a request is repeated after an error of the server or the connection, waiting longer each time."""

RETRY_SECONDS = 300
FIRST_WAIT, LONGEST_WAIT = 0.1, 15.0
READ_TIMEOUT = 60
COALESCE = 2**20
"""Gap in bytes between two ranges up to which they are fetched by one request."""

MOST_LOG_BYTES = 2**30


class RemoteObjects:
    """Objects below a prefix of a bucket; see `Objects`.

    Args:
        store: The connection.
        bucket: URL of the bucket, for messages.
        prefix: Folder in it.
        storage: How it was reached.
        before_write: Called before every change; raises if this process may not write any more.

    Attributes:
        name: The URL, for messages.
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
    ) -> None:
        self._store, self._bucket, self._storage = store, bucket, storage
        self._prefix = prefix.strip("/")
        self._before_write = before_write or (lambda: None)
        self.requests = collections.Counter[str]() if requests is None else requests
        self.name = f"{bucket}/{self._prefix}" if self._prefix else bucket

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
            call = functools.partial(
                obstore.get_ranges, self._store, self._key(key), starts=starts, lengths=lengths, coalesce=COALESCE
            )
            found = [memoryview(part) for part in self._persist("get_ranges", call)]
        if [len(part) for part in found] != list(lengths):
            raise StoreFormatError(f"{self.name}/{key}: is shorter than expected; it is torn.")
        return found

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """One request, which stores all or nothing."""
        self._before_write()
        data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        with self._named_errors(key, "written"):
            self._persist("put", lambda: obstore.put(self._store, self._key(key), data, use_multipart=False))

    def write_if(self, key: str, data: bytes, version: Any) -> Any:
        """Replace an object if it still has a version, or create it if `version` is None.

        Returns:
            The new version, or None if another process was faster.
        """
        self.requests["put"] += 1
        try:
            with self._named_errors(key, "written"):
                return obstore.put(
                    self._store,
                    self._key(key),
                    data,
                    mode="create" if version is None else version,
                    use_multipart=False,
                )
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
            return None

    def read_version(self, key: str) -> tuple[bytes, Any] | None:
        """An object's bytes and version; None if there is none."""
        self.requests["get"] += 1
        try:
            with self._named_errors(key, "read"):
                found = obstore.get(self._store, self._key(key))
                meta = found.meta
                return bytes(found.bytes()), {"e_tag": meta.get("e_tag"), "version": meta.get("version")}
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
            with self._named_errors(keys[0], "removed"), contextlib.suppress(FileNotFoundError):
                self._persist("delete", lambda: obstore.delete(self._store, [self._key(key) for key in keys]))

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every object below a folder."""
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
            self._store, self._bucket, prefix, self._storage, before_write=before_write, requests=self.requests
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
        """Repeat what fails on the way, such as an answer that is cut in its middle; obstore repeats requests."""
        wait, began = FIRST_WAIT, time.monotonic()
        while True:
            self.requests[kind] += 1
            try:
                return call()
            except obstore.exceptions.GenericError:
                if time.monotonic() - began + wait > RETRY_SECONDS or wait > LONGEST_WAIT:
                    raise
            time.sleep(wait)
            wait *= 2

    @contextlib.contextmanager
    def _named_errors(self, key: str, action: str) -> Iterator[None]:
        where = f"{self.name}/{key}"
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{where}: there is no such object") from error
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError, StoreFormatError):
            raise
        except (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError) as error:
            raise StorageError(
                f"{where}: the server refuses access; set its credentials in the environment (such as "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or ask for anonymous access if it is public"
            ) from error
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise failed(self.name, key, action, error) from error


def connect(scheme: str, bucket: str, storage: StorageOptions) -> Any:
    """A connection to a bucket; no request is made yet.

    Raises:
        ConfigError: If the options make no sense.
    """
    if scheme == "memory":
        return _memory(bucket)
    retry: Any = {
        "max_retries": RETRIES,
        "retry_timeout": datetime.timedelta(seconds=RETRY_SECONDS),
        "backoff": {
            "init_backoff": datetime.timedelta(seconds=FIRST_WAIT),
            "max_backoff": datetime.timedelta(seconds=LONGEST_WAIT),
            "base": 2,
        },
    }
    endpoint = storage.endpoint or (_environment_endpoint() if scheme == "s3" else None)
    insecure = scheme == "http" or (endpoint or "").startswith("http://")
    client: Any = {"allow_http": insecure, "read_timeout": datetime.timedelta(seconds=READ_TIMEOUT)}
    try:
        if scheme == "s3":
            options: Any = {"skip_signature": True} if storage.anonymous else {}
            options |= {"endpoint": endpoint} if endpoint else {}
            options |= {"region": storage.region} if storage.region else {}
            return obstore.store.S3Store(bucket, client_options=client, retry_config=retry, **options)
        if scheme == "gs":
            options = {"skip_signature": True} if storage.anonymous else {}
            options |= {"base_url": endpoint} if endpoint else {}
            return obstore.store.GCSStore(bucket, client_options=client, retry_config=retry, **options)
        return obstore.store.HTTPStore.from_url(f"{scheme}://{bucket}", client_options=client, retry_config=retry)
    except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
        raise ConfigError(f"{scheme}://{bucket}: cannot be reached with {storage}: {first_line(error)}") from error


def _environment_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


_memories: dict[str, Any] = {}
_memories_lock = threading.Lock()


def _memory(bucket: str) -> Any:
    """One bucket per name and process."""
    with _memories_lock:
        return _memories.setdefault(bucket, obstore.store.MemoryStore())
