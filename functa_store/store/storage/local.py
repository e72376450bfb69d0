"""Files of a store below a directory, each replaced as a whole or not at all, without following a link.

Every file is reached from a descriptor of its folder, which is opened name by name and never through a link, so that
a link that a stranger planted, or plants meanwhile, leads neither a reader nor a writer out of the store.
"""

import collections
import concurrent.futures
import contextlib
import errno
import operator
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from functa_store.errors import ConfigError, FunctaStoreError, StoreFormatError
from functa_store.store.storage.objects import check_key, failed, too_long
from functa_store.support.atomic_output import PART_SUFFIX

NO_FILE = -1
"""What `sizes` and `size` give for a link, a pipe or a device: nothing that is read has it."""

AT_ONCE = 16
"""Files of a folder that are removed at a time."""

_SEARCH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait for ever
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalObjects:
    """Files below a directory; see `Objects`.

    Links to the directory are the user's and are followed. Links below it are not, whether to read, write or remove:
    a store may come from a stranger. Nor is anything read but a plain file.

    Args:
        path: The directory; it need not exist.
        inside: How many of the path's last names must be folders, too, and no links to any.
        before_write: Called before every change; raises if this process may not write any more.
        mapped: Whether readers may map files into memory.

    Attributes:
        name: The path, for messages.
        path: The path.
        mapped: As given.
        writable: True.
        lists: True.
        block_bytes: 4 MiB.
        requests: Always empty.
    """

    writable = True
    lists = True
    block_bytes = 2**22

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        inside: int = 0,
        before_write: Callable[[], None] | None = None,
        mapped: bool = True,
    ) -> None:
        self.path = Path(path)
        self.name = os.fspath(self.path)
        self.requests: collections.Counter[str] = collections.Counter()
        self._top = self.path.parents[inside - 1] if inside else self.path
        self._inside = self.path.parts[len(self.path.parts) - inside :]
        self._before_write = before_write
        self.mapped = mapped
        self._is_there = False

    def __repr__(self) -> str:
        return f"<LocalObjects {self.name}>"

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of a file."""
        with self.opened(key) as descriptor:
            size = os.fstat(descriptor).st_size
            if size > at_most:
                raise too_long(self.name, key, size, at_most)
            return self.read_at(key, descriptor, size, 0)

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Some ranges of a file."""
        with self.opened(key) as descriptor:
            return [self.read_at(key, descriptor, n, start) for start, n in zip(starts, lengths, strict=True)]

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[int]:
        """A descriptor of a file, if it is one and inside the directory."""
        *folders, name = check_key(key).split("/")
        try:
            with self._entered(folders) as folder:
                descriptor = os.open(name, _READ, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{self.name}/{key}: there is no such file") from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refused(f"{self.name}/{key}") from error
            raise failed(self.name, key, "read", error) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreFormatError(f"{self.name}/{key}: is no plain file; copy or convert again.")
            yield descriptor
        finally:
            os.close(descriptor)

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Write a file of another name, sync it, rename it, sync the folder; a link of that name is replaced."""
        with self._written(key, parts) as (folder, part, name):
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """Write a file of another name, sync it, give it its name if no other has it, sync the folder."""
        with self._written(key, parts) as (folder, part, name):
            try:
                os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                if _stat(name, folder) is not None:  # as near as a file system without hard links comes to it
                    return False
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """Write a file of another name, sync it, rename it if the one of that name is as it was, sync the folder."""
        with self._written(key, parts) as (folder, part, name):
            try:
                is_same = self.read(key, len(before)) == before
            except (FileNotFoundError, StoreFormatError):
                is_same = False
            if is_same:
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        return is_same

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Add to the end of the file beside this directory."""
        beside = self.sibling(suffix)
        parent, name = self._at(beside.path.parent, len(beside._inside) - 1, None), beside.path.name
        self._check_writable()
        try:
            with parent._entered(()) as folder:
                descriptor = os.open(name, _APPEND, 0o666, dir_fd=folder)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                    raise StoreFormatError(
                        f"{beside.name}: found a pipe, a device or a file of several names, expected a plain one, to "
                        "which times and speeds are appended; remove it"
                    )
                _write_whole(descriptor, memoryview(data))
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refused(beside.name) from error
            raise failed(parent.name, name, "written", error) from error

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files, and the folders below this one that are empty then; of a link the link itself."""
        inside = collections.defaultdict[tuple[str, ...], list[str]](list)
        for key in keys:
            *folders, name = check_key(key).split("/")
            inside[tuple(folders)].append(name)
        for folders, names in inside.items():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._entered(folders) as folder:
                self._unlink(folders, names, folder)
            self._remove_empty(folders)

    def _unlink(self, folders: Sequence[str], names: Sequence[str], folder: int) -> None:
        """Remove files of one folder, many at a time: a journal writes down together what ends together."""

        def unlink(name: str) -> None:
            self._check_writable()
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise failed(self.name, "/".join((*folders, name)), "removed", error) from error

        if len(names) < AT_ONCE:
            for name in names:
                unlink(name)
            return
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE, thread_name_prefix="unlink") as pool:
            for _ in pool.map(unlink, names):
                pass

    def remove_empty_folders(self, names: Sequence[str]) -> None:
        """Remove some folders and those below them, as far as they are empty."""
        for name in names:
            for folders in reversed([folders for folders, _ in self._walked(name)]):
                self._remove_empty(folders)

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every file below a folder; `NO_FILE` of what is neither that nor a folder."""
        found: dict[str, int] = {}
        for folders, entries in self._walked(below):
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # a writer renamed or removed it in between
                    found["/".join((*folders, entry.name))] = _size(entry.stat(follow_symlinks=False))
        return dict(sorted(found.items(), key=operator.itemgetter(0)))

    def size(self, key: str) -> int | None:
        """Size of one file."""
        try:
            found = self._stat(key)
        except OSError as error:
            raise failed(self.name, key, "read", error) from error
        return None if found is None or stat.S_ISDIR(found.st_mode) else _size(found)

    def stamp(self, key: str) -> tuple[int, int, int] | None:
        """What changes when a file is replaced: its number, time and size; None if there is none."""
        try:
            found = self._stat(key)
        except OSError:
            return None
        return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)

    def is_folder(self) -> bool:
        """Whether the directory is there.

        Raises:
            StoreFormatError: If a link is there that is not followed.
        """
        try:
            with self._entered(()):
                return True
        except OSError:
            return False

    def sibling(self, suffix: str) -> "LocalObjects":
        """The directory beside this one, wherever links to it lie: receipts and locks are those of the store."""
        if self._inside:
            beside = self.path.with_name(self.path.name + suffix)
            return self._at(beside, len(self._inside), self._before_write)
        real = os.path.realpath(self.path)
        if real == os.path.abspath(self.path) and self.path.name not in ("", ".."):
            beside = self.path.with_name(self.path.name + suffix)  # as the user wrote it, for messages
        else:
            beside = Path(real + suffix)
        return self._at(beside, 1, self._before_write)

    def below(self, folder: str) -> "LocalObjects":
        """A directory inside this one."""
        inside = len(self._inside) + folder.count("/") + 1
        return self._at(self.path / check_key(folder), inside, self._before_write)

    def guarded(self, before_write: Callable[[], None]) -> "LocalObjects":
        """The same files, which ask before every change."""
        return self._at(self.path, len(self._inside), before_write)

    def existing(self) -> "LocalObjects":
        """The same files, of which nothing can be written once the directory has gone, nor beside it."""
        found = self._at(self.path, len(self._inside), self._before_write)
        found._is_there = True
        return found

    def _at(self, path: Path, inside: int, before_write: Callable[[], None] | None) -> "LocalObjects":
        found = LocalObjects(path, inside=inside, before_write=before_write, mapped=self.mapped)
        found._is_there = self._is_there
        return found

    def make(self) -> int:
        """Create the directory, if it is not there, and open it.

        Returns:
            A descriptor of it, to be closed.

        Raises:
            StoreFormatError: If a link is there that is not followed.
            OSError: If it cannot be created.
        """
        with self._entered((), create=True) as folder:
            return os.open(".", _LIST, dir_fd=folder)

    def read_at(self, key: str, descriptor: int, length: int, start: int) -> bytes:
        """Some bytes of an opened file, which must have them."""
        parts = []
        while length:
            try:
                part = os.pread(descriptor, length, start)
            except OSError as error:
                raise failed(self.name, key, "read", error) from error
            if not part:
                raise StoreFormatError(f"{self.name}/{key}: ends at byte {start}, expected {length} more; it is torn.")
            parts.append(part)
            length, start = length - len(part), start + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @contextlib.contextmanager
    def _written(self, key: str, parts: Sequence[bytes | memoryview]) -> Iterator[tuple[int, str, str]]:
        """A durable file of a name of its own: the descriptor of its folder, its name, and the one it is to have."""
        *folders, name = check_key(key).split("/")
        part = f"{name}.{secrets.token_hex(8)}{PART_SUFFIX}"  # two writers of one key must not share it
        self._check_writable()
        try:
            with self._entered(folders, create=True) as folder:
                try:
                    _write_durably(part, folder, parts)
                    self._check_writable()  # a process may have stood still while it wrote
                    yield folder, part, name
                finally:
                    with contextlib.suppress(OSError):  # renamed, or a full disk needs the space
                        os.unlink(part, dir_fd=folder)
                sync(folder)
        except FunctaStoreError:
            raise
        except OSError as error:
            raise failed(self.name, key, "written", error) from error

    def _check_writable(self) -> None:
        if self._before_write is not None:
            self._before_write()

    @contextlib.contextmanager
    def _entered(self, folders: Sequence[str], *, create: bool = False) -> Iterator[int]:
        """A descriptor of a folder below this one."""
        try:
            lasting = len(self._inside) if self._is_there else -1
            with _entered(self._top, (*self._inside, *folders), create=create, lasting=lasting) as folder:
                yield folder
        except _LinkFoundError as error:
            raise _refused(os.path.join(self._top, *error.names)) from error

    @contextlib.contextmanager
    def _listed(self, folders: Sequence[str]) -> Iterator[Iterator[os.DirEntry[str]]]:
        """What lies in a folder; nothing if there is none."""
        try:
            with self._entered(folders) as folder:
                descriptor = os.open(".", _LIST, dir_fd=folder)
        except FileNotFoundError:
            yield iter(())
            return
        except OSError as error:
            raise failed(self.name, "/".join(folders), "read", error) from error
        try:
            with os.scandir(descriptor) as entries:
                yield entries
        finally:
            os.close(descriptor)

    def _walked(self, below: str) -> Iterator[tuple[tuple[str, ...], list[os.DirEntry[str]]]]:
        """A folder and every one below it, before those inside it: names on the way, and what in it is no folder."""
        folders = [tuple(below.split("/")) if below else ()]  # no recursion: a stranger's may be deeper than the stack
        while folders:
            current, others = folders.pop(), list[os.DirEntry[str]]()
            with self._listed(current) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((*current, entry.name))
                    else:
                        others.append(entry)
                yield current, others

    def _remove_empty(self, folders: Sequence[str]) -> None:
        for depth in range(len(folders), 0, -1):
            try:
                with self._entered(folders[: depth - 1]) as folder:
                    os.rmdir(folders[depth - 1], dir_fd=folder)
            except OSError:  # not empty, or gone
                return

    def _stat(self, key: str) -> os.stat_result | None:
        *folders, name = check_key(key).split("/")
        try:
            with self._entered(folders) as folder:
                return _stat(name, folder)
        except (FileNotFoundError, NotADirectoryError):
            return None


