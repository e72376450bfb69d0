"""How are features written as a folder of files, or as one file of arrays?"""

import concurrent.futures
import csv
import dataclasses
import math
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from functa_store.exporting.filenames import file_names
from functa_store.sheets import to_image
from functa_store.sources import FeatureSpec


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Examples to be written, and what is known about them.

    Attributes:
        positions: Place of each example in its functaset.
        quantity: What the features are called among other variables.
        shape: Shape of one example's features: points per axis, then channels.
        features: What they mean.
        coords: Cell centres by axis, in the order of the axes.
        ids: Name of each example.
        split: Its split.
        psnr: PSNR of its fit in decibels.
        labels: Its labels by name.
        label_names: What the integers 0, 1, ... of a label stand for, where it has names.
    """

    positions: np.ndarray
    quantity: str
    shape: tuple[int, ...]
    features: FeatureSpec
    coords: dict[str, np.ndarray]
    ids: np.ndarray
    split: np.ndarray
    psnr: np.ndarray
    labels: dict[str, np.ndarray]
    label_names: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def example_bytes(self) -> int:
        """Bytes of one example's decoded features."""
        return 4 * math.prod(self.shape)

    @property
    def makes_pictures(self) -> bool:
        """Whether an example's features are a picture."""
        return len(self.shape) == 3 and self.shape[-1] in (1, 3, 4)


class ArrayFiles(Protocol):
    """Files of one kind, made in a place of their own; blocks come in order, each example once.

    Attributes:
        examples_at_once: A block has a multiple of so many examples, unless it is the last.
    """

    examples_at_once: int

    def write(self, start: int, features: np.ndarray) -> None:
        """Take the features of the examples from `start` on."""
        ...

    def finish(self) -> None:
        """Write what is left once every example was taken."""
        ...


class Folder:
    """One picture (PNG) or array (.npy) per example, and a table of them, `index.csv`.

    Args:
        place: An empty folder.
        selection: What is to be written.
    """

    examples_at_once = 1

    def __init__(self, place: Path, selection: Selection) -> None:
        self._place, self._selection = place, selection
        ending = ".png" if selection.makes_pictures else ".npy"
        self._names = [name + ending for name in file_names(map(str, selection.ids))]

    def write(self, start: int, features: np.ndarray) -> None:
        """One file each, several at a time: a picture takes longer to compress than an accelerator to decode."""
        names = self._names[start : start + len(features)]
        with concurrent.futures.ThreadPoolExecutor(thread_name_prefix="export") as pool:
            for _ in pool.map(self._write_one, names, features):
                pass

    def _write_one(self, name: str, example: np.ndarray) -> None:
        if self._selection.makes_pictures:
            to_image(example, self._selection.features.data_range).save(self._place / name)
        else:
            np.save(self._place / name, example)

    def finish(self) -> None:
        """The table."""
        chosen = self._selection
        columns = {"index": chosen.positions, "id": chosen.ids, "split": chosen.split}
        columns |= {f"labels/{name}": values for name, values in chosen.labels.items()}
        columns |= {"psnr": chosen.psnr, "file": self._names}
        with (self._place / "index.csv").open("x", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(columns)
            table.writerows(zip(*columns.values(), strict=True))


class ArraysInMemory:
    """Everything in one file of NumPy's (.npz), written at the end.

    Args:
        place: An empty file.
        selection: What is to be written.
    """

    examples_at_once = 1

    def __init__(self, place: Path, selection: Selection) -> None:
        self._place, self._selection = place, selection
        self._features = np.empty((len(selection), *selection.shape), np.float32)

    def write(self, start: int, features: np.ndarray) -> None:
        """Keep them."""
        self._features[start : start + len(features)] = features

    def finish(self) -> None:
        """The file."""
        chosen = self._selection
        arrays = {"features": self._features, "index": chosen.positions, "psnr": chosen.psnr}
        arrays |= {"id": _fixed_width(chosen.ids), "split": _fixed_width(chosen.split)}
        arrays |= {"channel": np.array(chosen.features.channels)}
        arrays |= {f"labels/{name}": values for name, values in chosen.labels.items()}
        arrays |= {f"coords/{axis}": values for axis, values in chosen.coords.items()}
        with self._place.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())


def _fixed_width(texts: np.ndarray) -> np.ndarray:
    """The same strings as NumPy keeps them in files."""
    return np.array([str(text) for text in texts])
