"""Table of the demo: its functaset beside the archive and other ways to store it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from demo.archive import encoded
from functa_store.cli.info import in_decibels
from functa_store.metrics import psnr_mean, psnr_of_mean_mse

Row = tuple[str, str, str, str]

HEADING: Row = ("held-out tiles as", "bytes per example", "PSNR, mean (dB)", "PSNR of mean MSE (dB)")


def rows(facts: dict[str, Any], originals: Sequence[np.ndarray], split: str = "test") -> list[Row]:
    """One row per way to store the held-out tiles.

    Args:
        facts: What `functa info --json` says of the store.
        originals: The held-out tiles as the archive's members decode, RGB bytes.
        split: Name of the held-out split.

    Returns:
        Name, bytes per example, and both kinds of PSNR against the archive's tiles.
    """
    quality, pca = (in_decibels(kind, split) for kind in (facts, facts["reference"]))
    size = f"{facts['bytes_per_example']:,.0f}"
    shared = f"{size} + {facts['bytes_base'] / facts['examples']:,.0f} (its share of the base)"
    return [
        ("modulations, base left out", size, *quality),
        ("modulations and base", shared, "as above", "as above"),
        ("PCA, as many components, its base left out", size, *pca),
        *(_as_jpeg(originals, quality) for quality in (25, 75, 95)),
        ("PNG", f"{np.mean([len(encoded(o, 'PNG', optimize=True)) for o in originals]):,.0f}", "exact", "exact"),
        ("raw bytes", f"{originals[0].nbytes:,}", "exact", "exact"),
    ]


def _as_jpeg(originals: Sequence[np.ndarray], quality: int) -> Row:
    files = [encoded(original, "JPEG", quality=quality) for original in originals]
    errors = [_mse(file, original) for file, original in zip(files, originals, strict=True)]
    size = f"{np.mean([len(file) for file in files]):,.0f}"
    return f"JPEG, quality {quality}", size, f"{psnr_mean(errors):.2f}", f"{psnr_of_mean_mse(errors):.2f}"


def _mse(file: bytes, original: np.ndarray) -> float:
    decoded = np.asarray(Image.open(io.BytesIO(file)), np.float64)
    return float(np.mean((decoded - original) ** 2) / 255**2)


def markdown(table: Sequence[Row]) -> str:
    """The rows as a Markdown table, numbers to the right."""
    lines = [HEADING, ("---", "---:", "---:", "---:"), *table]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
