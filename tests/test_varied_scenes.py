"""Variants of scenes: rays of stretched, mirrored and recoloured ones, and the functaset that is learned of them."""

import dataclasses
import zipfile

import numpy as np
import pytest

import functa_store
from converters.scenes import srn
from converters.scenes.srn import open_srn
from examples import varied_scenes
from examples.varied_scenes import Variant, VariedScenes
from tests.converters.scenes import rendered

BOUND, NEAR, FAR = 0.85, 2.0, 6.0


@pytest.fixture(name="archive")
def _archive(tmp_path):
    """Five training scenes and a held-out one, each turned in another way."""
    path = tmp_path / "scenes.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(6):
            folder = f"things_{'test' if number == 5 else 'train'}/{number}"
            for name, content in rendered.as_srn(rendered.scene(10, 50.0 * number), folder).items():
                file.writestr(name, content)
    return path


def opened(archive):
    return open_srn(archive, resolution=12, bound=BOUND, near=NEAR, far=FAR, num_samples=8)


def rays_at(centre, radius, colour, eyes):
    """Rays from some places to random ones around a sphere, and white where they miss it."""
    aims = np.random.default_rng(0).uniform(-1, 1, (*eyes.shape[:-1], 3))
    directions = (aims - eyes) / np.linalg.norm(aims - eyes, axis=-1, keepdims=True)
    along = np.sum((centre - eyes) * directions, axis=-1)
    hit = np.sum((eyes - centre) ** 2, axis=-1) - along**2 < radius**2
    return np.concatenate([eyes, directions, np.where(hit[:, None], colour, 1.0)], axis=-1).astype(np.float32)


def test_rays_of_a_stretched_sphere_hit_an_ellipsoid():
    centre, radius, factors = np.array([0.3, -0.1, 0.2]), 0.4, np.array([-1.25, 0.8, 1.1])
    eyes = np.random.default_rng(1).normal(size=(500, 3))
    eyes *= 3 / np.linalg.norm(eyes, axis=-1, keepdims=True)
    rays = Variant(factors, np.arange(3), np.ones(3))(rays_at(centre, radius, (0.5, 0.2, 0.1), eyes), 4.0)
    origins, directions = rays[:, :3].astype(np.float64), rays[:, 3:6].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(np.sum(origins * directions, axis=-1), -4, atol=1e-5)
    scaled = (origins - factors * centre) / factors, directions / factors  # in units in which it is a unit sphere
    b, a = np.sum(scaled[0] * scaled[1], axis=-1), np.sum(scaled[1] ** 2, axis=-1)
    depth = b**2 - a * (np.sum(scaled[0] ** 2, axis=-1) - radius**2)
    clear = np.abs(depth) > 1e-3
    hit = rays[:, 6] < 0.9
    assert 50 < hit.sum() < 450
    np.testing.assert_array_equal(hit[clear], (depth > 0)[clear])


def test_colours_change_alike_and_white_stays():
    rays = np.zeros((3, 9), np.float32)
    rays[:, 3], rays[:, 6:] = 1, [[0.25, 0.5, 1], [1, 1, 1], [np.nan] * 3]
    found = Variant(np.ones(3), np.array([1, 2, 0]), np.array([1.0, 1.0, 0.5]))(rays, 1.0)[:, 6:]
    np.testing.assert_allclose(found, [[0.5, 1, 0.5], [1, 1, 1], [np.nan] * 3], atol=1e-6)


def test_variants_follow_the_scenes_and_stay_within_the_cube(archive):
    source = opened(archive)
    varied = VariedScenes(source, 3, num_validation=2)
    again = VariedScenes(opened(archive), 3, num_validation=2)
    assert varied.ids == again.ids
    assert len(varied.ids) == 6 + 3 * 3
    assert list(source.split) == ["test", *["train"] * 5]
    assert list(varied.split[:6]).count("validation") == 2
    assert varied.split[0] == "test"
    assert set(varied.split[6:]) == {"train"}
    originals = {name for name, split in zip(source.ids, varied.split[:6], strict=True) if split == "train"}
    assert {name.rpartition("~")[0] for name in varied.ids[6:]} == originals
    np.testing.assert_array_equal(varied.read(2), source.read(2))
    np.testing.assert_array_equal(varied.read(8), again.read(8))
    assert not np.array_equal(varied.read(8), varied.read(9), equal_nan=True)
    for row in range(6, len(varied.ids)):
        rays = varied.read(row).reshape(-1, 9)
        coloured = rays[(rays[:, 6:] < varied_scenes.WHITE).any(axis=-1)]
        cut = [_crosses(ray, BOUND) for ray in coloured]
        assert all(cut), f"{varied.ids[row]}: a ray of some colour misses the cube"


def _crosses(ray, bound):
    with np.errstate(divide="ignore"):
        ends = np.sort(np.stack([(side * bound - ray[:3]) / ray[3:6] for side in (-1, 1)]), axis=0)
    return ends[0].max() < ends[1].min()


def test_a_scene_reaches_as_far_as_it_is_coloured(archive):
    """Scene 0, the second of the archive, stands as it was traced; the others are turned."""
    varied = VariedScenes(opened(archive), 0)
    extent = varied._extent(1) * BOUND
    low, high = (np.array(part) for part in rendered.BOX[:2])
    centres, radii = (np.array([sphere[k] for sphere in rendered.SPHERES]) for k in (0, 1))
    true = np.maximum(np.maximum(-low, high), (np.abs(centres) + radii[:, None]).max(axis=0))
    assert (extent > true - 0.15).all(), (extent, true)
    assert (extent < true + 0.5).all(), (extent, true)  # ten views, and cells of 0.2


def test_too_many_scenes_for_validation_are_refused(archive):
    with pytest.raises(functa_store.ConfigError, match=r"found 5 training scenes, expected more than the 5"):
        VariedScenes(opened(archive), 1, num_validation=5)


@pytest.mark.slow
def test_an_archive_becomes_a_functaset_with_its_variants(archive, tmp_path, monkeypatch, capsys):
    preset = srn.SRN_PRESETS["scenes-fast"]
    network = dataclasses.replace(preset.config.network, width=8, depth=3, modulation_dim=4)
    outer = dataclasses.replace(preset.config.outer, num_points=16, num_monitored=2, monitor_every=2)
    tiny = dataclasses.replace(preset, config=dataclasses.replace(preset.config, network=network, outer=outer))
    monkeypatch.setitem(varied_scenes.SRN_PRESETS, "scenes-fast", tiny)
    monkeypatch.setattr(varied_scenes, "TUNING_STEPS", 0)
    argv = ["--archive", str(archive), "--store", str(tmp_path / "varied.functa"), "--variants", "2"]
    found = varied_scenes.run([*argv, "--validation", "1", "--resolution", "6", "--steps", "2"])
    assert len(found) == 6 + 2 * 4
    assert "2 of 2 outer steps" in capsys.readouterr().out
    assert [str(found.split[row]) for row in (0, 6)] == ["test", "train"]
    source = functa_store.reopen_archive(found, archive)  # whose scenes it has, as `examples.infer` finds them
    assert [str(name) for name in found.ids[:6]] == list(source.ids)
    with pytest.raises(SystemExit):
        varied_scenes.run(["--archive", str(tmp_path / "none.zip"), "--store", str(tmp_path / "other.functa")])
    assert "none.zip" in capsys.readouterr().err
