"""New arrays get the modulations that a conversion gives them; what was seen of others says the rest."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import functa_store
from functa_store.domains.cells import CellGrid, GridPoints
from functa_store.domains.scene import Lens, SceneVolume, camera_rays, orbit
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ConfigError, GridError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from tests.conversion.fitted import NETWORKS, blends, fitted

COUNT = 11
PICTURES = blends(COUNT)
SPEC = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)

KINDS = [pytest.param(kind, marks=() if kind == "latent" else pytest.mark.slow) for kind in NETWORKS]


@pytest.fixture(scope="module", name="stores")
def _stores(tmp_path_factory):
    """A functaset of pictures for each kind of modulation, made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("stores"), {}

    def of(kind):
        if kind not in made:
            source = ArraySource(PICTURES, features=SPEC)
            made[kind] = fitted(folder / f"{kind}.functa", source, NETWORKS[kind])
        return made[kind]

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_get_the_modulations_of_their_conversion_bit_for_bit(stores, kind):
    functaset = stores(kind)
    found = functaset.encode(PICTURES)
    np.testing.assert_array_equal(found.modulations, functaset.modulations[:])
    np.testing.assert_array_equal(found.mse, functaset.mse[:])
    np.testing.assert_array_equal(found.psnr, functaset.psnr)
    for one in (0, 7, COUNT - 1):
        alone = functaset.encode(PICTURES[one])
        np.testing.assert_array_equal(alone.modulations, functaset.modulations[one : one + 1])
        np.testing.assert_array_equal(alone.mse, functaset.mse[one : one + 1])


def error(functaset, modulations):
    """Mean squared error of what is decoded."""
    decoded = functaset.decode_modulations(modulations, clip=False)
    return ((decoded - PICTURES / 255) ** 2).mean()


def test_values_as_they_are_decoded_are_those_of_bytes(stores):
    functaset = stores("latent")
    found = functaset.encode((PICTURES / 255).astype(np.float32)).modulations
    np.testing.assert_allclose(found, functaset.modulations[:], rtol=1e-5, atol=1e-6)


def test_values_in_bfloat16_are_encoded_as_what_they_are_and_tensors_of_a_gradient_refused(stores):
    torch, functaset = pytest.importorskip("torch"), stores("latent")
    tensors = torch.tensor(PICTURES / 255).bfloat16()
    expected = functaset.encode(tensors.float().numpy()).modulations
    np.testing.assert_array_equal(functaset.encode(tensors).modulations, expected)
    with pytest.raises(ConfigError, match=r"tensor\.detach\(\).*give an array of numbers"):
        functaset.encode(tensors.float().requires_grad_())


@pytest.mark.slow
def test_values_of_scaled_arrays_are_encoded_as_they_were_converted(tmp_path):
    kelvin = 250 + 50 * np.random.default_rng(0).random((6, 12, 2)).astype(np.float32)
    functaset = fitted(tmp_path / "k.functa", ArraySource(kelvin, channels=("t", "u"), units=("K", "m")))
    found = functaset.encode(kelvin)
    np.testing.assert_array_equal(found.modulations, functaset.modulations[:])
    np.testing.assert_array_equal(found.metrics["rmse_t"], functaset.metrics["rmse_t"][:])
    assert 0 < found.metrics["rmse_t"][0] < 50


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_all_points_by_themselves_say_what_the_array_says(stores, kind):
    """The steps see all points, where a conversion's see strides: the fits differ, but not in quality."""
    functaset = stores(kind)
    coords = functaset.domain.coords()
    found = functaset.encode(PICTURES.reshape(COUNT, -1, 3), coords=coords)
    assert found.mse == pytest.approx(functaset.mse[:], rel=0.1)
    assert error(functaset, found.modulations) == pytest.approx(float(found.mse.mean()), rel=1e-3)
    order = np.random.default_rng(0).permutation(len(coords))
    again = functaset.encode((PICTURES / 255).reshape(COUNT, -1, 3)[:, order], coords=coords[order])
    np.testing.assert_allclose(again.modulations, found.modulations, atol=2e-3 * np.abs(found.modulations).max())


