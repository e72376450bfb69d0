"""Messages of tf.train.Example, as TensorFlow Datasets keeps examples, parsed without TensorFlow."""

from collections.abc import Iterator
from typing import Any

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OF_BYTES, _OF_FLOATS, _OF_INTEGERS = 1, 2, 3


def parse_example(message: bytes) -> dict[str, Any]:
    """Features by name: lists of bytes, float32 arrays and int64 arrays.

    Raises:
        ValueError: If it is no such message.
    """
    found: dict[str, Any] = {}
    for number, features in _fields(memoryview(message)):
        if number != 1:
            continue
        for inner, entry in _fields(features):
            if inner != 1:
                continue
            parts: dict[int, Any] = dict(_fields(entry))
            found[bytes(parts.get(1, b"")).decode()] = _feature(parts.get(2, memoryview(b"")))
    return found


def _feature(message: memoryview) -> Any:
    for number, content in _fields(message):
        values = [value for inner, value in _fields(content) if inner == 1]
        if number == _OF_BYTES:
            return [bytes(value) for value in values]
        if number == _OF_FLOATS:
            return np.concatenate([np.empty(0, "<f4"), *(np.frombuffer(value, "<f4") for value in values)])
        if number == _OF_INTEGERS:
            listed = [n for value in values for n in ([value] if isinstance(value, int) else _varints(value))]
            return np.array(listed, np.uint64).astype(np.int64)
    return []


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """Numbers and contents of a message's fields: integers of varints, bytes of all others."""
    if isinstance(message, int):
        raise ValueError("found a number where a message should be")
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"found a field of kind {kind}")
        if position + length > len(message):
            raise ValueError("the message is cut off")
        yield number, message[position : position + length]
        position += length


def _varints(content: memoryview) -> Iterator[int]:
    position = 0
    while position < len(content):
        value, position = _varint(content, position)
        yield value


def _varint(content: Any, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(content) or shift > 63:
            raise ValueError("the message is cut off, or a number has more than 64 bits")
        byte = content[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
