"""Agreement of a store with a conversion, or with the archive that it was converted from."""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.config import ConvertConfig, ModulationDtype, differences, to_dict
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.sources.recipe import ARCHIVE_FILES
from functa_store.sources.source import Source
from functa_store.store.format.spec import ROOT, StoreSpec, examples_sha256
from functa_store.store.reading.verify import archive_of, how_made
from functa_store.store.storage.objects import Objects
from functa_store.store.storage.writer_lock import CONVERSION, EXACT_STORE, LEASE, is_of_work
from functa_store.support.shortening import shown

MOST_DESCRIPTION_BYTES = 2**24

ENCODED_WITH = "encoded_with"
"""What the provenance of a store says of the base that fitted it, if that was learned for another one."""

SAME_POINTS = "same_points"
"""What that says of whether the archive is sampled at the points of the one that the base was learned for."""

_NUM_NAMED = 3

LIBRARIES = ("functa-store", "jax", "jaxlib", "flax", "optax", "numpy", "pillow", "zarr")


def identify(source: Source, config: ConvertConfig) -> dict[str, Any]:
    """What must agree for an interrupted conversion to go on."""
    return {"config": to_dict(config), **_of_source(source, {"versions": versions()})}


def versions() -> dict[str, str]:
    """Versions of the libraries that decide the bytes of a store, and of Python."""
    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version()}


def is_begun(work: Objects, conversion: Mapping[str, Any]) -> bool:
    """Whether this conversion was begun in a work folder, and has not cleared it.

    Raises:
        StoreMismatchError: If another one was.
        StoreFormatError: If that cannot be told.
    """
    if (described := begun_conversion(work)) is None:
        return False
    if different := list(differences(described, json.loads(json.dumps(conversion)))):
        before, now = (one.get("provenance") for one in (described, conversion))
        if isinstance(before, Mapping) and isinstance(now, Mapping) and (files := files_differ(before, now)):
            different.insert(0, files)
        raise StoreMismatchError(
            f"{work.name}: an unfinished conversion differs from this one: {'; '.join(different[:5])}. "
            f"Convert as before to finish it, or delete {work.name} and the store beside it to start anew."
        )
    return True


def begun_conversion(work: Objects) -> dict[str, Any] | None:
    """What must agree for the conversion to go on that a work folder belongs to; None if it is none's.

    Raises:
        StoreFormatError: If that cannot be told.
    """
    try:
        described = json.loads(work.read(CONVERSION, MOST_DESCRIPTION_BYTES))
        if not isinstance(described, dict):
            raise ValueError(f"found {type(described).__name__}, expected an object")
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        if isinstance(error, StoreFormatError):
            raise
        raise StoreFormatError(
            f"{work.name}/{CONVERSION}: no valid JSON ({error}); delete {work.name} to start anew"
        ) from error
    return described


def clear(work: Objects) -> None:
    """Remove what a finished conversion left in its work folder, and nothing else; what says whose it is goes last."""
    work.delete([f"{EXACT_STORE}/{ROOT}"])  # first: what has a root is a whole store
    work.delete([key for key in work.sizes() if is_of_work(key) and key not in (LEASE, CONVERSION)])
    work.delete([CONVERSION])


def differences_from_conversion(
    spec: StoreSpec, source: Source, config: ConvertConfig, modulation_dtype: ModulationDtype
) -> list[str]:
    """In what a complete store differs from what a conversion makes, but for what is decided on its way."""
    outer, fit = spec.config.outer, spec.config.fit
    decided = {name: value for name, value in to_dict(fit).items() if getattr(config.fit, name) is None}
    if fit.tuning_steps == 0:  # none of the steps that were tuned was better
        decided["tuning_steps"] = 0
    expected = dataclasses.replace(
        config,
        outer=dataclasses.replace(config.outer, num_steps=config.outer.num_steps or outer.num_steps, time_budget=None),
        fit=dataclasses.replace(config.fit, **decided),
        modulation_dtype=modulation_dtype,
    )
    found = {"config": to_dict(spec.config), **_of_store(spec)}
    files = files_differ(spec.provenance, source.provenance)
    told = [] if files is None else [files]
    return told + list(differences(_as_json(found), _as_json(identify(source, expected))))


