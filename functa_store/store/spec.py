"""What does a functaset say about itself, and when is that believed?"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from functa_store.config import ConvertConfig, FitConfig, differences, from_dict, to_dict
from functa_store.errors import ConfigError, StoreFormatError
from functa_store.grids import CellGrid
from functa_store.sources import FeatureSpec, Label, Reject, Source
from functa_store.store.base import BaseArray, base_problems, describe_array
from functa_store.store.layout import Layout, choose_layout

FORMAT_VERSION = 2
CONVENTION = {
    "uuid": "4b8ff4a1-29ee-4f0e-9a51-6a1f5d2c7e93",
    "name": "functa",
    "description": "A dataset stored as modulations of one base network; the key `functa` says how to evaluate them.",
}
IDENTITY = ("format_version", "domain", "features", "config", "layout", "base", "examples", "provenance")
"""The attributes that decide every other byte of a store, and so its fingerprint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """How many examples there are, and the SHA-256 of their ids, splits, labels and rejects."""

    count: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """How well one split was fitted.

    Attributes:
        examples: Examples of the split.
        psnr_mean: Mean of their PSNRs in decibels; None if one has no error at all.
        psnr_of_mean_mse: PSNR of their mean error in decibels; None if there is no error at all.
    """

    examples: int
    psnr_mean: float | None
    psnr_of_mean_mse: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size in bytes and CRC-32C (8 hexadecimal digits) of one file of a store."""

    bytes: int
    crc32c: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """The attribute `functa` of a store's root; docs/explanation/format.md explains each field.

    `quality` and `manifest` are empty until the store is complete.
    """

    format_version: int
    complete: bool
    fingerprint: str
    domain: CellGrid
    features: FeatureSpec
    config: ConvertConfig
    layout: Layout
    base: dict[str, BaseArray]
    examples: Examples
    provenance: dict[str, Any]
    reference: dict[str, Any]
    quality: dict[str, Quality]
    manifest: dict[str, FileRecord]

    def to_attributes(self) -> dict[str, Any]:
        """The attributes of the root group, plain JSON."""
        return {"zarr_conventions": [CONVENTION], "functa": json.loads(json.dumps(to_dict(self), allow_nan=False))}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Everything about a functaset that is known before its first example is fitted.

    Attributes:
        domain: Where the examples were sampled.
        features: What their values mean.
        config: The conversion.
        base: Named arrays: the base weights, and `inner_loop/learning_rate` and `inner_loop/momentum`.
        ids: One unique name per example.
        split: The split of each example.
        labels: Named labels, one value per example.
        rejects: Members of the archive that were skipped.
        provenance: JSON-ready facts about the archive.
        reference: JSON-ready figures to compare with, such as the PSNR of a PCA of equal size.

    Raises:
        ConfigError: If these contradict each other or cannot be stored.
    """

    domain: CellGrid
    features: FeatureSpec
    config: ConvertConfig
    base: Mapping[str, np.ndarray]
    ids: Sequence[str]
    split: np.ndarray
    labels: Mapping[str, Label] = dataclasses.field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {"split": len(self.split)} | {f"labels/{name}": len(lb.values) for name, lb in self.labels.items()}
        if len(self.ids) == 0 or set(lengths.values()) != {len(self.ids)}:
            raise ConfigError(f"expected one id, split and label per example, got {len(self.ids)} ids and {lengths}")
        for name, label in self.labels.items():
            if not name or name.startswith((".", "__")) or "/" in name or label.values.dtype.kind not in "biuf":
                raise ConfigError(f"label {name!r} of {label.values.dtype}: expected a plain name and numbers")
        for problem in base_problems(self.base, self.config.network, self.domain.num_axes, self.features.num_channels):
            raise ConfigError(f"the base does not fit the configuration: {problem}")

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return len(self.ids)

    def spec(self) -> StoreSpec:
        """The attributes of the store before its first shard.

        Raises:
            ConfigError: If provenance or reference are not plain, finite JSON.
        """
        config = self.config
        known = {
            "format_version": FORMAT_VERSION,
            "complete": False,
            "domain": to_dict(self.domain),
            "features": to_dict(self.features),
            "config": to_dict(config),
            "layout": to_dict(choose_layout(self.num_examples, config.network.modulation_size, config.rows_per_shard)),
            "base": {name: to_dict(describe_array(np.asarray(self.base[name]))) for name in sorted(self.base)},
            "examples": {"count": self.num_examples, "sha256": examples_sha256(self)},
            "provenance": _plain_json("provenance", self.provenance),
            "reference": _plain_json("reference", self.reference),
        }
        spec = from_dict(StoreSpec, known | {"fingerprint": "", "quality": {}, "manifest": {}})
        return dataclasses.replace(spec, fingerprint=_sha256_json(identity(spec)))


