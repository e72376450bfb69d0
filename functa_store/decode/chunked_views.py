"""Functasets as arrays in chunks: sizes of chunks, and TensorStore's views of decoded values and stored arrays.

A view decodes whole chunks, and TensorStore keeps them as far as its cache has room. Its threads call back into Python;
what they call waits for no view, since all of TensorStore's threads may be waiting for chunks already.
"""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from functa_store.config import whole
from functa_store.decode.descriptions import CHANNEL, EXAMPLE
from functa_store.domains.cells import CellGrid, GridPoints, Region
from functa_store.domains.domain import Domain
from functa_store.errors import ConfigError, GridError
from functa_store.store.reading.joined_store import JoinedStore
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.selected_store import SelectedStore
from functa_store.store.storage.hub import files_url
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.location import environment_endpoint, parse_location
from functa_store.store.storage.remote import RemoteObjects
from functa_store.support.threads import Birthplace, check_jax

if TYPE_CHECKING:
    import tensorstore as ts

    from functa_store.decode.functaset import Functaset

MOST_DECODED_BYTES = 16 * 2**20
"""Most bytes of decoded values in a chunk of an xarray dataset, unless one point alone has more."""

MOST_VIEWED_BYTES = 2**20
"""The same of a TensorStore view, of which people look at a window here and there."""

MOST_CACHE_BYTES = 2**62
"""Beyond any memory; TensorStore counts in 64 bits."""


