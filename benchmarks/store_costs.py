"""Cost of writing, or opening, one functaset in a process of its own.

    python -m benchmarks.store_costs write PATH EXAMPLES SIZE [ROWS_PER_SHARD]
    python -m benchmarks.store_costs open PATH BATCH

Prints JSON. Nothing but what it takes is imported, so that memory is that of the store.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import functa_store.decode.functaset  # so that modules are not counted
from benchmarks.generated import random_table, write_functaset


def write_here(path: str, num_examples: int, size: int, rows_per_shard: int | None = None) -> dict[str, Any]:
    """Write a functaset of int8 modulations: seconds, and the peak memory of this process."""
    began = time.perf_counter()
    write_functaset(path, random_table(size), num_examples, size, "int8", rows_per_shard=rows_per_shard)
    return {"writing_seconds": time.perf_counter() - began, "writing_peak_bytes": _memory()["VmHWM"]}


def open_here(path: str, batch: int) -> dict[str, Any]:
    """Open a functaset and read a random batch: seconds and growth of memory after each.

    Pages of files that memory holds anyway count as resident once they are mapped; memory of the process's own is
    counted apart.
    """
    before, began = _memory(), time.perf_counter()
    functaset = functa_store.open(path)
    opened, after_opening = time.perf_counter(), _memory()
    functaset.modulations[np.random.default_rng(0).integers(0, len(functaset), batch)]
    read, after_reading = time.perf_counter(), _memory()
    return {
        "opening_seconds": opened - began,
        "opening_bytes": after_opening["VmRSS"] - before["VmRSS"],
        "first_batch_seconds": read - opened,
        "resident_bytes": after_reading["VmRSS"] - before["VmRSS"],
        "own_bytes": after_reading["RssAnon"] - before["RssAnon"],
    }


def _memory() -> dict[str, int]:
    """Memory of this process in bytes: `VmRSS` resident, `VmHWM` at its peak, `RssAnon` of no file; Linux only."""
    fields = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in fields if words[-1] == "kB"}


def main(argv: list[str]) -> None:
    """Do one of both."""
    action, path, *numbers = argv
    found = {"write": write_here, "open": open_here}[action](path, *map(int, numbers))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