PARTS = {
    "some pixels": {"mask": np.random.default_rng(1).random((12, 10)) < 0.4},
    "every other row": {"mask": np.broadcast_to(np.arange(12)[:, None] % 2 == 0, (12, 10))},
    "one channel each": {"mask": np.random.default_rng(1).integers(0, 3, (12, 10, 1)) == np.arange(3)},
    "low resolution": {},
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", KINDS)
def test_parts_say_nearly_as_much_as_wholes_and_are_all_that_is_looked_at(stores, kind, part):
    functaset, options = stores(kind), PARTS[part]
    if part == "low resolution":
        given = hidden = PICTURES.reshape(COUNT, 6, 2, 5, 2, 3).mean(axis=(2, 4)) / 255
    else:
        seen = options["mask"] if options["mask"].ndim == 3 else options["mask"][..., None]
        given = PICTURES / 255
        hidden = np.where(seen, given, 1 - given)
    found = functaset.encode(given, **options)
    np.testing.assert_array_equal(functaset.encode(hidden, **options).modulations, found.modulations)
    nothing = error(functaset, np.zeros_like(found.modulations))
    whole = error(functaset, functaset.modulations[:])
    assert whole < 0.8 * nothing
    assert error(functaset, found.modulations) < whole + 0.25 * (nothing - whole)
    if part != "low resolution":
        missing = np.where(seen, given, np.nan)
        np.testing.assert_array_equal(functaset.encode(missing).modulations, found.modulations)
        decoded = functaset.decode_modulations(found.modulations, clip=False)
        cells = (2, 6, 2, 5, 3) if kind == "spatial" else (1, 12, 1, 10, 3)  # each counts the same
        squares = np.where(seen, (decoded - given) ** 2, 0).reshape(COUNT, *cells).sum(axis=(2, 4, 5))
        numbers = np.broadcast_to(seen, (12, 10, 3)).reshape(cells).sum(axis=(1, 3, 4))
        np.testing.assert_allclose(found.mse, (squares / numbers).mean(axis=(1, 2)), rtol=1e-4)


@pytest.mark.slow
def test_cells_of_which_nothing_was_seen_stay_as_they_start(tmp_path):
    network = dataclasses.replace(NETWORKS["spatial"], map_kernel=1)
    functaset = fitted(tmp_path / "grid.functa", ArraySource(PICTURES, features=SPEC), network)
    mask = np.zeros((12, 10), bool)
    mask[:6] = True
    found = functaset.encode(PICTURES, mask=mask)
    np.testing.assert_array_equal(found.modulations[:, 1], np.zeros((COUNT, 2, 4)))
    assert np.abs(found.modulations[:, 0]).min() > 0
    decoded = functaset.decode_modulations(found.modulations, clip=False)[:, :6]
    np.testing.assert_allclose(found.mse, ((decoded - PICTURES[:, :6] / 255) ** 2).mean(axis=(1, 2, 3)), rtol=1e-4)


def test_where_nothing_was_seen_the_error_is_unknown(stores):
    mask = np.ones((2, 12, 10), bool)
    mask[1] = False
    found = stores("latent").encode(PICTURES[:2], mask=mask)
    assert np.isfinite(found.mse[0])
    assert np.isnan(found.mse[1])
    assert np.isnan(found.psnr[1])
    np.testing.assert_array_equal(found.modulations[1], np.zeros(6))


@pytest.mark.slow
def test_missing_values_of_an_archive_that_has_some_are_its_own(tmp_path):
    values = np.random.default_rng(0).random((6, 12, 10, 1)).astype(np.float32)
    values[:, :3, :4] = np.nan
    functaset = fitted(tmp_path / "m.functa", ArraySource(values, missing=True))
    np.testing.assert_array_equal(functaset.encode(values).modulations, functaset.modulations[:])
    np.testing.assert_array_equal(functaset.encode(values).mse, functaset.mse[:])
    mask = ~np.isnan(values[0, ..., 0])
    filled = functaset.encode(np.nan_to_num(values, nan=0.5), mask=mask)
    np.testing.assert_array_equal(filled.modulations, functaset.modulations[:])


@pytest.mark.slow
def test_points_on_a_grid_of_ones_own(stores):
    functaset = stores("latent")
    uneven = GridPoints([np.array([0.1, 0.3, 0.9]), np.array([0.2, 0.8])])
    values = functaset.decode(slice(0, 3), coords=uneven)
    found = functaset.encode(values, coords=uneven)
    flat = functaset.encode(values.reshape(3, 6, 3), coords=uneven[np.arange(6)])
    np.testing.assert_array_equal(found.modulations, flat.modulations)


def sphere(tmp_path):
    latitudes, longitudes = np.linspace(90, -90, 7), np.arange(0, 360, 30.0)
    domain = SphereGrid.around(latitudes, longitudes, area_weighting=True)
    values = np.sin(np.radians(latitudes))[:, None, None] * np.random.default_rng(0).random((5, 1, 1, 1)) / 2 + 0.5
    values = np.broadcast_to(values, (5, 7, 12, 1)).astype(np.float32)
    features = FeatureSpec(channels=("t",))
    return fitted(tmp_path / "s.functa", ArraySource(values, domain=domain, features=features)), values


@pytest.mark.slow
def test_points_of_a_grid_on_the_globe_count_by_their_area(tmp_path):
    functaset, values = sphere(tmp_path)
    np.testing.assert_array_equal(functaset.encode(values).modulations, functaset.modulations[:])
    coarse = np.broadcast_to(values.mean(axis=2, keepdims=True), (5, 7, 4, 1))
    found = functaset.encode(coarse)
    decoded = functaset.decode_modulations(found.modulations, (7, 4), clip=False)
    weights = np.cos(np.radians(functaset.domain.axis_coords((7, 4))[0]))[:, None, None]
    squares = ((decoded - coarse) ** 2 * weights).sum(axis=(1, 2, 3)) / (4 * weights.sum())
    np.testing.assert_allclose(found.mse, squares, rtol=1e-3)


class Scenes:
    """Two views of a ball of another colour in each example, and none to measure on."""

    def __init__(self):
        self.domain = SceneVolume(
            resolution=(8, 8, 8), bound=0.5, views=2, held_out_views=0, image_size=(6, 6), near=0.8, far=2.2,
            num_samples=4,
        )  # fmt: skip
        self.features = FeatureSpec(channels=("red", "green", "blue", "density"), data_range=(0.0, 1.0))
        self.ids, self.labels, self.rejects = ["0", "1", "2"], {}, []
        self.split = np.array(["train"] * 3)
        self.provenance = {"archive": "scenes", "sha256": ""}
        self.poses, self.lens = orbit(2, 1.5, 30.0), Lens(6.0)
        self.colours = np.random.default_rng(0).random((3, 2, 6, 6, 3)).astype(np.float32) * 0.2 + 0.4

    def read(self, index):
        rays = [np.concatenate(camera_rays(pose, 6, 6, self.lens), axis=-1) for pose in self.poses]
        return np.concatenate([np.stack(rays), self.colours[index]], axis=-1).astype(np.float32)


@pytest.mark.slow
def test_views_of_scenes_are_encoded_with_their_cameras(tmp_path):
    scenes = Scenes()
    network = dataclasses.replace(NETWORKS["latent"], head="radiance")
    functaset = fitted(tmp_path / "scenes.functa", scenes, network)
    both = functaset.encode(scenes.colours, poses=scenes.poses, focal=6.0)
    np.testing.assert_array_equal(both.modulations, functaset.modulations[:])
    raw = functaset.encode(np.stack([scenes.read(k) for k in range(3)]))
    np.testing.assert_array_equal(raw.modulations, functaset.modulations[:])

    one = functaset.encode(scenes.colours[0, :1], poses=scenes.poses[:1], focal=6.0)
    assert one.modulations.shape == (1, 6)
    seen = functa_store.render_view(functaset, one.modulations[0], scenes.poses[0], 6, 6, 6.0, num_samples=4)
    assert one.mse[0] == pytest.approx(float(((seen.colour - scenes.colours[0, 0]) ** 2).mean()), rel=0.02)
    hidden = scenes.read(0)[None].copy()
    hidden[:, 1, ..., 6:] = np.nan
    np.testing.assert_allclose(functaset.encode(hidden).modulations, one.modulations, rtol=1e-3, atol=1e-5)
    with pytest.raises(ConfigError, match="poses and focal go together"):
        functaset.encode(scenes.colours, poses=scenes.poses)
    with pytest.raises(ConfigError, match=r"expected \(2, 4, 4\)"):
        functaset.encode(scenes.colours, poses=scenes.poses[:1], focal=6.0)


WRONG = [
    (PICTURES[..., :2], {}, ConfigError, r"expected \(y, x, 3\)"),
    (PICTURES[0, 0, 0], {}, ConfigError, r"shape \(3,\)"),
    (PICTURES.astype(np.float32), {}, ConfigError, "values from 1 to 254.*bytes as uint8"),
    (np.full((12, 10, 3), np.inf), {}, ConfigError, "far from those of the data"),
    (np.array([["a"]]), {}, ConfigError, "expected numbers"),
    (PICTURES, {"mask": np.ones((12, 9), bool)}, ConfigError, r"mask of bool and shape \(12, 9\)"),
    (PICTURES, {"mask": np.ones((12, 10))}, ConfigError, "expected booleans"),
    (PICTURES[0], {"coords": [[0.5, 0.5]]}, ConfigError, r"expected \(points, 3\)"),
    (PICTURES[0, 0], {"coords": [[0.5, 0.5]]}, GridError, r"values of shape \(10,\) at points of shape \(1,\)"),
    (PICTURES[0, 0, :1], {"coords": [[0.5, 1.5]]}, GridError, "outside"),
    (PICTURES, {"poses": np.eye(4)[None], "focal": 1.0}, ConfigError, "for scenes"),
]


@pytest.mark.parametrize(("values", "options", "kind", "words"), WRONG)
def test_what_is_no_example_is_refused(stores, unchecked, values, options, kind, words):
    if options.get("coords") and values.ndim == 3:
        values = values[None, None]
    with pytest.raises(kind, match=words):
        stores("latent").encode(values, **options)


@pytest.mark.slow
def test_an_older_store_and_one_of_deepmind_encode_what_they_decode():
    for name in ("v1", "v7_spatial"):
        functaset = functa_store.open(Path(__file__).parents[1] / f"golden/{name}.functa")
        decoded = functaset.decode(slice(0, 2))
        found = functaset.encode(decoded)
        assert found.modulations.shape == functaset.modulations[:2].shape
        assert np.isfinite(found.mse).all()


@pytest.mark.slow
def test_sound_of_any_rate_is_encoded(tmp_path):
    domain = CellGrid(axes=("t",), resolution=(64,), lengths=(0.5,), units=("s",))
    t = (np.arange(64) + 0.5) / 64
    waves = np.sin(2 * np.pi * np.arange(1, 5)[:, None] * t)[..., None].astype(np.float32) * 0.5
    twice, less = (2.0,), (-1.0,)
    features = FeatureSpec(channels=("mono",), scale=0.5, offset=0.5, value_scale=twice, value_offset=less)
    functaset = fitted(tmp_path / "sound.functa", ArraySource(waves, domain=domain, features=features))
    np.testing.assert_allclose(functaset.encode(waves).modulations, functaset.modulations[:], rtol=1e-5, atol=1e-6)
    assert functaset.encode(waves[:, ::2]).modulations.shape == (4, 6)
