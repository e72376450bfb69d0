"""Quality of fields on the globe: on the grid, between its points and across its seam.

    python -m benchmarks.climate --archive FILE --variable NAME [--time-budget 300] [words of functa convert]

learns a base on the training fields and reports root mean squared errors of the held-out ones in the variable's unit,
over all their points together, plain and weighted by area, beside peers that keep as many numbers per field:

- a principal component analysis of the training fields;
- spherical harmonics, that many in order of their degree (the last degree may be partial), fitted to each field by
  least squares with the weights of the areas, for a field that goes round the globe.

The station test learns once more, from every second latitude and longitude only, and decodes at all other points of the
grid, which neither the learning nor the fit has seen; beside it stand bilinear interpolation of the true coarse field,
which keeps every one of its points, and of the coarse fields that functa and principal components keep.

The seam test takes the mean jump between neighbouring longitudes across the archive's seam and across the date line,
and the median and largest one of all the other pairs of neighbours.

With --sweep, recipes are compared instead, on the last tenth of the training fields, which are then not learned from.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import functa_store
from benchmarks import report
from benchmarks.altered_sources import Strided, TrainingPart
from benchmarks.harmonics import bilinear, principal, truncated
from benchmarks.recipes import Changes, validated, with_length, with_words
from converters.climate.climate import CLIMATE_FAST, open_climate
from functa_store.config import ConvertConfig
from functa_store.decode.functaset import Functaset
from functa_store.domains.sphere import SphereGrid
from functa_store.learn.devices import use_all_cores
from functa_store.sources.source import Source

RECIPES: dict[str, Changes] = {
    "preset": {},
    "w0 5": {"network": {"w0": 5.0}},
    "w0 10": {"network": {"w0": 10.0}},
    "w0 30": {"network": {"w0": 30.0}},
    "depth 4": {"network": {"depth": 4}},
    "192x4": {"network": {"width": 192, "depth": 4}},
    "2048 points": {"outer": {"num_points": 2048}},
    "512 points, batch 16": {"outer": {"num_points": 512, "batch_size": 16}},
    "SIREN 2e-4": {"outer": {"learning_rate": 2e-4}},
    "SIREN 2e-4, map 2e-3": {"outer": {"learning_rate": 2e-4, "map_learning_rate": 2e-3}},
}


def learn(source: Source, config: ConvertConfig, folder: str) -> Functaset:
    """The functaset of a source."""
    path = Path(folder) / f"{len(list(Path(folder).iterdir()))}.functa"
    functa_store.convert(source, path, config)
    return functa_store.open(path)


def values_of(source: Source, indices: np.ndarray) -> np.ndarray:
    """True values of some examples, in the archive's units."""
    return source.features.to_values(np.stack([source.read(int(i)) for i in indices]))


def areas(domain: SphereGrid) -> np.ndarray:
    """What each point counts by area, 1 on average, shape (lat, lon)."""
    weighted = dataclasses.replace(domain, area_weighting=True).weights
    assert weighted is not None
    return weighted.reshape(domain.resolution)


def errors(truth: np.ndarray, found: np.ndarray, weights: np.ndarray) -> list[float]:
    """Root mean squared error of each channel, where there is a value.

    Args:
        truth: Shape (examples, lat, lon, channels).
        found: The same.
        weights: Shape (lat, lon).
    """
    square = (truth - found).astype(np.float64) ** 2
    counted = weights[..., None] * ~np.isnan(square)
    return np.sqrt(np.nansum(square * weights[..., None], axis=(0, 1, 2)) / counted.sum(axis=(0, 1, 2))).tolist()


