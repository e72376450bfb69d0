"""Scenes of an archive of any kind: their split and category, which views of one are taken, and their pictures."""

import dataclasses
import io
import math
import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Num, UInt8
from PIL import Image, PngImagePlugin

from converters.archives.memory_share import take_room
from converters.scenes.pose_conventions import BOUND_PER_DISTANCE, Convention
from functa_store.config import whole
from functa_store.domains.scene import MOST_PIXELS, MOST_SAMPLES, MOST_VIEWS, Lens
from functa_store.errors import ConfigError, MemberError
from functa_store.sources.options import ArchiveOptions
from functa_store.sources.splits import SPLIT_WORDS, evenly_centred, split_of_word

_DIGITS = 6


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


# "cars_train", "cars_train_val" (new views of the training scenes), or "train" alone; and "train_cars".
_WORDS = "|".join(SPLIT_WORDS)
_SPLIT_FOLDER = re.compile(rf"^(?:(?P<category>.+?)(?:_train)?_)?(?P<split>{_WORDS})$", re.IGNORECASE)
_SPLIT_FIRST = re.compile(rf"^(?P<split>{_WORDS})_(?P<category>.+)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A scene as it is listed; nothing has been read.

    Attributes:
        name: Its folder in the archive.
        problem: Why it cannot be used, or None.
        told: The name by which its folders tell split and category; "" if that is `name`.
    """

    name: str
    problem: str | None = None
    told: str = ""

    @property
    def split(self) -> str | None:
        """The split that its folders name, or None."""
        found = _split_folder(self.told or self.name)
        return split_of_word(found["split"]) if found else None

    @property
    def category(self) -> str:
        """The category that the folder of its split names, as in cars_train; empty if it names none."""
        found = _split_folder(self.told or self.name)
        named = (found["category"] if found else None) or ""
        return "" if split_of_word(named) else named

    @property
    def place(self) -> tuple[str, ...]:
        """The folders that it lies in, but for that of its split."""
        name = self.told or self.name
        found, folders = _split_folder(name), name.split("/")[:-1]
        if found:
            del folders[len(folders) - 1 - folders[::-1].index(found.string)]
        return tuple(folders)


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


def _split_folder(scene: str) -> re.Match[str] | None:
    """The folder nearest to a scene that is named as a split."""
    matches = (_SPLIT_FOLDER.match(folder) or _SPLIT_FIRST.match(folder) for folder in reversed(scene.split("/")[:-1]))
    return next(filter(None, matches), None)


MAX_PIXELS = 1 << 24
"""Largest image that is decoded, by the size in its header."""

MOST_RAYS = 1 << 24
"""Pixels of all views of an example, 36 bytes each as rays."""

_BYTES_PER_RAY = 36

_PNG = b"\x89PNG\r\n\x1a\n"

WHITE_ONLY = "all its views are white; there is nothing to see"


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
