"""Converter of data sets of the Hugging Face hub: Parquet files with a column of images, sounds or arrays.

Expected result: one example per row (of sounds, per window), named "train/FILE/ROW", with the published splits, and
labels from the other columns under their published names. Where nothing publishes splits, every tenth row is held out.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.arrays.arrays import ARRAYS_PRESETS
from converters.folders import FileGroups, group_by_files
from converters.images.image_files import ImageOptions
from converters.images.images import IMAGES_PRESETS, Catalogue, ImageSource, Unsplit
from converters.signals.audio import AUDIO_PRESETS, AudioSource
from converters.signals.audio_files import Mix, SoundOptions
from converters.tables.columns import DataColumn, find_column, read_ids, read_labels, split_column
from converters.tables.hub_layout import Placed, TableFiles, open_tables
from converters.tables.table_values import TableArchive, TableArray, example_ids
from functa_store.errors import ArchiveError, ConfigError
from functa_store.plugins import Converter
from functa_store.progress import Note, Report, silent
from functa_store.sources import augmented_source
from functa_store.sources.array_source import ArraySource
from functa_store.sources.options import SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import Label, Source
from functa_store.sources.splits import check_holdout, hold_out_rule, hold_out_share, split_of_word

_SOUND = ("seconds", "samples", "sample_rate", "channels", "pad", "silence")
_ARRAYS = ("channels_axis", "axes", "units", "value_range", "missing")
_IMAGES = ("resolution", "crop", "mode", "background", "max_pixels", *augmented_source.OPTIONS)
_DECIDING = ("ClassLabel", "Image", "Audio", "Array2D", "Array3D", "Array4D", "Array5D")
_SLOW_PAGE = 1 << 24
_AXES = {"last": -1, "first": 1, "none": None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions(ImageOptions):
    """Which column of which configuration holds the examples, and what becomes of images, sounds or arrays in it.

    Attributes:
        column: The column with the data; None takes the only one of images or sounds, or else the only one of arrays.
        config_name: Which configuration of a data set that has several.
        ids: Column of unique ids, such as "image.path"; None takes split, file and number of the row.
        split_column: Column that says the split of each row; None takes one that is called so, if its words are those
            of splits and the files are of one split.
        unsplit: What becomes of files of splits called otherwise than train, validation and test: left out, or learned
            from; None refuses them.
        holdout: Share of the rows that is held out, evenly, where nothing or only train is published; None means a
            tenth, and nothing if train is published.
        seconds: Of sounds: length of a window, if it is not given in samples.
        samples: Of sounds: length of a window at the sample rate of the examples.
        sample_rate: Of sounds: to which others are resampled, in Hz; None takes that of the first one.
        channels: Of sounds: "mono" takes the mean, "stereo" makes two of one, "keep" takes the first one's number.
        pad: Of sounds: fill the last window up with zeros; it is dropped otherwise.
        silence: Of sounds: peak in decibels of full scale below which a window is silent, and a reject.
        channels_axis: Of arrays: which axis of a row is the channels': "last", "first" or "none"; must be said if rows
            have several axes.
        axes: Of arrays: names of the other axes, such as "t,y,x".
        units: Of arrays: unit of each channel.
        value_range: Of arrays: "LOW,HIGH", the values that become 0 and 1; None takes those that are found.
        missing: Of arrays: NaN means a missing value; else an example with one is a reject.
    """

    column: str | None = None
    config_name: str | None = None
    ids: str | None = option(None, metavar="COLUMN")
    split_column: str | None = option(None, metavar="COLUMN")
    unsplit: Unsplit | None = None
    holdout: float | None = None
    seconds: float | int | None = None
    samples: int | None = None
    sample_rate: int | None = None
    channels: Mix = "mono"
    pad: bool = False
    silence: float | int = -60.0
    channels_axis: str | None = None
    axes: str | None = option(None, metavar="NAMES")
    units: str | None = option(None, metavar="UNITS")
    value_range: str | None = option(None, metavar="LOW,HIGH")
    missing: bool = False

    exclusive = (("seconds", "samples"),)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_holdout(self.holdout)
        if self.channels_axis is not None and self.channels_axis not in _AXES:
            raise ConfigError(f"channels_axis must be last, first or none, got {self.channels_axis!r}")
        self.range_of_values()

    def range_of_values(self) -> tuple[float, float] | None:
        """What `value_range` means.

        Raises:
            ConfigError: If it means nothing.
        """
        if self.value_range is None:
            return None
        try:
            low, high = (float(part) for part in self.value_range.split(","))
        except ValueError:
            raise ConfigError(f"value_range must be LOW,HIGH, got {self.value_range!r}") from None
        return low, high

    def check_kind(self, column: DataColumn) -> None:
        """Refuse options that say nothing of what a column holds.

        Raises:
            ConfigError: If one is given.
        """
        others = {"image": _SOUND + _ARRAYS, "audio": _IMAGES + _ARRAYS, "array": _IMAGES + _SOUND}[column.kind]
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        if given := [name for name in others if getattr(self, name) != usual[name]]:
            raise ConfigError(
                f"{given[0]}={getattr(self, given[0])!r} is not for column {column.name!r}, which holds "
                f"{column.kind}s; leave it out, or take another preset or column"
            )


class _Told(NamedTuple):
    """What a table says of its rows.

    Attributes:
        ids: Of every row.
        labels: By name.
        published: Split of every row; None if nothing says it.
        by: Who says so, or the rule that holds out rows, in words.
        facts: For the provenance, `labels_by` among them.
    """

    ids: list[str]
    labels: Mapping[str, Label]
    published: np.ndarray | None
    by: str
    facts: Mapping[str, Any]


class TableSoundSource(AudioSource):
    """The windows of sounds in a table; see `AudioSource`.

    Args:
        archive: The table.
        told: What it says of its rows.
        options: What was asked for.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.
    """

    def __init__(
        self, archive: TableArchive, told: _Told, options: TableOptions, limits: SurveyOptions, report: Report
    ) -> None:
        self._table, self._told, self._holdout = archive, told, options.holdout
        super().__init__(archive, SoundOptions(**{name: getattr(options, name) for name in _SOUND}), limits, report)
        by = self.provenance["labels_by"]
        self.provenance = {**self.provenance, **options.to_plain(), **told.facts, "labels_by": by}

    def _groups(self, places: Sequence[str]) -> FileGroups:
        rows = self._rows_of(places)
        taken = {
            name: dataclasses.replace(label, values=label.values[rows]) for name, label in self._told.labels.items()
        }
        by_row = group_by_files([str(row) for row in rows], "row", "window")
        labels = {"file": by_row.labels["row"], **taken}
        labels_by = {"file": "rows", **self._told.facts["labels_by"]}
        if self._told.published is not None:
            return FileGroups(self._told.published[rows], self._told.by, labels, labels_by)
        if self._holdout is not None:
            held_out = hold_out_share(len(self._table.members), self._holdout)[rows]
            return FileGroups(held_out, self._told.by, labels, labels_by)
        return FileGroups(by_row.split, by_row.rule, labels, labels_by)

    def _rows_of(self, places: Sequence[str]) -> np.ndarray:
        return np.array([self._table.row(place) for place in places], np.int64)


class TableArraySource(ArraySource):
    """Rows of a column of lists; see `ArraySource`.

    Args:
        files: The table.
        values: Its column.
        **given: As for `ArraySource`.
    """

    def __init__(self, files: TableFiles, values: TableArray, **given: Any) -> None:
        self._files = files
        super().__init__(values, **given)

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._files.check_unchanged()


def open_huggingface(archive: AnyArchive, *, report: Report = silent, **options: Any) -> Source:
    """A source over a data set in Parquet files, as the Hugging Face hub has them.

    Args:
        archive: A folder, a .parquet file, the URL of one, "hf://datasets/NAME", or the NAME of a data set on the hub;
            or a pattern or list of .parquet files.
        report: Told how far the survey is, and what is left out.
        **options: Fields of `TableOptions` and `SurveyOptions`, such as `column="image"` and `limit=100`.

    Returns:
        The source, every row read once.

    Raises:
        ConfigError: If an option is out of range, or not for what the column holds.
        ArchiveError: If the data set cannot be converted.
        MissingLibraryError: If pyarrow is not installed.
    """
    return converter.open(archive, *split_options(TableOptions, options), report)


@names_the_right_converter("huggingface")
def _open(given: ArchiveFiles, options: TableOptions, survey: SurveyOptions, report: Report) -> Source:
    files = open_tables(given, options.config_name, report)
    files, published = _splits_of_files(files, options, report)
    if not sum(file.table.num_rows for file in files.files):
        raise ArchiveError(f"{files.name}: no examples; its files have no rows")
    features = _features(files)
    tables = [file.table for file in files.files]
    column, others = find_column(files.name, tables, features, options.column)
    options.check_kind(column)
    told = _told(files, column, features, published, options, report)
    if others:
        report(Note(message=f"{files.name}: examples are column {column.name!r}; not {', '.join(map(repr, others))}"))
    if column.kind == "array":
        return _arrays(files, column, features, told, options, survey, report)
    table = TableArchive(files, column, told.ids, by_place=options.ids is None)
    if table.slow_reads() > _SLOW_PAGE:
        report(
            Note(
                message=f"{files.name}: a row of column {column.name!r} is packed together with others, "
                f"{table.slow_reads():,} bytes of them, all of which learning unpacks to read it; it is faster on "
                "files that are written with compression='none' and use_dictionary=False, or 100 rows in a row group"
            )
        )
    if column.kind == "audio" and options.seconds is None and options.samples is None:
        raise ConfigError(
            f"{files.name}: column {column.name!r} holds sounds; take --preset audio-fast, or give the length of a "
            "window by --seconds or --samples"
        )
    if column.kind == "audio":
        return TableSoundSource(table, told, options, survey, report)
    catalogue = Catalogue(
        images=table.members,
        labels=told.labels,
        published=told.published,
        published_by=told.by,
        labels_by=told.facts["labels_by"],
        rule=functools.partial(hold_out_share, share=options.holdout),
        rule_name=told.by,
        facts=told.facts,
    )
    return options.augmented(ImageSource(table, catalogue, options, survey, report), report)


def _features(files: TableFiles) -> Mapping[str, Any]:
    """What the data set says of its columns: its files' metadata, or else the texts beside them.

    Raises:
        ArchiveError: If two files say different things of one column.
    """
    found: dict[str, tuple[str, Any]] = {}
    for file in files.files:
        for name, said in file.table.features.items():
            place, before = found.setdefault(name, (file.table.place, said))
            if _meaning(before) != _meaning(said):
                raise ArchiveError(
                    f"{files.name}: column {name!r} is {said!r:.200} in {file.table.place}, but {before!r:.200} in "
                    f"{place}; files of several data sets are in one folder, or --config-name is to name one"
                )
    return {**files.features, **{name: said for name, (_, said) in found.items()}}


def _meaning(said: Any) -> Any:
    """What decides values of what is said of a column; versions of `datasets` differ in the rest."""
    kind = said.get("_type") if isinstance(said, dict) else None
    return [kind, said.get("names"), said.get("shape")] if kind in _DECIDING else None


def _splits_of_files(files: TableFiles, options: TableOptions, report: Report) -> tuple[TableFiles, np.ndarray | None]:
    """The files that are taken, and the split of each row as files are of it; None if they say none."""
    words = list(dict.fromkeys(file.split for file in files.files))
    if all(word is None or split_of_word(word) is None for word in words) and len(words) == 1:
        if words[0] is not None:
            message = f"{files.name}: the only split is called {words[0]!r}, neither train, validation nor test"
            report(Note(message=message))
        return files, None
    unknown = {w: _count(files.files, w) for w in words if w is None or split_of_word(w) is None}
    if unknown and options.unsplit is None:
        nameless = next((file.table.place for file in files.files if file.split is None), "")
        counts = ", ".join(f"{w or f'files without a split such as {nameless}'} ({n:,})" for w, n in unknown.items())
        raise ArchiveError(
            f"{files.name}: has rows of other splits than train, validation and test: {counts}. Say what becomes of "
            "these by --unsplit leave-out or --unsplit train"
        )
    taken = files.files
    if unknown and options.unsplit == "leave-out":
        taken = [file for file in taken if file.split not in unknown]
        counts = ", ".join(f"{count:,} rows of {word or 'no split'}" for word, count in unknown.items())
        report(Note(message=f"{files.name}: left out are {counts}"))
        files = dataclasses.replace(files, files=taken)
    split = [split_of_word(file.split or "") or "train" for file in taken]
    rows = [file.table.num_rows for file in taken]
    if not taken:
        raise ArchiveError(f"{files.name}: all rows are of other splits than train, validation and test")
    return files, np.repeat(np.array(split, "U10"), rows)


def _count(files: Any, word: str | None) -> int:
    placed: list[Placed] = list(files)
    return sum(file.table.num_rows for file in placed if file.split == word)


def _told(
    files: TableFiles,
    column: DataColumn,
    features: Mapping[str, Any],
    published: np.ndarray | None,
    options: TableOptions,
    report: Report,
) -> _Told:
    """Ids, splits and labels of all rows."""
    tables = [file.table for file in files.files]
    names = [name for name in tables[0].schema.names if name not in (column.name, options.ids)]
    labels, left_out = read_labels(tables, names, features)
    for name, reason in left_out.items():
        report(Note(message=f"{files.name}: column {name!r} is left out, since it {reason}"))
    by = files.published_by
    only_train = published is None or set(np.unique(published)) == {"train"}
    if options.split_column is not None or only_train:
        found = split_column(labels, options.split_column)
        if found is not None:
            if not only_train:
                raise ArchiveError(f"{files.name}: splits are {by}; leave out split_column={options.split_column!r}")
            published, by = found[1], f"published in column {found[0]}"
            labels = {name: label for name, label in labels.items() if name != found[0]}
            only_train = False
    if options.holdout is not None and published is not None:
        if not only_train:
            raise ArchiveError(f"{files.name}: splits are {by}; leave out holdout={options.holdout}")
        published = None
    if published is None:
        by = hold_out_rule(share=options.holdout)
    if options.ids is not None:
        ids = read_ids(tables, options.ids)
    else:
        ids = example_ids(tables, _suffix(column) if column.kind == "audio" else "")
    facts = {
        "converter": "huggingface",
        **files.facts,
        "data_column": column.name,
        "labels_by": {name: f"column {name}" for name in labels},
        "columns_left_out": dict(left_out),
    }
    return _Told(ids, labels, published, by, facts)


def _suffix(column: DataColumn) -> str:
    """What sounds are called by their first bytes; others cannot be read, but become rejects."""
    known = {b"fLaC": ".flac", b"OggS": ".ogg", b"FORM": ".aiff", b"RIFF": ".wav", b"RF64": ".wav"}
    return known.get(column.first[:4], ".mp3")


def _arrays(
    files: TableFiles,
    column: DataColumn,
    features: Mapping[str, Any],
    told: _Told,
    options: TableOptions,
    survey: SurveyOptions,
    report: Report,
) -> ArraySource:
    said = features.get(column.name)
    shape = said.get("shape") if isinstance(said, dict) else None
    is_shape = isinstance(shape, list) and all(isinstance(n, int) and n > 0 for n in shape)
    values = TableArray(files, column.name, tuple(shape) if is_shape and shape else None)
    if options.channels_axis is None and len(values.shape) > 2:
        raise ConfigError(
            f"{files.name}: rows of column {column.name!r} have the shape {values.shape[1:]}; say which axis is the "
            "channels' by --channels-axis last, first or none"
        )
    split = told.published
    if split is None and options.holdout is not None:
        split = hold_out_share(len(told.ids), options.holdout)
    source = TableArraySource(
        files,
        values,
        channels_axis=_AXES[options.channels_axis or "none"],
        axes=() if options.axes is None else tuple(part.strip() for part in options.axes.split(",")),
        units=() if options.units is None else tuple(part.strip() for part in options.units.split(",")),
        value_range=options.range_of_values(),
        missing=options.missing,
        ids=told.ids,
        split=hold_out_share(len(told.ids), options.holdout)
        if told.published is None and options.holdout
        else told.published,
        labels=told.labels,
        name=files.name,
        limit=survey.limit,
        max_rejects=survey.max_rejects,
        check_first=survey.check_first,
        report=report,
    )
    source.provenance = {
        **source.provenance,
        **options.to_plain(),
        "sha256": files.sha256() if survey.check_first is None else None,
        **files.described(read=survey.check_first is None),
        "split": told.by,
        **told.facts,
    }
    if survey.check_first is None:
        files.check_unchanged()
    return source


HUGGINGFACE_PRESETS = {**IMAGES_PRESETS, **AUDIO_PRESETS, **ARRAYS_PRESETS}

converter = Converter(
    summary="a data set of the Hugging Face hub, or other Parquet files with a column of images, sounds or arrays",
    options=TableOptions,
    presets=HUGGINGFACE_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=(".parquet",), folders="whole", remote=True),
)
