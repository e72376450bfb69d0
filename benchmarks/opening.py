"""Time until the first modulations are there.

    python -m benchmarks.opening [--runs 15] [--examples 20000] [--size 256] [--batch 256] [--out NAME.json]

Warm: `functa_store.open(path).modulations[indices]` in a process that has done it before, everything anew each time.
Fresh: whole processes, in turns, that do nothing, import zarr alone, or open the functaset and read a batch; none of
them may import JAX.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import functa_store
from benchmarks import report
from benchmarks.generated import random_table, write_functaset
from benchmarks.timing import interleaved

READ = """
import sys, functa_store
functa_store.open(sys.argv[1]).modulations[: int(sys.argv[2])]
assert "jax" not in sys.modules
"""
PROCESSES = {"python alone": "pass", "import zarr": "import zarr", "functa_store, first batch": READ}


def open_warm(path: pathlib.Path, batch: int, runs: int) -> dict[str, float]:
    """Milliseconds of the first call in this process, and the median of later ones."""
    rng = np.random.default_rng(0)

    def first_batch() -> np.ndarray:
        functaset = functa_store.open(path)
        return functaset.modulations[rng.integers(0, len(functaset), batch)]

    times = interleaved({"ours": first_batch}, runs)["ours"]
    return {"first_milliseconds": 1e3 * times.first, "milliseconds": 1e3 * times.median}


def open_fresh(path: pathlib.Path, batch: int, runs: int) -> list[dict[str, Any]]:
    """Median seconds of whole processes, in turns, after one of each that is not timed."""
    rounds = [{name: _seconds(program, path, batch) for name, program in PROCESSES.items()} for _ in range(runs + 1)]
    return [{"process": name, "seconds": statistics.median(r[name] for r in rounds[1:])} for name in PROCESSES]


def _seconds(program: str, path: pathlib.Path, batch: int) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, str(path), str(batch)], check=True)
    return time.perf_counter() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=15)
    parser.add_argument("--examples", type=report.positive, default=20_000)
    parser.add_argument("--size", type=report.positive, default=256, help="numbers of a modulation")
    parser.add_argument("--batch", type=report.positive, default=256)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = pathlib.Path(folder).resolve() / "generated.functa"
        write_functaset(path, random_table(args.size), args.examples, args.size)
        warm = open_warm(path, args.batch, args.runs)
        fresh = open_fresh(path, args.batch, args.runs)
    markdown = (
        f"Opening and the first batch in a warm process: {warm['milliseconds']:.1f} ms "
        f"(the very first: {warm['first_milliseconds']:.0f} ms).\n\n"
    )
    markdown += report.table_of(fresh, {"process": "whole process", "seconds": "seconds"})
    report.publish("opening", {"warm": warm, "fresh": fresh}, markdown, args.out)


if __name__ == "__main__":
    main()
