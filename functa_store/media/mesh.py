"""Surfaces of decoded shapes as .ply, .obj and .glb files, by marching cubes."""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from functa_store.decode.free_modulations import is_free
from functa_store.decode.functaset import (
    Functaset,
    Which,
    check_memory,
    chosen_modulation,
    decode_chosen,
    opened,
)
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError, StorageError
from functa_store.store.storage.objects import Location
from functa_store.support.atomic_output import replacing
from functa_store.support.optional import require

SLAB_POINTS = 2**21
"""Points of a slab: a fifth of a second."""

March = Callable[..., Any]
"""`skimage.measure.marching_cubes`."""


def marching_cubes(
    march: March, values: Float32[np.ndarray, "z y x"], level: float
) -> tuple[Float32[np.ndarray, "vertices 3"], Int32[np.ndarray, "faces 3"]]:
    """The surface at a level, as Lewiner's algorithm finds it in the whole grid.

    Two slabs share a plane of points, and have the same vertices on its edges, which become one.

    Args:
        march: Finds the surface of a slab.
        values: On the grid.
        level: Of the surface.

    Returns:
        Vertices in units of points along (z, y, x), and the faces between them; none if nothing crosses the level.
    """
    depth = max(1, SLAB_POINTS // values[0].size)
    vertices, faces, count = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.int32)], 0
    edge = np.zeros(0, np.uint64), np.zeros(0, np.int64)  # of the last slab's last plane: places and numbers
    for start in range(0, len(values) - 1, depth):
        slab = values[start : start + depth + 1]
        if not slab.min() <= level <= slab.max() or slab.min() == slab.max():
            edge = np.zeros(0, np.uint64), np.zeros(0, np.int64)
            continue
        corners, triangles, _, _ = march(slab, level, gradient_direction="descent")
        numbers, is_new = _numbered(corners, edge, count)
        on_last_plane = np.flatnonzero(corners[:, 0] == len(slab) - 1)
        edge = _places(corners[on_last_plane]), numbers[on_last_plane]
        corners[:, 0] += start
        vertices.append(corners[is_new])
        faces.append(numbers[triangles].astype(np.int32))
        count += len(vertices[-1])
    return np.concatenate(vertices), np.concatenate(faces)


