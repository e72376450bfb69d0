"""Pictures of planes, of the sphere, and of modulations, of functasets whose values are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.decode.functaset import Functaset
from functa_store.decode.pictures import to_image
from functa_store.domains.cells import CellGrid
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ConfigError, GridError, StorageError
from functa_store.media.sheet import pictures, write_sheet
from functa_store.sources.features import FeatureSpec

WINDS = FeatureSpec(channels=("u", "z"), value_ranges=((-90.0, 90.0), (0.0, 360.0)))
LATITUDES, LONGITUDES = tuple(np.linspace(-80.0, 80.0, 9)), tuple(np.arange(0.0, 360.0, 20.0))


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(name="photographs")
def _photographs():
    return functa_store.open(GOLDEN / "v6.functa")


class Known(Functaset):
    """Two examples that decode to some values, or on the sphere to latitude and longitude."""

    domain = features = None

    def __init__(self, domain, features, values=None):
        self.domain, self.features, self.values = domain, features, values
        self.store = SimpleNamespace(path="x.functa", num_examples=2)

    def decode(self, index, resolution=None, *, region=None, clip=True):
        found = np.stack(np.meshgrid(*self.domain.axis_coords(resolution, region), indexing="ij"), axis=-1)
        return np.stack([found if self.values is None else self.values] * len(index))


@pytest.mark.parametrize("latitudes", [LATITUDES, LATITUDES[::-1]])
@pytest.mark.parametrize("longitudes", [LONGITUDES, LONGITUDES[::-1]])
def test_a_field_on_the_sphere_is_a_map_of_each_channel_over_its_own_range(latitudes, longitudes):
    domain = SphereGrid(latitudes=latitudes, longitudes=longitudes)
    north, east = map(np.asarray, pictures(Known(domain, WINDS), [0]))
    assert north.shape == east.shape == (9, 18)
    np.testing.assert_array_equal(north[[0, -1], 0], np.round(np.array([170, 10]) / 180 * 255))
    np.testing.assert_array_equal(east[0, [0, 17]], [0, np.round(340 / 360 * 255)])


def test_a_window_in_degrees_is_a_picture_of_that_window():
    domain = SphereGrid(latitudes=LATITUDES, longitudes=LONGITUDES)
    window = pictures(Known(domain, WINDS), [0, 0], (4, 8), region=((-10.0, 10.0), (0.0, 360.0)))
    assert [picture.size for picture in window] == [(8, 4)] * 4


def test_two_channels_of_a_plane_are_two_pictures_and_three_of_one_range_are_colours():
    plane = CellGrid(axes=("y", "x"), resolution=(4, 5))
    assert [p.mode for p in pictures(Known(plane, WINDS, np.zeros((4, 5, 2))), [0])] == ["L", "L"]
    colours = FeatureSpec(channels=("red", "green", "blue"))
    assert [p.mode for p in pictures(Known(plane, colours, np.zeros((4, 5, 3))), [0])] == ["RGB"]


def test_what_has_no_picture_is_refused_with_what_to_write_instead():
    line = CellGrid(axes=("t",), resolution=(8,))
    with pytest.raises(ConfigError, match=r"make no picture; decode them to an array"):
        pictures(Known(line, FeatureSpec(channels=("left",))), [0])


@pytest.mark.parametrize("resolution", [(1, 10**8), (10**4, 10**5), (2**15, 2**15)])
def test_pictures_that_no_program_could_show_are_refused_before_they_are_decoded(resolution):
    plane = CellGrid(axes=("y", "x"), resolution=(4, 5))
    with pytest.raises(GridError, match="pictures of"):
        pictures(Known(plane, WINDS), [0], resolution)


@pytest.mark.parametrize(
    ("options", "message"), [({"resolution": (8, 8)}, "one number"), ({"region": ((0, 1),) * 3}, "found the region")]
)
def test_views_of_a_scene_have_one_size_and_no_window(options, message):
    scene = SceneVolume(
        resolution=(8, 8, 8), bound=1.0, views=1, held_out_views=0, image_size=(8, 8), near=0.5, far=2.0
    )
    with pytest.raises(ConfigError, match=message):
        pictures(Known(scene, FeatureSpec(channels=("red", "green", "blue", "density"))), [0], **options)


def test_modulations_are_pictures_of_what_they_decode_to(tmp_path, photographs):
    free = np.asarray(photographs.modulations[1:3]) / 2
    found = pictures(photographs, free, 8)
    expected = [to_image(values) for values in photographs.decode_modulations(free, 8)]
    assert [image.tobytes() for image in found] == [image.tobytes() for image in expected]
    assert found[0].tobytes() != found[1].tobytes()
    assert write_sheet(photographs, free, tmp_path / "free.png", 8) == (2, 8, 8)
    with Image.open(tmp_path / "free.png") as sheet:
        assert sheet.size == (8 + 2 + 8, 8)
        assert sheet.crop((10, 0, 18, 8)).convert("RGB").tobytes() == expected[1].convert("RGB").tobytes()


def test_modulations_of_scenes_are_pictures_of_their_views():
    scenes = functa_store.open(GOLDEN / "v6_scene.functa")
    stored, free = pictures(scenes, [0, 1], 6), pictures(scenes, np.array(scenes.modulations[:2]), 6)
    assert [image.size for image in free] == [(6, 6)] * 2
    assert [image.tobytes() for image in free] == [image.tobytes() for image in stored]


def test_a_sheet_that_cannot_be_written_is_refused(tmp_path, photographs):
    with pytest.raises(ConfigError, match=r"ends in \.png, found '\.gif'"):
        write_sheet(photographs, [0], tmp_path / "sheet.gif")
    with pytest.raises(ConfigError, match="no examples were chosen"):
        write_sheet(photographs, [], tmp_path / "sheet.png")
    with pytest.raises(StorageError, match="cannot be written"):
        write_sheet(photographs, [0], tmp_path / "nowhere" / "sheet.png")
