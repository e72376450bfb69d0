"""How does one file of an archive become an example of a wanted resolution?"""

import dataclasses
import posixpath
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool

from converters.binvox import read_binvox
from converters.mesh_files import read_mesh
from converters.meshes import filled, turned_up, voxelise
from converters.room import take_room
from converters.shape_layouts import Kind
from functa_store.config import whole
from functa_store.errors import ConfigError, MemberError

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
            which keeps volumes; "any" if one is, which keeps what is thin and thickens everything.
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


def read_shape(content: bytes, member: str, kind: Kind, options: ShapeOptions) -> Bool[np.ndarray, "z y x"]:
    """Cells that a shape fills.

    Args:
        content: The whole file.
        member: Its name, for the suffix.
        kind: What it is.
        options: What to make of it.

    Raises:
        MemberError: If it cannot be read, is empty, or its grid is no multiple of the resolution.
    """
    if kind == "mesh":
        mesh = read_mesh(content, posixpath.splitext(member)[1].lower())
        take_room(8 * options.resolution**3)
        mesh = turned_up(mesh) if options.up == "z" else mesh
        return voxelise(mesh, options.resolution, centred=options.centred)
    occupied = read_binvox(content).occupancy.view(bool)
    if kind == "surface" and occupied.size > MAX_SURFACE_CELLS:
        raise MemberError(f"is a surface of {occupied.size} cells, more than the {MAX_SURFACE_CELLS} that are filled")
    _check_divides(occupied, options.resolution)
    if not occupied.any():
        raise MemberError("is empty: no cell is occupied")
    return pooled(filled(occupied) if kind == "surface" else occupied, options.resolution, options.pool)


def pooled(occupied: Bool[np.ndarray, "z y x"], resolution: int, pool: Pool) -> Bool[np.ndarray, "z2 y2 x2"]:
    """The same shape in fewer cells; see `ShapeOptions.pool`.

    Raises:
        MemberError: If the grid is no cube, or does not divide into so many cells, or none of them is occupied.
    """
    _check_divides(occupied, resolution)
    step = len(occupied) // resolution
    counts = occupied.reshape(resolution, step, resolution, step, resolution, step).sum(axis=(1, 3, 5))
    coarse = counts > 0 if pool == "any" else 2 * counts >= step**3
    if not coarse.any():
        raise MemberError(
            f"is empty at {resolution} cells per axis: no cell is at least half full; pool='any' keeps what is thin"
        )
    return coarse


def _check_divides(occupied: Bool[np.ndarray, "z y x"], resolution: int) -> None:
    size, *others = occupied.shape
    if others != [size, size] or size % resolution:
        shape = "x".join(map(str, reversed(occupied.shape)))
        raise MemberError(f"has {shape} cells, which do not divide into {resolution} per axis; choose the resolution")
