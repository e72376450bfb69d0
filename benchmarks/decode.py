"""Points decoded per second, and compilations that a new resolution costs.

    python -m benchmarks.decode [--sizes 128x6 256x10] [--out NAME.json]

Random weights and modulations through functa_store.decode.tiled_decoder.TiledDecoder: one example at 1024x1024,
256 examples at 64x64, and 10,000 random points of 100 random examples. Shares are those of the fastest float32
matrix product, timed in the same rounds. A second table has the first two calls of a fresh decoder, the second
one at another resolution.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.networks import WORKLOADS, Workload
from benchmarks.timing import Ceiling, Times, interleaved, matmul_ceiling, ratio, timed
from functa_store.decode.tiled_decoder import TiledDecoder
from functa_store.domains.cells import CellGrid
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import forward_flops

SIZES = ("128x6", "256x10")
FIRST, SECOND = (64, 64), (100, 70)
"""Resolutions of the first two calls of a fresh decoder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Some examples at some points.

    Attributes:
        examples: How many examples.
        resolution: Points along each axis of a grid, or one number for that many random points.
    """

    examples: int
    resolution: tuple[int, ...]

    def arguments(self, modulation_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Random modulations, and points."""
        rng = np.random.default_rng(0)
        modulations = 0.01 * rng.standard_normal((self.examples, modulation_size), np.float32)
        if len(self.resolution) == 1:
            return modulations, rng.random((*self.resolution, 2), np.float32)
        return modulations, CellGrid(axes=("y", "x"), resolution=self.resolution).coords()


REQUESTS = {
    "1 example at 1024x1024": Request(examples=1, resolution=(1024, 1024)),
    "256 examples at 64x64": Request(examples=256, resolution=(64, 64)),
    "100 examples at 10,000 points": Request(examples=100, resolution=(10_000,)),
}


def fresh(workload: Workload) -> TiledDecoder:
    """A decoder that has compiled nothing yet."""
    base = {name: np.asarray(array) for name, array in workload.weights().items()}
    return TiledDecoder(workload.network, base, CellGrid(axes=("y", "x"), resolution=(64, 64)), num_channels=3)


def speeds(
    workload: Workload, ceiling: Ceiling, runs: int, requests: Mapping[str, Request] | None = None
) -> list[dict[str, Any]]:
    """Points per second of every request, JSON-ready; of all in `REQUESTS` unless some are given."""
    decoder = fresh(workload)
    wanted = REQUESTS if requests is None else requests
    arguments = {name: request.arguments(workload.network.modulation_size) for name, request in wanted.items()}
    calls = {name: lambda pair=pair: decoder(*pair) for name, pair in arguments.items()}
    times = interleaved({**calls, "product": ceiling.chain}, runs)
    per_point = forward_flops(workload.network, 2, 3, 1)
    rows = []
    for name, (modulations, coords) in arguments.items():
        points = len(modulations) * len(coords)
        rows.append(
            {
                "workload": workload.name,
                "request": name,
                "first_seconds": times[name].first,
                "seconds": times[name].median,
                "points_per_second": points / times[name].median,
                "gflops": points * per_point / times[name].median / 1e9,
                "share": ratio(times["product"], times[name]) * points * per_point / ceiling.flops,
            }
        )
    return rows


def first_calls(workload: Workload, runs: int) -> dict[str, Any]:
    """Median seconds of the first two calls of fresh decoders, at two resolutions, JSON-ready."""
    seconds: list[list[float]] = [[], []]
    for _ in range(runs):
        decoder = fresh(workload)
        for kept, resolution in zip(seconds, (FIRST, SECOND), strict=True):
            pair = Request(examples=1, resolution=resolution).arguments(workload.network.modulation_size)
            kept.append(timed(lambda decoder=decoder, pair=pair: decoder(*pair))[0])
    first, second = (Times(kept[0], kept).median for kept in seconds)
    return {"workload": workload.name, "first_seconds": first, "second_seconds": second}


def markdown(facts: dict[str, Sequence[dict[str, Any]]]) -> str:
    """Both tables."""
    keys = {
        "workload": "network",
        "request": "request",
        "first_seconds": "first call (s)",
        "seconds": "s",
        "points_per_second": "points/s",
        "gflops": "GFLOP/s",
        "share": "of the fastest product",
    }
    first, second = ("x".join(map(str, resolution)) for resolution in (FIRST, SECOND))
    calls = {
        "workload": "network",
        "first_seconds": f"first call, {first} (s)",
        "second_seconds": f"second call, {second} (s)",
    }
    return f"{report.table_of(facts['requests'], keys)}\n{report.table_of(facts['first_calls'], calls)}"


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=WORKLOADS, default=list(SIZES))
    args = parser.parse_args(argv)
    use_all_cores()
    workloads = [WORKLOADS[size] for size in args.sizes]
    calls = [first_calls(workload, args.runs) for workload in workloads]
    ceiling = matmul_ceiling(runs=args.runs)
    requests = [row for workload in workloads for row in speeds(workload, ceiling, args.runs)]
    facts = {"ceiling": ceiling.facts(), "requests": requests, "first_calls": calls}
    report.publish("decode", facts, markdown(facts), args.out)


if __name__ == "__main__":
    main()
