"""Films in files."""

import fractions
import sys

import av
import numpy as np
import pytest
from PIL import Image

from functa_store.errors import (
    ConfigError,
    GridError,
    MissingLibraryError,
    StorageError,
)
from functa_store.media.film import (
    SLOWEST,
    check_film,
    to_bytes,
    write_frames,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (30, 16, 24, 3), np.uint8)


@pytest.mark.parametrize("rate", [SLOWEST, 7.3, 24.0, 100.0])
def test_a_gif_lasts_as_long_as_it_should(tmp_path, rate):
    path = tmp_path / "a.gif"
    check_film(path, *FRAMES.shape[:3], rate)
    write_frames(path, FRAMES, rate)
    durations = []
    with Image.open(path) as film:
        for k in range(film.n_frames):
            film.seek(k)
            durations.append(film.info["duration"])
    assert len(durations) == 30
    assert sum(durations) == pytest.approx(1000 * 30 / rate, abs=10)


@pytest.mark.parametrize("rate", [SLOWEST, 7.3, 24.0, 9999.9])
def test_an_mp4_has_its_frames_and_its_rate(tmp_path, rate):
    path = tmp_path / "a film of \u00fcml\u00e4uts, %d.MP4"
    check_film(path, *FRAMES.shape[:3], rate)
    write_frames(path, FRAMES, rate)
    with av.open(str(path)) as film:
        (stream,) = film.streams.video
        assert (stream.frames, stream.height, stream.width) == (30, 16, 24)
        assert stream.average_rate == fractions.Fraction(rate).limit_denominator(1000)


def test_an_mp4_shows_the_colours(tmp_path):
    frames = np.full((2, 16, 16, 3), (200, 40, 90), np.uint8)
    write_frames(tmp_path / "a.mp4", frames, 12.0)
    with av.open(str(tmp_path / "a.mp4")) as film:
        seen = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(seen.astype(int) - frames[0]).max() <= 4


def test_values_within_reach_become_bytes():
    np.testing.assert_array_equal(to_bytes(np.array([0.0, 0.5, 1.0])), [0, 128, 255])
    np.testing.assert_array_equal(to_bytes(np.array([-1.0, 3.0]), -1.0, 3.0), [0, 255])


@pytest.mark.parametrize(
    ("name", "size", "rate", "error", "words"),
    [
        ("a.png", (2, 8, 8), 12.0, ConfigError, r"ends in \.gif or \.mp4, found '\.png'"),
        ("a.gif", (2, 8, 65536), 12.0, ConfigError, "at most 65535 along an edge"),
        ("a.mp4", (2, 16386, 8), 12.0, ConfigError, "at most 16384 along an edge"),
        ("a.mp4", (2, 8, 7), 12.0, ConfigError, "even number of rows and columns, got 8 x 7"),
        ("a.gif", (2, 8, 8), 101.0, ConfigError, "101 frames per second, expected .* to 100"),
        ("a.mp4", (2, 8, 8), 1e-9, ConfigError, "1e-09 frames per second"),
        ("a.mp4", (2, 8, 8), float("nan"), ConfigError, "nan frames per second"),
        ("a.gif", (10**12, 1, 1), 12.0, GridError, "this process may take"),
        ("none/a.gif", (2, 8, 8), 12.0, StorageError, "cannot be written: there is no folder"),
        ("none/a.mp4", (2, 8, 8), 12.0, StorageError, "cannot be written: there is no folder"),
        ("folder.gif", (2, 8, 8), 12.0, StorageError, "cannot be written: there is a folder"),
    ],
)
def test_a_film_that_cannot_be_is_refused_before_its_frames(tmp_path, name, size, rate, error, words):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(error, match=words):
        check_film(tmp_path / name, *size, rate)


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_full_disk_is_said(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    try:
        path.symlink_to("/dev/full")
        open("/dev/full").close()
    except OSError:
        pytest.skip("no /dev/full here")
    with pytest.raises(StorageError, match=r"cannot be written: .*No space left"):
        write_frames(path, FRAMES, 12.0)


def test_an_mp4_needs_a_library_and_a_gif_does_not(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    check_film(tmp_path / "a.gif", 2, 8, 8, 12.0)
    with pytest.raises(MissingLibraryError, match="PyAV is not installed; run pip install"):
        check_film(tmp_path / "a.mp4", 2, 8, 8, 12.0)
