"""How do fields over latitude and longitude become a source, with every one read once beforehand?"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from converters.climate_fields import Fields, find_fields
from converters.climate_files import ClimateFiles
from converters.climate_grid import read_grid
from converters.climate_options import ClimateOptions
from converters.climate_scaling import Moments, features_of
from converters.climate_slabs import Slabs
from converters.climate_times import labels_of, words
from converters.survey import SurveyOptions
from functa_store.domains import Domain
from functa_store.errors import MemberError, TooManyRejectsError
from functa_store.progress import Note, Report, Surveyed
from functa_store.sources import FeatureSpec, Label, Reject, check_source, hold_out_every, hold_out_last
from functa_store.sphere import SphereGrid

SECONDS_BETWEEN_REPORTS = 0.5
PERIOD = 10
SPLIT_RULES = {"last": "last tenth of the times, or of the examples without times, held out", "every": "every tenth"}


class ClimateSource:
    """Fields over latitude and longitude; see `functa_store.sources.Source`.

    Every field is read once here, so that damage shows before hours of learning, and the training fields decide what
    takes values to features. Raw values are features already; what is decoded has the archive's units.

    Args:
        files: The archive.
        options: What to take of it, and how.
        survey: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more fields are unusable than `survey` allows.
        ArchiveError: If the archive has no such fields, or nothing is left to learn from.
        ConfigError: If an option fits nothing in the archive.
    """

    domain: Domain
    features: FeatureSpec
    split: np.ndarray
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(self, files: ClimateFiles, options: ClimateOptions, survey: SurveyOptions, report: Report) -> None:
        fields = find_fields(files.name, files.open(), options.variable, options.example_dims, options.select)
        grid, notes = read_grid(files.name, fields.latitudes, fields.longitudes)
        for note in notes:
            report(Note(message=f"{files.name}: {note}"))
        self._name, self._slabs = files.name, Slabs(fields, grid.resolution[1])
        taken = min(fields.num_examples, survey.limit or fields.num_examples)
        seen = _Survey(self._slabs, names_of(fields)[:taken], (*grid.resolution, len(fields.arrays)))
        self.rejects = seen.read_all(files.name, survey, report)
        self._kept = seen.kept
        self.ids = [seen.names[int(k)] for k in self._kept]
        self.split = split_of(fields, options.split, self._kept)
        self.labels = _labels(fields, self._kept)
        training = np.zeros(taken, bool)
        training[self._kept[self.split == "train"]] = True
        arrays = fields.arrays
        channels = tuple(str(array.name) for array in arrays)
        units = tuple(str(array.attrs.get("units", "")).strip() or "1" for array in arrays)
        self.features = features_of(
            files.name, channels, units, seen.moments.together(training), options.scaling, missing=seen.any_missing
        )
        hidden = ~seen.present if seen.any_missing and options.missing == "nan" and survey.check_first is None else None
        self.domain = SphereGrid.around(
            np.array(grid.latitudes), np.array(grid.longitudes), area_weighting=options.area_weighting, missing=hidden
        )
        self.provenance = {
            "archive": files.name,
            "sha256": files.sha256() if survey.check_first is None else None,
            "converter": "climate",
            **options.to_words(channels),
            "limit": survey.limit,
            "split_rule": SPLIT_RULES[options.split],
            "rejects": len(self.rejects),
        }
        self._scale = np.array(self.features.value_scale), np.array(self.features.value_offset)
        check_source(self)

    def read(self, index: int) -> Float32[np.ndarray, "lat lon channel"]:
        """Features of one example, not a number where a value is missing. Safe to call from threads.

        Raises:
            MemberError: If the archive cannot be read there.
        """
        try:
            values = self._slabs.read(int(self._kept[index]))
        except MemberError as error:
            raise MemberError(f"{self._name}/{self.ids[index]}: {error}") from error
        scale, offset = self._scale
        return ((values - offset) / scale).astype(np.float32)


class _Survey:
    """What one pass over some examples finds."""

    def __init__(self, slabs: Slabs, names: Sequence[str], shape: tuple[int, ...]) -> None:
        self.names = names
        self.moments = Moments.empty(len(names), shape[-1])
        self.present = np.zeros(shape[:2], bool)
        self.any_missing = False
        self.kept = np.arange(len(names))
        self._slabs = slabs

    def read_all(self, archive: str, survey: SurveyOptions, report: Report) -> list[Reject]:
        """Read every example, or the first few, and say which cannot be used."""
        order = list(itertools.islice(self._slabs.in_order(len(self.names)), survey.check_first))
        problems: dict[int, str] = {}
        reported = time.monotonic()
        for done, example in enumerate(order, 1):
            if (problem := self._see(example)) is not None:
                problems[example] = problem
                _check_rejects(archive, self.names, problems, survey.max_rejects)
            if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
                report(Surveyed(done=done, total=len(order), rejects=len(problems)))
                reported = time.monotonic()
        report(Surveyed(done=len(order), total=len(order), rejects=len(problems)))
        self.kept = np.array([k for k in range(len(self.names)) if k not in problems], np.int64)
        return [Reject(member=self.names[k], reason=problems[k]) for k in sorted(problems)]

    def _see(self, example: int) -> str | None:
        """Enter an example, or say why it cannot be used."""
        try:
            values = self._slabs.read(example)
        except MemberError as error:
            return str(error)
        present: Bool[np.ndarray, ...] = ~np.isnan(values)
        if np.isinf(values).any():
            return "holds infinite values"
        if not present.any():
            return "has no value at all"
        self.any_missing |= not present.all()
        self.present |= present.any(axis=-1)
        self.moments.see(example, values, present)
        return None


def _check_rejects(archive: str, names: Sequence[str], problems: Mapping[int, str], most: float) -> None:
    if len(problems) > most * len(names):
        first = "; ".join(f"{names[k]} {reason}" for k, reason in itertools.islice(problems.items(), 5))
        raise TooManyRejectsError(
            f"{archive}: {len(problems)} of {len(names)} fields cannot be used so far, more than the {most:.1%} that "
            f"max_rejects allows: {first}. Repair the archive or raise max_rejects."
        )


def names_of(fields: Fields) -> list[str]:
    """The id of each example: its coordinates, from the first dimension on, joined by slashes."""
    if not fields.dims:
        return ["+".join(str(array.name) for array in fields.arrays)]
    along = []
    for dim, size in zip(fields.dims, fields.sizes, strict=True):
        own = fields.coordinates.get(dim)
        along.append([str(i) for i in range(size)] if own is None else words(own))
    return ["/".join(parts) for parts in itertools.product(*along)]


def split_of(fields: Fields, rule: str, kept: np.ndarray) -> np.ndarray:
    """The split of the examples that are kept.

    With times, all examples of a time share their split; else each counts by itself. A single one trains.
    """
    hold_out: Callable[[int], np.ndarray] = {"last": hold_out_last, "every": lambda n: hold_out_every(n, PERIOD)}[rule]
    number = kept
    if fields.time_dim is not None:
        number = np.unravel_index(kept, fields.sizes)[fields.dims.index(fields.time_dim)]
    values, place = np.unique(number, return_inverse=True)
    return hold_out(len(values))[place] if len(values) > 1 else np.full(len(kept), "train", "U10")


def _labels(fields: Fields, kept: np.ndarray) -> dict[str, Label]:
    found: dict[str, Label] = {}
    if not fields.dims:
        return found
    places = np.unravel_index(kept, fields.sizes)
    for coordinate in fields.coordinates.values():
        along = places[fields.dims.index(str(coordinate.dims[0]))]
        for name, label in labels_of(coordinate).items():
            if not name.startswith((".", "_")) and "/" not in name:
                found.setdefault(name, dataclasses.replace(label, values=label.values[along]))
    return found
