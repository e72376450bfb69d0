"""How does an example on a three-dimensional grid become a mesh, at any resolution?"""

import dataclasses
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from functa_store.decode.functaset import Functaset
from functa_store.decode.memory import check_memory
from functa_store.errors import ConfigError, GridError, MissingLibraryError, StorageError
from functa_store.grids import Region

SUFFIXES = (".ply", ".obj", ".glb")
AXES = ("z", "y", "x")

LEVEL = 0.5
"""Occupancy at the surface of a shape."""

_COPIES = 4
"""Grids of one float32 per point that are in memory at once: decoded, padded, and two of marching cubes' own."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A closed surface, ready for `trimesh.Trimesh(vertices, faces)`.

    Attributes:
        vertices: x, y, z of each corner, in [0, 1] over the domain; y is up if it was in the archive.
        faces: Corners of each triangle, counter-clockwise seen from outside; none if nothing reaches the level.
    """

    vertices: Float32[np.ndarray, "vertices 3"]
    faces: Int32[np.ndarray, "faces 3"]


def surface(
    functaset: Functaset,
    index: int,
    resolution: int | Sequence[int] | None = None,
    *,
    region: Region | None = None,
    level: float = LEVEL,
    channel: str | None = None,
) -> Surface:
    """The surface at which a value crosses a level, by marching cubes (Lewiner's).

    Whatever lies above the level at the edge of the grid is closed there.

    Args:
        functaset: Of axes z, y and x.
        index: Which example.
        resolution: Points inside the region, one number for every axis or one per axis; None keeps the archive's.
        region: Per axis (low, high), in [0, 1]; None means all.
        level: A value of the channel.
        channel: Name; None takes the first one.

    Raises:
        ConfigError: If the functaset has other axes, or no such channel.
        ExampleIndexError: If there is no example of that index.
        GridError: If resolution or region do not fit the domain, or the grid does not fit into memory.
        MissingLibraryError: If scikit-image is not installed.
    """
    domain, channels = functaset.domain, functaset.features.channels
    check_solid(functaset)
    if channel is not None and channel not in channels:
        raise ConfigError(f"{functaset.store.path}: found channels {channels}, expected {channel!r} among them")
    shape = domain.resolve(resolution, region)
    padded = tuple(n + 2 for n in shape)
    check_memory(_COPIES, int(np.prod(padded, dtype=object)), 1)
    values = functaset.decode(index, resolution=resolution, region=region)[0]
    values = values[..., channels.index(channel) if channel else 0]
    corners, faces = _marching_cubes(np.pad(values, 1, constant_values=level - LEVEL), level)
    low, high = np.array([(0.0, 1.0)] * 3 if region is None else region, np.float64).T
    # Point 1 of the padded grid is at the centre of the region's first cell.
    positions = low + (high - low) * np.clip((corners - 0.5) / shape, 0, 1)
    return Surface(
        vertices=np.ascontiguousarray(positions[:, ::-1], np.float32), faces=np.ascontiguousarray(faces, np.int32)
    )


def check_solid(functaset: Functaset) -> None:
    """Refuse what is no grid in space.

    Raises:
        ConfigError: If the axes are not z, y and x.
    """
    if (axes := functaset.domain.axes) != AXES:
        raise ConfigError(f"{functaset.store.path}: found axes {axes}, which enclose nothing; expected {AXES}")


def write_mesh(
    functaset: Functaset,
    index: int,
    path: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    region: Region | None = None,
) -> tuple[int, int]:
    """Write the surface of one example.

    Args:
        functaset: Of axes z, y and x.
        index: Which example.
        path: The file, ending in .ply, .obj or .glb.
        resolution: See `surface`.
        region: See `surface`.

    Returns:
        Vertices and faces.

    Raises:
        ConfigError: If the functaset has other axes, or the path ends in something else.
        GridError: If the example is empty, or as for `surface`.
        MissingLibraryError: If scikit-image or trimesh is not installed.
        StorageError: If the file cannot be written.
    """
    if (suffix := Path(path).suffix.lower()) not in SUFFIXES:
        raise ConfigError(f"{os.fspath(path)}: expected a name that ends in {', '.join(SUFFIXES)}, found {suffix!r}")
    trimesh = _library("trimesh")
    found = surface(functaset, index, resolution, region=region)
    if not len(found.faces):
        raise GridError(
            f"{functaset.store.path}: example {index} has no surface: nothing reaches {LEVEL}; take another example, a "
            "higher resolution or another region"
        )
    mesh = trimesh.Trimesh(vertices=found.vertices, faces=found.faces, process=False)
    try:
        mesh.export(os.fspath(path), file_type=suffix[1:])
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error
    return len(found.vertices), len(found.faces)


def _marching_cubes(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners in units of points along (z, y, x), and faces that are counter-clockwise once corners are (x, y, z)."""
    measure = _library("skimage.measure", "scikit-image")
    if not values.max() > level:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    corners, faces, _, _ = measure.marching_cubes(values, level, gradient_direction="descent")
    return corners, faces


def _library(module: str, package: str | None = None) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"meshes need {package or module}, which is not installed: pip install 'functa-store[shapes]'"
        ) from error
