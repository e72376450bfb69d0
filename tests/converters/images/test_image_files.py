import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from converters.images.image_files import ImageOptions, read_image
from converters.images.images import open_images
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.sources.pictures import crop_box


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_square_image_at_its_own_resolution_is_read_exactly(encode_image, mode):
    data = encode_image(size=(16, 16), mode=mode)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    pixels = read_image(data, ImageOptions(resolution=16))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_every_format_is_read_close_to_the_truth(fmt):
    ramp = np.broadcast_to(np.linspace(50, 200, 64)[:, None, None], (64, 64, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(ramp).save(buffer, fmt)
    pixels = read_image(buffer.getvalue(), ImageOptions(resolution=64))
    np.testing.assert_allclose(pixels, ramp, atol=6)


def test_grey_mode_gives_one_channel_of_luma(encode_image):
    data = encode_image(size=(8, 8))
    rgb = np.asarray(Image.open(io.BytesIO(data)), np.float64)
    pixels = read_image(data, ImageOptions(resolution=8, mode="grey"))
    assert pixels.shape == (8, 8, 1)
    np.testing.assert_allclose(pixels[..., 0], rgb @ [0.299, 0.587, 0.114], atol=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 1.0), st.integers(1, 4))
def test_the_crop_is_centred_and_scales_with_the_image(width, height, fraction, factor):
    """A crop of an enlarged image is the enlarged crop, within the rounding to whole pixels."""
    small, large = (np.array(crop_box(w, h, fraction)) for w, h in ((width, height), (width * factor, height * factor)))
    np.testing.assert_allclose(large, small * factor, atol=factor)
    left, upper, right, lower = small
    assert right - left == lower - upper == max(1, round(min(width, height) * fraction))
    assert abs(left - (width - right)) <= 1
    assert abs(upper - (height - lower)) <= 1


def test_the_square_crop_of_a_portrait_keeps_its_middle():
    pixels = np.zeros((16, 12, 3), np.uint8)
    pixels[2:14] = 200
    assert (read_image(png(Image.fromarray(pixels)), ImageOptions(resolution=12)) == 200).all()


def test_resizing_averages_instead_of_dropping_pixels():
    """A fine checkerboard becomes its mean, not one of its colours."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = read_image(png(Image.fromarray(board)), ImageOptions(resolution=8, mode="grey"))
    np.testing.assert_allclose(pixels, 127.5, atol=6)


@pytest.mark.parametrize(("background", "expected"), [("white", 255), ("black", 0), ("#404040", 64)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_show_the_background(mode, background, expected):
    if mode == "P":
        image = Image.new("P", (8, 8), 0)
        image.putpalette([10, 20, 30])
        image.info["transparency"] = 0
    else:
        image = Image.new(mode, (8, 8), 0)
    assert (read_image(png(image), ImageOptions(resolution=8, background=background)) == expected).all()


def test_half_transparent_pixels_are_mixed_in():
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    np.testing.assert_allclose(read_image(png(image), ImageOptions(resolution=4)), 127, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(orientation):
    """What Pillow's own `exif_transpose` shows."""
    pixels = np.arange(36, dtype=np.uint8).reshape(6, 6) * 7
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue())))
    read = read_image(buffer.getvalue(), ImageOptions(resolution=6, mode="grey"))
    np.testing.assert_array_equal(read[..., 0], np.asarray(expected))


