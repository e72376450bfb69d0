"""Occupancies of one file of an archive at a wanted resolution, and the format binvox.

The format of Patrick Min's binvox (https://www.patrickmin.com/binvox/binvox.html): lines of text from "#binvox 1"
to "data", then pairs of bytes, a value (0 or 1) and how often it comes. In the file y runs fastest, then z, then x;
`dim` names the sizes of x, z and y in that order.
"""

import dataclasses
import math
import posixpath
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, UInt8

from converters.archives.memory_share import take_room
from converters.shapes.layouts import Kind
from converters.shapes.mesh_files import filled, read_mesh, turned_up, voxelise
from functa_store.config import whole
from functa_store.errors import ConfigError, FunctaStoreError, MemberError
from functa_store.support.shortening import shown

MAX_DIM = 1024
"""Cells along an axis; a larger grid is no shape that a network learns."""

MAX_CELLS = 2**28
"""Cells in all: 256 MiB in memory."""

_MAGIC = b"#binvox 1"
_MAX_HEADER = 4096
_RUNS_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Binvox:
    """The cells of one shape, and where they lie.

    Cell (i, j, k) along x, y, z has its centre at translate + scale * (i + 0.5, j + 0.5, k + 0.5) / max(dim) in the
    coordinates of the mesh that it was made from. y is up.

    Attributes:
        occupancy: 1 inside the shape, 0 outside.
        translate: Lower corner of the grid: x, y, z.
        scale: Length of its longest side.
    """

    occupancy: UInt8[np.ndarray, "z y x"]
    translate: tuple[float, float, float]
    scale: float


def read_binvox(content: bytes) -> Binvox:
    """Decode a file.

    Args:
        content: The whole file.

    Raises:
        MemberError: If it is no binvox file of version 1, or its cells are damaged, too few or too many; the message
            is the reason alone.
    """
    header, start = _header(content)
    size_x, size_z, size_y = _dimensions(header)
    translate = _numbers(header, "translate", 3, (0.0, 0.0, 0.0))
    (scale,) = _numbers(header, "scale", 1, (1.0,))
    if not scale > 0:
        raise MemberError(f"has scale {scale} in its header, expected a positive number")
    cells = _run_lengths(content, start, size_x * size_z * size_y).reshape(size_x, size_z, size_y)
    occupancy = np.ascontiguousarray(cells.transpose(1, 2, 0))
    return Binvox(occupancy=occupancy, translate=(translate[0], translate[1], translate[2]), scale=scale)


def _header(content: bytes) -> tuple[dict[str, list[str]], int]:
    """Words of each line by their first one, and where the cells start."""
    if not content.startswith(_MAGIC) or content[len(_MAGIC) : len(_MAGIC) + 1] not in (b"\n", b"\r"):
        raise MemberError(f"is no binvox file of version 1: starts with {content[:10]!r}, expected {_MAGIC!r}")
    fields: dict[str, list[str]] = {}
    position = 0
    while (end := content.find(b"\n", position, _MAX_HEADER)) >= 0:
        words = content[position:end].decode("ascii", "replace").split()
        position = end + 1
        if words == ["data"]:
            return fields, position
        if words and not words[0].startswith("#"):
            fields[words[0]] = words[1:]
    raise MemberError("has a binvox header that no line 'data' ends: damaged or truncated")


def _dimensions(header: dict[str, list[str]]) -> tuple[int, int, int]:
    words = header.get("dim", [])
    sizes = [int(word) if word.isascii() and word.isdigit() and len(word) < 10 else 0 for word in words]
    if len(sizes) != 3 or not all(1 <= size <= MAX_DIM for size in sizes) or math.prod(sizes) > MAX_CELLS:
        raise MemberError(
            f"has the line 'dim {shown(' '.join(words))}' in its header, expected three sizes from 1 to {MAX_DIM}, "
            f"at most {MAX_CELLS} cells in all"
        )
    return sizes[0], sizes[1], sizes[2]


def _numbers(header: dict[str, list[str]], name: str, count: int, default: tuple[float, ...]) -> tuple[float, ...]:
    if name not in header:
        return default
    try:
        values = tuple(float(word) for word in header[name])
    except ValueError:
        values = ()
    if len(values) != count or not all(map(math.isfinite, values)):
        raise MemberError(f"has the line '{name} {shown(' '.join(header[name]))}', expected {count} finite numbers")
    return values


def _run_lengths(content: bytes, start: int, num_cells: int) -> UInt8[np.ndarray, " cells"]:
    if (len(content) - start) % 2:
        raise MemberError("ends in the middle of a run: truncated, or followed by something else")
    values, counts = np.frombuffer(content, np.uint8, offset=start).reshape(-1, 2).T
    if values.size and values.max() > 1:
        raise MemberError(f"holds a cell of value {values.max()}, expected 0 or 1: damaged")
    if (total := int(counts.sum(dtype=np.int64))) != num_cells:
        what = "truncated" if total < num_cells else "damaged, or followed by something else"
        raise MemberError(f"holds {total} cells, but its header promises {num_cells}: {what}")
    take_room(2 * num_cells)
    cells, position = np.empty(num_cells, np.uint8), 0
    for first in range(0, len(counts), _RUNS_AT_ONCE):  # in blocks: repeating takes eight bytes for each run
        block = np.repeat(values[first : first + _RUNS_AT_ONCE], counts[first : first + _RUNS_AT_ONCE])
        cells[position : position + len(block)] = block
        position += len(block)
    return cells


