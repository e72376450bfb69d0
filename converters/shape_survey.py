"""Which members of an archive can be read, when any of them may take long?"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int64

from converters.survey import SurveyOptions
from functa_store.errors import MemberError, TooManyRejectsError
from functa_store.progress import Report, Surveyed
from functa_store.sources import Reject

Outcome = tuple[int, str | None]
"""Position of a member, and why it cannot be read."""

_BLOCK = 32
_SECONDS_BETWEEN_REPORTS = 0.5
_NUM_NAMED = 5


def in_threads(check: Callable[[int], object], count: int) -> Iterator[Outcome]:
    """What reading each of the first `count` members in a few threads gives.

    Args:
        check: Reads the member of a position; raises MemberError, whose message is the reason.
        count: How many.
    """

    def reason(k: int) -> str | None:
        try:
            check(k)
        except MemberError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, count, _BLOCK):  # a map over everything would queue 50,000 tasks at once
            block = range(start, min(start + _BLOCK, count))
            yield from zip(block, pool.map(reason, block), strict=True)


def survey(
    name: str,
    members: Sequence[str],
    outcomes: Iterator[Outcome],
    options: SurveyOptions,
    report: Report,
    rejects: Sequence[Reject] = (),
) -> tuple[Int64[np.ndarray, " kept"], list[Reject]]:
    """Take note of what reading each member gives, and stop as soon as too many cannot be read.

    Args:
        name: The archive.
        members: Those that are taken.
        outcomes: In any order; members without one pass unread.
        options: How many to read and how many may fail.
        report: Told every half second how far the survey is.
        rejects: Members that are known to be unreadable.

    Returns:
        Positions of members that are not known to be unreadable, and why the others are.

    Raises:
        TooManyRejectsError: As soon as more have failed than the options allow.
    """
    failed: dict[int, str] = {}
    total, reported, done = len(members[: options.check_first]) + len(rejects), time.monotonic(), len(rejects)
    most = options.max_rejects * (len(members) + len(rejects))
    found = list(rejects)
    for k, reason in outcomes:
        done += 1
        if reason is not None:
            failed[k] = reason
            found.append(Reject(member=members[k], reason=reason))
            _check(name, found, len(members) + len(rejects), most)
        if time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
            report(Surveyed(done=done, total=total, rejects=len(found)))
            reported = time.monotonic()
    _check(name, found, len(members) + len(rejects), most)
    report(Surveyed(done=total, total=total, rejects=len(found)))
    return np.array([k for k in range(len(members)) if k not in failed], np.int64), found


def _check(name: str, rejects: Sequence[Reject], total: int, most: float) -> None:
    if len(rejects) > most:
        first = "; ".join(f"{r.member} {r.reason}" for r in rejects[:_NUM_NAMED])
        more = f"; and {len(rejects) - _NUM_NAMED} more" if len(rejects) > _NUM_NAMED else ""
        raise TooManyRejectsError(
            f"{name}: {len(rejects)} of {total} members cannot be read so far, more than the {most / total:.1%} that "
            f"max_rejects allows: {first}{more}. Repair the archive or raise max_rejects."
        )
