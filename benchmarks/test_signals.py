"""The benchmark of sound and video runs, tiny, and its peer is what it says."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from benchmarks import signals
from converters.signals.audio import AudioSource
from functa_store.config import FitConfig, NetworkConfig
from functa_store.errors import ArchiveError


@pytest.fixture(name="archive")
def _archive(tmp_path, monkeypatch):
    """Ten sounds of six windows of a tone each, and a preset for them."""
    for k in range(10):
        tone = np.sin(np.arange(6 * 64) * (0.05 + 0.03 * k))
        soundfile.write(tmp_path / f"{k}.wav", 0.5 * tone, 8000)
    config = dataclasses.replace(
        signals.AUDIO_FAST.config,
        network=NetworkConfig(width=8, depth=3, modulation_dim=4),
        outer=dataclasses.replace(
            signals.AUDIO_FAST.config.outer, num_steps=2, batch_size=2, num_points=16, warmup_steps=1
        ),
        fit=FitConfig(num_steps=2, tuning_steps=0),
    )
    preset = dataclasses.replace(signals.AUDIO_FAST, config=config, source={"samples": 64})
    monkeypatch.setitem(signals.KINDS, "audio", (signals.open_audio, preset))
    return tmp_path


@pytest.fixture(name="read")
def _read(monkeypatch):
    """Ids of the examples that were read."""
    read, whole = set(), AudioSource.read

    def noted(source, index):
        read.add(source.ids[index])
        return whole(source, index)

    monkeypatch.setattr(AudioSource, "read", noted)
    return read


def test_a_truncated_dct_keeps_the_lowest_cosines_of_every_channel():
    values = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    np.testing.assert_allclose(signals.truncated_dct(values, 20), values)
    waves = np.cos(np.pi * np.outer(np.arange(6), np.arange(6) + 0.5) / 6)[:, :, None]
    for count in range(1, 6):
        kept = signals.truncated_dct(waves, count)
        np.testing.assert_allclose(kept[:count], waves[:count], atol=1e-12)
        np.testing.assert_allclose(kept[count:], 0, atol=1e-12)


@pytest.mark.slow
def test_functa_and_peers_are_compared_on_held_out_files(archive, tmp_path):
    signals.main(["audio", "--archive", str(archive), "--folder", str(tmp_path)])
    rows = json.loads((tmp_path / "audio.json").read_text())["rows"]
    expected = ["functa, 4 dimensions", "PCA, 4 components", "DCT, 4 cosines per channel", "the mean"]
    assert [row["side"] for row in rows] == expected
    psnr = {row["side"]: row["psnr"] for row in rows}
    assert psnr["PCA, 4 components"] > psnr["the mean"]


@pytest.mark.long
def test_the_sweep_looks_at_training_files_alone(archive, tmp_path, read):
    source = signals.open_audio(archive, samples=64)
    training = {name for name, split in zip(source.ids, source.split, strict=True) if split == "train"}
    read.clear()
    signals.main(["audio", "--archive", str(archive), "--folder", str(tmp_path), "--sweep", "w0 60"])
    rows = json.loads((tmp_path / "audio-sweep.json").read_text())["rows"]
    assert rows[0]["recipe"] == "w0 60"
    assert read
    assert read <= training


def test_an_archive_of_which_nothing_is_held_out_is_refused_before_learning(archive):
    with pytest.raises(ArchiveError, match="no example is held out"):
        signals.main(["audio", "--archive", str(archive), "--limit", "1"])
