"""Growth of a conversion's time and memory with the number of images.

    python -m benchmarks.scaling [--images 1000 10000 100000] [--preset] [--out NAME.json]

converts generated archives of 64x64 images, each in a process of its own, with a very small network (or, with
--preset, with celeba64-fast and 200 outer steps). Seconds are those of the whole process, seconds of the fit
those that the conversion's log gives; memory is the peak resident memory of the process. With --out, NAME.png
has both over the number of images. One run of each by default; --runs takes the median of several.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import report
from benchmarks.datasets import GeneratedArchive
from benchmarks.timing import Machine
from converters.images.celeba import open_celeba
from functa_store.config import ConvertConfig, NetworkConfig, OuterLoopConfig
from functa_store.conversion.convert import convert
from functa_store.progress import Event, Fitted

IMAGES = (1_000, 10_000, 100_000)
CONFIGS = {
    "small": ConvertConfig(
        network=NetworkConfig(width=8, depth=3, modulation_dim=8), outer=OuterLoopConfig(num_steps=50, num_points=64)
    ),
    "preset": ConvertConfig(outer=OuterLoopConfig(num_steps=200)),
}
ROOT = pathlib.Path(__file__).parents[1]
KIBIBYTE = 1 if sys.platform == "darwin" else 1024
"""Unit of ru_maxrss."""


def conversion(archive: pathlib.Path, config: str) -> dict[str, Any]:
    """One conversion in a fresh process.

    Returns:
        JSON-ready: `seconds` of the process, and what `convert_here` returns.
    """
    words = [sys.executable, "-m", "benchmarks.scaling", "--convert", str(archive), config]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    began = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def convert_here(archive: str, config: str) -> dict[str, Any]:
    """What the fresh process does: convert into a folder of its own, and look back.

    Returns:
        JSON-ready: `opening_seconds` of the archive, `fit_seconds`, `first_batch_seconds` of its first batch, whose
        fit is compiled, `peak_bytes` and `machine`.
    """
    began = time.perf_counter()
    source = open_celeba(archive)
    opened = time.perf_counter() - began
    fitted: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, Fitted):
            fitted.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        convert(source, f"{folder}/images.functa", CONFIGS[config], report=note)
        fit = fit_seconds(pathlib.Path(folder) / "images.functa.log")
    return {
        "opening_seconds": opened,
        "fit_seconds": fit,
        "first_batch_seconds": fit - (fitted[-1] - fitted[0]),
        "peak_bytes": peak_bytes(),
        "machine": dataclasses.asdict(Machine.here()),
    }


def fit_seconds(log: pathlib.Path) -> float:
    """Seconds of the fit, reading and writing included, by a conversion's log."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    last = [event for event in events if event["event"] == "fitted"][-1]
    return last["done"] / last["examples_per_second"]


def peak_bytes() -> int:
    """Peak resident memory of this process; ru_maxrss would count the process that started it, too, on Linux."""
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


def run(images: Sequence[int], config: str, runs: int) -> tuple[list[dict[str, Any]], Machine]:
    """Medians for every number of images, JSON-ready, in turns; and the machine, which only a child asks JAX for."""
    with tempfile.TemporaryDirectory() as folder:
        archives = {n: GeneratedArchive(num_images=n).write(pathlib.Path(folder) / f"{n}.zip") for n in images}
        rounds = [{n: conversion(archive, config) for n, archive in archives.items()} for _ in range(runs)]
    names = ("seconds", "opening_seconds", "fit_seconds", "first_batch_seconds", "peak_bytes")
    rows = [{"images": n} | {name: statistics.median(r[n][name] for r in rounds) for name in names} for n in images]
    return rows, Machine(**rounds[0][images[0]]["machine"])


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    shown = [{**row, "megabytes": row["peak_bytes"] / 1e6} for row in rows]
    keys = {
        "images": "images",
        "seconds": "whole process (s)",
        "opening_seconds": "opening (s)",
        "fit_seconds": "fit (s)",
        "first_batch_seconds": "its first batch, with compilation (s)",
        "megabytes": "peak resident memory (MB)",
    }
    return report.table_of(shown, keys)


def plot(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Draw seconds, with the line of proportionality through the longest fit, and memory."""
    from matplotlib.figure import Figure

    images = [row["images"] for row in rows]
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    times, memory = figure.subplots(1, 2)
    times.loglog(images, [row["seconds"] for row in rows], marker=".", label="conversion")
    times.loglog(images, [row["fit_seconds"] for row in rows], marker=".", label="of which the fit")
    last = max(rows, key=lambda row: row["images"])
    proportional = [last["fit_seconds"] * n / last["images"] for n in images]
    times.loglog(images, proportional, color="grey", linestyle=":", label="proportional")
    times.set(xlabel="images", ylabel="seconds")
    times.legend()
    memory.semilogx(images, [row["peak_bytes"] / 1e6 for row in rows], marker=".")
    memory.set(xlabel="images", ylabel="peak resident memory (MB)")
    memory.set_ylim(bottom=0)
    for axes in (times, memory):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=1)
    parser.add_argument("--images", type=report.positive, nargs="+", default=list(IMAGES), metavar="N")
    parser.add_argument("--preset", action="store_true", help="celeba64-fast with 200 outer steps")
    parser.add_argument("--convert", nargs=2, help=argparse.SUPPRESS)  # what a fresh process does
    args = parser.parse_args(argv)
    if args.convert:
        sys.stdout.write(json.dumps(convert_here(*args.convert)) + "\n")
        return
    config = "preset" if args.preset else "small"
    rows, machine = run(args.images, config, args.runs)
    report.publish("scaling", {"config": config, "conversions": rows}, markdown(rows), args.out, machine)
    if args.out is not None:
        plot(rows, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
