"""The cube that a scene lies in, and what a domain answers of it."""

import dataclasses
import json

import numpy as np
import pytest

from functa_store.config import from_dict, to_dict
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import StoredDomain
from functa_store.domains.scene import SceneVolume
from functa_store.errors import GridError

VOLUME = SceneVolume(
    resolution=(8, 8, 8), bound=0.5, views=3, held_out_views=2, image_size=(4, 6), near=0.8, far=1.8, num_samples=16
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    domain: StoredDomain


def test_a_scene_travels_through_json_inside_a_domain():
    written = json.loads(json.dumps(to_dict(Holder(domain=VOLUME))))
    assert from_dict(Holder, written).domain == VOLUME
    assert hash(from_dict(Holder, written).domain) == hash(VOLUME)


def test_its_grid_is_that_of_cells_over_the_cube():
    cells = CellGrid(axes=("z", "y", "x"), resolution=(8, 8, 8))
    region = [(0.0, 0.5), (0.25, 0.75), (0.0, 1.0)]
    np.testing.assert_array_equal(VOLUME.coords(4, region), cells.coords(4, region))
    np.testing.assert_array_equal(VOLUME.inputs(VOLUME.coords()), cells.coords())
    assert VOLUME.resolve(None, region) == (4, 4, 8)
    assert VOLUME.points(3).shape == (3, 3, 3)
    assert (VOLUME.num_axes, VOLUME.num_inputs, VOLUME.num_points) == (3, 3, 512)
    assert not VOLUME.masked
    assert not VOLUME.missing(VOLUME.coords()).any()
    assert VOLUME.weights is None


def test_a_source_hands_out_all_views_of_it():
    assert VOLUME.observed == (5, 4, 6)
    assert (VOLUME.quantity, VOLUME.head) == ("scene", "radiance")
    assert VOLUME.lengths == (1.0, 1.0, 1.0)
    assert VOLUME.cell_aspect == (1.0, 1.0, 1.0)


def test_positions_outside_the_cube_are_refused():
    VOLUME.check_positions("z", np.array([0.0, 1.0]))
    with pytest.raises(GridError, match="z: found positions outside"):
        VOLUME.check_positions("z", np.array([1.1]))


def test_its_axes_say_what_positions_mean_in_the_world():
    assert "x = 1.0 * position - 0.5" in VOLUME.axis_attributes("x")["comment"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bound": 0.0}, "bound must be from 1e-09 to"),
        ({"bound": float("nan")}, "bound must be from"),
        ({"bound": 1e300}, "bound must be from"),
        ({"density_scale": 0.0}, "density_scale must be from"),
        ({"views": 0}, "views must be a whole number from 1"),
        ({"views": 2**40}, "views must be a whole number from 1"),
        ({"held_out_views": -1}, "held_out_views must be"),
        ({"num_samples": 0}, "num_samples must be"),
        ({"image_size": (4, 0)}, r"image_size\[1\] must be"),
        ({"near": 1.8}, "near < far"),
        ({"near": -0.1}, "near < far"),
        ({"far": float("inf")}, "near < far"),
        ({"resolution": (8, 8, 0)}, "resolution must be"),
    ],
)
def test_what_is_no_scene_is_refused(unchecked, change, words):
    with pytest.raises(GridError, match=words):
        dataclasses.replace(VOLUME, **change)
