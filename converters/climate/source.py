"""Fields on the globe as a source, and the options that say which and how."""

import dataclasses
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64

from converters.arrays.bounds import check_example, check_number
from converters.climate.fields import Fields, find_fields, labels_of, words
from converters.climate.files import ClimateFiles
from converters.climate.grid import LATITUDE, LONGITUDE, read_grid
from converters.climate.scaling import Moments, check_rounding, features_of
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ArchiveError, MemberError
from functa_store.progress import Note, Report, Surveyed
from functa_store.sources.cf_values import CfChoices, check_decoders, masking_notes
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import ArchiveOptions, SurveyOptions, option
from functa_store.sources.source import Label, Reject, Source, check_rejects, check_source, name_problem
from functa_store.sources.splits import hold_out_every, hold_out_last
from functa_store.support.memory import LRUCache

Missing = Literal["nan", "fill"]
"""`nan`: points that are missing in every example decode to not a number. `fill`: the function is decoded there."""

Scaling = Literal["minmax", "standard"]
"""Whether the extremes, or the mean and the deviation, of a variable become fixed features."""

Split = Literal["last", "every"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClimateOptions(ArchiveOptions):
    """What to take of an archive of fields, and how.

    Attributes:
        variable: Variables, which become channels; none takes the only one that there is.
        example_dims: Dimensions that make examples; none takes all but latitude and longitude.
        select: Values to take along dimensions, in words.
        latitude: Name of the coordinate of latitudes in degrees; None finds it by units, names and values.
        longitude: Name of the coordinate of longitudes in degrees; None finds it by units, names and values.
        missing_value: More stored numbers that mean missing, beside those that attributes declare.
        ignore: Attributes that are not believed: scale_factor, add_offset, _Unsigned, _FillValue, missing_value,
            valid_range (with valid_min and valid_max), default_fill (NetCDF's own fill values), or all.
        scaling: How values become features; see `converters.climate.scaling`.
        missing: What becomes of points that are missing in every example.
        area_weighting: Whether points count by the area of their cell.
        split: Whether the last tenth or every tenth is held out, of the times where there are some.

    Raises:
        ConfigError: If a choice is none of those.
    """

    variable: tuple[str, ...] = option((), metavar="NAME,...")
    example_dims: tuple[str, ...] = option((), metavar="DIM,...")
    select: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict, metadata={"metavar": "DIM=VALUE,..."}
    )
    latitude: str | None = option(None, metavar="NAME")
    longitude: str | None = option(None, metavar="NAME")
    missing_value: tuple[str, ...] = option((), metavar="NUMBER,...")
    ignore: tuple[str, ...] = option((), metavar="ATTRIBUTE,...")
    scaling: Scaling = "minmax"
    missing: Missing = "nan"
    area_weighting: bool = False
    split: Split = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cf_choices()

    @property
    def named(self) -> dict[str, str | None]:
        """What the user calls latitude and longitude."""
        return {LATITUDE: self.latitude, LONGITUDE: self.longitude}

    def cf_choices(self) -> CfChoices:
        """What the user says of packing and missing values.

        Raises:
            ConfigError: If there is no such attribute, or something is no number.
        """
        return CfChoices(ignore=self.ignore, missing_value=self.missing_value)


SLAB_BYTES = 2**26
CACHE_BYTES = 2**28


