"""What a batch holds: which examples, their modulations normalised, labels and decoded values."""

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from functa_store.config import whole
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError
from functa_store.store.reading.joined_store import JoinedStore
from functa_store.store.reading.selected_store import label_names

A = TypeVar("A")

CONSTANT = 1e-6
"""A standard deviation below this share of the mean is rounding noise of float32."""


Functasets = Functaset | Sequence[Functaset]
"""A functaset, or several of one base network, whose examples follow each other."""


def joined(functasets: Functasets) -> Functaset:
    """A functaset as it is; several as one, whose index counts on from each to the next.

    Unlike those that `functa_store.concat` puts together, they may share ids, and differ in domain or labels as long as
    these are not asked for.

    Raises:
        ConfigError: If there is none, or their base networks differ.
    """
    if isinstance(functasets, Functaset):
        return functasets
    several = list(functasets)
    if not several or not all(isinstance(one, Functaset) for one in several):
        raise ConfigError(
            f"expected a functaset, or a list of functasets that are open, got {functasets!r}; functa_store.open(path) "
            "opens one"
        )
    return several[0] if len(several) == 1 else Functaset(JoinedStore([one.store for one in several]))


class Normalization:
    """(value - mean) / std per dimension, for arrays of NumPy, JAX and torch, on any device.

    Where a modulation is a grid, it is per channel, the same in all cells. A dimension or channel that does not vary is
    only shifted, so that nothing becomes infinite.

    Args:
        mean: Numbers, one per dimension or channel: an array, a tensor or a list, kept as float32.
        std: Standard deviations, not negative.

    Raises:
        ConfigError: If they differ in number, one is not finite, or a standard deviation is negative.
    """

    def __init__(self, mean: Any, std: Any) -> None:
        mean, std = (np.asarray(on_cpu(part), np.float32) for part in (mean, std))
        if mean.ndim != 1 or mean.shape != std.shape or not np.isfinite([mean, std]).all() or (std < 0).any():
            raise ConfigError(
                f"expected finite means and as many standard deviations that are not negative, got {mean}, {std}"
            )
        varies = std > CONSTANT * np.abs(mean)
        self.mean = mean.astype(np.float32)  # a copy: that of a store is read-only, which torch warns of
        self.std = np.where(varies, std, 1).astype(np.float32)

    @classmethod
    def of_all(cls, functasets: Functasets) -> "Normalization":
        """From the statistics that the store holds, which are over all examples, held-out ones included.

        Args:
            functasets: A functaset, or several of one base network together.

        Raises:
            StoreFormatError: If the store is unfinished, or its statistics are damaged.
        """
        statistics = joined(functasets).store.statistics
        return cls(statistics["mean"], statistics["std"])

    @classmethod
    def of_split(cls, functasets: Functasets, split: str = "train") -> "Normalization":
        """From the examples of one split alone; reads them once, a few at a time.

        Args:
            functasets: A functaset, or several of one base network together.
            split: Which one.

        Raises:
            ConfigError: If the split is empty.
            StoreFormatError: If rows are missing or damaged.
        """
        statistics = joined(functasets).select(split=split).store.statistics
        return cls(statistics["mean"], statistics["std"])

    def __repr__(self) -> str:
        return f"<Normalization of {len(self.mean)} dimensions or channels>"

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of its numbers."""
        return hashlib.sha256(np.stack([self.mean, self.std]).tobytes()).hexdigest()

    def apply(self, modulations: A) -> A:
        """Normalised modulations; the last axis is the dimension or channel, so grids must not be flattened.

        Args:
            modulations: An array of NumPy or JAX, a tensor, or a list of numbers, which becomes a float32 array.

        Raises:
            ConfigError: If the last axis has another length.
        """
        modulations, mean, std = self._like(modulations)
        return (modulations - mean) / std  # type: ignore[operator]

    def invert(self, normalized: A) -> A:
        """Modulations again, such as `decoder` takes them; arguments and errors as for `apply`."""
        normalized, mean, std = self._like(normalized)
        return normalized * std + mean  # type: ignore[operator]

    def _like(self, array: Any) -> tuple[Any, Any, Any]:
        """An array, and mean and std as arrays that it can be computed with, where it lies."""
        if isinstance(array, list | tuple):
            array = np.array([on_cpu(part) for part in array], np.float32)
        if array.shape[-1:] != self.mean.shape:
            raise ConfigError(
                f"modulations of shape {tuple(array.shape)}, expected {len(self.mean)} dimensions or channels along "
                "the last axis; give flattened grids their shape again, (*cells, channel)"
            )
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(array, torch.Tensor):
            like = {"dtype": array.dtype, "device": array.device}
            return array, torch.as_tensor(self.mean, **like), torch.as_tensor(self.std, **like)
        return array, self.mean, self.std


def on_cpu(array: Any) -> Any:
    """A tensor without its gradient where NumPy can read it, anything else as it is."""
    torch = sys.modules.get("torch")
    return array.detach().cpu().numpy() if torch is not None and isinstance(array, torch.Tensor) else array


def keep_whole(config: Any, lowest: int, *names: str) -> None:
    """Check options of a frozen dataclass, and keep them as Python integers, which JSON takes.

    Raises:
        ConfigError: See `whole`.
    """
    for name in names:
        object.__setattr__(config, name, whole(name, getattr(config, name), lowest))


def plain(value: Any) -> Any:
    """Python's own numbers, in tuples."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return tuple(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


