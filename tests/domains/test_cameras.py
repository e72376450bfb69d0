"""Poses, lenses and the rays that they mean."""

import numpy as np
import pytest

from functa_store.domains.scene import (
    Lens,
    camera_rays,
    check_pose,
    look_at_centre,
    orbit,
    other_convention,
)
from functa_store.errors import GridError


def test_the_ray_through_a_pixel_projects_back_to_its_centre():
    pose = look_at_centre(np.array([0.3, -1.2, 0.4]))
    origins, directions = camera_rays(pose, 6, 8, Lens(7.0, (3.5, 2.5)))
    points = (origins + 2.0 * directions).reshape(-1, 3).astype(np.float64)
    camera = (np.linalg.inv(pose) @ np.c_[points, np.ones(len(points))].T)[:3]
    columns, rows = 7.0 * camera[:2] / camera[2] + np.array([[3.5], [2.5]])
    expected_rows, expected_columns = np.indices((6, 8)).reshape(2, -1) + 0.5
    np.testing.assert_allclose(columns, expected_columns, atol=1e-4)
    np.testing.assert_allclose(rows, expected_rows, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=-1), 1, rtol=1e-6)


def test_the_principal_point_is_the_middle_unless_given():
    pose = look_at_centre(np.array([0.0, -2.0, 0.0]))
    np.testing.assert_array_equal(
        camera_rays(pose, 4, 6, Lens(5.0))[1], camera_rays(pose, 4, 6, Lens(5.0, (3.0, 2.0)))[1]
    )


def test_pixels_need_not_be_square():
    """Twice as many columns: every other ray lies between two of the square ones'."""
    pose = look_at_centre(np.array([0.3, -1.2, 0.4]))
    whole = camera_rays(pose, 4, 12, Lens(7.0, (6.0, 2.0)))[1]
    wide = camera_rays(pose, 4, 4, Lens(7.0 / 3, (2.0, 2.0), 7.0))[1]
    np.testing.assert_allclose(wide, whole[:, 1::3], atol=1e-6)


def test_pictures_stand_upright():
    """The camera is at y = -2 and looks along y: x is to the right, and z, which is up, to the first row."""
    _, directions = camera_rays(look_at_centre(np.array([0.0, -2.0, 0.0])), 3, 3, Lens(3.0))
    np.testing.assert_allclose(directions[1, 1], [0, 1, 0], atol=1e-6)
    assert directions[1, 2, 0] > 0.2
    assert directions[0, 1, 2] > 0.2


def test_the_other_convention_has_y_up_and_z_back_and_leads_back():
    pose = look_at_centre(np.array([0.0, -2.0, 0.5]))
    gl = other_convention(pose)
    np.testing.assert_allclose(gl[:3, 2], -pose[:3, 2])
    np.testing.assert_allclose(gl[:3, 1], -pose[:3, 1])
    np.testing.assert_allclose(gl[:3, [0, 3]], pose[:3, [0, 3]])
    np.testing.assert_array_equal(other_convention(gl), pose)
    check_pose(gl)


def test_an_orbit_looks_at_the_origin_from_one_height_and_closes():
    poses = orbit(8, 1.3, 30.0)
    eyes = poses[:, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=-1), 1.3)
    np.testing.assert_allclose(eyes[:, 2], 1.3 * np.sin(np.radians(30)))
    steps = np.linalg.norm(np.diff(eyes, axis=0, append=eyes[:1]), axis=-1)
    np.testing.assert_allclose(steps, steps[0])
    for pose in poses:
        check_pose(pose)
        np.testing.assert_allclose(pose[:3, 3] + 1.3 * pose[:3, 2], 0, atol=1e-12)
        assert pose[2, 1] < 0  # down has a part against z


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: np.where(np.eye(4, dtype=bool), np.nan, p), "finite"),
        (lambda p: p * 1.01, "rigid"),
        (lambda p: p * np.array([-1.0, 1, 1, 1]), "mirror"),
        (lambda p: p + np.array([[0], [0], [0], [0.1]]), "last row"),
        (lambda p: p + np.array([[0, 0, 0, 1e10]] + 3 * [4 * [0]]), "within 1e.09 of the origin"),
    ],
)
def test_what_is_no_pose_is_refused(change, words):
    with pytest.raises(GridError, match=words):
        check_pose(change(look_at_centre(np.array([0.0, -2.0, 0.0]))))


def test_a_camera_above_the_origin_has_no_up():
    with pytest.raises(GridError, match="no upward direction"):
        look_at_centre(np.array([0.0, 0.0, 2.0]))
