"""Cameras in transforms.json files: those of NeRF's synthetic scenes, of instant-ngp and of nerfstudio."""

import json
import math
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from converters.scenes.cameras import UNDISTORT, Camera, Cameras, Optics, repeated
from functa_store.domains.scene import FARTHEST, Lens, check_pose
from functa_store.errors import GridError, MemberError
from functa_store.sources.splits import split_of_word
from functa_store.support.shortening import shown

_MOST_BYTES = 1 << 25
_PREFIX, _SUFFIX, WHOLE = "transforms", ".json", "transforms.json"
_DISTORTIONS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_PINHOLES = (None, "PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", "PERSPECTIVE")
_OTHER_LENSES = ("is_fisheye", "ftheta_p0", "latlong", "equirectangular", "from_mitsuba")
_LENS_WORDS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "camera_model", *_DISTORTIONS)
_FILENAMES = {"train_filenames": "train", "val_filenames": "validation", "test_filenames": "test"}
_ALIKE = 0.01
_SCALE, _OFFSET = 0.33, 0.5  # of instant-ngp, from the units of NeRF's poses to a cube of edge 1


def split_of_transforms(name: str) -> str | None:
    """The published split of views that a file holds by its name: "train", ..., "" for transforms.json, None if none.

    Args:
        name: Without folders.
    """
    if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
        return None
    word = name[len(_PREFIX) : -len(_SUFFIX)]
    return "" if not word else split_of_word(word[1:]) if word[0] in "_-" else None


