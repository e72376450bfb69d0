"""Which kinds of file can decoded examples become, and what writes each of them?

A kind is a suffix and a function of a `Request`, in `WRITERS`; what it needs is imported when it is called.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from functa_store.commands.pictures import pictures_of
from functa_store.commands.request import Request
from functa_store.errors import ConfigError, GridError, StorageError
from functa_store.replacing import replacing
from functa_store.sheets import contact_sheet

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
        np.savez(file, **arrays, features=values, id=ids, index=np.asarray(request.index))
    return {"shape": values.shape}


def write_meshes(request: Request) -> dict[str, Any]:
    """The surface of each example, one file for each; those without one are passed over and named.

    Raises:
        GridError: If none of them has a surface.
    """
    from functa_store.decode.meshes import check_solid, usual_channel, usual_level, write_mesh

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
