"""Views of stored scenes from any camera."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.decode import tiled_decoder as rendering
from functa_store.decode.tiled_decoder import make_renderer
from functa_store.domains.scene import Lens, SceneVolume, camera_rays, orbit
from functa_store.errors import (
    ConfigError,
    ExampleIndexError,
    GridError,
    NoFunctasetError,
    StorageError,
)
from functa_store.media import scene_views as views
from functa_store.media.scene_views import render_view, write_orbit
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.side_arrays import base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.writing.writer import StoreWriter
from tests.decode.stores import write_store

GOLDEN = Path(__file__).parents[1] / "golden/v6_scene.functa"
VOLUME = SceneVolume(
    resolution=(8, 8, 8), bound=0.5, views=2, held_out_views=0, image_size=(8, 8), near=0.8, far=1.8, num_samples=8
)
NETWORK = NetworkConfig(width=8, depth=3, w0=5.0, modulation_dim=4, head="radiance")
POSE = orbit(3, 1.3, 20.0)[0]


@pytest.fixture(scope="module", name="fs")
def _fs(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "scenes.functa"
    rng = np.random.default_rng(0)
    shapes = base_shapes(NETWORK, 3, 4) | {"inner_loop/learning_rate": (3, 4)}
    contents = Contents(
        domain=VOLUME,
        features=FeatureSpec(
            channels=("red", "green", "blue", "density"), value_ranges=((0.0, 1.0),) * 3 + ((0.0, 10.0),)
        ),
        config=ConvertConfig(network=NETWORK, rows_per_shard=4),
        base={name: rng.normal(scale=1.0, size=shape).astype(np.float32) for name, shape in shapes.items()},
        ids=[f"scene{i}" for i in range(4)],
        split=np.array(["train"] * 4),
        labels={},
        provenance={"archive": "random.zip", "cameras": {"radius": 1.3, "elevation": 20.0, "focal": 1.0}},
    )
    with StoreWriter.resume_or_create(path, contents) as writer:
        for shard in writer.missing_shards():
            rows = rng.normal(size=(len(shard), 4)).astype(np.float32)
            writer.write(shard, rows, np.full(len(shard), 0.01, np.float32))
    return functa_store.open(path)


def by_hand(fs, index, num_samples):
    """A view of 5 x 7 pixels through `decode_scattered` of its samples and NeRF's sum, in float64."""
    origins, directions = (a.reshape(-1, 3).astype(np.float64) for a in camera_rays(POSE, 5, 7, Lens(6.0)))
    low, high = ((side - origins) / np.where(directions == 0, 1e-9, directions) for side in (-0.5, 0.5))
    enter = np.clip(np.minimum(low, high).max(-1), 0.8, 1.8)
    leave = np.maximum(np.minimum(np.maximum(low, high).min(-1), 1.8), enter)
    distances = enter[:, None] + (np.arange(num_samples) + 0.5) / num_samples * (leave - enter)[:, None]
    points = origins[:, None] + directions[:, None] * distances[..., None]
    positions = np.clip(points[..., ::-1] + 0.5, 0, 1).astype(np.float32)
    features = (
        fs.decode(index, coords=positions.reshape(-1, 3), clip=False)[0].reshape(*distances.shape, 4).astype(np.float64)
    )
    lengths = VOLUME.density_scale * np.diff(distances, axis=-1, append=leave[:, None])
    alpha = 1 - np.exp(-features[..., 3] * lengths)
    through = np.cumprod(np.c_[np.ones(len(alpha)), 1 - alpha], axis=-1)
    weights = alpha * through[:, :-1]
    colour = (weights[..., None] * features[..., :3]).sum(1) + through[:, -1:]
    depth = (weights * distances).sum(1) + through[:, -1] * 1.8
    return np.clip(colour, 0, 1).reshape(5, 7, 3), depth.reshape(5, 7), 1 - through[:, -1].reshape(5, 7)


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", [8, 20, 3000])
def test_a_view_is_the_decoded_field_summed_along_rays(fs, num_samples):
    seen = render_view(fs, 1, POSE, 5, 7, 6.0, num_samples=num_samples)
    for found, wanted in zip(seen, by_hand(fs, 1, num_samples), strict=True):
        np.testing.assert_allclose(found, wanted, atol=5e-4)  # float32, through densities of up to 100
    assert seen.opacity.max() > 0.1


