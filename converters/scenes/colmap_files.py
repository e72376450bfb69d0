"""Cameras in a model of COLMAP: cameras, images and points3D as text or binary files."""

import io
import posixpath
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from converters.scenes.cameras import UNDISTORT, Camera, Cameras, Optics, repeated
from functa_store.domains.scene import Lens, check_pose
from functa_store.errors import GridError, MemberError
from functa_store.support.shortening import shown

PARTS = ("cameras", "images", "points3D")
SUFFIXES = (".bin", ".txt")

_POINTS_OF_IMAGE = 24  # bytes: x, y and the number of a point


class _Model(NamedTuple):
    """A kind of camera.

    Attributes:
        number: In binary files.
        parameters: Names of its parameters, in order; focal lengths and principal point first.
        is_pinhole: Whether it is a pinhole camera where the others are 0.
    """

    number: int
    parameters: str
    is_pinhole: bool = True


_MODELS: Mapping[str, _Model] = {
    "SIMPLE_PINHOLE": _Model(0, "f cx cy"),
    "PINHOLE": _Model(1, "fx fy cx cy"),
    "SIMPLE_RADIAL": _Model(2, "f cx cy k"),
    "RADIAL": _Model(3, "f cx cy k1 k2"),
    "OPENCV": _Model(4, "fx fy cx cy k1 k2 p1 p2"),
    "OPENCV_FISHEYE": _Model(5, "fx fy cx cy k1 k2 k3 k4", False),
    "FULL_OPENCV": _Model(6, "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    "FOV": _Model(7, "fx fy cx cy omega", False),
    "SIMPLE_RADIAL_FISHEYE": _Model(8, "f cx cy k", False),
    "RADIAL_FISHEYE": _Model(9, "f cx cy k1 k2", False),
    "THIN_PRISM_FISHEYE": _Model(10, "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1", False),
}
_BY_NUMBER = {model.number: name for name, model in _MODELS.items()}


def read_model(files: Mapping[str, bytes], suffix: str) -> Cameras:
    """The cameras of a model of COLMAP, camera to world of OpenCV's convention.

    Args:
        files: Contents of `cameras`, `images` and, where it is there, `points3D`.
        suffix: ".bin" or ".txt", of all of them.

    Raises:
        MemberError: If they are none, or a lens distorts; the message is the reason alone.
    """
    reader = _Binary if suffix == ".bin" else _Text
    part = PARTS[0]
    try:
        optics = dict(reader.cameras(files["cameras"], f"cameras{suffix}"))
        part = PARTS[1]
        images = list(reader.images(files["images"], f"images{suffix}"))
        part = PARTS[2]
        points = reader.points(files["points3D"]) if "points3D" in files else None
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        if isinstance(error, MemberError):
            raise
        raise MemberError(f"{part}{suffix}: is damaged or no file of COLMAP: {shown(str(error))}") from error
    if not images:
        raise MemberError(f"images{suffix}: has no images")
    cameras = []
    for name, quaternion, translation, camera in images:
        where = f"images{suffix}: {shown(name)}"
        if camera not in optics:
            raise MemberError(f"{where}: is of camera {camera}, which cameras{suffix} does not have")
        path = posixpath.normpath(name.replace("\\", "/"))
        cameras.append(Camera(path, _camera_to_world(quaternion, translation, where), optics[camera]))
    cameras.sort(key=lambda camera: camera.image)
    if (again := repeated([camera.image for camera in cameras])) is not None:
        raise MemberError(f"images{suffix}: names {shown(again)} twice, expected each image once")
    return Cameras({"train": cameras}, points=points)


def _camera_to_world(
    quaternion: Sequence[float], translation: Sequence[float], where: str
) -> Float64[np.ndarray, "4 4"]:
    """The pose of a world-to-camera rotation (w, x, y, z) and translation."""
    q = np.array(quaternion, np.float64)
    length = float(np.linalg.norm(q))
    if not abs(length - 1) < 1e-2:
        raise MemberError(f"{where}: has a quaternion of length {length:g}, expected 1")
    w, x, y, z = q / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ np.array(translation, np.float64)
    try:
        check_pose(pose)
    except GridError as error:
        raise MemberError(f"{where}: {error}") from error
    return pose


def _optics(model: str, width: int, height: int, parameters: Sequence[float], where: str) -> Optics:
    if model not in _MODELS:
        raise MemberError(f"{where}: has the model {shown(model)}, expected a pinhole camera; {UNDISTORT}")
    names = _MODELS[model].parameters.split()
    if len(parameters) != len(names):
        raise MemberError(f"{where}: has {len(parameters)} parameters, expected {len(names)} of {model}: {names}")
    told = dict(zip(names, parameters, strict=True))
    bent = {name: told[name] for name in names[names.index("cy") + 1 :] if told[name] != 0}
    if bent or not _MODELS[model].is_pinhole:
        found = ", ".join(f"{name}={number:g}" for name, number in bent.items())
        raise MemberError(f"{where}: its lens distorts ({model} {found}), expected a pinhole camera; {UNDISTORT}")
    across, down = (told["f"], None) if "f" in told else (told["fx"], told["fy"])
    optics = Optics(Lens(across, (told["cx"], told["cy"]), None if down == across else down), where, (height, width))
    optics.check((height, width))
    return optics


class _Text:
    """Files whose names end in .txt."""

    @staticmethod
    def _lines(content: bytes) -> Iterator[str]:
        return (line.decode("utf-8").strip() for line in io.BytesIO(content))

    @staticmethod
    def cameras(content: bytes, name: str) -> Iterator[tuple[int, Optics]]:
        for line in _Text._lines(content):
            if line and not line.startswith("#"):
                number, model, width, height, *parameters = line.split()
                where = f"{name}: camera {number}"
                yield int(number), _optics(model, int(width), int(height), [float(word) for word in parameters], where)

    @staticmethod
    def images(content: bytes, name: str) -> Iterator[tuple[str, list[float], list[float], int]]:
        lines = _Text._lines(content)
        for line in lines:
            if not line or line.startswith("#"):
                continue
            words = line.split(maxsplit=9)
            if len(words) != 10:
                raise MemberError(
                    f"{name}: found {shown(line)}, expected IMAGE_ID, QW QX QY QZ, TX TY TZ, CAMERA_ID, NAME"
                )
            numbers = [float(word) for word in words[1:8]]
            yield words[9], numbers[:4], numbers[4:], int(words[8])
            if len(next(lines, "").split()) % 3:  # its points in the image, which may be none
                raise MemberError(
                    f"{name}: the line after {shown(words[9])} is none of its points (X Y POINT3D_ID ...), of which "
                    "COLMAP writes one for each image, if need be an empty one"
                )

    @staticmethod
    def points(content: bytes) -> Float64[np.ndarray, "points 3"]:
        lines = (line.split(maxsplit=4) for line in _Text._lines(content) if line and not line.startswith("#"))
        return np.fromiter((float(line[axis]) for line in lines for axis in (1, 2, 3)), np.float64).reshape(-1, 3)


class _Binary:
    """Files whose names end in .bin, little-endian."""

    @staticmethod
    def cameras(content: bytes, name: str) -> Iterator[tuple[int, Optics]]:
        (count,), place = struct.unpack_from("<Q", content), 8
        for _ in range(_bounded(count, content, 24 + 24)):
            number, model, width, height = struct.unpack_from("<IiQQ", content, place)
            where, place = f"{name}: camera {number}", place + 24
            if model not in _BY_NUMBER:
                raise MemberError(f"{where}: has the model number {model}, expected a pinhole camera; {UNDISTORT}")
            kind = _BY_NUMBER[model]
            length = len(_MODELS[kind].parameters.split())
            parameters = struct.unpack_from(f"<{length}d", content, place)
            place += 8 * length
            yield number, _optics(kind, width, height, parameters, where)
        _check_end(content, place)

    @staticmethod
    def images(content: bytes, name: str) -> Iterator[tuple[str, Any, Any, int]]:
        (count,), place = struct.unpack_from("<Q", content), 8
        for _ in range(_bounded(count, content, 64 + 1 + 8)):
            _, *numbers, camera = struct.unpack_from("<I7dI", content, place)
            end = content.index(b"\0", place + 64)
            image = content[place + 64 : end].decode("utf-8")
            (points,) = struct.unpack_from("<Q", content, end + 1)
            place = end + 9 + _POINTS_OF_IMAGE * points
            yield image, numbers[:4], numbers[4:], camera
        _check_end(content, place)

    @staticmethod
    def points(content: bytes) -> Float64[np.ndarray, "points 3"]:
        (count,), place = struct.unpack_from("<Q", content), 8
        found = np.empty((_bounded(count, content, 51), 3))
        for k in range(len(found)):
            _, *found[k], _, _, _, _, length = struct.unpack_from("<Q3d3BdQ", content, place)
            place += 51 + 8 * length
        _check_end(content, place)
        return found


def _bounded(count: int, content: bytes, least: int) -> int:
    """A number of entries that a file may hold by its length."""
    if count > (len(content) - 8) // least:
        raise ValueError(f"says that it has {count} entries, more than its {len(content)} bytes can hold")
    return count


def _check_end(content: bytes, place: int) -> None:
    if place != len(content):
        raise ValueError(f"has {len(content)} bytes, but its entries end at {place}")
