"""Scenes in SRN's layout."""

import io
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from converters.scenes.srn import converter, open_srn
from converters.scenes.srn_files import list_scenes, read_intrinsics, read_pose
from converters.scenes.views import SceneOptions, read_png, shrink
from functa_store.domains.scene import Lens, camera_rays, orbit
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    MemberError,
    TooManyRejectsError,
)
from functa_store.progress import Note, silent
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly_centred

DATA = pathlib.Path(__file__).parents[4] / "shared" / "data" / "scenes_sweethome3d_srn.zip"
SIZE = 8


def png(pixels, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, "PNG")
    return buffer.getvalue()


def image(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def intrinsics(size=SIZE, focal=8.2, lines=("0. 0. 0.", "1.")):
    return "\n".join([f"{focal} {size / 2} {size / 2} 0.", *lines, f"{size} {size}", ""]).encode()


def scene(folder, count=4, seed=0, size=SIZE):
    """Members of a scene by name; poses stand on an orbit."""
    files = {f"{folder}/intrinsics.txt": intrinsics(size)}
    for i, pose in enumerate(orbit(count, 1.3, 30.0)):
        files[f"{folder}/rgb/{i:06d}.png"] = png(image(100 * seed + i, size))
        files[f"{folder}/pose/{i:06d}.txt"] = " ".join(f"{x:.8f}" for x in pose.ravel()).encode()
    return files


def archive(**counts):
    """Scenes by "category_split" and number of views, such as cars_train=[4, 3]."""
    return {
        name: content
        for folder, views in counts.items()
        for i, count in enumerate(views)
        for name, content in scene(f"{folder}/scene{i}", count, seed=i).items()
    }


def open_whole(path, **options):
    return open_srn(path, **{"resolution": None, "max_rejects": 0.5} | options)


def test_scenes_become_rays_with_the_colours_seen_along_them(pack, kind):
    source = open_whole(pack(archive(cars_train=[4, 4], cars_test=[4]), kind))
    assert isinstance(source, Source)
    assert list(source.ids) == ["cars_test/scene0", "cars_train/scene0", "cars_train/scene1"]
    assert list(source.split) == ["test", "train", "train"]
    assert source.labels == {}
    assert source.features.channels == ("red", "green", "blue", "density")
    assert source.domain.observed == (4, SIZE, SIZE)
    rays = source.read(2)
    assert rays.shape == (4, SIZE, SIZE, 9)
    for view, pose in enumerate(orbit(4, 1.3, 30.0)):
        origins, directions = camera_rays(pose, SIZE, SIZE, Lens(8.2))
        np.testing.assert_allclose(rays[view, ..., :3], origins, atol=1e-6)
        np.testing.assert_allclose(rays[view, ..., 3:6], directions, atol=1e-6)
        np.testing.assert_allclose(rays[view, ..., 6:] * 255, image(100 + view), rtol=1e-6)


def test_the_cube_follows_from_how_far_away_the_cameras_are(pack):
    path = pack(archive(cars_train=[4]))
    domain = open_whole(path).domain
    assert (domain.bound, domain.near, domain.far) == (0.5, 0.8, 1.8)
    chosen = open_whole(path, bound=0.4, near=0.5, far=2.0, num_samples=8).domain
    assert (chosen.bound, chosen.near, chosen.far, chosen.num_samples) == (0.4, 0.5, 2.0, 8)
    with pytest.raises(ConfigError, match="lies between them"):
        open_whole(path, near=3.0)


def test_scenes_with_fewer_views_are_filled_up_with_colours_that_are_missing(pack):
    source = open_whole(pack(archive(cars_train=[5, 3])))
    rays = source.read(1)
    assert source.domain.observed == (5, SIZE, SIZE)
    assert np.isfinite(rays[..., :6]).all()
    assert np.isfinite(rays[:3]).all()
    assert np.isnan(rays[3:, ..., 6:]).all()
    assert source.features.missing


def test_views_for_the_fit_come_first_and_held_out_ones_last(pack):
    files = archive(cars_train=[8, 3])
    source = open_whole(pack(files), views=6, context_views=2, held_out_views=3)
    assert (source.domain.views, source.domain.held_out_views) == (2, 3)
    eyes = orbit(8, 1.3, 30.0)[:, :3, 3]
    chosen = [evenly_centred(8, 6)[i] for i in (1, 4, 0, 3, 5)]  # 2 of 6, then 3 of the 4 others
    np.testing.assert_allclose(source.read(0)[:, 0, 0, :3], eyes[chosen], atol=1e-6)
    short = source.read(1)
    present = ~np.isnan(short[:, 0, 0, 6])
    np.testing.assert_array_equal(present, [True, True, True, False, False])
    np.testing.assert_allclose(short[:3, 0, 0, :3], orbit(3, 1.3, 30.0)[[0, 2, 1], :3, 3], atol=1e-6)


def test_categories_become_a_label_where_there_are_several(pack):
    files = archive(cars_train=[2], chairs_train=[2], chairs_val=[2], cars_test=[2])
    source = open_whole(pack(files))
    label = source.labels["category"]
    assert label.names == ("cars", "chairs")
    assert [label.names[i] for i in label.values] == [name.split("_")[0] for name in source.ids]
    assert set(source.split) == {"train", "validation", "test"}


def test_without_folders_of_splits_every_tenth_scene_is_held_out(pack):
    files = {name: content for i in range(10) for name, content in scene(f"all/scene{i}", 1, i).items()}
    source = open_whole(pack(files))
    assert list(source.split) == ["train"] * 9 + ["test"]
    assert source.provenance["split"] == "every tenth scene held out"


@pytest.mark.parametrize(
    ("folder", "split", "category"),
    [
        ("cars_train", "train", "cars"),
        ("data/chairs_2.0_val", "validation", "chairs_2.0"),
        ("cars_train_test", "test", "cars"),
        ("train", "train", ""),
        ("training", "train", ""),
        ("renderings", None, ""),
    ],
)
def test_the_folder_nearest_to_a_scene_says_its_split(folder, split, category):
    (found,), _ = list_scenes(scene(f"{folder}/a", 1))
    assert (found.split, found.category) == (split, category)


def test_lower_resolutions_average_areas_and_scale_the_lens(pack):
    path = pack(archive(cars_train=[2]))
    source = open_whole(path, resolution=4)
    whole, small = open_whole(path).views(0), source.views(0)
    expected = whole.images.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
    assert np.abs(small.images - expected).max() <= 0.5
    assert set(small.lenses) == {Lens(4.1, (2.0, 2.0), 4.1)}
    assert source.domain.image_size == (4, 4)
    with pytest.raises(ArchiveError, match="fewer than resolution=16"):
        open_whole(path, resolution=16, max_rejects=1.0)


@given(st.tuples(*[st.integers(1, 12)] * 4), st.integers(0, 2**32 - 1))
def test_a_pixel_is_the_mean_colour_of_the_area_that_it_covers(sizes, seed):
    (height, rows), (width, columns) = sorted(sizes[:2], reverse=True), sorted(sizes[2:], reverse=True)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    fine = image.repeat(rows, axis=0).repeat(columns, axis=1)  # parts of pixels, that areas do fall on
    means = fine.reshape(rows, height, columns, width, 3).mean((1, 3))
    assert np.abs(shrink(image, (rows, columns)) - means).max() <= 0.5 + 1e-9


def test_transparent_pixels_are_white():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = 10, 20, 30, 255
    found = read_png(png(pixels))
    np.testing.assert_array_equal(found[0, 0], [10, 20, 30])
    np.testing.assert_array_equal(found[1], 255)


@pytest.mark.parametrize("lines", [("0. 0. 0.", "1."), ("0. 0. 0.", "0.", "1."), ("0. 0. 0.", "0.1", "1.3")])
def test_the_published_forms_of_intrinsics_are_read(lines):
    for last, is_inverse in ((b"", False), (b"0\n", False), (b"1\n", True)):
        found = read_intrinsics(intrinsics(128, 131.25, lines) + last)
        assert found == (Lens(131.25, (64.0, 64.0)), (128, 128), is_inverse)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60 60 64 63\n128 130\n", Lens(60, (64, 63))),
        ("60 61 64 63\n0 0 0\n1.\n128 130\n", Lens(60, (64, 63), 61)),
        ("131.25 0 64\n0 131.25 63\n0 0 1\n128 130\n", Lens(131.25, (64, 63))),
        ("131.25 0 64 0\n0 140 63 0\n0 0 1 0\n0 0 0 1\n128 130\n", Lens(131.25, (64, 63), 140)),
        ("131.25 0 64 0\n0 140 63 0\n0 0 1 0\n128 130\n", Lens(131.25, (64, 63), 140)),
        ("131.25 0 64 0 140 63 0 0 1\n128 130\n", Lens(131.25, (64, 63), 140)),
        ("131.25 64 63\n0 0 0\n1.\n128 130\n", Lens(131.25, (64, 63))),
    ],
)
def test_other_forms_of_a_lens_are_read_where_they_can_be_nothing_else(text, expected):
    assert read_intrinsics(text.encode()) == (expected, (128, 130), False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "expected 'f cx cy"),
        (b"a b c 0.\n4 4\n", "found b'a b c.*expected numbers"),
        (b"nan 4 4 0.\n8 8\n", "expected finite"),
        (b"-8 4 4 0.\n8 8\n", "f above 0"),
        (b"8 4 4 0.\n0. 0. 0.\n1.\n", "expected height and width"),
        (b"8 4 4 0.\n8.5 8\n", "expected height and width"),
        (b"131.25 64 64 1.\n0 0 0\n1.\n128 128\n", "neither 'f cx cy 0.' nor 'fx fy cx cy'"),
        (b"131.25 64 64 nan\n128 128\n", "neither|finite"),
        (b"131.25 131.25 0.\n128 128\n", r"131\.25, 0 for images of 128 x 128 .* lies outside the image"),
        (b"131.25 0 64\n0 131.25 64\n128 128\n", "lies outside the image"),
        (b"131.25 0 0\n0 131.25 0\n64 64 1\n128 128\n", "lies outside the image"),
        (b"131.25 2 64\n0 131.25 64\n0 0 1\n128 128\n", r"pixels are askew \(2\)"),
        (b"1.02 0.5 0.5 0.\n0 0 0\n1.\n128 128\n", r"a focal length in pixels, of 6\.4 at least"),
        (b"131.25 0 64 0\n0 131.25 64 0\n0 0 1 0\n0 0 0 1\n", "expected height and width"),
        (b"1 2 3 4 5\n128 128\n", "found '1 2 3 4 5' first, expected 'f cx cy"),
        (b"\xff\xfe8", "expected numbers"),
    ],
)
def test_other_intrinsics_are_refused(text, words):
    with pytest.raises(MemberError, match=words):
        read_intrinsics(text)


