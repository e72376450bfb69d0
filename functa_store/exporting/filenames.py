"""Texts of strangers as file names, and as cells of tables.

An apostrophe is put before a character with which a formula, or a text with an apostrophe, begins, at the start of a
cell and after what some spreadsheet takes for the end of one; to undo it, remove the apostrophes before such characters
there. Texts that are numbers stay as they are. See https://owasp.org/www-community/attacks/CSV_Injection.
"""

import re
import unicodedata
from collections.abc import Iterable

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
