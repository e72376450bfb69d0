"""Command line of the examples that generate: from a functaset to samples, their pictures, and how good they are."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

import functa_store
from examples.digits import digits_functaset
from examples.gaussian import Gaussian
from examples.two_sample import nearest_neighbour_accuracy, novelty
from functa_store.loaders import Normalization

MOST_SAMPLES = 1000
"""Samples that are compared with as many held-out examples, unless there are fewer of these."""

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


Generate = Callable[[functa_store.Functaset, Normalization, int], Generated]
"""Trains on the split "train", and makes a number of samples."""


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
        normalization = Normalization.of_split(functaset, "train")
        held_out = modulations_of(functaset, "test", normalization)
        held_out = np.random.default_rng(0).permutation(held_out)[:MOST_SAMPLES]
        generated = generate(functaset, normalization, len(held_out))
        args.out.mkdir(parents=True, exist_ok=True)
        functaset.derive(samples_path, generated.samples, split="test", normalization=normalization)
        write_sheet(functa_store.open(samples_path), sheet_path)
    except functa_store.FunctaStoreError as error:
        parser.error(str(error))
    training = modulations_of(functaset, "train", normalization)
    figures = {**generated.figures, **comparison(generated.samples, held_out, training)}
    figures |= {"samples": str(samples_path), "their pictures": str(sheet_path)}
    sys.stdout.writelines(f"{name:45} {figure}\n" for name, figure in figures.items())
    return figures


def modulations_of(functaset: functa_store.Functaset, split: str, normalization: Normalization) -> np.ndarray:
    """Normalised modulations of a split, (examples, *shape).

    Raises:
        ConfigError: If the split is empty.
    """
    splits = functaset.split[:]
    if not np.any(splits == split):
        raise functa_store.ConfigError(
            f"{functaset.store.path}: no split {split!r}, there are {sorted(map(str, np.unique(splits)))}; convert "
            "with an archive or options that hold out examples"
        )
    return normalization.apply(functaset.modulations[np.flatnonzero(splits == split)])


def comparison(samples: np.ndarray, held_out: np.ndarray, training: np.ndarray) -> dict[str, str]:
    """Figures of samples beside held-out examples; a Gaussian's samples and training examples tell what to expect."""
    gaussian = Gaussian.fit(training.reshape(len(training), -1)).sample(jax.random.key(1), len(held_out))
    others = np.random.default_rng(1).permutation(training)[: len(held_out)]
    new = novelty(samples, held_out, training)
    figures = {
        "told from held-out ones (50 % is perfect)": f"{nearest_neighbour_accuracy(samples, held_out):.1%}",
        "the same of a Gaussian's samples": f"{nearest_neighbour_accuracy(np.asarray(gaussian), held_out):.1%}",
    }
    if len(others) == len(held_out):
        figures["the same of training examples"] = f"{nearest_neighbour_accuracy(others, held_out):.1%}"
    return figures | {
        "memorised training examples": f"{new.memorised} of {len(samples)}",
        "distance to the nearest training example": f"{new.distance:.2f}, of held-out ones {new.usual_distance:.2f}",
    }


def write_sheet(samples: functa_store.Functaset, path: Path) -> None:
    """Pictures of the first samples at a quarter of the archive's resolution, at that itself, and finer."""
    solid = len(samples.domain.axes) == 3
    native = samples.domain.resolution if samples.domain.scene is None else samples.domain.scene.image_size[:1]
    columns = {}
    for factor in (0.25, 1, 2 if solid else 4):
        resolution = tuple(max(1, round(factor * points)) for points in native)
        asked = resolution if len(resolution) > 1 else resolution[0]
        columns["x".join(map(str, resolution))] = functa_store.pictures(samples, slice(NUM_PICTURES), asked)
    functa_store.comparison_sheet(columns).save(path)