def preferred_chunks(
    num_examples: int,
    rows_per_shard: int,
    resolution: Sequence[int],
    num_channels: int,
    most_bytes: int = MOST_DECODED_BYTES,
) -> list[int]:
    """Sizes of a chunk along example, axes and channel.

    Examples of a chunk are a power of two that divides those of a shard, so that no chunk reads two shards. An
    example that is too large for a chunk is split along its first axes. Channels stay together: they are decoded
    at once.
    """
    chunk, most = [1, *resolution, num_channels], most_bytes // 4
    for axis in range(1, len(chunk) - 1):
        if (too_many := math.prod(chunk)) <= most:
            break
        chunk[axis] = max(1, most // (too_many // chunk[axis]))
    if chunk[1:-1] == list(resolution):
        fitting = max(1, most // max(1, math.prod(chunk)))
        chunk[0] = max(1, min(rows_per_shard, 1 << fitting.bit_length() - 1, num_examples))
    return [max(1, size) for size in chunk]


_BIRTHPLACE = Birthplace()
"""TensorStore ends a process that was forked from one in which it has threads."""


def view_of(
    functaset: "Functaset",
    resolution: int | Sequence[int] | None,
    region: Region | None,
    chunk: int | Sequence[int] | None,
    *,
    clip: bool,
    cache_bytes: int,
) -> "ts.TensorStore":
    """What `Functaset.to_tensorstore` gives; errors as there.

    Args:
        functaset: Whose examples are decoded; grids that it keeps are not looked at, since TensorStore keeps its own.
        resolution: Points inside the region.
        region: Per axis (low, high).
        chunk: What is decoded together.
        clip: Clip to the ranges of the values.
        cache_bytes: Most bytes of chunks that TensorStore keeps.
    """
    check_jax("a view by TensorStore")
    _BIRTHPLACE.check("a view by TensorStore")
    import tensorstore as ts

    domain, channels, count = functaset.domain, functaset.features.num_channels, len(functaset)
    limit = min(whole("cache_bytes", cache_bytes, 0), MOST_CACHE_BYTES)
    axes = domain.points(resolution, region).axes
    shape = (count, *map(len, axes), channels)
    if 0 in shape:
        raise GridError(f"{functaset.store.path}: has no example yet, expected at least one to be viewed")
    chunks = _chunks(chunk, functaset.store, shape)

    uncached, num_points = functaset.without_cache(), math.prod(shape[1:-1])

    def read(wanted: "ts.IndexDomain", values: Float32[np.ndarray, "..."], _: Any) -> None:
        low, high = wanted.inclusive_min, wanted.exclusive_max
        first, *others = (axis[low[i] : high[i]] for i, axis in enumerate(axes, 1))
        points = GridPoints([np.tile(first, _repeats(math.prod(values.shape[1:-1]), num_points)), *others])
        decoded = uncached.decode(slice(low[0], high[0]), coords=points, clip=clip)
        values[...] = decoded[:, : len(first), ..., low[-1] : high[-1]]

    return ts.virtual_chunked(
        read,
        dtype=ts.float32,
        domain=ts.IndexDomain(shape=shape, labels=[EXAMPLE, *domain.axes, CHANNEL]),
        dimension_units=[None, *_units(domain, resolution, region), None],
        chunk_layout=ts.ChunkLayout(read_chunk_shape=chunks),
        context=ts.Context({"cache_pool": {"total_bytes_limit": limit}}),
    )


def _repeats(num_points: int, of: int) -> int:
    """How often points of a chunk are decoded, so that they get the bits that the whole grid's do.

    A few points are evaluated by another program than many are, which rounds otherwise.
    """
    from functa_store.decode.tiled_decoder import FEW_POINTS

    return FEW_POINTS // num_points + 1 if num_points <= FEW_POINTS < of else 1


def _chunks(chunk: int | Sequence[int] | None, store: StoreReader, shape: tuple[int, ...]) -> list[int]:
    """Sizes of a chunk along all dimensions.

    Raises:
        GridError: If they are not those of a chunk.
    """
    *sizes, channels = shape
    if chunk is None:
        rows = store.spec.layout.rows_per_shard
        return preferred_chunks(shape[0], rows, shape[1:-1], channels, MOST_VIEWED_BYTES)
    given = [chunk, *shape[1:-1]] if np.ndim(chunk) == 0 else list(chunk)  # type: ignore[arg-type]  # no number
    if len(given) != len(sizes) or not all(isinstance(n, int | np.integer) and n >= 1 for n in given):
        raise GridError(
            f"{store.path}: chunk must be a number of whole examples, or as many positive numbers as there are "
            f"dimensions without the channels', {len(sizes)}, got {chunk!r}"
        )
    return [*(min(int(n), size) for n, size in zip(given, sizes, strict=True)), channels]


def _units(domain: Domain, resolution: int | Sequence[int] | None, region: Region | None) -> list["ts.Unit | None"]:
    """The step along each axis in its unit; None where there is no unit, or steps differ."""
    import tensorstore as ts

    units = []
    for unit, length, along in zip(domain.units, domain.lengths, domain.axis_coords(resolution, region), strict=True):
        steps = np.abs(np.diff(along)) * (length if isinstance(domain, CellGrid) else 1.0)
        is_even = len(steps) > 0 and np.allclose(steps, steps[0], rtol=1e-4)
        units.append(ts.Unit(float(f"{steps.mean():.9g}"), unit) if is_even and unit != "1" else None)
    return units


def spec_of(store: StoreReader, name: str) -> dict[str, Any]:
    """What `Functaset.tensorstore_spec` gives; errors as there."""
    if name in ("id", "split"):
        attribute = {"id": "ids"}.get(name, name)
        raise ConfigError(
            f"{store.path}: TensorStore reads no texts, which {name!r} are; take functaset.{attribute}[:]"
        )
    if str(name).startswith("base/"):  # which all share, but for the rates of their fits
        while isinstance(store, SelectedStore | JoinedStore):
            store = store.store if isinstance(store, SelectedStore) else store.stores[0]
    if isinstance(store, SelectedStore):
        raise ConfigError(
            f"{store.path}: a selection is no array of its own; open that of the whole and index it by rows"
        )
    if isinstance(store, JoinedStore):
        return _stack(store, name)
    numbers = {"modulations", "mse", *store.spec.rounding, *(f"base/{array}" for array in store.spec.base)}
    numbers |= {f"labels/{label}" for label in store.labels} | {f"augmentation_{name}" for name in store.augmentations}
    numbers |= {f"statistics/{what}" for what in STATISTICS if store.spec.complete}
    numbers |= {"metrics"} if store.metrics else set()
    if name not in numbers:
        raise ConfigError(f"{store.path}: has no array {name!r} of numbers, there are {sorted(numbers)}")
    return {"driver": "zarr3", "kvstore": _kvstore(store, name), **STRICT}


def _stack(store: JoinedStore, name: str) -> dict[str, Any]:
    """The spec of an array of several stores, one after the other.

    Raises:
        ConfigError: If there is no such array in one of them, or its numbers mean something else in each.
    """
    known = {"modulations", "mse", *(f"labels/{label}" for label in store.labels), *["metrics"] * bool(store.metrics)}
    if name not in known:
        raise ConfigError(f"{store.path}: {name!r} is no array that follows from part to part, as {sorted(known)} do")
    if name == "modulations" and len({str(one.spec.rounding) for one in store.stores}) > 1:
        raise ConfigError(
            f"{store.path}: parts in int8 have scales of their own; take the array of one of them, or merge"
        )
    label = name.removeprefix("labels/")
    classes, several = store.label_names.get(label, ()), [one.label_names.get(label, ()) for one in store.stores]
    if name != label and any(names != classes[: len(names)] for names in several):
        raise ConfigError(
            f"{store.path}: {name!r} numbers its classes in another order in some of these; take "
            f"functaset.labels[{label!r}][:], or write them as one by functa_store.merge first"
        )
    layers, start, dtype = [], 0, _dtype(store.stores, name)
    for one in store.stores:
        shape = (len(one), *(one.modulations.shape[1:] if name == "modulations" else ()))
        shape += (len(one.metrics),) if name == "metrics" else ()
        outputs = [{"input_dimension": axis, "offset": -start if axis == 0 else 0} for axis in range(len(shape))]
        low, high = [start, *[0] * (len(shape) - 1)], [start + shape[0], *shape[1:]]
        domain = {"input_inclusive_min": low, "input_exclusive_max": high, "output": outputs}
        layers.append({**spec_of(one, name), "transform": domain})
        start += len(one)
    return {"driver": "stack", "dtype": dtype, "layers": layers}


STATISTICS = ("mean", "std", "min", "max")

STRICT = {"fill_missing_data_reads": False, "recheck_cached_data": "open"}
"""A file that is missing is damage, never zeros; and files of a complete functaset do not change."""


def _dtype(stores: Sequence[StoreReader], name: str) -> str:
    """The data type of an array of several stores.

    Raises:
        ConfigError: If it differs.
    """
    if name == "modulations":
        found = {store.spec.config.modulation_dtype for store in stores}
    elif name.startswith("labels/"):
        found = {store.labels[name.removeprefix("labels/")].dtype.name for store in stores}
    else:
        found = {"float32"}
    if len(found) > 1:
        raise ConfigError(f"{stores[0].path}: {name!r} has data types {sorted(found)} in the parts; take one's array")
    return found.pop()


def _kvstore(store: StoreReader, name: str) -> dict[str, Any]:
    """Where an array lies, in TensorStore's words.

    Raises:
        ConfigError: If TensorStore cannot reach it there.
    """
    objects = store.objects
    if isinstance(objects, LocalObjects):
        return {"driver": "file", "path": os.path.abspath(objects.path / name) + "/"}
    place = parse_location(objects.name)
    if not isinstance(objects, RemoteObjects) or isinstance(place, str) or place.scheme == "memory":
        raise ConfigError(f"{objects.name}: TensorStore cannot reach memory of this process; write to a disk or bucket")
    path = f"{place.prefix}/{name}/".lstrip("/")
    if place.scheme == "hf":
        return {"driver": "http", "base_url": files_url(place, objects.storage), "path": f"/{path}"}
    if place.scheme in ("http", "https"):
        return {"driver": "http", "base_url": place.bucket, "path": f"/{path}"}
    where = {"bucket": place.host, "path": path}
    if place.scheme == "gs":
        return {"driver": "gcs", **where}
    options = objects.storage
    endpoint = options.endpoint or environment_endpoint("s3")
    return {
        "driver": "s3",
        **where,
        **({"endpoint": endpoint} if endpoint else {}),
        **({"aws_region": options.region} if options.region else {}),
        **({"aws_credentials": {"type": "anonymous"}} if options.anonymous else {}),
    }
