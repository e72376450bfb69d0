"""A small archive in CelebA's layout, made without a download."""

import dataclasses
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

TILE = 32
"""Pixels along a side of a tile."""

TRAIN_STRIDE, HELD_OUT_STRIDE = 24, TILE
HELD_OUT_PART = 0.25
JPEG_QUALITY = 95
TRAIN, TEST = 0, 2
"""Numbers of the splits in CelebA's list_eval_partition.txt."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """A square cut out of a photograph.

    Attributes:
        photograph: Name of the photograph.
        split: `TRAIN` or `TEST`.
        pixels: Shape (TILE, TILE, 3), bytes.
    """

    photograph: str
    split: int
    pixels: np.ndarray


def photographs() -> dict[str, np.ndarray]:
    """Photographs that scikit-image carries inside its wheel, by name: RGB bytes, shape (y, x, 3)."""
    camera = np.repeat(data.camera()[..., None], 3, axis=-1)
    return {
        "Astronaut": data.astronaut(),
        "Camera": camera,
        "Cat": data.chelsea(),
        "Coffee": data.coffee(),
        "Motorcycle": data.stereo_motorcycle()[0],
        "Rocket": data.rocket(),
    }


def tiles() -> Iterator[Tile]:
    """Tiles of every photograph.

    The right-hand quarter of each photograph is held out: training tiles (which overlap each
    other) lie wholly to the left of it, test tiles (which do not) wholly inside, so that no
    pixel is in both.
    """
    for name, pixels in photographs().items():
        width = pixels.shape[1]
        border = round(width * (1 - HELD_OUT_PART))
        yield from _cut(name, TRAIN, pixels[:, :border], TRAIN_STRIDE)
        yield from _cut(name, TEST, pixels[:, border:], HELD_OUT_STRIDE)


def _cut(name: str, split: int, pixels: np.ndarray, stride: int) -> Iterator[Tile]:
    height, width = pixels.shape[:2]
    for top in range(0, height - TILE + 1, stride):
        for left in range(0, width - TILE + 1, stride):
            yield Tile(name, split, pixels[top : top + TILE, left : left + TILE])


def write_archive(path: Path) -> int:
    """Write the tiles as CelebA is published: aligned JPEGs, attributes and partition.

    Args:
        path: The zip to write.

    Returns:
        Number of tiles.
    """
    cut = list(tiles())
    members = [f"{number:06}.jpg" for number in range(1, len(cut) + 1)]
    names = list(photographs())
    rows = [" ".join("1" if tile.photograph == name else "-1" for name in names) for tile in cut]
    attributes = [str(len(cut)), " ".join(names), *(f"{m} {row}" for m, row in zip(members, rows, strict=True))]
    partition = [f"{member} {tile.split}" for member, tile in zip(members, cut, strict=True)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, tile in zip(members, cut, strict=True):
            _write(archive, f"img_align_celeba/{member}", encoded(tile.pixels, "JPEG", quality=JPEG_QUALITY))
        _write(archive, "list_attr_celeba.txt", "\n".join(attributes).encode() + b"\n")
        _write(archive, "list_eval_partition.txt", "\n".join(partition).encode() + b"\n")
    return len(cut)


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), content)  # a fixed date, so that the archive's bytes repeat


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    """A picture's bytes in a file format of Pillow's.

    Args:
        pixels: RGB bytes, shape (y, x, 3).
        kind: "JPEG", "PNG" or "WEBP".
        options: Options of that format.

    Returns:
        The whole file.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
