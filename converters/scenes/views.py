"""Folders of an archive that are scenes, their split and category; which views of one are taken, and their reading."""

import dataclasses
import io
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64, Num, UInt8
from PIL import Image, PngImagePlugin

from converters.archives.archive import Archive
from converters.archives.memory_share import check_wanted, take_room
from functa_store.config import whole
from functa_store.domains.scene import (
    MOST_PIXELS,
    MOST_SAMPLES,
    MOST_VIEWS,
    Lens,
    camera_rays,
    check_pose,
    other_convention,
)
from functa_store.errors import ConfigError, GridError, MemberError
from functa_store.sources.options import ArchiveOptions
from functa_store.sources.splits import SPLIT_WORDS, evenly_centred, split_of_word

BOUND_PER_DISTANCE = 0.5 / 1.3
"""Half the cube's edge relative to the cameras' distance: SRN's cameras are 1.3 away from objects inside a box with a
diagonal of 1, whatever its proportions, and so within 0.5 of the centre."""

_DIGITS = 6

Convention = Literal["opencv", "opengl", "world-to-camera", "opengl-world-to-camera"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneOptions(ArchiveOptions):
    """Which views of a scene are taken, at which size, and where it lies.

    Attributes:
        resolution: Height of a view in pixels, by averaging over areas; None keeps the archive's.
        views: Views of a scene at most, evenly chosen; None takes all.
        context_views: Views at most that its fit sees, evenly chosen among them; None takes all.
        held_out_views: Views at most, evenly chosen among the rest, on which the fit is measured; None takes all.
        bound: The scene lies in [-bound, bound] along x, y and z; None means 0.5 at a median distance of 1.3.
        near: Where samples along a ray begin; None means `bound` before the centre, from the nearest camera.
        far: Where they end; None means `bound` behind the centre, from the farthest camera.
        num_samples: Samples per ray.
        poses: What a pose is: "opencv" takes points of a camera (x right, y down, z forward) to the world, "opengl"
            those of one with y up and z back; "world-to-camera" and "opengl-world-to-camera" are their inverses.
            Cameras that do not see the scene that way are rejects.
    """

    resolution: int | None = 64
    views: int | None = None
    context_views: int | None = None
    held_out_views: int | None = None
    bound: float | None = None
    near: float | None = None
    far: float | None = None
    num_samples: int = 32
    poses: Convention = "opencv"

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = {
            "resolution": (1, MOST_PIXELS),
            "views": (1, MOST_VIEWS),
            "context_views": (1, MOST_VIEWS),
            "held_out_views": (0, MOST_VIEWS),
            "num_samples": (1, MOST_SAMPLES),
        }
        for name, (lowest, highest) in counts.items():
            if (value := getattr(self, name)) is not None and whole(name, value, lowest) > highest:
                raise ConfigError(f"{name} must be at most {highest}, got {value}")
        if self.held_out_views and self.context_views is None and not self.holds_out_published:
            raise ConfigError(
                f"held_out_views={self.held_out_views} needs context_views: without it the fit sees all views, and "
                "none is left to measure it on"
            )
        for name in ("bound", "near", "far"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be positive and finite, got {value}")
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise ConfigError(f"near must be below far, got near={self.near} and far={self.far}")

    @property
    def holds_out_published(self) -> bool:
        """Whether the views on which fits are measured are published ones, and not a rest."""
        return False

    def choose(self, count: int) -> tuple[list[int], list[int]]:
        """Which of a scene's views its fit sees, and which it is measured on."""
        taken = evenly_centred(count, self.views or count)
        context = [taken[i] for i in evenly_centred(len(taken), self.context_views or len(taken))]
        rest = sorted(set(taken) - set(context))
        wanted = len(rest) if self.held_out_views is None else self.held_out_views
        return context, [rest[i] for i in evenly_centred(len(rest), wanted)]

    def extent(
        self, distances: Float[np.ndarray, " cameras"], box: float | None = None, reach: float = 1.0
    ) -> tuple[float, float, float]:
        """Bound, near and far for cameras at these distances from the centre.

        Args:
            distances: Of the cameras.
            box: The bound that the archive tells; None if it tells none.
            reach: How far from the centre, in bounds, near and far are.

        Raises:
            ConfigError: If near would not be below far.
        """
        nearest, usual, farthest = (float(np.quantile(distances, share)) for share in (0.0, 0.5, 1.0))
        found = BOUND_PER_DISTANCE * usual if box is None else box
        bound = round(found, _DIGITS) if self.bound is None else self.bound
        near = round(max(nearest - reach * bound, 0.0), _DIGITS) if self.near is None else self.near
        far = round(farthest + reach * bound, _DIGITS) if self.far is None else self.far
        if not bound > 0 or near >= far:
            raise ConfigError(
                f"cameras are {nearest:g} to {farthest:g} away from the centre, which gives bound={bound}, near={near} "
                f"and far={far}; give --bound, --near and --far such that the scene lies between them"
            )
        return bound, near, far


INTRINSICS = "intrinsics.txt"

# "cars_train", "cars_train_val" (new views of the training scenes), or "train" alone; and "train_cars".
_WORDS = "|".join(SPLIT_WORDS)
_SPLIT_FOLDER = re.compile(rf"^(?:(?P<category>.+?)(?:_train)?_)?(?P<split>{_WORDS})$", re.IGNORECASE)
_SPLIT_FIRST = re.compile(rf"^(?P<split>{_WORDS})_(?P<category>.+)$", re.IGNORECASE)
_FILE = re.compile(r"^(?P<scene>.+)/(?:(?P<part>rgb|pose)/(?P<name>[^/]+)\.(?P<suffix>[^./]+)|intrinsics\.txt)$")
_MOST_TEXT, _NUM_SHOWN = 1 << 16, 60
_SUFFIX = {"rgb": "png", "pose": "txt"}


class View(NamedTuple):
    """Members of one view."""

    image: str
    pose: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A scene as it is listed; nothing has been read.

    Attributes:
        name: Its folder in the archive.
        problem: Why it cannot be used, or None.
    """

    name: str
    problem: str | None = None

    @property
    def split(self) -> str | None:
        """The split that its folders name, or None."""
        found = _split_folder(self.name)
        return split_of_word(found["split"]) if found else None

    @property
    def category(self) -> str:
        """The category that the folder of its split names, as in cars_train; empty if it names none."""
        found = _split_folder(self.name)
        named = (found["category"] if found else None) or ""
        return "" if split_of_word(named) else named

    @property
    def place(self) -> tuple[str, ...]:
        """The folders that it lies in, but for that of its split."""
        found, folders = _split_folder(self.name), self.name.split("/")[:-1]
        if found:
            del folders[len(folders) - 1 - folders[::-1].index(found.string)]
        return tuple(folders)


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


def categories(scenes: Sequence[Scene]) -> list[str]:
    """The category of each scene: as the folders of splits name them (cars_train), else by its other folders.

    So it is cars in train/cars/a as in cars/train/a; folders that all scenes lie in name none.
    """
    named = [scene.category for scene in scenes]
    if any(named) or not scenes:
        return named
    places = [scene.place for scene in scenes]
    common = len(posixpath.commonprefix(places))
    return ["/".join(place[common:]) for place in places]


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


def _split_folder(scene: str) -> re.Match[str] | None:
    """The folder nearest to a scene that is named as a split."""
    matches = (_SPLIT_FOLDER.match(folder) or _SPLIT_FIRST.match(folder) for folder in reversed(scene.split("/")[:-1]))
    return next(filter(None, matches), None)


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


MAX_PIXELS = 1 << 24
"""Largest image that is decoded, by the size in its header."""

MOST_RAYS = 1 << 24
"""Pixels of all views of an example, 36 bytes each as rays."""

WIDEST = 20
"""Focal lengths along an edge of an image, at most: 169 degrees."""

_BYTES_PER_RAY = 36
_RAYS = 8  # along each edge of an image, to see whether cameras see the scene
_FEWEST_VIEWS, _FEWEST_RAYS = 0.5, 0.02
_ALIKE = 0.1  # focal lengths along rows and columns
_PNG = b"\x89PNG\r\n\x1a\n"
_WHITE = 255


class Views(NamedTuple):
    """Some views of a scene, those for its fit first.

    Attributes:
        images: sRGB on the background, 0 to 255.
        poses: Camera to world, of OpenCV's convention.
        lenses: Of each of them, in pixels of these images.
        counts: How many are for the fit, and how many are held out.
        box: Half the edge of the cube around the origin that the scene is known to lie in; None if nothing says so.
        notes: What was made of the scene, in words, where that decides its values.
        remarks: What else is odd about it.
    """

    images: UInt8[np.ndarray, "views height width 3"]
    poses: Float64[np.ndarray, "views 4 4"]
    lenses: Sequence[Lens]
    counts: tuple[int, int]
    box: float | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


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


WHITE_ONLY = "all its views are white; there is nothing to see"


def view_shape(found: tuple[int, int], size: int | None, num_views: int) -> tuple[int, int]:
    """Height and width of views as they are converted, for which room is taken.

    Args:
        found: Height and width of the first image.
        size: Height that is wanted; None keeps what is found.
        num_views: How many views are read.

    Raises:
        MemberError: If they are too large, or smaller than wanted; the message is the reason alone.
    """
    shape = found if size is None else (size, max(1, round(size * found[1] / found[0])))
    if shape[0] > found[0]:
        raise MemberError(f"its images have {found[0]} rows, fewer than resolution={size}; lower the resolution")
    if max(shape) > MOST_PIXELS:
        raise MemberError(f"its images are {shape[0]} x {shape[1]}, expected at most {MOST_PIXELS} pixels per edge")
    if (num_rays := num_views * math.prod(shape)) > MOST_RAYS:
        raise MemberError(
            f"has {num_rays} pixels in {num_views} views, more than the {MOST_RAYS} of an example; lower the "
            "resolution, or take fewer --views"
        )
    take_room(_BYTES_PER_RAY * num_rays)
    return shape


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


_FORMS = (
    "expected 'f cx cy 0.', 'fx fy cx cy' or a 3x3 or 4x4 matrix [fx 0 cx; 0 fy cy; 0 0 1] first, 'height width' last, "
    "all in pixels"
)


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


def camera_to_world(
    poses: Float64[np.ndarray, "*views 4 4"], convention: Convention
) -> Float64[np.ndarray, "*views 4 4"]:
    """Poses as they stand in files, as camera to world of OpenCV's convention."""
    found = np.linalg.inv(poses) if convention.endswith("world-to-camera") else poses
    return other_convention(found) if convention.startswith("opengl") else found


def check_cameras(
    poses: Float64[np.ndarray, "views 4 4"],
    lenses: Sequence[Lens],
    sizes: Sequence[tuple[int, int]],
    convention: Convention,
    bound: float | None,
    *,
    others: bool = True,
) -> None:
    """Refuse cameras that do not see the scene: their poses are of another convention, or it lies elsewhere.

    Args:
        poses: As they stand in files.
        lenses: Of each of them.
        sizes: Height and width of each one's image.
        convention: How poses are read.
        bound: Half the edge of the cube around the origin; None means one in proportion to the cameras' distance.
        others: Whether they may be of another convention, as far as the kind of file tells.

    Raises:
        MemberError: If so; the message says in which convention they would see it.
    """
    words: tuple[Convention, ...] = get_args(Convention) if others else (convention,)
    seen = {word: _seen(camera_to_world(poses, word), lenses, sizes, bound) for word in words}
    views, rays = seen[convention]
    if not math.isfinite(rays):  # cameras at the centre: only a bound says where the scene is
        return
    best = max(words, key=lambda word: seen[word][1])
    if views >= _FEWEST_VIEWS and rays >= _FEWEST_RAYS and rays >= seen[best][1] / 2:
        return
    said = f"with --poses {convention} " if others else ""
    problem = (
        f"its cameras do not see the scene: {said}{views:.0%} of the views and {rays:.0%} of their rays meet the cube "
        "around the origin"
    )
    if best != convention and seen[best][1] >= _FEWEST_RAYS:
        raise MemberError(f"{problem}, with --poses {best} {seen[best][0]:.0%} and {seen[best][1]:.0%}")
    raise MemberError(f"{problem}; move the origin of the poses into the scene, or give its --bound")


def _seen(
    poses: Float64[np.ndarray, "views 4 4"],
    lenses: Sequence[Lens],
    sizes: Sequence[tuple[int, int]],
    bound: float | None,
) -> tuple[float, float]:
    """The shares of views and of all their rays that meet the cube; not a number if the cube has no size."""
    half = bound or usual_bound(poses)
    if not half > 0:
        return math.nan, math.nan
    coarse = [scaled(lens, _RAYS / size[1], _RAYS / size[0]) for lens, size in zip(lenses, sizes, strict=True)]
    rays = (camera_rays(pose, _RAYS, _RAYS, lens) for pose, lens in zip(poses, coarse, strict=True))
    shares = np.array([meets(*both, half).mean() for both in rays])
    return float((shares > 0).mean()), float(shares.mean())


def usual_bound(poses: Float64[np.ndarray, "views 4 4"]) -> float:
    """Half the edge of the cube around the origin in proportion to the distance of most cameras, as SRN's."""
    return BOUND_PER_DISTANCE * float(np.median(np.linalg.norm(poses[:, :3, 3], axis=-1)))


def meets(
    origins: Float[np.ndarray, "*rays 3"], directions: Float[np.ndarray, "*rays 3"], half: float
) -> Bool[np.ndarray, "*rays"]:
    """Which rays meet a cube around the origin, in front of the camera."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (-half - origins) / directions, (half - origins) / directions
        # Of a ray along two planes and between them, which they do not limit, the sum is -inf + inf, or 0 / 0.
        limits = ~np.isnan(near + far)
    first = np.fmax(np.fmin(near, far).max(-1, initial=-np.inf, where=limits), 0)
    last = np.fmax(near, far).min(-1, initial=np.inf, where=limits)
    return last > first


def scaled(lens: Lens, across: float, down: float) -> Lens:
    """A lens in pixels of an image that has so many times as many columns and rows."""
    centre = None if lens.centre is None else (lens.centre[0] * across, lens.centre[1] * down)
    focal_down = lens.focal if lens.focal_down is None else lens.focal_down
    return Lens(lens.focal * across, centre, focal_down * down)


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


def read_png(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of a PNG, transparent ones on white.

    Raises:
        MemberError: If it is no 8-bit PNG, damaged or too large.
    """
    if not data.startswith(_PNG):
        raise MemberError(f"starts with {data[:8]!r}, expected a PNG")
    try:
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
        take_room(16 * math.prod(image.size))
        if math.prod(image.size) <= MAX_PIXELS and image.mode in ("L", "LA", "P", "RGB", "RGBA"):
            pixels = image.convert("RGBA")
            return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), pixels).convert("RGB"))
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise MemberError(f"cannot be decoded: {error}") from error
    raise MemberError(f"has {image.size} pixels of mode {image.mode}, expected at most {MAX_PIXELS} of 8-bit colour")