def examples_sha256(described: "Contents | Source") -> str:
    """SHA-256 of the ids, splits, labels and rejects of a source, or of what a store is to hold."""
    labels = {
        name: [label.values.dtype.str, hashlib.sha256(label.values.tobytes()).hexdigest(), label.names]
        for name, label in described.labels.items()
    }
    rejects = [to_dict(reject) for reject in described.rejects]
    return _sha256_json([list(described.ids), [str(split) for split in described.split], labels, rejects])


def identity(spec: StoreSpec) -> dict[str, Any]:
    """The part of a store's attributes that its fingerprint covers, as plain JSON."""
    attributes = spec.to_attributes()["functa"]
    return {key: attributes[key] for key in IDENTITY}


def load_spec(path: Path) -> StoreSpec:
    """Read and check the attributes of the store at a path.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
    """
    try:
        root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    except OSError as error:
        found = "no Zarr v3 group" if path.exists() else "nothing"
        if work_path(path).exists():
            found = "a conversion that is learning or was interrupted (the same command goes on with it)"
        raise StoreFormatError(f"{path}: found {found}, expected a functaset; check the path.") from error
    except ValueError as error:
        raise StoreFormatError(f"{path}/zarr.json: no valid JSON ({error}); copy or convert again.") from error
    attributes = root.get("attributes") if isinstance(root, dict) else None
    attributes = attributes.get("functa") if isinstance(attributes, dict) else None
    if not isinstance(attributes, dict):
        raise StoreFormatError(
            f"{path}: a Zarr node, but no functaset: its attributes lack the key 'functa'. Open it with zarr.open."
        )
    return parse_spec(path, attributes)


def parse_spec(path: Path, attributes: Mapping[str, Any]) -> StoreSpec:
    """Turn the attribute `functa` into a specification, refusing whatever it would not write itself.

    Raises:
        StoreFormatError: If the format is newer, or an attribute is missing, unknown or malformed.
    """
    version = attributes.get("format_version")
    if type(version) is not int or version < 1:
        raise StoreFormatError(f"{path}: format_version is {version!r}, expected a positive integer; convert again.")
    if version > FORMAT_VERSION:
        raise StoreFormatError(
            f"{path}: format version {version}, but this release reads versions up to {FORMAT_VERSION}. "
            "Upgrade functa-store."
        )
    try:
        current = _from_version_1(attributes) if version == 1 else attributes
        spec = from_dict(StoreSpec, current)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise StoreFormatError(f"{path}/zarr.json: damaged attributes: {error}. Copy or convert again.") from error
    for difference in differences(current, spec.to_attributes()["functa"]):
        raise StoreFormatError(f"{path}/zarr.json: damaged attributes: {difference}. Copy or convert again.")
    if spec.fingerprint != _sha256_json({key: attributes[key] for key in IDENTITY}):
        raise StoreFormatError(
            f"{path}/zarr.json: the fingerprint does not belong to the other attributes; they were edited. "
            "Copy or convert again."
        )
    return spec


def _from_version_1(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Say what version 1 left unsaid: examples were fitted by the steps of learning, each on the whole grid."""
    config = attributes["config"]
    fit = to_dict(FitConfig(num_steps=config["inner"]["num_steps"], stride=1, tuning_steps=0))
    outer = {**config["outer"], "microbatch_size": None}
    return {**attributes, "config": {**config, "outer": outer, "fit": fit, "matmul_precision": "float32"}}


def work_path(path: Path) -> Path:
    """The directory beside a store that holds what only its conversion needs."""
    return path.with_name(f"{path.name}.work")


def _plain_json(what: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} must hold plain, finite JSON values: {error}") from error


def _sha256_json(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
