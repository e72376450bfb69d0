"""The benchmark of shapes runs, tiny, and its peers do what they say."""

import json
import zipfile

import numpy as np
import pytest

from benchmarks import recipes, shapes
from benchmarks.shape_peers import CoarseGrid, Pca, evaluate, scores
from converters.shapes.shapenet import open_shapenet
from functa_store.config import ConvertConfig, overlaid
from tests.converters.shapes.models import ball, encode_binvox

TINY = ["--network.width", "8", "--network.depth", "3", "--modulation-dim", "16"]
TINY += ["--outer.batch_size", "2", "--outer.num_points", "64"]


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archives") / "shapes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(40):
            content = encode_binvox(ball(8, centre=(0.5, 0.4 + k / 200, 0.5), radius=0.2 + k / 200))
            archive.writestr(f"{k % 2}/{k}/model.binvox", content)
    return path


def test_iou_and_accuracy_by_hand():
    predicted, occupied = np.array([[1, 1, 0, 0], [0, 0, 0, 0]], bool), np.array([[0, 1, 1, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_allclose(scores(predicted, occupied), [[1 / 3, 0.5], [1, 1]])


def test_a_grid_as_fine_as_the_shapes_loses_nothing_and_a_coarse_one_something(archive):
    source = open_shapenet(archive, resolution=8)
    occupied = np.stack([ball(8).ravel(), ball(8, radius=0.2).ravel()])
    same, coarse = CoarseGrid(source, 512, 1), CoarseGrid(source, 3**3 * 4 + 3, 4)
    assert (same.size, coarse.size) == (8, 3)
    np.testing.assert_array_equal(same(occupied), occupied)
    assert 0.1 < scores(coarse(occupied), occupied)[0, 0] < 1


def test_pca_of_nearly_all_components_keeps_nearly_everything(archive):
    source = open_shapenet(archive, resolution=8)
    pca = Pca(source, 35)
    assert 0.2 <= pca.threshold <= 0.7
    train = evaluate(source, np.flatnonzero(source.split == "train"), lambda _, cells: pca(cells))
    assert train[:, 0].mean() > 0.99


@pytest.mark.slow
def test_the_benchmark_writes_its_tables_and_a_picture(archive, tmp_path):
    words = ["--archive", str(archive), "--resolution", "8", "--time-budget", "0.5", "--folder", str(tmp_path), *TINY]
    shapes.main(words)
    found = json.loads((tmp_path / "shapes.json").read_text())["scores"]
    assert found.keys() == {
        "ours, float32",
        "ours, int8",
        "PCA-16",
        "grid 2^3, float32",
        "grid 4^3, uint8",
        "grid 2^3, uint8",
    }
    assert all(0 <= row["iou"] <= 1 and row["iou_by_class"].keys() == {"0", "1"} for row in found.values())
    assert "| ours, float32 |" in (tmp_path / "shapes.md").read_text()
    assert (tmp_path / "shapes.png").exists()


@pytest.mark.long
def test_the_sweep_appends_a_row_per_recipe(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "RECIPES", {"small": {}, "smaller": {"network": {"width": 4}}})
    monkeypatch.setattr(shapes, "configuration", lambda *a, _=shapes.configuration: recipes.with_words(_(*a), TINY))
    words = [
        "--archive",
        str(archive),
        "--resolution",
        "8",
        "--time-budget",
        "0.3",
        "--folder",
        str(tmp_path),
        "--sweep",
    ]
    shapes.main(words)
    table = (tmp_path / "shapes_sweep.md").read_text()
    assert "PCA-16" in table
    assert "| small |" in table
    assert "| smaller |" in table


def test_every_recipe_is_a_configuration():
    start = overlaid(shapes.configuration(64, None), shapes.START)
    assert start.network.w0 == 12.0
    assert all(isinstance(overlaid(start, changes), ConvertConfig) for changes in shapes.RECIPES.values())


def test_words_of_functa_convert_change_a_preset():
    config = recipes.with_words(shapes.configuration(64, None), ["--modulation-grid", "4,4,2", "--modulation-dim", "8"])
    assert config.network.modulation_shape == (4, 4, 2, 8)
    assert config.outer == shapes.configuration(64, None).outer
