"""What `functa decode` was asked for, the kinds of files that decoded examples become, and their writers."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from functa_store.decode.pictures import contact_sheet, solid_image, to_image
from functa_store.domains.cells import Region
from functa_store.domains.scene import SceneVolume
from functa_store.errors import ConfigError, GridError, StorageError
from functa_store.exporting.array_files import file_names
from functa_store.support.atomic_output import replacing

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset
if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset


PLACEHOLDERS = ("{id}", "{index}")
"""What stands for an example in the name of a file, where every example has a file of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be decoded, and where it goes.

    Attributes:
        functaset: Where the examples are.
        index: Which ones.
        out: The file; see `paths`.
        resolution: Points per axis inside the region; None means as the archive.
        region: The window; None means all.
        clip: Whether to clip to the range of the values.
        sample_rate: Of sound, in Hz; None means as the archive.
        orbit: Frames of a flight around a scene; None for what is no scene.
    """

    functaset: "Functaset"
    index: Sequence[int]
    out: Path
    resolution: int | tuple[int, ...] | None = None
    region: Region | None = None
    clip: bool = True
    sample_rate: int | None = None
    orbit: int | None = None

    def decode(self) -> np.ndarray:
        """Values of all examples, shape (examples, *resolution, channels)."""
        return np.asarray(
            self.functaset.decode(self.index, resolution=self.resolution, region=self.region, clip=self.clip)
        )

    def paths(self) -> list[Path]:
        """A file for each example: `out`, its placeholders replaced.

        Raises:
            ConfigError: If there are several examples and no placeholder.
        """
        name = self.out.name
        if len(self.index) > 1 and not any(placeholder in name for placeholder in PLACEHOLDERS):
            raise ConfigError(
                f"{self.out}: is one file, and {len(self.index)} examples were asked for; choose one by --index, or "
                f"write {' or '.join(PLACEHOLDERS)} into the name"
            )
        ids = file_names(str(name) for name in self.functaset.ids[self.index])
        return [
            self.out.with_name(name.replace("{index}", str(k)).replace("{id}", stem))
            for k, stem in zip(self.index, ids, strict=True)
        ]

    def side(self, usual: int) -> int:
        """Pixels along a side of a view of a scene, which has no window.

        Args:
            usual: What it is if nothing is asked for.

        Raises:
            ConfigError: If more than one number, or a region, is asked for.
        """
        if not isinstance(self.resolution, int | None):
            raise ConfigError(
                f"--resolution of a scene's views is the pixels along a side, one number, got {self.resolution}"
            )
        if self.region is not None:
            raise ConfigError(f"--region {self.region} is none of a scene's views; it is for .npz and meshes")
        return usual if self.resolution is None else self.resolution


SOLID = ("z", "y", "x")
COLOURS = (1, 3, 4)
"""Channels of a picture in grey or colour, and of one whose fourth channel is left out."""

MOST_PIXELS = 2**28
"""Of all pictures together: 800 MB in memory."""

MOST_PIXELS_ALONG = 2**15
"""Of one picture, or programs that show it give up."""


def pictures_of(request: Request) -> list[Image.Image]:
    """Pictures of one size, as the domain has it.

    - a scene: as a camera sees it that stands midway between near and far;
    - one channel in space: as a solid looks, above the middle of its range;
    - a plane with 1, 3 or 4 channels of one range: its picture;
    - a field on the sphere, and any other plane: a grey picture of each channel over its own range, north and east
      where maps have them.

    Raises:
        ConfigError: If the domain makes no picture, or an option does not fit it.
        GridError: If resolution or region do not fit the domain, or there would be too many pixels.
    """
    functaset = request.functaset
    domain, channels = functaset.domain, functaset.features.channels
    if domain.scene is not None:
        return _scenes(request, domain.scene)
    if domain.axes == SOLID and len(channels) == 1:
        low, high = functaset.features.value_range
        return [solid_image(example[..., 0], level=(low + high) / 2) for example in request.decode()]
    if len(domain.axes) != 2:
        raise ConfigError(
            f"{functaset.store.path}: axes {domain.axes} and channels {channels} make no picture; write --out FILE.npz"
        )
    height, width = domain.resolve(request.resolution, request.region)
    coloured = _is_coloured(functaset)
    _check_pixels(len(request.index) * (1 if coloured else len(channels)), height, width)
    values = request.decode()
    if coloured:
        return [to_image(example, functaset.features.value_range) for example in values]
    turn = domain.map_flips(domain.axis_coords(request.resolution, request.region))
    return _fields(values, functaset.features.value_ranges, turn)


def _is_coloured(functaset: "Functaset") -> bool:
    features = functaset.features
    return functaset.domain.has_colours and features.num_channels in COLOURS and len(set(features.value_ranges)) == 1


def _fields(values: np.ndarray, ranges: Sequence[tuple[float, float]], turn: tuple[slice, ...]) -> list[Image.Image]:
    """Channel by channel of one example, then of the next one."""
    each = itertools.product(values, range(len(ranges)))
    return [to_image(example[turn][..., channel, None], ranges[channel]) for example, channel in each]


def _scenes(request: Request, domain: SceneVolume) -> list[Image.Image]:
    from functa_store.media.scene_views import cameras_around, render_view  # imports JAX

    side = request.side(domain.image_size[0])
    _check_pixels(len(request.index), side, side)
    (pose,), focal = cameras_around(request.functaset, 1)
    views = [render_view(request.functaset, k, pose, side, side, focal * side).colour for k in request.index]
    return [to_image(np.asarray(view)) for view in views]


def _check_pixels(count: int, height: int, width: int) -> None:
    if count * height * width > MOST_PIXELS or max(height, width) > MOST_PIXELS_ALONG:
        raise GridError(
            f"found {count:,} pictures of {height:,} x {width:,} pixels, expected at most {MOST_PIXELS_ALONG:,} along "
            f"a side and {MOST_PIXELS:,} in all; take fewer examples or a lower resolution, or write --out FILE.npz"
        )


VIDEO = ("t", "y", "x")
MESHES, SOUNDS, FILMS = (".ply", ".obj", ".glb"), (".wav", ".flac"), (".gif", ".mp4")

Writer = Callable[[Request], dict[str, Any]]
"""Writes the files of a request, and tells what a program wants to know of them."""


def write_pictures(request: Request) -> dict[str, Any]:
    """A contact sheet; see `pictures_of`."""
    images = pictures_of(request)
    with replacing(request.out) as part:
        contact_sheet(images).save(part)
    return {"pictures": len(images), "height": images[0].height, "width": images[0].width}


def write_arrays(request: Request) -> dict[str, Any]:
    """The values themselves, with the ids and places of the examples, and the positions along each axis."""
    values, domain = request.decode(), request.functaset.domain
    positions = zip(domain.axes, domain.axis_coords(request.resolution, request.region), strict=True)
    arrays: dict[str, Any] = {f"coords/{axis}": along for axis, along in positions}
    ids = np.array([str(name) for name in request.functaset.ids[request.index]])
    with replacing(request.out) as part, part.open("wb") as file:  # given a name, NumPy may append to it
        np.savez(file, **arrays, values=values, id=ids, index=np.asarray(request.index))
    return {"shape": values.shape}


def write_meshes(request: Request) -> dict[str, Any]:
    """The surface of each example, one file for each; those without one are passed over and named.

    Raises:
        GridError: If none of them has a surface.
    """
    from functa_store.media.mesh import (
        check_solid,
        usual_channel,
        usual_level,
        write_mesh,
    )

    check_solid(request.functaset)
    folder = request.out.parent
    is_new = not folder.is_dir()
    folder.mkdir(exist_ok=True)
    written, without = {}, []
    for k, path in zip(request.index, request.paths(), strict=True):
        size = write_mesh(request.functaset, k, path, request.resolution, request.region)
        if size == (0, 0):
            without.append(k)
        else:
            written[os.fspath(path)] = size
    if not written:
        if is_new:
            folder.rmdir()
        channel = usual_channel(request.functaset)
        level, some = (
            usual_level(request.functaset, channel),
            ", ".join(map(str, without[:10])) + ", ..." * (len(without) > 10),
        )
        raise GridError(
            f"{request.functaset.store.path}: no surface in the examples ({some}): no {channel} reaches "
            f"{level:g}; take other examples, a higher resolution or another region"
        )
    vertices, faces = zip(*written.values(), strict=True)
    return {"files": list(written), "vertices": vertices, "faces": faces, "without_surface": without}


def write_sounds(request: Request) -> dict[str, Any]:
    """All examples, one after the other, as sound."""
    from functa_store.media.sound import write_sound

    samples, rate = write_sound(request.functaset, request.index, request.out, request.sample_rate)
    return {"samples": samples, "sample_rate": rate}


def write_films(request: Request) -> dict[str, Any]:
    """A flight around a scene, or clips of video, one after the other."""
    axes = request.functaset.domain.axes
    if request.orbit is not None:
        return _write_orbits(request, request.orbit)
    if axes != VIDEO:
        raise ConfigError(
            f"{request.functaset.store.path}: axes {axes} make no film; scenes need --orbit FRAMES, and whatever else "
            "this is may be written as .png or .npz"
        )
    from functa_store.media.film import write_film

    frames, rate = write_film(
        request.functaset, request.index, request.out, request.resolution, request.region, request.clip
    )
    return {"frames": frames, "frames_per_second": rate}


def _write_orbits(request: Request, frames: int) -> dict[str, Any]:
    from functa_store.media.scene_views import write_orbit

    request.side(1)  # before the first of many frames
    paths = request.paths()
    for k, path in zip(request.index, paths, strict=True):
        write_orbit(request.functaset, k, path, frames, request.resolution)  # type: ignore[arg-type]  # one number
    return {"files": list(map(os.fspath, paths)), "frames": frames}


WRITERS: Mapping[str, Writer] = {
    ".png": write_pictures,
    ".npz": write_arrays,
    **dict.fromkeys(MESHES, write_meshes),
    **dict.fromkeys(SOUNDS, write_sounds),
    **dict.fromkeys(FILMS, write_films),
}


def write(request: Request) -> dict[str, Any]:
    """Write what a request asks for, as its file's suffix says.

    Raises:
        FunctaStoreError: If the examples make no such file; see the writers.
        StorageError: If the file cannot be written.
    """
    try:
        return WRITERS[request.out.suffix.lower()](request)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{request.out}: cannot be written: {error}") from error
