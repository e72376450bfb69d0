"""Options and tables of results of all benchmarks."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.timing import RUNS, Machine
from functa_store.metrics import psnr_mean

NO_ERROR = 1e-10


def parser(description: str | None, runs: int = RUNS) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--runs", type=positive, default=runs, help=f"timed runs of each side (default: {runs})")
    options.add_argument("--out", type=Path, metavar="NAME.json", help="where the numbers go, too")
    return options


def positive(word: str) -> int:
    """A number of at least 1, from the command line."""
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {word}")
    return number


def table(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; numbers, to three significant digits, stand right."""
    rows = list(rows)
    right = [bool(rows) and not isinstance(cell, str) for cell in (rows[0] if rows else heading)]
    lines = [list(heading), ["---:" if is_right else "---" for is_right in right]]
    lines += [[_cell(value) for value in row] for row in rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def table_of(rows: Iterable[Mapping[str, Any]], headings: Mapping[str, str]) -> str:
    """A Markdown table of some keys of JSON-ready rows, under headings of their own."""
    return table(list(headings.values()), [[row[key] for key in headings] for row in rows])


def publish(name: str, facts: dict[str, Any], markdown: str, out: Path | None, machine: Machine | None = None) -> None:
    """Print a benchmark's tables, and write its numbers with their machine.

    Args:
        name: The benchmark.
        facts: JSON-ready numbers.
        markdown: The tables.
        out: A JSON file, or nothing.
        machine: Where the numbers come from, if not from this process.
    """
    machine = machine or Machine.here()
    place = f"{machine.processor}, {machine.cores} cores; JAX {machine.jax} on {machine.devices} x {machine.device}"
    sys.stdout.write(f"## {name}\n\n{place}\n\n{markdown}\n")
    sys.stdout.flush()
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {"benchmark": name, "machine": dataclasses.asdict(machine), **facts}
        out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


def decibels(mse: ArrayLike, data_range: float = 1.0) -> float:
    """Mean PSNR of some examples; JSON has no infinity, so that an error below 1e-10 of a range of 1 counts as that."""
    return psnr_mean(np.maximum(mse, NO_ERROR * data_range**2), data_range)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)
