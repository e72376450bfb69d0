"""Which kinds of file can decoded examples become, and what writes each of them?

A kind is a suffix and a function of a `Request`, in `WRITERS`; what it needs is imported when it is called.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.errors import ConfigError, StorageError
from functa_store.exporting.filenames import file_names
from functa_store.grids import Region
from functa_store.sheets import contact_sheet, solid_image, to_image

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset

SOLID, VIDEO = ("z", "y", "x"), ("t", "y", "x")
MESHES, SOUNDS, FILMS = (".ply", ".obj", ".glb"), (".wav", ".flac"), (".gif", ".mp4")

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


Writer = Callable[[Request], dict[str, Any]]
"""Writes the files of a request, and tells what a program wants to know of them."""


def write_pictures(request: Request) -> dict[str, Any]:
    """A contact sheet of images, or of solids as they look."""
    axes, channels = request.functaset.domain.axes, request.functaset.features.channels
    solid = axes == SOLID and len(channels) == 1
    if not solid and (len(axes) != 2 or len(channels) not in (1, 3, 4)):
        raise ConfigError(
            f"{request.functaset.store.path}: axes {axes} and channels {channels} make no picture; write --out FILE.npz"
        )
    values = request.decode()
    if solid:
        images = [solid_image(example[..., 0]) for example in values]
    else:
        images = [to_image(example, request.functaset.features.value_range) for example in values]
    contact_sheet(images).save(request.out)
    return {"shape": values.shape}


def write_arrays(request: Request) -> dict[str, Any]:
    """The values themselves, with the ids and positions of the examples."""
    values = request.decode()
    ids = np.array([str(name) for name in request.functaset.ids[request.index]])
    np.savez(request.out, features=values, id=ids, index=np.asarray(request.index))
    return {"shape": values.shape}


def write_meshes(request: Request) -> dict[str, Any]:
    """The surface of each example, one file for each."""
    from functa_store.decode.meshes import check_solid, write_mesh

    check_solid(request.functaset)
    paths = request.paths()
    sizes = [
        write_mesh(request.functaset, k, path, request.resolution, request.region)
        for k, path in zip(request.index, paths, strict=True)
    ]
    vertices, faces = zip(*sizes, strict=True)
    return {"files": list(map(os.fspath, paths)), "vertices": vertices, "faces": faces}


def write_sounds(request: Request) -> dict[str, Any]:
    """All examples, one after the other, as sound."""
    from functa_store.decode.sound import write_sound

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
    from functa_store.decode.film import write_film

    frames, rate = write_film(
        request.functaset, request.index, request.out, request.resolution, request.region, request.clip
    )
    return {"frames": frames, "frames_per_second": rate}


def _write_orbits(request: Request, frames: int) -> dict[str, Any]:
    from functa_store.decode.views import write_orbit

    if not isinstance(request.resolution, int | None):
        raise ConfigError(f"--resolution of an orbit is the pixels along a side, one number, got {request.resolution}")
    paths = request.paths()
    for k, path in zip(request.index, paths, strict=True):
        write_orbit(request.functaset, k, path, frames, request.resolution)
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
