"""What a batch holds: which examples, their modulations normalised, labels and decoded values."""

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from functa_store.config import whole
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError
from functa_store.loaders.joined import Functasets, is_decodable, joined, odd_labels
from functa_store.metrics import moments
from functa_store.store.reading.rows import Index, as_array, places_of

A = TypeVar("A")

ROWS_AT_A_TIME = 16384
CONSTANT = 1e-6
"""A standard deviation below this share of the mean is rounding noise of float32."""


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
        functaset = joined(functasets)
        examples = of_split(functaset, split)
        parts = (examples[start : start + ROWS_AT_A_TIME] for start in range(0, len(examples), ROWS_AT_A_TIME))
        cell_size = functaset.config.network.cell_size
        statistics = moments(functaset.modulations[part].reshape(-1, cell_size) for part in parts)
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


Where = Mapping[str, Any]
"""Labels by name, each with a value or several, one of which it must have; classes by their names or numbers."""


def select(functaset: Functaset, split: str | None, index: Index | None, where: Where | None) -> np.ndarray | None:
    """Places of the examples that a caller means, in the order of the index; None stands for all.

    Args:
        functaset: Where they are.
        split: Only those of this split.
        index: Only these.
        where: Only those with these labels.

    Raises:
        ConfigError: If there is no such example, label or class.
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    if split is None and index is None and where is None:
        return None
    found = np.arange(len(functaset))
    if index is not None:
        found = as_array(places_of(functaset.store.path, index, len(functaset)))
        if len(found) == 0:
            raise ConfigError(f"{functaset.store.path}: no examples of this index, there are {len(functaset)}")
    if split is not None:
        found = found[np.isin(found, of_split(functaset, split))]
    if where is not None and not isinstance(where, Mapping):
        raise ConfigError(f"where must be a dictionary of labels, such as {{'digit': [3, 8]}}, got {where!r}")
    for name, wanted in (where or {}).items():
        values = _values(functaset, name, wanted)
        found = found[np.isin(np.asarray(functaset.labels[name])[found], values)]
    if len(found) == 0:
        asked = [f"split={split!r}"] * (split is not None) + ["index="] * (index is not None)
        asked += [] if where is None else [f"where={dict(where)}"]
        raise ConfigError(f"{functaset.store.path}: no example is of all of {', '.join(asked)}; ask for less")
    return found


def _values(functaset: Functaset, name: str, wanted: Any) -> np.ndarray:
    """Values of a label that are wanted, as they are stored.

    Raises:
        ConfigError: If there is no such label or class, or the label has values of another kind.
    """
    (name,) = label_names(functaset, [name])
    values = [wanted] if isinstance(wanted, str) or not np.ndim(wanted) else list(wanted)
    classes, dtype = functaset.label_names.get(name, ()), functaset.labels[name].dtype
    if dtype.kind not in "UTO":
        if unknown := [value for value in values if isinstance(value, str) and value not in classes]:
            has = f"classes {list(classes)}" if classes else f"{dtype} without names"
            raise ConfigError(f"{functaset.store.path}: label {name!r} has no {unknown}, but {has}")
        values = [classes.index(value) if isinstance(value, str) else value for value in values]
    return np.array(values)


def of_split(functaset: Functaset, split: str) -> np.ndarray:
    """Places of the examples of a split.

    Raises:
        ConfigError: If there are none.
    """
    if not isinstance(split, str):
        raise ConfigError(f"split must be the name of one split, got {split!r}; take more of them by index=")
    splits = functaset.split[:]
    found = np.flatnonzero(splits == split)
    if len(found) == 0:
        raise ConfigError(
            f"{functaset.store.path}: no split {split!r}, there are {sorted(map(str, np.unique(splits)))}"
        )
    return found


def label_names(functaset: Functaset, labels: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the labels that a caller means; None stands for all.

    Raises:
        ConfigError: If there is no label of a name, or a name is given where a list of names is meant.
    """
    if isinstance(labels, str):
        raise ConfigError(f"labels must be a list of names, got {labels!r}; write [{labels!r}]")
    if labels is None and (odd := odd_labels(functaset)):
        raise ConfigError(
            f"{functaset.store.path}: not all have labels {odd} with the same names of classes; name those that "
            f"batches are to hold by labels=, such as labels={sorted(functaset.labels)}"
        )
    names = tuple(functaset.labels if labels is None else labels)
    if unknown := [name for name in names if name not in functaset.labels]:
        raise ConfigError(f"{functaset.store.path}: no labels {unknown}, there are {sorted(functaset.labels)}")
    return names


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
        if decode is not None and not is_decodable(functaset):
            raise ConfigError(
                f"{functaset.store.path}: their domains or features differ, so that no decoded values would be those "
                "of all; load each by itself, or without decode="
            )
        self._functaset, self._decode = functaset, decode
        self._names, self._normalization = label_names(functaset, labels), _normalization(functaset, normalize)
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
