"""The benchmark of sound and video runs, tiny, and its peer is what it says."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from benchmarks import signals
from functa_store.config import FitConfig, NetworkConfig


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


def test_all_cosines_keep_everything_and_the_lowest_keep_what_is_smooth():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 4, 5, 2))
    np.testing.assert_allclose(signals.lowest_cosines(values, 40), values)
    smooth = np.broadcast_to(rng.normal(size=(3, 1, 1, 2)), values.shape)
    np.testing.assert_allclose(signals.lowest_cosines(smooth, 2), smooth)
    assert np.abs(signals.lowest_cosines(values, 38) - values).max() > 0.01


def test_functa_and_peers_are_compared_on_held_out_files(archive, tmp_path):
    signals.main(["audio", "--archive", str(archive), "--folder", str(tmp_path)])
    rows = json.loads((tmp_path / "audio.json").read_text())["rows"]
    assert [row["side"] for row in rows] == [
        "functa, 4 dimensions",
        "PCA, 4 components",
        "4 lowest cosines",
        "the mean",
    ]
    assert all(np.isfinite(row["psnr"]) for row in rows)
    assert rows[-1]["snr"] == pytest.approx(0, abs=1e-9)


def test_the_sweep_compares_recipes_on_training_files(archive, tmp_path):
    signals.main(["audio", "--archive", str(archive), "--folder", str(tmp_path), "--sweep", "w0 60"])
    rows = json.loads((tmp_path / "audio-sweep.json").read_text())["rows"]
    assert rows[0]["recipe"] == "w0 60"
    assert np.isfinite(rows[0]["psnr"])
