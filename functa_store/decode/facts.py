"""What a functaset holds, as JSON: sizes, quality by split, rejects, provenance, and figures of it in words."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.progress import json_ready
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions

if TYPE_CHECKING:
    from functa_store.store.reading.reader import StoreReader


def info(path: Location, *, storage: StorageOptions = NO_OPTIONS) -> dict[str, Any]:
    """What a functaset holds, as `functa info --json` prints it: the keys are those of docs/reference/cli.md.

    No modulation is read, and JAX is not imported.

    Args:
        path: The store, finished or not.
        storage: How to reach the store.

    Returns:
        Ready for `json.dumps`: numbers that are not finite are None.

    Raises:
        StoreFormatError: If the path holds no functaset that this release reads.
        StorageError: If the place cannot be read.
    """
    from functa_store.store.reading.joined_store import open_store  # not all who show figures open a store

    return info_of(open_store(path, storage=storage))


def info_of(reader: "StoreReader") -> dict[str, Any]:
    """The same, of an open store."""
    from functa_store.store.reading.joined_store import JoinedStore

    parts = reader.stores if isinstance(reader, JoinedStore) else [reader]
    return json_ready(
        {
            "path": reader.path,
            "format_version": reader.spec.format_version,
            "complete": reader.spec.complete,
            "domain": {
                "kind": reader.spec.domain.kind,
                "axes": reader.spec.domain.axes,
                "resolution": reader.spec.domain.resolution,
            },
            "channels": reader.spec.features.channels,
            "units": reader.spec.features.units,
            "preset": reader.spec.config.preset,
            "examples": reader.spec.examples.count,
            "fitted": reader.num_examples,
            "parts": [len(part) for part in parts],
            "augmentations": _augmentations(reader),
            "labels": list(reader.labels),
            "modulation": reader.spec.config.network.modulation,
            "modulation_shape": reader.modulations.shape[1:],
            "modulation_grid": reader.spec.config.network.modulation_grid,
            "lookup": reader.spec.config.network.lookup,
            "dtype": reader.spec.config.modulation_dtype,
            "base_dtype": reader.spec.config.base_dtype,
            "bytes_total": reader.bytes_total,
            "bytes_base": reader.bytes_base,
            "bytes_per_example": reader.bytes_per_example,
            "bytes_per_example_with_base": _with_base(reader),
            "rounding_loss": None
            if reader.spec.rounding_loss is None
            else dataclasses.asdict(reader.spec.rounding_loss),
            **_quality(reader),
            "rejects": {
                "count": len(reader.rejects),
                "list": [{"member": reject.member, "reason": reject.reason} for reject in reader.rejects],
            },
            "reference": reader.spec.reference,
            "provenance": reader.spec.provenance,
        }
    )


def _augmentations(reader: "StoreReader") -> dict[str, Any] | None:
    """How many of the fitted examples are augmentations, and of how many fitted others; None without augmentations."""
    if not reader.augmentations:
        return None
    of = reader.augmentations["of"][:]
    rows = np.flatnonzero(of != np.arange(len(of)))
    return {"count": len(rows), "originals": len(np.unique(of[rows][of[rows] >= 0]))}


def _with_base(reader: "StoreReader") -> float:
    """Bytes of a modulation and of its share of the base."""
    return reader.bytes_per_example + reader.bytes_base / reader.spec.examples.count


def _quality(reader: "StoreReader") -> dict[str, Any]:
    from functa_store.store.format.side_arrays import summary_units
    from functa_store.store.reading.reader import originals_of

    units = summary_units(reader.spec.features)
    of = originals_of(reader)
    names, counts = np.unique(reader.split[:][of == np.arange(len(of))], return_counts=True)
    return {
        "splits": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "psnr_mean": {name: quality.psnr_mean for name, quality in reader.quality.items()},
        "psnr_of_mean_mse": {name: quality.psnr_of_mean_mse for name, quality in reader.quality.items()},
        "metric_units": units,
        **{
            f"{column}_mean": {name: quality.metrics[column] for name, quality in reader.quality.items()}
            for column in units
        },
    }


def in_decibels(quality: Mapping[str, Any], split: str) -> tuple[str, str]:
    """Both kinds of PSNR of a split in words, a dash where there is none."""
    return decibels(figure(quality, "psnr_mean", split)), decibels(figure(quality, "psnr_of_mean_mse", split))


def figure(tree: Any, *path: str) -> float | None:
    """A number inside JSON that anyone may have written; None if there is none."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return float(tree) if isinstance(tree, int | float) and abs(tree) < 1e9 else None


def decibels(value: float | None, unit: str = "") -> str:
    """A figure in decibels in words, a dash where there is none."""
    return "-" if value is None else f"{value:.2f}{unit}"