def shrink(image: UInt8[np.ndarray, "height width 3"], shape: tuple[int, int]) -> UInt8[np.ndarray, "rows columns 3"]:
    """The image at a lower resolution: every pixel is the mean colour of the area that it covers."""
    if image.shape[:2] == shape:
        return image
    return np.rint(_means(_means(image, 0, shape[0]), 1, shape[1])).astype(np.uint8)


def _means(values: Num[np.ndarray, "height width 3"], axis: int, count: int) -> Float64[np.ndarray, "rows columns 3"]:
    """Means over each of `count` equal parts of an axis, at most as many as its cells; parts share those between them.

    A product of matrices would do, but takes all cores for every image, of which a survey reads eight at a time: on 16
    cores it took eight times as long.
    """
    length = values.shape[axis]
    cells, rest = np.divmod(np.arange(count) * length, count)  # where each part begins
    shares = np.expand_dims(rest / count, [other for other in range(values.ndim) if other != axis])
    cut = shares * values.take(cells, axis)  # belongs to the part before
    sums = np.add.reduceat(values, cells, axis, dtype=np.float64) + np.diff(cut, axis=axis, append=0)
    return sums * (count / length)


def _named(member: str, read: Callable[[bytes], np.ndarray], archive: Archive) -> np.ndarray:
    try:
        return read(archive.read(member))
    except MemberError as error:
        raise MemberError(f"{'/'.join(member.split('/')[-2:])}: {error}") from error
