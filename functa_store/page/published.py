"""Files of a functaset under the names that a web server gives them, and no others."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from functa_store.errors import StoreFormatError
from functa_store.store.format.parts import GROUP
from functa_store.store.format.receipts import receipt_name
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.reader import Inventory, take_inventory
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import Objects
from functa_store.store.storage.writer_lock import RECEIPTS, SKELETON, WORK_SUFFIX, is_of_store
from functa_store.store.storage.writer_lock import is_part as is_unfinished
from functa_store.store.writing.destination import SUFFIX

BLOCK_BYTES = 2**20
"""Bytes of a file that are in memory at a time."""

_RECEIPT = re.compile(rf"{RECEIPTS}/([0-9]{{1,9}}|skeleton)\.json")
_PART = re.compile(r"(parts/[0-9]{4}\.functa)/(.+)", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file.

    Attributes:
        name: Path on the server, relative to the page.
        objects: Where it lies.
        key: Its name there.
        size: Its bytes.
    """

    name: str
    objects: Objects
    key: str
    size: int

    def blocks(self, start: int, stop: int) -> Iterator[bytes | memoryview]:
        """The bytes from `start` to before `stop`, a block at a time.

        Raises:
            FileNotFoundError: If the file has gone.
            StoreFormatError: If it has become shorter.
            StorageError: If it cannot be read.
        """
        for first in range(start, stop, BLOCK_BYTES):
            yield self.objects.read_ranges(self.key, [first], [min(BLOCK_BYTES, stop - first)])[0]


class PublishedStore:
    """The files that a reader of one functaset asks for: its own, those of its parts, receipts while it is unfinished.

    Files are named `NAME.functa/KEY`, and receipts `NAME.functa.work/receipts/NUMBER.json`, as on a disk. Links inside
    a store are not followed, and nothing but what a writer puts there is given out.

    Args:
        objects: Where the functaset lies.

    Attributes:
        name: `NAME.functa`, of letters, digits, dots, hyphens and underscores alone.
        is_complete: Whether all examples are fitted.

    Raises:
        StoreFormatError: If there is no functaset that this release reads.
        StorageError: If the place cannot be read.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.name = _plain_name(objects)
        self._inventory = take_inventory(objects)
        self.is_complete = self._inventory.spec.complete
        self._parts = {
            part.name: (below := objects.below(part.name), take_inventory(below)) for part in self._inventory.parts
        }

    def find(self, name: str) -> PublishedFile | None:
        """The file of a name; None if there is none, or none that is given out.

        Raises:
            StorageError: If the place cannot be read.
        """
        folder, _, key = name.partition("/")
        if folder == self.name + WORK_SUFFIX:
            return self._measured(name, self._objects.sibling(WORK_SUFFIX), key) if _RECEIPT.fullmatch(key) else None
        if folder != self.name:
            return None
        if key == GROUP and self._parts:
            return self._measured(name, self._objects, key)
        objects, inventory = self._objects, self._inventory
        if (inner := _PART.fullmatch(key)) and inner[1] in self._parts:
            (objects, inventory), key = self._parts[inner[1]], inner[2]
        if not is_of_store(key) or is_unfinished(key):
            return None
        if inventory.spec.complete and (record := inventory.records.get(key)):
            return PublishedFile(name=name, objects=objects, key=key, size=record.bytes)
        return self._measured(name, objects, key)

    def all(self) -> Iterator[PublishedFile]:
        """All files, the root of each store last, so that nothing is described before it is there.

        Raises:
            StorageError: If one of them has gone, or the place cannot be read.
        """
        for part, (_, inventory) in self._parts.items():
            yield from self._found(_keys(inventory), f"{part}/")
        if not self.is_complete:
            receipts = [SKELETON, *map(receipt_name, self._inventory.shards)]
            yield from self._found(receipts, f"../{self.name}{WORK_SUFFIX}/")
        yield from self._found([*([GROUP] if self._parts else []), *_keys(self._inventory)], "")

    def _found(self, keys: list[str], below: str) -> Iterator[PublishedFile]:
        for key in keys:
            name = f"{self.name}/{below}{key}".replace(f"{self.name}/../", "")
            if found := self.find(name):
                yield found
            elif key != SKELETON:
                raise StoreFormatError(
                    f"{self._objects.name}/{below}{key}: is missing; run functa verify, or, if a conversion is writing "
                    "there, try again"
                )

    def _measured(self, name: str, objects: Objects, key: str) -> PublishedFile | None:
        try:
            size = objects.size(key)
        except StoreFormatError:  # a name that leads out of the store, or through a link
            return None
        return None if size is None or size < 0 else PublishedFile(name=name, objects=objects, key=key, size=size)


def _keys(inventory: Inventory) -> list[str]:
    return [*inventory.records, ROOT]


def _plain_name(objects: Objects) -> str:
    path = objects.path.resolve() if isinstance(objects, LocalObjects) else Path(objects.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.removesuffix(SUFFIX)).strip(".-")
    return (name[:200] or "functaset") + SUFFIX
