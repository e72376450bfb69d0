"""An empty store written to memory and opened before hours of work, so that a refusal comes now."""

import collections
from collections.abc import Sequence

from functa_store.errors import StoreFormatError
from functa_store.store.format.receipts import Receipts
from functa_store.store.format.spec import Contents
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import check_key, too_long
from functa_store.store.writing.skeleton import skeleton
from functa_store.store.writing.writer import create


def rehearse(contents: Contents) -> None:
    """Write everything of a store but its shards to memory, and open it.

    Raises:
        ConfigError: If something cannot be written.
        StoreFormatError: If it cannot be read again.
        ValueError: If something cannot be written that was not thought of.
    """
    spec, store = contents.spec(), MemoryObjects("rehearsal.functa", {})
    create(store, spec, skeleton(contents, spec), Receipts(store, spec.fingerprint))
    reader = StoreReader(store)
    _ = reader.stored_base, reader.rejects


class MemoryObjects:
    """Objects in a dictionary, gone with it; see `Objects`.

    Args:
        name: Of the folder.
        files: All objects, by the name of the folder and their key.
    """

    writable = True
    lists = True

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name, self._files = name, files
        self.requests: collections.Counter[str] = collections.Counter()

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of an object."""
        try:
            data = self._files[self._key(key)]
        except KeyError as error:
            raise FileNotFoundError(f"{self._key(key)}: there is no such object") from error
        if len(data) > at_most:
            raise too_long(self.name, key, len(data), at_most)
        return data

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Some ranges of an object."""
        data = self.read(key, 2**63)
        parts = [data[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        if [len(part) for part in parts] != list(lengths):
            raise StoreFormatError(f"{self._key(key)}: ends before a range does")
        return parts

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Replace an object."""
        self._files[self._key(key)] = b"".join(parts)

    def write_new(self, key: str, *parts: bytes | memoryview) -> bool:
        """Create an object, if there is none."""
        if self._key(key) in self._files:
            return False
        self.write(key, *parts)
        return True

    def replace(self, key: str, before: bytes, *parts: bytes | memoryview) -> bool:
        """Replace an object, if it is still what it was."""
        if self._files.get(self._key(key)) != before:
            return False
        self.write(key, *parts)
        return True

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Add to the end of the object beside this folder."""
        self._files[self.name + suffix] = self._files.get(self.name + suffix, b"") + data

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects."""
        for key in keys:
            self._files.pop(self._key(key), None)

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every object below a folder."""
        folder, skip = self._key(below) + "/" if below else f"{self.name}/", len(self.name) + 1
        return {key[skip:]: len(data) for key, data in sorted(self._files.items()) if key.startswith(folder)}

    def size(self, key: str) -> int | None:
        """Size of one object."""
        return None if (data := self._files.get(self._key(key))) is None else len(data)

    def sibling(self, suffix: str) -> "MemoryObjects":
        """The folder beside this one."""
        return MemoryObjects(self.name + suffix, self._files)

    def below(self, folder: str) -> "MemoryObjects":
        """A folder inside this one."""
        return MemoryObjects(self._key(folder), self._files)

    def _key(self, key: str) -> str:
        return f"{self.name}/{check_key(key)}"
