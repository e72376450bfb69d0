"""Which members of an archive can be read, and what was learned of each on the way?"""

import collections
import dataclasses
import os
import posixpath
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from converters.survey import SurveyOptions
from functa_store.errors import ArchiveError, MemberError, TooManyRejectsError
from functa_store.progress import Report, Surveyed
from functa_store.sources import Reject

T = TypeVar("T")

_BLOCK = 16
_SECONDS_BETWEEN_REPORTS = 0.5
_NUM_NAMED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey(Generic[T]):
    """How the members of an archive are read once.

    Attributes:
        name: The archive's.
        kind: What a member is, in the plural, for messages.
        inspect: What is kept of a member once it has been read; MemberError makes it a reject.
        glance: The same at less cost, for the members that a dry run does not read.
        count: Examples that a member gives.
    """

    name: str
    kind: str
    inspect: Callable[[str], T]
    glance: Callable[[str], T]
    count: Callable[[T], int]

    def run(
        self, members: Sequence[str], listed: Sequence[Reject], options: SurveyOptions, report: Report
    ) -> tuple[dict[str, T], list[Reject]]:
        """Read the members in order, in a few threads, until there are as many examples as wanted.

        Args:
            members: What to read, sorted.
            listed: Members of the same kind that the archive's listing has refused.
            options: How many examples to take, how many members to read and how many may fail.
            report: Told every half second how far the survey is.

        Returns:
            What `inspect` made of each member that can be read, in order; and why the others cannot.

        Raises:
            TooManyRejectsError: As soon as more members have failed than the options allow.
        """
        found: dict[str, T] = {}
        rejects, total = list(listed), len(members) + len(listed)
        examples, reported = 0, time.monotonic()
        for done, (member, result) in enumerate(self._read(members, options.check_first), len(listed) + 1):
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                found[member] = result
                examples += self.count(result)
            self._check(rejects, total, options.max_rejects)
            if options.limit is not None and examples >= options.limit:
                total = done
            if total == done or time.monotonic() - reported > _SECONDS_BETWEEN_REPORTS:
                report(Surveyed(done=done, total=total, rejects=len(rejects)))
                reported = time.monotonic()
            if total == done:
                break
        return found, rejects

    def _read(self, members: Sequence[str], check_first: int | None) -> Iterator[tuple[str, T | Reject]]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            # In blocks, since a map over everything would queue 200,000 tasks at once.
            for start in range(0, len(members), _BLOCK):
                block = members[start : start + _BLOCK]
                few = [check_first is None or k < check_first for k in range(start, start + len(block))]
                yield from zip(block, pool.map(self._result, block, few), strict=True)

    def _result(self, member: str, whole: bool) -> T | Reject:
        try:
            return self.inspect(member) if whole else self.glance(member)
        except MemberError as error:
            return Reject(member=member, reason=str(error))

    def _check(self, rejects: Sequence[Reject], total: int, max_rejects: float) -> None:
        if len(rejects) > max_rejects * total:
            first = "; ".join(f"{r.member} {r.reason}" for r in rejects[:_NUM_NAMED])
            more = f"; and {len(rejects) - _NUM_NAMED} more" if len(rejects) > _NUM_NAMED else ""
            raise TooManyRejectsError(
                f"{self.name}: {len(rejects)} of {total} {self.kind} cannot be used so far, more than the "
                f"{max_rejects:.1%} that max_rejects allows: {first}{more}. Repair the archive or raise max_rejects."
            )


def has_suffix(member: str, suffixes: Collection[str]) -> bool:
    """Whether a member's name ends in one of some suffixes, in whatever case."""
    return posixpath.splitext(member)[1].lower() in suffixes


def nothing_to_convert(name: str, members: Sequence[str], kind: str, expected: str) -> ArchiveError:
    """The error for an archive without a single member of the kind wanted; says what it holds instead."""
    kinds = collections.Counter(posixpath.splitext(member)[1].lower() or "no suffix" for member in members)
    found = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common(5)) or "none that can be used"
    return ArchiveError(f"{name}: no {kind}; found {found}, expected {expected}")
