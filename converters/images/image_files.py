"""Pixels of one image file."""

import contextlib
import dataclasses
import io

import numpy as np
from jaxtyping import UInt8
from PIL import ImageColor, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from converters.archives.memory_share import take_room
from functa_store.errors import ConfigError, MemberError
from functa_store.sources.augmentation import WHOLE, Augmentation
from functa_store.sources.augmented_source import AugmentOptions
from functa_store.sources.pictures import CHANNELS as CHANNELS
from functa_store.sources.pictures import READABLE_MODES, Mode, flat, square_pixels, upright
from functa_store.support.shortening import shown

# Those that cannot be read count too, so that they become rejects and do not vanish.
IMAGE_SUFFIXES = {
    ".jpg", ".jpeg", ".jfif", ".png", ".webp",
    ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".ppm", ".pgm",
}  # fmt: skip
_SCAN = b"\xff\xda"
_FREE_SCANS = 16  # more than encoders make
_MOST_SCANNED = 1 << 28
_BYTES_PER_PIXEL = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageOptions(AugmentOptions):
    """How every image of an archive becomes one square of pixels.

    Attributes:
        resolution: Pixels per side; its square is at most `max_pixels`.
        crop: "square" takes the largest centred square, a fraction in (0, 1] that part of its
            side, and "none" the whole image, which then must be square.
        mode: "rgb", or "grey" (luma after ITU-R BT.601) for one channel.
        background: What shows through transparent pixels, a name or "#rrggbb".
        max_pixels: Largest image that is decoded, by the size in its header; a few kilobytes
            can otherwise ask for gigabytes of memory.
    """

    resolution: int = 64
    crop: str | int | float = "square"
    mode: Mode = "rgb"
    background: str = "white"
    max_pixels: int = 64 << 20

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("resolution", "max_pixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.resolution**2 > self.max_pixels:
            raise ConfigError(
                f"resolution={self.resolution} gives {self.resolution**2} pixels, more than "
                f"max_pixels={self.max_pixels}; lower the resolution or raise max_pixels"
            )
        self.window()
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ConfigError(f"background must be a colour name or '#rrggbb', got {self.background!r}") from error

    def window(self) -> str | float:
        """What `crop` means: "square", "none", or a fraction of the largest centred square.

        Raises:
            ConfigError: If it means nothing.
        """
        if self.crop in ("square", "none"):
            return str(self.crop)
        with contextlib.suppress(ValueError):
            if 0 < (fraction := float(self.crop)) <= 1:
                return fraction
        raise ConfigError(f"crop must be 'square', 'none' or a fraction in (0, 1], got {self.crop!r}")


def read_image(data: bytes, options: ImageOptions, part: Augmentation = WHOLE) -> UInt8[np.ndarray, "y x channel"]:
    """Pixels of a JPEG, PNG or WebP file: upright, on the background, cropped, resized.

    Resizing is Lanczos with its support widened to the source, as Pillow does it. A box
    filter takes one pixel here and two there at ratios such as 120 to 64, which is close
    to dropping pixels; what Lanczos overshoots is clipped.

    Args:
        data: The file.
        options: What to make of it.
        part: What is taken of the crop, at the resolution of the file.

    Returns:
        Shape (resolution, resolution, 3 or 1), 0 (black) to 255.

    Raises:
        MemberError: If it is no such image, damaged, truncated, too large, animated, or has
            colours other than 8-bit grey or RGB; the message is the reason alone.
    """
    return read_sized_image(data, options, part)[0]


def read_sized_image(
    data: bytes, options: ImageOptions, part: Augmentation = WHOLE
) -> tuple[UInt8[np.ndarray, "y x channel"], tuple[int, int]]:
    """What `read_image` gives, and the width and height of the image as it is in the file; errors as there."""
    image = _open(data, options)
    _check_header(image, data, options)
    size = image.size
    takes_more = image.has_transparency_data or image.mode == "P" or image.format == "WEBP"
    each = 2 * _BYTES_PER_PIXEL if takes_more else _BYTES_PER_PIXEL
    take_room(each * size[0] * size[1])
    try:
        image = flat(upright(image), options.mode, options.background)
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise MemberError(f"cannot be decoded: {shown(str(error))}") from error
    return square_pixels(image, options.resolution, options.window(), part), size


def read_as_stored(data: bytes, max_pixels: int) -> UInt8[np.ndarray, "y x 4"]:
    """Red, green, blue and opacity of a JPEG, PNG or WebP file as its pixels are stored: not turned, nor cropped.

    Args:
        data: The file.
        max_pixels: Largest image that is decoded.

    Raises:
        MemberError: As for `read_image`.
    """
    options = ImageOptions(max_pixels=max_pixels)
    image = _open(data, options)
    _check_header(image, data, options)
    take_room(4 * _BYTES_PER_PIXEL * image.size[0] * image.size[1])
    try:
        return np.asarray(image.convert("RGBA"))
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise MemberError(f"cannot be decoded: {shown(str(error))}") from error


def _open(data: bytes, options: ImageOptions) -> ImageFile.ImageFile:
    """The image with its header read.

    Not by `Image.open`, whose pixel limit is global and warns, and which tries every format that it knows; some run
    other programs.
    """
    if not data:
        raise MemberError("is empty (0 bytes)")
    if data.startswith(b"\xff\xd8\xff"):
        plugin = JpegImagePlugin.JpegImageFile
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        plugin = PngImagePlugin.PngImageFile
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        plugin = WebPImagePlugin.WebPImageFile
        _check_pixels(*_webp_size(data), options)  # which it makes room for before it says how many there are
    else:
        raise MemberError(f"starts with {data[:8]!r}, expected a JPEG, PNG or WebP image")
    try:
        return plugin(io.BytesIO(data))
    except Exception as error:  # as above
        raise MemberError(f"has a damaged header: {shown(str(error))}") from error


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP image: of its canvas, its key frame or its lossless stream; 0 if there is none."""
    kind, body = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _check_pixels(width: int, height: int, options: ImageOptions) -> None:
    if width * height > options.max_pixels:
        raise MemberError(f"has {width} x {height} pixels, more than max_pixels={options.max_pixels}")


def _check_header(image: ImageFile.ImageFile, data: bytes, options: ImageOptions) -> None:
    width, height = image.size
    _check_pixels(width, height, options)
    if image.format == "JPEG" and (scans := data.count(_SCAN)) > _FREE_SCANS and scans * width * height > _MOST_SCANNED:
        raise MemberError(f"has {scans} scans of {width} x {height} pixels, each of which takes time")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise MemberError(f"is an animation of {frames} frames, expected one image")
    if image.format == "PNG" and data[24] == 16:  # bit depth in IHDR; Pillow would drop the low bytes
        raise MemberError("has 16 bits per channel, expected 8")
    if image.mode not in READABLE_MODES:
        raise MemberError(f"has colour mode {image.mode}, expected 8-bit grey, RGB or RGBA")
    if options.window() == "none" and width != height:
        raise MemberError(f"is {width} x {height}, not square; choose the crop 'square', or a fraction of it")
