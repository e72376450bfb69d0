"""Archives opened by the converter and the options that a functaset keeps: its own again, or another one like it."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from functa_store.config import MOST_INTEGER
from functa_store.errors import ConfigError, FunctaStoreError, StoreFormatError, StoreMismatchError
from functa_store.plugins import converters
from functa_store.progress import Report, silent
from functa_store.sources.options import ArchiveOptions, SurveyOptions
from functa_store.sources.recipe import AnyArchive, in_words, plain
from functa_store.sources.source import Source
from functa_store.store.format.load_spec import load_spec
from functa_store.store.reading.reader import take_inventory
from functa_store.store.reading.verify import MADE, how_made
from functa_store.store.storage.objects import NO_OPTIONS, Location, Objects, StorageOptions, open_objects
from functa_store.support.shortening import brief

Given = Callable[[type[ArchiveOptions]], Mapping[str, Any]]
"""Values of some options of a converter, whose class of options is known only when a functaset names it."""


def reopen_archive(
    functaset: Location,
    archive: AnyArchive,
    *,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
    **options: Any,
) -> Source:
    """The source of the archive that a functaset was converted from, read as it was then.

    Its examples are those of the functaset, in the same order, if the archive is the same; `functa_store.repair` and
    `functa_store.verify_deep` check that. For the archive of a part name the part, `"faces.functa/parts/0001.functa"`.

    Args:
        functaset: An open one, or where it is; it may be unfinished or damaged.
        archive: The archive's path, or a pattern or list of the files that it is.
        storage: How to reach the functaset.
        report: Told how far the survey is.
        **options: Options of the converter that take the place of those that the functaset keeps, and such as it does
            not keep: paths, such as `labels="celeba/Anno"`.

    Raises:
        ConfigError: If the functaset keeps an option that is none, or one that is given is refused.
        StoreMismatchError: If the functaset has no archive, or its converter is not installed.
        NoFunctasetError: If there is none.
        StorageError: If it cannot be reached or read.
        ArchiveError: If the archive cannot be read.
        TypeError: If the converter has no such option.
    """
    return reopened(archive, provenance_of(functaset, storage), report, lambda _: options)


def provenance_of(functaset: Location, storage: StorageOptions) -> Mapping[str, Any]:
    """What a functaset, which may be unfinished or damaged, says of its archive."""
    return take_inventory(open_objects(functaset, storage)).spec.provenance


def _nothing(_: type[ArchiveOptions]) -> Mapping[str, Any]:
    return {}


def reopened(
    archive: AnyArchive, provenance: Mapping[str, Any], report: Report = silent, given: Given = _nothing
) -> Source:
    """The same as `reopen_archive`, of a functaset's provenance.

    Args:
        archive: The archive's path.
        provenance: What the functaset says of it.
        report: Told how far the survey is.
        given: Options in the place of those that it keeps.
    """
    for key, made in MADE.items():
        if (whence := provenance.get(key)) is not None:
            raise StoreMismatchError(
                f"{in_words(archive)}: the store was {made.was} from {brief(whence)} and has no archive; if it is "
                f"damaged, delete it and {made.again} it again"
            )
    survey = SurveyOptions(limit=_limit(provenance.get("limit")), max_rejects=1.0)
    return open_alike(
        archive, provenance, survey, report, given, otherwise="or use it from Python (functa_store.repair)"
    )


def reopened_of_parts(
    archives: Sequence[AnyArchive],
    functaset: Location,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
    given: Given = _nothing,
) -> list[Source]:
    """The sources of the archives of a functaset and of the parts that follow it.

    Parts may be read in several ways, by other converters or options. Each archive is opened in each of them that it
    can be opened in.

    Args:
        archives: Their paths.
        functaset: Where it is; it may be damaged.
        storage: How to reach it.
        report: Told how far surveys are.
        given: Options in the place of those that it keeps.

    Raises:
        FunctaStoreError: As for `reopen_archive`, if an archive can be opened in no way.
    """
    ways, sources = _ways(open_objects(functaset, storage)), []
    for archive in archives:
        found, errors = [], []
        for provenance in ways:
            try:
                found.append(reopened(archive, provenance, report, given))
            except FunctaStoreError as error:
                errors.append(error)
        if not found:
            raise errors[0]
        sources += found
    return sources


def _ways(functaset: Objects) -> Sequence[Mapping[str, Any]]:
    """Provenances of a functaset and its parts that differ in how archives were read; of damaged parts nothing."""
    there = take_inventory(functaset)
    provenances = [there.spec.provenance]
    for part in there.parts:
        with contextlib.suppress(StoreFormatError):
            provenances.append(load_spec(functaset.below(part.name)).provenance)
    of_archives = [one for one in provenances if how_made(one) is None] or provenances[:1]
    return list({json.dumps(_way(one), sort_keys=True): one for one in reversed(of_archives)}.values())[::-1]


def _way(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """How an archive was read, as JSON; all of a provenance whose converter is not installed."""
    kind = converters().get(str(provenance.get("converter")))
    if kind is None:
        return dict(provenance)
    with contextlib.suppress(ConfigError):
        return {
            **kind.options.from_plain(provenance).to_plain(),
            **{k: provenance.get(k) for k in ("converter", "limit")},
        }
    return dict(provenance)


def open_alike(
    archive: AnyArchive,
    provenance: Mapping[str, Any],
    survey: SurveyOptions,
    report: Report = silent,
    given: Given = _nothing,
    *,
    kind: str | None = None,
    otherwise: str = "or name another by --kind",
) -> Source:
    """The source of an archive, opened with the converter and the options that a functaset was converted with.

    Args:
        archive: Its path.
        provenance: What the functaset says.
        survey: How many examples are taken, and how many may be rejected.
        report: Told how far the survey is.
        given: Options in the place of those that the functaset keeps.
        kind: Another converter, whose options are its own defaults then; None takes that of the functaset.
        otherwise: What to do where the converter is not installed.

    Raises:
        ConfigError: If the kind or an option is none, or has a wrong value.
        StoreMismatchError: If no installed converter reads such archives.
        ArchiveError: If the archive cannot be read.
        TypeError: If the converter has no such option.
    """
    wanted, found = provenance.get("converter") if kind is None else kind, converters()
    if kind is not None and kind not in found:
        raise ConfigError(f"kind {brief(kind)}: is no kind of archive, expected one of {sorted(found)}")
    if not isinstance(wanted, str) or wanted not in found:
        raise StoreMismatchError(
            f"{in_words(archive)}: the store was converted by {brief(wanted)}, expected one of {sorted(found)}; "
            f"install that converter, {otherwise}"
        )
    options = found[wanted].options
    try:
        kept = options.from_plain(provenance) if wanted == provenance.get("converter") else options()
    except ConfigError as error:
        raise ConfigError(f"the store's option {error}") from error
    return found[wanted].open(plain(archive), dataclasses.replace(kept, **given(options)), survey, report)


def _limit(value: Any) -> int | None:
    """How many examples were taken at most, as a store keeps it."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST_INTEGER):
        return value
    raise ConfigError(f"the store's limit: found {brief(value)}, expected a positive number")
