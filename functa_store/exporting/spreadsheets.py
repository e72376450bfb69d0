"""Texts of a stranger as cells of a table that no spreadsheet takes for a formula.

An apostrophe is put before a character with which a formula, or a text with an apostrophe, begins, at the start of a
cell and after what some spreadsheet takes for the end of one; to undo it, remove the apostrophes before such characters
there. Texts that are numbers stay as they are. See https://owasp.org/www-community/attacks/CSV_Injection.
"""

import re

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
