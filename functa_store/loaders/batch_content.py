"""Fields of a batch, and decoded points among them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError
from functa_store.loaders.normalization import Normalization
from functa_store.loaders.selection import keep_whole, label_names, plain

Batch = dict[str, Any]
"""`modulations`, `index`, `labels` by name, and `values` and `coords` if they are decoded: arrays of one library."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodeGrid:
    """Decode every batch on a grid: `values`, (batch, *resolution, channels).

    Attributes:
        resolution: Points inside the region; None keeps the spacing of the archive.
        region: Per axis (low, high), in [0, 1] or degrees; None means the whole domain.
        clip: Clip to the ranges of the values.
    """

    resolution: int | Sequence[int] | None = None
    region: Region | None = None
    clip: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodePoints:
    """Decode every batch at random points, new ones for each batch and the same for all its examples.

    `coords` are (points, axes), uniform over the domain, and `values` (batch, points, channels), not a number where
    the domain has no value.

    Attributes:
        num_points: How many, at least 1.
        clip: Clip to the ranges of the values.

    Raises:
        ConfigError: If there would be no point.
    """

    num_points: int
    clip: bool = True

    def __post_init__(self) -> None:
        keep_whole(self, 1, "num_points")
        object.__setattr__(self, "clip", bool(self.clip))


Decode = DecodeGrid | DecodePoints


class Content:
    """Turns modulations into batches.

    Args:
        functaset: Where they are from.
        normalize: True normalises by the statistics in the store, False leaves modulations as they are.
        labels: Names of the labels that batches hold; None means all.
        decode: What to decode, if anything.

    Raises:
        ConfigError: If there is no label of a name, or an option is of another kind or size.
        GridError: If the grid does not fit the domain.
        StoreFormatError: If the store's statistics are missing or damaged.
    """

    def __init__(
        self,
        functaset: Functaset,
        normalize: bool | Normalization,
        labels: Sequence[str] | None,
        decode: Decode | None,
    ) -> None:
        if isinstance(decode, DecodeGrid):
            functaset.domain.resolve(decode.resolution, decode.region)
        elif decode is not None and not isinstance(decode, DecodePoints):
            raise ConfigError(f"decode must be a DecodeGrid or DecodePoints, got {decode!r}")
        self._functaset, self._decode = functaset, decode
        self._names, self._normalization = label_names(functaset, labels), _normalization(functaset, normalize)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "labels"}

    @functools.cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """The labels of all examples, in memory: a gather from there takes a microsecond, from a column thirty."""
        return {name: np.asarray(self._functaset.labels[name]) for name in self._names}

    def batch(self, indices: np.ndarray, modulations: np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """One batch.

        Args:
            indices: Of its examples in the functaset.
            modulations: Of these, as they are stored.
            rng: Chooses random points, if such are decoded.
        """
        if self._normalization is not None:
            modulations = self._normalization.apply(modulations)
        labels = {name: values[indices] for name, values in self.labels.items()}
        return {"modulations": modulations, "index": indices, "labels": labels, **self._decoded(indices, rng)}

    def _decoded(self, indices: np.ndarray, rng: np.random.Generator | None) -> Batch:
        decode = self._decode
        if decode is None:
            return {}
        if isinstance(decode, DecodeGrid):
            where = {"resolution": decode.resolution, "region": decode.region}
            return {"values": self._functaset.decode(indices, **where, clip=decode.clip)}
        assert rng is not None, "random points need random numbers"
        coords = self._functaset.domain.random_positions(rng, decode.num_points)
        return {"values": self._functaset.decode(indices, coords=coords, clip=decode.clip), "coords": coords}

    def options(self) -> dict[str, Any]:
        """What decides the content of batches, as plain JSON."""
        normalization, decode = self._normalization, self._decode
        return {
            "normalization": None if normalization is None else normalization.fingerprint,
            "labels": list(self._names),
            "decode": None if decode is None else {"kind": type(decode).__name__, **dataclasses.asdict(decode)},
        }


def _normalization(functaset: Functaset, normalize: Any) -> Normalization | None:
    if isinstance(normalize, bool | np.bool_):
        return Normalization.of_all(functaset) if normalize else None
    if not isinstance(normalize, Normalization):
        raise ConfigError(f"normalize must be True, False or a Normalization, got {normalize!r}")
    if len(normalize.mean) != (size := functaset.modulations.shape[1]):
        raise ConfigError(f"{functaset.store.path}: modulations have {size} dimensions, got {normalize!r}")
    return normalize
