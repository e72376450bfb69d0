"""Encoding of arrays with a finished base: whole examples as a conversion fits them, or what was seen of them."""

import dataclasses
import threading
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Num
from numpy.typing import ArrayLike

from functa_store.config import NetworkConfig
from functa_store.conversion.fit_shards import Sampling, largest_shard, ready_fit
from functa_store.decode.free_modulations import readable_array
from functa_store.decode.functaset import Coords, Functaset, check_points
from functa_store.domains.cells import GridPoints
from functa_store.domains.scene import FARTHEST, Lens, SceneVolume, camera_rays, check_pose
from functa_store.errors import ConfigError, GridError
from functa_store.learn.devices import FEATURE_BYTES, FIT_BATCH, fit_batch_size, one_at_a_time
from functa_store.learn.fit import FittedExamples, join
from functa_store.learn.observer import Observer
from functa_store.learn.point_observer import PointObserver, PointRows
from functa_store.learn.ray_observer import COLOUR
from functa_store.learn.tuning import ReadyFit
from functa_store.metrics import psnr
from functa_store.sources.features import FeatureSpec
from functa_store.support.memory import LRUCache
from functa_store.support.threads import check_jax

FITS_KEPT = 8
"""Compiled fits that an open functaset keeps: one for whole examples, others by the number of points seen."""

FARTHEST_FEATURE = 2.0
"""Widths of the data range beyond its ends at which values are taken for another unit's, as 0 to 255 for 0 to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Examples that were encoded with the base of a functaset.

    Attributes:
        modulations: One per example, (examples, *shape of a modulation); `Functaset.decode_modulations` decodes them.
        mse: Mean squared error of each fit over what was seen, in the squared unit of the features; not a number where
            nothing was.
        psnr: The same in decibels.
        metrics: What else a functaset of these features keeps of a fit, such as "iou", of what was seen.
    """

    modulations: Float32[np.ndarray, "examples ..."]
    mse: Float32[np.ndarray, " examples"]
    psnr: np.ndarray
    metrics: Mapping[str, Float32[np.ndarray, " examples"]]


class Prepared(NamedTuple):
    """A fit that can begin, and examples per call of it."""

    ready: ReadyFit
    batch_size: int


