"""Cost of writing, opening and reading ten million examples.

    python -m benchmarks.many [--runs 7] [--examples 100000 10000000] [--size 64] [--batch 256] [--out NAME.json]

writes functasets of random int8 modulations through the store's own writer, each in a process of its own; opens each
in fresh processes; and reads random batches from all of them in turns in one process, with numpy's memory map of the
same bytes beside them: what memory itself takes longer for, the larger a table is.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import functa_store
from benchmarks import report
from benchmarks.timing import interleaved, ratio

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = (100_000, 10_000_000)
BATCHES = 400
"""Batches of a timed run."""


def _in_fresh_process(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.store_costs", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def compare_reading(paths: Sequence[pathlib.Path], size: int, batch: int, runs: int) -> list[dict[str, Any]]:
    """Microseconds per random batch of every store and of numpy, in turns, relative to those of the first."""
    rng = np.random.default_rng(0)
    functasets = [functa_store.open(path) for path in paths]

    def reads(get: Callable[[np.ndarray], np.ndarray], num_examples: int) -> Callable[[], None]:
        def run() -> None:
            for indices in orders[num_examples]:
                get(indices)

        return run

    orders = {len(fs): rng.integers(0, len(fs), (BATCHES, batch)) for fs in functasets}
    ours = {f"ours {n}": reads(fs.modulations.__getitem__, n) for fs, n in zip(functasets, orders, strict=True)}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        plain = {}
        for fs in functasets:
            _touch_all(fs)
            rows = np.memmap(f"{folder}/{len(fs)}", np.int8, "w+", shape=(len(fs), size))
            rows[:] = 1
            plain[f"numpy {len(fs)}"] = reads(rows.__getitem__, len(fs))
        times = interleaved(ours | plain, runs)
    firsts = {"ours": times[next(iter(ours))], "numpy": times[next(iter(plain))]}
    return [
        {
            "examples": n,
            "microseconds": 1e6 * times[f"ours {n}"].median / BATCHES,
            "ratio": ratio(times[f"ours {n}"], firsts["ours"]),
            "numpy_microseconds": 1e6 * times[f"numpy {n}"].median / BATCHES,
            "numpy_ratio": ratio(times[f"numpy {n}"], firsts["numpy"]),
        }
        for n in orders
    ]


def _touch_all(functaset: functa_store.Functaset) -> None:
    """Map every page, as an epoch does."""
    for start in range(0, len(functaset), 2**18):
        functaset.modulations[start : start + 2**18]


def run(examples: Sequence[int], size: int, batch: int, runs: int) -> list[dict[str, Any]]:
    """All figures, one row per number of examples."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        paths = {n: pathlib.Path(folder).resolve() / f"{n}.functa" for n in examples}
        written = {n: _in_fresh_process("write", str(path), str(n), str(size)) for n, path in paths.items()}
        rounds = [
            {n: _in_fresh_process("open", str(path), str(batch)) for n, path in paths.items()} for _ in range(runs)
        ]
        opened = {n: {key: statistics.median(r[n][key] for r in rounds) for key in rounds[0][n]} for n in examples}
        reading = compare_reading(list(paths.values()), size, batch, runs)
    return [row | written[row["examples"]] | opened[row["examples"]] for row in reading]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The tables."""
    keys = {"opening_bytes": "opening", "resident_bytes": "resident", "own_bytes": "own", "writing_peak_bytes": "peak"}
    shown = [
        row
        | {short: row[key] / 1e6 for key, short in keys.items()}
        | {f"{key}_ms": 1e3 * row[f"{key}_seconds"] for key in ("opening", "first_batch")}
        for row in rows
    ]
    costs = {
        "examples": "examples",
        "writing_seconds": "writing (s)",
        "peak": "its peak memory (MB)",
        "opening_ms": "opening (ms)",
        "opening": "memory of that (MB)",
        "first_batch_ms": "first batch (ms)",
        "resident": "resident memory of both (MB)",
        "own": "without pages of files (MB)",
    }
    speeds = {
        "examples": "examples",
        "microseconds": "random batch (µs)",
        "ratio": "of the first",
        "numpy_microseconds": "numpy memmap (µs)",
        "numpy_ratio": "of the first",
    }
    return report.table_of(shown, costs) + "\n" + report.table_of(shown, speeds)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=7)
    parser.add_argument("--examples", type=report.positive, nargs="+", default=list(EXAMPLES), metavar="N")
    parser.add_argument("--size", type=report.positive, default=64, help="numbers of a modulation")
    parser.add_argument("--batch", type=report.positive, default=256)
    args = parser.parse_args(argv)
    rows = run(args.examples, args.size, args.batch, args.runs)
    report.publish("many", {"stores": rows}, markdown(rows), args.out)


if __name__ == "__main__":
    main()
