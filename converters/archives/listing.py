"""Usable names of an archive, and where they lie."""

import bisect
import collections
import itertools
import posixpath
import re
import struct
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from converters.archives.packed import Entry
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Reject
from functa_store.support.shortening import shown

MAX_MEMBER_BYTES = 1 << 28
"""Longest member that is read, in bytes: a member is held in memory whole."""

_PLACE = struct.Struct("=5q")
_FAR = 1 << 61
_LONGEST_NAME = 1024
_NUM_SHOWN = 100
_UP = re.compile(r"(^|[/\\])\.\.($|[/\\])")
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # a terminal would obey some
_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX(/|$))")


class Listing:
    """Members sorted by name: a name and 40 bytes for each, nothing else.

    Hidden files (".DS_Store", "__MACOSX/...") are left out.

    Args:
        entries: What the archive's directory lists.
        header_bytes: Bytes before each member that are its own, at least; members that share bytes are refused then,
            since a directory of megabytes may ask for petabytes by naming the same ones again and again.

    Attributes:
        names: In code point order, each unique.
        places: Of each name: offset, stored bytes, size in bytes, compression method and CRC-32.
        rejects: Entries that cannot be used, sorted by name.
    """

    def __init__(self, entries: Iterable[Entry], header_bytes: int | None = None) -> None:
        names, places, self.rejects = [], bytearray(), []
        for entry in entries:
            name, problem = _check_name(entry.name)
            if problem is None and _HIDDEN.search(name):
                continue
            if problem := problem or entry.problem or _check_place(entry):
                self.rejects.append(Reject(member=name, reason=problem))
            else:
                names.append(name)
                places += _PLACE.pack(*entry[2:])
        order = sorted(range(len(names)), key=names.__getitem__)
        repeated = {names[a] for a, b in itertools.pairwise(order) if names[a] == names[b]}
        self.rejects += [Reject(member=name, reason="occurs more than once in the archive") for name in repeated]
        order = [k for k in order if names[k] not in repeated]
        table = np.frombuffer(places, np.int64).reshape(-1, 5)
        if header_bytes is not None and (shared := _sharing(table, order, header_bytes)):
            self.rejects += [Reject(member=names[k], reason="shares its bytes with another member") for k in shared]
            order = [k for k in order if k not in shared]
        self.names = [names[k] for k in order]
        self.places = table[order]
        self.rejects.sort(key=lambda reject: reject.member)

    def put_below(self, folder: str) -> None:
        """Let all names begin with those of a folder, "/" between them."""
        self.names = [f"{folder}/{name}" for name in self.names]
        self.rejects = [Reject(member=f"{folder}/{r.member}", reason=r.reason) for r in self.rejects]

    def place(self, member: str, *, any_size: bool = False) -> list[int]:
        """Offset, stored bytes, size in bytes, compression method and CRC-32 of a member.

        Args:
            member: Its name.
            any_size: Whether it may be of any length, since it is read in parts.

        Raises:
            MemberError: If it is missing or too long.
        """
        position = bisect.bisect_left(self.names, member)
        if position == len(self.names) or self.names[position] != member:
            raise MemberError("is not in the archive")
        place = self.places[position].tolist()
        if not any_size:
            check_size(max(place[1:3]))
        return place


def has_suffix(member: str, suffixes: Collection[str]) -> bool:
    """Whether a member's name ends in one of some suffixes, in whatever case."""
    dot = member.rfind(".")
    if dot < 0 or member[dot:].lower() not in suffixes:
        return False
    return member[dot - 1 : dot] not in ("", "/", ".") or posixpath.splitext(member)[1] != ""  # most end here


def natural_order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """What sorts names with numbers by these, so that part-10 follows part-9 and not part-1."""
    parts: list[str] = re.split(r"([0-9]+)", name)  # text and digits in turn
    digits = [part.lstrip("0") for part in parts[1::2]]  # compared by length first: they may be too long for an int
    numbers = [(len(number), number) for number in digits]
    return [numbers[k // 2] if k % 2 else part for k, part in enumerate(parts)], name


def nothing_to_convert(
    name: str, members: Sequence[str], kind: str, expected: str, rejects: Sequence[Reject] = ()
) -> ArchiveError:
    """The error for an archive without a single member of the kind wanted; says what it holds instead.

    Args:
        name: The archive.
        members: All of its members.
        kind: What was looked for, in the plural.
        expected: What would have been taken for it.
        rejects: What the archive lists and cannot give; the commonest reason is said.
    """
    kinds = collections.Counter(posixpath.splitext(member)[1].lower() or "no suffix" for member in members)
    found = ", ".join(f"{count} {shown(suffix)}" for suffix, count in kinds.most_common(5)) or "none that can be used"
    refused = collections.Counter(reject.reason for reject in rejects).most_common(1)
    why = f", and {len(rejects)} that cannot be read: {refused[0][1]} of them {shown(refused[0][0])}" if refused else ""
    return ArchiveError(f"{name}: no {kind}; found {found}{why}, expected {expected}")


def not_wanted(members: Iterable[str], is_wanted: Callable[[str], bool], reason: str) -> list[Reject]:
    """Members that do not even claim to be of the kind wanted; named, but no reason to stop."""
    return [Reject(member=member, reason=reason) for member in members if not is_wanted(member)]


def check_size(num_bytes: int) -> None:
    """Refuse a member that should not be held in memory.

    Raises:
        MemberError: If it is longer than `MAX_MEMBER_BYTES`.
    """
    if num_bytes > MAX_MEMBER_BYTES:
        raise MemberError(f"has {num_bytes} bytes, more than the {MAX_MEMBER_BYTES} that are read at once")


def _sharing(places: np.ndarray, kept: Sequence[int], header_bytes: int) -> set[int]:
    """Those of the kept entries whose bytes, headers included, overlap others'."""
    if len(kept) < 2:
        return set()
    by_start = np.array(kept)[np.argsort(places[kept, 0], kind="stable")]
    start, stored = np.minimum(places[by_start, :2], _FAR).T  # sums of farther ones would overflow
    end = start + stored + header_bytes
    shares = np.zeros(len(by_start), bool)
    shares[1:] = start[1:] < np.maximum.accumulate(end)[:-1]
    shares[:-1] |= start[1:] < end[:-1]
    return set(by_start[shares].tolist())


def _check_place(entry: Entry) -> str | None:
    if max(entry[2:]) < 1 << 63:
        return None
    return "is listed with a place or size of 2**63 bytes or more, beyond the end of any archive"


def _check_name(raw: bytes) -> tuple[str, str | None]:
    """The name as text, and why it cannot be used, or None."""
    if len(raw) > _LONGEST_NAME:
        start = raw[:_NUM_SHOWN].decode("utf-8", "backslashreplace")
        return f"{start}...", f"has a name of {len(raw)} bytes, more than {_LONGEST_NAME}"
    try:
        name = raw.decode("utf-8").removeprefix("./")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace"), "has a name that is not UTF-8"
    if _UP.search(name):
        return name, "has a name that leads out of the archive"
    if _ABSOLUTE.match(name):
        return name, "has an absolute name"
    if "\0" in name:
        return name, "has a name with a NUL byte"
    return name, "has a name with a control character" if _CONTROL.search(name) else None
