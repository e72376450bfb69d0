"""Schedules of steps and points that fit best for their arithmetic, on images, voxels and a globe.

    python -m benchmarks.schedules WORKLOAD DATA OUT [--outer-steps N] [--inner-steps 3]

learns a base once (with --inner-steps, through more steps on as many points less, at equal arithmetic),
then tunes and evaluates one schedule after the other. Schedules are to be chosen by the monitored examples, which
are kept out of the updates; the test split is only reported. Rows are appended to OUT (JSON lines), and all rows of
OUT are printed as a Markdown table. WORKLOAD and DATA:

    faces    an archive in CelebA's layout
    voxels   a .tgz in the layout of ShapeNetVox32
    globe    a NetCDF file of monthly winds (needs h5netcdf and h5py)
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

from benchmarks.datasets import open_winds
from converters.images.celeba import open_celeba
from converters.images.images import CELEBA64_FAST
from converters.shapes.shapenet import open_shapenet
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import Fit, Shared, mean_psnr
from functa_store.learn.inner_loop import extend
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.outer_loop import Base
from functa_store.learn.scores import pca_reference
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source

OPEN = {"faces": open_celeba, "voxels": open_shapenet, "globe": open_winds}
FACES = CELEBA64_FAST.config
CONFIGS = {
    "faces": FACES,
    "voxels": dataclasses.replace(
        FACES,
        network=NetworkConfig(width=128, depth=5, w0=20.0, modulation_dim=128),
        outer=dataclasses.replace(FACES.outer, num_steps=1000, num_points=1024),
    ),
    "globe": dataclasses.replace(
        FACES,
        network=NetworkConfig(width=128, depth=5, w0=20.0, modulation_dim=64),
        outer=dataclasses.replace(FACES.outer, num_steps=1000, num_points=1024),
    ),
}
TUNING_STEPS = 100
# (steps, stride, tuned); the first is the published algorithm.
SCHEDULES = [
    (3, 1, False),
    (3, 2, False),
    (3, 2, True),
    (3, 4, True),
    (5, 4, True),
    (9, 4, True),
    (17, 4, True),
    (33, 4, True),
    (9, 2, True),
    (13, 2, True),
    (33, 2, True),
]


def schedules(chosen: list[int] | None) -> list[FitConfig]:
    """The schedules to compare; numbers choose some of them."""
    rows = SCHEDULES if chosen is None else [SCHEDULES[i] for i in chosen]
    return [FitConfig(num_steps=n, stride=s, tuning_steps=TUNING_STEPS * t) for n, s, t in rows]


def evaluate(fit: Fit, shared: Shared, source: Source, indices: np.ndarray) -> tuple[float, float]:
    """Mean PSNR of some examples, and seconds per example of a second pass over them."""
    feed = BatchReader(source, cache_bytes=2**30)
    mean_psnr(fit, shared, feed, indices)
    began = time.perf_counter()
    psnr = mean_psnr(fit, shared, feed, indices)
    return psnr, (time.perf_counter() - began) / len(indices)


def row(base: Base, source: Source, config: ConvertConfig) -> dict[str, Any]:
    """Cost and quality of one schedule."""
    began = time.perf_counter()
    training = TrainingSet(source, config)
    fit, shared, _ = tune(base, training, config)
    tuning_seconds = time.perf_counter() - began
    start = fit.prepare(base.learnable.base, extend(base.learnable.rates, config.fit.num_steps))
    found = {
        "inner_steps": config.inner.num_steps,
        "steps": config.fit.num_steps,
        "stride": fit.plan.config.fit.stride,
        "tuned": config.fit.tuning_steps > 0,
        "passes": round(float(fit.plan.passes), 3),
        "monitored_untuned": evaluate(fit, start, source, training.monitored)[0],
        "monitored": evaluate(fit, shared, source, training.monitored)[0],
        "tuning_seconds": tuning_seconds,
    }
    found["test"], found["seconds_per_example"] = evaluate(fit, shared, source, np.flatnonzero(source.split == "test"))
    return found


def at_equal_arithmetic(config: ConvertConfig, inner_steps: int) -> ConvertConfig:
    """The same outer step through more inner steps, each on as many points less."""
    points = (config.outer.num_points or 0) * (2 * config.inner.num_steps + 1) // (2 * inner_steps + 1)
    return dataclasses.replace(
        config,
        inner=dataclasses.replace(config.inner, num_steps=inner_steps),
        outer=dataclasses.replace(config.outer, num_points=points),
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    heading = (
        "| learned through | steps | stride | tuned | passes | monitored (dB) | test (dB) |\n"
        "|---:|---:|---:|---|---:|---:|---:|\n"
    )
    return heading + "".join(
        f"| {r['inner_steps']} | {r['steps']} | {r['stride']} | {'yes' if r['tuned'] else 'no'} "
        f"| {r['passes']:.2f} | {r['monitored']:.2f} | {r['test']:.2f} |\n"
        for r in rows
    )


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=OPEN)
    parser.add_argument("data")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--outer-steps", type=int)
    parser.add_argument("--inner-steps", type=int)
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help="numbers of SCHEDULES, from 0; all by default")
    args = parser.parse_args(argv)
    use_all_cores()
    source, config = OPEN[args.workload](args.data), CONFIGS[args.workload]
    if args.inner_steps:
        config = at_equal_arithmetic(config, args.inner_steps)
    if args.outer_steps:
        config = dataclasses.replace(config, outer=dataclasses.replace(config.outer, num_steps=args.outer_steps))
    pca = pca_reference(source, config.network.modulation_size)
    began = time.perf_counter()
    base = meta_learn(TrainingSet(source, config), config)
    sys.stdout.write(f"learned in {time.perf_counter() - began:.0f} s; PCA {pca.get('psnr_mean')}\n")
    for schedule in schedules(args.rows):
        with args.out.open("a") as out:
            out.write(json.dumps(row(base, source, dataclasses.replace(config, fit=schedule))) + "\n")
    sys.stdout.write(markdown([json.loads(line) for line in args.out.read_text().splitlines()]))


if __name__ == "__main__":
    main()
