"""Table of the demo: its functaset beside the archive and other ways to store it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from demo.archive import encoded
from functa_store.decode.facts import in_decibels
from functa_store.metrics import psnr_mean, psnr_of_mean_mse

Row = tuple[str, str, str, str]

_SCAN = b"\xff\xda"
"""Marker before the coefficients of a JPEG."""

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
        _row(
            "JPEG of as many bytes, its tables left out",
            size,
            originals,
            [as_jpeg(tile, round(facts["bytes_per_example"])) for tile in originals],
        ),
        *(_jpeg_row(originals, quality) for quality in (25, 75, 95)),
        ("PNG", f"{np.mean([len(encoded(o, 'PNG', optimize=True)) for o in originals]):,.0f}", "exact", "exact"),
        ("raw bytes", f"{originals[0].nbytes:,}", "exact", "exact"),
    ]


def principal_components(training: np.ndarray, tiles: np.ndarray, count: int) -> np.ndarray:
    """Tiles as their first principal components give them back.

    Args:
        training: Bytes, shape (examples, y, x, 3), whose mean and components are taken.
        tiles: Bytes of other tiles.
        count: Components, in float64; their coefficients are what a store would keep of a tile.

    Returns:
        Values in [0, 1], shaped like `tiles`.
    """
    known = training.reshape(len(training), -1) / 255
    mean = known.mean(axis=0)
    _, components = np.linalg.eigh(np.cov(known.T))  # by rising variance
    first = components[:, -count:]
    wanted = tiles.reshape(len(tiles), -1) / 255 - mean
    return np.clip(mean + wanted @ first @ first.T, 0, 1).reshape(tiles.shape)


def as_jpeg(tile: np.ndarray, size: int) -> np.ndarray:
    """A tile as the best JPEG gives it back whose scan has at most so many bytes; the worst one if none has.

    What comes before the scan, some 600 bytes, is the same for all tiles and left out, as the base network is.
    """
    best = encoded(tile, "JPEG", quality=1)
    for quality in range(2, 101):
        file = encoded(tile, "JPEG", quality=quality)
        if len(file) - file.index(_SCAN) <= size:
            best = file
    return np.asarray(Image.open(io.BytesIO(best)))


def _jpeg_row(originals: Sequence[np.ndarray], quality: int) -> Row:
    files = [encoded(original, "JPEG", quality=quality) for original in originals]
    size = f"{np.mean([len(file) for file in files]):,.0f}"
    decoded = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    return _row(f"JPEG, quality {quality}", size, originals, decoded)


def _row(name: str, size: str, originals: Sequence[np.ndarray], decoded: Sequence[np.ndarray]) -> Row:
    errors = [_mse(tile, original) for tile, original in zip(decoded, originals, strict=True)]
    return name, size, _finite(psnr_mean(errors)), _finite(psnr_of_mean_mse(errors))


def _finite(decibels: float) -> str:
    return f"{decibels:.2f}" if np.isfinite(decibels) else "some exact"


def _mse(decoded: np.ndarray, original: np.ndarray) -> float:
    return float(np.mean((decoded.astype(np.float64) - original) ** 2) / 255**2)


def markdown(table: Sequence[Row]) -> str:
    """The rows as a Markdown table, numbers to the right."""
    lines = [HEADING, ("---", "---:", "---:", "---:"), *table]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
