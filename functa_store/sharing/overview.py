"""What people are told of a functaset, on cards and in reports: rows of facts, quality, labels, recipe and rejects.

Everything is a text of a stranger: whoever shows it escapes it.
"""

import collections
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.decode.descriptions import sizes_in_words
from functa_store.decode.facts import decibels, figure, in_decibels, info_of
from functa_store.domains.domain import Domain
from functa_store.sources.features import FeatureSpec
from functa_store.sources.recipe import ARCHIVE_FILES
from functa_store.sources.source import Label, class_counts, labelled_by, split_rule
from functa_store.store.reading.reader import StoreReader
from functa_store.support.shortening import shown

MOST_ROWS = 50
"""Of labels, classes, kinds of rejects, metrics and provenance."""

MOST_CHARACTERS = 300
"""Of a text."""

MOST_LEVELS = 3
"""Of names and lists in one another that are written in words."""

QUALITY = ("split", "examples", "PSNR, mean (dB)", "PSNR of mean MSE (dB)", "PCA, mean (dB)", "PCA, of mean MSE (dB)")
"""Headings of the rows of `quality`."""

_DIGEST = re.compile(r"([0-9a-f]{12})([0-9a-f]{52}|[0-9a-f]{116})")
"""A SHA-256 or SHA-512, and its first digits."""

Row = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Overview:
    """Rows of texts about a functaset.

    Attributes:
        name: The archive's, or else that of the functaset.
        kind: What its examples are, in the plural.
        facts: Names and values of what it holds.
        quality: A row for each split, see `QUALITY`.
        metrics: A row for each further metric: its name with its unit, then its mean in each split.
        splits: Their names.
        labels: Name, where it is from, and classes with their counts, or the range of its values.
        recipe: Names and values of how it was made.
        rejects: Reason, how many members, and one of them.
        num_rejects: How many members were rejected.
    """

    name: str
    kind: str
    facts: Sequence[Row]
    quality: Sequence[Row]
    metrics: Sequence[Row]
    splits: Sequence[str]
    labels: Sequence[Row]
    recipe: Sequence[Row]
    rejects: Sequence[Row]
    num_rejects: int


def overview_of(store: StoreReader) -> Overview:
    """What an open store holds, in rows.

    Raises:
        StoreFormatError: If what it says of its examples is damaged.
        StorageError: If the place cannot be read.
    """
    found = info_of(store)
    archive = store.spec.provenance.get("archive")
    splits = list(found["splits"])
    return Overview(
        name=_text(archive) if isinstance(archive, str) and archive else "functaset",
        kind=kind_of(store.spec.domain, store.spec.features),
        facts=[(name, _text(value)) for name, value in _facts(found)],
        quality=[
            (split, f"{count:,}", *in_decibels(found, split), *in_decibels(found["reference"], split))
            for split, count in found["splits"].items()
        ],
        metrics=[
            (_with_unit(name, unit), *_means(found, name, splits))
            for name, unit in list(found["metric_units"].items())[:MOST_ROWS]
        ],
        splits=splits,
        labels=[tuple(map(_text, row)) for row in _labels(store)],
        recipe=[(name, _text(value)) for name, value in _recipe(store)],
        rejects=[tuple(map(_text, row)) for row in _reasons(found["rejects"]["list"])],
        num_rejects=found["rejects"]["count"],
    )


def kind_of(domain: Domain, features: FeatureSpec) -> str:
    """What the examples of a domain are called, in the plural."""
    if domain.scene is not None:
        return "scenes"
    if domain.kind == "sphere":
        return "fields on the globe"
    if domain.axes == ("z", "y", "x") and features.num_channels == 1:
        return "shapes" if "iou" in features.metrics else "volumes"
    if domain.axes == ("t",) and domain.units == ("s",):
        return "sounds"
    if domain.axes == ("t", "y", "x"):
        return "clips"
    is_picture = domain.axes == ("y", "x") and features.num_channels in (1, 3, 4)
    return "images" if is_picture and len(set(features.value_ranges)) == 1 else "arrays"


def _text(value: Any) -> str:
    return shown(_in_words(value), MOST_CHARACTERS)


