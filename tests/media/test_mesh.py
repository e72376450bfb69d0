"""Meshes of a functaset that is a ball in a box, by a decoder that knows the ball."""

import json

import numpy as np
import pytest

from functa_store.cli import main as cli
from functa_store.decode.functaset import Functaset, open_functaset
from functa_store.domains.cells import CellGrid
from functa_store.domains.scene import SceneVolume
from functa_store.errors import ConfigError, GridError
from functa_store.media import mesh as marching_cubes
from functa_store.media import mesh as meshes
from functa_store.sources.features import FeatureSpec
from tests.decode.stores import write_store

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("skimage")

CENTRE, RADIUS = np.array([0.4, 0.5, 0.65]), 0.3  # along (z, y, x)


@pytest.fixture(name="store")
def _store(tmp_path):
    path = tmp_path / "shapes.functa"
    write_store(path, domain=CellGrid(axes=("z", "y", "x"), resolution=(12, 10, 14)), channels=("occupancy",), count=4)
    return path


@pytest.fixture(name="ball")
def _ball(store, monkeypatch):
    """The store's functaset, whose examples are balls, the last one nothing."""

    def decode(self, index, resolution=None, *, region=None, coords=None, clip=False):
        shape = self.domain.resolve(resolution, region)
        points = self.domain.coords(resolution, region)
        values = 0.5 + 3 * (RADIUS - np.linalg.norm(points - CENTRE, axis=1))
        if np.ravel(index)[0] == 3:
            values[:] = 0.2
        return values.reshape(1, *shape, 1).astype(np.float32)

    monkeypatch.setattr(Functaset, "decode", decode)
    return open_functaset(store)


def test_a_store_is_opened_by_its_path(ball, store, tmp_path):
    found, expected = meshes.surface(store, 0), meshes.surface(ball, 0)
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    counts = (len(expected.vertices), len(expected.faces))
    assert meshes.write_mesh(str(store), 0, tmp_path / "ball.ply") == counts
    assert len(trimesh.load(tmp_path / "ball.ply").faces) == counts[1]


@pytest.mark.parametrize("resolution", [None, 32, (40, 24, 48)])
def test_a_ball_becomes_a_closed_surface_with_x_y_z_and_its_volume(ball, resolution):
    found = meshes.surface(ball, 0, resolution)
    mesh = trimesh.Trimesh(found.vertices, found.faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.05)  # positive: faces look outwards
    np.testing.assert_allclose(mesh.center_mass, CENTRE[::-1], atol=0.01)