def check_same_archive(name: str, spec: StoreSpec, source: Source) -> None:
    """Refuse a source that a store was not converted from; see `differences_from_archive`.

    Args:
        name: Path or URL of the store, for the message.
        spec: What it says about itself.
        source: The examples.

    Raises:
        StoreMismatchError: If examples, labels, or how they were read differ.
    """
    if wrong := differences_from_archive(spec, source):
        raise another_archive(name, spec, wrong)


def differences_from_archive(spec: StoreSpec, source: Source) -> list[str]:
    """In what a source differs from the one that a store was converted from, in words.

    The name of the archive, the base that fitted it, versions of libraries and what newer versions of a converter keep
    do not count.
    """
    found, expected = _of_source(source), _of_store(spec)
    files = files_differ(spec.provenance, source.provenance) if ARCHIVE_FILES in spec.provenance else None
    keys = found["provenance"].keys() - {"archive", ARCHIVE_FILES, ENCODED_WITH}  # earlier versions kept no files
    for one in (found, expected):
        provenance = one.pop("provenance")
        one["archive"] = {key: provenance.get(key) for key in keys}
    return [*([] if files is None else [files]), *differences(found, expected)]


def is_of_points(spec: StoreSpec) -> bool:
    """Whether a store says that its examples were fitted at the points of its domain.

    Earlier releases did not say it of those that the base of another functaset fitted, and it is not known of what was
    merged.
    """
    encoded = spec.provenance.get(ENCODED_WITH, {SAME_POINTS: True})
    known = isinstance(encoded, Mapping) and encoded.get(SAME_POINTS) is True
    return known and "merged_from" not in spec.provenance


def another_archive(name: str, spec: StoreSpec, wrong: Sequence[str]) -> StoreMismatchError:
    """What to raise where no archive that was given is that of a store.

    Args:
        name: Path or URL of the store.
        spec: What it says about itself.
        wrong: In what the archive differs that is most like it.
    """
    if (made := how_made(spec.provenance)) is not None:
        return StoreMismatchError(
            f"{name}: was {made.was} and has no archive; copy it from another copy, or {made.again} it again"
        )
    return StoreMismatchError(
        f"{name}: was converted from another archive, or with other options: {'; '.join(wrong[:5])}. "
        f"Name the archive that it was converted from, {archive_of(spec.provenance)}, and files that its options "
        "named (--option labels=FILE)."
    )


def files_differ(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """In which files two archives differ, by their provenance, in words; None if in none, or if that cannot be told.

    Args:
        before: Of the one that a store was begun with.
        now: Of the other one.
    """
    pair = before.get(ARCHIVE_FILES), now.get(ARCHIVE_FILES)
    if not any(isinstance(files, Mapping) for files in pair):
        return None
    one, other = (files if isinstance(files, Mapping) else {} for files in pair)
    if not one or not other:
        later, earlier = (f"{len(files)} files" if files else "one file or folder" for files in (other, one))
        return f"the archive is {later}, and was {earlier}"
    read = [name for name in sorted(one.keys() & other.keys()) if None not in (one[name], other[name])]
    found = {
        "added": sorted(other.keys() - one.keys()),
        "gone": sorted(one.keys() - other.keys()),
        "changed": [name for name in read if one[name] != other[name]],
    }
    told = "; ".join(f"{_listed(names)} {what}" for what, names in found.items() if names)
    return f"of the files of the archive, {told}" if told else None


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return f"{', '.join(map(shown, names[:_NUM_NAMED]))}{more} {'are' if len(names) > 1 else 'is'}"


def _of_source(source: Source, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a source gives a store, with more for its provenance."""
    return {
        "domain": to_dict(source.domain),
        "features": to_dict(source.features),
        "examples": {"count": len(source.ids), "sha256": examples_sha256(source)},
        "provenance": {**source.provenance, **(more or {})},
    }


def _of_store(spec: StoreSpec) -> dict[str, Any]:
    """The same as a store keeps it."""
    return {
        "domain": to_dict(spec.domain),
        "features": to_dict(spec.features),
        "examples": to_dict(spec.examples),
        "provenance": dict(spec.provenance),
    }


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value))
