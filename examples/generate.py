"""Command line of the examples that generate: from a functaset to samples, their pictures, and how good they are."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import functa_store
from examples.digits import digits_functaset
from examples.gaussian import Gaussian
from examples.two_sample import nearest_neighbour_accuracy, novelty
from functa_store.loaders import Normalization

MOST_SAMPLES = 1000
"""Samples that are compared with as many held-out examples, unless there are fewer of these."""

FEWEST = 20
"""Examples to learn from."""

NUM_PICTURES = 6


@dataclasses.dataclass(frozen=True)
class Generated:
    """What a model made.

    Attributes:
        samples: Normalised modulations, (examples, *shape).
        figures: What else is to be reported, by name.
    """

    samples: np.ndarray
    figures: Mapping[str, str] = dataclasses.field(default_factory=dict)


Generate = Callable[[functa_store.Functaset, np.ndarray, Normalization, int], Generated]
"""Trains on some examples of a functaset, given by their places, and makes a number of samples."""


def run(generate: Generate, name: str, argv: Sequence[str] | None = None) -> dict[str, str]:
    """Run an example: train, write samples as a functaset with a sheet of pictures, and compare them.

    Args:
        generate: The example.
        name: Of the folder that it writes into, unless another one is given.
        argv: Arguments instead of those of the process.

    Returns:
        What is printed, by name.
    """
    parser = argparse.ArgumentParser(description="Generate modulations.")
    parser.add_argument("--store", help="a functaset (default: handwritten digits, converted on the spot)")
    parser.add_argument("--out", type=Path, default=Path("examples-output") / name, help="folder for what is written")
    args = parser.parse_args(argv)
    samples_path, sheet_path = args.out / "samples.functa", args.out / "samples.png"
    if samples_path.exists():
        parser.error(f"{samples_path}: is there already; delete it, or name another folder by --out")
    try:
        functaset = functa_store.open(args.store) if args.store else digits_functaset()
        functa_store.pictures(functaset, [0])  # refuses what has no pictures before anything is learned
        learned, reserved, held_out = parts_of(functaset)
        normalization = Normalization.of_split(functaset, "train")
        generated = generate(functaset, learned, normalization, max(len(reserved), len(held_out)))
        args.out.mkdir(parents=True, exist_ok=True)
        functaset.derive(samples_path, generated.samples, split="test", normalization=normalization)
        write_sheet(functa_store.open(samples_path), sheet_path)
    except functa_store.FunctaStoreError as error:
        parser.error(str(error))
    parts = (rows_of(functaset, part, normalization) for part in (learned, reserved, held_out))
    figures = {**generated.figures, **comparison(flat(generated.samples), *parts)}
    figures |= {"samples": str(samples_path), "their pictures": str(sheet_path)}
    sys.stdout.writelines(f"{name:45} {figure}\n" for name, figure in figures.items())
    return figures


def parts_of(functaset: functa_store.Functaset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the examples that a model learns from, of those reserved from these, and of the split "test".

    The base network has learned from the first two of them, so their modulations are of one distribution. Those of the
    split "test" need not be of the same: the base fits them less well.

    Raises:
        ConfigError: If a split is missing, or too small to be divided.
    """
    splits = functaset.split[:]
    train, test = (np.random.default_rng(0).permutation(np.flatnonzero(splits == part)) for part in ("train", "test"))
    if len(train) < FEWEST or not len(test):
        raise functa_store.ConfigError(
            f"{functaset.store.path}: found {len(train)} examples in the split 'train' and {len(test)} in 'test', "
            f"expected at least {FEWEST} and 1; take a larger functaset, or one that holds out examples"
        )
    reserved, learned = np.split(train, [min(MOST_SAMPLES, len(train) // 10)])
    return np.sort(learned), reserved, test[:MOST_SAMPLES]


def rows_of(functaset: functa_store.Functaset, examples: np.ndarray, normalization: Normalization) -> np.ndarray:
    """Normalised modulations of some examples, one row of numbers each."""
    return flat(normalization.apply(functaset.modulations[examples]))


def flat(modulations: np.ndarray) -> np.ndarray:
    """One row of numbers per example."""
    return np.asarray(modulations).reshape(len(modulations), -1)


def comparison(samples: np.ndarray, learned: np.ndarray, reserved: np.ndarray, held_out: np.ndarray) -> dict[str, str]:
    """Figures of samples; those of a Gaussian's samples and of examples that were learned tell what to expect."""
    most = max(len(reserved), len(held_out))
    ways = {
        "samples": samples,
        "a Gaussian's samples": np.asarray(Gaussian.fit(learned).sample(jax.random.key(1), most)),
        "learned examples": np.random.default_rng(1).permutation(learned),
    }
    figures = {}
    for what, others in {"reserved": reserved, "held-out": held_out}.items():
        for name, rows in ways.items():
            count = min(len(rows), len(others))
            accuracy = nearest_neighbour_accuracy(rows[:count], others[:count])
            figures[f"{name} told from {what} ones"] = f"{accuracy:.1%} (50 % is perfect)"
    new = novelty(samples[: len(reserved)], reserved, learned)
    return figures | {
        "memorised examples": f"{new.memorised} of {len(reserved)}",
        "distance to the nearest learned example": f"{new.distance:.2f}, of reserved ones {new.usual_distance:.2f}",
    }


def enlarged(pictures: Iterable[Image.Image], least: int = 96) -> list[Image.Image]:
    """Pictures with larger pixels where they would be narrower than a number of them, so that headings have room."""
    return [
        picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST)
        for picture in pictures
        for factor in [math.ceil(least / picture.width)]
    ]


def write_sheet(samples: functa_store.Functaset, path: Path) -> None:
    """Pictures of the first samples at a quarter of the archive's resolution, at that itself, and finer."""
    scene, finer = samples.domain.scene, 2 if len(samples.domain.axes) == 3 else 4
    shown, columns = slice(NUM_PICTURES), {}
    for factor in (0.25, 1, finer):
        native = samples.domain.resolution if scene is None else scene.image_size
        resolution = tuple(max(1, round(factor * points)) for points in native)
        asked = resolution if scene is None else resolution[0]  # pixels along a side of a view
        columns["x".join(map(str, resolution))] = enlarged(functa_store.pictures(samples, shown, asked))
    functa_store.comparison_sheet(columns).save(path)
