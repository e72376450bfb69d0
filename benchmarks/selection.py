"""Cost of selecting lazily through xarray, over decoding just those points.

    python -m benchmarks.selection [--size 128x6] [--resolution 1024] [--runs 15] [--out NAME.json]

A functaset of random weights and modulations is opened at a resolution, without caches. Of one example and of a few,
a window, `ds.image.sel(y=slice(.4, .6), x=slice(.4, .6)).load()`, and 100 points, each of an example of its own, are
selected lazily, against `fs.decode` (`fs.decode_scattered`) at exactly those points, and against the decoder alone on
modulations that are in memory. All sides take turns in one process. Points are counted by the decoder, for one call.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import report
from benchmarks.generated import write_contents
from benchmarks.networks import WORKLOADS, Workload
from benchmarks.timing import DisagreementError, interleaved, ratio
from functa_store.config import ConvertConfig
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.learn.devices import use_all_cores
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.side_arrays import RATES
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import open_objects

EXAMPLES = (1, 4)
"""Examples that a window is decoded of."""

WINDOW = slice(0.4, 0.6)
POINTS = 100

Side = Callable[[], np.ndarray]


@contextlib.contextmanager
def functaset_of(workload: Workload, num_examples: int) -> Iterator[Path]:
    """A store with a workload's network and random modulations, for a while."""
    rng, size = np.random.default_rng(0), workload.modulation_dim
    base = {name: np.asarray(array) for name, array in workload.weights().items()}
    contents = Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(workload.size, workload.size)),
        features=FeatureSpec(channels=("red", "green", "blue")),
        config=ConvertConfig(network=workload.network),
        base=base | {RATES: np.ones((1, size), np.float32)},
        ids=[str(i) for i in range(num_examples)],
        split=np.full(num_examples, "train"),
        provenance={"archive": "generated", "sha256": None},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generated.functa"
        write_contents(
            open_objects(path),
            contents,
            lambda start, stop: 0.01 * rng.standard_normal((stop - start, size), np.float32),
        )
        yield path


def window_sides(dataset: xr.Dataset, functaset: Functaset, num_examples: int) -> dict[str, Side]:
    """A window of some examples: selected, decoded, and by the decoder alone."""
    some = dataset.image.isel(example=slice(num_examples))
    y, x = (axis.sel({axis.name: WINDOW}).values for axis in (dataset.y, dataset.x))
    coords = np.stack([c.ravel() for c in np.meshgrid(y, x, indexing="ij")], axis=-1).astype(np.float32)
    modulations, decoder = functaset.modulations[:num_examples], functaset.tiled_decoder
    return {
        "selection": lambda: some.sel(y=WINDOW, x=WINDOW).load().values.reshape(num_examples, len(coords), -1),
        "decode": lambda: functaset.decode(slice(num_examples), coords=coords),
        "decoder": lambda: decoder(modulations, coords),
    }


def scattered_sides(dataset: xr.Dataset, functaset: Functaset) -> dict[str, Side]:
    """Points, each of an example of its own."""
    rng = np.random.default_rng(1)
    drawn = {dim: rng.integers(0, dataset.sizes[dim], POINTS) for dim in ("example", "y", "x")}
    where = {dim: xr.DataArray(places, dims="point") for dim, places in drawn.items()}
    coords = np.stack([dataset[axis].values[drawn[axis]] for axis in ("y", "x")], axis=-1).astype(np.float32)
    modulations, decoder = functaset.modulations[:], functaset.tiled_decoder
    return {
        "selection": lambda: dataset.image.isel(where).load().values,
        "decode": lambda: functaset.decode_scattered(drawn["example"], coords),
        "decoder": lambda: decoder.scattered(modulations, drawn["example"], coords),
    }


def compare(request: str, functaset: Functaset, sides: dict[str, Side], runs: int) -> dict[str, Any]:
    """Times and counts of one request, JSON-ready."""
    decoder = functaset.tiled_decoder
    times = interleaved(sides, runs, check=_check)
    decoder.points_asked = decoder.points_evaluated = 0
    sides["selection"]()
    return {
        "request": request,
        "asked": decoder.points_asked,
        "evaluated": decoder.points_evaluated,
        "first_seconds": times["selection"].first,
        **{f"{name}_ms": 1e3 * times[name].median for name in sides},
        **{f"over_{name}": ratio(times["selection"], times[name]) for name in ("decode", "decoder")},
    }


def _check(results: dict[str, np.ndarray]) -> None:
    for name, found in results.items():
        if not np.allclose(found, results["decoder"], rtol=1e-5, atol=1e-6):
            raise DisagreementError(f"{name} and the decoder give other features at the same points")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=15)
    parser.add_argument("--size", choices=WORKLOADS, default="128x6")
    parser.add_argument("--resolution", type=report.positive, default=1024)
    args = parser.parse_args(argv)
    use_all_cores()
    rows = []
    with functaset_of(WORKLOADS[args.size], max(EXAMPLES)) as path:
        dataset = xr.open_dataset(path, engine="functa", resolution=args.resolution, cache=False, cache_bytes=0)
        functaset = dataset.encoding["functa"].shared.functaset
        for n in EXAMPLES:
            sides = window_sides(dataset, functaset, n)
            rows.append(compare(f"a window of {n} example{'s' * (n > 1)}", functaset, sides, args.runs))
        rows.append(compare(f"{POINTS} points", functaset, scattered_sides(dataset, functaset), args.runs))
    headings = {
        "request": f"{args.size} at {args.resolution}x{args.resolution}",
        "asked": "points",
        "evaluated": "with filling",
        "first_seconds": "first call (s)",
        "selection_ms": "selection (ms)",
        "decode_ms": "decode (ms)",
        "decoder_ms": "decoder (ms)",
        "over_decode": "times decode",
        "over_decoder": "times decoder",
    }
    facts = {"size": args.size, "resolution": args.resolution, "requests": rows}
    report.publish("selection", facts, report.table_of(rows, headings), args.out)


if __name__ == "__main__":
    main()
