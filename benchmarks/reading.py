"""Speed of a shuffled epoch, beside other formats and numpy's memory map.

    python -m benchmarks.reading [--runs 7] [--python LitData=FOLDER/bin/python] [--make-environments FOLDER]
        [--only NAME ...] [--cold-gigabytes 4] [--out NAME.json]

Each format reads batches of 256 random rows of a table of 200,000 x 256 float32 in its own fast way (the column
"how"; benchmarks/formats/ has the code), in a process of its own, in turns with numpy's memory map of the same
table; files lie in the page cache, and opening them is not timed. Ratios are medians over the runs. Formats that
would take longer than --seconds for an epoch are timed on as many batches as take so long; batches behind
the first are timed, so that those with buffers have filled them. Nothing is done with a batch: a loop that computes
sees smaller differences.

A format that is not installed here, or that cannot share an environment with the others, is read by another python:
named by --python, or made with pip by --make-environments. Else it is skipped, with a reason.

Not in memory: the table is of --cold-gigabytes, and its files are dropped from the page cache before each run, which
ends when a quarter of it was read from the disk: as with far more data than memory, few rows are there already.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.formats.cold import SIDES, measure_cold, write_cold
from benchmarks.formats.measure import PEERS, options

ROOT = pathlib.Path(__file__).parents[1]
FIRST = "functa-store"
"""Whose speed the others' is compared with."""

IN_MEMORY = 0.25
"""Share of the table that may have come into memory when a run of the cold part ends."""

REQUIREMENTS = {"LitData": "litdata", "MosaicML streaming": "mosaicml-streaming"}
"""What pip installs for formats that pin the versions of what others need."""


def make_environment(name: str, folder: pathlib.Path) -> str:
    """The python of an environment that holds a format and numpy, made if it is not there."""
    place = folder / REQUIREMENTS[name]
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", REQUIREMENTS[name]], check=True)
    return str(python)


def measure(name: str, python: str, words: Sequence[str]) -> dict[str, Any]:
    """One format in a fresh process; see `Workload.measure`. What cannot be measured has `name` and `skipped`."""
    command = [python, "-m", "benchmarks.formats.measure", name, *words]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    said = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return {"name": name, "skipped": f"failed with exit status {done.returncode}: {said[:200]}"}


def run_warm(names: Sequence[str], pythons: Mapping[str, str], words: Sequence[str]) -> list[dict[str, Any]]:
    """All formats; those that were measured have `times_slower`, the ratio of our ratio to theirs."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        place = ["--folder", str(pathlib.Path(folder).resolve())]
        rows = [measure(name, pythons.get(name, sys.executable), [*words, *place]) for name in names]
    ours = next((row["ratio"] for row in rows if row["name"] == FIRST and "ratio" in row), None)
    for row in rows:
        row["times_slower"] = ours / row["ratio"] if ours and "ratio" in row else None
    return rows


def run_cold(gigabytes: float, size: int, batch: int, runs: int) -> list[dict[str, Any]]:
    """Medians of every way to read a table from a disk, in turns."""
    num_examples = int(gigabytes * 1e9) // (4 * size)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=".") as place:
        folder = pathlib.Path(place)
        write_cold(folder, num_examples, size)
        rounds = []
        for _ in range(runs):
            order = rng.permutation(num_examples)[: num_examples // batch * batch].reshape(-1, batch)
            rounds.append(
                {name: measure_cold(side, folder, order, IN_MEMORY * gigabytes * 1e9) for name, side in SIDES.items()}
            )
    first = next(iter(SIDES))
    return [
        {"name": name}
        | {key: statistics.median(found[name][key] for found in rounds) for key in rounds[0][name]}
        | {"ratio": statistics.median(r[name]["rows_per_second"] / r[first]["rows_per_second"] for r in rounds)}
        for name in SIDES
    ]


def markdown(warm: Sequence[Mapping[str, Any]], cold: Sequence[Mapping[str, Any]]) -> str:
    """Both tables."""
    found = [row for row in warm if "ratio" in row]
    columns = {
        "name": "format",
        "rows_per_second": "rows per second",
        "ratio": "of numpy memmap",
        "times_slower": "functa-store is so many times as fast",
        "shuffles": "shuffles",
        "batches": "batches timed",
        "how": "how",
    }
    text = report.table_of(found, columns) if found else ""
    text += "".join(f"\n{row['name']}: skipped: {row['skipped']}\n" for row in warm if "skipped" in row)
    if cold:
        keys = {
            "name": "not in memory",
            "rows_per_second": "rows per second",
            "ratio": "of numpy memmap",
            "bytes_per_row": "bytes read from the disk per row",
            "rows": "rows read",
        }
        text += "\n" + report.table_of(cold, keys)
    return text


def _named(word: str) -> tuple[str, str]:
    name, _, python = word.partition("=")
    if name not in PEERS or not python:
        raise argparse.ArgumentTypeError(f"expected NAME=PYTHON with one of {', '.join(PEERS)}, got {word!r}")
    return name, python


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__, runs=7)
    options(parser)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), metavar="NAME", help="some of the formats")
    parser.add_argument("--python", type=_named, action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument(
        "--make-environments", type=pathlib.Path, metavar="FOLDER", help="for those that need their own"
    )
    parser.add_argument("--cold-gigabytes", type=float, default=4.0, help="0 leaves this part out")
    args = parser.parse_args(argv)
    names = args.only or list(PEERS)
    pythons = dict(args.python)
    if args.make_environments:
        made = [name for name in names if name in REQUIREMENTS]
        pythons = {name: make_environment(name, args.make_environments.resolve()) for name in made} | pythons
    values = {name: getattr(args, name) for name in ("examples", "size", "batch", "seconds", "runs")}
    warm = run_warm(names, pythons, [word for name, value in values.items() for word in (f"--{name}", str(value))])
    cold = []
    if args.cold_gigabytes:
        cold = run_cold(args.cold_gigabytes, args.size, args.batch, args.runs)
    report.publish("reading", values | {"warm": warm, "cold": cold}, markdown(warm, cold), args.out)


if __name__ == "__main__":
    main()