Batch = dict[str, Any]
"""`modulations`, `index`, `labels` by name, `id` if asked for, and `values` and `coords` if they are decoded: arrays of
one library, `id` of NumPy or a list."""


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
        flatten: Give the numbers of a grid in one row.
        ids: Give the names of examples in their archive.

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
        flatten: bool,
        ids: bool,
    ) -> None:
        if isinstance(decode, DecodeGrid):
            functaset.domain.resolve(decode.resolution, decode.region)
        elif decode is not None and not isinstance(decode, DecodePoints):
            raise ConfigError(f"decode must be a DecodeGrid or DecodePoints, got {decode!r}")
        if decode is not None and not functaset.store.decodable:
            raise ConfigError(
                f"{functaset.store.path}: their domains or features differ, so that no decoded values would be those "
                "of all; load each by itself, or without decode="
            )
        self._functaset, self._decode = functaset, decode
        self._names, self._normalization = label_names(functaset.store, labels), _normalization(functaset, normalize)
        self._flatten, self._has_ids = is_flattened(functaset, flatten), bool(ids)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("labels", "_ids")}

    @functools.cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """The labels of all examples, in memory: a gather from there takes a microsecond, from a column thirty."""
        return {name: np.asarray(self._functaset.labels[name]) for name in self._names}

    @functools.cached_property
    def _ids(self) -> np.ndarray:
        """The names of all examples, in memory for the same reason."""
        return np.asarray(self._functaset.ids)

    def batch(self, indices: np.ndarray, modulations: np.ndarray, rng: np.random.Generator | None = None) -> Batch:
        """One batch.

        Args:
            indices: Of its examples in the functaset.
            modulations: Of these, in the shape that they are stored in.
            rng: Chooses random points, if such are decoded.
        """
        if self._normalization is not None:
            modulations = self._normalization.apply(modulations)
        if self._flatten:
            modulations = modulations.reshape(len(modulations), self._functaset.config.network.modulation_size)
        labels = {name: values[indices] for name, values in self.labels.items()}
        batch = {"modulations": modulations, "index": indices, "labels": labels, **self._decoded(indices, rng)}
        return batch | {"id": self._ids[indices]} if self._has_ids else batch

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

    @property
    def has_random_points(self) -> bool:
        """Whether each batch is decoded at points of its own."""
        return isinstance(self._decode, DecodePoints)

    def options(self) -> dict[str, Any]:
        """What decides the content of batches, as plain JSON."""
        normalization, decode = self._normalization, self._decode
        return {
            "normalization": None if normalization is None else normalization.fingerprint,
            "labels": list(self._names),
            "decode": None if decode is None else {"kind": type(decode).__name__, **dataclasses.asdict(decode)},
            **({"flatten": True} if self._flatten else {}),
            **({"ids": True} if self._has_ids else {}),
        }


def _normalization(functaset: Functaset, normalize: Any) -> Normalization | None:
    if isinstance(normalize, bool | np.bool_):
        return Normalization.of_all(functaset) if normalize else None
    if not isinstance(normalize, Normalization):
        raise ConfigError(f"normalize must be True, False or a Normalization, got {normalize!r}")
    if len(normalize.mean) != (size := functaset.config.network.cell_size):
        what = "dimensions" if functaset.modulations.ndim == 2 else "channels"
        raise ConfigError(f"{functaset.store.path}: modulations have {size} {what}, got {normalize!r}")
    return normalize


def is_flattened(functaset: Functaset, flatten: Any) -> bool:
    """Whether modulations are to be made vectors, which those that are vectors already need not.

    Raises:
        ConfigError: If `flatten` is neither True nor False.
    """
    if not isinstance(flatten, bool | np.bool_):
        raise ConfigError(f"flatten must be True or False, got {flatten!r}")
    return bool(flatten) and functaset.modulations.ndim > 2
