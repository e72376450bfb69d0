"""The protocol Objects: folders of named objects, on a disk or in a bucket, and helpers for all of them."""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import google_crc32c

from functa_store.errors import (
    ConfigError,
    StorageError,
    StoreFormatError,
    StoreMismatchError,
)
from functa_store.store.storage.location import check_endpoint, parse_location
from functa_store.support.redaction import redacted

REQUESTS_AT_A_TIME = 16
"""Requests to a bucket that may be on their way together."""

MOST_REASON = 300
"""Characters of what a library or a server says that a message repeats."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StorageOptions:
    """How to reach a store. Credentials come from the environment alone, and go nowhere else.

    All but the last are of buckets and ignored for paths.

    Attributes:
        endpoint: URL of a server other than the provider's, such as "http://127.0.0.1:9000".
        region: Region of the bucket; None takes the environment's.
        anonymous: Send no credentials, as public buckets want it.
        timeout: Seconds after which a request fails, its repetitions included, if the server is silent.
        least_rate: Bytes per second; a request that moves data may take a second more for every so many bytes.
        mapped: Map the shards of a store on a disk into memory, which is fastest. If another process makes a mapped
            file shorter, the system ends this one; without, that is an error.
    """

    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    timeout: float = 120.0
    least_rate: float = 10_000.0
    mapped: bool = True

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            check_endpoint(self.endpoint, "endpoint")
        for name in ("timeout", "least_rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ConfigError(f"{name} must be above 0 and finite, got {value!r}")


NO_OPTIONS = StorageOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size in bytes and CRC-32C (8 hexadecimal digits) of one object of a store."""

    bytes: int
    crc32c: str


@runtime_checkable
class FileRecords(Protocol):
    """Sizes and checksums of objects by key: a dictionary, or `records.Records`, of which some are read on demand."""

    def __getitem__(self, key: str, /) -> FileRecord: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

    def get(self, key: str, /) -> FileRecord | None:
        """That of a key, if it is there."""
        ...

    def items(self) -> Iterable[tuple[str, FileRecord]]:
        """All of them with their keys."""
        ...


CHECKSUM_BYTES = 2**20
"""Bytes that are copied at a time to compute a checksum."""


def record(*parts: bytes | memoryview) -> FileRecord:
    """Size and checksum of an object's bytes, given in parts."""
    return record_parts(parts)


def record_parts(parts: Iterable[bytes | memoryview]) -> FileRecord:
    """Size and checksum of an object's bytes, of whose parts one after the other is looked at."""
    checksum, length = google_crc32c.Checksum(), 0
    for part in parts:
        for start in range(0, len(part), CHECKSUM_BYTES):
            checksum.update(bytes(part[start : start + CHECKSUM_BYTES]))  # the library takes nothing but bytes
        length += len(part)
    return FileRecord(bytes=length, crc32c=checksum.digest().hex())


@runtime_checkable
class Objects(Protocol):
    """Objects by key, such as "modulations/c/0/0"; each is replaced as a whole, or not at all.

    Every method may be called from threads, and raises StorageError if the place cannot be reached, read or
    written; credentials never show in a message.

    Attributes:
        name: Path or URL, for messages.
        writable: Whether places of this kind can be written.
        lists: Whether they can say what they hold.
        block_bytes: Bytes of an object that are worth a call, where it is read from end to end and may be far longer.
        requests: Calls to a server so far, by kind; none for a disk.
    """

    name: str
    writable: bool
    lists: bool
    block_bytes: int
    requests: collections.Counter[str]

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object.

        Raises:
            FileNotFoundError: If there is none.
            StoreFormatError: If it is longer than `at_most`, is no plain file, or lies outside the folder.
        """
        ...

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> Sequence[bytes | memoryview]:
        """Some ranges of an object; neighbours are fetched together where every request costs.

        Raises:
            FileNotFoundError: If there is none.
            StoreFormatError: If it ends before a range does, is no plain file, or lies outside the folder.
        """
        ...

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Replace an object atomically and durably by the parts joined."""
        ...

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """Create an object atomically and durably, if there is none of its name.

        Returns:
            Whether it was created; what is there already stays as it is.
        """
        ...

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """Replace an object atomically and durably, if it is still what it was.

        A server compares and replaces in one step. On a disk these are two, between which only the lock of whoever
        writes keeps others out.

        Args:
            key: Which.
            before: The bytes that it must have.
            parts: The new ones.

        Returns:
            Whether it was replaced; whatever else is there stays as it is.
        """
        ...

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Add to the end of the object whose name is this folder's with a suffix; not atomic."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there count as removed."""
        ...

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size in bytes of every object below a folder, by key, in order of the keys."""
        ...

    def size(self, key: str) -> int | None:
        """Size in bytes of one object; None if there is none."""
        ...

    def sibling(self, suffix: str) -> "Objects":
        """The folder whose name is this one's with a suffix."""
        ...

    def below(self, folder: str) -> "Objects":
        """A folder inside this one."""
        ...


