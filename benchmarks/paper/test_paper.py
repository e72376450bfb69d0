"""Figures and tables of the paper, tiny: each part runs from beginning to end, and goes on where it stopped."""

import dataclasses
import functools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.paper import __main__ as paper
from benchmarks.paper import figure3, figure5, quality, tables
from benchmarks.paper.archives import FILES
from benchmarks.paper.features import frechet_distance
from benchmarks.paper.results import Results
from benchmarks.paper.sizes import MACHINE
from examples import diffusion, flow
from functa_store.config import overlaid
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.sources.splits import hold_out_every

COUNT = 60
"""Examples of each kind."""


def _learned(config, **network):
    outer = {"num_steps": 2, "batch_size": 2, "num_points": 32, "num_monitored": 2, "warmup_steps": 1}
    fit = {"num_steps": 2, "stride": 1, "tuning_steps": 0}
    return overlaid(config, {"network": {"width": 8, "depth": 3, **network}, "outer": outer, "fit": fit})


SIZE = dataclasses.replace(
    MACHINE,
    portraits=_learned(MACHINE.portraits),
    portrait_resolutions=(8,),
    shapes=_learned(MACHINE.shapes),
    shape_resolutions=(4,),
    fields=_learned(MACHINE.fields),
    field_strides=(1,),
    numbers=(4, 8),
    latent=(4, 8),
    shift=(8,),
    cells=(8,),
    grid=2,
    shape_vector=_learned(MACHINE.shape_vector, modulation_dim=8),
    shape_grid=_learned(MACHINE.shape_grid, modulation_grid=(2, 2, 2), modulation_dim=2),
    table_resolution=8,
    epochs=1,
    cnn_epochs=1,
    seeds=2,
    cnn_seeds=1,
    portrait_store=_learned(MACHINE.portrait_store, modulation_dim=8),
    draws=2,
    feature_resolution=8,
    feature_epochs=1,
)