def test_a_window_is_closed_at_its_edge_and_lies_where_it_lay(ball):
    found = meshes.surface(ball, 0, 24, region=((0, 0.4), (0, 1), (0, 1)))
    mesh = trimesh.Trimesh(found.vertices, found.faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(2 / 3 * np.pi * RADIUS**3, rel=0.1)
    assert mesh.bounds[1][2] <= 0.4 + 1e-6


def test_what_is_full_is_the_whole_cube(ball, monkeypatch):
    monkeypatch.setattr(Functaset, "decode", lambda *_, **__: np.ones((1, 12, 10, 14, 1), np.float32))
    found = meshes.surface(ball, 0)
    np.testing.assert_allclose(found.vertices.min(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.vertices.max(axis=0), 1, atol=1e-6)


def test_an_empty_example_has_no_surface_and_no_file(ball, tmp_path):
    assert len(meshes.surface(ball, 3).faces) == 0
    assert meshes.write_mesh(ball, 3, tmp_path / "empty.ply") == (0, 0)
    assert not (tmp_path / "empty.ply").exists()


@pytest.mark.parametrize("suffix", meshes.SUFFIXES)
def test_every_kind_of_file_is_read_back_with_as_many_faces(ball, tmp_path, suffix):
    path = tmp_path / f"ball{suffix}"
    _, num_faces = meshes.write_mesh(ball, 0, path, 16)
    assert len(trimesh.load_mesh(path, process=False).faces) == num_faces


@pytest.mark.parametrize("points", [1, 24 * 24 * 2, 24 * 24 * 5])
def test_slabs_have_the_surface_of_the_whole_and_no_seams(monkeypatch, points):
    march = pytest.importorskip("skimage.measure").marching_cubes
    values = np.pad(np.random.default_rng(0).normal(size=(22, 22, 22)).astype(np.float32), 1, constant_values=-3)
    whole, whole_faces = marching_cubes.marching_cubes(march, values, 0.5)
    monkeypatch.setattr(marching_cubes, "SLAB_POINTS", points)
    vertices, faces = marching_cubes.marching_cubes(march, values, 0.5)
    assert (len(vertices), len(faces)) == (len(whole), len(whole_faces))
    order = np.lexsort(np.round(vertices, 3).T), np.lexsort(np.round(whole, 3).T)
    np.testing.assert_allclose(vertices[order[0]], whole[order[1]], atol=1e-5)
    found, expected = (trimesh.Trimesh(*mesh, process=False) for mesh in ((vertices, faces), (whole, whole_faces)))
    assert found.is_watertight == expected.is_watertight
    assert found.volume == pytest.approx(expected.volume, rel=1e-5)


def test_slabs_without_a_surface_are_passed_over(monkeypatch):
    march = pytest.importorskip("skimage.measure").marching_cubes
    monkeypatch.setattr(marching_cubes, "SLAB_POINTS", 1)
    values = np.zeros((30, 8, 8), np.float32)
    values[10:12, 3:5, 3:5] = values[20:22, 3:5, 3:5] = 1
    mesh = trimesh.Trimesh(*marching_cubes.marching_cubes(march, values, 0.5), process=False)
    assert mesh.is_watertight
    assert mesh.body_count == 2


def test_what_encloses_nothing_or_has_no_such_channel_is_refused(ball, tmp_path):
    with pytest.raises(ConfigError, match="found channels"):
        meshes.surface(ball, 0, channel="density")
    with pytest.raises(ConfigError, match=r"\.ply"):
        meshes.write_mesh(ball, 0, tmp_path / "ball.stl")
    write_store(tmp_path / "flat.functa")
    with pytest.raises(ConfigError, match="enclose nothing"):
        meshes.surface(open_functaset(tmp_path / "flat.functa"), 0)


def test_more_points_than_memory_holds_are_refused_before_work_starts(ball):
    with pytest.raises(GridError, match="GiB"):
        meshes.surface(ball, 0, 20000)


def run(store, *words):
    return cli.main(["decode", str(store), *map(str, words)])


@pytest.mark.usefixtures("ball")
def test_the_command_writes_one_mesh_or_one_for_each_example(store, tmp_path, capsys):
    assert run(store, "--index", "1", "--mesh", tmp_path / "one.glb", "--resolution", "16", "--json") == 0
    assert '"faces"' in capsys.readouterr().out
    assert run(store, "--index", "0:3", "--out", tmp_path / "shape_{index}.obj") == 0
    assert run(store, "--index", "0:3", "--mesh", tmp_path / "all") == 0  # a folder that it makes
    assert sorted(p.name for p in tmp_path.glob("*.obj")) == ["shape_0.obj", "shape_1.obj", "shape_2.obj"]
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["0.ply", "1.ply", "2.ply"]


@pytest.mark.usefixtures("ball")
def test_an_example_without_a_surface_does_not_keep_the_others_from_being_written(store, tmp_path, capsys):
    (tmp_path / "all").mkdir()
    words = ["--index", "3,0:3", "--mesh", tmp_path / "all"]
    assert run(store, *words) == 0
    assert "without a surface: 3" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == ["0.ply", "1.ply", "2.ply"]
    assert run(store, *words, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["without_surface"] == [3]
    assert len(facts["files"]) == len(facts["faces"]) == 3


@pytest.mark.usefixtures("ball")
def test_no_folder_is_left_where_no_example_has_a_surface(store, tmp_path):
    out = tmp_path / "out"
    (out / "there").mkdir(parents=True)
    for name in ("new", "there"):
        assert run(store, "--index", "3", "--mesh", out / name) == 2
    assert [p.name for p in out.iterdir()] == ["there"]


def test_the_usual_level_is_the_middle_of_a_range_and_half_the_light_for_a_scene(ball, monkeypatch):
    assert meshes.usual_level(ball, "occupancy") == 0.5
    size = {"resolution": (32, 32, 32), "image_size": (8, 8), "views": 1, "held_out_views": 0}
    scene = SceneVolume(bound=0.8, near=0.1, far=2.0, density_scale=20.0, **size)
    ranges = ((0.0, 1.0),) * 3 + ((0.0, 10.0),)
    features = FeatureSpec(channels=("red", "green", "blue", "density"), value_ranges=ranges)
    monkeypatch.setattr(Functaset, "domain", scene)
    monkeypatch.setattr(Functaset, "features", features)
    assert meshes.usual_channel(ball) == "density"
    level = meshes.usual_level(ball, "density")
    assert np.exp(-20 * level * 1.6 / 32) == pytest.approx(0.5)
    assert meshes.usual_level(ball, "red") == 0.5


@pytest.mark.usefixtures("ball")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--index", "0:2", "--mesh", "x.ply"], "{id} or {index}"),
        (["--index", "3", "--mesh", "x.ply"], "no surface in the examples (3): no occupancy reaches 0.5"),
        (["--mesh", "x.png"], ".ply"),
        (["--out", "x.png", "--orbit", "8"], "--orbit is for .gif, .mp4"),
        (["--out", "x.ply", "--sample-rate", "8000"], "--sample-rate is for .wav, .flac"),
        (["--out", "x.gif", "--orbit", "0"], "from 1 to 3600"),
        (["--out", "x.gif", "--orbit", "1000000000"], "from 1 to 3600"),
        (["--out", "x.wav", "--sample-rate", "0"], "at least 1"),
        (["--out", "x.wav", "--resolution", "8"], "--resolution is for .png"),
        (["--out", "x.flac", "--region", "0:1"], "--region is for .png"),
        (["--out", "x.png", "--no-clip"], "--no-clip is for .npz"),
        (["--out", "{store}/x.png"], "inside the store"),
        (["--out", "x.gif"], "make no film"),
        (["--out", "x.wav"], "no sound"),
        (["--mesh", "nowhere/x.ply"], "there is no folder"),
        (["--mesh", "nowhere/all/"], "there is no folder"),
        (["--out", "nowhere/x.png"], "there is no folder"),
        (["--out", "s3://bucket/x.png"], "an address"),
        (["--out", "{id}.wav"], "for meshes and --orbit"),
        (["--out", "{index}.png"], "for meshes and --orbit"),
    ],
)
def test_the_command_says_what_does_not_fit(store, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert run(store, *(word.replace("{store}", str(store)) for word in words)) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_solids_are_drawn_as_they_look(store, tmp_path):
    assert run(store, "--index", "0:3", "--out", tmp_path / "sheet.png") == 0
    assert (tmp_path / "sheet.png").stat().st_size > 100


def test_arrays_have_their_positions_and_exactly_the_name_that_was_asked_for(store, tmp_path):
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "some.NPZ"
    assert run(store, "--index", "1", "--region", "0:0.5,0:1,0:1", "--out", out) == 0
    assert [p.name for p in out.parent.iterdir()] == ["some.NPZ"]
    with np.load(out) as arrays:
        assert arrays["values"].shape == (1, *(len(arrays[f"coords/{axis}"]) for axis in "zyx"), 1)
        np.testing.assert_allclose(arrays["coords/z"], (np.arange(6) + 0.5) / 12)


def test_a_modulation_has_the_surface_of_its_example(store):
    shapes = open_functaset(store)
    level = float(np.median(shapes.decode(1, clip=False)))
    expected, found = (meshes.surface(shapes, which, 8, level=level) for which in (1, shapes.modulations[1]))
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    assert len(found.faces) == len(expected.faces) > 0
    with pytest.raises(ConfigError, match="found 2 modulations, expected one"):
        meshes.surface(shapes, shapes.modulations[:2], 8)
