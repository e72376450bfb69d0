"""Pictures of planes and of the sphere, of functasets whose values are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from functa_store.cli.decode_writers import Request, pictures_of
from functa_store.domains.cells import CellGrid
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ConfigError, GridError
from functa_store.sources.features import FeatureSpec

WINDS = FeatureSpec(channels=("u", "z"), value_ranges=((-90.0, 90.0), (0.0, 360.0)))
LATITUDES, LONGITUDES = tuple(np.linspace(-80.0, 80.0, 9)), tuple(np.arange(0.0, 360.0, 20.0))


def request(domain, features, values=None, index=(0,), **options):
    """Of a functaset that decodes to some values, or on the sphere to latitude and longitude."""

    def decode(index, resolution, region, clip):
        found = np.stack(np.meshgrid(*domain.axis_coords(resolution, region), indexing="ij"), axis=-1)
        return np.stack([found if values is None else values] * len(index))

    functaset = SimpleNamespace(
        domain=domain, features=features, decode=decode, store=SimpleNamespace(path="x.functa"), ids=["a"]
    )
    return Request(functaset=functaset, index=list(index), out=Path("x.png"), **options)


@pytest.mark.parametrize("latitudes", [LATITUDES, LATITUDES[::-1]])
@pytest.mark.parametrize("longitudes", [LONGITUDES, LONGITUDES[::-1]])
def test_a_field_on_the_sphere_is_a_map_of_each_channel_over_its_own_range(latitudes, longitudes):
    domain = SphereGrid(latitudes=latitudes, longitudes=longitudes)
    north, east = map(np.asarray, pictures_of(request(domain, WINDS)))
    assert north.shape == east.shape == (9, 18)
    np.testing.assert_array_equal(north[[0, -1], 0], np.round(np.array([170, 10]) / 180 * 255))
    np.testing.assert_array_equal(east[0, [0, 17]], [0, np.round(340 / 360 * 255)])


def test_a_window_in_degrees_is_a_picture_of_that_window():
    domain = SphereGrid(latitudes=LATITUDES, longitudes=LONGITUDES)
    window = request(domain, WINDS, region=((-10.0, 10.0), (0.0, 360.0)), resolution=(4, 8), index=(0, 0))
    assert [picture.size for picture in pictures_of(window)] == [(8, 4)] * 4


def test_two_channels_of_a_plane_are_two_pictures_and_three_of_one_range_are_colours():
    plane = CellGrid(axes=("y", "x"), resolution=(4, 5))
    assert [p.mode for p in pictures_of(request(plane, WINDS, np.zeros((4, 5, 2))))] == ["L", "L"]
    colours = FeatureSpec(channels=("red", "green", "blue"))
    assert [p.mode for p in pictures_of(request(plane, colours, np.zeros((4, 5, 3))))] == ["RGB"]


def test_what_has_no_picture_is_refused_with_what_to_write_instead():
    line = CellGrid(axes=("t",), resolution=(8,))
    with pytest.raises(ConfigError, match=r"make no picture; write --out FILE\.npz"):
        pictures_of(request(line, FeatureSpec(channels=("left",))))


@pytest.mark.parametrize("resolution", [(1, 10**8), (10**4, 10**5), (2**15, 2**15)])
def test_pictures_that_no_program_could_show_are_refused_before_they_are_decoded(resolution):
    plane = CellGrid(axes=("y", "x"), resolution=(4, 5))
    with pytest.raises(GridError, match="pictures of"):
        pictures_of(request(plane, WINDS, resolution=resolution))


@pytest.mark.parametrize(
    ("options", "message"), [({"resolution": (8, 8)}, "one number"), ({"region": ((0, 1),) * 3}, "--region")]
)
def test_views_of_a_scene_have_one_size_and_no_window(options, message):
    scene = SceneVolume(
        resolution=(8, 8, 8), bound=1.0, views=1, held_out_views=0, image_size=(8, 8), near=0.5, far=2.0
    )
    with pytest.raises(ConfigError, match=message):
        pictures_of(request(scene, FeatureSpec(channels=("red", "green", "blue", "density")), **options))
