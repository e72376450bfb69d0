"""Converter of scenes of NeRF, instant-ngp, nerfstudio, COLMAP and LLFF: photographs or renderings with cameras.

Expected result: one example per scene, in the order of sorted folders. Views published as "val" or "test" are left out
unless an option takes them. Folders above scenes that are named as splits are the splits, else every tenth scene is
held out.
"""

import bisect
import dataclasses
import functools
import posixpath
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from PIL import Image, ImageColor

from converters.archives.archive import Archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.listing import has_suffix, nothing_to_convert
from converters.archives.many_archives import PACKED_SUFFIXES, open_archives
from converters.archives.memory_share import check_wanted
from converters.images.image_files import IMAGE_SUFFIXES, read_as_stored
from converters.scenes.camera_files import KINDS, NerfScene, list_nerf_scenes
from converters.scenes.cameras import Camera, Cameras, Frame, frame_of_cameras, frame_of_points
from converters.scenes.colmap_files import PARTS, read_model
from converters.scenes.llff_files import read_poses_bounds
from converters.scenes.pose_conventions import Convention, camera_to_world, check_cameras, meets, scaled, usual_bound
from converters.scenes.scene_source import SceneSource
from converters.scenes.srn import SRN_PRESETS
from converters.scenes.transforms_files import read_transforms
from converters.scenes.views import MAX_PIXELS, MOST_RAYS, WHITE_ONLY, SceneOptions, Views, shrink, view_shape
from functa_store.domains.scene import Lens, camera_rays
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.splits import SPLITS, evenly_centred, split_of_word
from functa_store.support.shortening import shown

_LEFT_OFF = (".png", ".jpg", ".jpeg", ".webp", ".JPG", ".PNG")
"""Suffixes that file_path of transforms.json may leave off, as Blender's do; the first one that is there is taken."""

_DIAGONAL = 3**0.5  # half that of a cube, in halves of its edge


@dataclasses.dataclass(frozen=True, kw_only=True)
class NerfOptions(SceneOptions):
    """Which views of a scene are taken, at which size, and where it lies.

    Attributes:
        bound: The scene lies in [-bound, bound] along x, y and z; None takes the cube that a file tells, 0.5 of a scene
            that is moved, or 0.5 at a median distance of 1.3 if views show nothing beside it.
        near: Where samples along a ray begin; None means the corner of the cube nearest to any camera.
        far: Where they end; None means the farthest corner.
        poses: What a transform_matrix is: "opengl" takes points of a camera (x right, y up, z back) to the world,
            "opencv" those of one with y down and z forward; "world-to-camera" and "opengl-world-to-camera" are their
            inverses. Cameras that do not see the scene that way are rejects. Those of COLMAP and LLFF are their own.
        view_splits: Published splits of a scene's views that its fit may see, some of train, validation and test;
            other views are left out.
        held_out_split: Published split of views on which the fit is measured, in the place of a rest of
            `context_views`; the base network learns from those of training scenes, too.
        format: Whether cameras are those of transforms.json files, of a model of COLMAP or of LLFF's poses_bounds.npy;
            "auto" takes the first of these that a scene has.
        normalise: How a scene is moved into the cube: "points" by COLMAP's points3D or LLFF's depths, "cameras" such
            that their optical axes meet in the origin, "none" not at all; "auto" moves scenes of COLMAP and LLFF, by
            points if there are some.
        images: Name of the folder with images of COLMAP and LLFF.
        background: What shows through transparent pixels, a name or "#rrggbb"; what is rendered has a white one.
    """

    poses: Convention = "opengl"
    view_splits: tuple[str, ...] = option(("train",), metavar="SPLIT,...")
    held_out_split: Literal["validation", "test"] | None = None
    format: Literal["auto", "transforms", "colmap", "llff"] = "auto"
    normalise: Literal["auto", "none", "points", "cameras"] = "auto"
    images: str = "images"
    background: str = "white"

    def __post_init__(self) -> None:
        super().__post_init__()
        splits = tuple(split_of_word(word) or word for word in self.view_splits)
        object.__setattr__(self, "view_splits", splits)
        if not splits or not set(splits) <= set(SPLITS) or len(set(splits)) < len(splits):
            raise ConfigError(f"view_splits must be some of {', '.join(SPLITS)}, got {', '.join(splits) or 'none'}")
        if self.held_out_split in splits:
            raise ConfigError(f"held_out_split={self.held_out_split} is among view_splits, which the fit sees")
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ConfigError(f"background must be a colour name or '#rrggbb', got {self.background!r}") from error
        if not self.images or "/" in self.images:
            raise ConfigError(f"images must be the name of a folder, got {self.images!r}")

    @property
    def holds_out_published(self) -> bool:
        """Whether the views on which fits are measured are published ones, and not a rest."""
        return self.held_out_split is not None

    def choose_cameras(self, splits: Mapping[str, Sequence[Camera]]) -> tuple[list[Camera], list[Camera]]:
        """Which views of a scene its fit sees, and which it is measured on.

        Raises:
            MemberError: If none is left for the fit, or an image is in both.
        """
        own = [camera for split in self.view_splits for camera in splits.get(split, ())]
        if not own:
            there = ", ".join(splits)
            raise MemberError(f"has no views of {', '.join(self.view_splits)}, but of {there}; choose by --view-splits")
        context, rest = ([own[k] for k in chosen] for chosen in self.choose(len(own)))
        if self.held_out_split is None:
            return context, rest
        others = splits.get(self.held_out_split, ())
        if both := {camera.image for camera in own} & {camera.image for camera in others}:
            raise MemberError(f"has {len(both)} images such as {shown(min(both))} in two splits of views")
        wanted = len(others) if self.held_out_views is None else self.held_out_views
        return context, [others[k] for k in evenly_centred(len(others), wanted)]


