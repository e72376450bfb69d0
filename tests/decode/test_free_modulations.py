"""Modulations that are in no store decode as those in it do."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import functa_store
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import GridPoints
from functa_store.errors import ConfigError, GridError
from functa_store.loaders import Normalization
from tests.decode.stores import write_store

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module", name="fs")
def _fs(tmp_path_factory) -> Functaset:
    path = tmp_path_factory.mktemp("stores") / "small.functa"
    write_store(path)
    return functa_store.open(path)


WHERE = {
    "as it was": {},
    "resolution": {"resolution": 5, "clip": False},
    "region": {"resolution": (40, 30), "region": ((0.25, 0.75), (0.0, 0.5))},
    "points": {"coords": [[0.1, 0.2], [0.5, 0.5]]},
    "a grid": {"coords": GridPoints([np.array([0.9, 0.1]), np.array([0.3, 0.4, 0.5])]), "clip": False},
}


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
def test_modulations_of_a_store_decode_as_their_examples(fs, where):
    free = fs.modulations[:]
    np.testing.assert_array_equal(fs.decode_modulations(free, **where), fs.decode(slice(None), **where))
    np.testing.assert_array_equal(fs.decode_modulations(free[3], **where), fs.decode(3, **where))


@pytest.mark.parametrize("name", ["v7", "v7_scene", "v7_sphere", "v7_spatial", "v7_spatial_sphere"])
def test_modulations_of_every_kind_decode_as_their_examples(name):
    functaset = functa_store.open(GOLDEN / f"{name}.functa", cache_bytes=0)
    free = np.array(functaset.modulations[:2])
    np.testing.assert_array_equal(functaset.decode_modulations(free), functaset.decode(slice(0, 2)))


def test_edited_modulations_decode_to_what_the_network_gives(fs):
    free = (fs.modulations[:3] * 0.5 + 0.1).astype(np.float64)
    expected = fs.decoder(fs.base, free.astype(np.float32), fs.domain.coords()).reshape(3, 8, 6, 3)
    np.testing.assert_allclose(fs.decode_modulations(free, clip=False), expected, atol=1e-6)
    np.testing.assert_array_equal(fs.decode_modulations(free), fs.decode_modulations(free, clip=False).clip(0, 1))


def test_normalised_modulations_are_taken_back(fs):
    normalization = Normalization.of_all(fs)
    free = normalization.apply(fs.modulations[:])
    assert np.abs(free.mean(axis=0)).max() < 1e-5
    found = fs.decode_modulations(free, 4, clip=False, normalization=normalization)
    np.testing.assert_allclose(found, fs.decode(slice(None), 4, clip=False), atol=1e-5)


def test_grids_of_equal_modulations_are_evaluated_once(tmp_path):
    write_store(tmp_path / "small.functa")
    functaset = functa_store.open(tmp_path / "small.functa")
    free = np.array(functaset.modulations[[0, 1, 0, 2]])
    first, asked = functaset.decode_modulations(free), functaset.tiled_decoder.points_asked
    assert asked == 3 * 48
    free[3] += 1
    again = functaset.decode_modulations(free)
    assert functaset.tiled_decoder.points_asked == asked + 48
    np.testing.assert_array_equal(again[:3], first[:3])
    assert np.abs(again[3] - first[3]).max() > 1e-3


WRONG = [
    (np.zeros((2, 5)), {}, ConfigError, r"shape \(2, 5\).*\(examples, 4\)"),
    (np.zeros((2, 2, 4)), {}, ConfigError, r"shape \(2, 2, 4\)"),
    (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), {}, ConfigError, "modulation 1 is not finite"),
    (np.full(4, 1e300), {}, ConfigError, "not finite in float32"),
    (np.array(["a"] * 4), {}, ConfigError, "expected numbers"),
    ([[0.0], [0.0, 1.0]], {}, ConfigError, "cannot be read as an array"),
    (np.zeros(4), {"resolution": 0}, GridError, "resolution"),
    (np.zeros(4), {"coords": [[0.0, 0.0]], "resolution": 3}, GridError, "not both"),
    (np.zeros(4), {"normalization": True}, ConfigError, r"normalization=True.*Normalization.of_all\(functaset\)"),
]


@pytest.mark.parametrize(("free", "where", "error", "words"), WRONG)
def test_what_is_no_modulation_of_the_base_is_refused(fs, unchecked, free, where, error, words):
    with pytest.raises(error, match=words):
        fs.decode_modulations(free, **where)


def test_modulations_of_models_in_bfloat16_decode_as_what_they_are(fs, unchecked):
    """NumPy has no such numbers, and those of models in mixed precision are such."""
    torch = pytest.importorskip("torch")
    free = jnp.asarray(fs.modulations[:2], jnp.bfloat16)
    expected = fs.decode_modulations(np.asarray(free, np.float32))
    tensors = torch.tensor(fs.modulations[:2]).bfloat16()
    for given in (free, tensors):
        np.testing.assert_array_equal(fs.decode_modulations(given), expected)
        assert functa_store.pictures(fs, given)[0].size == (6, 8)


def test_tensors_of_a_gradient_are_refused_with_the_way_out(fs, unchecked):
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(2, 4, requires_grad=True)
    with pytest.raises(ConfigError, match=r"tensor\.detach\(\)"):
        fs.decode_modulations(tensor)
    with pytest.raises(GridError, match=r"tensor\.detach\(\)"):
        fs.decode(0, coords=tensor[:, :2])


def test_no_modulations_decode_to_no_values(fs):
    assert fs.decode_modulations(np.zeros((0, 4))).shape == (0, 8, 6, 3)


def test_a_scene_is_seen_from_a_modulation_as_from_its_example():
    scenes = functa_store.open(GOLDEN / "v7_scene.functa")
    pose, free = functa_store.orbit(1, 1.5, 30.0)[0], np.array(scenes.modulations[1])
    expected, found = (functa_store.render_view(scenes, which, pose, 4, 4, 4.0) for which in (1, free))
    np.testing.assert_array_equal(found.colour, expected.colour)
    assert np.ptp(found.colour) > 0
    with pytest.raises(ConfigError, match="found 2 modulations, expected one"):
        functa_store.render_view(scenes, np.array(scenes.modulations[:2]), pose, 4, 4, 4.0)
