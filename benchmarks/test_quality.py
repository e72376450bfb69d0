"""Every benchmark of quality runs, tiny."""

import dataclasses
import json

import pytest

from benchmarks import classify, schedules, time_to_quality
from benchmarks.datasets import GeneratedArchive
from converters.images.celeba import open_celeba
from functa_store.config import FitConfig, NetworkConfig

TINY = NetworkConfig(width=8, depth=3, modulation_dim=4)


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory):
    return GeneratedArchive(num_images=40).write(tmp_path_factory.mktemp("archives") / "images.zip")


@pytest.mark.slow
def test_time_to_quality_writes_a_curve_per_recipe(archive, tmp_path, monkeypatch):
    for name, config in time_to_quality.RECIPES.items():
        outer = dataclasses.replace(config.outer, batch_size=2, num_points=16, warmup_steps=1)
        fit = dataclasses.replace(config.fit, num_steps=3, tuning_steps=min(1, config.fit.tuning_steps))
        tiny = dataclasses.replace(config, network=TINY, outer=outer, fit=fit)
        monkeypatch.setitem(time_to_quality.RECIPES, name, tiny)
    monkeypatch.setattr(time_to_quality, "OURS", time_to_quality.RECIPES["ours"])
    monkeypatch.setattr(time_to_quality, "step_seconds", lambda *_: {"ours": 1.0, "plain": 2.0})
    out = tmp_path / "curves"
    time_to_quality.main([str(archive), str(out), "--minutes", "0.1", "--plain-minutes", "0.1", "--interval", "2"])
    curves = json.loads(out.with_suffix(".json").read_text())["curves"]
    assert {name: [p["outer_steps"] for p in points] for name, points in curves.items()} == {
        "ours": [2, 4, 6],
        "plain": [2, 3],
    }
    assert all(point["psnr_mean"] > 0 for points in curves.values() for point in points)
    assert "refined" in curves["ours"][-1]
    assert out.with_suffix(".png").exists()


@pytest.mark.slow
def test_an_outer_step_of_both_sides_takes_time(archive, monkeypatch):
    outer = dataclasses.replace(time_to_quality.OURS.outer, batch_size=2, num_points=16)
    monkeypatch.setattr(time_to_quality, "OURS", dataclasses.replace(time_to_quality.OURS, network=TINY, outer=outer))
    seconds = time_to_quality.step_seconds(open_celeba(str(archive)), runs=1)
    assert seconds.keys() == {"ours", "plain"}
    assert min(seconds.values()) > 0


@pytest.mark.slow
def test_schedules_appends_a_row_per_schedule(archive, tmp_path, monkeypatch, capsys):
    outer = dataclasses.replace(schedules.FACES.outer, num_steps=3, batch_size=2, num_points=16)
    monkeypatch.setitem(schedules.CONFIGS, "faces", dataclasses.replace(schedules.FACES, network=TINY, outer=outer))
    monkeypatch.setattr(schedules, "SCHEDULES", [(3, 1, False), (4, 2, True)])
    monkeypatch.setattr(schedules, "TUNING_STEPS", 1)
    schedules.main(["faces", str(archive), str(tmp_path / "rows.jsonl"), "--inner-steps", "2"])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(r["steps"], r["stride"], r["passes"]) for r in rows] == [(3, 1, 5.0), (4, 2, 2.5)]
    assert capsys.readouterr().out.count("| 2 | ") >= 2


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_classify_compares_plain_and_refined_modulations(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(classify.CONFIG, network=TINY)
    monkeypatch.setattr(classify, "CONFIG", config)
    monkeypatch.setattr(classify, "SCHEDULES", {"plain": FitConfig(num_steps=2, stride=1, tuning_steps=0)})
    classify.main([str(tmp_path / "found.json"), "--seeds", "1", "--outer-steps", "5"])
    found = json.loads((tmp_path / "found.json").read_text())[0]
    assert 0.1 < found["plain"]["logistic regression"] <= 1
    assert "| plain |" in capsys.readouterr().out
