"""Scenes in the layout of Scene Representation Networks: their members, poses, lenses and views."""

import dataclasses
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from converters.archives.archive import Archive
from converters.archives.memory_share import check_wanted
from converters.scenes.pose_conventions import WIDEST, camera_to_world, check_cameras, scaled
from converters.scenes.views import MOST_RAYS, WHITE_ONLY, Scene, SceneOptions, Views, read_png, shrink, view_shape
from functa_store.domains.scene import Lens, check_pose
from functa_store.errors import GridError, MemberError

INTRINSICS = "intrinsics.txt"
_FILE = re.compile(r"^(?P<scene>.+)/(?:(?P<part>rgb|pose)/(?P<name>[^/]+)\.(?P<suffix>[^./]+)|intrinsics\.txt)$")
_MOST_TEXT, _NUM_SHOWN = 1 << 16, 60
_SUFFIX = {"rgb": "png", "pose": "txt"}
_ALIKE = 0.1  # focal lengths along rows and columns
_WHITE = 255
_FORMS = (
    "expected 'f cx cy 0.', 'fx fy cx cy' or a 3x3 or 4x4 matrix [fx 0 cx; 0 fy cy; 0 0 1] first, 'height width' last, "
    "all in pixels"
)


class View(NamedTuple):
    """Members of one view."""

    image: str
    pose: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SrnScene(Scene):
    """A scene in SRN's layout.

    Attributes:
        views: Those with an image and a pose, sorted by name.
    """

    views: Sequence[View]

    @property
    def intrinsics(self) -> str:
        """The member with its lens."""
        return posixpath.join(self.name, INTRINSICS)


def list_scenes(members: Iterable[str]) -> tuple[list[SrnScene], list[str]]:
    """Scenes of an archive in SRN's layout, sorted by name, and the members that belong to none."""
    parts: dict[str, dict[str, set[str]]] = {}
    others: list[str] = []
    for member in members:
        found = _FILE.match(member)
        if not found or (found["part"] and found["suffix"].lower() != _SUFFIX[found["part"]]):
            others.append(member)
            continue
        scene = parts.setdefault(found["scene"], {"rgb": set(), "pose": set(), INTRINSICS: set()})
        scene[found["part"] or INTRINSICS].add(member)
    return [_scene(name, parts[name]) for name in sorted(parts)], others


def _scene(name: str, parts: dict[str, set[str]]) -> SrnScene:
    images, poses = ({posixpath.splitext(posixpath.basename(m))[0]: m for m in parts[part]} for part in _SUFFIX)
    views = [View(images[view], poses[view]) for view in sorted(images.keys() & poses.keys())]
    problem = _problem(parts, images.keys() - poses.keys(), poses.keys() - images.keys())
    return SrnScene(name=name, views=views, problem=problem)


def _problem(parts: dict[str, set[str]], no_pose: set[str], no_image: set[str]) -> str | None:
    if not parts["rgb"]:
        return "has no images, expected rgb/*.png"
    if no_pose:
        return f"{len(no_pose)} images have no pose: pose/{min(no_pose)}.txt is missing"
    if no_image:
        return f"{len(no_image)} poses have no image: rgb/{min(no_image)}.png is missing"
    return None if parts[INTRINSICS] else f"has no {INTRINSICS}"


class Intrinsics(NamedTuple):
    """What `intrinsics.txt` says.

    Attributes:
        lens: In pixels of images in full size.
        size: Their height and width.
        is_inverse: Whether it says that poses are world to camera.
    """

    lens: Lens
    size: tuple[int, int]
    is_inverse: bool


def read_views(archive: Archive, scene: SrnScene, options: SceneOptions, size: int | None) -> Views:
    """Read the views of a scene that are wanted, those for its fit first.

    Args:
        archive: Where the scene is.
        scene: Which one.
        options: Which of its views.
        size: Pixels of a view's height; None keeps the archive's.

    Raises:
        MemberError: If a member is missing, damaged or contradicts another one, or all is white; the message is the
            reason alone.
    """
    if scene.problem is not None:  # which a dry run passes unread
        raise MemberError(scene.problem)
    context, held_out = options.choose(len(scene.views))
    views = [scene.views[i] for i in (*context, *held_out)]
    lens, (height, width), is_inverse = read_intrinsics(archive.read(scene.intrinsics))
    if is_inverse and not options.poses.endswith("world-to-camera"):
        raise MemberError(f"{INTRINSICS}: poses are world to camera, expected camera to world; --poses world-to-camera")
    if len(views) > MOST_RAYS:
        raise MemberError(f"has {len(views)} views, more than can be learned; take fewer with --views")
    poses = np.stack([_named(view.pose, read_pose, archive) for view in views])
    check_cameras(poses, [lens] * len(views), [(height, width)] * len(views), options.poses, options.bound)
    poses = camera_to_world(poses, options.poses)
    images, first, white = np.empty((0, 0, 0, 3), np.uint8), (0, 0), True
    for k, view in enumerate(views):
        check_wanted()
        image = _named(view.image, read_png, archive)
        if not k:
            first = image.shape[:2]
            if first[0] * width != first[1] * height:
                raise MemberError(f"its images are {first[0]} x {first[1]}, but {INTRINSICS} says {height} x {width}")
            images = np.empty((len(views), *view_shape(first, size, len(views)), 3), np.uint8)
        if image.shape[:2] != first:
            raise MemberError(f"its images have different sizes: {first} and {image.shape[:2]} (height, width)")
        white = white and bool((image == _WHITE).all())
        images[k] = shrink(image, images.shape[1:3])  # at once: all of them in full size may take gigabytes
    if white:
        raise MemberError(WHITE_ONLY)
    lens = scaled(lens, images.shape[2] / width, images.shape[1] / height)
    return Views(images, poses, (lens,) * len(views), (len(context), len(held_out)))