class _LinkFoundError(Exception):
    """A name that must be a folder's is a link's.

    Attributes:
        names: The names on the way to it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__("/".join(names))
        self.names = names


@contextlib.contextmanager
def _entered(top: Path, names: Sequence[str], *, create: bool = False, lasting: int = -1) -> Iterator[int]:
    """A descriptor of the folder that names lead to, which no link is followed for; of the top folder links are.

    Args:
        top: Path of a folder.
        names: Those of a folder in it, of one in that, and so on.
        create: Create those that are not there, durably.
        lasting: Even then neither the top folder nor so many of the names; none below 0.

    Raises:
        _LinkFoundError: If one of the names is a link's.
        OSError: If one is missing, is no folder, or cannot be entered.
    """
    if create and lasting < 0:
        _make_directory(top)
    descriptor = os.open(top, _SEARCH)
    try:
        for depth, name in enumerate(names, 1):
            try:
                below = _enter(name, descriptor, create=create and depth > lasting)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, descriptor):
                    raise _LinkFoundError(names[:depth]) from error
                raise
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _refused(path: str) -> StoreFormatError:
    return StoreFormatError(
        f"{path}: is a link, or is reached through a link, expected plain files and folders inside the store; "
        "put there what it leads to, or remove it."
    )


def _enter(name: str, folder: int, *, create: bool) -> int:
    try:
        return os.open(name, _SEARCH | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):  # another thread was faster
        os.mkdir(name, dir_fd=folder)
    sync(folder)
    return os.open(name, _SEARCH | os.O_NOFOLLOW, dir_fd=folder)


def sync(folder: int) -> None:
    """Make the entries of an open folder survive a power failure."""
    descriptor = os.open(".", _LIST, dir_fd=folder)  # one that is for searching alone cannot be synced
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durably(name: str, folder: int, parts: Sequence[bytes | memoryview]) -> None:
    descriptor = os.open(name, _CREATE, 0o666, dir_fd=folder)
    try:
        for data in parts:
            _write_whole(descriptor, memoryview(data).cast("B"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_outside(path: Path, stores: Sequence[object]) -> None:
    """Refuse to write inside a store, where nothing may be that it does not list.

    Args:
        path: What is to be written.
        stores: Places of stores, of which those on a disk matter.

    Raises:
        ConfigError: If it lies in one of them.
    """
    for store in stores:
        if isinstance(store, LocalObjects) and path.resolve().is_relative_to(store.path.resolve()):
            raise ConfigError(
                f"{path}: lies inside the store {store.name}, which would be damaged; choose another path"
            )


def _write_whole(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(descriptor, data) :]


def _make_directory(path: Path) -> None:
    """Create a directory and those above it, durably."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    with contextlib.suppress(FileExistsError):  # another thread was faster
        path.mkdir()
    with _entered(path.parent, ()) as parent:
        sync(parent)


def _stat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_link(name: str, folder: int) -> bool:
    return (found := _stat(name, folder)) is not None and stat.S_ISLNK(found.st_mode)


def _size(found: os.stat_result) -> int:
    return found.st_size if stat.S_ISREG(found.st_mode) else NO_FILE
