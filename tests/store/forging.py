"""A stranger's stores: everything that says they are whole is recomputed, so that only their content can be judged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from functa_store.store.objects import FileRecord, record
from functa_store.store.spec import IDENTITY, ROOT, sha256_json


def seal(root: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """A root with the right manifest, fingerprint and checksum for what it and the other files say."""
    functa = root["attributes"]["functa"]
    functa.pop("checksum", None)
    records = {key: record(data) for key, data in files.items() if key != ROOT}
    functa["manifest"] = {key: {"bytes": found.bytes, "crc32c": found.crc32c} for key, found in sorted(records.items())}
    functa["fingerprint"] = sha256_json({key: functa[key] for key in IDENTITY if key in functa})
    functa["checksum"] = sha256_json(root)
    return json.dumps(root).encode()


def forge(store: Path, change: Callable[[dict[str, Any]], None] = lambda functa: None) -> None:
    """Change the attributes of a store and make its checksums agree with whatever its files hold."""
    files = {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file() and not p.is_symlink()}
    root = json.loads(files[ROOT])
    change(root["attributes"]["functa"])
    (store / ROOT).write_bytes(seal(root, files))


class Forged:
    """Objects in memory; see `functa_store.store.objects.Objects`. What is not needed for reading is left out."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.name, self.files, self.requests = "forged", files, {}

    def read(self, key: str, at_most: int) -> bytes:
        if key not in self.files:
            raise FileNotFoundError(key)
        assert len(self.files[key]) <= 2**30
        data = self.files[key]
        if len(data) > at_most:
            from functa_store.store.objects import too_long

            raise too_long(self.name, key, len(data), at_most)
        return data

    def read_ranges(self, key: str, starts: list[int], lengths: list[int]) -> list[bytes]:
        from functa_store.errors import StoreFormatError

        if key not in self.files:
            raise FileNotFoundError(key)
        parts = [self.files[key][a : a + n] for a, n in zip(starts, lengths, strict=True)]
        if [len(part) for part in parts] != list(lengths):
            raise StoreFormatError("torn")
        return parts

    def size(self, key: str) -> int | None:
        return len(self.files[key]) if key in self.files else None

    def sizes(self, below: str = "") -> dict[str, int]:
        return {key: len(data) for key, data in sorted(self.files.items()) if key.startswith(below)}

    def sibling(self, suffix: str) -> "Forged":
        return Forged({})


__all__ = ["FileRecord", "Forged", "forge", "seal"]
