"""Texts and values shortened for messages: a stranger's may be as long as memory."""

from typing import Any


def shown(text: str, most: int = 100) -> str:
    """A text, cut if it has more characters than that."""
    return text if len(text) <= most else f"{text[:most]}..."


def brief(value: Any, most: int = 200) -> str:
    """What `repr` gives of a value, cut; an integer may have more digits than Python writes."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"{type(value).__name__} that is too large to show"
    return shown(text, most)
