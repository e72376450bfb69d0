"""Roots of functasets that were grown: what lies at the path itself, and the parts that follow it.

The parts are complete functasets of the same base network, in `parts/0001.functa` and so on inside the first one. A
root that lists them has a format version of its own, so that releases which know nothing of parts refuse it, and holds
what the root said before, word for word.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from functa_store.config import from_dict, to_dict
from functa_store.store.format.spec import CONVENTION, ROOT, sha256_json

PARTS_VERSION = 8
"""Format version of a root that lists parts. Functasets that have none are not written with it."""

PARTS = "parts"
GROUP = f"{PARTS}/zarr.json"
"""The node by which other Zarr readers know the folder."""

MOST_PARTS = 9999

_PART = re.compile(rf"{PARTS}/(zarr\.json|[0-9]{{4}}\.functa(/.*|\.log|\.work/.*))", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartRecord:
    """One part.

    Attributes:
        name: Where it lies below the root.
        examples: How many it has.
        fingerprint: Which functaset it is.
    """

    name: str
    examples: int
    fingerprint: str


def part_name(number: int) -> str:
    """Where a part lies below the root; they are numbered from 1."""
    return f"{PARTS}/{number:04d}.functa"


def is_of_part(key: str) -> bool:
    """Whether a key below a functaset is one of a part, be it one that is being written."""
    return _PART.fullmatch(key) is not None


def is_part(place: str) -> bool:
    """Whether the path or URL of a functaset is where a part of another one lies."""
    return is_of_part("/".join([*Path(place).parts[-2:], ROOT]))


def whole_of(place: str) -> tuple[str, str]:
    """The path or URL of the functaset that is meant by one of a functaset or of a part, and the name of the part.

    The name is empty where it is no part.
    """
    if not is_part(place):
        return place, ""
    whole, _, part = place.rpartition(f"/{PARTS}/")
    return whole, f"{PARTS}/{part}"


def parts_root(own: Mapping[str, Any], parts: Sequence[PartRecord]) -> bytes:
    """A root that lists parts, with the checksum of all it says.

    Args:
        own: The attribute `functa` of the root before the first part, with its checksum.
        parts: All parts, in order.
    """
    functa = {"format_version": PARTS_VERSION, "own": dict(own), "parts": [to_dict(part) for part in parts]}
    root = {"attributes": {"zarr_conventions": [CONVENTION], "functa": functa}, "zarr_format": 3, "node_type": "group"}
    functa["checksum"] = sha256_json(root)
    return json.dumps(root, indent=2).encode()


def read_parts(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[PartRecord, ...]]:
    """What a root that lists parts says of itself, and the parts.

    Args:
        attributes: Its attribute `functa`, without the checksum.

    Raises:
        ValueError: If it is not what a writer writes.
    """
    if set(attributes) != {"format_version", "own", "parts"} or not isinstance(attributes["own"], dict):
        raise ValueError(f"has the fields {sorted(attributes)[:10]}, expected format_version, own and parts")
    if not isinstance(found := attributes["parts"], list) or not 1 <= len(found) <= MOST_PARTS:
        raise ValueError(f"lists no parts, expected 1 to {MOST_PARTS}")
    parts = tuple(from_dict(PartRecord, part, brief=True) for part in found)
    if [to_dict(part) for part in parts] != found:
        raise ValueError("lists parts in other words than a writer wrote")
    for number, part in enumerate(parts, 1):
        if part.name != part_name(number) or part.examples < 1:
            raise ValueError(
                f"part {number} is {part.name!r} of {part.examples} examples, expected {part_name(number)!r}"
            )
    return attributes["own"], parts


GROUP_NODE = json.dumps({"attributes": {}, "zarr_format": 3, "node_type": "group"}, indent=2).encode()
