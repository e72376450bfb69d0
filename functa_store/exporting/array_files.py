"""Export as a folder of files or as one .npz."""

import concurrent.futures
import csv
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from functa_store.decode.pictures import to_image
from functa_store.exporting.filenames import escaped, file_names
from functa_store.exporting.selection import Chosen


class ArrayFiles(Protocol):
    """Files of one kind, made in a place of their own; batches come in order, each example once.

    Attributes:
        examples_at_once: A batch has a multiple of so many examples, unless it is the last.
    """

    examples_at_once: int

    def write(self, start: int, values: np.ndarray) -> None:
        """Take the values of the examples from `start` on."""
        ...

    def finish(self) -> None:
        """Write what is left once every example was taken."""
        ...


class Folder:
    """One picture (PNG) or array (.npy) per example, and a table of them, `index.csv`; see `spreadsheets`.

    Args:
        place: An empty folder.
        chosen: What is to be written.
    """

    examples_at_once = 1

    def __init__(self, place: Path, chosen: Chosen) -> None:
        self._place, self._chosen = place, chosen
        ending = ".png" if chosen.makes_pictures else ".npy"
        self._names = [name + ending for name in file_names(map(str, chosen.columns["id"]))]

    def write(self, start: int, values: np.ndarray) -> None:
        """One file each, several at a time: a picture takes longer to compress than an accelerator to decode."""
        names = self._names[start : start + len(values)]
        with concurrent.futures.ThreadPoolExecutor(thread_name_prefix="export") as pool:
            for _ in pool.map(self._write_one, names, values):
                pass

    def _write_one(self, name: str, example: np.ndarray) -> None:
        if self._chosen.makes_pictures:
            to_image(example, self._chosen.features.value_range).save(self._place / name)
        else:
            np.save(self._place / name, example)

    def finish(self) -> None:
        """The table."""
        chosen = self._chosen
        columns = {"index": chosen.positions, **chosen.columns, "file": self._names}
        cells = [
            values if _are_numbers(values) else (escaped(str(text)) for text in values) for values in columns.values()
        ]
        with (self._place / "index.csv").open("x", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file)
            table.writerow(map(escaped, columns))
            table.writerows(zip(*cells, strict=True))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "biufc"


class ArraysInMemory:
    """Everything in one file of NumPy's (.npz), written at the end.

    Args:
        place: An empty file.
        chosen: What is to be written.
    """

    examples_at_once = 1

    def __init__(self, place: Path, chosen: Chosen) -> None:
        self._place, self._chosen = place, chosen
        self._values = np.empty((len(chosen), *chosen.shape), np.float32)

    def write(self, start: int, values: np.ndarray) -> None:
        """Keep them."""
        self._values[start : start + len(values)] = values

    def finish(self) -> None:
        """The file."""
        chosen = self._chosen
        arrays = {"values": self._values, "index": chosen.positions, **chosen.columns}
        arrays |= {f"coords/{axis}": values for axis, values in chosen.coords.items()}
        texts = {"id": arrays["id"], "split": arrays["split"], "channel": chosen.features.channels}
        arrays |= {name: np.array([str(text) for text in values]) for name, values in texts.items()}
        with self._place.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
