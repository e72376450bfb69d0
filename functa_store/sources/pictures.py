"""Pixels of decoded pictures: turned upright, flat on a background, cut to a square and resized."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from functa_store.sources.augmentation import WHOLE, Augmentation, Box

Mode = Literal["rgb", "grey"]
CHANNELS: Mapping[Mode, tuple[str, ...]] = {"rgb": ("red", "green", "blue"), "grey": ("grey",)}

READABLE_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"}
"""Pillow's modes of 8-bit grey and RGB, with and without transparency."""

_ORIENTATION = 0x0112
_ROWS = 256
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF orientation says."""
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def flat(image: Image.Image, mode: Mode, background: str) -> Image.Image:
    """A picture in a mode, transparent pixels composited on a background."""
    wanted = "RGB" if mode == "rgb" else "L"
    image.load()
    if not image.has_transparency_data:
        return image if image.mode == wanted else image.convert(wanted)
    found = Image.new(wanted, image.size)
    for top in range(0, image.height, _ROWS):  # in strips: whole images of each step would take four times the memory
        strip = image.crop((0, top, image.width, min(image.height, top + _ROWS))).convert("RGBA")
        behind = Image.new("RGBA", strip.size, background)
        found.paste(Image.alpha_composite(behind, strip).convert(wanted), (0, top))
    return found


def square_pixels(
    image: Image.Image, side: int | None, window: str | float | int, part: Augmentation = WHOLE
) -> UInt8[np.ndarray, "y x channel"]:
    """Pixels of a centred square, or of a part of it, resized.

    Args:
        image: In the mode "RGB" or "L".
        side: Pixels of the result along each axis; None keeps those of the square.
        window: A fraction of the largest centred square; a text takes all of it.
        part: What is taken of that square.
    """
    box = crop_box(*image.size, window)
    side = box[2] - box[0] if side is None else side
    return part_pixels(image, (side, side), box, part)


def part_pixels(
    image: Image.Image, size: tuple[int, int], window: Box, part: Augmentation
) -> UInt8[np.ndarray, "y x channel"]:
    """Pixels of a part of a window, resized.

    Args:
        image: In the mode "RGB" or "L".
        size: Width and height of the result in pixels.
        window: Edges of the window.
        part: What is taken of it.
    """
    resized = image.resize(size, Image.Resampling.LANCZOS, box=part.within(window))
    return flipped(np.asarray(resized).reshape(size[1], size[0], len(image.getbands())), part)


def flipped(pixels: UInt8[np.ndarray, "y x channel"], part: Augmentation) -> UInt8[np.ndarray, "y x channel"]:
    """Pixels with left and right exchanged, if an augmentation says so."""
    return np.ascontiguousarray(pixels[:, ::-1]) if part.flip else pixels


def crop_box(width: int, height: int, crop: str | int | float) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of the centred square, in whole pixels."""
    fraction = 1.0 if isinstance(crop, str) else crop
    side = max(1, round(min(width, height) * fraction))
    left, upper = (width - side) // 2, (height - side) // 2
    return left, upper, left + side, upper + side