def bomb(width, height):
    """A PNG of a few bytes whose header promises many pixels."""

    def part(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = part(b"IHDR", struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header():
    with pytest.raises(MemberError, match="has 60000 x 60000 pixels, more than max_pixels=67108864"):
        read_image(bomb(60_000, 60_000), ImageOptions())
    with pytest.raises(MemberError, match="more than max_pixels=100"):
        read_image(bomb(11, 10), ImageOptions(resolution=4, max_pixels=100))


def test_damage_is_told_with_its_reason(encode_image):
    jpeg = encode_image(size=(64, 64), fmt="JPEG")
    frames = io.BytesIO()
    Image.new("L", (8, 8), 0).save(frames, "WEBP", save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    for data, reason in [
        (b"", "is empty"),
        (b"<html>Not found", "starts with b'<html>No', expected a JPEG, PNG or WebP"),
        (encode_image(fmt="GIF", mode="L"), "starts with b'GIF"),
        (jpeg[: len(jpeg) // 2], "cannot be decoded: image file is truncated"),
        (jpeg[:20], "damaged header"),
        (encode_image(size=(64, 64))[:200], "cannot be decoded"),
        (encode_image(fmt="WEBP")[:40], "damaged header|cannot be decoded"),
        (encode_image(mode="CMYK", fmt="JPEG"), "colour mode CMYK"),
        (png(Image.fromarray(np.zeros((8, 8), np.uint16))), "16 bits per channel"),
        (frames.getvalue(), "animation of 2 frames"),
    ]:
        with pytest.raises(MemberError, match=reason):
            read_image(data, ImageOptions())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage that it can live with
def test_damaged_bytes_give_an_image_or_a_member_error(encode_image, fmt, position, garbage):
    data = bytearray(encode_image(size=(9, 7), fmt=fmt))
    position %= len(data)
    data[position : position + len(garbage)] = garbage
    with contextlib.suppress(MemberError):
        assert read_image(bytes(data), ImageOptions(resolution=4)).shape == (4, 4, 3)


def test_an_image_that_is_not_square_is_not_squashed(encode_image):
    with pytest.raises(MemberError, match="is 20 x 24, not square; choose the crop 'square'"):
        read_image(encode_image(), ImageOptions(crop="none"))


@pytest.mark.parametrize(
    "options",
    [{"resolution": 0}, {"crop": "middle"}, {"crop": 1.5}, {"crop": 0.0}, {"mode": "cmyk"}, {"background": "nowhere"}],
)
def test_options_out_of_range_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        ImageOptions.of(**options)


def test_a_resolution_beyond_max_pixels_is_refused_before_memory_runs_out():
    with pytest.raises(ConfigError, match=r"resolution=200000 gives 40000000000 pixels, more than max_pixels=67108864"):
        ImageOptions(resolution=200_000)
    assert ImageOptions(resolution=30, max_pixels=900).resolution == 30


@pytest.mark.parametrize(
    ("mode", "fmt"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("RGBA", "WEBP")]
)
def test_transparent_images_in_strips_are_the_same_as_whole(encode_image, monkeypatch, mode, fmt):
    data = encode_image(size=(20, 24), mode="RGB" if mode == "P" else mode, fmt=fmt)
    if mode == "P":
        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).quantize(16).save(buffer, "PNG", transparency=3)
        data = buffer.getvalue()
    whole = read_image(data, ImageOptions(resolution=8, background="#123456"))
    monkeypatch.setattr("functa_store.sources.pictures._ROWS", 5)
    np.testing.assert_array_equal(read_image(data, ImageOptions(resolution=8, background="#123456")), whole)


def test_a_jpeg_of_very_many_scans_is_refused_before_they_are_decoded(encode_image, monkeypatch):
    """A scan of a few bytes may go over the whole image once more."""
    monkeypatch.setattr("converters.images.image_files._MOST_SCANNED", 10_000)
    data = encode_image(size=(64, 64), fmt="JPEG", progressive=True)
    at = data.rindex(b"\xff\xd9")
    with pytest.raises(MemberError, match=r"has .* scans of 64 x 64 pixels"):
        read_image(data[:at] + b"\xff\xda" * 20 + data[at:], ImageOptions())
    read_image(data, ImageOptions())


def test_a_webp_that_says_it_is_huge_is_refused_before_room_is_made_for_it(encode_image):
    plain, lossless = encode_image(fmt="WEBP"), encode_image(fmt="WEBP", lossless=True)
    extended = encode_image(mode="RGBA", fmt="WEBP")
    assert (plain[12:16], lossless[12:16], extended[12:16]) == (b"VP8 ", b"VP8L", b"VP8X")
    for data in (plain, lossless, extended):
        with pytest.raises(MemberError, match="has 20 x 24 pixels, more than max_pixels=479"):
            read_image(data, ImageOptions(resolution=8, max_pixels=479))
    huge = extended[:24] + b"\xff" * 6 + extended[30:]
    with pytest.raises(MemberError, match="has 16777216 x 16777216 pixels"):
        read_image(huge, ImageOptions())


@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.4\n",
        b"GIF89a\1\0\1\0",
        b"II*\0\x08\0\0\0",
        b"\xd7\xcd\xc6\x9a",
        b"P6 9 9 255\n",
        b"8BPS\0\1",
    ],
)
def test_an_image_of_another_kind_is_not_tried_whatever_its_name(pack, content):
    with pytest.raises(ArchiveError, match=r"expected a JPEG, PNG or WebP image"):
        open_images(pack({"a.png": content}))
