"""What `functa decode` was asked for, the kinds of files that decoded examples become, and their writers."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.domains.cells import Region
from functa_store.errors import ConfigError, GridError, StorageError
from functa_store.exporting.array_files import file_names
from functa_store.media.sheet import view_side, write_sheet
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


VIDEO = ("t", "y", "x")
MESHES, SOUNDS, FILMS = (".ply", ".obj", ".glb"), (".wav", ".flac"), (".gif", ".mp4")

Writer = Callable[[Request], dict[str, Any]]
"""Writes the files of a request, and tells what a program wants to know of them."""


def write_pictures(request: Request) -> dict[str, Any]:
    """A contact sheet; see `functa_store.pictures`."""
    count, height, width = write_sheet(
        request.functaset, request.index, request.out, request.resolution, region=request.region, clip=request.clip
    )
    return {"pictures": count, "height": height, "width": width}


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

    view_side(request.resolution, request.region, 1)  # before the first of many frames
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
