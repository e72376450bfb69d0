"""A process that writes every shard of one store after the other, again and again until it comes too late.

python race_once.py, and then the path of a store in each line of standard input; the answer to each is how often it
wrote all shards, and how often it was told that it came too late. Others do the same at the same time.
"""

import sys
from pathlib import Path

from functa_store.config import ConvertConfig
from functa_store.errors import StoreExistsError
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.writer_lock import JOB
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.store.writing.writer import examples_of
from tests.store.conftest import NETWORK, make_contents, make_values

CONFIG = ConvertConfig(network=NETWORK, rows_per_shard=2)
"""Eleven shards, one of them cut short."""


def write_until_late(path: Path) -> tuple[int, int]:
    """Write all shards of a store until they are refused; how often they were written, and how often refused."""
    contents, values = make_contents(config=CONFIG), make_values()
    spec, job = contents.spec(), path.with_name(f"{path.name}.work") / JOB
    store, written, refused = LocalObjects(path).existing(), 0, 0
    writer = ShardWriter(store, spec, contents.rounding, examples_of(contents), lambda: not job.exists())
    while not refused:
        for shard in spec.layout.shards(spec.examples.count):
            try:
                writer.write(shard, *(table[shard.start : shard.stop] for table in values))
                written += 1
            except StoreExistsError:
                refused += 1
    return written // spec.layout.num_shards(spec.examples.count), refused


def main() -> None:
    for line in sys.stdin:
        written, refused = write_until_late(Path(line.rstrip("\n")))
        sys.stdout.write(f"{written} {refused}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
