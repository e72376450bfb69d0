"""Decoded images laid out on sheets of 8-bit pictures."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from functa_store.errors import GridError

GAP = 2
"""Pixels between two images."""

_HEADING_HEIGHT = 20
_BACKGROUND = (255, 255, 255)
_INK = (0, 0, 0)
_MISSING = (110, 150, 190)
"""Colour of what is not a number: none that a grey picture has."""


def to_image(features: np.ndarray, data_range: tuple[float, float] = (0.0, 1.0)) -> Image.Image:
    """An 8-bit picture of an image's features.

    Args:
        features: Shape (height, width, channels) with 1, 3 or 4 channels.
        data_range: Values that become black and white; what lies outside is clipped.

    Returns:
        A grey picture for one channel, else RGB; a fourth channel is left out. Where features are not a number, as
        where a field has no value, the picture, then in RGB, is blue.

    Raises:
        GridError: If the shape is not that of an image.
    """
    if features.ndim != 3 or features.shape[-1] not in (1, 3, 4):
        raise GridError(
            f"a picture needs shape (height, width, channels) with 1, 3 or 4 channels, got {features.shape}; "
            "write arrays (.npz) instead"
        )
    low, high = data_range
    levels = np.clip((np.asarray(features, np.float64) - low) / (high - low), 0, 1) * 255
    missing = np.isnan(levels).any(axis=-1, keepdims=True)
    levels = np.round(np.nan_to_num(levels)).astype(np.uint8)
    if missing.any():
        return Image.fromarray(np.where(missing, np.array(_MISSING, np.uint8), levels[..., :3]))
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels[..., :3])


def solid_image(
    values: np.ndarray, *, size: int = 128, level: float = 0.5, azimuth: float = 30.0, elevation: float = 25.0
) -> Image.Image:
    """A picture of what is above a level in a cube, seen from far away, lit from where it is seen.

    Args:
        values: Shape (z, y, x), y up.
        size: Pixels along a side.
        level: What is inside lies above it.
        azimuth: Degrees by which the eye stands to the right of the z axis.
        elevation: Degrees by which it stands above the horizon.

    Returns:
        A grey picture on white.

    Raises:
        GridError: If the values have no three axes.
    """
    if values.ndim != 3:
        raise GridError(f"a picture of a solid needs shape (z, y, x), got {values.shape}; write arrays (.npz) instead")
    right, up, towards = _eye(np.radians(azimuth), np.radians(elevation))
    across = (np.arange(size) + 0.5) / size * 1.8 - 0.9  # a cube's diagonal is 1.73 wide
    plane = 0.5 + across[None, :, None] * right - across[:, None, None] * up
    shape, depth = np.array(values.shape), np.full((size, size), np.inf)
    for distance in np.arange(-0.9, 0.9, 0.5 / max(values.shape)):
        cells = np.floor((plane - distance * towards) * shape).astype(np.int64)
        inside = ((cells >= 0) & (cells < shape)).all(axis=-1)
        place = np.clip(cells, 0, shape - 1)
        found = inside & (values[place[..., 0], place[..., 1], place[..., 2]] > level)
        depth = np.where(found & np.isinf(depth), distance, depth)
    return Image.fromarray(_shaded(depth, 1.8 / size))


def contact_sheet(images: Sequence[Image.Image], *, columns: int | None = None, gap: int = GAP) -> Image.Image:
    """Images of one size side by side, in reading order.

    Args:
        images: At least one image.
        columns: Images per row; None makes as many columns as rows, or one more.
        gap: Pixels of background between two images.

    Returns:
        The sheet.
    """
    num_columns = min(columns or math.ceil(math.sqrt(len(images))), len(images))
    num_rows = math.ceil(len(images) / num_columns)
    width, height = images[0].size
    sheet = Image.new("RGB", (_span(num_columns, width, gap), _span(num_rows, height, gap)), _BACKGROUND)
    for number, image in enumerate(images):
        row, column = divmod(number, num_columns)
        sheet.paste(image, (column * (width + gap), row * (height + gap)))
    return sheet


def comparison_sheet(columns: Mapping[str, Sequence[Image.Image]], gap: int = GAP) -> Image.Image:
    """One row per example, one labelled column per way to see it.

    Smaller images are enlarged to the largest one's size without interpolation, so that their
    pixels stay visible.

    Args:
        columns: By heading, which may have several lines, the same number of images, at least one.
        gap: Pixels of background between two images.

    Returns:
        The sheet, headings on top.
    """
    everything = [image for images in columns.values() for image in images]
    size = max(image.width for image in everything), max(image.height for image in everything)
    num_rows = max(len(images) for images in columns.values())
    top = _HEADING_HEIGHT * max(heading.count("\n") + 1 for heading in columns)
    shape = _span(len(columns), size[0], gap), top + _span(num_rows, size[1], gap)
    sheet = Image.new("RGB", shape, _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, (heading, images) in enumerate(columns.items()):
        left = number * (size[0] + gap)
        draw.text((left + gap, gap), heading, fill=_INK, font=ImageFont.load_default(size=14))
        for row, image in enumerate(images):
            scaled = image.resize(size, Image.Resampling.NEAREST)
            sheet.paste(scaled, (left, top + row * (size[1] + gap)))
    return sheet


def _eye(azimuth: float, elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is right, up and towards an eye, as unit vectors along (z, y, x)."""
    right = np.array([-np.sin(azimuth), 0, np.cos(azimuth)])
    up = np.array([-np.sin(elevation) * np.cos(azimuth), np.cos(elevation), -np.sin(elevation) * np.sin(azimuth)])
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.sin(elevation), np.cos(elevation) * np.sin(azimuth)])
    return right, up, towards


def _shaded(depth: np.ndarray, pixel: float) -> np.ndarray:
    """Brightness by how far a surface turns away from the eye; infinite depth is white."""
    solid = np.isfinite(depth)
    filled = np.where(solid, depth, depth[solid].max() if solid.any() else 0.0)
    smooth = (
        filled + np.roll(filled, 1, 0) + np.roll(filled, -1, 0) + np.roll(filled, 1, 1) + np.roll(filled, -1, 1)
    ) / 5
    down, across = np.gradient(smooth, pixel)
    light = (1 + 0.4 * down - 0.3 * across) / np.sqrt(1 + 0.25) / np.sqrt(1 + down**2 + across**2)
    return np.where(solid, np.clip(40 + 170 * np.clip(light, 0, 1), 0, 255), 255).astype(np.uint8)


def _span(count: int, size: int, gap: int) -> int:
    return count * size + (count - 1) * gap