class NerfLayout:
    """Scenes of NeRF, instant-ngp, nerfstudio, COLMAP and LLFF; see `converters.scenes.scene_source.Layout`.

    Args:
        archive: Where they are.
        options: What to make of each.

    Raises:
        ArchiveError: If there are none.
    """

    converter = "nerf"
    reach = _DIAGONAL

    def __init__(self, archive: Archive, options: NerfOptions) -> None:
        self._archive, self._options = archive, options
        kinds = KINDS if options.format == "auto" else (options.format,)
        self.scenes: Sequence[NerfScene] = list_nerf_scenes(archive, kinds, options.images)
        if not self.scenes:
            raise _no_scenes(archive)
        roots = {scene.root for scene in self.scenes}
        self.others: Sequence[str] = [] if "" in roots else [m for m in archive.members if not _is_below_one(m, roots)]

    def count(self, scene: NerfScene) -> tuple[int, int]:
        """See `Layout.count`."""
        return 1, 0

    def described(self) -> dict[str, Any]:
        """See `Layout.described`."""
        plain = self._options.to_plain()
        return {name: plain[name] for name in NerfOptions.__annotations__}

    def read(self, scene: NerfScene, size: int | None) -> Views:
        """See `Layout.read`."""
        if scene.problem is not None:
            raise MemberError(scene.problem)
        options, is_moved = self._options, scene.kind != "transforms"
        cameras = self._cameras(scene)
        context, held_out = options.choose_cameras(cameras.splits)
        taken = [*context, *held_out]
        if len(taken) > MOST_RAYS:
            raise MemberError(f"has {len(taken)} views, more than can be learned; take fewer with --views")
        members = self._members(scene, taken)
        stored = np.stack([camera.pose for camera in taken])
        convention: Convention = "opencv" if is_moved else options.poses
        frame = self._frame(cameras, camera_to_world(stored, convention), is_moved=is_moved)
        poses = camera_to_world(stored, convention)
        if frame is not None:
            poses, cameras = frame.moved(poses), cameras._replace(box=frame.box)
        elif cameras.centre is not None:
            poses[:, :3, 3] -= cameras.centre
        bound = options.bound or cameras.box
        images, lenses, sizes, contents = self._images(members, taken, size)
        as_stored = stored if frame is None and cameras.centre is None else _inverse_convention(poses, convention)
        check_cameras(as_stored, lenses, sizes, convention, bound, others=not is_moved)
        shape = images.shape[1:3]
        lenses = [scaled(lens, shape[1] / own[1], shape[0] / own[0]) for lens, own in zip(lenses, sizes, strict=True)]
        box = cameras.box if bound is not None else _box_by_content(poses, lenses, shape, contents)
        notes = (*cameras.notes, *((frame.note,) if frame else ()))
        remarks = "; ".join((*scene.remarks, *cameras.remarks, *self._left_out(scene, cameras)))
        return Views(images, poses, lenses, (len(context), len(held_out)), box, notes, (remarks,) if remarks else ())

    def _cameras(self, scene: NerfScene) -> Cameras:
        try:
            if scene.transforms:
                files = {
                    split: (posixpath.basename(member), self._archive.read(member))
                    for split, member in scene.transforms.items()
                }
                return read_transforms(files)
            if scene.kind == "llff" and scene.bounds is not None:
                return read_poses_bounds(self._archive.read(scene.bounds), self._images_in_order(scene))
            parts = {part: self._archive.read(scene.model[part]) for part in PARTS if part in scene.model}
        except MemberError as error:
            raise MemberError(f"cameras cannot be read: {error}") from error
        try:
            return read_model(parts, scene.model[""])
        except MemberError as error:
            other = "; or take poses_bounds.npy by --format llff" if scene.bounds else ""
            raise MemberError(f"{error}{other}") from error

    def _images_in_order(self, scene: NerfScene) -> list[str]:
        """Names of the images in the folder of a scene, sorted."""
        folder = self._image_folder(scene)
        names = (member[len(folder) + 1 :] for member in _members_below(self._archive.members, folder))
        return [name for name in names if "/" not in name and has_suffix(name, IMAGE_SUFFIXES)]

    def _frame(self, cameras: Cameras, poses: Float64[np.ndarray, "views 4 4"], *, is_moved: bool) -> Frame | None:
        """How the scene is moved into the cube; None if it stays."""
        how = self._options.normalise
        if how == "none" or (how == "auto" and not is_moved):
            return None
        if how in ("auto", "points"):
            found = None if cameras.points is None else frame_of_points(cameras.points, poses)
            if found is not None:
                return found
            if how == "points":
                raise MemberError("has too few points that say where it lies; --normalise cameras goes by poses")
        return frame_of_cameras(poses)

    def _members(self, scene: NerfScene, taken: Sequence[Camera]) -> list[str]:
        """The member of each view's image.

        Raises:
            MemberError: If some are missing.
        """
        folder = self._image_folder(scene)
        found, missing = [], []
        for camera in taken:
            path = posixpath.normpath(posixpath.join(folder, camera.image))
            names = [path, *(path + suffix for suffix in _LEFT_OFF)] if scene.transforms else [path]
            member = next((name for name in names if self._has(name) and has_suffix(name, IMAGE_SUFFIXES)), None)
            if member is None:
                missing.append(path)
            else:
                found.append(member)
        if missing:
            raise MemberError(
                f"{len(missing)} of {len(taken)} images are not in the archive, such as {shown(missing[0])}"
            )
        if len(set(found)) < len(found):
            one = next(member for k, member in enumerate(found) if member in found[:k])
            raise MemberError(
                f"has two cameras of {shown(one)}, with its suffix and without, expected one of each image"
            )
        return found

    def _image_folder(self, scene: NerfScene) -> str:
        """The folder from which names of images are told."""
        return scene.root if scene.transforms else posixpath.join(scene.root, self._options.images)

    def _has(self, member: str) -> bool:
        place = bisect.bisect_left(self._archive.members, member)
        return place < len(self._archive.members) and self._archive.members[place] == member

    def _images(
        self, members: Sequence[str], taken: Sequence[Camera], size: int | None
    ) -> tuple[UInt8[np.ndarray, "views height width 3"], list[Lens], list[tuple[int, int]], np.ndarray]:
        """Images at their size, the lenses and sizes that files tell for them, and where each has something to see."""
        images, lenses, sizes = np.empty((0, 0, 0, 3), np.uint8), [], []
        contents = np.zeros((len(taken), _COARSE, _COARSE), bool)
        for k, (member, camera) in enumerate(zip(members, taken, strict=True)):
            check_wanted()
            try:
                pixels = read_as_stored(self._archive.read(member), MAX_PIXELS)
                lens, told = camera.optics.at(*pixels.shape[:2])
            except MemberError as error:
                raise MemberError(f"{'/'.join(member.split('/')[-2:])}: {error}") from error
            if not k:
                images = np.empty((len(taken), *view_shape(pixels.shape[:2], size, len(taken)), 3), np.uint8)
            shape = images.shape[1:3]
            height, width = pixels.shape[:2]
            if shape[0] > height or shape != (shape[0], max(1, round(shape[0] * width / height))):
                raise MemberError(
                    f"its images have different sizes: {shown(members[0])} becomes {shape} (height, width), and "
                    f"{shown(member)} has {(height, width)}"
                )
            contents[k] = _content(pixels)
            images[k] = shrink(_composited(pixels, self._options.background), shape)
            lenses.append(lens)
            sizes.append(told)
        if (images == _WHITE).all():
            raise MemberError(WHITE_ONLY)
        return images, lenses, sizes, contents

    def _left_out(self, scene: NerfScene, cameras: Cameras) -> list[str]:
        """What of a scene is not taken, in words."""
        taken = {*self._options.view_splits, self._options.held_out_split}
        rest = {split: len(cameras.splits[split]) for split in SPLITS if split in cameras.splits and split not in taken}
        found = []
        if rest:
            counts = " and ".join(f"{count} views published as {split}" for split, count in rest.items())
            found.append(f"{counts} are left out (--view-splits, --held-out-split)")
        named = {camera.image for views in cameras.splits.values() for camera in views}
        folder = self._image_folder(scene)
        below = _members_below(self._archive.members, folder)
        paths = {posixpath.normpath(posixpath.join(folder, image)) for image in named}
        unnamed = [
            member
            for member in below
            if has_suffix(member, IMAGE_SUFFIXES) and not {member, posixpath.splitext(member)[0]} & paths
        ]
        if unnamed:
            found.append(f"{len(unnamed)} images that no camera names, such as {shown(unnamed[0])}, are no views")
        return found