Prefer = Literal["auto", "solid", "surface", "mesh"]
Pool = Literal["mean", "any"]
Up = Literal["y", "z"]

MAX_RESOLUTION = 512
MAX_SURFACE_CELLS = 1 << 26
"""Cells of a grid whose surface is filled, which takes about eight bytes for each."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """What to make of each shape.

    Attributes:
        resolution: Cells per axis of every example.
        prefer: Which of a model's files is taken if it is there: "solid" or "surface" voxels or the "mesh"; else the
            first one that is, in this order. "auto" is "solid".
        pool: When a cell is occupied that stands for several of a finer grid: "mean" if at least half of them are,
            which keeps volumes, or, in a shape so thin that nothing would be left of it, if one is; "any" if one is
            in every shape, which keeps what is thin and thickens everything.
        up: The axis of meshes that points up, which becomes y.
        centred: Whether meshes lie in the middle of their cube, or at its lower corner like binvox's.

    Raises:
        ConfigError: If one is out of range.
    """

    resolution: int = 32
    prefer: Prefer = "auto"
    pool: Pool = "mean"
    up: Up = "y"
    centred: bool = False

    def __post_init__(self) -> None:
        if whole("resolution", self.resolution, 2) > MAX_RESOLUTION:
            raise ConfigError(f"resolution must be from 2 to {MAX_RESOLUTION}, got {self.resolution}")
        for name, choices in (("prefer", Prefer), ("pool", Pool), ("up", Up)):
            if (value := getattr(self, name)) not in get_args(choices):
                raise ConfigError(f"{name} must be one of {get_args(choices)}, got {value!r}")


class Shape(NamedTuple):
    """One shape at the wanted resolution.

    Attributes:
        occupied: Its cells.
        kept: Their volume as a part of the finer grid's; 1 if nothing was pooled.
        thin: Whether nothing would have been left of it by `pool="mean"`, so that any occupied cell counted.
    """

    occupied: Bool[np.ndarray, "z y x"]
    kept: float = 1.0
    thin: bool = False


def read_shape(content: bytes, member: str, kind: Kind, options: ShapeOptions) -> Shape:
    """Cells that a shape fills.

    Args:
        content: The whole file.
        member: Its name, for the suffix.
        kind: What it is.
        options: What to make of it.

    Raises:
        MemberError: If it cannot be read, is empty, or its grid is no multiple of the resolution.
    """
    try:
        return _read_shape(content, member, kind, options)
    except (FunctaStoreError, MemoryError):
        raise
    except Exception as error:  # whatever a library stumbles over in the file of a stranger
        raise MemberError(f"cannot be read: {type(error).__name__}: {error}") from error


def _read_shape(content: bytes, member: str, kind: Kind, options: ShapeOptions) -> Shape:
    if kind == "mesh":
        mesh = read_mesh(content, posixpath.splitext(member)[1].lower())
        take_room(8 * options.resolution**3)
        mesh = turned_up(mesh) if options.up == "z" else mesh
        return Shape(voxelise(mesh, options.resolution, centred=options.centred))
    occupied = read_binvox(content).occupancy.view(bool)
    if kind == "surface" and occupied.size > MAX_SURFACE_CELLS:
        raise MemberError(f"is a surface of {occupied.size} cells, more than the {MAX_SURFACE_CELLS} that are filled")
    _check_divides(occupied, options.resolution)
    if not occupied.any():
        raise MemberError("is empty: no cell is occupied")
    return pooled(filled(occupied) if kind == "surface" else occupied, options.resolution, options.pool)


def pooled(occupied: Bool[np.ndarray, "z y x"], resolution: int, pool: Pool) -> Shape:
    """The same shape, which is not empty, in fewer cells; see `ShapeOptions.pool`.

    Raises:
        MemberError: If the grid is no cube, or does not divide into so many cells.
    """
    _check_divides(occupied, resolution)
    step = len(occupied) // resolution
    counts = occupied.reshape(resolution, step, resolution, step, resolution, step).sum(axis=(1, 3, 5))
    half = 2 * counts >= step**3
    thin = pool == "mean" and not bool(half.any())
    coarse = counts > 0 if pool == "any" or thin else half
    kept = int(np.count_nonzero(coarse)) * step**3 / max(1, int(np.count_nonzero(occupied)))
    return Shape(coarse, kept, thin)


def _check_divides(occupied: Bool[np.ndarray, "z y x"], resolution: int) -> None:
    size, *others = occupied.shape
    if others != [size, size] or size % resolution:
        shape = "x".join(map(str, reversed(occupied.shape)))
        raise MemberError(f"has {shape} cells, which do not divide into {resolution} per axis; choose the resolution")
