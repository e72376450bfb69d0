"""Every benchmark runs, tiny."""

import dataclasses
import json
import re

import pytest

from benchmarks import __main__ as everything
from benchmarks import (
    climate,
    decode,
    fit,
    networks,
    outer_step,
    peers,
    recipes,
    report,
    scaling,
    scenes,
    sides,
    signals,
    sine,
    sweep,
    timing,
)
from benchmarks.datasets import GeneratedArchive
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
    overlaid,
)
from functa_store.errors import ConfigError
from functa_store.plugins import converters
from functa_store.sources.options import split_options

TINY = NetworkConfig(width=8, depth=3, modulation_dim=4)


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory):
    return GeneratedArchive(num_images=40).write(tmp_path_factory.mktemp("archives") / "images.zip")


@pytest.mark.slow
def test_a_sweep_appends_a_row_per_recipe(archive, tmp_path, monkeypatch):
    vectors = sweep.SWEEPS["celeba64-fast"]
    outer = dataclasses.replace(vectors.start.outer, num_points=16, batch_size=2)
    tiny = dataclasses.replace(vectors.start, network=TINY, outer=outer)
    chosen = {"start": {}, "w0 12": {"network": {"w0": 12.0}}}
    monkeypatch.setitem(sweep.SWEEPS, "tiny", dataclasses.replace(vectors, start=tiny, recipes=chosen))
    monkeypatch.setattr(sweep, "pca_reference", lambda *_: {"components": 4, "psnr_mean": {"test": 1.0}})
    words = ["tiny", str(archive), str(tmp_path / "table.md"), "--outer-steps", "3"]
    sweep.main(words)
    assert re.findall(r"^\| (start|w0 12) \|", (tmp_path / "table.md").read_text(), re.M) == ["start", "w0 12"]
    sweep.main([*words, "--recipe", "w0 12"])
    assert (tmp_path / "table.md").read_text().count("| w0 12 |") == 2


def test_every_recipe_of_a_sweep_is_a_configuration():
    starts = {climate: climate.CLIMATE_FAST, scenes: scenes.SCENES_FAST, signals: signals.AUDIO_FAST}
    swept = [(preset.config, module.RECIPES) for module, preset in starts.items()]
    swept += [(found.start, found.recipes) for found in sweep.SWEEPS.values()]
    for start, changes in swept:
        for change in changes.values():
            assert isinstance(overlaid(start, change), ConvertConfig)


@pytest.mark.parametrize("name", sweep.SWEEPS)
def test_a_sweep_is_of_a_converter_that_takes_its_options(name):
    found = sweep.SWEEPS[name]
    assert split_options(converters()[found.kind].options, found.options)[0].to_plain()["resolution"] in (32, 64, 256)


def test_a_configuration_learns_for_steps_or_seconds():
    start = ConvertConfig()
    assert recipes.with_length(start, None, None) == start
    assert recipes.with_length(start, 600, None).outer.num_steps == 600
    assert recipes.with_length(start, None, 5.0).outer.time_budget == 5.0
    with pytest.raises(ConfigError, match="either"):
        recipes.with_length(start, 600, 5.0)


def named(monkeypatch, workload):
    """A workload of one tiny network and image, which every benchmark of speed finds under its name."""
    monkeypatch.setitem(networks.WORKLOADS, workload.name, workload)
    monkeypatch.setitem(sides.BATCHES, workload.name, 2)
    monkeypatch.setitem(sides.PLAIN_BATCHES, workload.name, (2,))
    monkeypatch.setitem(outer_step.BATCHES, workload.name, 2)
    monkeypatch.setattr(fit, "SCHEDULED", workload.name)
    monkeypatch.setattr(fit, "SCHEDULES", ((5, 2),))
    monkeypatch.setattr(timing, "SHAPES", ((16, 16), (16, 8)))
    return workload


@pytest.fixture
def tiny(monkeypatch):
    return named(monkeypatch, networks.Workload(width=16, depth=3, modulation_dim=4, size=8))


@pytest.fixture
def tiny_grid(monkeypatch):
    grid = networks.Workload(width=16, depth=3, modulation_dim=4, grid=(2, 2), w0=10.0, rate=0.2, size=8)
    return named(monkeypatch, grid)


