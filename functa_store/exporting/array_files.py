"""Decoded examples as a folder of files or one .npz, and texts of strangers as file names and cells of tables.

In cells, an apostrophe is put before a character with which a formula, or a text with an apostrophe, begins, at the
start of a cell and after what some spreadsheet takes for the end of one; to undo it, remove the apostrophes before such
characters there. Texts that are numbers stay as they are. See https://owasp.org/www-community/attacks/CSV_Injection.
"""

import concurrent.futures
import csv
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from functa_store.decode.pictures import to_image
from functa_store.exporting.selection import Chosen

LONGEST = 120
"""Bytes of a name in UTF-8, before what keeps it apart and the ending; file systems take 143 to 255 in all."""

_ENDING = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{1,4}\Z", re.DOTALL)
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM[\d¹²³]|LPT[\d¹²³])(\.|\Z)", re.IGNORECASE)  # what Windows takes for no file


def file_names(names: Iterable[str]) -> list[str]:
    """One name of a file for each name, without its ending, all in one folder.

    What is no letter, number, dot, hyphen or underscore becomes an underscore, so that no name leads out of
    the folder, and names that would then be one, also for file systems that ignore case, get a number.

    Args:
        names: Such as "img_align_celeba/000001.jpg", any text, also repeated.

    Returns:
        Such as "img_align_celeba_000001", in the order given.
    """
    found, taken, numbers = [], set(), {}
    for plain in map(_plain, names):
        name, number = plain, numbers.get(_as_compared(plain), 1)
        while _as_compared(name) in taken:
            number += 1
            name = f"{plain}-{number}"
        numbers[_as_compared(plain)] = number
        taken.add(_as_compared(name))
        found.append(name)
    return found


def _plain(name: str) -> str:
    name = unicodedata.normalize("NFC", _ENDING.sub("", name))
    name = "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else "_" for c in name)
    name = name.encode()[-LONGEST:].decode(errors="ignore").lstrip(".-")  # neither hidden nor an option of a command
    return f"_{name}" if not name or _DEVICE.match(name) else name


def _as_compared(name: str) -> str:
    """The same text for names that some file system takes for one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


_STARTS = "'=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are the full-width forms of the signs
_PLACE = r"(^|[,;|\t\r\n])"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ESCAPED, _DANGEROUS = re.compile(rf"{_PLACE}'(?=[{_STARTS}])"), re.compile(rf"{_PLACE}(?=[{_STARTS}])")


def escaped(text: str) -> str:
    """The text as a cell."""
    return text if _NUMBER.fullmatch(text) else _DANGEROUS.sub(r"\1'", text)


def unescaped(cell: str) -> str:
    """The text of a cell."""
    return _ESCAPED.sub(r"\1", cell)


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
        """Write the table."""
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
        """Keep the values in memory."""
        self._values[start : start + len(values)] = values

    def finish(self) -> None:
        """Write the file."""
        chosen = self._chosen
        arrays = {"values": self._values, "index": chosen.positions, **chosen.columns}
        arrays |= {f"coords/{axis}": values for axis, values in chosen.coords.items()}
        texts = {"id": arrays["id"], "split": arrays["split"], "channel": chosen.features.channels}
        arrays |= {name: np.array([str(text) for text in values]) for name, values in texts.items()}
        with self._place.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
