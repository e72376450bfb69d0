"""Zarr stores in folders and zips, opened so that a library reads nothing but what was checked.

A store of a stranger is read through `CheckedStore`: its metadata are those that `zarr_metadata` has checked, a chunk
is a regular file below the store's folder, or a member of the zip, and is measured before it is unpacked.
"""

import asyncio
import os
import stat
import threading
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype

from converters.archives.plain_files import walk_files
from converters.arrays.npy_files import ZipMembers
from converters.arrays.zarr_codecs import MAX_TEXT_BYTES
from converters.arrays.zarr_metadata import (
    DOCUMENTS,
    Files,
    ZarrArray,
    ZarrMetadata,
    read_zarr_metadata,
)
from functa_store.errors import ArchiveError, MemberError

MAX_STORED_BYTES = 1 << 30
"""Bytes of a chunk or shard as it is stored, if it is read whole."""

_MAX_FOLDERS = 1 << 16
_MOST_KEPT = 1 << 28


class FolderFiles:
    """The files of a folder; links that lead out of it, pipes and devices are refused. See `zarr_metadata.Files`.

    Args:
        path: The folder, which may be a link itself: the user has named it.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._root = os.path.realpath(path)
        self.num_bytes = sum(found.st_size for _, found in walk_files(path))

    def read(self, key: str, most: int, start: int | None = None, length: int | None = None) -> bytes | None:
        """Bytes of a file; see `zarr_metadata.Files`."""
        try:
            with open_inside(self._root, key) as file:
                size = os.fstat(file.fileno()).st_size
                begin, end = _range(size, start, length)
                if end - begin > most:
                    raise MemberError(f"has {end - begin} bytes stored in {key}, expected at most {most}")
                file.seek(begin)
                return file.read(end - begin)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except (OSError, ValueError) as error:  # ValueError: a NUL in a name
            raise MemberError(f"{key!a} cannot be read: {error}") from error

    def folders(self, key: str) -> Iterator[str]:
        """Names of the folders in a folder."""
        try:
            with os.scandir(os.path.join(self._root, *key.split("/"))) as entries:
                for count, entry in enumerate(entries):
                    if count > _MAX_FOLDERS:
                        raise MemberError(f"holds more than {_MAX_FOLDERS} files and folders that are no chunks")
                    if entry.is_symlink():
                        check_inside(self._root, f"{key}/{entry.name}")
                    if entry.is_dir():
                        yield entry.name
        except OSError as error:
            raise MemberError(f"cannot be listed: {error}") from error


class ZippedFiles:
    """The members of a zip; see `zarr_metadata.Files`."""

    def __init__(self, members: ZipMembers) -> None:
        self.name = members.path
        self._members = members
        self.num_bytes = self._members.num_bytes
        self._kept: tuple[str, bytes] | None = None
        for name, problem in self._members.problems.items():
            raise ArchiveError(f"{members.path}: member {ascii(name)[:200]} {problem}; zip it again")
        self._folders: dict[str, dict[str, None]] = {}
        for name in self._members.names:
            while "/" in name:
                name, _, _ = name.rpartition("/")
                folder, _, last = name.rpartition("/")
                self._folders.setdefault(folder, {})[last] = None

    def read(self, key: str, most: int, start: int | None = None, length: int | None = None) -> bytes | None:
        """Bytes of a member; see `zarr_metadata.Files`."""
        if key not in self._members:
            return None
        begin, end = _range(self._members.size(key), start, length)
        if end - begin > most:
            raise MemberError(f"has {end - begin} bytes in {key}, expected at most {most}")
        if start is None and length is None:
            return self._members.read(key, most)
        if self._members.is_stored(key):
            return self._members.read_part(key, begin, end)
        return self._unpacked(key)[begin:end]

    def _unpacked(self, key: str) -> bytes:
        """A packed member, of which no part can be read alone; the last one is kept, since other parts follow."""
        kept = self._kept  # another thread may replace it
        if kept is not None and kept[0] == key:
            return kept[1]
        content = self._members.read(key, MAX_STORED_BYTES)
        if len(content) <= _MOST_KEPT:
            self._kept = key, content
        return content

    def folders(self, key: str) -> Iterator[str]:
        """Names of the folders in a folder."""
        return iter(self._folders.get(key, {}))


def _range(size: int, start: int | None, length: int | None) -> tuple[int, int]:
    """Where a part begins and ends."""
    begin = 0 if start is None else max(0, size + start) if start < 0 else min(start, size)
    return begin, size if length is None else min(size, begin + max(0, length))


def open_inside(root: str, key: str) -> Any:
    """A regular file below a folder, open for reading; a pipe or device is not waited for.

    Raises:
        MemberError: If it is none, or a link leads out of the folder.
        OSError: If it cannot be opened.
    """
    path = check_inside(root, key)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(path)
        if not stat.S_ISREG(mode):
            raise MemberError(f"{key!a} is a pipe, socket or device, expected a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_inside(root: str, key: str) -> str:
    """The path that a name below a folder comes to, links resolved.

    Args:
        root: The folder, links resolved.
        key: The name, with "/" between its parts.

    Raises:
        MemberError: If that is not below the folder.
    """
    path = os.path.realpath(os.path.join(root, key))
    if path != root and not path.startswith(os.path.join(root, "")):
        raise MemberError(
            f"{key.lstrip('/')!a} is a link out of the archive, to {path!a}; copy the file into the archive"
        )
    return path


class CheckedStore(Store):
    """A Zarr store for reading, of which nothing is handed out unchecked.

    Args:
        files: Where it lies.

    Attributes:
        name: Its path.
        num_bytes: Bytes of all its files.
        metadata: Its checked metadata.

    Raises:
        ArchiveError: If its metadata cannot be let through.
    """

    def __init__(self, files: Files) -> None:
        super().__init__(read_only=True)
        self._files, self.name, self.num_bytes = files, files.name, files.num_bytes
        self._texts: dict[tuple[str, int | None], int] = {}
        self._text_bytes = 0
        self._lock = threading.Lock()
        self.metadata: ZarrMetadata = read_zarr_metadata(files)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return f"checked://{self._files.name}"

    @property
    def supports_writes(self) -> bool:
        """Never."""
        return False

    @property
    def supports_deletes(self) -> bool:
        """Never."""
        return False

    @property
    def supports_listing(self) -> bool:
        """Of documents, groups and arrays."""
        return True

    def with_read_only(self, read_only: bool = False) -> "CheckedStore":
        """Itself: there is no other way to read it."""
        if not read_only:
            raise ValueError("a checked store can only be read")
        return self

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """A document or a chunk, checked; None if there is none."""
        found = await asyncio.to_thread(self.read, key, byte_range)
        return None if found is None else (prototype or default_buffer_prototype()).buffer.from_bytes(found)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Parts of several."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a document or chunk."""
        return await self.get(key, default_buffer_prototype()) is not None

    async def list(self) -> AsyncIterator[str]:
        """Keys of the documents."""
        for key in self.metadata.documents:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys of the documents below a prefix."""
        for key in self.metadata.documents:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of documents, groups and arrays in a group."""
        start = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        for name in dict.fromkeys(
            key.removeprefix(start).partition("/")[0] for key in self.metadata.documents if key.startswith(start)
        ):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        raise ValueError("a checked store can only be read")

    async def delete(self, key: str) -> None:
        """Refused."""
        raise ValueError("a checked store can only be read")

    def read(self, key: str, byte_range: ByteRequest | None = None) -> bytes | None:
        """A document or a chunk, or a part of it; None if there is none.

        Raises:
            MemberError: If a chunk would take more memory than it may, or cannot be read as a file of the store.
        """
        if key.rpartition("/")[2] in DOCUMENTS:
            return self.metadata.documents.get(key)
        array = self._array_of(key)
        if array is None:
            return None
        start, length = _start_and_length(byte_range)
        stored = self._files.read(key, min(array.most_stored, MAX_STORED_BYTES), start, length)
        if stored is not None:
            num_bytes = array.check_stored(stored, is_part=byte_range is not None)
            if array.codecs.has_texts:
                self._count_texts((key, start), num_bytes)
        return stored

    def _count_texts(self, place: tuple[str, int | None], num_bytes: int) -> None:
        """Refuse texts that are small in each chunk, but not in all of them."""
        with self._lock:
            self._text_bytes += num_bytes - self._texts.get(place, 0)
            self._texts[place] = num_bytes
            if self._text_bytes > MAX_TEXT_BYTES:
                raise MemberError(f"its texts have more than {MAX_TEXT_BYTES} bytes, expected short names")

    def _array_of(self, key: str) -> ZarrArray | None:
        """The array that a chunk belongs to."""
        while key:
            key = key.rpartition("/")[0]
            if key in self.metadata.arrays:
                return self.metadata.arrays[key]
        return None