def run(module, out, *options):
    """Run a benchmark; returns its numbers."""
    module.main(["--runs", "1", *options, "--out", str(out)])
    return json.loads(out.read_text())


def test_sides_take_turns_after_their_first_calls():
    calls, checked = [], []
    functions = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    times = timing.interleaved(functions, 2, lambda results: checked.append((dict(results), list(calls))))
    assert "".join(calls) == "ab" * 3
    assert checked == [({"a": None, "b": None}, ["a", "b"])]
    assert all(len(side.seconds) == 2 for side in times.values())


def test_a_ratio_is_the_median_of_the_rounds():
    slow, fast = timing.Times(9.0, [2.0, 30.0, 8.0]), timing.Times(9.0, [1.0, 10.0, 2.0])
    assert timing.ratio(slow, fast) == 3.0


def test_the_ceiling_is_the_fastest_shape(monkeypatch):
    monkeypatch.setattr(timing, "SHAPES", ((256, 128), (1, 1)))
    ceiling = timing.matmul_ceiling(runs=2)
    assert ceiling.shape == "256x128"
    assert ceiling.rate == max(ceiling.rates.values()) > 1e6
    assert ceiling.flops % (2 * 256 * 128**2) == 0


def test_a_table_sets_numbers_right():
    found = report.table(["name", "s"], [("a", 0.001234), ("b", None)])
    assert found == "| name | s |\n| --- | ---: |\n| a | 0.00123 |\n| b |  |\n"


def test_a_mean_psnr_is_a_number_of_json_even_without_an_error():
    assert report.decibels([0.0, 0.0]) == pytest.approx(100)
    assert report.decibels([0.01, 0.0001], 1.0) == pytest.approx(30)
    assert report.decibels([0.0], 2.0) == pytest.approx(100)


@pytest.mark.slow
def test_fit_compares_every_side(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers, "reference_fit", lambda _: peers.plain_fit)
    options = "--sizes", tiny.name, "--matmul-precision", "float32", "bfloat16", "--reference", "checkout"
    found = run(fit, tmp_path / "fit.json", *options)
    assert [(row["precision"], row["side"]) for row in found["fits"]] == [
        ("float32", "ours"),
        ("float32", "jitted"),
        ("float32", "eager"),
        ("float32", "reference"),
        ("bfloat16", "ours"),
        ("bfloat16", "jitted"),
    ]
    assert {row["passes"] for row in found["fits"]} == {5, 7}
    assert [row["side"] for row in found["schedules"]] == ["5 steps, stride 2", "jitted"]
    assert found["machine"]["processor"]
    assert f"| {tiny.name} | float32 | ours |" in capsys.readouterr().out


@pytest.mark.slow
def test_fit_times_nothing_that_differs(tiny, monkeypatch):
    monkeypatch.setattr(fit, "PUBLISHED", FitConfig(num_steps=2, stride=1, tuning_steps=0))
    with pytest.raises(timing.DisagreementError, match="nothing is timed"):
        fit.published(tiny, "float32", timing.matmul_ceiling(runs=1), 1, {})


@pytest.mark.slow
def test_fit_compares_the_same_images_in_batches_larger_than_their_number(tiny, monkeypatch):
    monkeypatch.setattr(sides, "one_at_a_time", lambda: False)
    monkeypatch.setattr(sides, "PLAIN_BATCHES_ON_ACCELERATOR", (6,))
    found = fit.published(tiny, "float32", timing.matmul_ceiling(runs=1), 1, {})
    assert all(row["batch"] > sides.BATCHES[tiny.name] for row in found)


@pytest.mark.slow
def test_outer_step_compares_speed_and_memory(tiny, tmp_path):
    found = run(outer_step, tmp_path / "outer.json", "--sizes", tiny.name)["steps"]
    assert [row["side"] for row in found] == ["ours", "jitted"]
    assert all(row["seconds_per_image"] > 0 and row["temporary_bytes"] > 0 for row in found)


