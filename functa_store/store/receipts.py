"""Which shards of an unfinished store are done?"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from functa_store.config import from_dict, to_dict
from functa_store.store.disk import put
from functa_store.store.layout import Shard
from functa_store.store.spec import FileRecord, work_path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that a shard is on disk: its rows, its files, and the conversion it belongs to."""

    rows: int
    fingerprint: str
    files: dict[str, FileRecord]


class Receipts:
    """Proofs that shards of one conversion are on disk; each is written after its shard.

    Args:
        path: The store.
        fingerprint: Its fingerprint; receipts of other conversions count for nothing.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.directory = work_path(path) / "receipts"

    def write(self, shard: Shard, files: Mapping[str, FileRecord]) -> None:
        """Record that the files of a shard are durable."""
        receipt = Receipt(rows=len(shard), fingerprint=self.fingerprint, files=dict(files))
        put(self.directory, {self._name(shard): json.dumps(to_dict(receipt)).encode()})

    def read(self, shard: Shard) -> dict[str, FileRecord] | None:
        """The files of a shard that is done, or None: no receipt, or a file is gone or of another size."""
        try:
            receipt = from_dict(Receipt, json.loads((self.directory / self._name(shard)).read_bytes()))
            sizes = {name: (self.path / name).stat().st_size for name in receipt.files}
        except (OSError, ValueError):
            return None
        ours = (receipt.rows, receipt.fingerprint) == (len(shard), self.fingerprint)
        return receipt.files if ours and sizes == {name: file.bytes for name, file in receipt.files.items()} else None

    def clear(self) -> None:
        """Remove all receipts."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def _name(shard: Shard) -> str:
        return f"{shard.index:06d}.json"
