"""Triangles of OBJ and OFF files, parsed line by line.

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
from jaxtyping import Float64, Int64

from converters.plain_files import shown
from converters.room import check_wanted, take_room
from functa_store.errors import MemberError

MESH_SUFFIXES = (".obj", ".off")
MOST_TRIANGLES = 1 << 22
"""Triangles of a mesh, and vertices, at most: 100 MB each."""

_LONGEST_LINE = 1 << 20
_MOST_DIGITS = 18  # of a number below 2**63
_CHECKED = 3 << 16  # numbers after which their count is looked at
_OFF_HEADER = re.compile(rb"\A\s*(?:ST)?(?:C)?(?:N)?OFF(?![A-Za-z0-9])|\A\s*C?OFF(?=-?[0-9])", re.IGNORECASE)


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

    def is_finite(self) -> bool:
        """Whether all corners of triangles are finite."""
        return bool(np.isfinite(self.vertices[self._used()]).all())

    def _used(self) -> np.ndarray:
        used = np.zeros(len(self.vertices), bool)
        used[self.faces] = True
        return used


def read_mesh(content: bytes, suffix: str) -> Mesh:
    """Decode a mesh.

    Polygons become fans of triangles. Some OFF files of ModelNet40 have the numbers of vertices and faces on the line
    of "OFF" itself, glued to it.

    Args:
        content: The whole file.
        suffix: One of `MESH_SUFFIXES`.

    Raises:
        MemberError: If it cannot be read, or has no triangle; the message is the reason alone.
    """
    parser = _Parser()
    try:
        (parser.read_off if suffix == ".off" else parser.read_obj)(content)
    except _NoMeshError as error:
        raise MemberError(f"is no mesh that can be read: {error}") from error
    vertices = np.frombuffer(parser.numbers, np.float64).reshape(-1, 3)
    faces = np.frombuffer(parser.corners, np.int64).reshape(-1, 3)
    if not len(faces):
        raise MemberError("is a mesh without faces")
    if (wrong := (faces < 0) | (faces >= len(vertices))).any():
        raise MemberError(f"has a face that names vertex {faces[wrong][0]} of {len(vertices)}: damaged")
    mesh = Mesh(vertices=vertices, faces=faces)
    if not mesh.is_finite():
        raise MemberError("has a vertex that is not finite")
    return mesh


class _NoMeshError(ValueError):
    """What is wrong with a mesh, and in which line."""


class _Parser:
    """Numbers of vertices, and corners of triangles, as they are met."""

    def __init__(self) -> None:
        self.numbers, self.corners = array.array("d"), array.array("q")
        self._line, self._words = 0, list[bytes]()

    def read_obj(self, content: bytes) -> None:
        """Lines "v x y z" and "f 1/1/1 2/2/2 3/3/3"; numbers below 0 count from the last vertex backwards."""
        for words in self._lines(content, continued=True):
            if words[0] == b"v":
                self._add_vertex(words[1:4])
            elif words[0] == b"f":
                num_vertices = len(self.numbers) // 3
                named = self._whole([word.partition(b"/")[0] for word in words[1:]])
                self._add_face([k - 1 if k > 0 else num_vertices + k if k else -1 for k in named])

    def read_off(self, content: bytes) -> None:
        """The numbers of vertices and faces, then the vertices, then for each face its number of corners and these."""
        header = _OFF_HEADER.match(content)
        if header is None:
            raise _NoMeshError(f"starts with {content[:8]!r}, expected OFF")
        lines = self._lines(content[header.end() :])
        counts = self._whole(self._next(lines, "the numbers of vertices and faces")[:2])
        if len(counts) < 2 or not 0 <= min(counts) <= max(counts) <= len(content):
            raise self._wrong("the numbers of vertices and faces")
        for _ in range(counts[0]):
            self._add_vertex(self._next(lines, "another vertex")[:3])
        for _ in range(counts[1]):
            words = self._next(lines, "another face")
            (size,) = self._whole(words[:1])
            if not 0 <= size < len(words):
                raise self._wrong("a number of corners, and the corners")
            self._add_face(self._whole(words[1 : size + 1]))

    def _lines(self, content: bytes, continued: bool = False) -> Iterator[list[bytes]]:
        """The words of each line that has some, without comments."""
        file, kept = io.BytesIO(content), bytearray()
        while line := file.readline(_LONGEST_LINE):
            self._line += 1
            if len(line) == _LONGEST_LINE or len(kept) > _LONGEST_LINE:
                raise _NoMeshError(f"line {self._line}: has {_LONGEST_LINE} bytes or more")
            if continued and line.endswith((b"\\\n", b"\\\r\n")):
                kept += line.rstrip(b"\r\n")[:-1]
                continue
            if kept:
                line, kept = bytes(kept) + line, bytearray()
            if b"#" in line:
                line = line.partition(b"#")[0]
            if words := line.split():
                self._words = words
                yield words

    def _next(self, lines: Iterator[list[bytes]], expected: str) -> list[bytes]:
        if (words := next(lines, None)) is None:
            raise _NoMeshError(f"ends after line {self._line}, expected {expected}")
        return words

    def _add_vertex(self, words: list[bytes]) -> None:
        try:
            x, y, z = map(float, words)
        except ValueError as error:
            raise self._wrong("three numbers of a vertex") from error
        self.numbers.extend((x, y, z))
        if not len(self.numbers) % _CHECKED:
            _check_room(self.numbers, "vertices")

    def _add_face(self, corners: list[int]) -> None:
        if len(corners) == 3:
            self.corners.extend(corners)
        else:
            for k in range(1, len(corners) - 1):
                self.corners.extend((corners[0], corners[k], corners[k + 1]))
        if len(corners) != 3 or not len(self.corners) % _CHECKED:
            _check_room(self.corners, "triangles")

    def _whole(self, words: list[bytes]) -> list[int]:
        if any(len(word) > _MOST_DIGITS for word in words):
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
