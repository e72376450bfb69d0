"""Options that several commands share: examples, points, windows, how to reach a store."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from functa_store.cli.console import shortened
from functa_store.errors import ConfigError, ExampleIndexError
from functa_store.sources.options import MOST_INTEGER
from functa_store.store.storage.objects import NO_OPTIONS, StorageOptions

N = TypeVar("N", int, float)

SELECTING = ("--index", "--region")
"""Options whose values may begin with a minus sign, as -3: and -30:30,0:90 do."""

MOST_OF_A_WORD = 100
"""Characters of a word in a message."""

_NEGATIVE = re.compile(r"-\.?\d")
EXPECTED = "integers and slices such as 3, 0:16 or ::100,-1"
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?(?::(-?\d+)?)?")


def joined(words: Sequence[str]) -> list[str]:
    """A command line on which a value that begins with a minus sign is not taken for an option: --index=-3: for two."""
    found: list[str] = []
    for word in words:
        if found and found[-1] in SELECTING and _NEGATIVE.match(word):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def parse_index(text: str, num_examples: int) -> list[int]:
    """Positions of examples.

    Args:
        text: Integers and slices as in Python, comma between them: "3", "0:16", "::100,-1".
        num_examples: Examples of the functaset, which negative numbers count back from.

    Returns:
        Positions in [0, num_examples), in the order given.

    Raises:
        ConfigError: If the text is no such list.
        ExampleIndexError: If it names no example, or one that is not there.
    """
    found = [position for part in text.split(",") for position in _positions(part.strip(), num_examples)]
    if not found:
        raise ExampleIndexError(f"--index {_brief(text)} names none of the {num_examples} examples")
    return found


def _positions(part: str, num_examples: int) -> list[int]:
    match = _SLICE.fullmatch(part)
    if match:
        bounds = [None if bound is None else _number(int, bound, "--index", EXPECTED) for bound in match.groups()]
        if bounds[2] == 0:
            raise ConfigError(f"--index {_brief(part)}: the step of a slice must not be 0")
        return list(range(num_examples)[slice(*bounds)])
    position = _number(int, part, "--index", EXPECTED)
    if not -num_examples <= position < num_examples:
        raise ExampleIndexError(
            f"--index {shortened(str(position), MOST_OF_A_WORD)}: the functaset has {num_examples} examples"
        )
    return [position % num_examples]


def keep_split(index: Sequence[int], split: str, splits: np.ndarray) -> list[int]:
    """Of some positions those of one split.

    Args:
        index: Positions of examples.
        split: Name of the split.
        splits: The split of every example.

    Raises:
        ExampleIndexError: If none of them is in it.
    """
    found = [position for position in index if splits[position] == split]
    if not found:
        there = ", ".join(sorted({str(splits[position]) for position in index}))
        raise ExampleIndexError(f"--split {split}: of {len(index):,} examples none is in it; found only {there}")
    return found


def parse_resolution(text: str) -> int | tuple[int, ...]:
    """Points per axis: "256" for every axis, or "256x128" axis by axis in array order.

    Raises:
        ConfigError: If the text says anything else.
    """
    expected = "positive integers such as 256 or 256x128 (height x width)"
    sizes = tuple(_number(int, part, "--resolution", expected) for part in text.lower().split("x"))
    if min(sizes) < 1 or max(sizes) >= MOST_INTEGER:
        raise ConfigError(f"--resolution takes {expected}, got {_brief(text)}")
    return sizes[0] if len(sizes) == 1 else sizes


def parse_region(text: str) -> tuple[tuple[float, float], ...]:
    """Bounds per axis in array order, in [0, 1] or degrees: "0.25:0.75,0:0.5".

    Raises:
        ConfigError: If the text says anything else; whether the window fits is the domain's to say.
    """
    expected = "low:high for every axis, such as 0.25:0.75,0:0.5 (y, x)"
    bounds = [tuple(_number(float, edge, "--region", expected) for edge in part.split(":")) for part in text.split(",")]
    if any(len(bound) != 2 for bound in bounds):
        raise ConfigError(f"--region takes {expected}, got {_brief(text)}")
    return tuple((bound[0], bound[1]) for bound in bounds)


def _number(kind: Callable[[str], N], text: str, option: str, expected: str) -> N:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{option} takes {expected}, got {_brief(text)}") from error


def _brief(text: str) -> str:
    return shortened(repr(text), MOST_OF_A_WORD)


def add_storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command on a store has. Credentials come from the environment alone."""
    group = parser.add_argument_group("disks and object stores (credentials come from the environment)")
    group.add_argument("--endpoint", metavar="URL", help="server other than the provider's, such as http://host:9000")
    group.add_argument("--bucket-region", metavar="REGION", help="region of the bucket")
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=NO_OPTIONS.timeout,
        help="give a request up after so long, repetitions included, if the server is silent (default: %(default)g)",
    )
    group.add_argument(
        "--least-rate",
        type=float,
        metavar="BYTES",
        default=NO_OPTIONS.least_rate,
        help="bytes per second below which a server is too slow (default: %(default)g)",
    )
    group.add_argument("--anonymous", action="store_true", help="send no credentials, for public buckets")
    group.add_argument(
        "--no-mapping",
        dest="mapped",
        action="store_false",
        help="read files without mapping them into memory: slower, but safe if others make them shorter meanwhile",
    )


def storage_from(args: argparse.Namespace) -> StorageOptions:
    """What those options say."""
    return StorageOptions(
        endpoint=args.endpoint,
        region=args.bucket_region,
        anonymous=args.anonymous,
        timeout=args.timeout,
        least_rate=args.least_rate,
        mapped=args.mapped,
    )
