"""Which cells of a grid does a mesh fill?"""

import dataclasses
import io
import re
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from functa_store.errors import MemberError, MissingLibraryError

MESH_SUFFIXES = (".obj", ".off")

_SPACING = 0.5
"""Samples of a face lie at most this far apart, in cells: close enough that no line of cells passes between them."""

_SAMPLES_AT_ONCE = 2**20
"""Samples in memory together, 50 bytes each."""

_MOST_SAMPLES = 2**31
_EXTENTS = 1e-100, 1e100  # beyond them, dividing by an extent overflows
_ROUNDING = 1e-6  # cells; or one face on the border of two cells would lie half in the one, half in the other
_GLUED_HEADER = re.compile(rb"\A\s*(C?OFF)(?=[ \t]*-?\d)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Triangles in space; they need not enclose anything.

    Attributes:
        vertices: x, y, z of each corner.
        faces: Corners of each triangle.
    """

    vertices: Float64[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]

    @property
    def corners(self) -> Float64[np.ndarray, "faces 3 3"]:
        """x, y, z of each corner of each triangle."""
        return self.vertices[self.faces]

    def bounds(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """Lower and upper corner of the box around the triangles."""
        corners = self.corners.reshape(-1, 3)
        return corners.min(axis=0), corners.max(axis=0)


def read_mesh(content: bytes, suffix: str) -> Mesh:
    """Decode a mesh.

    Some OFF files of ModelNet40 have the numbers of vertices and faces on the line of "OFF" itself, glued to it.

    Args:
        content: The whole file.
        suffix: One of `MESH_SUFFIXES`.

    Raises:
        MemberError: If it cannot be read, or has no triangle with an area.
        MissingLibraryError: If trimesh is not installed.
    """
    trimesh = _trimesh()
    if suffix == ".off":
        content = _GLUED_HEADER.sub(rb"\1\n", content)
    try:
        loaded: Any = trimesh.load_mesh(
            io.BytesIO(content), file_type=suffix[1:], process=False, skip_materials=True, maintain_order=True
        )
        if isinstance(loaded, trimesh.Scene):
            loaded = loaded.to_mesh()
        vertices, faces = np.array(loaded.vertices, np.float64), np.array(loaded.faces, np.int64)
    except Exception as error:  # whatever trimesh's parsers stumble over
        raise MemberError(f"is no mesh that can be read: {type(error).__name__}: {str(error)[:200]}") from error
    if not len(faces) or faces.ndim != 2 or faces.shape[1] != 3:
        raise MemberError("is a mesh without faces")
    if len(wrong := faces[(faces < 0) | (faces >= len(vertices))]):
        raise MemberError(f"has a face that names vertex {wrong[0]} of {len(vertices)}: damaged")
    mesh = Mesh(vertices=vertices, faces=faces)
    if not np.isfinite(mesh.corners).all():
        raise MemberError("has a vertex that is not finite")
    return mesh


def turned_up(mesh: Mesh) -> Mesh:
    """A mesh whose z is up, as those of ModelNet, turned about x so that its y is up."""
    return Mesh(vertices=np.ascontiguousarray(mesh.vertices[:, [0, 2, 1]] * (1, 1, -1)), faces=mesh.faces)


def voxelise(mesh: Mesh, resolution: int, *, centred: bool) -> Bool[np.ndarray, "z y x"]:
    """Cells that a mesh passes through, and those that it hides from the outside.

    Most published meshes are not closed, so that the number of faces that a ray crosses tells nothing; what
    cannot be reached from outside through faces of free cells is inside.

    Args:
        mesh: The triangles.
        resolution: Cells per axis of the cube around the mesh, whose side is its longest extent.
        centred: Whether the mesh lies in the middle of the cube, or at its lower corner, where binvox puts it.

    Raises:
        MemberError: If the mesh has no extent, or an absurd one.
    """
    low, high = mesh.bounds()
    with np.errstate(over="ignore"):
        side = float((high - low).max())
    if not _EXTENTS[0] <= side <= _EXTENTS[1]:
        raise MemberError(f"is a mesh without extent, or of an absurd one: its longest side is {side:g}")
    if centred:
        low = (low + high - side) / 2
    return filled(_surface((mesh.corners - low) * (resolution / side), resolution))


def filled(surface: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """The surface and everything that cannot be reached from outside through faces of free cells.

    Raises:
        MissingLibraryError: If scipy is not installed.
    """
    try:
        from scipy import ndimage
    except ImportError as error:
        raise MissingLibraryError(_install("scipy")) from error
    regions, _ = ndimage.label(~np.pad(surface, 1))  # type: ignore[misc]  # with no `output` it gives two
    return (regions != regions[0, 0, 0])[1:-1, 1:-1, 1:-1]


def _surface(corners: Float64[np.ndarray, "faces 3 3"], resolution: int) -> Bool[np.ndarray, "z y x"]:
    """Cells that triangles, in units of cells, pass through."""
    edges = corners - np.roll(corners, 1, axis=1)
    steps = np.maximum(1, np.ceil(np.linalg.norm(edges, axis=2).max(axis=1) / _SPACING)).astype(np.int64)
    if (samples := int(((steps + 1) * (steps + 2) // 2).sum())) > _MOST_SAMPLES:
        raise MemberError(f"has {len(corners)} faces that would take {samples} samples: simplify the mesh")
    cells = np.zeros((resolution,) * 3, bool)
    for count in np.unique(steps):
        weights = _lattice(int(count))
        same = corners[steps == count]
        block = max(1, _SAMPLES_AT_ONCE // len(weights))
        for start in range(0, len(same), block):
            points = weights @ same[start : start + block]
            x, y, z = np.clip((points.reshape(-1, 3) + _ROUNDING).astype(np.int64), 0, resolution - 1).T
            cells[z, y, x] = True
    return cells


def _lattice(steps: int) -> Float64[np.ndarray, "samples 3"]:
    """Barycentric coordinates of an even triangular lattice, corners included."""
    i, j = np.triu_indices(steps + 1)
    return np.stack([i, j - i, steps - j], axis=1) / steps


def _trimesh() -> Any:
    try:
        import trimesh
    except ImportError as error:
        raise MissingLibraryError(_install("trimesh")) from error
    return trimesh


def _install(library: str) -> str:
    return f"meshes need {library}, which is not installed: pip install 'functa-store[shapes]'"
