"""Scenes of NeRF, instant-ngp, nerfstudio and COLMAP against the same scene in SRN's layout."""

import io
import json
import re

import numpy as np
import pytest

from converters.scenes.nerf import NerfOptions, converter, open_nerf
from converters.scenes.srn import open_srn
from functa_store.domains.scene import Lens, camera_rays
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Note, silent
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source
from tests.converters.scenes import rendered
from tests.converters.scenes.rendered import (
    DISTANCE,
    FOCAL,
    HEIGHT,
    WIDTH,
    as_blender,
    as_colmap,
    as_llff,
    as_ngp,
    as_srn,
)

FOUND = rendered.scene()
OTHER = rendered.scene(4, turn=25.0)


def opened(path, **options):
    return open_nerf(path, **{"resolution": None, "max_rejects": 0.9} | options)


def reason(path, **options):
    """Why the only scene of an archive cannot be used."""
    with pytest.raises(ArchiveError) as caught:
        opened(path, max_rejects=1.0, **options)
    return str(caught.value)


@pytest.fixture(name="reference", scope="module")
def _reference(tmp_path_factory):
    from tests.converters.conftest import write_archive

    path = write_archive(tmp_path_factory.mktemp("srn"), "zip", as_srn(FOUND))
    return open_srn(path, resolution=None, bound=1.0).read(0)


def edited(files, name, **changes):
    """The files, some keys of a JSON file replaced; those that become None are removed."""
    said = {**json.loads(files[name]), **changes}
    return files | {name: json.dumps({key: value for key, value in said.items() if value is not None}).encode()}


FORMS = {
    "blender": lambda: as_blender({"train": FOUND, "val": OTHER, "test": OTHER}),
    "instant-ngp": lambda: as_ngp(FOUND),
    "nerfstudio": lambda: as_ngp(
        FOUND, camera_model="OPENCV", applied_transform=[[0, 1, 0, 5], [1, 0, 0, 5], [0, 0, -1, 5]]
    ),
    "colmap text": lambda: as_colmap(FOUND, suffix=".txt"),
    "colmap binary": lambda: as_colmap(FOUND, suffix=".bin"),
    "colmap simple pinhole": lambda: as_colmap(FOUND, suffix=".txt", model="SIMPLE_PINHOLE"),
    "colmap simple radial": lambda: as_colmap(FOUND, model="SIMPLE_RADIAL", place="sparse"),
    "colmap opencv": lambda: as_colmap(FOUND, model="OPENCV", points=False, place="dense/sparse"),
}


@pytest.mark.parametrize("form", FORMS)
def test_rays_and_colours_are_those_of_the_same_scene_in_srns_layout(pack, form, reference):
    source = opened(pack(FORMS[form]()), normalise="none", bound=1.0)
    assert isinstance(source, Source)
    found = source.read(0)
    assert found.shape == (6, HEIGHT, WIDTH, 9)
    np.testing.assert_allclose(found[..., :6], reference[..., :6], atol=1e-6)
    np.testing.assert_array_equal(found[..., 6:], reference[..., 6:])
    for pose, of_view, image in zip(FOUND.poses, found, FOUND.images, strict=True):
        origin, directions = rendered.rays(pose)
        np.testing.assert_allclose(of_view[..., :3], np.broadcast_to(origin, directions.shape), atol=1e-6)
        np.testing.assert_allclose(of_view[..., 3:6], directions, atol=1e-6)
        np.testing.assert_allclose(of_view[..., 6:] * 255, rendered.on_white(image), atol=1e-4)


def test_an_archive_of_scenes_by_blender_is_read_by_views_for_training_alone(pack, kind):
    """Views of val and test are splits of views: they are no examples, and are not learned from."""
    files = {}
    for name in ("chair", "lego", "ship"):
        files |= as_blender({"train": FOUND, "val": OTHER, "test": OTHER}, f"nerf_synthetic/{name}")
    notes = []
    source = opened(pack(files, kind), report=notes.append)
    assert list(source.ids) == [f"nerf_synthetic/{name}" for name in ("chair", "lego", "ship")]
    assert source.domain.observed == (6, HEIGHT, WIDTH)
    assert source.domain.held_out_views == 0
    assert not {camera.tobytes() for camera in source.views(1).poses} & {p.tobytes() for p in OTHER.poses}
    assert source.labels == {}
    assert source.rejects == []
    (note,) = [event.message for event in notes if isinstance(event, Note)]
    assert "4 views published as validation and 4 views published as test are left out (--view-splits" in note
    assert "8 images that no camera names, such as nerf_synthetic/chair/test/r_0_depth_0001.png, are no views" in note


