"""Which cells of a grid does a mesh fill?"""

import numpy as np
from jaxtyping import Bool, Float64

from converters.mesh_files import Mesh
from converters.room import check_wanted
from functa_store.errors import MemberError, MissingLibraryError

_SPACING = 0.5
"""Samples of a face lie at most this far apart, in cells: close enough that no line of cells passes between them."""

_SAMPLES_AT_ONCE = 2**20
"""Samples in memory together, 50 bytes each."""

_FACES_AT_ONCE = 2**16
_MOST_SAMPLES, _MORE_SAMPLES = 2**24, 2**7  # of a mesh; and so many more for each cell of a side of the cube
_EXTENTS = 1e-100, 1e100  # beyond them, dividing by an extent overflows
_ROUNDING = 1e-6  # cells; or one face on the border of two cells would lie half in the one, half in the other


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
        centred_low = (low + high - side) / 2
    if not _EXTENTS[0] <= side <= _EXTENTS[1] or not np.isfinite(centred_low).all():
        raise MemberError(f"is a mesh without extent, or of an absurd one: its longest side is {side:g}")
    if centred:
        low = centred_low
    return filled(_surface(mesh, low, resolution / side, resolution))


def filled(surface: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """The surface and everything that cannot be reached from outside through faces of free cells.

    Raises:
        MissingLibraryError: If scipy is not installed.
    """
    try:
        from scipy import ndimage
    except ImportError as error:
        raise MissingLibraryError("scipy is not installed; run pip install 'functa-store[shapes]'") from error
    regions, _ = ndimage.label(~np.pad(surface, 1))  # type: ignore[misc]  # with no `output` it gives two
    return (regions != regions[0, 0, 0])[1:-1, 1:-1, 1:-1]


def _surface(mesh: Mesh, low: Float64[np.ndarray, "3"], scale: float, resolution: int) -> Bool[np.ndarray, "z y x"]:
    """Cells that triangles pass through, the cell at `low` being the first one and each 1 / scale wide."""
    most = _MOST_SAMPLES + _MORE_SAMPLES * resolution**2
    cells, left = np.zeros((resolution,) * 3, bool), most
    for start in range(0, len(mesh.faces), _FACES_AT_ONCE):
        corners = (mesh.vertices[mesh.faces[start : start + _FACES_AT_ONCE]] - low) * scale
        edges = corners - np.roll(corners, 1, axis=1)
        steps = np.maximum(1, np.ceil(np.linalg.norm(edges, axis=2).max(axis=1) / _SPACING)).astype(np.int64)
        left -= int(((steps + 1) * (steps + 2) // 2).sum())
        if left < 0:
            raise MemberError(
                f"has {len(mesh.faces)} faces that would take more than {most} samples: simplify the mesh"
            )
        for count in np.unique(steps):
            _mark(cells, corners[steps == count], int(count))
    return cells


def _mark(cells: Bool[np.ndarray, "z y x"], corners: Float64[np.ndarray, "faces 3 3"], steps: int) -> None:
    """Set the cells in which samples of triangles lie, so many steps along an edge."""
    weights = _lattice(steps)
    block = max(1, _SAMPLES_AT_ONCE // len(weights))
    for start in range(0, len(corners), block):
        check_wanted()
        points = weights @ corners[start : start + block]
        x, y, z = np.clip((points.reshape(-1, 3) + _ROUNDING).astype(np.int64), 0, len(cells) - 1).T
        cells[z, y, x] = True


def _lattice(steps: int) -> Float64[np.ndarray, "samples 3"]:
    """Barycentric coordinates of an even triangular lattice, corners included."""
    i, j = np.triu_indices(steps + 1)
    return np.stack([i, j - i, steps - j], axis=1) / steps
