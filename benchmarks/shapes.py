"""Quality of held-out shapes, against a PCA of as many numbers and a coarse grid of as many bytes.

    python -m benchmarks.shapes --archive ARCHIVE [--resolution 32] [--time-budget 1200] [--sweep] [WORDS]

Converts an archive that `functa convert shapenet` reads by the preset of its resolution, and reports IoU and accuracy
of the test split, mean and by class: of ours with modulations of float32 and of 8 bits, of a PCA of equal dimension,
and of occupancies averaged over a coarse grid of at most as many bytes, decoded by trilinear interpolation. Ours is
thresholded at 0.5, the others at their best threshold on the training split. Writes shapes.json, shapes.md and
shapes.png into bench-output.

WORDS of functa convert, such as `--modulation-grid 4,4,4 --modulation-dim 16`, change the preset.

--sweep instead learns each of some recipes for the time budget on nine tenths of the training split and compares them
on its last tenth; the test split takes no part. Appends to shapes_sweep.md.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

import functa_store
from benchmarks.altered_sources import TrainingPart
from benchmarks.recipes import Changes, with_length, with_words
from benchmarks.report import table
from benchmarks.shape_peers import CoarseGrid, Pca, evaluate, summary
from benchmarks.timing import Machine
from converters.shapes.shapenet import SHAPES32_FAST, SHAPES64_FAST, open_shapenet
from functa_store.config import ConvertConfig, overlaid
from functa_store.conversion.convert import convert
from functa_store.conversion.recode import recode
from functa_store.decode.pictures import comparison_sheet, solid_image
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import fit_examples
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.progress import Event, Learned
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly, hold_out_every

SHOWN = 8
VALIDATED = 128

START: Changes = {
    "network": {"w0": 12.0},
    "outer": {"learning_rate": 2e-4, "map_learning_rate": 2e-3, "decay_fraction": 0.7},
}
"""What the recipes of the sweep change; ones count once."""

_FASTER = {"learning_rate": 5e-4, "map_learning_rate": 4e-3}


def _kept(outer: Mapping[str, Any] = MappingProxyType({}), **network: Any) -> dict[str, Any]:
    """As the preset of 64^3, but an untuned fit of nine steps: to tune one of a thousand numbers takes long."""
    preset = SHAPES64_FAST.config
    return {
        "network": {"w0": preset.network.w0, **network},
        "outer": {**{rate: getattr(preset.outer, rate) for rate in ("learning_rate", "map_learning_rate")}, **outer},
        "weight_of_ones": preset.weight_of_ones,
        "fit": {"num_steps": 9, "stride": 2, "tuning_steps": 0},
    }


def _in_cells(cells: int, dim: int, w0: float = 10.0) -> dict[str, Any]:
    grid = {"modulation": "spatial", "modulation_grid": (cells,) * 3, "modulation_dim": dim}
    return _kept({"learning_rate": 1e-3, "map_learning_rate": 4e-3}, w0=w0, **grid)


RECIPES: dict[str, dict[str, Any]] = {
    "w0 12": {},
    "w0 8": {"network": {"w0": 8.0}},
    "w0 16": {"network": {"w0": 16.0}},
    "w0 20": {"network": {"w0": 20.0}},
    "w0 30": {"network": {"w0": 30.0}},
    "w0 45": {"network": {"w0": 45.0}},
    "w0 30, SIREN 5e-4, map 4e-3": {"network": {"w0": 30.0}, "outer": _FASTER},
    "SIREN 5e-4": {"outer": {"learning_rate": 5e-4}},
    "SIREN 5e-4, map 4e-3": {"outer": _FASTER},
    "192x4": {"network": {"width": 192}},
    "128x6": {"network": {"depth": 6}},
    "1024 points": {"outer": {"num_points": 1024}},
    "4096 points, batch 8": {"outer": {"num_points": 4096, "batch_size": 8}},
    "128 dimensions": {"network": {"modulation_dim": 128}},
    "w0 30, SIREN 5e-4, map 4e-3, ones count 1.5": {"network": {"w0": 30.0}, "outer": _FASTER, "weight_of_ones": 1.5},
    "one vector of 1024": _kept(modulation_dim=1024),
    "one vector of 256": _kept(modulation_dim=256),
    "4x4x4 cells of 16": _in_cells(4, 16),
    "4x4x4 cells of 16, w0 20": _in_cells(4, 16, w0=20.0),
    "8x8x8 cells of 2": _in_cells(8, 2),
    "4x4x4 cells of 4": _in_cells(4, 4),
    "2x2x2 cells of 32": _in_cells(2, 32),
}


def configuration(resolution: int, seconds: float | None) -> ConvertConfig:
    """The preset of a resolution, for so many seconds of learning or the preset's steps."""
    return with_length((SHAPES64_FAST if resolution > 32 else SHAPES32_FAST).config, None, seconds)


