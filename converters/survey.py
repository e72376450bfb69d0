"""Surveys: every member of an archive read once, on several threads, with rejects, their reasons, and notes."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int64

from converters.archives.archive import Archive
from converters.archives.memory_share import room
from converters.archives.streamed import StreamedTar
from functa_store.errors import ArchiveError, MemberError
from functa_store.progress import Note, Report, Surveyed
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Reject, check_rejects

T = TypeVar("T")


@runtime_checkable
class OfFiles(Protocol):
    """An archive of several files."""

    def described(self, *, read: bool) -> dict[str, Any]:
        """What provenance keeps of them; `read` says whether they are read for their digests."""
        ...


NO_MEMORY = "takes more memory than there is"
"""Why a member is refused whose decoder found no room."""

_BLOCK = 16
_SECONDS_BETWEEN_REPORTS = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome(Generic[T]):
    """What reading one member gave.

    Attributes:
        position: Of the member.
        found: What was learned of it; None if nothing was, or it cannot be read.
        problem: Why it cannot be read, or None.
        examples: How many it gives; 0 if it cannot be read.
    """

    position: int
    found: T | None = None
    problem: str | None = None
    examples: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Survey(Generic[T]):
    """What reading the members of an archive gave.

    Attributes:
        kept: Positions of the members that are not known to be unreadable.
        found: What was learned of members, by position and in order.
        rejects: Why the others cannot be used.
    """

    kept: Int64[np.ndarray, " kept"]
    found: dict[int, T]
    rejects: list[Reject]


def in_threads(
    inspect: Callable[[int], T], count: int, examples: Callable[[T], int] = lambda _: 1
) -> Iterator[Outcome[T]]:
    """What reading each of the first `count` members in a few threads gives, in order.

    Args:
        inspect: Reads the member of a position and keeps what is to be learned of it; raises MemberError, whose
            message is the reason.
        count: How many.
        examples: How many examples a member gives.
    """
    stop = threading.Event()

    def outcome(k: int) -> Outcome[T]:
        try:
            with room(stop):
                found = inspect(k)
        except MemberError as error:
            return Outcome(position=k, problem=str(error), examples=0)
        except MemoryError:
            return Outcome(position=k, problem=NO_MEMORY, examples=0)
        return Outcome(position=k, found=found, examples=examples(found))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            # In blocks, since a map over everything would queue 200,000 tasks at once.
            for start in range(0, count, _BLOCK):
                yield from pool.map(outcome, range(start, min(start + _BLOCK, count)))
        finally:
            stop.set()


def survey(
    name: str,
    kind: str,
    members: Sequence[str],
    outcomes: Iterator[Outcome[T]],
    num_outcomes: int,
    options: SurveyOptions,
    report: Report,
    listed: Sequence[Reject] = (),
) -> Survey[T]:
    """Take note of what reading each member gives, until there are as many examples as wanted.

    Args:
        name: The archive.
        kind: What a member is, in the plural, for messages.
        members: Those that are taken.
        outcomes: In any order; members without one pass unread.
        num_outcomes: How many there are.
        options: How many examples to take, and how many members may fail.
        report: Told every half second how far the survey is.
        listed: Members of the same kind that the archive's listing has refused.

    Raises:
        TooManyRejectsError: As soon as more members have failed than the options allow.
    """
    found: dict[int, T] = {}
    failed, rejects, examples = set[int](), list(listed), 0
    weighed, total, reported = len(listed) + len(members), len(listed) + num_outcomes, time.monotonic()
    check_rejects(name, kind, rejects, weighed, options.max_rejects)
    for done, outcome in enumerate(outcomes, len(listed) + 1):
        if outcome.problem is not None:
            failed.add(outcome.position)
            rejects.append(Reject(member=members[outcome.position], reason=outcome.problem))
            check_rejects(name, kind, rejects, weighed, options.max_rejects)
        elif outcome.found is not None:
            found[outcome.position] = outcome.found
        examples += outcome.examples
        if options.limit is not None and examples >= options.limit:
            total = done
            break
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
            report(Surveyed(done=done, total=total, rejects=len(rejects)))
            reported = time.monotonic()
    report(Surveyed(done=total, total=total, rejects=len(rejects)))
    kept = np.array([k for k in range(len(members)) if k not in failed], np.int64)
    return Survey(kept=kept, found=found, rejects=rejects)


def published_split(name: str, kind: str, published: np.ndarray, kept: Int64[np.ndarray, " kept"]) -> np.ndarray:
    """The published split of what was kept.

    Args:
        name: The archive's.
        kind: What its members are, in the singular.
        published: The split of each member.
        kept: Those that were kept.

    Raises:
        ArchiveError: If a limit ends before the first member of the published split "train".
    """
    split = published[kept]
    if len(split) and "train" not in split and "train" in published:
        first = int(np.flatnonzero(published == "train")[0])
        raise ArchiveError(
            f"{name}: none of the {len(split)} {kind}s taken is in the published split 'train', which starts at "
            f"{kind} {first + 1}; raise the limit above that"
        )
    return split


def provenance_of(
    archive: Archive | StreamedTar,
    options: SurveyOptions,
    read_as: Mapping[str, Any],
    decided: Mapping[str, Any],
    rejects: Sequence[Reject],
) -> dict[str, Any]:
    """What provenance keeps of an archive that has been read, after a check that it is still what was read.

    In a dry run nothing is checked, and `sha256` is None.

    Args:
        archive: It.
        options: Those of the survey.
        read_as: The options from which the same examples come again, and what they mean.
        decided: Who gives splits and labels, and what else was found out.
        rejects: All of them.

    Raises:
        ArchiveError: If the archive was changed meanwhile.
    """
    is_whole = options.check_first is None
    digest = archive.sha256() if is_whole else None
    if is_whole:
        archive.check_unchanged()
    return {
        "archive": archive.name,
        "sha256": digest,
        **(archive.described(read=is_whole) if isinstance(archive, OfFiles) else {}),
        **read_as,
        "limit": options.limit,
        **decided,
        "rejects": len(rejects),
    }


_MOST_NOTES = 20
"""Of those that provenance keeps: an archive may have one for each of a million members."""


def noted(
    name: str, notes: Mapping[str, Sequence[str]], remarks: Mapping[str, Sequence[str]], report: Report
) -> dict[str, Any]:
    """Tell what is odd about some members, and give what provenance keeps of it.

    Args:
        name: The archive.
        notes: What was made of members, in words, where that decides their values.
        remarks: What else is odd about members; it is told, but not kept.
        report: Told of the first one of either, and of how many members there is more to say.

    Returns:
        Under `notes` texts "member: note", the first ones, and under `num_notes` how many there are; nothing if there
        are none.
    """
    for texts in (notes, remarks):
        if found := _texts(texts):
            others = sum(1 for of_member in texts.values() if of_member) - 1
            more = f"; there is the like to say of {others} more" if others else ""
            report(Note(message=f"{name}/{found[0]}{more}"))
    found = _texts(notes)
    return {"notes": found[:_MOST_NOTES], "num_notes": len(found)} if found else {}


def _texts(texts: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{member}: {text}" for member, of_member in texts.items() for text in of_member]