def _members_below(members: Sequence[str], folder: str) -> Sequence[str]:
    if not folder:
        return members
    start = bisect.bisect_left(members, f"{folder}/")
    return members[start : bisect.bisect_left(members, f"{folder}0")]  # "0" follows "/"


def _is_below_one(member: str, roots: Collection[str]) -> bool:
    folder = member
    while folder := posixpath.dirname(folder):
        if folder in roots:
            return True
    return False


def _no_scenes(archive: Archive) -> ArchiveError:
    expected = (
        "transforms_train.json or transforms.json with images (NeRF, instant-ngp, nerfstudio), cameras and images "
        ".txt or .bin beside a folder of images (COLMAP), or poses_bounds.npy beside images (LLFF)"
    )
    return nothing_to_convert(archive.name, archive.members, "scenes", expected, archive.rejects)


_COARSE = 32  # along each edge of an image, to see where something is
_OPAQUE, _NEARLY_WHITE, _WHITE = 128, 247, 255  # of 255; JPEG makes white a little less so
_EMPTY_EDGE, _SEEN = 0.8, 0.995  # shares: of edges that show a background, of what is shown that meets the cube


def _content(pixels: UInt8[np.ndarray, "height width 4"]) -> Bool[np.ndarray, "rows columns"]:
    """Where, on a coarse grid, an image has something that is neither transparent nor white."""
    rows, columns = ((np.arange(_COARSE) * 2 + 1) * size // (2 * _COARSE) for size in pixels.shape[:2])
    few = pixels[rows][:, columns]
    return (few[..., 3] >= _OPAQUE) & (few[..., :3] < _NEARLY_WHITE).any(axis=-1)


def _composited(pixels: UInt8[np.ndarray, "height width 4"], background: str) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels on a background, by sRGB numbers as NeRF does."""
    image = Image.fromarray(pixels)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB"))


def _box_by_content(
    poses: Float64[np.ndarray, "views 4 4"],
    lenses: Sequence[Lens],
    shape: tuple[int, int],
    contents: Bool[np.ndarray, "views rows columns"],
) -> float:
    """Half the edge of the cube in proportion to the cameras' distance, if what views show may lie in it.

    Raises:
        MemberError: If they show something elsewhere, or have no empty background by which that could be told.
    """
    half = usual_bound(poses)
    distances = np.linalg.norm(poses[:, :3, 3], axis=1)
    away = f"its cameras stand {distances.min():.3g} to {distances.max():.3g} away from the origin"
    ends = contents[:, [0, -1]].reshape(-1), contents[:, :, [0, -1]].reshape(-1)
    if 1 - np.concatenate(ends).mean() < _EMPTY_EDGE:
        raise MemberError(
            "nothing says where the scene ends: its images have no transparent or white background, and its cameras' "
            f"files no aabb_scale; give --bound, half the edge of the cube around the origin ({away}), or --normalise "
            "cameras"
        )
    rays = [
        camera_rays(pose, _COARSE, _COARSE, scaled(lens, _COARSE / shape[1], _COARSE / shape[0]))
        for pose, lens in zip(poses, lenses, strict=True)
    ]
    origins, directions = (
        np.concatenate([ray[k][own] for ray, own in zip(rays, contents, strict=True)]) for k in (0, 1)
    )
    if meets(origins, directions, half).mean() >= _SEEN:
        return half
    enough = next(
        (b for b in half * 1.1 ** np.arange(1, 40) if meets(origins, directions, float(b)).mean() >= _SEEN), None
    )
    advice = f"--bound {enough:.3g} has {_SEEN:.1%} of them" if enough is not None else "give --bound"
    raise MemberError(
        f"{1 - meets(origins, directions, half).mean():.1%} of what its images show lies beside the cube of {half:.4g} "
        f"to each side of the origin, in proportion to the cameras' distance ({away}); {advice}"
    )


def _inverse_convention(
    poses: Float64[np.ndarray, "views 4 4"], convention: Convention
) -> Float64[np.ndarray, "views 4 4"]:
    """Poses of OpenCV's convention, camera to world, as files of another one have them."""
    found = poses * np.array([1.0, -1.0, -1.0, 1.0]) if convention.startswith("opengl") else poses
    return np.linalg.inv(found) if convention.endswith("world-to-camera") else found


def open_nerf(path: AnyArchive, *, report: Report = silent, **options: Any) -> SceneSource:
    """A source over scenes of NeRF, instant-ngp, nerfstudio, COLMAP or LLFF.

    Args:
        path: A folder, zip or tar of one scene or several: `transforms_train.json` or `transforms.json` with the
            images that they name, COLMAP's `sparse/0/` beside `images/`, or LLFF's `poses_bounds.npy` beside it.
        report: Told how far the survey is.
        **options: Fields of `NerfOptions` and `SurveyOptions`, such as `held_out_split="test"` and `limit=10`.

    Returns:
        The source, every view that is taken read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
    """
    return converter.open(path, *split_options(NerfOptions, options), report)


@names_the_right_converter("nerf")
def _open(files: ArchiveFiles, options: NerfOptions, survey: SurveyOptions, report: Report) -> SceneSource:
    archive = open_archives(files)
    return SceneSource(archive, NerfLayout(archive, options), options, survey, report)


converter = Converter(
    summary="scenes of NeRF, instant-ngp, nerfstudio, COLMAP or LLFF: views with cameras, as radiance fields",
    options=NerfOptions,
    presets=SRN_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, remote=True),
)