class Slabs:
    """The examples of some fields, read in slabs that follow the chunks of the archive; a few slabs are kept.

    Args:
        fields: What to read.
        num_longitudes: Columns that are taken, from the first.
        num_taken: Examples that are taken, from the first.

    Attributes:
        steps: Examples of a slab along each example dimension.
        low: Of each example that is taken and has been read, the smallest value of each variable of wider numbers,
            before it is rounded to float32; infinite where there is none.
        high: The largest one.
    """

    def __init__(self, fields: Fields, num_longitudes: int, num_taken: int) -> None:
        self._fields, self._num_longitudes = fields, num_longitudes
        points = len(fields.latitudes) * num_longitudes * len(fields.arrays)
        self.steps = _fitting(fields.sizes, _chunks(fields), 4 * points)
        self.low, self.high = (np.full((num_taken, len(fields.arrays)), end) for end in (np.inf, -np.inf))
        self._kept = LRUCache[np.ndarray](CACHE_BYTES, keeps_last=True)
        self._lock = threading.Lock()

    def read(self, example: int) -> Float32[np.ndarray, "lat lon channel"]:
        """The values of an example, in the units of the archive. Safe to call from threads.

        Raises:
            MemberError: If the archive cannot be read there.
        """
        place = np.unravel_index(example, self._fields.sizes) if self._fields.sizes else ()
        key = tuple(int(i) // step for i, step in zip(place, self.steps, strict=True))
        within = tuple(int(i) % step for i, step in zip(place, self.steps, strict=True))
        with self._lock:  # the libraries under it read one thing at a time, too
            slab = self._kept.get_or_make(key, lambda: self._load(key), lambda slab: slab.nbytes)
        return slab[within]

    def in_order(self, num_examples: int) -> Iterator[int]:
        """The first examples, slab by slab."""
        corners = (range(0, size, step) for size, step in zip(self._fields.sizes, self.steps, strict=True))
        for corner in itertools.product(*corners):
            ends = zip(corner, self.steps, self._fields.sizes, strict=True)
            inside = itertools.product(*(range(low, min(low + step, size)) for low, step, size in ends))
            for place in inside:
                example = int(np.ravel_multi_index(place, self._fields.sizes)) if place else 0
                if example < num_examples:
                    yield example

    def _load(self, key: tuple[int, ...]) -> np.ndarray:
        window = {
            dim: slice(i * step, (i + 1) * step)
            for dim, i, step in zip(self._fields.dims, key, self.steps, strict=True)
        }
        try:
            read = [array.isel(window).values for array in self._fields.arrays]
        except Exception as error:  # whatever a damaged chunk makes the library under xarray raise
            raise MemberError(f"cannot be read: {type(error).__name__}: {error}") from error
        for k, values in enumerate(read):
            if values.dtype.itemsize > np.dtype(np.float32).itemsize:  # else it is exact
                self._enter_extremes(key, k, values[..., : self._num_longitudes])
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which the survey rejects
            return np.stack([values[..., : self._num_longitudes].astype(np.float32) for values in read], axis=-1)

    def _enter_extremes(self, key: tuple[int, ...], variable: int, values: np.ndarray) -> None:
        """Enter the extremes of a slab's examples, those apart that share the slab and are not taken."""
        corner = [i * step for i, step in zip(key, self.steps, strict=True)]
        inside = [range(first, first + count) for first, count in zip(corner, values.shape[:-2], strict=True)]
        for place, example in zip(itertools.product(*inside), values.reshape(-1, *values.shape[-2:]), strict=True):
            number = int(np.ravel_multi_index(place, self._fields.sizes)) if place else 0
            finite = example[np.isfinite(example)]
            if number < len(self.low) and finite.size:
                self.low[number, variable], self.high[number, variable] = finite.min(), finite.max()


def _chunks(fields: Fields) -> tuple[int, ...]:
    """Examples of a stored chunk along each example dimension; 1 where there are no chunks."""
    array = fields.arrays[0]
    sizes = array.encoding.get("preferred_chunks") or {}
    if array.chunks is not None:
        sizes = {str(dim): max(along) for dim, along in zip(array.dims, array.chunks, strict=True)}
    return tuple(int(sizes.get(dim, 1)) for dim in fields.dims)


def _fitting(sizes: Sequence[int], chunks: Sequence[int], example_bytes: int) -> tuple[int, ...]:
    """Chunks cut down, along the first dimensions first, until a slab is not too large."""
    steps = [max(1, min(size, chunk)) for size, chunk in zip(sizes, chunks, strict=True)]
    for axis in range(len(steps)):
        others = math.prod(steps[:axis] + steps[axis + 1 :]) * example_bytes
        steps[axis] = max(1, min(steps[axis], SLAB_BYTES // max(others, 1)))
    return tuple(steps)


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


SPLIT_RULES = {"last": "last tenth of the times, or of the examples without times, held out", "every": "every tenth"}


class ClimateSource(Source):
    """Fields over latitude and longitude; see `functa_store.sources.source.Source`.

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

    def __init__(self, files: ClimateFiles, options: ClimateOptions, survey: SurveyOptions, report: Report) -> None:
        self._files = files
        dataset, decoders, notes = files.open(options.cf_choices(), options.variable, options.named)
        fields = find_fields(files.name, dataset, options.variable, options.example_dims, options.select, options.named)
        decoders = [decoder for decoder in decoders if decoder.name in {str(array.name) for array in fields.arrays}]
        check_decoders(files.name, decoders)
        _check_sizes(files, fields)
        grid, more = read_grid(files.name, fields.latitudes, fields.longitudes)
        for note in (*notes, *fields.notes, *more):
            report(Note(message=f"{files.name}: {note}"))
        names = example_ids(fields, min(fields.num_examples, survey.limit or fields.num_examples))
        self._name, self._slabs = files.name, Slabs(fields, len(grid.longitudes), len(names))
        seen = FieldSurvey(files.name, self._slabs, names, (*grid.resolution, len(fields.arrays)))
        try:
            seen.read_all(survey, report)
        finally:  # what was masked explains fields without a value
            masked = masking_notes(decoders)
            for note in masked:
                report(Note(message=f"{files.name}: {note}"))
        self.rejects, self._kept = seen.rejects, seen.kept
        self.ids = [names[int(k)] for k in self._kept]
        self.split = split_of(fields, options.split, self._kept)
        self.labels = _labels(fields, self._kept)
        self.features = self._features(fields, seen, options.scaling)
        self._scale = np.array(self.features.value_scale), np.array(self.features.value_offset)
        whole = survey.check_first is None
        hidden = ~seen.present if seen.any_missing and options.missing == "nan" and whole else None
        self.domain = SphereGrid.around(
            np.array(grid.latitudes), np.array(grid.longitudes), area_weighting=options.area_weighting, missing=hidden
        )
        self.provenance = {
            "archive": files.name,
            "sha256": files.sha256() if whole else None,
            **files.described(read=whole),
            "converter": "climate",
            **dataclasses.replace(options, variable=tuple(self.features.channels)).to_plain(),
            "masked": "; ".join(masked) or None,
            "limit": survey.limit,
            "split_rule": SPLIT_RULES[options.split],
            "labels_by": dict.fromkeys(self.labels, "coordinates"),
            "rejects": len(self.rejects),
        }
        check_source(self)

    def check_unchanged(self) -> None:
        """Compare all files of the archive with what they were; see `FileSource.check_unchanged`."""
        self._files.check_unchanged()

    def _features(self, fields: Fields, seen: FieldSurvey, scaling: str) -> FeatureSpec:
        """What features mean, by the values of the training fields."""
        training = np.zeros(len(seen.moments.count), bool)
        training[self._kept[self.split == "train"]] = True
        channels = tuple(str(array.name) for array in fields.arrays)
        units = tuple(str(array.attrs.get("units", "")).strip() or "1" for array in fields.arrays)
        moments = seen.moments.together(training)
        lows, highs = (ends[self._kept] for ends in (self._slabs.low, self._slabs.high))
        for channel, low, high in zip(channels, lows.min(axis=0).tolist(), highs.max(axis=0).tolist(), strict=True):
            if low <= high:
                check_rounding(self._name, channel, low, high)
        return features_of(self._name, channels, units, moments, scaling, missing=seen.any_missing)

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


def _check_sizes(files: ClimateFiles, fields: Fields) -> None:
    """Refuse fields that memory could not hold, or more of them than the files can.

    Raises:
        ArchiveError: If there are.
    """
    name = f"{files.name}/{fields.arrays[0].name}"
    field = (len(fields.latitudes), len(fields.longitudes), len(fields.arrays))
    check_example(name, field, np.dtype(np.float64).itemsize)
    check_number(name, "fields", fields.num_examples, files.num_bytes)


def example_ids(fields: Fields, count: int) -> list[str]:
    """The ids of the first examples: their coordinates, from the first dimension on, joined by slashes."""
    if not fields.dims:
        return ["+".join(str(array.name) for array in fields.arrays)]
    along = []
    for dim, size in zip(fields.dims, fields.sizes, strict=True):
        own = fields.coordinates.get(dim)
        along.append([str(i) for i in range(size)] if own is None else words(own))
    return ["/".join(parts) for parts in itertools.islice(itertools.product(*along), count)]


def split_of(fields: Fields, rule: str, kept: np.ndarray) -> np.ndarray:
    """The split of the examples that are kept.

    With times, all examples of a time share their split; else each counts by itself. A single one trains.
    """
    hold_out: Callable[[int], np.ndarray] = {"last": hold_out_last, "every": hold_out_every}[rule]
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
            if name_problem(name) is None:
                found.setdefault(name, dataclasses.replace(label, values=label.values[along]))
    return found
