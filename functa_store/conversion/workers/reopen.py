"""Archives opened by a worker as they were by the converting process, without another survey where that is possible."""

import contextlib
import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.conversion.agreement import files_differ
from functa_store.conversion.workers.job import Job, bytes_of, checksum
from functa_store.errors import FunctaStoreError, StoreMismatchError
from functa_store.plugins import Converter, converter_named
from functa_store.progress import Note, Report, silent
from functa_store.sources.options import ArchiveOptions, SurveyOptions
from functa_store.sources.recipe import AnyArchive, in_words
from functa_store.sources.source import Label, Reject, Source, check_unchanged
from functa_store.store.format.spec import StoreSpec


class Reopened(Source):
    """The examples of a store, read from its archive.

    Args:
        source: The archive, opened; may have more examples.
        spec: What the store says about itself.
        ids: Name of each of its examples.

    Raises:
        KeyError: If an example is not in the archive.
    """

    def __init__(self, source: Source, spec: StoreSpec, ids: Sequence[str]) -> None:
        self._source = source
        self.domain, self.features = spec.domain, spec.features
        self.ids, self.provenance = ids, spec.provenance
        self.split, self.labels, self.rejects = np.zeros(0), dict[str, Label](), list[Reject]()  # the store has them
        if len(source.ids) == len(ids) and all(map(operator.eq, source.ids, ids)):
            self._places: Sequence[int] = range(len(ids))
        else:
            places = {name: place for place, name in enumerate(source.ids)}
            self._places = [places[name] for name in ids]

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example."""
        return self._source.read(self._places[index])

    def check_unchanged(self) -> None:
        """Compare the archive with what it was."""
        check_unchanged(self._source)


def reopen(
    job: Job,
    spec: StoreSpec,
    ids: Sequence[str],
    *,
    archive: AnyArchive | None = None,
    options: Mapping[str, Any] | None = None,
    report: Report = silent,
) -> Source:
    """The source of an unfinished store.

    Members pass unread where the archive is opened, as they do in a dry run, and those of the store's ids are taken.
    Where that does not give the examples that the converting process read, the archive is surveyed as it was there.

    Args:
        job: What the converting process said.
        spec: What the store says about itself.
        ids: Name of each of its examples.
        archive: Where the archive, or each of its files, is on this machine; None means where the converting process
            found it.
        options: Options of the converter that are others here, such as files that they name.
        report: Told of a survey.

    Raises:
        ConfigError: If an option is none, or has a wrong value.
        StoreMismatchError: If the converter is not installed, or the archive is another one.
        ArchiveError: If the archive cannot be read.
    """
    recipe = job.recipe
    given = archive if archive is not None else recipe.archive
    path = in_words(given)
    if (converter := converter_named(recipe.converter)) is None:
        raise StoreMismatchError(f"{path}: the converter {recipe.converter!r} is not installed here; install it")
    chosen = recipe.options_of(converter.options, options or {})
    count = 1 if isinstance(given, str | os.PathLike) else len(given)  # of other files their names are told below
    same = count == len(recipe.paths)
    if same and job.archive_bytes is not None and (found := bytes_of(given)) not in (None, job.archive_bytes):
        raise StoreMismatchError(
            f"{path}: has {found:,} bytes, expected the {job.archive_bytes:,} of the archive that is converted; give a "
            "copy of it (--archive)"
        )
    if (source := _unsurveyed(converter, given, chosen, job, spec, ids)) is not None:
        return source
    report(Note(message=f"{os.path.basename(path)}: this kind of archive is surveyed again"))
    survey = SurveyOptions(limit=recipe.limit, max_rejects=1.0)
    opened = converter.open(given, chosen, survey, report)
    _check_files(path, opened, spec)
    try:
        source = Reopened(opened, spec, ids)
    except KeyError as error:
        raise StoreMismatchError(f"{path}: has no example {error}; give the archive that is converted") from error
    if wrong := _different(source, job):
        raise StoreMismatchError(
            f"{path}: example {ids[wrong[0]]!r} has other values than the converting process read; give the archive "
            "that is converted, and install the same libraries that read it"
        )
    return source


def _unsurveyed(
    converter: Converter, archive: AnyArchive, options: ArchiveOptions, job: Job, spec: StoreSpec, ids: Sequence[str]
) -> Source | None:
    """The source without a survey; None if that is not the one that was converted."""
    opened = None
    with contextlib.suppress(FunctaStoreError):
        opened = converter.open(archive, options.reopening(), SurveyOptions(max_rejects=1.0, check_first=0), silent)
    if opened is None:
        return None
    _check_files(in_words(archive), opened, spec)
    with contextlib.suppress(FunctaStoreError, KeyError):
        source = Reopened(opened, spec, ids)
        if not _different(source, job):  # scaling, which a survey decides, is the store's
            return source
    return None


def _different(source: Source, job: Job) -> list[int]:
    """The sampled examples whose values are others."""
    return [int(example) for example, sha in job.samples.items() if checksum(source, int(example)) != sha]


def _check_files(archive: str, source: Source, spec: StoreSpec) -> None:
    """Refuse an archive of other files than the store's, by their names.

    Raises:
        StoreMismatchError: If it is.
    """
    if wrong := files_differ(spec.provenance, source.provenance):
        raise StoreMismatchError(f"{archive}: {wrong}; give the files that are converted")
