"""Cost of a batch of functasets that are read as one, and of a selection, over one functaset of as many examples.

    python -m benchmarks.parts [--parts 64] [--examples 262144] [--size 256] [--batch 256] [--runs 15]
                               [--shards equal] [--out NAME.json]

Random modulations are written as one functaset and, the same ones, as parts of equal number (a power of two).
Shuffled batches are read of the one, of `functa_store.concat` of the parts, and of a selection of each, in float32 and
in int8 (in which each part has its own scales). Shards are as long in all, one for each part, or as they are chosen for
each. All sides take turns in one process, with other batches in each turn; files are in memory. Times are those of the
processor, which other processes disturb less than those of a clock.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import functa_store
from benchmarks import report
from benchmarks.generated import write_contents
from benchmarks.networks import Workload
from benchmarks.timing import DisagreementError, Times, ratio
from functa_store.config import ConvertConfig, ModulationDtype
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.format.side_arrays import RATES
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import open_objects

BATCHES = 200
DTYPES: tuple[ModulationDtype, ...] = ("float32", "int8")


def write(path: Path, rows: np.ndarray, first: int, dtype: ModulationDtype, rows_per_shard: int | None) -> None:
    """A functaset of some modulations, whose ids count from a number."""
    size = rows.shape[1]
    workload = Workload(width=8, depth=3, modulation_dim=size)
    base = {name: np.asarray(array) for name, array in workload.weights().items()}
    contents = Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(8, 8)),
        features=FeatureSpec(channels=("red", "green", "blue")),
        config=ConvertConfig(network=workload.network, modulation_dtype=dtype, rows_per_shard=rows_per_shard),
        base=base | {RATES: np.ones((1, size), np.float32)},
        ids=[str(first + k) for k in range(len(rows))],
        split=np.full(len(rows), "train"),
        provenance={"archive": "generated", "sha256": None},
        rounding=choose_rounding(dtype, rows.min(axis=0), rows.max(axis=0)),
    )
    write_contents(open_objects(path), contents, lambda start, stop: rows[start:stop])


def compare(
    folder: Path, dtype: ModulationDtype, sizes: tuple[int, int, int, int], runs: int, shards: str
) -> dict[str, Any]:
    """Times of one data type, JSON-ready."""
    num_parts, num_examples, size, batch = sizes
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((num_examples, size), np.float32)
    per_part = num_examples // num_parts
    rows_per_shard = per_part if shards == "equal" else None
    write(folder / "one.functa", rows, 0, dtype, rows_per_shard)
    paths = [folder / f"part{k}.functa" for k in range(num_parts)]
    for k, path in enumerate(paths):
        write(path, rows[k * per_part : (k + 1) * per_part], k * per_part, dtype, rows_per_shard)
    one, parts = functa_store.open(folder / "one.functa"), functa_store.concat(paths)
    half = np.sort(rng.permutation(num_examples)[: num_examples // 2])
    sides = {"one": one, "parts": parts, "selected": one.select(index=half), "selected_parts": parts.select(index=half)}
    for side in sides.values():
        side.modulations[:]
    for name, other in (("one", "parts"), ("selected", "selected_parts")):
        if not np.allclose(
            sides[name].modulations[:], sides[other].modulations[:], atol=0.05 if dtype == "int8" else 0
        ):
            raise DisagreementError(f"{name} and {other} read other modulations")

    def seconds(side: functa_store.Functaset) -> float:
        batches = list(rng.integers(0, num_examples // 2, (BATCHES, batch)))
        modulations, began = side.modulations, time.process_time()
        for indices in batches:
            modulations[indices]
        return time.process_time() - began

    rounds = [{name: seconds(side) for name, side in sides.items()} for _ in range(runs)]
    times = {name: Times(0.0, [seconds[name] for seconds in rounds]) for name in sides}
    return {
        "dtype": dtype,
        **{f"{name}_us": 1e6 * times[name].median / BATCHES for name in sides},
        **{f"{name}_over_one": ratio(times[name], times["one"]) for name in sides if name != "one"},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=15)
    parser.add_argument("--parts", type=report.positive, default=64)
    parser.add_argument("--examples", type=report.positive, default=2**18)
    parser.add_argument("--size", type=report.positive, default=256)
    parser.add_argument("--batch", type=report.positive, default=256)
    parser.add_argument("--shards", choices=("equal", "chosen"), default="equal")
    args = parser.parse_args(argv)
    rows = []
    for dtype in DTYPES:
        with tempfile.TemporaryDirectory() as folder:
            sizes = args.parts, args.examples, args.size, args.batch
            rows.append(compare(Path(folder), dtype, sizes, args.runs, args.shards))
    headings = {
        "dtype": f"{args.parts} parts, batches of {args.batch}",
        "one_us": "one functaset (µs)",
        "parts_us": "concat (µs)",
        "parts_over_one": "times one",
        "selected_over_one": "a selection, times one",
        "selected_parts_over_one": "a selection of concat, times one",
    }
    report.publish(
        "parts", {"sizes": vars(args) | {"out": None}, "rows": rows}, report.table_of(rows, headings), args.out
    )


if __name__ == "__main__":
    main()
