"""Examples become sound files that last as long as their windows did."""

import dataclasses

import numpy as np
import pytest
import soundfile

from functa_store.decode.functaset import open_functaset
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError, ExampleIndexError, StorageError
from functa_store.media.sound import write_sound
from functa_store.sources.features import FeatureSpec
from tests.decode.stores import write_store

SECOND = CellGrid(axes=("t",), resolution=(100,), lengths=(0.25,), units=("s",))


def sounds(path, channels=("amplitude",), domain=SECOND, amplitude=1.0):
    """A functaset whose features 0 and 1 are the amplitudes -1 and 1 unless another is given."""
    write_store(path, domain=domain, channels=channels)
    functaset = open_functaset(path)
    count = len(channels)
    features = FeatureSpec(
        channels=channels, value_scale=(2.0 * amplitude,) * count, value_offset=(-amplitude,) * count
    )
    functaset.store.spec = dataclasses.replace(functaset.store.spec, features=features)
    return functaset


@pytest.mark.parametrize(("suffix", "channels"), [(".wav", ("amplitude",)), (".flac", ("left", "right"))])
def test_a_file_holds_what_decodes_at_its_own_sample_rate(tmp_path, suffix, channels):
    functaset = sounds(tmp_path / "a.functa", channels)
    assert write_sound(functaset, 2, tmp_path / f"a{suffix}") == (100, 400)
    written, rate = soundfile.read(tmp_path / f"a{suffix}", always_2d=True)
    assert rate == 400
    np.testing.assert_allclose(written, functaset.decode(2, clip=True)[0], atol=1 / 32767)


def test_a_store_is_opened_by_its_path(tmp_path):
    write_store(tmp_path / "a.functa", domain=SECOND, channels=("amplitude",))
    functaset = open_functaset(tmp_path / "a.functa")
    for k, given in enumerate((functaset, tmp_path / "a.functa", str(tmp_path / "a.functa"))):
        assert write_sound(given, [2, 0], tmp_path / f"{k}.wav") == (200, 400)
        assert (tmp_path / f"{k}.wav").read_bytes() == (tmp_path / "0.wav").read_bytes()


@pytest.mark.parametrize("rate", [123, 8000, 44100])
def test_examples_follow_each_other_at_any_sample_rate(tmp_path, rate):
    functaset = sounds(tmp_path / "a.functa")
    samples, _ = write_sound(functaset, [3, 1], tmp_path / "a.wav", rate)
    written, found = soundfile.read(tmp_path / "a.wav")
    assert (len(written), found) == (samples, rate)
    assert samples == round(rate / 2)
    first = round(rate / 4)
    expected = functaset.decode(1, resolution=samples - first, clip=True)[0, :, 0]
    np.testing.assert_allclose(written[first:], expected, atol=1 / 32767)


def test_many_windows_last_as_long_as_they_did_together(tmp_path):
    """At 1001 Hz a window of a quarter of a second ends a quarter of a sample after the last whole one."""
    samples, _ = write_sound(sounds(tmp_path / "a.functa"), slice(None), tmp_path / "a.wav", 1001)
    assert samples == soundfile.info(tmp_path / "a.wav").frames == 12 * 1001 // 4


def test_no_examples_are_an_empty_file(tmp_path):
    assert write_sound(sounds(tmp_path / "a.functa"), [], tmp_path / "a.wav") == (0, 400)
    assert soundfile.info(tmp_path / "a.wav").frames == 0


@pytest.mark.parametrize(
    "made",
    [
        {"domain": CellGrid(axes=("y", "x"), resolution=(4, 4))},
        {"domain": CellGrid(axes=("t",), resolution=(100,))},
        {"channels": ("a", "b", "c")},
        {"amplitude": 300.0},
    ],
)
def test_what_is_no_sound_is_refused(tmp_path, made):
    with pytest.raises(ConfigError, match="which is no sound; expected an axis t in seconds"):
        write_sound(sounds(tmp_path / "a.functa", **made), 0, tmp_path / "a.wav")


def test_what_cannot_be_written_is_refused(tmp_path):
    functaset = sounds(tmp_path / "a.functa")
    with pytest.raises(ConfigError, match=r"ends in \.wav or \.flac, found '\.mp3'"):
        write_sound(functaset, 0, tmp_path / "a.mp3")
    for rate in (0, -5, 1, 2**31):
        with pytest.raises(ConfigError, match="at most 2147483647 Hz and give a sample or more"):
            write_sound(functaset, 0, tmp_path / "a.wav", rate)
    with pytest.raises(ExampleIndexError):
        write_sound(functaset, 99, tmp_path / "a.wav")
    with pytest.raises(StorageError, match="cannot be written"):
        write_sound(functaset, 0, tmp_path / "none" / "a.wav")


def test_modulations_sound_as_their_examples(tmp_path):
    functaset = sounds(tmp_path / "a.functa")
    free = functaset.modulations[[2, 0]]
    assert write_sound(functaset, [2, 0], tmp_path / "a.wav", 800) == (400, 800)
    assert write_sound(functaset, free, tmp_path / "b.wav", 800) == (400, 800)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
