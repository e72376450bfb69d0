"""What is there of a store?"""

import dataclasses
from collections.abc import Mapping

from functa_store.store.layout import Shard
from functa_store.store.objects import FileRecord, Objects
from functa_store.store.parsing import load_spec
from functa_store.store.receipts import Receipts
from functa_store.store.rounding import Rounding
from functa_store.store.spec import ROOT, StoreSpec
from functa_store.store.tables import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inventory:
    """What is there of a store.

    Attributes:
        spec: What it says about itself.
        shards: The shards that are written, in order: all of them if it is complete.
        records: Size and checksum of every object but the root, by the manifest, or by the receipts of an
            unfinished store.
        knows_skeleton: Whether they cover more than shards.
    """

    spec: StoreSpec
    shards: list[Shard]
    records: Mapping[str, FileRecord]
    knows_skeleton: bool


def take_inventory(objects: Objects) -> Inventory:
    """Find out what is there, reading nothing but metadata.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    spec = load_spec(objects)
    if not spec.complete:
        receipts, count = Receipts(objects, spec.fingerprint), spec.examples.count
        shards = [spec.layout.shard(i, count) for i in receipts.indices() if i < spec.layout.num_shards(count)]
        done, skeleton = receipts.done(shards), receipts.read_skeleton()
        tables = spec.tables(Rounding(spec.config.modulation_dtype)).values()
        done = {i: files for i, files in done.items() if all(_holds(files, table, i) for table in tables)}
        if not (spec := load_spec(objects)).complete:  # else it became so meanwhile, and its receipts went
            records = {key: file for key, file in (skeleton or {}).items() if key != ROOT}
            for files in done.values():
                records |= files
            return Inventory(
                spec=spec,
                shards=[shard for shard in shards if shard.index in done],
                records=records,
                knows_skeleton=skeleton is not None,
            )
    shards = spec.layout.shards(spec.examples.count)
    return Inventory(spec=spec, shards=shards, records=spec.manifest, knows_skeleton=True)


def _holds(files: Mapping[str, FileRecord], table: Table, shard: int) -> bool:
    """Whether a receipt is for a shard of the size that the store's description gives it."""
    return (file := files.get(table.key(shard))) is not None and file.bytes == table.shard_bytes