def compare(source: Source, config: ConvertConfig, folder: pathlib.Path) -> dict[str, Any]:
    """Scores of ours and of the others on the test split, and a picture of some shapes."""
    test, label = np.flatnonzero(source.split == "test"), source.labels.get("class")
    classes = np.zeros(len(test), int) if label is None else label.values[test]
    names = ("all",) if label is None or label.names is None else label.names
    size = config.network.modulation_size
    with tempfile.TemporaryDirectory() as scratch:
        stores = {"float32": f"{scratch}/float32.functa", "int8": f"{scratch}/int8.functa"}
        events: list[Event] = []
        convert(source, stores["float32"], config, report=events.append)
        recode(stores["float32"], stores["int8"], "int8")
        codes = {f"ours, {dtype}": _ours(path) for dtype, path in stores.items()}
        draw(source, stores["float32"], evenly(test, SHOWN), folder / "shapes.png")
        num_steps = functa_store.open(stores["float32"]).config.outer.num_steps
        found = {name: summary(evaluate(source, test, code), classes, names) for name, code in codes.items()}
    peers: dict[str, Pca | CoarseGrid] = {f"PCA-{size}": Pca(source, size)}
    for num_bytes, itemsize in ((4 * size, 4), (4 * size, 1), (size, 1)):
        grid = CoarseGrid(source, num_bytes, itemsize)
        peers[f"grid {grid.size}^3, {'float32' if itemsize == 4 else 'uint8'}"] = grid
    for name, peer in peers.items():
        found[name] = summary(evaluate(source, test, lambda _, cells, peer=peer: peer(cells)), classes, names)
    return {
        "resolution": source.domain.resolution[0],
        "modulation_size": size,
        "outer_steps": num_steps,
        "learning_seconds": max(event.seconds for event in events if isinstance(event, Learned)),
        "train": int(np.sum(source.split == "train")),
        "test": len(test),
        "thresholds": {name: peer.threshold for name, peer in peers.items()},
        "scores": found,
    }


def _ours(path: str) -> Any:
    functaset = functa_store.open(path)
    return lambda indices, _: functaset.decode(indices).reshape(len(indices), -1) > 0.5


def draw(source: Source, store: str, indices: np.ndarray, path: pathlib.Path) -> None:
    """Some shapes beside what their functa decode to, also at twice the resolution."""
    functaset = functa_store.open(store)
    twice = tuple(2 * n for n in source.domain.resolution)
    columns = {
        "archive": [solid_image(source.read(int(k))[..., 0]) for k in indices],
        "decoded": [solid_image(functaset.decode(int(k))[0, ..., 0]) for k in indices],
        "decoded at 2x": [solid_image(functaset.decode(int(k), resolution=twice)[0, ..., 0]) for k in indices],
    }
    comparison_sheet(columns).save(path)


def markdown(facts: Mapping[str, Any]) -> str:
    """The scores as tables: means, and IoU by class."""
    scores = facts["scores"]
    means = table(["code", "IoU", "accuracy"], [[name, s["iou"], s["accuracy"]] for name, s in scores.items()])
    classes = list(next(iter(scores.values()))["iou_by_class"])
    by_class = table(["class", *scores], [[c, *(s["iou_by_class"][c] for s in scores.values())] for c in classes])
    heading = (
        f"{facts['test']} held-out of {facts['train'] + facts['test']} shapes at {facts['resolution']}^3, "
        f"{facts['modulation_size']} dimensions, {facts['outer_steps']} outer steps in "
        f"{facts['learning_seconds']:.0f} seconds\n\n"
    )
    return f"{heading}{means}\nIoU by class\n\n{by_class}"


def inner_split(source: Source) -> Source:
    """The training split as a source of its own, every tenth example held out: archives are sorted by class."""
    part = TrainingPart(source)
    part.split = hold_out_every(len(part.ids), 10)
    return part


def validated(source: Source, config: ConvertConfig) -> dict[str, float]:
    """Outer steps, and mean IoU and accuracy of some held-out examples after the tuned fit."""
    training = TrainingSet(source, config)
    base = meta_learn(training, config)
    ready = tune(base, training, config)
    held_out = evenly(np.flatnonzero(source.split == "test"), VALIDATED)
    iou, accuracy = fit_examples(ready.fit, ready.shared, training.reader, held_out).metrics.mean(axis=0)
    return {"outer_steps": base.num_steps, "iou": float(iou), "accuracy": float(accuracy)}


def sweep(source: Source, resolution: int, seconds: float, chosen: list[str] | None, out: pathlib.Path) -> None:
    """Append a row per recipe, the PCA's first."""
    part = inner_split(source)
    start = overlaid(configuration(resolution, seconds), {**START, "weight_of_ones": 1.0})
    size = start.network.modulation_size
    pca = Pca(part, size)
    found = evaluate(part, np.flatnonzero(part.split == "test"), lambda _, cells: pca(cells)).mean(axis=0)
    with out.open("a") as rows:
        rows.write(f"{resolution}^3, {seconds:.0f} s each; PCA-{size}: IoU {found[0]:.4f}, accuracy {found[1]:.5f}\n\n")
        rows.write("| recipe | outer steps | validation IoU | accuracy |\n|---|---:|---:|---:|\n")
        for name in chosen or RECIPES:
            rows.flush()
            row = validated(part, overlaid(start, RECIPES[name]))
            rows.write(f"| {name} | {row['outer_steps']} | {row['iou']:.4f} | {row['accuracy']:.5f} |\n")
        rows.write("\n")


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark, or the sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument(
        "--time-budget", type=float, metavar="SECONDS", help="of learning (default: the preset's steps)"
    )
    parser.add_argument("--limit", type=int)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("bench-output"))
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, help="of the sweep (default: all)")
    args, words = parser.parse_known_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    use_all_cores()
    source = open_shapenet(args.archive, resolution=args.resolution, limit=args.limit)
    if args.sweep:
        sweep(source, args.resolution, args.time_budget or 120, args.recipes, args.folder / "shapes_sweep.md")
        return
    config = with_words(configuration(args.resolution, args.time_budget), words)
    facts = compare(source, config, args.folder)
    facts |= {"machine": dataclasses.asdict(Machine.here()), "words": words}
    (args.folder / "shapes.json").write_text(json.dumps(facts, indent=1) + "\n")
    (args.folder / "shapes.md").write_text(markdown(facts))
    sys.stdout.write(markdown(facts))


if __name__ == "__main__":
    main()