def peers(source: Source, indices: np.ndarray, numbers: int) -> dict[str, np.ndarray]:
    """Values of some examples as each peer keeps them, with at most as many numbers per example."""
    found: dict[str, np.ndarray] = {}
    domain, spec = source.domain, source.features
    assert isinstance(domain, SphereGrid)
    if spec.missing:
        return found
    train = np.flatnonzero(source.split == "train")
    components = min(numbers, len(train) - 1)
    training, fields = (np.stack([source.read(int(i)) for i in which]) for which in (train, indices))
    if components > 0:
        reconstructed = principal(training, fields, components)
        found[f"PCA, {components} components"] = spec.to_values(reconstructed.astype(np.float32))
    if domain.is_round:
        count = numbers // spec.num_channels
        degrees = np.array(domain.latitudes), np.array(domain.longitudes)
        kept = truncated(fields, *degrees, areas(domain).ravel(), count)
        found[f"harmonics, {count} per variable"] = spec.to_values(kept.astype(np.float32))
    return found


def compare_on_grid(source: Source, fs: Functaset, indices: np.ndarray) -> list[dict[str, Any]]:
    """Errors of functa and peers on the grid, one row each."""
    domain = source.domain
    assert isinstance(domain, SphereGrid)
    truth, area = values_of(source, indices), areas(domain)
    numbers = fs.config.network.modulation_size
    sides = {f"functa, {numbers} dimensions": fs.decode(indices, clip=False), **peers(source, indices, numbers)}
    return [
        {"side": side, "plain": errors(truth, found, np.ones_like(area)), "weighted": errors(truth, found, area)}
        for side, found in sides.items()
    ]


def compare_at_stations(source: Source, fs: Functaset, indices: np.ndarray) -> list[dict[str, Any]]:
    """Errors at the points that a functaset of the coarse grid has not seen, one row for each way to get there."""
    domain, coarse, numbers = source.domain, Strided(source, 2), fs.config.network.modulation_size
    assert isinstance(domain, SphereGrid)
    fine = np.array(domain.latitudes), np.array(domain.longitudes)
    known = fine[0][::2], fine[1][::2]
    truth, mesh = values_of(source, indices), np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1)
    weights = areas(domain)
    weights[::2, ::2] = 0  # the points that were fitted
    decoded = fs.decode(indices, coords=mesh.reshape(-1, 2), clip=False).reshape(truth.shape)

    def between(fields: np.ndarray) -> np.ndarray:
        return bilinear(fields, known, fine, periodic=domain.is_round)

    sides = {
        "functa, decoded at the stations": decoded,
        "functa, bilinear between its grid points": between(fs.decode(indices, clip=False)),
        **{f"{peer}, bilinear": between(kept) for peer, kept in peers(coarse, indices, numbers).items()},
        "true coarse field, bilinear (keeps every point)": between(truth[:, ::2, ::2]),
    }
    return [{"side": side, "weighted": errors(truth, found, weights)} for side, found in sides.items()]


def compare_jumps(domain: SphereGrid, fields: np.ndarray) -> dict[str, Any]:
    """Mean jumps between neighbouring longitudes, each with its seams apart; channels are added up.

    Args:
        domain: A grid that goes round.
        fields: Shape (examples, lat, lon, channels).
    """
    jumps = np.abs(fields - np.roll(fields, -1, axis=2)).mean(axis=(0, 1, 3))
    longitudes = np.array(domain.longitudes)
    east = (longitudes + 180) % 360
    date_line = int(np.argmax(east)) if longitudes[1] > longitudes[0] else int(np.argmin(east))
    others = np.delete(jumps, [len(jumps) - 1, date_line])
    found = {"seam": jumps[-1], "date_line": jumps[date_line], "median": np.median(others), "largest": others.max()}
    return {name: float(value) for name, value in found.items()}