@pytest.mark.slow
def test_a_larger_view_is_made_of_the_same_tiles(fs, monkeypatch):
    """Rows of a view are those of one that fits into one call."""
    monkeypatch.setattr(rendering, "RAY_TILES_PER_CALL", 2)
    make_renderer.cache_clear()
    large = render_view(fs, 0, POSE, 24, 20, 20.0)
    monkeypatch.undo()
    make_renderer.cache_clear()
    for found, wanted in zip(large, render_view(fs, 0, POSE, 24, 20, 20.0), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_views_of_all_sizes_share_a_compilation(fs):
    make_renderer.cache_clear()
    for size in (3, 9, 70):
        assert render_view(fs, 2, POSE, size, size, float(size)).colour.shape == (size, size, 3)
    assert make_renderer.cache_info().misses == 1


def test_a_store_is_opened_by_its_path(fs, tmp_path):
    seen = render_view(fs.store.path, 1, POSE, 5, 7, 6.0)
    np.testing.assert_array_equal(seen.colour, render_view(fs, 1, POSE, 5, 7, 6.0).colour)
    assert write_orbit(fs.store.path, 0, tmp_path / "around.gif", 2, 8) == (2, 12.0)
    with pytest.raises(NoFunctasetError):
        render_view(tmp_path / "none.functa", 1, POSE, 5, 7, 6.0)


def test_an_orbit_is_an_animation(fs, tmp_path):
    path = tmp_path / "around.gif"
    assert write_orbit(fs, 0, path, 5, 16) == (5, 12.0)
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (5, (16, 16), 0)
    write_orbit(fs, 0, path, 2)
    with Image.open(path) as film:
        assert film.size == (8, 8)


@pytest.mark.slow
def test_an_orbit_is_a_film(fs, tmp_path):
    iio = pytest.importorskip("imageio.v3")
    pytest.importorskip("av")
    write_orbit(fs, 0, tmp_path / "around.mp4", 6, 16)
    assert iio.imread(tmp_path / "around.mp4", plugin="pyav").shape == (6, 16, 16, 3)


def test_a_functaset_of_images_cannot_be_looked_at(tmp_path):
    write_store(tmp_path / "images.functa")
    images = functa_store.open(tmp_path / "images.functa")
    with pytest.raises(ConfigError, match=r"holds examples over \('y', 'x'\), expected scenes"):
        render_view(images, 0, POSE, 4, 4, 4.0)
    with pytest.raises(ConfigError, match="expected scenes"):
        write_orbit(images, 0, tmp_path / "x.gif", 2)


def test_what_cannot_be_rendered_is_refused(fs, tmp_path):
    with pytest.raises(ExampleIndexError, match="does not exist"):
        render_view(fs, 9, POSE, 4, 4, 4.0)
    with pytest.raises(GridError, match="finite"):
        render_view(fs, 0, POSE * np.nan, 4, 4, 4.0)
    with pytest.raises(ConfigError, match="focal"):
        render_view(fs, 0, POSE, 4, 4, 0.0)
    with pytest.raises(ConfigError, match="frames"):
        write_orbit(fs, 0, tmp_path / "x.gif", 0)
    with pytest.raises(ConfigError, match=r"ends in .gif or .mp4"):
        write_orbit(fs, 0, tmp_path / "x.png", 2)
    with pytest.raises(ConfigError, match="num_samples must be a whole number of at least 1"):
        render_view(fs, 0, POSE, 4, 4, 4.0, num_samples=0)
    with pytest.raises(GridError, match="num_samples must be a whole number from 1 to 65536"):
        render_view(fs, 0, POSE, 4, 4, 4.0, num_samples=10**6)
    with pytest.raises(GridError, match="this process may take"):
        render_view(fs, 0, POSE, 10**6, 10**6, 4.0)
    with pytest.raises(GridError, match="this process may take"):
        write_orbit(fs, 0, tmp_path / "x.gif", 10**12)
    with pytest.raises(ConfigError, match="too large, expected at most 65535"):
        write_orbit(fs, 0, tmp_path / "x.gif", 2, 10**9)
    with pytest.raises(ConfigError, match="even number of rows and columns, got 15 x 15"):
        write_orbit(fs, 0, tmp_path / "x.mp4", 2, 15)
    with pytest.raises(StorageError, match="cannot be written"):
        write_orbit(fs, 0, tmp_path / "nowhere" / "x.gif", 2)


@pytest.mark.parametrize(
    "said", [None, 3, {}, {"radius": -1, "elevation": 500, "focal": "x"}, {"radius": float("nan")}]
)
def test_an_orbit_needs_nothing_from_the_archive_and_believes_nothing_absurd(said):
    found = views._cameras({"cameras": said}, VOLUME)
    assert found == {"radius": 1.3, "elevation": 30.0, "focal": 1.3}


def test_the_decoder_of_rays_sees_what_a_view_shows_and_has_a_gradient():
    scenes = functa_store.open(GOLDEN)
    pose, rows = functa_store.orbit(3, 1.2, 30.0)[1], np.array(scenes.modulations[:2])
    origins, directions = (part.reshape(1, -1, 3).repeat(2, 0) for part in camera_rays(pose, 4, 5, Lens(6.0)))
    colours = scenes.ray_decoder(scenes.base, rows, origins, directions)
    for row, found in zip(rows, colours, strict=True):
        expected = functa_store.render_view(scenes, row, pose, 4, 5, 6.0).colour
        np.testing.assert_allclose(np.clip(found, 0, 1).reshape(4, 5, 3), expected, atol=1e-5)
    gradient = jax.grad(lambda rows: scenes.ray_decoder(scenes.base, rows, origins, directions)[0].sum())(rows)
    assert np.abs(gradient[0]).max() > 0
    np.testing.assert_array_equal(gradient[1], 0)
    with pytest.raises(functa_store.ConfigError, match="expected scenes, through which rays go"):
        _ = functa_store.open(GOLDEN.with_name("v6.functa")).ray_decoder