def read_intrinsics(text: bytes) -> Intrinsics:
    """Lens and image size of an `intrinsics.txt`, of SRN's form or another one that cannot be taken for it.

    SRN's line 1 is "f cx cy 0.", line 2 the scene's barycentre, then come the near plane and the scale, of which
    published archives have one or both, and a line with height and width. A last line of 1 says that poses are world
    to camera. Other programs write "fx fy cx cy", or a matrix in three or four lines, before height and width.

    Raises:
        MemberError: If it is no such file, or may be read in two ways; the message says what was found and expected.
    """
    lines = numbers(text, INTRINSICS)
    is_inverse = False
    if len(lines) > 2 and len(lines[-1]) == 1 and len(lines[-2]) == 2:
        is_inverse = bool(lines.pop()[0])
    if len(lines) < 2 or len(lines[0]) < 3:
        raise MemberError(f"{INTRINSICS}: found {len(lines)} lines, {_FORMS}")
    size = lines[-1]
    if len(size) != 2 or not all(number >= 1 and number % 1 == 0 for number in size):
        raise MemberError(f"{INTRINSICS}: found {size} in the last line, expected height and width in pixels")
    height, width = (int(number) for number in size)
    across, down, column, row = _pinhole(lines[:-1])
    found = f"{INTRINSICS}: found f, cx, cy = {across:g}, {column:g}, {row:g} for images of {width} x {height} pixels"
    if not all(0 < focal < math.inf for focal in (across, down)) or not all(map(math.isfinite, (column, row))):
        raise MemberError(f"{found}, expected finite numbers and f above 0")
    if not (0 < column < width and 0 < row < height):
        raise MemberError(f"{found}, of which the principal point lies outside the image; {_FORMS}")
    if min(across, down) * WIDEST < max(height, width):
        raise MemberError(f"{found}, expected a focal length in pixels, of {max(height, width) / WIDEST:g} at least")
    return Intrinsics(Lens(across, (column, row), None if across == down else down), (height, width), is_inverse)


def _pinhole(lines: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Focal lengths along a row and a column, and column and row of the principal point; MemberError if unclear."""
    first, found = lines[0], f"{INTRINSICS}: found {' '.join(f'{number:g}' for number in lines[0][:_NUM_SHOWN])!r}"
    if (matrix := _matrix(lines)) is not None:
        if matrix[0, 1]:
            raise MemberError(f"{found} first, a matrix of a lens whose pixels are askew ({matrix[0, 1]:g})")
        return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])
    if len(first) > 4:
        raise MemberError(f"{found} first, {_FORMS}")
    if len(first) == 3 or not first[3]:
        return first[0], first[0], first[1], first[2]
    if not abs(first[1] - first[0]) <= _ALIKE * abs(first[0]):  # also of what is not a number
        raise MemberError(f"{found} first, which is neither 'f cx cy 0.' nor 'fx fy cx cy' with fx about fy; {_FORMS}")
    return first[0], first[1], first[2], first[3]


def _matrix(lines: Sequence[Sequence[float]]) -> Float64[np.ndarray, "3 3"] | None:
    """The upper left corner of a matrix of a lens in the first lines, or in one; None if there is none."""
    shapes = {9: (3, 3), 12: (3, 4), 16: (4, 4)}
    if len(lines[0]) in shapes:
        matrix = np.reshape(lines[0], shapes[len(lines[0])])
    else:
        columns = len(lines[0])
        rows = next((k for k, line in enumerate(lines) if len(line) != columns), len(lines))
        if columns not in (3, 4) or rows < 3:
            return None
        matrix = np.array(lines[: min(rows, columns)])
    corner, rest = matrix[:3, :3], np.eye(4)[: len(matrix), : matrix.shape[1]].copy()
    rest[:2, :3] = corner[:2]
    rest[1, 0] = 0
    return corner if (matrix == rest).all() else None


def read_pose(text: bytes) -> Float64[np.ndarray, "4 4"]:
    """The 16 numbers of a pose, row by row, on one line or several.

    Raises:
        MemberError: If they are no rigid motion.
    """
    found = [number for line in numbers(text, "a pose") for number in line]
    if len(found) != 16:
        raise MemberError(f"found {len(found)} numbers, expected the 16 of a 4x4 matrix")
    pose = np.array(found, np.float64).reshape(4, 4)
    try:
        check_pose(pose)
    except GridError as error:
        raise MemberError(str(error)) from error
    return pose


def numbers(text: bytes, what: str) -> list[list[float]]:
    """The numbers of a text file, line by line, empty lines left out.

    Raises:
        MemberError: If something in it is no number.
    """
    if len(text) > _MOST_TEXT:
        raise MemberError(f"{what}: has {len(text)} bytes, more than {_MOST_TEXT}")
    try:
        lines = [[float(word) for word in line.split()] for line in text.decode("ascii").splitlines()]
    except ValueError as error:
        raise MemberError(f"{what}: found {text[:_NUM_SHOWN]!r}, expected numbers") from error
    return [line for line in lines if line]


def _named(member: str, read: Callable[[bytes], np.ndarray], archive: Archive) -> np.ndarray:
    try:
        return read(archive.read(member))
    except MemberError as error:
        raise MemberError(f"{'/'.join(member.split('/')[-2:])}: {error}") from error
