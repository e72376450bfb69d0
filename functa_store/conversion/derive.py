"""Functasets of generated or edited modulations, with the base of a finished one."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from functa_store.conversion.agreement import versions
from functa_store.decode.free_modulations import Inverse, check_modulations
from functa_store.decode.functaset import Functaset, opened
from functa_store.errors import ConfigError
from functa_store.sources.array_source import AnyLabel, per_example
from functa_store.sources.splits import SPLITS
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.store.writing.destination import claim
from functa_store.store.writing.writer import StoreWriter, rehearse

DERIVED = "derived"
"""What the provenance calls an archive that is none."""


def derive(
    functaset: Functaset | Location,
    path: Location,
    modulations: Float[np.ndarray, "..."],
    *,
    ids: Sequence[str] | None = None,
    labels: Mapping[str, AnyLabel] | None = None,
    split: str | Sequence[str] | np.ndarray = "train",
    parents: Sequence[Functaset | Location] = (),
    normalization: Inverse | None = None,
    storage: StorageOptions = NO_OPTIONS,
) -> None:
    """Write a complete functaset of the same base from modulations that were generated or edited.

    Its errors are unknown: `mse` and `psnr` are not numbers, and `functa info` has no quality. The provenance says
    "derived", and names the functasets that it is from by their fingerprints. Interrupted at any moment, the same call
    goes on where it stopped. Modulations are stored in float32; `recode` makes them smaller.

    Args:
        functaset: Whose base the modulations are of; an open one, or where it is.
        path: The new store, a path or URL ending in `.functa`.
        modulations: Shape (examples, *shape of a modulation), at least one; see `Functaset.decode_modulations`.
        ids: Unique names of the examples; None counts from "0".
        labels: By name a `Label`, or a number or text per example.
        split: One of `SPLITS` for all examples, or one each.
        parents: Other functasets that the modulations were made of, such as those whose examples were averaged.
        normalization: What the modulations were normalised by; None if they were not.
        storage: How to reach the stores.

    Raises:
        ConfigError: If the modulations are no finite numbers of the base's shape, ids repeat, something is not one per
            example or no list or dictionary where it has to be, or the path does not end in `.functa`.
        ArchiveError: If a label is neither numbers nor text.
        StoreExistsError: If the path holds something already, or another process is writing it.
        StoreMismatchError: If another store was left unfinished there.
        StorageError: If a place cannot be reached or written.
    """
    if isinstance(parents, str) or not isinstance(parents, Sequence):
        raise ConfigError(f"parents must be a list of functasets, or of paths of some, got {parents!r}")
    if labels is not None and not isinstance(labels, Mapping):
        raise ConfigError(f"labels must be a dictionary of values by name, such as {{'kind': [0, 1]}}, got {labels!r}")
    functaset = opened(functaset, storage)
    rows = check_modulations(functaset.store.path, functaset.config.network, modulations, normalization)
    origins = [functaset, *(opened(parent, storage) for parent in parents)]
    contents = _contents(origins, rows, ids, labels, split)
    rehearse(contents)
    with (
        claim(path, storage) as (destination, _),
        StoreWriter.resume_or_create(destination.store, contents) as writer,
    ):
        for shard in writer.missing_shards():
            writer.write(shard, rows[shard.start : shard.stop], None)


def _contents(
    origins: Sequence[Functaset],
    rows: Float32[np.ndarray, "examples ..."],
    ids: Sequence[str] | None,
    labels: Mapping[str, AnyLabel] | None,
    split: str | Sequence[str] | np.ndarray,
) -> Contents:
    """Everything about the functaset but its modulations."""
    base, count = origins[0], len(rows)
    if not count:
        raise ConfigError(f"{base.store.path}: found no modulations, expected one at least")
    splits = [split] * count if isinstance(split, str) else split
    told = per_example(ids, np.asarray(splits), labels)
    given = {"ids": ids, "split": told.split} | {f"label {name}": label.values for name, label in told.labels.items()}
    for what, values in given.items():
        if values is not None and len(values) != count:
            raise ConfigError(f"found {len(values)} values of {what}, expected one for each of {count} modulations")
    names, in_split, kept = told.taken(np.arange(count))
    if len(set(names)) < count or not all(names) or any("\0" in name for name in names):
        raise ConfigError("ids must be unique texts without NUL, one for each modulation; found one twice, or none")
    if unknown := sorted(set(in_split.tolist()) - set(SPLITS)):
        raise ConfigError(f"found the splits {unknown}, expected some of {SPLITS}")
    parents = [{"archive": p.spec.provenance.get("archive"), "fingerprint": p.spec.fingerprint} for p in origins]
    return Contents(
        domain=base.domain,
        features=base.features,
        config=dataclasses.replace(base.config, modulation_dtype="float32"),
        base=base.store.stored_base,
        ids=names,
        split=in_split,
        labels=kept,
        provenance=_provenance(parents, rows),
    )


def _provenance(parents: list[dict[str, Any]], rows: np.ndarray) -> dict[str, Any]:
    """Where the modulations are from."""
    return {
        "archive": DERIVED,
        "sha256": hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest(),
        "derived_from": parents,
        "split": "given",
        "versions": versions(),
    }