def read_transforms(files: Mapping[str, tuple[str, bytes]]) -> Cameras:
    """The cameras of a scene, camera to world as the files have it.

    Args:
        files: Their names and contents by split, "" for transforms.json.

    Raises:
        MemberError: If they are none, or hold what is no pinhole camera at a fixed time; the message is the reason.
    """
    found = {split: _parsed(content, name) for split, (name, content) in files.items()}
    splits: dict[str, list[Camera]] = {}
    remarks: list[str] = []
    for split, document in found.items():
        cameras = _cameras(document, files[split][0], remarks)
        if split:
            splits[split] = cameras
        else:
            splits |= _by_filenames(document, cameras)
    _check_times(found)
    boxes = [box for split, document in found.items() if (box := _box(document, files[split][0])) is not None]
    if not boxes:
        return Cameras(splits, remarks=tuple(remarks))
    centre, half = boxes[0]
    if any(not np.allclose(centre, other[0]) or not math.isclose(half, other[1]) for other in boxes):
        raise MemberError("its files of transforms tell different cubes by aabb, aabb_scale, scale or offset")
    where = f"{centre[0]:.6g} {centre[1]:.6g} {centre[2]:.6g}"
    note = (
        f"its cube is that of aabb_scale or aabb in its transforms: {half:.6g} to each side of {where}, the origin now"
    )
    return Cameras(splits, centre, half, notes=(note,), remarks=tuple(remarks))


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    if len(content) > _MOST_BYTES:
        raise MemberError(f"{name}: has {len(content)} bytes, more than {_MOST_BYTES}")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MemberError(f"{name}: is no JSON: {shown(str(error))}") from error
    frames = found.get("frames") if isinstance(found, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise MemberError(f"{name}: has no frames, expected a list of them with file_path and transform_matrix")
    return found


def _cameras(document: Mapping[str, Any], name: str, remarks: list[str]) -> list[Camera]:
    shared = {word: document[word] for word in (*_LENS_WORDS, *_OTHER_LENSES) if word in document}
    common = None
    cameras = []
    for k, frame in enumerate(document["frames"]):
        where = f"{name}: frame {k}"
        own = {word: frame[word] for word in (*_LENS_WORDS, *_OTHER_LENSES) if word in frame}
        if own or common is None:
            optics = _optics(_without_shared_lens(shared, own) | own, where)
            common = common if own else optics
        else:
            optics = common
        path = frame.get("file_path")
        if not isinstance(path, str) or not path or "\0" in path:
            raise MemberError(f"{where}: has the file_path {shown(str(path))}, expected a name")
        cameras.append(Camera(posixpath.normpath(path.replace("\\", "/")), _pose(frame, where), optics))
    if (again := repeated([camera.image for camera in cameras])) is not None:
        raise MemberError(f"{name}: names {shown(again)} twice, expected each image once")
    if masked := sum("mask_path" in frame for frame in document["frames"]):
        remarks.append(f"masks (mask_path) of {masked} views are not applied")
    return cameras


def _without_shared_lens(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of all views, but for a lens told in another way than a view's own."""
    angles, focals = ("camera_angle_x", "camera_angle_y"), ("fl_x", "fl_y")
    if any(word in own for word in (*angles, *focals)):
        return {word: value for word, value in shared.items() if word not in (*angles, *focals)}
    return dict(shared)


def _optics(words: Mapping[str, Any], where: str) -> Optics:
    if (model := words.get("camera_model")) not in _PINHOLES:
        raise MemberError(f"{where}: has the camera_model {shown(str(model))}, expected a pinhole camera; {UNDISTORT}")
    if other := next((word for word in _OTHER_LENSES if words.get(word)), None):
        raise MemberError(f"{where}: says {other}, expected a pinhole camera in OpenGL's convention; {UNDISTORT}")
    bent = {word: number for word in _DISTORTIONS if (number := _number(words, word, where))}
    if bent:
        told = ", ".join(f"{word}={number:g}" for word, number in bent.items())
        raise MemberError(f"{where}: its lens distorts ({told}), expected a pinhole camera; {UNDISTORT}")
    across, down, width, height, column, row, wide, high = (
        _number(words, word, where)
        for word in ("fl_x", "fl_y", "w", "h", "cx", "cy", "camera_angle_x", "camera_angle_y")
    )
    for number in (width, height):
        if number is not None and (number < 1 or number % 1):
            raise MemberError(f"{where}: has the size {width} x {height}, expected whole numbers of pixels")
    for angle in (wide, high):
        if angle is not None and not 0 < angle < math.pi:
            raise MemberError(f"{where}: has the camera angle {angle:g}, expected radians between 0 and pi")
    if (column is None) != (row is None):
        raise MemberError(f"{where}: tells one of cx and cy, expected both")
    size = None if width is None or height is None else (int(height), int(width))
    relative = None if wide is None else 0.5 / math.tan(wide / 2)  # in widths
    relative_down = None if high is None else 0.5 / math.tan(high / 2)  # in heights
    if size is None and column is None:
        if relative is None:
            raise MemberError(f"{where}: found no camera_angle_x, nor fl_x with w and h or cx and cy, expected a lens")
        if across is not None:
            raise MemberError(
                f"{where}: tells fl_x in pixels and neither w and h nor cx and cy; remove it, or add them"
            )
        return Optics(Lens(relative, None, relative_down), where, None, is_relative=True)
    if across is None:
        if relative is None or size is None:
            raise MemberError(f"{where}: found no fl_x, nor camera_angle_x with w and h, expected a lens")
        across, down = relative * size[1], None if relative_down is None else relative_down * size[0]
    elif relative is not None and size is not None and abs(relative * size[1] / across - 1) > _ALIKE:
        raise MemberError(
            f"{where}: fl_x={across:g} for {size[1]} columns and camera_angle_x={wide:g}, which means "
            f"{relative * size[1]:g}, contradict each other; remove the wrong one"
        )
    centre = None if column is None or row is None else (column, row)
    optics = Optics(Lens(across, centre, None if down == across else down), where, size)
    if size is not None:
        optics.check(size)
    return optics


def _number(words: Mapping[str, Any], word: str, where: str) -> float | None:
    if word not in words or words[word] is None:
        return None
    value = words[word]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise MemberError(f"{where}: {word} is {shown(str(value))}, expected a number")
    return float(value)


def _pose(frame: Mapping[str, Any], where: str) -> Float64[np.ndarray, "4 4"]:
    rows = frame.get("transform_matrix")
    numbers: list[Any] = []
    if isinstance(rows, list) and all(isinstance(row, list) and len(row) == 4 for row in rows):
        numbers = [number for row in rows for number in row]
    if len(numbers) not in (12, 16) or not all(type(number) in (int, float) for number in numbers):
        raise MemberError(f"{where}: has no transform_matrix of 4 rows of 4 numbers")
    pose = np.eye(4)
    try:
        pose[: len(numbers) // 4] = np.array(numbers, np.float64).reshape(-1, 4)
        check_pose(pose)
    except (GridError, OverflowError) as error:
        raise MemberError(f"{where}: {error}") from error
    return pose


def _check_times(documents: Mapping[str, Mapping[str, Any]]) -> None:
    times = {str(frame.get("time")) for document in documents.values() for frame in document["frames"]}
    if len(times) > 1:
        raise MemberError(f"its views are of {len(times)} times, expected a scene that does not move")


def _by_filenames(document: Mapping[str, Any], cameras: Sequence[Camera]) -> dict[str, list[Camera]]:
    """Cameras by the published splits of nerfstudio; all in "train" if there are none.

    Raises:
        MemberError: If a view is in two of them, or in none.
    """
    if not any(word in document for word in _FILENAMES):
        return {"train": list(cameras)}
    split_of: dict[str, str] = {}
    for word, split in _FILENAMES.items():
        names = document.get(word) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise MemberError(f"{WHOLE}: {word} is no list of names")
        for name in names:
            path = posixpath.normpath(name.replace("\\", "/"))
            if split_of.setdefault(path, split) != split:
                raise MemberError(f"{WHOLE}: {shown(name)} is in {word} and in another split")
    if unknown := [camera.image for camera in cameras if camera.image not in split_of]:
        raise MemberError(
            f"{WHOLE}: {len(unknown)} views such as {shown(unknown[0])} are in none of {list(_FILENAMES)}"
        )
    found: dict[str, list[Camera]] = {}
    for camera in cameras:
        found.setdefault(split_of[camera.image], []).append(camera)
    return found


def _box(document: Mapping[str, Any], name: str) -> tuple[Float64[np.ndarray, "3"], float] | None:
    """Middle and half edge of instant-ngp's cube, in units of the poses; None if the file tells none.

    instant-ngp takes a point p of the poses' world to scale * p + offset, and the cube has its middle at 0.5 there and
    an edge of aabb_scale; with an aabb, [lowest, highest corner], its longest edge becomes 1 and its middle 0.5.
    """
    if "aabb_scale" not in document and "aabb" not in document:
        return None
    edge, scale = (_number({word: 1.0, **document}, word, name) for word in ("aabb_scale", "scale"))
    scale = scale if "scale" in document else _SCALE
    offset = _triple(document.get("offset", [_OFFSET] * 3), f"{name}: offset")
    if (corners := document.get("aabb")) is not None:
        if not isinstance(corners, list) or len(corners) != 2:
            raise MemberError(f"{name}: aabb is {shown(str(corners))}, expected two corners of three numbers")
        low, high = (_triple(corner, f"{name}: aabb") for corner in corners)
        scale = 1 / max(float(np.abs(high - low).max()), 1e-6)
        offset = 0.5 - (low + high) / 2 * scale
    half = (edge or 1.0) / 2 / (scale or math.inf)
    centre = (0.5 - offset) / (scale or math.inf)
    if not (0 < half < FARTHEST and (np.abs(centre) < FARTHEST).all()):
        raise MemberError(f"{name}: has aabb_scale={edge} with scale={scale} and offset={offset}, which make no cube")
    return centre, half


def _triple(value: Any, where: str) -> Float64[np.ndarray, "3"]:
    if isinstance(value, list) and len(value) == 3 and all(type(number) in (int, float) for number in value):
        return np.array(value, np.float64)
    raise MemberError(f"{where}: is {shown(str(value))}, expected three numbers")
