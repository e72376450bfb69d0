"""Ways to damage bytes and metadata at random, for mutants of every kind."""

import copy
import json
import random
from typing import Any

EXTREMES = (
    *(0, 1, 2, 3, 7, 255, 256, 65535, 65536),
    *(2**24, 2**27, 2**28, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
    *(-1, -2, -(2**31), -(2**63), 10**15, 10**30, 10**400),
)
"""Numbers that sizes, counts and offsets are replaced by."""

WORDS = (
    *(
        "",
        ".",
        "..",
        "../../outside/secret.bin",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "x" * 300,
        "\0",
        "\x1b[31m",
        "é",
        "\ud800",
    ),
    *("pickle", "json2", "msgpack2", "object", "|O", "|O8", ">f8", "<U1000000000", "<m8[ns]", "longdouble", "<f16"),
    *("NaN", "Infinity", "none", "null", "true", "__class__", "https://127.0.0.1:9/x", "file:///etc/passwd"),
)
"""Texts that names and types are replaced by."""

_WIDTHS = (1, 2, 4, 8)


def of_bytes(rng: random.Random, data: bytes, *, most: int = 4) -> bytes:
    """Bytes with one or a few random changes: flipped bits, extreme integers, blocks cut, doubled, moved or cleared."""
    for _ in range(rng.randint(1, most)):
        data = _change(rng, data)
    return data


def _change(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return rng.randbytes(rng.randint(1, 64))
    at = rng.randrange(len(data))
    end = min(len(data), at + rng.choice((1, 2, 4, 8, 16, 64, 512, 4096)))
    block = data[at:end]
    match rng.randrange(9):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + rng.randbytes(len(block)) + data[end:]
        case 2:
            return data[:at] + bytes([rng.choice((0, 255))]) * len(block) + data[end:]
        case 3:
            return data[:at]
        case 4:
            return data[:at] + data[end:]
        case 5:
            return data[:at] + block * rng.randint(2, 9) + data[end:]
        case 6:
            to = rng.randrange(len(data))
            return data[:to] + block + data[to + len(block) :]
        case 7:
            return data + rng.randbytes(rng.randint(1, 64))
        case _:
            return _with_integer(rng, data, at)


def _with_integer(rng: random.Random, data: bytes, at: int) -> bytes:
    width = rng.choice(_WIDTHS)
    at -= at % width if rng.random() < 0.8 else 0  # most formats align their numbers
    number = rng.choice(EXTREMES) % 256**width
    return data[:at] + number.to_bytes(width, rng.choice(("little", "big"))) + data[at + width :]


def of_json(rng: random.Random, value: Any, *, most: int = 3) -> Any:
    """A JSON value with a few parts replaced, removed, doubled, renamed or nested deeply; the given one stays."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, most)):
        value = _with_changed_part(rng, value)
    return value


def of_json_text(rng: random.Random, text: str | bytes) -> str:
    """The text of a JSON value, changed; now and then a number in it becomes lists within lists, 100,000 deep."""
    changed = json.dumps(of_json(rng, json.loads(text)))
    digits = [k for k, letter in enumerate(changed) if letter.isdigit()]
    if digits and rng.random() < 0.05:
        at, depth = rng.choice(digits), rng.choice((2_000, 100_000))
        changed = f"{changed[:at]}{'[' * depth}{']' * depth}{changed[at + 1 :]}"
    return changed


def _with_changed_part(rng: random.Random, value: Any) -> Any:
    """The value, one of its parts changed, found by walking down at random."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if inner and rng.random() < 0.8:
        key, part = rng.choice(inner)
        value[key] = _with_changed_part(rng, part)
        return value
    if isinstance(value, dict) and value and rng.random() < 0.5:
        key = rng.choice(list(value))
        if rng.random() < 0.5:
            del value[key]
        else:
            value[rng.choice(WORDS)] = value.pop(key)
        return value
    if isinstance(value, list) and value and rng.random() < 0.5:
        at = rng.randrange(len(value))
        value[at : at + 1] = [value[at]] * rng.choice((0, 2, 3, 40))
        return value
    return _strange(rng, value)


def _strange(rng: random.Random, value: Any) -> Any:
    match rng.randrange(8):
        case 0 | 1 | 2:
            return rng.choice(EXTREMES)
        case 3:
            return rng.choice(WORDS)
        case 4:
            return rng.choice((None, True, False, [], {}, 0.5, -0.0, 1e308, float("nan"), float("inf")))
        case 5:
            return [value]
        case 6:
            return {rng.choice(WORDS): value}
        case _:
            nested: Any = value
            for _ in range(rng.choice((3, 30, 150))):
                nested = [nested] if rng.random() < 0.5 else {"a": nested}
            return nested
