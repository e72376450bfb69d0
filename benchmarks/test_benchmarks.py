"""Every benchmark runs, tiny."""

import dataclasses
import json

import pytest

from benchmarks import memory, sweep, time_to_quality
from benchmarks.datasets import GeneratedArchive
from functa_store.config import NetworkConfig

TINY = NetworkConfig(width=8, depth=3, modulation_dim=4)


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory):
    return GeneratedArchive(num_images=40).write(tmp_path_factory.mktemp("archives") / "images.zip")


def test_time_to_quality_writes_a_curve_per_recipe(archive, tmp_path, monkeypatch):
    for name, config in time_to_quality.RECIPES.items():
        outer = dataclasses.replace(config.outer, batch_size=2, num_points=16, warmup_steps=1)
        tiny = dataclasses.replace(config, network=TINY, outer=outer)
        monkeypatch.setitem(time_to_quality.RECIPES, name, tiny)
    out = tmp_path / "curves"
    time_to_quality.main([str(archive), str(out), "--outer-steps", "6", "--interval", "2"])
    curves = json.loads(out.with_suffix(".json").read_text())["curves"]
    assert set(curves) == {"ours", "plain"}
    assert all(point["psnr_mean"] > 0 for points in curves.values() for point in points)
    assert out.with_suffix(".png").exists()


def test_a_sweep_appends_a_row_per_recipe(archive, tmp_path, monkeypatch):
    outer = dataclasses.replace(sweep.START.outer, num_points=16, batch_size=2)
    monkeypatch.setattr(sweep, "START", dataclasses.replace(sweep.START, network=TINY, outer=outer))
    monkeypatch.setattr(sweep, "RECIPES", {"start": {}})
    monkeypatch.setattr(sweep, "pca_reference", lambda *_: {"components": 4, "psnr_mean": {"test": 1.0}})
    sweep.main([str(archive), str(tmp_path / "table.md"), "--outer-steps", "3"])
    assert "| start |" in (tmp_path / "table.md").read_text()


def test_every_recipe_of_the_sweep_is_a_configuration():
    for name in sweep.RECIPES:
        assert sweep.recipe(name, 600).outer.num_steps == 600


@pytest.mark.slow
def test_memory_prints_a_peak_per_archive(capsys):
    memory.main(["--images", "40"])
    assert json.loads(capsys.readouterr().out)["peak_megabytes"] > 50