def _in_words(value: Any, levels: int = MOST_LEVELS) -> str:
    """Plain JSON as people read it: names and values one after the other, digests among them by their first digits.

    A digest by itself, such as that of the archive, is told in full.
    """
    match value:
        case str():
            digest = None if levels == MOST_LEVELS else _DIGEST.fullmatch(value)
            return value if digest is None else f"{digest[1]}..."
        case bool():
            return "yes" if value else "no"
        case Mapping() if levels:
            return ", ".join(f"{name} {_in_words(item, levels - 1)}" for name, item in value.items()) or "none"
        case list() if levels:
            return ", ".join(_in_words(item, levels - 1) for item in value) or "none"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state = "" if found["complete"] else f", of which {found['fitted']:,} are fitted: it is unfinished"
    yield "examples", f"{found['examples']:,}{state}"
    if made := found["augmentations"]:
        yield "augmentations among them", f"{made['count']:,}"
    yield "splits", ", ".join(f"{name} {count:,}" for name, count in found["splits"].items())
    points = " x ".join(f"{size:,}" for size in found["domain"]["resolution"])
    yield "points in the archive", f"{points} ({', '.join(found['domain']['axes'])})"
    channels = zip(found["channels"], found["units"], strict=True)
    yield "channels", ", ".join(_with_unit(name, unit) for name, unit in channels)
    numbers = f"{found['modulation']}, {sizes_in_words(found['modulation_shape'])} numbers in {found['dtype']}"
    yield "modulation", numbers
    yield "bytes of a modulation", f"{found['bytes_per_example']:,}"
    yield "bytes of the base network", f"{found['bytes_base']:,} in {found['base_dtype']}"
    yield "bytes in all", f"{found['bytes_total']:,}"
    if loss := found["rounding_loss"]:
        yield "lost by rounding", f"{decibels(loss['psnr_loss'])} dB on {loss['examples']:,} examples"
    yield "format version", str(found["format_version"])


def _with_unit(name: str, unit: str) -> str:
    return shown(name if unit == "1" else f"{name} ({unit})", MOST_CHARACTERS)


def _means(found: Mapping[str, Any], metric: str, splits: Sequence[str]) -> Iterator[str]:
    for split in splits:
        mean = figure(found, f"{metric}_mean", split)
        yield "-" if mean is None else f"{mean:.4g}"


def _labels(store: StoreReader) -> Iterator[Row]:
    for name, rows in list(store.labels.items())[:MOST_ROWS]:
        by, values = labelled_by(store.spec.provenance, name), rows[:]
        if not (classes := class_counts(name, Label(values=values, names=store.label_names.get(name)))):
            known = values[np.isfinite(values)]
            yield name, _text(by), f"{known.min()} to {known.max()}" if len(known) else "none"
            continue
        ordered = sorted(classes.items(), key=lambda entry: -entry[1])
        more = f" and {len(classes) - MOST_ROWS:,} other classes" if len(classes) > MOST_ROWS else ""
        yield name, _text(by), ", ".join(f"{text} {count:,}" for text, count in ordered[:MOST_ROWS]) + more


def _recipe(store: StoreReader) -> Iterator[tuple[str, Any]]:
    spec, config = store.spec, store.spec.config
    network, outer = config.network, config.outer
    provenance = dict(spec.provenance)
    yield "archive", provenance.pop("archive", None) or "-"
    yield "sha256 of the archive", provenance.pop("sha256", None) or "-"
    if isinstance(files := provenance.pop(ARCHIVE_FILES, None), Mapping):
        yield "files of the archive", f"{len(files):,}"
    yield "splits", split_rule(provenance) or "of the source"
    yield "preset", config.preset or "none"
    layers = f"SIREN of {network.depth} layers of {network.width} units, w0 {network.w0:g}"
    yield "base network", f"{layers}, modulated by {network.modulation} modulations"
    yield "learned", f"{outer.num_steps or 0:,} outer steps of {outer.batch_size:,} examples, seed {config.seed}"
    yield "fitted", f"{config.fit.num_steps:,} gradient steps per example"
    yield "fingerprint of the functaset", spec.fingerprint
    yield "fingerprint of the base", spec.base_fingerprint
    for name in ("split", "split_rule", "labels_by"):
        provenance.pop(name, None)
    yield from (
        (shown(name.replace("_", " ")), value)
        for name, value in list(provenance.items())[:MOST_ROWS]
        if value is not None
    )


def _reasons(rejects: Sequence[Mapping[str, str]]) -> Iterator[Row]:
    """Rejects of the same reason, numbers and quoted names in it apart, the most frequent first."""
    groups = collections.defaultdict[str, list[Mapping[str, str]]](list)
    for reject in rejects:
        reason = re.sub(r"'[^']{0,200}'|\"[^\"]{0,200}\"", "'...'", reject["reason"][:MOST_CHARACTERS])
        groups[re.sub(r"\d+([.,]\d+)*", "N", reason)].append(reject)
    for group in sorted(groups.values(), key=len, reverse=True)[:MOST_ROWS]:
        yield group[0]["reason"], f"{len(group):,}", group[0]["member"]