@runtime_checkable
class HasObjects(Protocol):
    """A store that is open already: a functaset, or the reader of one.

    Attributes:
        objects: Where it lies.
    """

    @property
    def objects(self) -> Objects: ...  # noqa: D102  # above


Location = str | os.PathLike[str] | Objects | HasObjects
"""A path, a URL (s3://, gs://, hf://, http(s)://, memory://), or a functaset or objects that are open already."""


def open_objects(location: Location, storage: StorageOptions = NO_OPTIONS) -> Objects:
    """The objects at a location; nothing is read yet but the commit of a data set of the hub.

    Args:
        location: See `Location`.
        storage: How to reach it.

    Raises:
        ConfigError: If it is no path, or a URL of an unknown scheme, without a bucket, or with credentials in it.
        NoFunctasetError: If the hub has no such data set or revision.
        StorageError: If this process can open no way to a server, as it has too many files open, or the hub cannot be
            asked for the commit of a revision.
    """
    if not isinstance(location, str | os.PathLike):
        if isinstance(location, Objects):
            return location
        if isinstance(location, HasObjects):
            return location.objects
    from functa_store.store.storage.local import LocalObjects

    place = parse_location(location)
    if isinstance(place, str):
        return LocalObjects(place, mapped=storage.mapped)
    from functa_store.store.storage.connections import connect
    from functa_store.store.storage.remote import RemoteObjects

    if place.scheme == "hf":
        from functa_store.store.storage.hub import pinned

        place = pinned(place, storage)
    return RemoteObjects(connect(place.scheme, place.host, storage), place.bucket, place.prefix, storage)


def check_key(key: str) -> str:
    """The key, if it names something inside the folder.

    Raises:
        StoreFormatError: If it is empty, absolute, or leads out of the folder.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts) or not _is_unicode(key):
        raise StoreFormatError(f"found the name {key!r}, expected a plain one below the store; do not trust this store")
    return key


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_all(objects: Objects, files: Mapping[str, bytes]) -> None:
    """Write many objects, several at a time, each atomically."""
    from functa_store.store.storage.server_calls import map_in_threads

    for _ in map_in_threads(objects.write, files.keys(), files.values(), threads=REQUESTS_AT_A_TIME, name="write"):
        pass


def write_once(objects: Objects, key: str, *parts: bytes | memoryview) -> bool:
    """Write an object that is never changed again; if an equal one is there, it is done already.

    Returns:
        Whether it was written now.

    Raises:
        StoreMismatchError: If there is another one.
        StorageError: If it cannot be written.
    """
    while not objects.write_new(key, *parts):
        wanted = record(*parts)
        try:
            found = record(objects.read(key, wanted.bytes))
        except FileNotFoundError:  # it was removed in between
            continue
        except StoreFormatError as error:
            raise StoreMismatchError(f"{objects.name}/{key}: another process wrote it meanwhile: {error}") from error
        if found != wanted:
            raise StoreMismatchError(
                f"{objects.name}/{key}: found {found.bytes} bytes of checksum {found.crc32c}, which another process "
                f"wrote meanwhile, expected the {wanted.bytes} of checksum {wanted.crc32c} that this one made; the "
                "same conversion must give the same bytes. Let one process write, and convert again into an empty path."
            )
        return False
    return True


def too_long(name: str, key: str, found: int, at_most: int) -> StoreFormatError:
    """What to raise for an object of absurd size."""
    return StoreFormatError(f"{name}/{key}: has {found:,} bytes, expected at most {at_most:,}; copy or convert again.")


def failed(name: str, key: str, action: str, error: Exception) -> StorageError:
    """What to raise for an error of a disk or a server."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    advice = "" if action == "read" else "; what is written stays: mend it and run the same command again"
    return StorageError(f"{name}/{key}: cannot be {action}: {reason}{advice}")


def first_line(error: Exception) -> str:
    """What an error of a library says, short, without its traces, credentials and control characters."""
    lines = [line.strip() for line in str(error)[:10_000].splitlines() if line.strip()]
    text = redacted(lines[0]) if lines else ""
    text = re.sub(r"\x1b(\[[0-?]{0,20}[ -/]{0,20}[@-~]|\][^\x07\x1b]{0,200}(\x07|\x1b\\)?|.)?", "", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    words = redacted(" ".join(text.split()))  # again: what was taken out may have stood inside a credential
    return f"{words[:MOST_REASON].rstrip()}..." if len(words) > MOST_REASON else words or type(error).__name__
