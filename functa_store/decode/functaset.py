"""How does a reader see a functaset?"""

import dataclasses
import functools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from functa_store.config import ConvertConfig
from functa_store.errors import ExampleIndexError, GridError
from functa_store.grids import CellGrid, Region
from functa_store.metrics import psnr
from functa_store.sources import FeatureSpec
from functa_store.store.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.store.reader import StoreReader
from functa_store.store.rows import Rows

if TYPE_CHECKING:
    from functa_store.decode.decoder import Decoder, TiledDecoder

Index = int | slice | Sequence[int] | np.ndarray
"""An example, or several: a slice, integers, or a boolean mask over all examples."""


def open_functaset(path: Location, *, storage: StorageOptions = NO_OPTIONS, verify: bool = False) -> "Functaset":
    """Open a functaset; nothing but its description is read until it is asked for.

    An unfinished one holds the examples that were finished when it was opened.

    Args:
        path: The store: a path or a URL (s3://, gs://, http(s)://, memory://).
        storage: How to reach a bucket.
        verify: Compare the checksum of each shard when it is first touched; everything else always is.

    Raises:
        ConfigError: If a URL makes no sense.
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    return Functaset(StoreReader(path, storage=storage, verify=verify))


class Functaset:
    """A dataset stored as functions: one modulation per example, one base network for all.

    Args:
        store: The open store.

    Attributes:
        store: The open store; what is not named here is there.
    """

    def __init__(self, store: StoreReader) -> None:
        self.store = store

    def __len__(self) -> int:
        return self.store.num_examples

    def __getitem__(self, index: int) -> "Example":
        """One example.

        Raises:
            ExampleIndexError: If there is none of that index; several are chosen by `decode`.
        """
        if not hasattr(index, "__index__") or not -len(self) <= index < len(self):
            raise ExampleIndexError(f"{self.store.path}: example {index!r} does not exist; there are {len(self)}")
        return Example(functaset=self, index=range(len(self))[index])

    def __iter__(self) -> Iterator["Example"]:
        return (Example(functaset=self, index=index) for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store}  # compiled functions are made anew

    def __repr__(self) -> str:
        return f"<Functaset {' · '.join(self.summary())}>"

    def _repr_html_(self) -> str:
        from functa_store.decode.notebook import functaset_html

        return functaset_html(self)

    def summary(self) -> list[str]:
        """What a person wants to know first, in a few short phrases."""
        domain = " x ".join(
            f"{axis} {n}" for axis, n in zip(self.store.domain.axes, self.store.domain.resolution, strict=True)
        )
        phrases = [
            self.store.path,
            f"{len(self)} examples" if self.store.complete else f"{len(self)} of {self.store.num_total} examples",
            f"{domain} x {len(self.store.features.channels)} channels",
            f"modulations of {self.config.network.modulation_size}",
        ]
        return phrases + [f"{name} {q.psnr_mean:.2f} dB" for name, q in self.store.quality.items() if q.psnr_mean]

    @property
    def modulations(self) -> Rows:
        """The modulations, (example, modulation); read when indexed."""
        return self.store.modulations

    @property
    def mse(self) -> Rows:
        """Mean squared error of each example's fit, unclipped; read when indexed."""
        return self.store.mse

    @property
    def psnr(self) -> np.ndarray:
        """PSNR of each example's fit in decibels."""
        return psnr(self.mse[:], self.store.features.span)

    @property
    def ids(self) -> Rows:
        """Name of each example in its archive."""
        return self.store.ids

    @property
    def split(self) -> Rows:
        """Split of each example: "train", "validation" or "test"."""
        return self.store.split

    @property
    def labels(self) -> Mapping[str, Rows]:
        """Every label by name, one value per example; read when indexed."""
        return self.store.labels

    @property
    def base(self) -> dict[str, np.ndarray]:
        """The base weights by name, such as "sine_0/kernel", and the inner loop's rates."""
        return self.store.base

    @property
    def domain(self) -> CellGrid:
        """Where the examples were sampled."""
        return self.store.domain

    @property
    def features(self) -> FeatureSpec:
        """What decoded values mean: channels, units, data range."""
        return self.store.features

    @property
    def config(self) -> ConvertConfig:
        """The whole configuration of the conversion."""
        return self.store.config

    @functools.cached_property
    def decoder(self) -> "Decoder":
        """Pure, jitted and differentiable: (base, modulations, coords) -> features; see `make_decoder`."""
        from functa_store.decode.decoder import make_decoder  # imports JAX, which reading modulations does without

        return make_decoder(self.config.network, *self._sizes)

    @functools.cached_property
    def _tiled(self) -> "TiledDecoder":
        from functa_store.decode.decoder import TiledDecoder

        return TiledDecoder(self.config.network, self.base, *self._sizes)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.store.domain.num_axes, self.store.features.num_channels

    def decode(
        self,
        index: Index,
        resolution: int | Sequence[int] | None = None,
        *,
        region: Region | None = None,
        coords: Float32[np.ndarray, "points axes"] | Sequence[Sequence[float]] | None = None,
        clip: bool = False,
    ) -> Float32[np.ndarray, "examples ..."]:
        """Features of some examples on a grid, or at points of the caller's choice.

        The first call compiles; every later one, of whatever size, does not.

        Args:
            index: Which examples; see `Index`.
            resolution: Points inside the region, one number for all axes or one per axis; None
                keeps the spacing of the archive.
            region: Per axis (low, high) in [0, 1]; None means the whole domain.
            coords: Points instead of a grid, each component in the order of the domain's axes.
            clip: Clip to the data range.

        Returns:
            Shape (examples, *resolution, channels), or (examples, points, channels) at points; the
            examples' axis is there for a single index, too.

        Raises:
            ExampleIndexError: If the index names no example.
            GridError: If resolution, region or points do not fit the domain.
        """
        domain, features = self.store.domain, self.store.features
        if coords is None:
            shape = domain.resolve(resolution, region)
            self._check_memory(math.prod(shape))
            points = domain.coords(resolution, region)
        elif resolution is None and region is None:
            points = _check_points(coords, domain.axes)
            shape = (len(points),)
        else:
            raise GridError("give either points (coords) or a grid (resolution, region), not both")
        decoded = self._tiled(self.modulations[self._index(index)], points)
        if clip:
            np.clip(decoded, *features.data_range, out=decoded)
        return decoded.reshape(len(decoded), *shape, features.num_channels)

    def _check_memory(self, num_points: int) -> None:
        """Refuse even one example at more points than this machine can hold."""
        needed = 4 * num_points * (self.features.num_channels + 4 * self.domain.num_axes)
        if needed > (memory := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
            raise GridError(
                f"{num_points} points of one example need {needed // 2**30} GiB, this machine has "
                f"{memory / 2**30:.3g}; choose a lower resolution, or decode region by region"
            )

    def _index(self, index: Index) -> slice | np.ndarray:
        """The same examples, with the axis of the examples even for a single one."""
        if isinstance(index, slice):
            return index
        positions = np.asarray(index)
        if positions.ndim == 0 and positions.dtype.kind in "iu":
            return positions[None]
        if positions.ndim != 1:
            raise ExampleIndexError(
                f"{self.store.path}: cannot index {len(self)} examples with {index!r}; use an integer, a slice, "
                "integers, or a mask with one value per example"
            )
        return positions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One example of a functaset; everything is read when it is asked for.

    Attributes:
        functaset: Where it is from.
        index: Its place there.
    """

    functaset: Functaset = dataclasses.field(repr=False)
    index: int

    @property
    def id(self) -> str:
        """Its name in the archive."""
        return str(self.functaset.ids[self.index])

    @property
    def split(self) -> str:
        """Its split."""
        return str(self.functaset.split[self.index])

    @property
    def labels(self) -> dict[str, Any]:
        """The value of every label."""
        return {name: values[self.index] for name, values in self.functaset.labels.items()}

    @property
    def modulation(self) -> Float32[np.ndarray, " modulation"]:
        """The modulation."""
        return self.functaset.modulations[self.index]

    @property
    def psnr(self) -> float:
        """PSNR of the fit in decibels."""
        return float(psnr(self.functaset.mse[self.index], self.functaset.store.features.span))

    def decode(self, resolution: int | Sequence[int] | None = None, **options: Any) -> np.ndarray:
        """Features without an examples' axis; arguments as for `Functaset.decode`."""
        return self.functaset.decode(self.index, resolution, **options)[0]


def _check_points(coords: Any, axes: tuple[str, ...]) -> np.ndarray:
    try:
        points = np.asarray(coords, np.float32)
    except (TypeError, ValueError) as error:
        raise GridError(f"coords must be numbers, one row per point: {error}") from error
    if points.ndim != 2 or points.shape[1] != len(axes) or not np.isfinite(points).all():
        raise GridError(
            f"coords must be finite, of shape (points, {len(axes)}) for axes {axes}, got shape {points.shape}"
        )
    return points
