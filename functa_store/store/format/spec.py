"""The description of a functaset: the attribute `functa` of its root."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.config import ConvertConfig, from_dict, to_dict
from functa_store.domains.domain import Domain, StoredDomain, check_grid, network_inputs
from functa_store.errors import ConfigError
from functa_store.sources.augmentation import Augmentations, augmentation_problems, augmentations_of
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import (
    Label,
    Reject,
    Source,
    label_problem,
)
from functa_store.store.format.layout import Layout, Table, choose_layout, tables
from functa_store.store.format.quantization import EXACT, Rounding
from functa_store.store.format.side_arrays import (
    MOMENTA,
    RATES,
    BaseArray,
    base_problems,
    describe_array,
)
from functa_store.store.storage.objects import FileRecord

FORMAT_VERSION = 9
ROOT = "zarr.json"
CONVENTION = {
    "uuid": "4b8ff4a1-29ee-4f0e-9a51-6a1f5d2c7e93",
    "name": "functa",
    "description": "A dataset stored as modulations of one base network; the key `functa` says how to evaluate them.",
}
TEXTS_AT_A_TIME = 65536
IDENTITY = ("format_version", "domain", "features", "config", "layout", "base", "rounding", "examples", "provenance")
"""The attributes that decide every other byte of a store, and so its fingerprint."""


@runtime_checkable
class Values(Protocol):
    """One value per example, read in slices: a list, an array, or rows of a store that memory need not hold."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> Any: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExamplesSummary:
    """How many examples there are, and the SHA-256 of their ids, splits, labels, rejects and augmentations."""

    count: int
    sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality:
    """How well one split was fitted, by its examples that are no augmentations.

    Attributes:
        examples: Number of these examples.
        psnr_mean: Mean of their PSNRs in decibels; None if one has no error at all.
        psnr_of_mean_mse: PSNR of their mean error in decibels; None if there is no error at all.
        metrics: Mean of each column of the table `metrics` over those that have a number there, and of the PSNRs of
            `mse_held_out` under `psnr_held_out`; None if none has, or if the mean is infinite.
    """

    examples: int
    psnr_mean: float | None
    psnr_of_mean_mse: float | None
    metrics: dict[str, float | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundingLoss:
    """What storing modulations in fewer bits cost, measured on some examples.

    Attributes:
        examples: How many, evenly spread over the functaset.
        mse_mean: Mean squared difference of what is decoded before and after, in the squared unit of the features.
        mse_max: That of the example that lost most.
        psnr_loss: Decibels lost in the mean of the examples' PSNRs, 10 log10(1 + difference / mse) on average.
        psnr_loss_max: That of the example that lost most.
    """

    examples: int
    mse_mean: float
    mse_max: float
    psnr_loss: float
    psnr_loss_max: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """The attribute `functa` of a store's root; docs/explanation/format.md explains each field.

    `rounding` describes the arrays `scale` and `offset` of quantised modulations. `quality` and `manifest` are
    empty, and `manifest_sha256` is None, until the store is complete. `manifest` has the files that are not in the
    arrays of `format.manifest`; in stores of a version before 9, which have none, it has all.
    """

    format_version: int
    complete: bool
    fingerprint: str
    domain: StoredDomain
    features: FeatureSpec
    config: ConvertConfig
    layout: Layout
    base: dict[str, BaseArray]
    rounding: dict[str, BaseArray]
    examples: ExamplesSummary
    provenance: dict[str, Any]
    reference: dict[str, Any]
    rounding_loss: RoundingLoss | None
    quality: dict[str, Quality]
    manifest: dict[str, FileRecord]
    manifest_sha256: str | None

    @functools.cached_property
    def base_fingerprint(self) -> str:
        """SHA-256 of the network and its weights, without the rates of the fit; equal bases share it."""
        weights = {name: to_dict(array) for name, array in self.base.items() if name not in (RATES, MOMENTA)}
        return sha256_json({"network": to_dict(self.config.network), "weights": weights})

    def to_attributes(self) -> dict[str, Any]:
        """The attributes of the root group, plain JSON."""
        return {"zarr_conventions": [CONVENTION], "functa": json.loads(json.dumps(to_dict(self), allow_nan=False))}

    def to_root(self) -> bytes:
        """The root `zarr.json`, with the checksum of all it says."""
        root = {"attributes": self.to_attributes(), "zarr_format": 3, "node_type": "group"}
        root["attributes"]["functa"]["checksum"] = sha256_json(root)
        return json.dumps(root, indent=2).encode()

    def tables(self, rounding: Rounding) -> dict[str, Table]:
        """The sharded arrays by name."""
        return tables(self.layout, self.config.network.modulation_shape, rounding, len(self.features.columns))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Everything about a functaset that is known before its first example is fitted.

    Attributes:
        domain: Where the examples were sampled.
        features: What their values mean.
        config: The conversion.
        base: Named arrays: the base weights, and `inner_loop/learning_rate` and `inner_loop/momentum`.
        ids: One unique name per example, read in slices.
        split: The split of each example, likewise.
        labels: Named labels, one value per example.
        augmentations: Which examples are augmentations of which; None if none is.
        rejects: Members of the archive that were skipped.
        provenance: JSON-ready facts about the archive.
        reference: JSON-ready figures to compare with, such as the PSNR of a PCA of equal size.
        rounding: How modulations are stored, as `config.modulation_dtype` says.
        rounding_loss: What that cost, if it was measured.
        layout: How rows are cut; None leaves that to `choose_layout`.

    Raises:
        ConfigError: If these contradict each other or cannot be stored.
    """

    domain: Domain
    features: FeatureSpec
    config: ConvertConfig
    base: Mapping[str, np.ndarray]
    ids: Values
    split: Values
    labels: Mapping[str, Label] = dataclasses.field(default_factory=dict)
    augmentations: Augmentations | None = None
    rejects: Sequence[Reject] = ()
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rounding: Rounding = EXACT
    rounding_loss: RoundingLoss | None = None
    layout: Layout | None = None

    def __post_init__(self) -> None:
        if self.rounding.dtype != self.config.modulation_dtype:
            raise ConfigError(
                f"rounding to {self.rounding.dtype}, but modulation_dtype={self.config.modulation_dtype!r}"
            )
        lengths = {"split": len(self.split)} | {f"labels/{name}": len(lb.values) for name, lb in self.labels.items()}
        if len(self.ids) == 0 or set(lengths.values()) != {len(self.ids)}:
            raise ConfigError(f"expected one id, split and label per example, got {len(self.ids)} ids and {lengths}")
        for name, label in self.labels.items():
            if problem := label_problem(name, label):
                raise ConfigError(f"a label {problem}")
        if self.augmentations is not None:
            values = {name: label.values for name, label in self.labels.items()}
            for problem in augmentation_problems(self.augmentations, np.asarray(self.split[:]), values):
                raise ConfigError(problem)
        check_grid(self.domain, self.config.network)
        sizes = self.config.network, network_inputs(self.domain, self.config.network), self.features.num_channels
        for problem in base_problems(self.base, *sizes):
            raise ConfigError(f"the base does not fit the configuration: {problem}")

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return len(self.ids)

    @property
    def rounding_arrays(self) -> dict[str, np.ndarray]:
        """`scale` and `offset` if modulations are quantised."""
        found = {"offset": self.rounding.offset, "scale": self.rounding.scale}
        return {name: array for name, array in found.items() if array is not None}

    def spec(self) -> StoreSpec:
        """The attributes of the store before its first shard.

        Raises:
            ConfigError: If provenance or reference are not plain, finite JSON.
        """
        config, row_bytes = self.config, self.config.network.modulation_size * self.rounding.stored.itemsize
        known = {
            "format_version": FORMAT_VERSION,
            "complete": False,
            "domain": to_dict(self.domain),
            "features": to_dict(self.features),
            "config": to_dict(config),
            "layout": to_dict(
                choose_layout(self.num_examples, row_bytes, config.rows_per_shard)
                if self.layout is None
                else self.layout
            ),
            "base": {name: to_dict(describe_array(np.asarray(self.base[name]))) for name in sorted(self.base)},
            "rounding": {name: to_dict(describe_array(array)) for name, array in self.rounding_arrays.items()},
            "examples": {"count": self.num_examples, "sha256": examples_sha256(self)},
            "provenance": _plain_json("provenance", self.provenance),
            "reference": _plain_json("reference", self.reference),
            "rounding_loss": None if self.rounding_loss is None else to_dict(self.rounding_loss),
        }
        spec = from_dict(StoreSpec, known | {"fingerprint": "", "quality": {}, "manifest": {}, "manifest_sha256": None})
        return dataclasses.replace(spec, fingerprint=sha256_json(identity(spec)))


def examples_sha256(described: "Contents | Source") -> str:
    """SHA-256 of the ids, splits, labels, rejects and augmentations of a source, or of what a store is to hold."""
    labels = {
        name: [label.values.dtype.str, _sha256_in_blocks(label.values), label.names]
        for name, label in described.labels.items()
    }
    rejects = [to_dict(reject) for reject in described.rejects]
    digest, comma = hashlib.sha256(), b","
    for part in itertools.chain([b"["], _texts(described.ids), [comma], _texts(described.split), [comma]):
        digest.update(part)
    digest.update(f"{_json(labels)},{_json(rejects)}".encode())
    if (augmentations := augmentations_of(described)) is not None:
        arrays = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in augmentations.arrays.items()}
        digest.update(f",{_json(arrays)}".encode())
    digest.update(b"]")
    return digest.hexdigest()


def _sha256_in_blocks(values: np.ndarray) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(values), TEXTS_AT_A_TIME):
        digest.update(values[start : start + TEXTS_AT_A_TIME].tobytes())
    return digest.hexdigest()


def _texts(values: Values) -> Iterator[bytes]:
    """The JSON of a list of strings, in pieces."""
    yield b"["
    for start in range(0, len(values), TEXTS_AT_A_TIME):
        piece = _json([str(value) for value in values[start : start + TEXTS_AT_A_TIME]])[1:-1]
        yield (f",{piece}" if start else piece).encode()
    yield b"]"


def identity(spec: StoreSpec) -> dict[str, Any]:
    """The part of a store's attributes that its fingerprint covers, as plain JSON."""
    attributes = spec.to_attributes()["functa"]
    return {key: attributes[key] for key in IDENTITY}


def _plain_json(what: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(dict(values), allow_nan=False, ensure_ascii=False)
        text.encode()  # which no lone surrogate can be
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{what} must hold plain, finite JSON values: {error}") from error


def sha256_json(value: Any) -> str:
    """SHA-256 of a JSON value: keys sorted, no spaces, UTF-8 unescaped."""
    return hashlib.sha256(_json(value).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