def test_published_views_for_tests_are_those_on_which_fits_are_measured(pack):
    path = pack(as_blender({"train": FOUND, "val": OTHER, "test": OTHER}))
    source = opened(path, held_out_split="test")
    assert (source.domain.views, source.domain.held_out_views) == (6, 4)
    views = source.views(0)
    np.testing.assert_allclose(views.poses, np.concatenate([FOUND.poses, OTHER.poses]), atol=1e-12)
    few = opened(path, held_out_split="test", context_views=2, held_out_views=3).domain
    assert (few.views, few.held_out_views) == (2, 3)
    both = opened(path, view_splits="train,val", held_out_split="test").domain
    assert (both.views, both.held_out_views) == (10, 4)
    again = converter.open(str(path), NerfOptions.from_plain(source.provenance), SurveyOptions(), silent)
    assert again.domain == source.domain
    np.testing.assert_array_equal(again.read(0), source.read(0))


def test_a_view_that_is_in_two_splits_is_not_measured_on(pack):
    files = as_blender({"train": FOUND, "test": FOUND})
    files["lego/transforms_test.json"] = files["lego/transforms_train.json"]
    assert "has 6 images such as train/r_0 in two splits of views" in reason(pack(files), held_out_split="test")
    frames = json.loads(files["lego/transforms_test.json"])["frames"]
    for frame in frames:
        frame["file_path"] += ".png"
    files = edited(files, "lego/transforms_test.json", frames=frames)
    assert "has two cameras of lego/train/r_0.png" in reason(pack(files), held_out_split="test")


def test_the_cube_follows_from_the_cameras_where_what_they_see_lies_in_it(pack):
    """0.5 at a distance of 1.3, and so 1.54 at 4: the usual cube of NeRF's synthetic scenes is 1.5."""
    domain = opened(pack(FORMS["blender"]())).domain
    assert domain.bound == pytest.approx(DISTANCE * 0.5 / 1.3, abs=1e-6)
    assert domain.near == pytest.approx(DISTANCE - 3**0.5 * domain.bound, abs=1e-5)
    assert domain.far == pytest.approx(DISTANCE + 3**0.5 * domain.bound, abs=1e-5)


def aside(poses, shift):
    moved = poses.copy()
    moved[:, :3, 3] += shift
    return moved


def test_what_views_show_beside_the_cube_is_refused_with_a_bound_that_holds_it(pack):
    """The objects lie 2 beside the origin, and cameras look at them there: half of what they see misses the cube."""
    scene = rendered.Scene(aside(FOUND.poses, [2.2, 0, 0]), FOUND.images, FOUND.points)
    path = pack(as_blender({"train": scene}))
    text = reason(path)
    assert "of what its images show lies beside the cube of 1.7" in text
    bound = float(text.split("--bound ")[1].split()[0])
    assert opened(path, bound=bound).domain.bound == bound


def opaque(found):
    images = [
        np.where(image[..., 3:] > 0, image, np.array([90, 100, 110, 255])).astype(np.uint8) for image in found.images
    ]
    return rendered.Scene(found.poses, images, found.points)


def test_photographs_do_not_say_where_the_scene_ends(pack):
    path = pack(as_ngp(opaque(FOUND), form="JPEG"))
    assert "nothing says where the scene ends" in reason(path)
    assert "give --bound" in reason(path)
    assert opened(path, bound=0.9).domain.bound == 0.9
    assert opened(path, normalise="cameras").domain.bound == 0.5


@pytest.mark.parametrize(
    ("said", "centre", "half"),
    [
        ({"aabb_scale": 1}, (0, 0, 0), 0.5 / 0.33),
        ({"aabb_scale": 2}, (0, 0, 0), 1 / 0.33),
        ({"aabb_scale": 4, "scale": 0.5, "offset": [0.5, 0.25, 0.5]}, (0, 0.5, 0), 4.0),
        ({"aabb": [[-1, -1, -0.5], [1.5, 1, 1.5]]}, (0.25, 0, 0.5), 1.25),
    ],
)
def test_the_cube_of_instant_ngp_is_taken(pack, said, centre, half):
    """Points p of the poses' world lie at scale * p + offset in a cube around 0.5 with an edge of aabb_scale."""
    source = opened(pack(as_ngp(opaque(FOUND), **said)))
    assert source.domain.bound == pytest.approx(half, abs=1e-6)
    np.testing.assert_allclose(source.views(0).poses[:, :3, 3], FOUND.poses[:, :3, 3] - centre, atol=1e-9)
    assert "its cube is that of aabb_scale or aabb" in source.provenance["notes"][0]


