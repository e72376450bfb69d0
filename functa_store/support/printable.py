"""Texts of strangers as characters that can be seen: what a terminal would obey, or hide, is written as escapes."""

_UNSEEN = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0000, 0xE0FFF),
)
"""Characters that count as printable and show nothing, first and last."""


def printable(text: str) -> str:
    """The text with characters that are not seen, which an archive's names may hold, written as escapes."""
    return "".join(c if _is_seen(c) else c.encode("unicode_escape").decode() for c in text)


def _is_seen(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    code = ord(character)
    return character.isprintable() and not any(first <= code <= last for first, last in _UNSEEN)
