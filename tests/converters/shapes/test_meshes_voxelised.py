import pathlib
import zipfile

import numpy as np
import pytest

from converters.shapes.mesh_files import Mesh, filled, read_mesh, turned_up, voxelise
from converters.shapes.shape_files import read_binvox
from functa_store.errors import MemberError
from tests.converters.shapes.models import CUBE_CORNERS, CUBE_FACES, ball, encode_obj, encode_off

SHAPES = pathlib.Path(__file__).parents[3].parent / "shared/data/shapes_ldraw10_shapenetcore.zip"


def iou(a, b):
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


def scaled(*factors):
    return [tuple(c * f for c, f in zip(corner, factors, strict=True)) for corner in CUBE_CORNERS]


@pytest.mark.parametrize("glued", [False, True])
def test_off_is_read_also_with_its_numbers_glued_to_its_name(glued):
    mesh = read_mesh(encode_off(CUBE_CORNERS, CUBE_FACES, glued), ".off")
    assert (len(mesh.vertices), len(mesh.faces)) == (8, 12)


def test_a_box_fills_its_cells_from_the_lower_corner_or_the_middle():
    mesh = read_mesh(encode_obj(scaled(3, 6, 12), CUBE_FACES), ".obj")
    corner, middle = (voxelise(mesh, 12, centred=centred) for centred in (False, True))
    # A face on the border of two cells counts for the upper one.
    assert corner.any(axis=(1, 2)).sum() == 12
    assert np.flatnonzero(corner.any(axis=(0, 2))).tolist() == list(range(7))
    assert np.flatnonzero(corner.any(axis=(0, 1))).tolist() == list(range(4))
    assert np.flatnonzero(middle.any(axis=(0, 2))).tolist() == list(range(3, 10))


def test_what_is_hidden_from_outside_is_filled_and_a_hole_lets_the_outside_in():
    shell = ball(16) & ~ball(16, radius=0.25)
    assert iou(filled(shell), ball(16)) == 1
    shell[8, 8, :8] = False
    assert not filled(shell)[8, 8, 8]


def test_z_up_becomes_y_up_without_mirroring():
    mesh = turned_up(Mesh(vertices=np.array([[1.0, 2, 3]] * 3), faces=np.array([[0, 1, 2]])))
    assert mesh.vertices[0].tolist() == [1, 3, -2]


def test_surfaces_agree_with_trimesh():
    trimesh = pytest.importorskip("trimesh")

    ours = trimesh.creation.icosphere(subdivisions=2)
    mesh = Mesh(vertices=np.array(ours.vertices, np.float64), faces=np.array(ours.faces, np.int64))
    low, high = mesh.bounds()
    theirs = ours.copy()
    theirs.apply_translation(-low)
    theirs.apply_scale(16 / (high - low).max())
    theirs.apply_translation([-0.5] * 3)
    grid = theirs.voxelized(1.0).fill()
    cells = np.clip(np.round(grid.points).astype(int), 0, 15)
    other = np.zeros((16,) * 3, bool)
    other[cells[:, 2], cells[:, 1], cells[:, 0]] = True
    assert iou(voxelise(mesh, 16, centred=False), other) > 0.95


@pytest.mark.parametrize(
    ("content", "suffix", "reason"),
    [
        (b"", ".obj", "no mesh|without faces"),
        (b"", ".off", "no mesh"),
        (b"v 0 0 0\nv 1 0 0\n", ".obj", "no mesh|without faces"),
        (encode_off([(0, 0, 0), (1, 0, 0)], []), ".off", "no mesh|without faces"),
        (b"PLY nonsense", ".off", "no mesh"),
        (encode_off([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [(0, 1, 7)]), ".off", "no mesh|names vertex 7"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\nnan 1 0\n3 0 1 2\n", ".off", "not finite"),
        (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -1 -2 -9\n", ".obj", "from -1 down to -3"),
        (b"OFF\n1000000000000 5 0\n0 0 0\n", ".off", "no mesh"),
    ],
)
def test_a_mesh_without_faces_or_of_nonsense_is_refused(content, suffix, reason):
    with pytest.raises(MemberError, match=reason):
        read_mesh(content, suffix)


@pytest.mark.parametrize("size", [0, 1e-320, 1e308])
def test_a_mesh_that_is_one_point_or_of_absurd_size_has_no_extent(size):
    mesh = Mesh(vertices=np.outer([-1, 0, 1], np.ones(3)) * size, faces=np.array([[0, 1, 2]]))
    with pytest.raises(MemberError, match="without extent"):
        voxelise(mesh, 8, centred=False)


@pytest.mark.skipif(not SHAPES.exists(), reason="the shared shapes archive is not here")
def test_published_meshes_fill_the_cells_that_their_binvox_has():
    """Written by others: proves the order of the axes and where the grid lies."""
    agreement = []
    with zipfile.ZipFile(SHAPES) as archive:
        for name in [n for n in archive.namelist() if n.endswith(".binvox")][::200]:
            theirs = read_binvox(archive.read(name))
            mesh = read_mesh(archive.read(name.replace(".solid.binvox", ".obj")), ".obj")
            low, high = mesh.bounds()
            np.testing.assert_allclose(low, theirs.translate, atol=1e-4)
            assert (high - low).max() == pytest.approx(theirs.scale, abs=1e-4)
            agreement.append(iou(voxelise(mesh, 64, centred=False), theirs.occupancy.astype(bool)))
    assert np.median(agreement) > 0.97
    assert min(agreement) > 0.7
