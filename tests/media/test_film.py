"""Examples of video become films that last as long as their clips did."""

import imageio.v3 as iio
import numpy as np
import pytest

from functa_store.decode.functaset import open_functaset
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError, ExampleIndexError, GridError
from functa_store.media.film import write_film
from tests.decode.stores import write_store

CLIP = CellGrid(axes=("t", "y", "x"), resolution=(4, 8, 6), lengths=(0.5, 1.0, 1.0), units=("s", "1", "1"))


def video(path, channels=("red", "green", "blue"), domain=CLIP):
    write_store(path, domain=domain, channels=channels)
    return open_functaset(path)


def test_a_store_is_opened_by_its_path(tmp_path):
    functaset = video(tmp_path / "a.functa")
    assert write_film(tmp_path / "a.functa", [2, 5], tmp_path / "a.gif") == (8, 8.0)
    write_film(functaset, [2, 5], tmp_path / "b.gif")
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.parametrize("channels", [("red", "green", "blue"), ("grey",)])
def test_a_gif_holds_what_decodes(tmp_path, channels):
    functaset = video(tmp_path / "a.functa", channels)
    assert write_film(functaset, [2, 5], tmp_path / "a.gif") == (8, 8.0)
    written = iio.imread(tmp_path / "a.gif", plugin="pillow", index=None)
    assert written.shape == (8, 8, 6, 3)
    expected = np.concatenate(functaset.decode([2, 5], clip=True)) * 255
    assert np.abs(written - expected).mean() < 3  # 256 colours per frame
    assert iio.immeta(tmp_path / "a.gif", plugin="pillow", index=0)["duration"] == pytest.approx(125, abs=10)


@pytest.mark.slow
def test_an_mp4_lasts_as_long_as_its_clips_at_any_resolution(tmp_path):
    functaset = video(tmp_path / "a.functa")
    assert write_film(functaset, [0, 1], tmp_path / "a.mp4", resolution=(10, 32, 48)) == (20, 20.0)
    assert iio.imread(tmp_path / "a.mp4", plugin="pyav").shape == (20, 32, 48, 3)
    facts = iio.immeta(tmp_path / "a.mp4", plugin="pyav")
    assert facts["fps"] == pytest.approx(20)
    assert facts["duration"] == pytest.approx(1.0, rel=0.1)


def test_a_region_in_time_runs_at_the_same_speed(tmp_path):
    functaset = video(tmp_path / "a.functa")
    region = ((0.0, 0.5), (0.0, 1.0), (0.0, 1.0))
    assert write_film(functaset, 0, tmp_path / "a.gif", region=region) == (2, 8.0)


def test_a_clip_of_unknown_length_gets_ten_frames_per_second(tmp_path):
    functaset = video(tmp_path / "a.functa", domain=CellGrid(axes=("t", "y", "x"), resolution=(4, 8, 6)))
    assert write_film(functaset, 0, tmp_path / "a.gif")[1] == pytest.approx(10)
    assert write_film(functaset, 0, tmp_path / "a.gif", resolution=(8, 4, 4))[1] == pytest.approx(20)


def test_unclipped_values_span_black_to_white(tmp_path):
    functaset = video(tmp_path / "a.functa", ("grey",))
    write_film(functaset, 0, tmp_path / "a.gif", clip=False)
    written = iio.imread(tmp_path / "a.gif", plugin="pillow", index=None)[..., 0]
    values = functaset.decode(0, clip=False)[0, ..., 0]
    expected = (values - values.min()) / (values.max() - values.min()) * 255
    assert np.abs(written - expected).max() <= 1


def test_what_is_no_video_is_refused(tmp_path):
    still = CellGrid(axes=("y", "x"), resolution=(8, 6))
    for k, made in enumerate(({"domain": still}, {"channels": ("a", "b")})):
        with pytest.raises(ConfigError, match="which are no video; expected axes"):
            write_film(video(tmp_path / f"{k}.functa", **made), 0, tmp_path / "a.gif")


def test_what_cannot_be_written_is_refused(tmp_path):
    functaset = video(tmp_path / "a.functa")
    with pytest.raises(ConfigError, match=r"ends in \.gif or \.mp4, found '\.png'"):
        write_film(functaset, 0, tmp_path / "a.png")
    with pytest.raises(ConfigError, match="even number of rows and columns"):
        write_film(functaset, 0, tmp_path / "a.mp4", resolution=7)
    with pytest.raises(GridError):
        write_film(functaset, 0, tmp_path / "a.gif", resolution=(2, 2))
    with pytest.raises(ExampleIndexError):
        write_film(functaset, 99, tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="no examples"):
        write_film(functaset, [], tmp_path / "a.gif")
    for resolution, words in ((10**5, "too large"), ((10**6, 8, 8), "frames per second, expected .* to 100")):
        with pytest.raises(ConfigError, match=words):
            write_film(functaset, 0, tmp_path / "a.gif", resolution=resolution)


def test_modulations_are_filmed_as_their_examples(tmp_path):
    functaset = video(tmp_path / "a.functa")
    write_film(functaset, [2, 5], tmp_path / "a.gif")
    assert write_film(functaset, functaset.modulations[[2, 5]], tmp_path / "b.gif") == (8, 8.0)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
