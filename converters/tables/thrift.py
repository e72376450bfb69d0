"""Structs in the compact protocol of Thrift, in which footers and headers of Parquet files are."""

from collections.abc import Mapping
from typing import Any

_DEEPEST = 32


def read_struct(data: bytes, position: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Fields of a struct by number, and where it ends.

    Args:
        data: It, and what follows.
        position: Where it begins.
        depth: Structs and lists that it is in.

    Raises:
        IndexError: If the data ends before.
        ValueError: If it is none.
    """
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[position]) != 0:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            number, position = _read_integer(data, position)
        fields[number], position = _read_value(data, position, head & 15, depth)
    return fields, position + 1


def _read_value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, position
    if kind == 3:
        return data[position], position + 1
    if kind in (4, 5, 6):
        return _read_integer(data, position)
    if kind == 7:
        return None, position + 8
    if kind == 8:
        length, position = _read_unsigned(data, position)
        if position + length > len(data):
            raise IndexError
        return data[position : position + length], position + length
    if kind in (9, 10):
        return read_list(data, position, depth + 1)
    if kind == 12:
        return read_struct(data, position, depth + 1)
    raise ValueError(f"it has a field of kind {kind}")


def read_list(data: bytes, position: int, depth: int = 0) -> tuple[list[Any], int]:
    """Items of a list, and where it ends; errors as for `read_struct`."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    head = data[position]
    position += 1
    kind, count = head & 15, head >> 4
    if count == 15:
        count, position = _read_unsigned(data, position)
    if count > len(data) - position:  # an item has a byte or more
        raise IndexError
    found = []
    for _ in range(count):
        item, position = (
            (data[position] == 1, position + 1) if kind in (1, 2) else _read_value(data, position, kind, depth)
        )
        found.append(item)
    return found, position


def _read_unsigned(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise ValueError("it has a number of more than 64 bits")


def _read_integer(data: bytes, position: int) -> tuple[int, int]:
    value, position = _read_unsigned(data, position)
    return value >> 1 ^ -(value & 1), position


class Long(int):
    """An integer that Thrift keeps as one of 64 bits."""


class Struct(bytes):
    """A struct that is written already."""


def write_struct(fields: Mapping[int, Any]) -> bytes:
    """A Thrift struct of integers, texts, structs and lists of one kind."""
    parts, before = [], 0
    for number in sorted(fields):
        kind, content = _written(fields[number])
        parts += [bytes([(number - before) << 4 | kind]), content]
        before = number
    return b"".join(parts) + b"\0"


def _written(value: Any) -> tuple[int, bytes]:
    """Thrift's number for a kind of value, and the value."""
    if isinstance(value, Struct):
        return 12, value
    if isinstance(value, bytes):
        return 8, _unsigned(len(value)) + value
    if isinstance(value, list):
        written = [_written(item) for item in value]
        head = bytes([len(written) << 4 | written[0][0]])  # of up to 14 items
        if len(written) > 14:
            head = bytes([0xF0 | written[0][0]]) + _unsigned(len(written))
        return 9, head + b"".join(content for _, content in written)
    return 6 if isinstance(value, Long) else 5, _unsigned(value << 1 if value >= 0 else ~(value << 1))


def _unsigned(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