@pytest.mark.slow
def test_grids_of_modulations_are_compared_with_their_peer(tiny_grid, tmp_path):
    found = fit.published(tiny_grid, "float32", timing.matmul_ceiling(runs=1), 1, {})
    assert [row["side"] for row in found] == ["ours", "jitted"]
    assert 0 <= found[0]["difference"] < 1e-4
    found = run(outer_step, tmp_path / "outer.json", "--sizes", tiny_grid.name)["steps"]
    assert [row["workload"] for row in found] == ["16x3-2x2x4"] * 2


@pytest.mark.slow
def test_outer_step_compiles_the_papers_network_alone(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(outer_step, "PAPER", tiny)
    monkeypatch.setattr(outer_step, "PAPER_STEPS", (("ours", 4, 4), ("jitted", 4, None)))
    found = run(outer_step, tmp_path / "outer.json", "--memory-only")["steps"]
    assert [row["together"] for row in found] == [4 // found[0]["devices"], 4]
    assert "seconds_per_image" not in found[0]


@pytest.mark.slow
def test_decode_times_every_request(tiny, tmp_path, monkeypatch):
    requests = {
        "grid": decode.Request(examples=2, resolution=(8, 8)),
        "points": decode.Request(examples=2, resolution=(9,)),
    }
    monkeypatch.setattr(decode, "REQUESTS", requests)
    found = run(decode, tmp_path / "decode.json", "--sizes", tiny.name)
    assert [row["request"] for row in found["requests"]] == ["grid", "points"]
    assert found["first_calls"][0]["second_seconds"] < found["first_calls"][0]["first_seconds"]


@pytest.mark.slow
def test_sine_compares_every_function(tmp_path, monkeypatch):
    monkeypatch.setattr(sine, "AT_LEAST", 2048)
    found = run(sine, tmp_path / "sine.json", "--elements", "512", "4096")["functions"]
    assert [(row["function"], row["elements"]) for row in found[:2]] == [("sin", 512), ("sin", 4096)]
    assert all(row["ours_ns"] > 0 and row["xla_ns"] > 0 for row in found)


@pytest.mark.slow
def test_a_conversion_tells_its_fit_and_memory(archive, monkeypatch):
    config = ConvertConfig(
        network=TINY,
        outer=OuterLoopConfig(num_steps=1, batch_size=2, num_points=16),
        fit=FitConfig(num_steps=1, tuning_steps=0),
    )
    monkeypatch.setitem(scaling.CONFIGS, "tiny", config)
    found = scaling.convert_here(str(archive), "tiny")
    assert 0 < found["first_batch_seconds"] <= found["fit_seconds"]
    assert found["peak_bytes"] > 5e7


def test_scaling_has_the_median_of_every_number_of_images(tmp_path, monkeypatch):
    seconds = iter([1.0, 10.0, 3.0, 30.0, 2.0, 20.0])
    machine = dataclasses.asdict(timing.Machine.here())
    names = "opening_seconds", "fit_seconds", "first_batch_seconds", "peak_bytes"
    facts = dict.fromkeys(names, 0.5) | {"machine": machine}
    monkeypatch.setattr(scaling, "conversion", lambda *_: {"seconds": next(seconds), **facts})
    found = run(scaling, tmp_path / "scaling.json", "--images", "2", "4", "--runs", "3")
    assert [(row["images"], row["seconds"]) for row in found["conversions"]] == [(2, 2.0), (4, 20.0)]
    assert (tmp_path / "scaling.png").exists()


@pytest.mark.long
def test_scaling_converts_in_a_process_of_its_own(tmp_path):
    found = run(scaling, tmp_path / "scaling.json", "--images", "40")["conversions"]
    assert found[0]["seconds"] > found[0]["fit_seconds"]


@pytest.mark.slow
def test_all_benchmarks_write_one_report(tmp_path, monkeypatch, capsys):
    commands = {"sine": ["--elements", "64", "--runs", "1"], "decode": ["--sizes", "unheard of"]}
    monkeypatch.setattr(everything, "BENCHMARKS", commands)
    assert everything.main(["--folder", str(tmp_path)]) == 1
    report = (tmp_path / "report.md").read_text()
    assert "| sin | 64 |" in report
    assert "decode\n\nfailed" in report
    assert (tmp_path / "sine.json").exists()
