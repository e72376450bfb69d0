"""Sheets show what was decoded, where a reader expects it."""

import numpy as np
import pytest
from PIL import Image

from functa_store.decode.pictures import comparison_sheet, contact_sheet, to_image
from functa_store.errors import GridError


def flat(level: int, size: int = 3) -> Image.Image:
    return to_image(np.full((size, size, 3), level / 255))


def test_levels_survive_the_round_trip_to_a_picture():
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32, 1)
    np.testing.assert_array_equal(np.asarray(to_image(pixels / 255)), pixels[..., 0])


def test_values_outside_the_data_range_are_clipped():
    features = np.array([[[-9.0], [-1.0], [1.0], [9.0]]])
    np.testing.assert_array_equal(np.asarray(to_image(features, (-1.0, 1.0))), [[0, 0, 255, 255]])


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_a_number_has_a_colour_that_no_value_has(channels):
    features = np.full((2, 2, channels), 0.5)
    features[0, 1] = np.nan
    picture = np.asarray(to_image(features)).astype(int)
    assert np.ptp(picture[0, 1]) > 0
    np.testing.assert_array_equal(picture[[0, 1, 1], [0, 0, 1]], np.full((3, 3), 128))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (4, 4, 4, 1)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(GridError, match=r"write arrays \(\.npz\)"):
        to_image(np.zeros(shape))


def test_a_contact_sheet_reads_from_left_to_right_with_a_gap():
    sheet = np.asarray(contact_sheet([flat(10 * n) for n in range(1, 6)]))
    assert sheet.shape == (2 * 3 + 2, 3 * 3 + 2 * 2, 3)
    assert [sheet[0, 5 * column, 0] for column in range(3)] == [10, 20, 30]
    assert [sheet[5, 5 * column, 0] for column in range(3)] == [40, 50, 255]
    assert sheet[0, 3, 0] == sheet[3, 0, 0] == 255


def test_one_image_makes_a_sheet_without_a_gap():
    assert contact_sheet([flat(0)]).size == (3, 3)


def test_a_comparison_enlarges_small_images_without_inventing_pixels():
    sheet = np.asarray(comparison_sheet({"small": [flat(10, 2), flat(20, 2)], "large": [flat(30, 4), flat(40, 4)]}))
    cells = sheet[20:]
    assert cells.shape == (2 * 4 + 2, 2 * 4 + 2, 3)
    assert set(np.unique(cells)) == {10, 20, 30, 40, 255}
    np.testing.assert_array_equal(cells[6:10, :4], np.full((4, 4, 3), 20))
