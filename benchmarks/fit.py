"""Speed of a fit, against plain programs of the published algorithm.

    python -m benchmarks.fit [--sizes 128x6 256x10 512x15 128x4-8x8x16 256x6-8x8x16] [--reference CHECKOUT]

Networks with random initial weights, 64x64 RGB images of random bytes, three steps on all points, side by side
(128x4-8x8x16 has a modulation of 8x8 cells of 16 numbers):

    ours       functa_store.learn.fit.Fit
    jitted     peers.jitted_fit, in the fastest of a few batch sizes
    eager      peers.eager_fit, one example
    reference  the authors' own code, one example, with --reference

No number is given for a float32 fit whose modulations are not those of `jitted`. GFLOP/s count the cost model's
7 forward passes (functa_store.learn.fit) whatever a side computes; ours computes fewer, as a column of its own
says. Shares are those of the fastest matrix product, timed in the same rounds. A second table has schedules with
other steps and points, by their cost alone; `benchmarks.schedules` has their quality.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks import report
from benchmarks.networks import NUM_STEPS, WORKLOADS, Workload
from benchmarks.peers import REFERENCE_URL
from benchmarks.sides import PASSES, Side, fastest_jitted, one_by_one, ours
from benchmarks.timing import Ceiling, DisagreementError, Times, interleaved, matmul_ceiling, precisions, ratio
from functa_store.config import FitConfig, MatmulPrecision
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import forward_flops

PUBLISHED = FitConfig(num_steps=NUM_STEPS, stride=1, tuning_steps=0)
SCHEDULES = ((3, 1), (3, 2), (3, 4), (5, 2), (9, 2), (9, 4), (17, 4), (33, 4))
"""Steps, and points from one to the next in all of them but the first."""

SCHEDULED = "128x6"
TOLERANCE = 1e-3
PRODUCT = "product"


def difference(results: Mapping[str, Any]) -> dict[str, float]:
    """Largest distance of a modulation from that of `jitted`, relative to its norm."""
    expected = np.asarray(results["jitted"][0])
    far = {}
    for name, result in results.items():
        count = min(len(result[0]), len(expected))
        distances = np.linalg.norm(np.asarray(result[0])[:count] - expected[:count], axis=-1)
        far[name] = float((distances / np.linalg.norm(expected[:count], axis=-1)).max())
    return far


def compare(
    workload: Workload, sides: Mapping[str, Side], ceiling: Ceiling, runs: int, *, check: bool
) -> list[dict[str, Any]]:
    """Time sides against `jitted` and the fastest product.

    Args:
        workload: What they fit.
        sides: By name, `jitted` among them.
        ceiling: The fastest product.
        runs: Timed calls of each.
        check: Whether they must all compute the same.

    Returns:
        JSON-ready facts of every side.

    Raises:
        DisagreementError: If they do not.
    """
    far: dict[str, float] = {}

    def look(results: dict[str, Any]) -> None:
        results.pop(PRODUCT)
        far.update(difference(results))
        if check and not max(far.values()) <= TOLERANCE:
            raise DisagreementError(
                f"{workload.name}: modulations differ from those of the jitted peer by {far} of their norm, "
                f"expected at most {TOLERANCE}; nothing is timed"
            )

    calls = {name: side.call for name, side in sides.items()} | {PRODUCT: ceiling.chain}
    times = interleaved(calls, runs, look)
    flops = forward_flops(workload.network, 2, 3, workload.size**2)
    return [
        {"side": name, "difference": far[name] if check else None, **_facts(side, sides["jitted"], times, name)}
        | _speeds(flops * side.batch, side.passes, times[name], times[PRODUCT], ceiling)
        for name, side in sides.items()
    ]


def published(
    workload: Workload, precision: MatmulPrecision, ceiling: Ceiling, runs: int, others: Mapping[str, Side]
) -> list[dict[str, Any]]:
    """The published algorithm: ours against `jitted` and others."""
    sides = {"ours": ours(workload, PUBLISHED, precision), "jitted": fastest_jitted(workload, precision), **others}
    rows = compare(workload, sides, ceiling, runs, check=precision == "float32")
    return [{"workload": workload.name, "precision": precision, **row} for row in rows]


def scheduled(workload: Workload, precision: MatmulPrecision, ceiling: Ceiling, runs: int) -> list[dict[str, Any]]:
    """Other schedules of ours against the published one of `jitted`."""
    configs = {f"{n} steps, stride {s}": FitConfig(num_steps=n, stride=s, tuning_steps=0) for n, s in SCHEDULES}
    sides = {name: ours(workload, config, precision) for name, config in configs.items()}
    sides["jitted"] = fastest_jitted(workload, precision)
    rows = compare(workload, sides, ceiling, runs, check=False)
    return [{"workload": workload.name, "precision": precision, **row} for row in rows]


def run(
    sizes: Sequence[str], precisions: Sequence[MatmulPrecision], runs: int, checkout: Path | None
) -> dict[str, Any]:
    """All comparisons, JSON-ready; peers that take one example at a time take part in the first precision."""
    ceilings = {precision: matmul_ceiling(precision, runs) for precision in precisions}
    fits = []
    for precision in precisions:
        for workload in map(WORKLOADS.__getitem__, sizes):
            others = one_by_one(workload, precision, checkout) if precision == precisions[0] else {}
            fits += published(workload, precision, ceilings[precision], runs, others)
    schedules = scheduled(WORKLOADS[SCHEDULED], precisions[0], ceilings[precisions[0]], runs)
    facts = {name: ceiling.facts() for name, ceiling in ceilings.items()}
    return {"ceilings": facts, "fits": fits, "schedules": schedules}


def markdown(facts: dict[str, Any]) -> str:
    """The tables."""
    keys = {
        "workload": "network",
        "precision": "precision",
        "side": "side",
        "batch": "batch",
        "first_seconds": "first call, with compilation (s)",
        "prepare_seconds": "once per base (s)",
        "seconds_per_example": "s per example",
        "speedup": "times as fast as jitted",
        "gflops": "GFLOP/s, 7 passes",
        "share": "of the fastest product",
        "passes": "passes computed",
        "share_computed": "of the fastest product, as computed",
    }
    briefly = {key: keys[key] for key in ("workload", "side", "passes", "seconds_per_example", "speedup")}
    briefly["share_computed"] = keys["share_computed"]
    ceilings = [
        (precision, shape, rate / 1e9)
        for precision, ceiling in facts["ceilings"].items()
        for shape, rate in ceiling["flops_per_second_by_shape"].items()
    ]
    return "\n".join(
        [
            report.table_of(facts["fits"], keys),
            report.table_of(facts["schedules"], briefly),
            report.table(["product's precision", "rows x inner width", "GFLOP/s"], ceilings),
        ]
    )


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument(
        "--matmul-precision", nargs="+", choices=get_args(MatmulPrecision), help="default: all that differ in speed"
    )
    parser.add_argument("--reference", type=Path, metavar="CHECKOUT", help=f"a clone of {REFERENCE_URL}")
    args = parser.parse_args(argv)
    use_all_cores()
    facts = run(args.sizes, args.matmul_precision or precisions(), args.runs, args.reference)
    report.publish("fit", facts, markdown(facts), args.out)


def _facts(side: Side, jitted: Side, times: Mapping[str, Times], name: str) -> dict[str, Any]:
    return {
        "batch": side.batch,
        "prepare_seconds": side.prepare_seconds,
        "first_seconds": times[name].first,
        "seconds_per_example": times[name].median / side.batch,
        "speedup": ratio(times["jitted"], times[name]) * side.batch / jitted.batch,
    }


def _speeds(flops: int, passes: float, times: Times, product: Times, ceiling: Ceiling) -> dict[str, Any]:
    """Rates of a call whose forward pass has `flops`, by the cost model and as computed."""
    per_pass = ratio(product, times) * flops / ceiling.flops
    return {
        "gflops": PASSES * flops / times.median / 1e9,
        "share": PASSES * per_pass,
        "passes": passes,
        "gflops_computed": passes * flops / times.median / 1e9,
        "share_computed": passes * per_pass,
    }


if __name__ == "__main__":
    main()