def draw(source: Source, fs: Functaset, index: int, path: Path) -> None:
    """One field as it is, as it is decoded, and the difference."""
    mpl.use("agg")
    truth, found = values_of(source, np.array([index]))[0, ..., 0], fs.decode(index, clip=False)[0, ..., 0]
    domain, spec = source.domain, source.features
    assert isinstance(domain, SphereGrid)
    figure = Figure(figsize=(15, 3.4), layout="constrained")
    low, high = np.nanmin(truth), np.nanmax(truth)
    most = np.nanmax(np.abs(found - truth))
    parts = ((truth, "archive", low, high, "viridis"), (found, "functa", low, high, "viridis"))
    for axes, (field, title, least, greatest, colours) in zip(
        figure.subplots(1, 3), (*parts, (found - truth, "difference", -most, most, "RdBu_r")), strict=True
    ):
        drawn = axes.pcolormesh(
            domain.longitudes, domain.latitudes, field, vmin=least, vmax=greatest, cmap=colours, shading="nearest"
        )
        axes.set(title=f"{spec.channels[0]} {source.ids[index]}: {title}", xlabel="longitude", ylabel="latitude")
        figure.colorbar(drawn, ax=axes, label=spec.units[0])
    figure.savefig(path, dpi=90)


def tables(source: Source, facts: dict[str, Any]) -> str:
    """All that was found, in Markdown."""
    named = [f"{c} ({u})" for c, u in zip(source.features.channels, source.features.units, strict=True)]
    grid = [[row["side"], *row["plain"], *row["weighted"]] for row in facts["grid"]]
    heading = ["held-out fields", *(f"{n}, plain" for n in named), *(f"{n}, by area" for n in named)]
    text = report.table(heading, grid)
    if facts["stations"]:
        rows = [[row["side"], *row["weighted"]] for row in facts["stations"]]
        text += "\n" + report.table(["points never fitted", *(f"{n}, by area" for n in named)], rows)
    if facts["jumps"]:
        rows = [[side, *jumps.values()] for side, jumps in facts["jumps"].items()]
        text += "\n" + report.table(["mean jump between neighbours", "seam", "date line", "median", "largest"], rows)
    return text


def measure(source: Source, config: ConvertConfig, folder: Path, *, stations: bool) -> dict[str, Any]:
    """Everything but the sweep, for one archive."""
    test = np.flatnonzero(source.split == "test")
    domain = source.domain
    assert isinstance(domain, SphereGrid)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as stores:
        fs = learn(source, config, stores)
        facts: dict[str, Any] = {"grid": compare_on_grid(source, fs, test), "stations": [], "jumps": {}}
        if domain.is_round:
            facts["jumps"] = {
                "archive": compare_jumps(domain, values_of(source, test)),
                "functa": compare_jumps(domain, fs.decode(test, clip=False)),
            }
        draw(source, fs, int(test[0]), folder / f"climate-{'-'.join(source.features.channels)}.png")
        if stations and not source.features.missing:
            facts["stations"] = compare_at_stations(source, learn(Strided(source, 2), config, stores), test)
    return facts


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--variable", action="append")
    parser.add_argument("--split", choices=("last", "every"), default="last")
    parser.add_argument("--time-budget", type=float, metavar="S", help="seconds of each learning (default: the preset)")
    parser.add_argument("--no-stations", action="store_true", help="leave out the station test, and its learning")
    parser.add_argument("--sweep", nargs="*", choices=RECIPES, metavar="RECIPE", help="compare recipes (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    args, words = parser.parse_known_args(argv)
    use_all_cores()
    source = open_climate(args.archive, variable=args.variable, split=args.split, area_weighting=True)
    config = with_words(with_length(CLIMATE_FAST.config, None, args.time_budget), words)
    name = f"climate-{'-'.join(source.features.channels)}"
    if args.sweep is not None:
        found = list(validated(TrainingPart(source), config, {name: RECIPES[name] for name in args.sweep or RECIPES}))
        text = report.table_of(found, {"recipe": "recipe", "psnr": "PSNR of held-out training fields (dB)"})
        report.publish(f"{name}-sweep", {"rows": found}, text, args.folder / f"{name}-sweep.json")
        return
    facts = measure(source, config, args.folder, stations=not args.no_stations)
    report.publish(name, facts, tables(source, facts), args.folder / f"{name}.json")


if __name__ == "__main__":
    main()