def _start_and_length(byte_range: ByteRequest | None) -> tuple[int | None, int | None]:
    match byte_range:
        case None:
            return None, None
        case RangeByteRequest(start=start, end=end):
            return start, end - start
        case OffsetByteRequest(offset=offset):
            return offset, None
        case SuffixByteRequest(suffix=suffix):
            return -suffix if suffix else 0, suffix
    raise ValueError(f"a part {byte_range!r} of a chunk was asked for")


class ZarrArrays(Mapping[str, Any]):
    """The arrays of a store by their paths, each opened when it is looked up; "" is a store that is one array."""

    def __init__(self, store: CheckedStore) -> None:
        self._store, self.num_bytes = store, store.num_bytes
        self._opened: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._store.metadata.arrays:
            raise KeyError(name)
        if name not in self._opened:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of types that Zarr has not specified yet
                    self._opened[name] = zarr.open_array(self._store, path=name, mode="r")
            except Exception as error:  # whatever metadata that make no sense make the library raise
                raise ArchiveError(
                    f"{self._store.name}: array {name!r} cannot be opened: {type(error).__name__}: {error}"
                ) from error
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.metadata.arrays)

    def __len__(self) -> int:
        return len(self._store.metadata.arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array that is not opened."""
        return self._store.metadata.arrays[name].shape


def open_zarr_store(path: str) -> CheckedStore:
    """The store in a folder or zip; errors as for `check_zarr_store`."""
    return check_zarr_store(FolderFiles(path) if os.path.isdir(path) else ZippedFiles(ZipMembers(path)))


def check_zarr_store(files: Files) -> CheckedStore:
    """The store in files.

    Raises:
        ArchiveError: If there is none, or it cannot be let through.
    """
    store = CheckedStore(files)
    if not store.metadata.arrays:
        raise ArchiveError(f"{files.name}: there is no Zarr array or group with arrays")
    return store
