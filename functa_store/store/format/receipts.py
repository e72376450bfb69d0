"""Receipts: proofs that the shards of an unfinished store are written, and whose they are."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.config import from_dict, to_dict
from functa_store.store.format.layout import Shard
from functa_store.store.format.summaries import ShardSummary
from functa_store.store.storage.objects import (
    REQUESTS_AT_A_TIME,
    FileRecord,
    Objects,
    write_once,
)
from functa_store.store.storage.server_calls import map_in_threads
from functa_store.store.storage.writer_lock import (
    RECEIPTS,
    SKELETON,
    WORK_SUFFIX,
    is_of_work,
)

MOST_RECEIPT_BYTES = 256 * 2**20
"""Longest receipt that is read; that of the skeleton names every chunk of ids, splits and labels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that files are in a store: the conversion they belong to, and their sizes and checksums."""

    fingerprint: str
    files: dict[str, FileRecord]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """What the receipt of a shard says, beside the conversion that it belongs to.

    Attributes:
        files: Sizes and checksums of its files, by key.
        summary: What completing the store needs of it.
    """

    files: dict[str, FileRecord]
    summary: ShardSummary


class Receipts:
    """Proofs that the shards of one conversion are written; each is written after its shard.

    That of the skeleton, all that is written before the first shard, comes first: it says whose the objects are
    that a killed writer may have left behind.

    Args:
        store: The store.
        fingerprint: Its fingerprint; receipts of other conversions count for nothing.
    """

    def __init__(self, store: Objects, fingerprint: str) -> None:
        self._store = store
        self._work = store.sibling(WORK_SUFFIX)
        self._fingerprint = fingerprint

    def write(self, shard: Shard, written: Written) -> bool:
        """Record that the files of a shard are durable.

        Returns:
            Whether that is new; an equal receipt counts as this one.

        Raises:
            StoreMismatchError: If another process recorded others meanwhile.
        """
        plain = {"fingerprint": self._fingerprint, "files": {key: to_dict(file) for key, file in written.files.items()}}
        plain["summary"] = written.summary.to_plain()
        return write_once(self._work, receipt_name(shard), json.dumps(plain).encode())

    def write_skeleton(self, files: Mapping[str, FileRecord]) -> None:
        """Record what is about to be written before the first shard."""
        receipt = Receipt(fingerprint=self._fingerprint, files=dict(files))
        self._work.write(SKELETON, json.dumps(to_dict(receipt)).encode())

    def has(self, shard: Shard) -> bool:
        """Whether a shard has a receipt, whatever that says."""
        return self._work.size(receipt_name(shard)) is not None

    def withdraw(self, shard: Shard) -> None:
        """Remove a receipt that was written too late."""
        self._work.delete([receipt_name(shard)])

    def done(self, shards: Sequence[Shard]) -> dict[int, Written]:
        """What was written of every shard that is done, by index: it has a receipt, and files of the sizes it says."""
        if not shards:
            return {}
        names, sizes = self._work.sizes(RECEIPTS), self._store.sizes()
        there = [shard for shard in shards if receipt_name(shard) in names]
        read = map_in_threads(self._read_shard, map(receipt_name, there), threads=REQUESTS_AT_A_TIME, name="receipts")
        return {
            shard.index: written
            for shard, written in zip(there, read, strict=True)
            if written is not None and all(sizes.get(key) == file.bytes for key, file in written.files.items())
        }

    def indices(self) -> list[int]:
        """The shards that have a receipt, ascending."""
        names = (key.removeprefix(f"{RECEIPTS}/").removesuffix(".json") for key in self._work.sizes(RECEIPTS))
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 10)

    def forget(self, shards: Sequence[Shard]) -> None:
        """Remove the receipts of some shards, which are not done after all."""
        there = self._work.sizes(RECEIPTS) if shards else {}
        self._work.delete([name for name in map(receipt_name, shards) if name in there])

    def read_skeleton(self) -> dict[str, FileRecord] | None:
        """What was written, or was about to be, before the first shard; None if nothing was."""
        return self._read(SKELETON)

    def clear(self) -> None:
        """Remove all receipts, that of the skeleton last."""
        self.clear_shards()
        self._work.delete([SKELETON])

    def clear_shards(self) -> None:
        """Remove the receipts of all shards."""
        self._work.delete([key for key in self._work.sizes(RECEIPTS) if key != SKELETON and is_of_work(key)])

    def _read(self, name: str) -> dict[str, FileRecord] | None:
        try:
            receipt = from_dict(Receipt, json.loads(self._work.read(name, MOST_RECEIPT_BYTES)), brief=True)
        except (FileNotFoundError, ValueError, RecursionError):  # missing, damaged, or no plain file
            return None
        return receipt.files if receipt.fingerprint == self._fingerprint else None

    def _read_shard(self, name: str) -> Written | None:
        try:
            plain = json.loads(self._work.read(name, MOST_RECEIPT_BYTES))
            files = {str(key): _record_of(file) for key, file in plain["files"].items()}
            summary = ShardSummary.from_plain(plain["summary"])
            fingerprint = plain["fingerprint"]
        except (FileNotFoundError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return None  # missing, damaged, no plain file, or of a release that wrote other receipts
        return Written(files=files, summary=summary) if fingerprint == self._fingerprint else None


def _record_of(plain: Mapping[str, Any]) -> FileRecord:
    """Size and checksum from JSON; read ten thousand times in a row, so by hand."""
    found = FileRecord(**plain)
    if type(found.bytes) is not int or type(found.crc32c) is not str:
        raise ValueError(f"no record of a file: {found}")
    return found


def receipt_name(shard: Shard) -> str:
    """The key of a shard's receipt in the work folder."""
    return f"{RECEIPTS}/{shard.index:06d}.json"