def _numbered(corners: np.ndarray, edge: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each vertex of a slab, and whether it is a new one; those on its first plane may be known."""
    known, numbers_of_known = edge
    numbers, is_new = np.empty(len(corners), np.int64), np.ones(len(corners), bool)
    if len(known):
        on_first_plane = np.flatnonzero(corners[:, 0] == 0)
        places, order = _places(corners[on_first_plane]), np.argsort(known, kind="stable")
        nearest = np.minimum(np.searchsorted(known[order], places), len(known) - 1)
        found = known[order][nearest] == places
        numbers[on_first_plane[found]] = numbers_of_known[order][nearest[found]]
        is_new[on_first_plane[found]] = False
    numbers[is_new] = count + np.arange(np.count_nonzero(is_new))
    return numbers, is_new


def _places(corners: np.ndarray) -> np.ndarray:
    """The bits of y and x as one number."""
    y, x = np.ascontiguousarray(corners[:, 1:].T, np.float32).view(np.uint32).astype(np.uint64)
    return (y << np.uint64(32)) | x


SUFFIXES = (".ply", ".obj", ".glb")
AXES = ("z", "y", "x")

_COPIES = 4
"""Grids of one float32 per point that are in memory at once: decoded, padded, and two of marching cubes' own."""

_ROWS_AT_ONCE = 10_000
"""Lines of an .obj that are written together."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A closed surface, ready for `trimesh.Trimesh(vertices, faces)`.

    Attributes:
        vertices: x, y, z of each corner, in [0, 1] over the domain; y is up if it was in the archive.
        faces: Corners of each triangle, counter-clockwise seen from outside; none if nothing reaches the level.
        level: The value at the surface.
    """

    vertices: Float32[np.ndarray, "vertices 3"]
    faces: Int32[np.ndarray, "faces 3"]
    level: float


def surface(
    functaset: Functaset | Location,
    index: Which,
    resolution: int | Sequence[int] | None = None,
    *,
    region: Region | None = None,
    level: float | None = None,
    channel: str | None = None,
) -> Surface:
    """The surface at which a value crosses a level, by marching cubes (Lewiner's).

    Whatever lies above the level at the edge of the grid is closed there.

    Args:
        functaset: An open one, or where it is; of axes z, y and x.
        index: Which example; or a modulation instead, an array of floats of its shape.
        resolution: Points inside the region, one number for every axis or one per axis; None keeps the archive's.
        region: Per axis (low, high), in [0, 1]; None means all.
        level: A value of the channel; None takes that of `usual_level`.
        channel: Name; None takes that of `usual_level`.

    Raises:
        ConfigError: If the functaset has other axes, or no such channel or modulation, or the level is no number.
        ExampleIndexError: If there is no example of that index.
        GridError: If resolution or region do not fit the domain, or the grid does not fit into memory.
        MissingLibraryError: If scikit-image is not installed.
    """
    functaset = opened(functaset)
    domain, channels = functaset.domain, functaset.features.channels
    check_solid(functaset)
    if channel is not None and channel not in channels:
        raise ConfigError(f"{functaset.store.path}: found channels {channels}, expected {channel!r} among them")
    channel = usual_channel(functaset) if channel is None else channel
    level = usual_level(functaset, channel) if level is None else level
    if not math.isfinite(level):
        raise ConfigError(f"level must be a finite number, got {level}")
    shape = domain.resolve(resolution, region)
    padded = tuple(n + 2 for n in shape)
    check_memory(_COPIES, math.prod(padded), 1, beside=4 * math.prod((*shape, len(channels))))
    modulation = chosen_modulation(functaset, index) if is_free(index) else index
    decoded = decode_chosen(functaset, modulation, resolution, region=region, clip=False)[0]
    low, high = _range(functaset, channel)
    values = np.pad(decoded[..., channels.index(channel)], 1, constant_values=level - (high - low) / 2)
    corners, faces = _marching_cubes(values, level)
    start, end = np.array([(0.0, 1.0)] * 3 if region is None else region, np.float64).T
    # Point 1 of the padded grid is at the centre of the region's first cell.
    positions = start + (end - start) * np.clip((corners - 0.5) / shape, 0, 1)
    return Surface(
        vertices=np.ascontiguousarray(positions[:, ::-1], np.float32),
        faces=np.ascontiguousarray(faces, np.int32),
        level=level,
    )


def usual_channel(functaset: Functaset) -> str:
    """The channel whose surface is that of things: of a scene its density, else the first one."""
    channels = functaset.features.channels
    return channels[0] if functaset.domain.scene is None else channels[-1]


def usual_level(functaset: Functaset, channel: str) -> float:
    """The value of a channel at the surface of things.

    That is the middle of its range, 0.5 for occupancy; the density of a scene stops half of the light along the edge
    of a native cell, or is in the middle of its range, whichever is less.
    """
    scene, (low, high) = functaset.domain.scene, _range(functaset, channel)
    middle = (low + high) / 2
    if scene is not None and channel == usual_channel(functaset):
        return min(middle, math.log(2) / (scene.density_scale * max(scene.lengths) / max(scene.resolution)))
    return middle


def _range(functaset: Functaset, channel: str) -> tuple[float, float]:
    features = functaset.features
    return features.value_ranges[features.channels.index(channel)]


def check_solid(functaset: Functaset) -> None:
    """Refuse what is no grid in space.

    Raises:
        ConfigError: If the axes are not z, y and x.
    """
    if (axes := functaset.domain.axes) != AXES:
        raise ConfigError(f"{functaset.store.path}: found axes {axes}, which enclose nothing; expected {AXES}")


def write_mesh(
    functaset: Functaset | Location,
    index: Which,
    path: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    region: Region | None = None,
) -> tuple[int, int]:
    """Write the surface of one example, if it has one.

    Args:
        functaset: An open one, or where it is; of axes z, y and x.
        index: Which example; or a modulation instead, an array of floats of its shape.
        path: The file, ending in .ply, .obj or .glb.
        resolution: See `surface`.
        region: See `surface`.

    Returns:
        Vertices and faces; 0 and 0 if nothing reaches the level, and no file is written.

    Raises:
        ConfigError: If the functaset has other axes or modulations, or the path ends in something else.
        ExampleIndexError: If there is no example of that index.
        GridError: As for `surface`.
        MissingLibraryError: If scikit-image or trimesh is not installed.
        StorageError: If the file cannot be written.
    """
    if (suffix := Path(path).suffix.lower()) not in SUFFIXES:
        raise ConfigError(f"{os.fspath(path)}: expected a name that ends in {', '.join(SUFFIXES)}, found {suffix!r}")
    trimesh = require("trimesh", extra="shapes")
    found = surface(functaset, index, resolution, region=region)
    if not len(found.faces):
        return 0, 0
    mesh = trimesh.Trimesh(vertices=found.vertices, faces=found.faces, process=False)
    try:
        with replacing(path) as part:
            if suffix == ".obj":
                _write_obj(part, found.vertices, found.faces)
            else:
                mesh.export(os.fspath(part), file_type=suffix[1:])
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error
    return len(found.vertices), len(found.faces)


def _write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """As trimesh does, whose one string of all numbers takes seconds in which nothing else runs."""
    with path.open("w", encoding="ascii") as file:
        for line, rows in (("v %.8f %.8f %.8f\n", vertices), ("f %d %d %d\n", faces + 1)):
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                some = rows[start : start + _ROWS_AT_ONCE]
                file.write(line * len(some) % tuple(some.ravel().tolist()))


def _marching_cubes(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners in units of points along (z, y, x), and faces that are counter-clockwise once corners are (x, y, z)."""
    measure = require("skimage.measure", extra="shapes", name="scikit-image")
    if not values.max() > level:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    return marching_cubes(measure.marching_cubes, values, level)
