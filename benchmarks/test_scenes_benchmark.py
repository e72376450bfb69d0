"""The benchmark of scenes runs, tiny."""

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import scenes
from functa_store.config import FitConfig, NetworkConfig
from functa_store.domains.scene import orbit
from functa_store.errors import ArchiveError

SIZE = 8


@pytest.fixture(name="archive")
def _archive(tmp_path):
    """Six scenes to learn from, of 5 random views each, and two to test on, of 8."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        for name in [*(f"cars_train/{i}" for i in range(6)), "cars_test/0", "cars_test/1"]:
            archive.writestr(f"{name}/intrinsics.txt", f"8.2 4 4 0.\n0. 0. 0.\n1.\n{SIZE} {SIZE}\n")
            for view, pose in enumerate(orbit(5 if "train" in name else 8, 1.3, 30.0)):
                png = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(png, "PNG")
                archive.writestr(f"{name}/rgb/{view:06d}.png", png.getvalue())
                archive.writestr(f"{name}/pose/{view:06d}.txt", " ".join(map(str, pose.ravel())))
    return tmp_path / "scenes.zip"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    config = scenes.SCENES_FAST.config
    outer = dataclasses.replace(config.outer, batch_size=2, num_points=8, warmup_steps=1, num_monitored=1)
    network = NetworkConfig(width=8, depth=3, modulation_dim=4, head="radiance")
    tiny = dataclasses.replace(config, network=network, outer=outer, fit=FitConfig(num_steps=2))
    monkeypatch.setattr(scenes, "CONTEXTS", (2, None))  # each compiles programs of its own
    monkeypatch.setattr(scenes, "SCENES_FAST", dataclasses.replace(scenes.SCENES_FAST, config=tiny))


def options(archive, folder):
    return ["--archive", str(archive), "--resolution", "8", "--outer-steps", "2", "--folder", str(folder)]


@pytest.mark.long
def test_scenes_are_measured_on_views_that_the_fit_has_not_seen(archive, tmp_path):
    scenes.main([*options(archive, tmp_path), "--kind", "cars", "--tuning-steps", "1"])
    rows = json.loads((tmp_path / "scenes-cars.json").read_text())["rows"]
    assert [row["views"] for row in rows] == [2, 6]
    assert all(np.isfinite(value) for row in rows for value in row.values())
    assert len({row["mean image"] for row in rows}) == 1  # the same held-out views for any number of context views
    with Image.open(tmp_path / "scenes-cars.png") as sheet:
        assert sheet.width > 4 * SIZE


@pytest.mark.slow
def test_a_sweep_compares_recipes(archive, tmp_path):
    scenes.main([*options(archive, tmp_path), "--tuning-steps", "0", "--fold", "1", "--sweep", "w0 20"])
    rows = json.loads((tmp_path / "scenes-sweep-both-1.json").read_text())["rows"]
    assert [row["recipe"] for row in rows] == ["w0 20"]


def test_folds_are_parts_of_the_training_scenes_that_take_no_part_in_learning(archive):
    source = scenes.open_srn(archive, resolution=SIZE)
    found = [scenes.kept_out_of(source, "cars", fold) for fold in range(scenes.SWEEP_PERIOD)]
    training = np.flatnonzero(np.asarray(source.split) == "train").tolist()
    assert sorted(int(i) for _, kept_out in found for i in kept_out) == training
    assert all(sorted([*train.indices, *kept_out]) == training for train, kept_out in found)


@pytest.mark.parametrize("more", [["--kind", "chairs"], ["--kind", "chairs", "--sweep", "preset"]])
def test_scenes_that_are_not_there_are_missed_before_learning(more, archive, tmp_path, monkeypatch):
    monkeypatch.delattr(scenes, "meta_learn")
    with pytest.raises(ArchiveError, match="no scenes to learn from"):
        scenes.main([*options(archive, tmp_path), *more])


@pytest.mark.long
def test_no_more_views_are_reported_than_there_are(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "CONTEXTS", (6, None))
    scenes.main([*options(archive, tmp_path), "--kind", "cars", "--tuning-steps", "0"])
    assert [row["views"] for row in json.loads((tmp_path / "scenes-cars.json").read_text())["rows"]] == [6]