def test_poses_may_stand_on_one_line_or_four():
    pose = orbit(3, 1.3, 10.0)[1]
    words = [repr(float(x)) for x in pose.ravel()]
    one, four = " ".join(words), "\n".join(" ".join(words[i : i + 4]) for i in range(0, 16, 4))
    np.testing.assert_array_equal(read_pose(one.encode()), pose)
    np.testing.assert_array_equal(read_pose(four.encode()), pose)


def damaged(change):
    """Three scenes, of which the middle one is changed."""
    files = archive(cars_train=[3, 3, 3])
    change(files, "cars_train/scene1")
    return files


def blank(files, name):
    for i in range(3):
        files[f"{name}/rgb/{i:06d}.png"] = png(np.full((SIZE, SIZE, 3), 255, np.uint8))


def put(member, content):
    return lambda files, name: files.__setitem__(f"{name}/{member}", content)


def drop(member):
    return lambda files, name: files.pop(f"{name}/{member}")


POSE = orbit(1, 1.3, 10.0)[0]
FAR = " ".join(map(str, (POSE + np.array([[0, 0, 0, 1e300]] + 3 * [4 * [0.0]])).ravel())).encode()
BAD = {
    "NaN in a pose": (put("pose/000001.txt", b" ".join([b"nan"] * 16)), "pose/000001.txt: a pose must be .* finite"),
    "a pose that is not rigid": (put("pose/000001.txt", " ".join(map(str, (POSE * 2).ravel())).encode()), "rigid"),
    "a short pose": (put("pose/000001.txt", b"1 0 0"), "found 3 numbers, expected the 16"),
    "a missing pose": (drop("pose/000002.txt"), "1 images have no pose: pose/000002.txt is missing"),
    "a missing image": (drop("rgb/000000.png"), "1 poses have no image: rgb/000000.png is missing"),
    "no intrinsics": (drop("intrinsics.txt"), "has no intrinsics.txt"),
    "images of two sizes": (put("rgb/000001.png", png(image(0, 4))), "different sizes"),
    "another size than the lens's": (put("intrinsics.txt", b"8 4 4 0.\n8 12\n"), "but intrinsics.txt says 8 x 12"),
    "a camera beyond the stars": (put("pose/000001.txt", FAR), "within 1e.09 of the origin"),
    "a cut image": (put("rgb/000001.png", png(image(0))[:60]), "rgb/000001.png: cannot be decoded"),
    "no image": (put("rgb/000001.png", b"GIF89a"), "expected a PNG"),
    "white views only": (blank, "all its views are white"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_scene_is_a_reject_with_its_reason(pack, case):
    change, words = BAD[case]
    path = pack(damaged(change))
    source = open_whole(path)
    assert list(source.ids) == ["cars_train/scene0", "cars_train/scene2"]
    (reject,) = source.rejects
    assert reject.member == "cars_train/scene1"
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(reject.reason)
    with pytest.raises(TooManyRejectsError, match="1 of 3 scenes"):
        open_whole(path, max_rejects=0.1)


def test_scenes_of_another_size_than_the_first_are_rejects(pack):
    files = archive(cars_train=[2]) | scene("cars_train/scene1", 2, size=4)
    assert "those of other scenes (8, 8)" in open_whole(pack(files)).rejects[0].reason


def test_an_archive_without_scenes_says_what_was_expected(pack):
    with pytest.raises(ArchiveError, match=r"no scenes; found 1 .png, expected folders with rgb/\*.png"):
        open_whole(pack({"a/b.png": png(image(0))}))


def test_members_of_no_scene_are_named(pack):
    source = open_whole(pack(archive(cars_train=[2]) | {"scenes.csv": b"x"}))
    assert [(r.member, r.reason) for r in source.rejects] == [("scenes.csv", "belongs to no scene")]


@pytest.mark.parametrize(
    ("member", "content", "words"),
    [
        ("pose/000000.txt", b"1", r"archive/cars_train/scene1: pose/000000\.txt: found 1 numbers"),
        ("intrinsics.txt", b"1", r"archive/cars_train/scene1: intrinsics\.txt"),
        ("rgb/000000.png", png(image(0, 4)), r"archive/cars_train/scene1: its images have 4 rows"),
    ],
)
def test_a_member_that_is_damaged_after_the_survey_is_named(pack, member, content, words):
    path = pack(archive(cars_train=[1, 1]), "folder")
    source = open_whole(path)
    (path / "cars_train/scene1" / member).write_bytes(content)
    with pytest.raises(MemberError, match=words):
        source.read(1)


def test_a_scene_that_is_replaced_after_the_survey_by_one_of_other_proportions_is_named(pack):
    path = pack(archive(cars_train=[1, 1]), "folder")
    source = open_whole(path)
    (path / "cars_train/scene1/rgb/000000.png").write_bytes(png(np.zeros((8, 16, 3), np.uint8)))
    (path / "cars_train/scene1/intrinsics.txt").write_bytes(b"8 8 4 0.\n0 0 0\n8 16\n")
    with pytest.raises(MemberError, match=r"scene1: its images are \(8, 16\) .* those of other scenes \(8, 8\)"):
        source.read(1)


def test_nothing_of_a_held_out_view_is_among_the_views_for_the_fit(pack):
    """One view for the fit, the others held out: changing them changes nothing in its rows."""
    files = archive(cars_train=[4])
    before = open_whole(pack(files, name="a"), context_views=1, bound=0.5, near=0.8, far=1.8)
    for i in (0, 1, 3):  # 2 is in the middle, and chosen
        files[f"cars_train/scene0/rgb/{i:06d}.png"] = png(image(1000 + i))
    after = open_whole(pack(files, name="b"), context_views=1, bound=0.5, near=0.8, far=1.8)
    assert (before.domain.views, before.domain.held_out_views) == (1, 3)
    np.testing.assert_array_equal(before.read(0)[0], after.read(0)[0])
    assert (before.read(0)[1:, ..., 6:] != after.read(0)[1:, ..., 6:]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("aspect", [(6, 10), (10, 6), (40, 1)])
def test_pixels_of_images_of_odd_proportions_need_not_be_square(pack, aspect):
    """Half the rows, and as many columns as come near: the rays of the corners still meet the image's corners."""
    height, width = aspect
    files = scene("cars_train/a", 1)
    files["cars_train/a/rgb/000000.png"] = png(np.full((height, width, 3), 9, np.uint8))
    files["cars_train/a/intrinsics.txt"] = f"9 {width / 2} {height / 2} 0.\n0 0 0\n{height} {width}\n".encode()
    source = open_whole(pack(files), resolution=3)
    assert source.domain.image_size == (3, max(1, round(3 * width / height)))
    directions = source.read(0)[0, ..., 3:6] @ orbit(1, 1.3, 30.0)[0][:3, :3]
    for axis, pixels in ((0, width), (1, height)):
        slopes = directions[..., axis] / directions[..., 2]
        halves = np.array([slopes.min(), slopes.max()]) * (1 + 1 / (slopes.shape[1 - axis] - 1 or 1))
        expected = pixels / 2 / 9
        if slopes.shape[1 - axis] > 1:
            np.testing.assert_allclose(halves, [-expected, expected], rtol=1e-4)


def test_one_camera_far_from_where_the_others_are_leaves_the_cube_as_it_is(pack):
    files = archive(cars_train=[3, 3, 3])
    files["cars_train/scene2/pose/000000.txt"] = " ".join(map(str, orbit(1, 0.01, 30.0)[0].ravel())).encode()
    source = open_whole(pack(files))
    assert source.domain.bound == 0.5


def test_cameras_at_the_centre_need_to_be_told_where_the_scene_is(pack):
    files = scene("cars_train/a", 1)
    files["cars_train/a/pose/000000.txt"] = " ".join(map(str, np.eye(4).ravel())).encode()
    path = pack(files)
    with pytest.raises(ConfigError, match="give --bound, --near and --far"):
        open_whole(path)
    assert open_whole(path, bound=1.0).provenance["cameras"] == {"radius": 0.0, "elevation": 0.0, "focal": 1.025}


def test_what_the_store_keeps_opens_the_same_source_again(pack):
    path = pack(archive(cars_train=[6, 4], cars_test=[5]))
    source = open_whole(path, views=4, context_views=3, num_samples=6)
    again = converter.open(
        str(path), SceneOptions.from_plain(source.provenance), SurveyOptions(max_rejects=1.0), silent
    )
    assert again.domain == source.domain
    np.testing.assert_array_equal(again.read(0), source.read(0))


def test_options_out_of_range_are_refused(pack):
    path = pack(archive(cars_train=[2]))
    for options, words in (
        ({"views": 0}, "views must be a whole number of at least 1"),
        ({"views": 2**31}, "views must be at most"),
        ({"views": 2**40}, "views must be below 2"),
        ({"resolution": 10**9}, "resolution must be at most 65536"),
        ({"num_samples": 10**6}, "num_samples must be at most 65536"),
        ({"held_out_views": -1}, "held_out_views must be"),
        ({"held_out_views": 1}, "held_out_views=1 needs context_views"),
        ({"held_out_views": 1, "context_views": 2}, "no scene has more than the 2 views that its fit sees"),
        ({"bound": 0.0}, "bound must be positive"),
        ({"bound": float("nan")}, "bound must be finite"),
        ({"near": 2.0, "far": 1.0}, "near must be below far"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_whole(path, **options)


def test_a_dry_run_of_nothing_reads_one_scene(pack):
    source = open_whole(pack(archive(cars_train=[2, 2])), check_first=0)
    assert len(source.ids) == 2
    assert source.domain.image_size == (SIZE, SIZE)


@pytest.mark.skipif(not DATA.exists(), reason="the shared data are not here")
def test_a_dry_run_of_the_real_scenes_reads_a_few():
    source = open_srn(DATA, check_first=2, views=2)
    assert (len(source.ids), source.domain.bound, source.domain.near, source.domain.far) == (87, 0.5, 0.8, 1.8)
    assert source.labels["category"].names == ("cars", "chairs")
    assert source.provenance["sha256"] is None


def test_a_long_text_is_refused_unread_and_nothing_of_pythons_words_is_passed_on():
    with pytest.raises(MemberError, match="has 100000 bytes, more than 65536"):
        read_intrinsics(b"9" * 100_000)
    with pytest.raises(MemberError, match="expected numbers") as caught:
        read_pose(b"x" * 60_000)
    assert len(str(caught.value)) < 200


def test_a_scene_that_a_dry_run_passed_unread_is_an_error_in_words_when_it_is_read(pack):
    files = scene("a") | scene("b") | scene("c")
    broken = {name: content for name, content in files.items() if not name.startswith("c/pose/")}
    source = open_srn(pack(broken), resolution=None, check_first=1)
    with pytest.raises(MemberError, match="images have no pose"):
        source.read(len(source.ids) - 1)


CONVENTIONS = {
    "opencv": lambda pose: pose,
    "opengl": lambda pose: pose @ np.diag([1, -1, -1, 1]),
    "world-to-camera": np.linalg.inv,
    "opengl-world-to-camera": lambda pose: np.linalg.inv(pose @ np.diag([1, -1, -1, 1])),
}


def written(convention, last=b""):
    """Two scenes whose poses are of a convention, from several heights."""
    files = scene("cars_train/a", 6) | scene("cars_train/b", 6)
    for name in "ab":
        files[f"cars_train/{name}/intrinsics.txt"] += last
        for k, height in enumerate([-40.0, -10.0, 10.0, 25.0, 40.0, 55.0]):
            pose = CONVENTIONS[convention](orbit(6, 1.3, height)[k])
            files[f"cars_train/{name}/pose/{k:06d}.txt"] = " ".join(f"{x:.8f}" for x in pose.ravel()).encode()
    return files


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_poses_are_read_as_the_option_says_and_their_cameras_must_see_the_scene(pack, convention):
    """Rays that met nothing were learned from: the conversion went on and reported 12 dB."""
    path = pack(written(convention))
    expected = open_whole(pack(written("opencv"), name="right")).read(0)
    source = open_whole(path, poses=convention)
    np.testing.assert_allclose(source.read(0), expected, atol=1e-6)
    assert source.provenance.get("poses", "opencv") == convention
    again = SceneOptions.from_plain(source.provenance)
    assert again.poses == convention
    for other in CONVENTIONS:
        if other != convention:
            with pytest.raises((ArchiveError, TooManyRejectsError), match=f"do not see the scene.*{convention} 100%"):
                open_whole(path, poses=other)


def test_poses_that_say_that_they_are_world_to_camera_need_the_option(pack):
    path = pack(written("world-to-camera", last=b"1\n"))
    with pytest.raises(
        (ArchiveError, TooManyRejectsError), match=r"poses are world to camera, .*--poses world-to-camera"
    ):
        open_whole(path)
    assert len(open_whole(path, poses="world-to-camera").ids) == 2


def test_cameras_that_see_nothing_in_any_convention_are_refused(pack):
    files = scene("cars_train/a", 4)
    for k, pose in enumerate(orbit(4, 1.3, 30.0)):
        aside = pose.copy()
        aside[:3, :3] = pose[:3, [2, 1, 0]] * [1, 1, -1]  # looks to the side
        files[f"cars_train/a/pose/{k:06d}.txt"] = " ".join(map(str, aside.ravel())).encode()
    path = pack(files)
    with pytest.raises((ArchiveError, TooManyRejectsError), match="move the origin of the poses into the scene"):
        open_whole(path)
    assert open_whole(path, bound=3.0).domain.bound == 3.0  # whose cameras are inside


def test_a_dry_run_that_passes_a_scene_unread_refuses_its_cameras_when_they_are_read(pack):
    files = written("opencv")
    for k in range(6):
        pose = CONVENTIONS["opengl"](orbit(6, 1.3, 30.0)[k])
        files[f"cars_train/b/pose/{k:06d}.txt"] = " ".join(map(str, pose.ravel())).encode()
    source = open_whole(pack(files), check_first=1)
    with pytest.raises(MemberError, match="cars_train/b: its cameras do not see the scene"):
        source.read(1)


@pytest.mark.parametrize(
    "form",
    [
        "{category}_{split}/{name}",
        "{split}/{category}/{name}",
        "{category}/{split}/{name}",
        "d/{split}_{category}/{name}",
    ],
)
def test_splits_and_categories_are_found_in_any_order_of_folders(pack, form):
    wanted = [(c, s, n) for c in ("cars", "chairs") for s in ("train", "test") for n in ("a", "b")]
    files = {}
    for category, split, name in wanted:
        files |= scene(form.format(category=category, split=split, name=name), 1)
    source = open_whole(pack(files))
    found = {
        (source.labels["category"].names[label], split, name.rsplit("/", 1)[1])
        for label, split, name in zip(source.labels["category"].values, source.split, source.ids, strict=True)
    }
    assert found == set(wanted)


def test_folders_without_splits_are_categories(pack):
    source = open_whole(pack(scene("x/cars/a", 1) | scene("x/chairs/a", 1)))
    assert source.labels["category"].names == ("cars", "chairs")
    assert open_whole(pack(scene("x/cars/a", 1) | scene("x/cars/b", 1), name="one")).labels == {}


def test_splits_that_some_scenes_lack_are_not_taken_and_that_is_said(pack):
    events = []
    files = scene("cars_train/a", 1) | scene("cars_test/b", 1) | scene("more/c", 1)
    source = open_whole(pack(files), report=events.append)
    assert source.provenance["split"] == "every tenth scene held out"
    (note,) = [event.message for event in events if isinstance(event, Note)]
    assert "1 of 3 scenes lie in no folder named as a split, such as more/c" in note