class Drawn:
    """Blurred noise in place of the archives."""

    def __init__(self):
        self.opened = 0

    def portraits(self, resolution):
        """Squares of three channels."""
        return self._arrays((resolution, resolution, 3))

    def shapes(self, resolution):
        """Cubes of zeros and ones."""
        return self._arrays((resolution,) * 3 + (1,))

    def fields(self, stride):
        """Fields of one channel."""
        return self._arrays((8 // stride, 8 // stride, 1))

    def pictures(self):
        """Squares of another size."""
        return self._arrays((8, 8, 3))

    def _arrays(self, shape):
        self.opened += 1
        random = np.random.default_rng(0)
        *points, channels = shape
        waves = [np.sin(np.arange(n)[None] * random.uniform(0, 1, (COUNT, 1)) + random.uniform(0, 6, (COUNT, 1)))
                 for n in points]  # fmt: skip
        values = waves[0]
        for wave in waves[1:]:
            values = values[..., None] * wave.reshape(COUNT, *(1,) * (values.ndim - 1), -1)
        values = np.repeat((values[..., None] + 1) / 2, channels, axis=-1).astype(np.float32)
        if len(points) == 3:
            values = np.round(values)
        classes = Label(values=np.arange(COUNT, dtype=np.int32) % 3, names=("red", "green", "blue"))
        features = FeatureSpec(channels=("red", "green", "blue")[:channels])
        return ArraySource(values, features=features, split=hold_out_every(COUNT), labels={"class": classes})


@pytest.fixture(name="results")
def _results(tmp_path):
    return Results(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("part", paper.PARTS)
def test_each_part_runs_and_a_second_run_measures_nothing(part, results, monkeypatch):
    quick = functools.partial(diffusion.generate, num_steps=20, width=8, depth=1)
    monkeypatch.setitem(figure5.MODELS, "DDPM", quick)
    monkeypatch.setattr(flow.Flow, "fit", functools.partial(flow.Flow.fit, max_epochs=1, num_layers=1, width=8))
    drawn = Drawn()
    text = paper.run([part], results, drawn, SIZE)
    assert f"## {'Tables' if part == 'tables' else 'Figure'}" in text
    assert "What differs" in text
    assert "not found" in text or "40.4" in text
    pictures = sorted(path.name for path in results.folder.glob("*.png"))
    assert (
        pictures
        == {
            "figure2": ["figure2.png"],
            "figure3": ["figure3.png"],
            "tables": [],
            "figure5": sorted(f"samples-{kind}-{model}.png" for kind in figure5.KINDS for model in figure5.MODELS),
        }[part]
    )
    cells = {path: path.stat().st_mtime_ns for path in (results.folder / "cells").iterdir()}
    assert cells
    assert paper.run([part], results, drawn, SIZE) == text
    assert cells == {path: path.stat().st_mtime_ns for path in (results.folder / "cells").iterdir()}


def test_a_part_that_was_interrupted_goes_on(results, monkeypatch):
    """Every cell is learned once; learning itself is left out here."""
    learned = []

    def count(source, config, indices):
        learned.append(config)
        return SimpleNamespace(learnable=SimpleNamespace(base={}), num_steps=2), np.full(len(indices), 0.01)

    def count_two(source, config, indices):
        if len(learned) == 2:
            raise KeyboardInterrupt
        return count(source, config, indices)

    monkeypatch.setattr(quality, "learned_errors", count_two)
    with pytest.raises(KeyboardInterrupt):
        figure3.measure(results, Drawn(), SIZE)
    assert len(list((results.folder / "cells").iterdir())) == 2
    monkeypatch.setattr(quality, "learned_errors", count)
    assert [row["psnr"] for row in figure3.measure(results, Drawn(), SIZE)] == [20.0] * 4
    assert len(learned) == 4


@pytest.mark.slow
def test_other_grids_measure_anew_only_what_has_seen_grids(results):
    drawn = Drawn()
    paper.run(["tables"], results, drawn, SIZE)
    shutil.rmtree(results.folder / "stores" / "shapes-grid.functa")
    cells = set((results.folder / "cells").iterdir())
    of_grids = {path for path in cells if "grid" in path.name}
    for path in of_grids:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in cells - of_grids}
    other = overlaid(SIZE.shape_grid, {"outer": {"num_steps": 3}})
    paper.run(["tables"], results, drawn, dataclasses.replace(SIZE, shape_grid=other))
    assert len(of_grids) > 1
    assert set((results.folder / "cells").iterdir()) == cells
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_cell_is_measured_once_and_never_mistaken_for_another_one(results):
    calls = []
    for _ in range(2):
        figures = results.cell("one", {"steps": 3}, lambda: calls.append(1) or {"psnr": 20.0})
        assert figures["psnr"] == 20.0
    assert len(calls) == 1
    with pytest.raises(ConfigError, match=r"one\.json: was measured with other settings: steps is 3, expected 4"):
        results.cell("one", {"steps": 4}, dict)


def test_absent_archives_are_refused_by_name_before_anything_is_measured(tmp_path, capsys):
    assert paper.main(["--only", "figure3", "--archives", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert f"{tmp_path}: found no {FILES['portraits']}; name the folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_numbers_are_interpolated_along_their_logarithm():
    assert quality.numbers_for(25.0, (64, 256), (20.0, 30.0)) == pytest.approx(128)
    assert quality.numbers_for(19.0, (64, 256), (20.0, 30.0)) == 64
    assert quality.numbers_for(31.0, (64, 256), (20.0, 30.0)) is None
    assert quality.numbers_for(20.0, (64, 256, 1024), (20.0, 19.0, 21.0)) == 64


def test_the_coarsest_array_that_is_good_enough():
    flat = np.repeat(np.linspace(0, 1, 20, dtype=np.float32)[:, None], 64, axis=1).reshape(20, 8, 8, 1)
    features = FeatureSpec(channels=("grey",))
    source = ArraySource(flat, features=features, split=hold_out_every(20), name="flat")
    assert isinstance(source.domain, CellGrid)
    assert quality.coarse_points(source, 60.0) == 1
    noise = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    assert quality.coarse_points(ArraySource(noise, features=features, split=hold_out_every(20)), 60.0) == 64


def test_frechet_distance_of_two_gaussians_is_that_of_means_and_deviations():
    rows = np.random.default_rng(0).standard_normal((200_000, 2))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(rows, 3 * rows + [1.0, 0.0]) == pytest.approx(1 + 2 * (3 - 1) ** 2, rel=0.02)


def test_what_an_mlp_is_above_is_by_size():
    rows = [{"key": f"{key}-mlp-small", "beside": "mlp-small", "accuracy": accuracy}
            for key, accuracy in {"functa": 0.8, "cnn": 0.75, "pca": 0.7}.items()]  # fmt: skip
    for model in ("mlp-medium", "mlp-large"):
        rows += [{**row, "key": row["key"].replace("mlp-small", model), "beside": model} for row in rows[:3]]
    (small, *_) = tables.differences(rows)
    assert small["cnn"] == pytest.approx(5)
    assert small["pca"] == pytest.approx(10)


def test_all_parts_name_archives_that_are_known():
    for part in paper.PARTS.values():
        assert set(FILES) >= part.NEEDS
