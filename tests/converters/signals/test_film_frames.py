"""Frames of films are seen as players show them: upright, in their colours, on white, and when they are due."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from converters.signals.films import film_frames, on_white
from converters.signals.video import open_video
from functa_store.errors import MemberError
from functa_store.progress import Note

SIDE = 32
RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
QUARTERS = np.zeros((SIDE, SIDE, 3), np.uint8)
QUARTERS[:16, :16], QUARTERS[:16, 16:], QUARTERS[16:, :16] = RED, GREEN, BLUE


def film(
    frames,
    fmt="mp4",
    codec="libx264",
    pixels="yuv420p",
    times=None,
    aspect=None,
    tags=(None, None),
    meta=None,
    coding=None,
    path=None,
):
    """A film of these frames, as RGB or RGBA, shown at these milliseconds; in a file, its index first."""
    buffer, options = path or io.BytesIO(), {"movflags": "faststart"} if path else {}
    with av.open(buffer, "w", format=fmt, options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.metadata.update(meta or {})
        stream.codec_context.options = coding or {}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if tags[0]:
            stream.codec_context.colorspace, stream.codec_context.color_range = tags
        for k, shown in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24" if shown.shape[-1] == 3 else "rgba")
            frame = frame.reformat(format=pixels, dst_colorspace=tags[0], dst_color_range=tags[1])
            if tags[0]:
                frame.colorspace, frame.color_range = tags
            if times:
                frame.pts, frame.time_base = times[k], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes() if path else buffer.getvalue()


def gif(images, durations, **options):
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, **options)
    return buffer.getvalue()


def turned(data, matrix):
    """An MP4 whose display matrix is this one: where x and y go."""
    at = data.index(b"tkhd")
    at += 8 + (32 if data[at + 4] else 20) + 16
    (a, b), (c, d) = matrix
    numbers = [round(number * 65536) for number in (a, b, 0, c, d, 0, 0, 0)]
    return data[:at] + struct.pack(">9i", *numbers, 1 << 30) + data[at + 36 :]


def corners(pixels):
    """The main colour of each quarter, row by row."""
    height, width = (n // 2 for n in pixels.shape[:2])
    parts = (pixels[y : y + height, x : x + width] for y in (0, height) for x in (0, width))
    means = [part[4:-4, 4:-4].mean((0, 1)) for part in parts]
    return ["RGB"[int(mean.argmax())] if mean.max() > 128 else "-" for mean in means]


def steps(count, dark=0.0):
    """Frames of one grey each, which say which one they are."""
    return [np.full((SIDE, SIDE, 3), 20 + 25 * k, np.uint8) for k in range(count)]


def levels(source):
    found = np.concatenate([source.read(k) for k in range(len(source.ids))])
    return np.rint((found.mean((1, 2, 3)) - 20) / 25).astype(int).tolist()


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (((1, 0), (0, 1)), "RGB-"),
        (((0, 1), (-1, 0)), "BR-G"),  # a quarter turn clockwise, as of a telephone held upright
        (((-1, 0), (0, -1)), "-BGR"),
        (((0, -1), (1, 0)), "G-RB"),
        (((-1, 0), (0, 1)), "GR-B"),
        (((1, 0), (0, -1)), "B-RG"),
        (((0, 1), (1, 0)), "RBG-"),
        (((0, -1), (-1, 0)), "-GBR"),
    ],
)
def test_a_film_is_turned_and_mirrored_as_it_is_shown(pack, matrix, expected):
    data = turned(film([QUARTERS] * 3), matrix)
    source = open_video(pack({"a.mp4": data}), frames=3, resolution=SIDE)
    assert "".join(corners(source.read(0)[0])) == expected


def test_a_film_that_is_turned_by_another_angle_is_refused():
    with pytest.raises(MemberError, match="no quarter turn"):
        list(film_frames(turned(film([QUARTERS] * 2), ((0.7, 0.7), (-0.7, 0.7)))))


def test_an_oblong_film_is_turned_before_its_square_is_taken(pack):
    wide = np.zeros((16, 32, 3), np.uint8)
    wide[:, 8:24] = 200  # the square in the middle
    source = open_video(pack({"a.mp4": turned(film([wide] * 2), ((0, 1), (-1, 0)))}), frames=2, resolution=16)
    assert np.abs(source.read(0)[:, 2:-2].astype(int) - 200).max() < 12


@pytest.mark.parametrize("aspect", [Fraction(2, 1), Fraction(1, 2)])
def test_pixels_that_are_not_square_become_so(aspect):
    data = film([QUARTERS] * 2, aspect=aspect)
    pixels = next(film_frames(data)).pixels
    assert pixels.shape == ((SIDE, 2 * SIDE, 3) if aspect > 1 else (2 * SIDE, SIDE, 3))
    assert "".join(corners(pixels)) == "RGB-"


def test_a_film_of_square_pixels_keeps_its_size():
    assert next(film_frames(film([QUARTERS] * 2))).pixels.shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("tags", [(1, 1), (1, 2), (5, 1), (5, 2), (9, 1), (None, None)])
def test_colours_are_as_the_film_says_that_they_are_kept(tags):
    """BT.709, BT.601 or BT.2020, in part or all of a byte; without a word, BT.601 in part of it."""
    data = film([np.full((SIDE, SIDE, 3), (200, 60, 30), np.uint8)] * 2, "matroska", "ffv1", "yuv444p", tags=tags)
    assert np.abs(next(film_frames(data)).pixels[16, 16].astype(int) - [200, 60, 30]).max() <= 2


def test_colours_of_high_dynamic_range_are_refused(monkeypatch):
    monkeypatch.setattr("converters.signals.films._HDR", {2: "PQ"})  # which no encoder here writes
    with pytest.raises(MemberError, match=r"high dynamic range \(PQ\)"):
        list(film_frames(film([QUARTERS] * 2)))


def clear(k=0):
    """Red that is transparent, with a green square and a blue edge that are not."""
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[8:24, 4 + 2 * k : 12 + 2 * k] = (0, 255, 0, 255)
    pixels[:8] = (0, 0, 255, 255)
    return pixels


@pytest.mark.parametrize("disposal", [1, 2])
def test_transparent_pixels_of_a_gif_are_white(pack, disposal):
    images = [Image.fromarray(clear(k)) for k in range(4)]
    source = open_video(pack({"a.gif": gif(images, 100, disposal=disposal)}), frames=4, resolution=SIDE)
    for k, frame in enumerate(source.read(0)):
        np.testing.assert_array_equal(frame[28, 0], [255, 255, 255])
        np.testing.assert_array_equal(frame[12, 5 + 2 * k], [0, 255, 0])
        np.testing.assert_array_equal(frame[3, 3], [0, 0, 255])


@pytest.mark.parametrize(
    ("fmt", "codec", "pixels"), [("mov", "png", "rgba"), ("mov", "qtrle", "argb"), ("matroska", "ffv1", "bgra")]
)
def test_transparent_pixels_of_a_film_are_white(fmt, codec, pixels):
    found = next(film_frames(film([clear()] * 2, fmt, codec, pixels))).pixels
    assert found[28, 0].tolist() == [255, 255, 255]
    assert found[12, 5].tolist() == [0, 255, 0]


def test_transparent_pixels_of_an_array_are_white_as_those_of_image_files_are(pack):
    buffer = io.BytesIO()
    np.save(buffer, np.stack([clear()] * 2))
    image = io.BytesIO()
    Image.fromarray(clear()).save(image, "PNG")
    files = {"a.npy": buffer.getvalue(), "b/0.png": image.getvalue(), "b/1.png": image.getvalue()}
    source = open_video(pack(files), frames=2, resolution=SIDE)
    np.testing.assert_array_equal(source.read(0), source.read(1))
    assert source.read(0)[0, 28, 0].tolist() == [255, 255, 255]


def test_half_transparent_is_half_white():
    assert on_white(np.array([[[0, 0, 0, 128]]], np.uint8)).tolist() == [[[127, 127, 127]]]


def test_raw_frames_whose_opacity_is_left_out_are_refused():
    blank = QUARTERS[..., [0, 1, 2, 0]] * np.uint8([1, 1, 1, 0])
    with pytest.raises(MemberError, match="transparent all over"):
        list(film_frames(film([blank] * 2, "avi", "rawvideo", "bgra")))


def test_opacity_that_a_decoder_leaves_out_is_refused():
    data = film([QUARTERS] * 2, "webm", "libvpx-vp9", meta={"alpha_mode": "1"})
    with pytest.raises(MemberError, match="transparent pixels that its decoder does not tell"):
        list(film_frames(data))


@pytest.mark.parametrize(("fmt", "codec"), [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")])
def test_a_film_of_uneven_times_is_sampled_at_even_ones(pack, fmt, codec):
    """Eight frames of 1.28 seconds were taken for 0.32."""
    events = []
    data = film(steps(8), fmt, codec, times=[0, 40, 80, 120, 1120, 1160, 1200, 1240])
    source = open_video(pack({"a.mp4": data}), frames=8, resolution=4, report=events.append)
    assert source.domain.lengths[0] == pytest.approx(0.32)
    assert levels(source) == [0, 1, 2] + [3] * 25 + [4, 5, 6, 7]
    words = (
        "a.mp4: its 8 frames come at uneven times (0.04 to 1 s apart) and are sampled at 25 per second: 32 frames, 24 "
        "of them repeated, 0 of the 8 left out"
    )
    assert source.provenance["notes"] == [words]
    assert [event.message for event in events if isinstance(event, Note)] == [f"archive.zip/{words}"]


@pytest.mark.parametrize(
    ("durations", "length", "expected"),
    [
        ([100, 100, 1000, 100], 0.2, [0, 1] + [2] * 10 + [3]),
        ([2000, 50, 50, 50], 0.1, [0] * 40 + [1, 2, 3]),
        ([50, 50, 50, 2000], 0.1, [0, 1, 2] + [3] * 40),
        ([100, 100, 100, 100], 0.2, [0, 1, 2, 3]),
        ([30, 40, 30, 40], 0.0667, [0, 1, 2, 3]),
    ],
)
def test_every_frame_of_a_gif_is_shown_for_its_own_time(pack, durations, length, expected):
    images = [Image.fromarray(frame) for frame in steps(4)]
    source = open_video(pack({"a.gif": gif(images, durations)}), frames=2, resolution=4)
    assert source.domain.lengths[0] == pytest.approx(length, rel=0.02)
    assert levels(source) == expected[: len(expected) // 2 * 2]


def test_films_of_uneven_times_are_sampled_at_the_rate_of_the_even_ones_or_at_that_given(pack):
    images = [Image.fromarray(frame) for frame in steps(4)]
    files = {"a.gif": gif(images, [100, 100, 400, 100]), "b.gif": gif(images, 50)}
    source = open_video(pack(files), frames=2, resolution=4)
    assert source.domain.lengths[0] == pytest.approx(0.1)
    assert levels(source) == [0, 0, 1, 1] + [2] * 8 + [3, 3] + [0, 1, 2, 3]
    slower = open_video(pack({"a.gif": files["a.gif"]}), frames=2, resolution=4, fps=5)
    assert levels(slower) == [1, 2, 2, 3][: len(levels(slower))]
    assert "sampled at 5 per second: 4 frames, 1 of them repeated, 1 of the 4 left out" in slower.provenance["notes"][0]


def test_a_still_that_is_shown_for_ages_does_not_become_thousands_of_examples(pack):
    images = [Image.fromarray(frame) for frame in steps(3)]
    files = {"a.gif": gif(images, [10, 10, 600_000]), "b.gif": gif(images, 10)}
    source = open_video(pack(files), frames=2, resolution=4, max_rejects=0.5)
    assert source.ids == ["b.gif#0"]
    assert "which would be 60002 at 100 per second; give a lower --fps" in source.rejects[0].reason


def test_a_gif_that_times_some_frames_only_is_a_reject(pack):
    images = [Image.fromarray(frame) for frame in steps(4)]
    files = {"a.gif": gif(images, [100, 0, 100, 100]), "b.gif": gif(images, 100)}
    source = open_video(pack(files), frames=2, resolution=4, max_rejects=0.5)
    assert source.rejects[0].reason == "says of some frames how long they are shown, and not of others"


def test_a_film_that_becomes_too_short_is_a_reject(pack):
    images = [Image.fromarray(frame) for frame in steps(4)]
    files = {"a.gif": gif(images, [10, 10, 10, 60]), "b.gif": gif(images, 100)}
    source = open_video(pack(files), frames=4, resolution=4, max_rejects=0.5)
    assert source.rejects[0].reason == "has 1 frames, fewer than the 4 of an example (--frames)"


def test_a_picture_beside_the_film_is_not_the_film():
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 8, 8, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")))
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(QUARTERS, format="rgb24")))
        container.mux(stream.encode())
    found = list(film_frames(buffer.getvalue()))
    assert [frame.pixels.shape for frame in found] == [(SIDE, SIDE, 3)] * 3


def test_a_film_whose_frames_are_cut_or_damaged_is_refused(tmp_path):
    """Decoders fill in what they cannot read."""
    noisy = list(np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8))
    data = film(noisy, codec="mpeg4", path=tmp_path / "a.mp4")
    assert len(list(film_frames(data))) == 8
    with pytest.raises(MemberError, match="its frame 3 is damaged"):
        list(film_frames(data[: len(data) * 2 // 3]))
    with pytest.raises(MemberError, match="its frame 3 is damaged"):
        list(film_frames(data[: len(data) * 7 // 10] + bytes(40) + data[len(data) * 7 // 10 + 40 :]))


def test_a_film_that_ends_between_two_frames_says_how_many_are_left(tmp_path):
    data = film(steps(8), codec="mpeg4", path=tmp_path / "a.mp4")
    at = data.index(b"stsz")
    sizes = struct.unpack_from(">8L", data, at + 16)
    notes = set()
    assert len(list(film_frames(data[: len(data) - sum(sizes[5:])], notes))) == 5
    assert notes == {"shows 5 of the 8 frames that its header declares"}


def test_an_interlaced_film_says_so(pack):
    events = []
    path = pack({"a.mp4": film([QUARTERS] * 4, coding={"x264-params": "tff=1"})})
    open_video(path, frames=4, resolution=4, report=events.append)
    words = "a.mp4: is interlaced: both fields of a frame, which are moments apart, are shown at once"
    assert [event.message for event in events if isinstance(event, Note)] == [f"archive.zip/{words}"]


def test_an_avi_whose_times_are_those_of_another_order_is_even(pack):
    """Decoders hand out the times of the places in the file, which go back and forth."""
    source = open_video(pack({"a.avi": film(steps(8), "avi", "libx264")}), frames=8, resolution=4)
    assert source.domain.lengths[0] == pytest.approx(0.32)
    assert levels(source) == list(range(8))
    assert "notes" not in source.provenance
