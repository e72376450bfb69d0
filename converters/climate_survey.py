"""Which fields of an archive can be used, and what is learned of their values on the way?"""

import itertools
import time
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64

from converters.climate_scaling import Moments
from converters.climate_slabs import Slabs
from converters.survey import SurveyOptions
from functa_store.errors import ArchiveError, MemberError
from functa_store.progress import Report, Surveyed
from functa_store.sources import Reject, check_rejects

SECONDS_BETWEEN_REPORTS = 0.5
NUM_NAMED = 5


class FieldSurvey:
    """What one pass over some examples finds.

    Args:
        archive: Name of the archive, for errors.
        slabs: Its fields.
        names: Of the examples to take, the first ones.
        shape: Of a field: (lat, lon, channel).

    Attributes:
        moments: Of each channel of each example that can be used.
        present: Points at which some channel of some example has a value.
        any_missing: Whether a value is missing anywhere.
        kept: Examples that can be used.
        rejects: The others, and why.
    """

    def __init__(self, archive: str, slabs: Slabs, names: Sequence[str], shape: tuple[int, ...]) -> None:
        self.moments = Moments.empty(len(names), shape[-1])
        self.present: Bool[np.ndarray, "lat lon"] = np.zeros(shape[:2], bool)
        self.any_missing = False
        self.kept: Int64[np.ndarray, " kept"] = np.arange(len(names))
        self.rejects: list[Reject] = []
        self._archive, self._slabs, self._names = archive, slabs, names

    def read_all(self, survey: SurveyOptions, report: Report) -> None:
        """Read every example, or the first few.

        Args:
            survey: How many to read and how many may be unusable.
            report: Told every half second how far the survey is.

        Raises:
            TooManyRejectsError: As soon as more are unusable than `survey` allows.
            ArchiveError: If none can be used.
        """
        order = list(itertools.islice(self._slabs.in_order(len(self._names)), survey.check_first))
        problems: dict[int, str] = {}
        reported = time.monotonic()
        for done, example in enumerate(order, 1):
            if (problem := self._see(example)) is not None:
                problems[example] = problem
                check_rejects(self._archive, "fields", self._rejects(problems), len(self._names), survey.max_rejects)
            if done == len(order) or time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                report(Surveyed(done=done, total=len(order), rejects=len(problems)))
                reported = time.monotonic()
        self.kept = np.array([k for k in range(len(self._names)) if k not in problems], np.int64)
        self.rejects = self._rejects(dict(sorted(problems.items())))
        if not len(self.kept):
            raise ArchiveError(f"{self._archive}: none of {len(self._names)} fields can be used: {self._few(problems)}")

    def _see(self, example: int) -> str | None:
        """Enter an example, or say why it cannot be used."""
        try:
            values: Float32[np.ndarray, "lat lon channel"] = self._slabs.read(example)
        except MemberError as error:
            return str(error)
        present = ~np.isnan(values)
        if np.isinf(values).any():
            return "holds infinite values"
        if not present.any():
            return "has no value at all"
        self.any_missing |= not present.all()
        self.present |= present.any(axis=-1)
        self.moments.see(example, values, present)
        return None

    def _rejects(self, problems: Mapping[int, str]) -> list[Reject]:
        return [Reject(member=self._names[k], reason=reason) for k, reason in problems.items()]

    def _few(self, problems: Mapping[int, str]) -> str:
        return "; ".join(f"{self._names[k]} {reason}" for k, reason in itertools.islice(problems.items(), NUM_NAMED))