def test_scenes_of_colmap_are_moved_by_their_points(pack):
    """Whatever the units and the frame of a reconstruction: points within 0.5, up is z, rays as they were."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    poses = FOUND.poses.copy()
    poses[:, :3, :3] = turn @ poses[:, :3, :3]
    poses[:, :3, 3] = 7.0 * poses[:, :3, 3] @ turn.T + [30, -20, 5]
    world = 7.0 * FOUND.points @ turn.T + [30, -20, 5]
    source = opened(pack(as_colmap(rendered.Scene(poses, opaque(FOUND).images, world))))
    assert source.domain.bound == 0.5
    found = source.views(0)
    # The upward direction of the cameras of FOUND is not quite z: compare up to the turn that is found.
    up = -FOUND.poses[:, :3, 1].mean(axis=0)
    ups = -found.poses[:, :3, 1].mean(axis=0)
    np.testing.assert_allclose(ups / np.linalg.norm(ups), [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(ups), np.linalg.norm(up), atol=1e-9)
    relative = np.linalg.inv(found.poses[0]) @ found.poses
    expected = np.linalg.inv(FOUND.poses[0]) @ FOUND.poses
    np.testing.assert_allclose(relative[:, :3, :3], expected[:, :3, :3], atol=1e-9)
    scale = np.linalg.norm(relative[1, :3, 3]) / np.linalg.norm(expected[1, :3, 3])
    np.testing.assert_allclose(relative[:, :3, 3], scale * expected[:, :3, 3], atol=1e-9)
    extent = np.ptp(FOUND.points, axis=0).max() / 2
    assert 0.5 / 1.1 / extent <= scale <= 0.5 / 1.1 / extent * 1.35  # the outermost 2 percent do not count
    (note,) = source.provenance["notes"]
    assert "points lie in the cube: centre" in note
    assert "up for its cameras, is z" in note


def test_scenes_of_colmap_without_points_are_moved_by_their_cameras(pack):
    scene = rendered.Scene(aside(FOUND.poses, [5, 6, 7]), opaque(FOUND).images, FOUND.points)
    source = opened(pack(as_colmap(scene, points=False)))
    assert source.domain.bound == 0.5
    eyes = source.views(0).poses[:, :3, 3]
    np.testing.assert_allclose(np.linalg.norm(eyes, axis=1), 1.3, atol=1e-9)
    assert "centre 5 6 7, scale 0.325" in source.provenance["notes"][0]
    assert source.provenance["cameras"]["radius"] == 1.3


def test_cameras_of_llff_are_those_of_the_scene_and_depths_say_where_it_lies(pack, reference):
    path = pack(as_llff(FOUND))
    found = opened(path, normalise="none", bound=1.0)
    np.testing.assert_allclose(found.read(0)[..., :6], reference[..., :6], atol=1e-6)
    source = opened(path)
    assert source.domain.bound == 0.5
    assert "points lie in the cube" in source.provenance["notes"][0]
    scale = float(source.provenance["notes"][0].split("scale ")[1].split(",")[0])
    half_view = np.hypot(WIDTH / 2, HEIGHT / 2) / FOCAL * 5.5  # of the farthest depth, to its corners
    assert 0.5 / 1.1 / np.hypot(half_view, 1.5) < scale < 0.5 / 1.1 / 1.5


def test_a_lens_of_colmap_that_distorts_may_be_passed_over_for_llffs(pack):
    """As in nerf_llff_data, whose models of COLMAP have SIMPLE_RADIAL lenses."""
    colmap = as_colmap(FOUND, "fern", model="SIMPLE_RADIAL", parameters=[FOCAL, 8, 6, 0.01])
    model = {name: content for name, content in colmap.items() if "sparse" in name}
    path = pack(as_llff(FOUND) | model)
    assert "or take poses_bounds.npy by --format llff" in reason(path)
    np.testing.assert_allclose(
        opened(path, format="llff", normalise="none", bound=1.0).views(0).poses, FOUND.poses, atol=1e-12
    )


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


ROWS = np.load(io.BytesIO(as_llff(FOUND)["fern/poses_bounds.npy"]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy(ROWS[:5]), "has 5 views for 6 images"),
        (npy(ROWS[:, :15]), r"shape \(6, 15\), expected floats \(views, 17\)"),
        (npy(np.where(np.arange(17) == 16, 1.0, ROWS)), "goes from depth 2.5 to 1"),
        (npy(ROWS * 2), "rotation of a pose must be rigid"),
        (npy(np.array([{}] * 6, object)), "poses_bounds.npy"),
        (b"x", "poses_bounds.npy"),
    ],
)
def test_poses_of_llff_that_make_no_sense_are_refused_by_name(pack, content, words):
    assert re.search(words, reason(pack(as_llff(FOUND) | {"fern/poses_bounds.npy": content})))


def test_a_lens_is_scaled_with_its_image(pack):
    """fl_x is told for w and h; images of half the size, as in images_2, are as good."""
    half = [image.reshape(6, 2, 8, 2, 4)[:, 0, :, 0] for image in FOUND.images]
    source = opened(pack(as_ngp(rendered.Scene(FOUND.poses, half, FOUND.points))))
    (lens,) = set(source.views(0).lenses)
    assert lens == Lens(FOCAL / 2, (4.0, 3.0), FOCAL / 2)
    small = opened(pack(as_ngp(FOUND), name="small"), resolution=6)
    np.testing.assert_allclose(small.read(0)[..., 3:6], source.read(0)[..., 3:6], atol=1e-6)


def test_each_view_may_have_a_lens_of_its_own(pack):
    files = as_ngp(FOUND)
    said = json.loads(files["fox/transforms.json"])
    for k, frame in enumerate(said["frames"]):
        frame |= {"fl_x": FOCAL + k, "fl_y": FOCAL + 2 * k, "cx": 7.0, "cy": 5.0}
    source = opened(pack(edited(files, "fox/transforms.json", frames=said["frames"])))
    found = source.read(0)
    for k, pose in enumerate(FOUND.poses):
        _, directions = camera_rays(pose, HEIGHT, WIDTH, Lens(FOCAL + k, (7.0, 5.0), FOCAL + 2 * k))
        np.testing.assert_allclose(found[k, ..., 3:6], directions, atol=1e-6)


def test_transparent_pixels_show_the_background_that_is_chosen(pack):
    path = pack(FORMS["blender"]())
    colours = {name: opened(path, background=name).views(0).images[0, 0, 0].tolist() for name in ("white", "#102030")}
    assert colours == {"white": [255, 255, 255], "#102030": [16, 32, 48]}
    half = FOUND.images[0].copy()
    half[..., 3] = 128
    source = opened(
        pack(as_blender({"train": rendered.Scene(FOUND.poses[:1], [half], FOUND.points)}), name="half"), bound=1.0
    )
    red = half[..., 0].astype(int) * 128 / 255 + 255 * 127 / 255
    np.testing.assert_allclose(source.views(0).images[0, ..., 0], red, atol=1)


def test_splits_of_nerfstudio_are_splits_of_views(pack):
    names = [f"images/{k:04d}.png" for k in range(6)]
    told = {"train_filenames": names[:3], "val_filenames": names[3:4], "test_filenames": names[4:]}
    path = pack(as_ngp(FOUND, **told))
    np.testing.assert_allclose(opened(path).views(0).poses, FOUND.poses[:3], atol=1e-12)
    np.testing.assert_allclose(opened(path, view_splits="test").views(0).poses, FOUND.poses[4:], atol=1e-12)
    assert "are in none of" in reason(pack(as_ngp(FOUND, train_filenames=names[:3]), name="few"))


def test_folders_above_scenes_are_splits_of_scenes(pack):
    files = as_blender({"train": FOUND}, "train/a") | as_blender({"train": FOUND}, "test/b")
    source = opened(pack(files))
    assert dict(zip(source.ids, source.split, strict=True)) == {"test/b": "test", "train/a": "train"}
    assert source.provenance["split"] == "published by folders"


def test_a_scene_that_is_the_whole_archive_is_called_by_its_name(pack, kind):
    files = {name.removeprefix("lego/"): content for name, content in FORMS["blender"]().items()}
    source = opened(pack(files, kind, name="lego"))
    assert list(source.ids) == ["lego"]
    assert list(source.split) == ["train"]


TRANSFORMS = "fox/transforms.json"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k1": 0.05}, r"its lens distorts \(k1=0.05\), expected a pinhole camera; .*image_undistorter"),
        ({"camera_model": "OPENCV_FISHEYE"}, "has the camera_model OPENCV_FISHEYE"),
        ({"is_fisheye": True}, "says is_fisheye"),
        ({"fl_x": None, "camera_angle_x": None}, "expected a lens"),
        ({"fl_x": 30.0}, "contradict each other"),
        ({"fl_x": "20"}, "fl_x is 20, expected a number"),
        ({"fl_x": -20.0, "camera_angle_x": None}, "expected finite focal lengths above 0"),
        ({"cx": 16.5}, "the principal point lies outside the image"),
        ({"cx": 0.5, "cy": 0.5, "fl_x": 1.0, "fl_y": 1.0, "w": 100, "h": 75, "camera_angle_x": None}, "of 5 at least"),
        ({"w": 20}, "contradict each other"),
        ({"h": 16}, r"0000\.png: is 16 x 12 pixels, but transforms\.json: frame 0 says 16 x 16"),
        ({"w": None, "h": None, "cx": None, "cy": None}, "neither w and h nor cx and cy"),
        ({"camera_angle_x": 200.0}, "radians between 0 and pi"),
        ({"frames": []}, "has no frames"),
        ({"aabb_scale": "big"}, "aabb_scale is big, expected a number"),
        ({"aabb_scale": -1}, "which make no cube"),
    ],
)
def test_cameras_that_make_no_sense_are_refused_by_name(pack, changes, words):
    assert re.search(words, reason(pack(edited(as_ngp(FOUND), TRANSFORMS, **changes))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transform_matrix": [[1, 0, 0, 0]] * 4}, "rotation of a pose must be rigid"),
        ({"transform_matrix": "x"}, "no transform_matrix of 4 rows"),
        ({"transform_matrix": [[1e400, 0, 0, 0]] * 4}, "finite"),
        ({"file_path": 3}, "has the file_path 3"),
        ({"file_path": "images/0000.png"}, "names images/0000.png twice"),
        ({"file_path": "images/0000"}, "has two cameras of .*images/0000.png, with its suffix and without"),
        ({"file_path": "../../secret.png"}, r"1 of 6 images are not in the archive, such as \.\./secret.png"),
        ({"time": 0.5}, "its views are of 2 times, expected a scene that does not move"),
    ],
)
def test_frames_that_make_no_sense_are_refused_by_name(pack, change, words):
    files = as_ngp(FOUND)
    frames = json.loads(files[TRANSFORMS])["frames"]
    frames[3] |= change
    assert re.search(words, reason(pack(edited(files, TRANSFORMS, frames=frames))))


def cut(files, name, size=-10):
    return files | {name: files[name][:size]}


def replaced(files, name, before, after):
    assert before in files[name]
    return files | {name: files[name].replace(before, after)}


TEXT, BINARY = as_colmap(FOUND, suffix=".txt"), as_colmap(FOUND, suffix=".bin")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (as_colmap(FOUND, model="OPENCV_FISHEYE"), "its lens distorts .OPENCV_FISHEYE.*image_undistorter"),
        (as_colmap(FOUND, model="SIMPLE_RADIAL", parameters=[FOCAL, 8, 6, 0.01]), r"SIMPLE_RADIAL k=0\.01"),
        (as_colmap(FOUND, suffix=".txt", model="OPENCV", parameters=[FOCAL, FOCAL, 8, 6, 0, 0, 0, -0.1]), "p2=-0.1"),
        (as_colmap(FOUND, suffix=".txt", parameters=[FOCAL, 8, 6]), "has 3 parameters, expected 4 of PINHOLE"),
        (cut(BINARY, "garden/sparse/0/cameras.bin"), "cameras.bin: is damaged or no file of COLMAP"),
        (cut(BINARY, "garden/sparse/0/images.bin"), "images.bin: is damaged or no file of COLMAP"),
        (cut(BINARY, "garden/sparse/0/points3D.bin"), "points3D.bin: is damaged or no file of COLMAP"),
        (BINARY | {"garden/sparse/0/images.bin": b"\xff" * 200}, "says that it has 18446744073709551615 entries"),
        (replaced(TEXT, "garden/sparse/0/images.txt", b" 3 view 2", b" 4 view 2"), "is of camera 4"),
        (replaced(TEXT, "garden/sparse/0/images.txt", b"\n\n", b"\n"), "is none of its points"),
        (replaced(TEXT, "garden/sparse/0/images.txt", b"view 3.png", b"view 4.png"), "names view 4.png twice"),
        (
            replaced(TEXT, "garden/sparse/0/cameras.txt", b"16 12", b"32 12"),
            "is 16 x 12 pixels, but cameras.txt: camera 3",
        ),
        ({k: v for k, v in TEXT.items() if k != "garden/images/view 2.png"}, "1 of 6 images are not in the archive"),
        ({k.replace("images/", "photos/"): v for k, v in TEXT.items()}, "no folder of its images above it.*--images"),
    ],
)
def test_models_of_colmap_that_make_no_sense_are_refused_by_name(pack, files, words):
    assert re.search(words, reason(pack(files)))


def test_the_folder_of_images_may_have_another_name(pack):
    files = {name.replace("images/", "images_2/"): content for name, content in BINARY.items()}
    np.testing.assert_array_equal(
        opened(pack(files), images="images_2").read(0), opened(pack(BINARY, name="b")).read(0)
    )


def test_cameras_in_another_convention_are_refused_with_the_one_that_sees_the_scene(pack):
    files = as_ngp(FOUND)
    said = json.loads(files[TRANSFORMS])
    for frame, pose in zip(said["frames"], FOUND.poses, strict=True):
        frame["transform_matrix"] = pose.tolist()
    path = pack(edited(files, TRANSFORMS, frames=said["frames"]))
    assert "with --poses opengl 0% of the views and 0% of their rays" in reason(path)
    assert "with --poses opencv 100%" in reason(path)
    np.testing.assert_allclose(opened(path, poses="opencv").views(0).poses, FOUND.poses, atol=1e-12)


def test_a_bad_scene_is_a_reject_and_the_good_ones_are_converted(pack):
    good = as_blender({"train": FOUND}, "a") | as_blender({"train": FOUND}, "c")
    bad = cut(as_blender({"train": FOUND}, "b"), "b/train/r_3.png", 50)
    source = opened(pack(good | bad | {"readme.txt": b"x"}))
    assert list(source.ids) == ["a", "c"]
    assert [(found.member, found.reason) for found in source.rejects[1:]] == [("readme.txt", "belongs to no scene")]
    assert source.rejects[0].member == "b"
    assert source.rejects[0].reason.startswith("train/r_3.png: ")


def test_both_kinds_of_cameras_of_one_scene_are_said(pack):
    files = as_ngp(FOUND, "s") | as_colmap(FOUND, "s")
    source = opened(pack(files))
    assert "the model of COLMAP in s/sparse/0 is left out beside transforms.json" in source.views(0).remarks[0]
    assert source.views(0).poses[0, 0, 3] == pytest.approx(FOUND.poses[0, 0, 3])
    assert opened(pack(files, name="b"), format="colmap").domain.bound == 0.5
    assert "which may name the same views" in reason(
        pack(as_ngp(FOUND, "s") | as_blender({"train": FOUND}, "s"), name="c")
    )


def test_other_archives_say_what_was_expected(pack):
    with pytest.raises(ArchiveError, match=r"looks like scenes of SRN.*`functa convert srn`.*no scenes; found"):
        opened(pack(as_srn(FOUND)))
    with pytest.raises(ArchiveError, match=r"looks like views with cameras .*`functa convert nerf`.*no scenes; found"):
        open_srn(pack(as_blender({"train": FOUND}), name="b"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"view_splits": "train,holdout"}, "view_splits must be some of"),
        ({"view_splits": ()}, "view_splits must be some of"),
        ({"view_splits": "test", "held_out_split": "test"}, "is among view_splits"),
        ({"background": "no colour"}, "background must be a colour name"),
        ({"images": "a/b"}, "images must be the name of a folder"),
        ({"held_out_views": 3}, "needs context_views"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        NerfOptions.of(**options)


def test_a_dry_run_reads_one_scene_and_an_unread_one_with_more_views_is_an_error_in_words(pack):
    files = as_blender({"train": OTHER}, "a") | as_blender({"train": FOUND}, "b")
    source = opened(pack(files), check_first=1)
    assert source.domain.views == 4
    with pytest.raises(MemberError, match="has 6 views and 0 held-out ones, but other scenes have at most 4"):
        source.read(1)