class Encoder:
    """Encodes arrays with the base of a functaset; `Functaset.encode` is its door.

    Args:
        functaset: Whose base, tuned steps, domain and features they are.
    """

    def __init__(self, functaset: Functaset) -> None:
        self._functaset = functaset
        self._fits: LRUCache[Prepared] = LRUCache(FITS_KEPT)
        self._lock = threading.Lock()

    def __call__(
        self,
        values: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        coords: GridPoints | Coords | None = None,
        poses: ArrayLike | None = None,
        focal: float | int | None = None,
    ) -> Encoded:
        """Modulations of arrays; see `Functaset.encode`."""
        check_jax("encoding")
        array = _as_numbers(self._functaset.store.path, values)
        if self._functaset.domain.scene is not None:
            if mask is not None or coords is not None:
                raise ConfigError("mask and coords are not for scenes; colours that are NaN are not seen")
            return self._scenes(array, self._functaset.domain.scene, poses, focal)
        if poses is not None or focal is not None:
            raise ConfigError(f"poses and focal are for scenes; {self._functaset.store.path} holds values at points")
        return self._values(array, mask, coords)

    def _values(self, array: np.ndarray, mask: ArrayLike | None, coords: GridPoints | Coords | None) -> Encoded:
        """Encode values at points."""
        domain, features, network = self._functaset.domain, self._functaset.features, self._functaset.config.network
        points = None if coords is None else check_points(coords, domain)
        num_axes = domain.num_axes if points is None or isinstance(points, GridPoints) else 1
        array = self._with_examples(array, num_axes)
        shape = array.shape[1:-1]
        if points is None:
            resolution = None if shape == domain.resolution else shape
            points = domain.points(resolution)
        elif shape != (expected := points.shape if isinstance(points, GridPoints) else (len(points),)):
            raise GridError(f"found values of shape {shape} at points of shape {expected}, expected one row for each")
        else:
            resolution = expected
        raw, are_whole = as_raw(self._functaset.store.path, array, features), mask is None
        if mask is not None:
            raw = np.where(self._seen(np.asarray(mask), array.shape), raw.astype(np.float32), np.float32(np.nan))
        elif not features.missing and raw.dtype.kind == "f":
            are_whole = not np.isnan(raw).any()
        rows = raw.reshape(len(raw), -1, raw.shape[-1])
        if resolution is None and (are_whole or features.missing):
            return self._encoded(rows, self._fit(None, Sampling(domain=domain, features=features), rows))
        positions = points if isinstance(points, np.ndarray) else points[np.arange(len(points))]
        return self._at_points(features.of_raw(rows), positions, network)

    def _at_points(self, found: np.ndarray, positions: np.ndarray, network: NetworkConfig) -> Encoded:
        """Encode features at points of the caller's, as many rows of them as the next power of two."""
        domain, features = self._functaset.domain, self._functaset.features
        found[:, domain.missing(positions)] = np.nan
        point_rows = PointRows(domain, network, positions)
        rows, share = point_rows(found)
        missing = dataclasses.replace(features, missing=True)
        observer = PointObserver(domain, network, point_rows.num_rows)
        prepared = self._fit(point_rows.num_rows, Sampling(domain=domain, features=missing), rows, observer)
        return self._encoded(rows, prepared, share)

    def _scenes(
        self, array: np.ndarray, domain: SceneVolume, poses: ArrayLike | None, focal: float | int | None
    ) -> Encoded:
        """Encode views of scenes: colours along the rays of cameras, or rays and colours as a converter has them."""
        if (poses is None) != (focal is None):
            raise ConfigError("poses and focal go together: the views of a scene, and the cameras that see them")
        if poses is not None and focal is not None:
            array = self._with_rays(self._with_examples(array, 3, channels=3), poses, focal)
        else:
            array = self._with_examples(array, 3, channels=domain.num_columns(3))
            if not np.isfinite(array[..., :COLOUR]).all() or np.isinf(array).any():
                raise ConfigError("found rays that are not finite; a colour that is not seen is NaN, its ray is not")
        count, views, height, width, columns = array.shape
        seen, native = (views, height, width), domain.observed
        if seen != native:
            domain = dataclasses.replace(domain, views=views, held_out_views=0, image_size=(height, width))
        rows = np.asarray(array, np.float32).reshape(count, -1, columns)
        sampling = Sampling(domain=domain, features=self._functaset.features)
        return self._encoded(rows, self._fit(None if seen == native else seen, sampling, rows))

    def _with_rays(
        self, views: Num[np.ndarray, "scenes views height width 3"], poses: ArrayLike, focal: float | int
    ) -> Float32[np.ndarray, "scenes views height width 9"]:
        """Views as a converter has them: origin and direction of the ray through each pixel, then its colour."""
        (count, num_views, height, width, _), cameras = views.shape, np.asarray(poses, np.float64)
        if cameras.ndim == 3:
            cameras = np.broadcast_to(cameras, (count, *cameras.shape))
        if cameras.shape != (count, num_views, 4, 4):
            raise ConfigError(
                f"found poses of shape {np.shape(poses)}, expected ({num_views}, 4, 4), one for each of {num_views} "
                f"views, or the same for each of {count} scenes"
            )
        if not 0 < focal < FARTHEST:
            raise ConfigError(f"focal must be positive and finite, got {focal}")
        colours, lens = as_raw(self._functaset.store.path, views, _COLOURS), Lens(float(focal))
        found = np.empty((count, num_views, height, width, COLOUR + 3), np.float32)
        found[..., COLOUR:] = _COLOURS.of_raw(colours) if colours.dtype == np.uint8 else views
        for scene, view in np.ndindex(count, num_views):
            check_pose(cameras[scene, view])
            found[scene, view, ..., :3], found[scene, view, ..., 3:COLOUR] = camera_rays(
                cameras[scene, view], height, width, lens
            )
        return found

    def _with_examples(self, array: np.ndarray, num_axes: int, channels: int | None = None) -> np.ndarray:
        """The same with an axis of examples."""
        wanted = self._functaset.features.num_channels if channels is None else channels
        given = array[None] if array.ndim == num_axes + 1 else array
        if given.ndim != num_axes + 2 or given.shape[-1] != wanted or 0 in given.shape:
            axes = {1: "points", 3: "z, y, x"}.get(num_axes, ", ".join(self._functaset.domain.axes))
            if self._functaset.domain.scene is not None:
                axes = "views, height, width"
            raise ConfigError(
                f"{self._functaset.store.path}: found an array of shape {array.shape}, expected ({axes}, {wanted}), "
                "channels last, or several of them with an axis of examples before"
            )
        return given

    def _seen(self, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Which values were seen, broadcast to the shape of all."""
        for found in (mask[..., None], mask):
            if mask.dtype == np.bool_ and found.shape in (shape, shape[1:], (*shape[:-1], 1), (*shape[1:-1], 1)):
                return np.broadcast_to(found, shape)
        raise ConfigError(
            f"found a mask of {mask.dtype} and shape {mask.shape}, expected booleans, True where a value was seen, of "
            f"shape {shape[1:-1]} or {shape[:-1]}, or with a last axis of {shape[-1]} channels"
        )

    def _fit(self, key: Hashable, sampling: Sampling, rows: np.ndarray, observer: Observer | None = None) -> Prepared:
        """The fit of examples of some rows, compiled when it is first called."""

        def make() -> Prepared:
            ready = ready_fit(self._functaset.config, self._functaset.base, sampling, observer)
            return Prepared(ready, self._batch_size(rows[0]))

        with self._lock:  # threads that come together prepare once
            return self._fits.get_or_make(key, make, lambda _: 1)

    def _batch_size(self, example: np.ndarray) -> int:
        """Examples per call: those of the functaset's own conversion, whose bits depend on it; few on accelerators."""
        if one_at_a_time():
            most = largest_shard(len(self._functaset), self._functaset.config)
            return fit_batch_size(None, 4 * example.size, most, lambda _: 0.0)
        return jax.local_device_count() * max(1, min(FIT_BATCH, FEATURE_BYTES // (4 * example.size)))

    def _encoded(self, rows: np.ndarray, prepared: Prepared, share: np.ndarray | None = None) -> Encoded:
        """Fit some examples, the same number per call whatever their number, spread over the devices."""
        (fit, shared, _), size = prepared
        devices = jax.local_device_count()
        parts = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            turn, device = np.divmod(np.arange(len(part)), devices)
            places = device * (size // devices) + turn
            batch, wanted = np.zeros((size, *part.shape[1:]), part.dtype), np.zeros(size, bool)
            batch[places], wanted[places] = part, True
            parts.append(FittedExamples(*(np.asarray(array)[places] for array in fit(shared, batch, wanted))))
        modulations, mse, metrics = join(parts)
        features = self._functaset.features
        # Of whole examples, too, values may be missing, or colours behind rays.
        values = rows[..., COLOUR:] if self._functaset.domain.scene is not None else rows
        seen = np.asarray(~np.isnan(values).all(axis=(1, 2)), np.float32) if share is None else share
        mse = np.divide(mse, seen, out=np.full_like(mse, np.nan), where=seen > 0)
        return Encoded(
            modulations=modulations.reshape(-1, *self._functaset.config.network.modulation_shape),
            mse=mse,
            psnr=psnr(mse, features.span),
            metrics=dict(zip(features.columns, metrics.T, strict=True)),
        )


_COLOURS = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)
"""What colours of views mean: bytes, or values in [0, 1]."""


def are_bytes(features: FeatureSpec) -> bool:
    """Whether raw values are bytes, as those of pictures are."""
    return (features.scale, features.offset) == (1 / 255, 0.0)


def as_raw(name: str, values: Num[np.ndarray, "*shape channels"], features: FeatureSpec) -> np.ndarray:
    """What a source would hand out: bytes as they are where a source's are, else what values mean, float32.

    Raises:
        ConfigError: If a value is infinite, or far out of the range of the data.
    """
    if values.dtype == np.uint8 and are_bytes(features):
        return values
    found = (values.astype(np.float64) - features.value_offset) / features.value_scale
    low, high = features.data_range
    beyond = FARTHEST_FEATURE * features.span
    if not np.isnan(found).all() and not low - beyond <= np.nanmin(found) <= np.nanmax(found) <= high + beyond:
        (least, most), (start, end) = (np.nanmin(values), np.nanmax(values)), features.value_range
        raise ConfigError(
            f"{name}: found values from {least:g} to {most:g}, far from those of the data, {start:g} to {end:g}; give "
            "values in the unit of what decode returns" + (", or bytes as uint8" if are_bytes(features) else "")
        )
    return ((found - features.offset) / features.scale).astype(np.float32)


def _as_numbers(name: str, values: ArrayLike) -> np.ndarray:
    try:
        array = readable_array(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{name}: the values cannot be read as one array ({error}); give an array of numbers, or examples of equal "
            "shapes"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name}: found values of {array.dtype}, expected numbers")
    return array
