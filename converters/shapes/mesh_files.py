"""Triangles of OBJ and OFF files, also of polygons that are not convex, and the cells of a grid that a mesh fills.

Only vertices and faces are read: no material, texture or other file that an OBJ names is looked for. Memory grows with
the triangles, of which there is a limit, and time with the bytes.
"""

import array
import dataclasses
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from converters.archives.memory_share import check_wanted, take_room
from functa_store.errors import MemberError
from functa_store.support.optional import require
from functa_store.support.shortening import shown

_CORNERS_AT_ONCE = 1 << 18
_MOST_TESTS = 1 << 28  # of corners that lie inside an ear or not: a few seconds
_MOST_STEPS = 1 << 16  # of 100 microseconds
_SLIVER = 1e-6  # of a polygon's area: a triangle of a fan that is turned the other way by rounding alone
_FLAT = 1e-12  # of a polygon's squared extent: an ear of corners on one line


def mend_fans(
    vertices: Float64[np.ndarray, "vertices 3"],
    faces: Int64[np.ndarray, "faces 3"],
    starts: Int64[np.ndarray, " polygons"],
    sizes: Int64[np.ndarray, " polygons"],
) -> None:
    """Replace, in place, fans of triangles that leave their polygon's outline.

    The triangles of a fan add up to the polygon, those that are turned the other way counting as holes. So a fan
    is right if none is, whether the polygon is convex or not. Others are cut by clipping ears, which ends with
    triangles that are all turned the same way if the outline does not cross itself; where it does, the corners
    that fit least are clipped last. Polygons that are not plane are seen along their mean normal.

    Args:
        vertices: x, y, z of each corner of the mesh.
        faces: Triangles; the fan of a polygon of n corners is n - 2 of them, around its first corner.
        starts: First triangle of each polygon's fan.
        sizes: Number of corners of each polygon.

    Raises:
        MemberError: If an outline takes too long to be cut.
    """
    budget = _Budget()
    for size in np.unique(sizes):
        same = starts[sizes == size]
        block = max(1, _CORNERS_AT_ONCE // int(size))
        for first in range(0, len(same), block):
            check_wanted()
            places = same[first : first + block, None] + np.arange(size - 2)
            triangles = faces[places]
            corners = np.concatenate([triangles[:, :1, 0], triangles[:, :, 1], triangles[:, -1:, 2]], axis=1)
            with np.errstate(all="ignore"):  # of absurd coordinates, which are refused later
                flat, wrong = _flattened(vertices[corners])
            if wrong.any():
                cut = _clipped(flat[wrong], budget)
                faces[places[wrong]] = corners[wrong][np.arange(len(cut))[:, None, None], cut]


def _flattened(
    points: Float64[np.ndarray, "polygons corners 3"],
) -> tuple[Float64[np.ndarray, "polygons corners 2"], Bool[np.ndarray, " polygons"]]:
    """Polygons on the plane that they are nearest to, counter-clockwise, of extent 1; and which fans are wrong."""
    points = points - points[:, :1]
    points = points / np.abs(points).max(axis=(1, 2), keepdims=True)
    normals = np.cross(points[:, 1:-1], points[:, 2:])
    normal = normals.sum(axis=1)
    turned = np.einsum("pti,pi->pt", normals, normal)
    wrong = (turned < -_SLIVER * (normal**2).sum(axis=1, keepdims=True)).any(axis=1)
    axis = np.abs(normal).argmax(axis=1)
    rows = np.arange(len(points))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    flat = np.stack([points[rows, :, first], points[rows, :, second]], axis=2)
    flat[normal[rows, axis] < 0, :, 1] *= -1
    return flat, wrong & np.isfinite(points).all(axis=(1, 2))


class _Budget:
    """Work that is left for a mesh."""

    def __init__(self) -> None:
        self._steps, self._tests = _MOST_STEPS, _MOST_TESTS

    def spend(self, tests: int, corners: int) -> None:
        self._steps, self._tests = self._steps - 1, self._tests - tests
        if min(self._steps, self._tests) < 0:
            raise MemberError(f"has faces of {corners} corners that take too long to cut: triangulate the mesh")
        check_wanted()


def _clipped(points: Float64[np.ndarray, "polygons corners 2"], budget: _Budget) -> Int64[np.ndarray, "polygons t 3"]:
    """Corners of the triangles of polygons of one size, one ear of each polygon being looked at in a step."""
    count, size, _ = points.shape
    rows = np.arange(count)
    before, after = (np.tile(np.roll(np.arange(size), shift), (count, 1)) for shift in (1, -1))
    here, misses, done = (np.zeros(count, np.int64) for _ in range(3))
    there = np.ones((count, size), bool)
    triangles = np.zeros((count, size - 2, 3), np.int64)
    while len(active := np.flatnonzero(done < size - 2)):
        budget.spend(len(active) * size, size)
        tip = here[active]
        left, right = before[active, tip], after[active, tip]
        ear = np.stack([points[active, left], points[active, tip], points[active, right]], axis=1)
        area = _turn(ear[:, 0], ear[:, 1], ear[:, 2])
        free = (area > _FLAT) & ~_anything_inside(points[active], there[active], ear)
        remaining = size - done[active]
        # After a whole turn without an ear the outline crosses itself: first what is convex goes, then anything.
        free |= (np.abs(area) <= _FLAT) | ((misses[active] > remaining) & (area > 0))
        free |= misses[active] > 2 * remaining
        rows, tip, left, right = active[free], tip[free], left[free], right[free]
        triangles[rows, done[rows]] = np.stack([left, tip, right], axis=1)
        there[rows, tip] = False
        after[rows, left], before[rows, right] = right, left
        done[rows] += 1
        misses[active] += 1
        misses[rows] = 0
        here[active] = after[active, here[active]]
    return triangles


def _anything_inside(
    points: Float64[np.ndarray, "polygons corners 2"],
    there: Bool[np.ndarray, "polygons corners"],
    ear: Float64[np.ndarray, "polygons 3 2"],
) -> Bool[np.ndarray, " polygons"]:
    """Whether a corner that is still there lies in an ear or on its border, other than where the ear's corners are."""
    inside: Any = there.copy()
    for k in range(3):
        a, b = ear[:, k, None], ear[:, (k + 1) % 3, None]
        inside &= (_turn(a, b, points) >= 0) & (points != a).any(axis=2)
    return inside.any(axis=1)


def _turn(a: Float64[np.ndarray, "*#n 2"], b: Float64[np.ndarray, "*#n 2"], c: Float64[np.ndarray, "*#n 2"]) -> Any:
    """Twice the area of triangles, positive if they are counter-clockwise."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


MESH_SUFFIXES = (".obj", ".off")
MOST_TRIANGLES = 1 << 22
"""Triangles of a mesh, and vertices, at most: 100 MB each."""

_LONGEST_LINE = 1 << 20
_MOST_DIGITS = 18  # of a number below 2**63
_CHECKED = 3 << 16  # numbers after which their count is looked at
_OFF_HEADER = re.compile(rb"\A(?:\s|#[^\n]*\n)*((?:ST)?C?N?4?N?OFF)(?![A-Za-z])(?:\s+(BINARY)\b)?", re.IGNORECASE)
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_CARRIAGE_RETURN = re.compile(rb"\r(?!\n)")
_CONTINUED = (b"v", b"f", b"fo")  # statements that are read; a path of others may end with a backslash


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Triangles in space; they need not enclose anything.

    Attributes:
        vertices: x, y, z of each corner.
        faces: Corners of each triangle.
    """

    vertices: Float64[np.ndarray, "vertices 3"]
    faces: Int64[np.ndarray, "faces 3"]

    def bounds(self) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
        """Lower and upper corner of the box around the triangles."""
        corners = self.vertices[self._used()]
        return corners.min(axis=0), corners.max(axis=0)

    def _used(self) -> np.ndarray:
        used = np.zeros(len(self.vertices), bool)
        used[self.faces] = True
        return used


def read_mesh(content: bytes, suffix: str) -> Mesh:
    """Decode a mesh.

    Polygons become triangles inside their outlines. Some OFF files of ModelNet40 have the numbers of vertices and faces
    on the line of "OFF" itself, glued to it.

    Args:
        content: The whole file.
        suffix: One of `MESH_SUFFIXES`.

    Raises:
        MemberError: If it cannot be read, or has no triangle; the message is the reason alone.
    """
    parser = _Parser()
    try:
        (parser.read_off if suffix == ".off" else parser.read_obj)(_plain_lines(content))
    except _NoMeshError as error:
        raise MemberError(f"is no mesh that can be read: {error}") from error
    vertices = np.frombuffer(parser.numbers, np.float64).reshape(-1, 3)
    faces = np.frombuffer(parser.corners, np.int64).reshape(-1, 3)
    if not len(faces):
        raise MemberError("is a mesh without faces")
    if (wrong := (faces < 0) | (faces >= len(vertices))).any():
        raise MemberError(f"has a face that names vertex {faces[wrong][0]} of {len(vertices)}: damaged")
    if not np.isfinite(vertices).all():
        raise MemberError("has a vertex that is not finite")
    if parser.polygons:
        starts, sizes = np.frombuffer(parser.polygons, np.int64).reshape(-1, 2).T
        mend_fans(vertices, faces, starts, sizes)
    return Mesh(vertices=vertices, faces=faces)


def _plain_lines(content: bytes) -> bytes:
    """The same text without a mark of its encoding, each line ended by a line feed."""
    if content.startswith(_UTF16_MARKS):
        raise _NoMeshError("is text in UTF-16, expected ASCII or UTF-8")
    return _CARRIAGE_RETURN.sub(b"\n", content.removeprefix(_UTF8_MARK))


class _NoMeshError(ValueError):
    """What is wrong with a mesh, and in which line."""


class _Parser:
    """Numbers of vertices, and corners of triangles, as they are met.

    A polygon's triangles are those around its first corner; `polygons` has the first of them, and how many corners
    there are, of each that has more than three.
    """

    def __init__(self) -> None:
        self.numbers, self.corners, self.polygons = array.array("d"), array.array("q"), array.array("q")
        self._line, self._words = 0, list[bytes]()

    def read_obj(self, content: bytes) -> None:
        """Lines "v x y z" and "f 1/1/1 2/2/2 3/3/3"; numbers below 0 count from the last vertex backwards."""
        for words in self._lines(content, continued=True):
            if words[0] == b"v":
                self._add_obj_vertex(words[1:])
            elif words[0] in (b"f", b"fo"):
                num_vertices = len(self.numbers) // 3
                named = self._whole([word.partition(b"/")[0] for word in words[1:]])
                if 0 in named or min(named, default=1) < -num_vertices:
                    raise self._wrong(f"vertices from 1 on, or from -1 down to -{num_vertices}")
                self._add_face([k - 1 if k > 0 else num_vertices + k for k in named])
            elif words[0] == b"surf":
                raise self._wrong("faces alone; triangulate its free-form surfaces")

    def read_off(self, content: bytes) -> None:
        """The numbers of vertices and faces, then the vertices, then for each face its number of corners and these."""
        header = _OFF_HEADER.match(content)
        if header is None:
            raise _NoMeshError(f"starts with {content[:8]!r}, expected OFF")
        kind = header[1].decode()
        if header[2] or "4" in kind or kind.endswith("nOFF"):
            what = f"{kind} BINARY" if header[2] else kind
            raise _NoMeshError(f"is {what}, expected text with three coordinates: OFF, COFF, NOFF or STOFF")
        self._line = content.count(b"\n", 0, header.end())
        lines = self._lines(content[header.end() :])
        counts = self._whole(self._next(lines, "the numbers of vertices and faces")[:2])
        if len(counts) < 2 or not 0 <= min(counts) <= max(counts) <= len(content):
            raise self._wrong("the numbers of vertices and faces")
        declared = f"of the {counts[0]} vertices and {counts[1]} faces of its header"
        textured = kind.upper().startswith("ST")
        for _ in range(counts[0]):
            words = self._next(lines, f"another vertex {declared}")
            if not textured and len(words) in (4, 5):  # as faces have; normals and colours are three or four numbers
                raise self._wrong(f"another vertex {declared}")
            self._add_vertex(words[:3])
        for _ in range(counts[1]):
            words = self._next(lines, f"another face {declared}")
            (size,) = self._whole(words[:1])
            if not 1 <= size < len(words):
                raise self._wrong("a number of corners, and the corners")
            self._add_face(self._whole(words[1 : size + 1]))
        if next(lines, None) is not None:
            raise self._wrong(f"nothing after the last {declared}")

    def _lines(self, content: bytes, continued: bool = False) -> Iterator[list[bytes]]:
        """The words of each line that has some, without comments.

        Args:
            content: The lines.
            continued: Whether a backslash at the end of a vertex or face continues it on the next line.
        """
        file, kept = io.BytesIO(content), list[bytes]()
        while line := file.readline(_LONGEST_LINE):
            self._line += 1
            if len(line) == _LONGEST_LINE or len(kept) > _LONGEST_LINE // 2:
                raise _NoMeshError(f"line {self._line}: has {_LONGEST_LINE} bytes or more")
            if b"#" in line:
                line = line.partition(b"#")[0]
            words = line.split()
            if kept:
                kept += words
                words = kept
            if continued and words and words[-1].endswith(b"\\") and words[0].rstrip(b"\\") in _CONTINUED:
                kept = words
                if last := kept.pop()[:-1]:
                    kept.append(last)
                continue
            kept = []
            if words:
                self._words = words
                yield words
        if kept:
            self._words = kept
            yield kept

    def _next(self, lines: Iterator[list[bytes]], expected: str) -> list[bytes]:
        if (words := next(lines, None)) is None:
            raise _NoMeshError(f"ends after line {self._line}, expected {expected}")
        return words

    def _add_obj_vertex(self, words: list[bytes]) -> None:
        """Three numbers; a fourth is a weight, which is 1, more are a colour."""
        if len(words) > 3:
            rest = self._numbers(words[3:])
            if len(words) == 4 and rest != [1.0]:
                raise self._wrong("the weight 1 of a vertex; divide by it")
        self._add_vertex(words[:3])

    def _add_vertex(self, words: list[bytes]) -> None:
        if len(words) != 3:
            raise self._wrong("three numbers of a vertex")
        self.numbers.extend(self._numbers(words))
        if not len(self.numbers) % _CHECKED:
            _check_room(self.numbers, "vertices")

    def _numbers(self, words: list[bytes]) -> list[float]:
        try:
            found = [float(word) for word in words]
        except ValueError as error:
            raise self._wrong("three numbers of a vertex") from error
        if any(b"_" in word for word in words):  # which Python allows
            raise self._wrong("three numbers of a vertex")
        return found

    def _add_face(self, corners: list[int]) -> None:
        if len(corners) == 3:
            self.corners.extend(corners)
        elif len(corners) > 3:
            self.polygons.extend((len(self.corners) // 3, len(corners)))
            for k in range(1, len(corners) - 1):
                self.corners.extend((corners[0], corners[k], corners[k + 1]))
        if len(corners) != 3 or not len(self.corners) % _CHECKED:
            _check_room(self.corners, "triangles")

    def _whole(self, words: list[bytes]) -> list[int]:
        if any(len(word) > _MOST_DIGITS or b"_" in word for word in words):
            raise self._wrong("whole numbers")
        try:
            return [int(word) for word in words]
        except ValueError as error:
            raise self._wrong("whole numbers") from error

    def _wrong(self, expected: str) -> _NoMeshError:
        found = b" ".join(self._words[:20])[:1000].decode("ascii", "backslashreplace")
        return _NoMeshError(f"line {self._line}: found {shown(found)!r}, expected {expected}")


def _check_room(numbers: "array.array[Any]", what: str) -> None:
    if len(numbers) > 3 * MOST_TRIANGLES:
        raise _NoMeshError(f"has more than {MOST_TRIANGLES} {what}; simplify the mesh")
    check_wanted()
    take_room(numbers.itemsize * len(numbers))


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
    regions, _ = require("scipy.ndimage", extra="shapes").label(~np.pad(surface, 1))
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
