"""How do occupancies in an array file become a source, with every example read once beforehand?"""

import contextlib
import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from converters.images import folder_splits_and_classes
from converters.shape_source import HOLD_OUT_RULE, PERIOD
from converters.survey import SurveyOptions, in_threads, survey
from converters.unchanged import Stamps
from converters.voxel_arrays import Arrays, names_of, splits_of
from functa_store.errors import ArchiveError, MemberError
from functa_store.grids import CellGrid
from functa_store.progress import Report
from functa_store.sources import FeatureSpec, Label, Source, check_source, hold_out_every

BYTES = 255
"""What is inside in occupancies that were saved as a picture."""

_LARGE_CELLS = 1 << 24
"""Cells of an example beyond which only one is in memory at a time, however many threads there are."""


class VoxelSource(Source):
    """Occupancies of an array file; see `functa_store.sources.Source`.

    Every example is read once here, and again whenever it is asked for.

    Args:
        arrays: What the file holds.
        name: The file.
        facts: Options, for the provenance.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.
        stamps: Of the file, taken before it was opened.

    Raises:
        TooManyRejectsError: If more examples cannot be used than `limits` allow.
        ArchiveError: If shapes or values are none of occupancies, or nothing is left to learn from.
    """

    def __init__(
        self,
        arrays: Arrays,
        name: str,
        facts: Mapping[str, Any],
        limits: SurveyOptions,
        report: Report,
        stamps: Stamps,
    ) -> None:
        self._arrays, self._name, self._stamps = arrays, name, stamps
        self._one_large = threading.Lock() if math.prod(arrays.grid) > _LARGE_CELLS else contextlib.nullcontext()
        self._turn = tuple(facts["order"].index(axis) for axis in "zyx")
        self.domain = CellGrid(axes=("z", "y", "x"), resolution=tuple(arrays.grid[i] for i in self._turn))
        count = len(range(arrays.shape[0])[: limits.limit])
        ids = names_of(arrays.beside["ids"]) if "ids" in arrays.beside else [str(k) for k in range(count)]
        num_read = len(range(count)[: limits.check_first])
        outcomes = in_threads(self._look, num_read)
        seen = survey(name, "examples", ids[:count], outcomes, num_read, limits, report, arrays.rejects)
        self._keep, self._seen, self.rejects = seen.kept, seen.found, seen.rejects
        self.features = FeatureSpec(channels=("occupancy",), scale=self._scale(), metrics=("iou", "accuracy"))
        self.ids = [ids[int(k)] for k in self._keep]
        published, self.labels = self._described(ids)
        self.split = hold_out_every(len(self.ids), PERIOD) if published is None else published[self._keep]
        self.provenance = {
            "archive": name,
            "sha256": self._sha256() if limits.check_first is None else None,
            **facts,
            "limit": limits.limit,
            "split": HOLD_OUT_RULE if published is None else "published",
            "rejects": len(self.rejects),
            "converter": "voxels",
        }
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "z y x 1"] | Float32[np.ndarray, "z y x 1"]:
        """Raw occupancy of one example. Safe to call from threads.

        Raises:
            MemberError: If it cannot be read.
        """
        try:
            return self._example(int(self._keep[index]))
        except MemberError as error:
            raise MemberError(f"{self._name}/{self.ids[index]}: {error}") from error

    def check_unchanged(self) -> None:
        """Compare the file, or all files of the folder, with what they were; see `FileSource.check_unchanged`."""
        self._stamps.check()

    def _example(self, k: int) -> UInt8[np.ndarray, "z y x 1"] | Float32[np.ndarray, "z y x 1"]:
        try:
            raw = self._arrays.read(k)
        except MemberError:
            raise
        except Exception as error:  # whatever the library of the format stumbles over
            raise MemberError(f"cannot be read: {type(error).__name__}: {error}") from error
        grid = self._arrays.grid
        if raw.size != np.prod(grid) or raw.shape[:3] != grid:
            raise MemberError(f"has shape {raw.shape}, expected {grid} as the first one")
        if raw.dtype.kind not in "biuf" or not np.isfinite(raw).all():
            raise MemberError(f"holds {raw.dtype} values that are no finite numbers")
        if raw.min() < 0 or raw.max() > (1 if raw.dtype.kind == "f" else BYTES):
            raise MemberError(f"holds values from {raw.min()} to {raw.max()}, expected [0, 1], or bytes")
        turned = raw.reshape(grid).transpose(self._turn)[..., None]
        return np.ascontiguousarray(turned, np.float32 if raw.dtype.kind == "f" else np.uint8)

    def _look(self, k: int) -> tuple[float, bytes]:
        """The highest value and the digest of an example."""
        with self._one_large:
            raw = self._example(k)
            if not (highest := float(raw.max())):
                raise MemberError("is empty: no cell is occupied")
            return highest, hashlib.sha256(raw.data).digest()

    def _scale(self) -> float:
        highest = max((highest for highest, _ in self._seen.values()), default=1.0)
        if highest <= 1:
            return 1.0
        if highest == BYTES:
            return 1 / BYTES
        raise ArchiveError(
            f"{self._name}: occupancies go up to {highest:g}, expected 0 and 1, or 0 to {BYTES}; "
            "are these classes or distances? Compare them with a threshold first"
        )

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for _, (_, content) in sorted(self._seen.items()):
            digest.update(content)
        for key, values in sorted(self._arrays.beside.items()):
            digest.update(f"{key} {values.tolist()}".encode())
        return digest.hexdigest()

    def _described(self, ids: Sequence[str]) -> tuple[np.ndarray | None, dict[str, Label]]:
        """Splits of all examples, and labels of those that are kept."""
        beside, published, label = self._arrays.beside, None, None
        if any("/" in name for name in ids):
            published, label = folder_splits_and_classes(ids)
        if "split" in beside:
            published = splits_of(names_of(beside["split"]))
        if "labels" in beside:
            label = _label(beside["labels"])
        labels = {} if label is None else {"class": Label(values=label.values[self._keep], names=label.names)}
        return published, labels


def _label(values: np.ndarray) -> Label:
    """Numbers as they are, text as class numbers in the order of the sorted names."""
    if values.dtype.kind in "biuf":
        return Label(values=values)
    names, numbers = np.unique(names_of(values), return_inverse=True)
    return Label(values=numbers.astype(np.int32), names=tuple(names.tolist()))
