"""Speed of a shuffled epoch of a format, beside numpy's memory map.

    python -m benchmarks.formats.measure "LitData" [--examples 200000] [--size 256] [--batch 256] [--runs 7]

measures one format in this environment, which needs numpy and the format alone, and prints JSON.
"""

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats.arrays import ARRAYS, MEMMAP
from benchmarks.formats.columns import COLUMNS
from benchmarks.formats.ours import OURS
from benchmarks.formats.peer import Batches, Peer
from benchmarks.formats.records import RECORDS

PEERS = {peer.name: peer for peer in (*OURS, *ARRAYS, *COLUMNS, *RECORDS)}
"""In the order of the table."""


class Workload:
    """A table of vectors, and shuffled epochs of it.

    Args:
        num_examples: Vectors of the table.
        size: Numbers of a vector.
        batch: Vectors of a batch.
        seconds: An epoch that takes longer is timed on as many batches as take about so long, at least two.
    """

    def __init__(self, num_examples: int, size: int, batch: int, seconds: float) -> None:
        self.batch, self.seconds = batch, seconds
        self._rng = np.random.default_rng(0)
        self.rows = self._rng.random((num_examples, size), dtype=np.float32)

    @property
    def num_batches(self) -> int:
        """Batches of an epoch; the last, smaller one is left out."""
        return len(self.rows) // self.batch

    def order(self) -> np.ndarray:
        """Indices of the batches of a new epoch, shape (batches, batch)."""
        return self._rng.permutation(len(self.rows))[: self.num_batches * self.batch].reshape(-1, self.batch)

    def measure(self, peer: Peer, folder: Path, runs: int) -> dict[str, Any]:
        """Rows per second of a format, in turns with numpy's memory map.

        Returns:
            JSON-ready: `name`, `how`, `shuffles`, `batches` timed of each epoch, medians of `rows_per_second` and of
            `memmap_rows_per_second`, and `ratio`, the median over the runs of its rate to numpy's.
        """
        folders = {each: folder / each.write.__name__ for each in (MEMMAP, peer)}
        for each, path in folders.items():
            if not path.exists():
                path.mkdir(parents=True)
                each.write(self.rows, path)
        sides = {each: each.open(path) for each, path in folders.items()}
        self._check(peer, sides[peer])
        counts = {each: self._affordable(side) for each, side in sides.items()}
        rounds = [{each: self._rate(side, counts[each]) for each, side in sides.items()} for _ in range(runs)]
        return {
            "name": peer.name,
            "how": peer.how,
            "shuffles": peer.shuffles,
            "batches": counts[peer],
            "rows_per_second": statistics.median(rates[peer] for rates in rounds),
            "memmap_rows_per_second": statistics.median(rates[MEMMAP] for rates in rounds),
            "ratio": statistics.median(rates[peer] / rates[MEMMAP] for rates in rounds),
        }

    def _rate(self, side: Batches, count: int) -> float:
        """Rows per second of the batches of a new epoch behind its first, for which buffers fill."""
        with _started(side(self.order())) as batches:
            began = time.perf_counter()
            found = sum(len(rows) for rows in itertools.islice(batches, count - 1))
            return found / (time.perf_counter() - began)

    def _affordable(self, side: Batches) -> int:
        """Batches of an epoch that can be timed."""
        with _started(side(self.order())) as batches:
            ends = time.perf_counter() + self.seconds
            timely = sum(1 for _ in itertools.takewhile(lambda _: time.perf_counter() < ends, batches))
        return min(max(timely, 1) + 1, self.num_batches)

    def _check(self, peer: Peer, side: Batches) -> None:
        """Refuse to time a format that reads something else."""
        order = self.order()
        batches = side(order)
        first = np.asarray(next(batches))
        _close(batches)
        if peer.shuffles == "any order":
            np.testing.assert_array_equal(first, self.rows[order[0]])
        elif first.dtype != np.float32 or not set(map(bytes, first)) <= set(map(bytes, self.rows)):
            raise AssertionError(f"{peer.name} read rows that were not written")


@contextlib.contextmanager
def _started(batches: Iterator[np.ndarray]) -> Iterator[Iterator[np.ndarray]]:
    """An epoch behind its first batch; what reads ahead is stopped at the end."""
    next(batches)
    yield batches
    _close(batches)


def _close(batches: Iterator[np.ndarray]) -> None:
    if (close := getattr(batches, "close", None)) is not None:
        close()


def options(parser: argparse.ArgumentParser) -> None:
    """The options of a workload."""
    parser.add_argument("--examples", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=256, help="numbers of a vector")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=2.0, help="longest run of one side, about")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one format, in a process that has no more than it needs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(PEERS))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where formats are written, and found again")
    options(parser)
    args = parser.parse_args(argv)
    if not (peer := PEERS[args.name]).is_installed:
        sys.stdout.write(json.dumps({"name": peer.name, "skipped": f"{peer.module} is not installed"}) + "\n")
        return
    workload = Workload(args.examples, args.size, args.batch, args.seconds)
    with tempfile.TemporaryDirectory(dir=args.folder) as own:
        found = workload.measure(peer, args.folder or Path(own), args.runs)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
