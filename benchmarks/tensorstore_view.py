"""Cost of reading decoded values through a view by TensorStore, over decoding the same points.

    python -m benchmarks.tensorstore_view [--size 128x6] [--runs 15] [--out NAME.json]

Of a functaset of random weights and modulations, whole examples at several resolutions, and a window of one, are read
of `fs.to_tensorstore(resolution)` and decoded by `fs.decode`, both without caches, and compared bit by bit (a window
within 1e-5, whose points a chunk decodes together with others). Both sides take turns in one process.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.networks import WORKLOADS
from benchmarks.selection import functaset_of
from benchmarks.timing import DisagreementError, interleaved, ratio
from functa_store.decode.functaset import Functaset, open_functaset
from functa_store.domains.cells import GridPoints
from functa_store.learn.devices import use_all_cores


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is read.

    Attributes:
        examples: How many, from the first on.
        resolution: Points along each axis.
        window: Points along each axis of a window in the middle; None reads whole examples.
    """

    examples: int
    resolution: int
    window: int | None = None

    @property
    def name(self) -> str:
        """In words."""
        whole = f"{self.examples} at {self.resolution}x{self.resolution}"
        return whole if self.window is None else f"{self.window}x{self.window} of {whole}"

    @property
    def along(self) -> slice:
        """The points along each axis."""
        width = self.window or self.resolution
        start = (self.resolution - width) // 2
        return slice(start, start + width)


REQUESTS = (
    Request(examples=256, resolution=32),
    Request(examples=64, resolution=64),
    Request(examples=8, resolution=256),
    Request(examples=1, resolution=1024),
    Request(examples=1, resolution=1024, window=100),
)


def sides(functaset: Functaset, request: Request) -> dict[str, Callable[[], np.ndarray]]:
    """The same values by both ways."""
    view, uncached = functaset.to_tensorstore(request.resolution, cache_bytes=0), functaset.without_cache()
    wanted, examples = view[: request.examples, request.along, request.along], slice(request.examples)
    axes = functaset.domain.points(request.resolution).axes
    points = GridPoints([axis[request.along] for axis in axes])
    decode: dict[str, Any] = {"coords": points} if request.window else {"resolution": request.resolution}
    return {"view": lambda: wanted.read().result(), "decode": lambda: uncached.decode(examples, **decode)}


def compare(functaset: Functaset, request: Request, runs: int) -> dict[str, Any]:
    """Times of one request, JSON-ready."""

    def check(results: dict[str, np.ndarray]) -> None:
        same = np.array_equal(results["view"], results["decode"])
        if not (same or (request.window and np.allclose(results["view"], results["decode"], atol=1e-5))):
            raise DisagreementError(f"{request.name}: a view and decode give other values")

    times = interleaved(sides(functaset, request), runs, check=check)
    return {
        "request": request.name,
        "first_seconds": times["view"].first,
        "view_ms": 1e3 * times["view"].median,
        "decode_ms": 1e3 * times["decode"].median,
        "over_decode": ratio(times["view"], times["decode"]),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=15)
    parser.add_argument("--size", choices=WORKLOADS, default="128x6")
    args = parser.parse_args(argv)
    use_all_cores()
    with functaset_of(WORKLOADS[args.size], max(request.examples for request in REQUESTS)) as path:
        functaset = open_functaset(path)
        rows = [compare(functaset, request, args.runs) for request in REQUESTS]
    headings = {
        "request": args.size,
        "first_seconds": "first call (s)",
        "view_ms": "view (ms)",
        "decode_ms": "decode (ms)",
        "over_decode": "times decode",
    }
    report.publish("tensorstore_view", {"size": args.size, "requests": rows}, report.table_of(rows, headings), args.out)


if __name__ == "__main__":
    main()
