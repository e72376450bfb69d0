"""Which models an archive holds, and where their classes, splits and the axis that is up are from."""

import json

import numpy as np
import pytest

from functa_store.errors import ArchiveError
from tests.converters.shapes.models import (
    CHAIR,
    CUBE_CORNERS,
    CUBE_FACES,
    PLANE,
    ball,
    csv_of,
    encode_binvox,
    encode_obj,
    encode_off,
    opened,
)

TAXONOMY = json.dumps([{"synsetId": PLANE, "name": "airplane,plane"}, {"synsetId": CHAIR, "name": "chair"}]).encode()
BALL = ball(8)
HOLLOW = BALL & ~ball(8, radius=0.2)
TALL = [(x, 4 * y, z) for x, y, z in CUBE_CORNERS]  # along y
OBJ, OFF = encode_obj(TALL, CUBE_FACES), encode_off(TALL, CUBE_FACES)


def extents(source):
    """Cells of the first shape along z, y and x."""
    return [int(np.ptp(cells)) + 1 for cells in np.nonzero(source.read(0)[..., 0])]


@pytest.mark.parametrize("top", ["", "ShapeNetCore.v1/"])
def test_shapenetcore_v1_has_y_up_the_taxonomys_classes_and_published_splits(pack, top):
    files = {f"{top}{s}/m{k}/model.obj": OBJ for s in (PLANE, CHAIR) for k in range(3)}
    files |= {f"{top}{PLANE}/m0/model.mtl": b"", f"{top}{PLANE}/m0/images/a.jpg": b"", f"{top}taxonomy.json": TAXONOMY}
    rows = [f"{k},{s},{s},m{k},{word}" for s in (PLANE, CHAIR) for k, word in enumerate(("train", "val", "test"))]
    source, notes = opened(pack(files | {f"{top}all.csv": csv_of(*rows)}))
    assert source.ids == [f"{s}/m{k}" for s in (PLANE, CHAIR) for k in range(3)]
    assert source.labels["class"].names == ("airplane", "chair")
    assert source.labels["class"].values.tolist() == [0] * 3 + [1] * 3
    assert source.split.tolist() == ["train", "validation", "test"] * 2
    assert (source.provenance["layout"], source.provenance["up"]) == ("core-v1", "y")
    assert extents(source) == [3, 8, 3]
    assert notes == []


def test_all_files_of_a_model_of_v1_are_one_example_and_prefer_decides_between_them(pack):
    contents = {
        "model.solid.binvox": encode_binvox(BALL),
        "model.surface.binvox": encode_binvox(BALL & ~ball(8, radius=0.3)),
        "model.obj": OBJ,
    }
    files = {f"{PLANE}/m{k}/{name}": content for k in range(3) for name, content in contents.items()}
    path = pack(files)
    for prefer, kind in {"auto": "solid", "solid": "solid", "surface": "surface", "mesh": "mesh"}.items():
        source, notes = opened(path, prefer=prefer)
        assert source.ids == [f"{PLANE}/m{k}" for k in range(3)]
        assert source.provenance["files"] == {kind: 3}
        assert notes == []
    assert extents(source) == [3, 8, 3]


def test_voxels_of_v1_alone_and_a_zip_of_one_synset_are_known_too(pack):
    files = {f"m{k}/model.{kind}.binvox": encode_binvox(HOLLOW) for k in range(2) for kind in ("solid", "surface")}
    source, _ = opened(pack(files, name=CHAIR))
    assert source.ids == [f"{CHAIR}/m0", f"{CHAIR}/m1"]
    np.testing.assert_array_equal(source.read(0)[..., 0], HOLLOW)


@pytest.mark.parametrize(
    "member",
    [
        f"{PLANE}/m{{}}/isosurf.obj",
        f"{PLANE}/m{{}}/models/model.obj",
        f"{PLANE}/m{{}}.off",
        f"x/{PLANE}/train/m{{}}/model.obj",
        f"x/{PLANE}/train/m{{}}/model.binvox",
        f"x/{PLANE}/train/m{{}}/models/model_normalized.obj",
    ],
)
def test_synsets_in_none_of_the_layouts_are_refused_by_what_was_found(pack, member):
    content = encode_binvox(BALL) if member.endswith("binvox") else OFF if member.endswith("off") else OBJ
    path = pack({member.format(k): content for k in range(2)})
    with pytest.raises(ArchiveError, match=rf"found {member.format(0)}, and {PLANE} looks like a synset.*up='y'"):
        opened(path)
    source, _ = opened(path, up="y")
    assert len(source.ids) == 2
    assert "class" not in source.labels


def test_days_and_other_numbers_are_no_synsets(pack):
    source, _ = opened(pack({f"{day}/{k}.off": OFF for day in ("20240131", "19991231", "123456789") for k in "ab"}))
    assert source.labels["class"].names == ("123456789", "19991231", "20240131")


def test_shapenets_models_may_lie_in_folders_of_splits(pack):
    files = {
        f"{split}/{s}/{split}{k}/model.binvox": encode_binvox(BALL)
        for split in ("train", "test")
        for s in (PLANE, CHAIR)
        for k in range(2)
    }
    source, _ = opened(pack(files))
    assert source.labels["class"].names == (PLANE, CHAIR)
    assert dict(zip(source.ids, source.split, strict=True)) == {
        f"{s}/{split}{k}": split for split in ("train", "test") for s in (PLANE, CHAIR) for k in range(2)
    }
    with pytest.raises(ArchiveError, match=f"{CHAIR}/stray lies in no folder of a split"):
        opened(pack(files | {f"extra/{CHAIR}/stray/model.binvox": encode_binvox(BALL)}, name="stray"))


@pytest.mark.parametrize("order", ["{c}/{s}/{c}_{k}.off", "{s}/{c}/{c}_{k}.off"])
def test_modelnet_keeps_its_splits_and_has_z_up_without_a_word(pack, order):
    files = {order.format(c=c, s=s, k=k): OFF for c in ("chair", "sofa") for s in ("train", "test") for k in range(3)}
    source, notes = opened(pack({f"ModelNet2/{name}": content for name, content in files.items()}))
    assert source.labels["class"].names == ("chair", "sofa")
    expected = {f"ModelNet2/{name}": "train" if "train" in name else "test" for name in files}
    assert dict(zip(source.ids, source.split, strict=True)) == expected
    assert extents(source) == [8, 3, 3]  # y was deep, and z is up now
    assert notes == []


def test_one_model_per_split_keeps_its_split(pack):
    source, _ = opened(pack({"train/chair.off": OFF, "test/chair.off": OFF}))
    assert dict(zip(source.ids, source.split, strict=True)) == {"train/chair.off": "train", "test/chair.off": "test"}


def test_one_model_outside_of_the_folders_of_splits_does_not_silently_undo_them(pack):
    files = {f"{c}/{s}/{s}{k}.off": OFF for c in ("chair", "sofa") for s in ("train", "test") for k in range(2)}
    path = pack(files | {"chair/preview.off": OFF})
    with pytest.raises(ArchiveError, match=r"chair/preview\.off lies in no folder of a split"):
        opened(path)
    source, _ = opened(path, split="none")
    assert source.labels["class"].names == ("chair", "sofa")
    assert len(source.ids) == 9


def test_classes_are_not_named_by_a_single_split(pack):
    source, _ = opened(pack({f"{c}/train/{k}.off": OFF for c in ("chair", "sofa") for k in range(2)}))
    assert source.labels["class"].names == ("chair", "sofa")
    assert source.provenance["split"] == "every tenth example held out"


def test_in_folders_files_of_one_model_are_one_example_and_its_folder_is_no_class(pack):
    files = {
        f"{c}/{c}{k}/mesh.{suffix}": content
        for c in ("bed", "desk")
        for k in range(2)
        for suffix, content in (("obj", OBJ), ("off", b"nonsense"))
    }
    files |= {f"bed/bed0/mesh.{kind}.binvox": encode_binvox(HOLLOW) for kind in ("solid", "surface")}
    source, notes = opened(pack(files))
    assert source.ids == ["bed/bed0/mesh", "bed/bed1/mesh.obj", "desk/desk0/mesh.obj", "desk/desk1/mesh.obj"]
    assert source.labels["class"].names == ("bed", "desk")
    assert source.labels["class"].values.tolist() == [0, 0, 1, 1]
    assert source.provenance["files"] == {"solid": 1, "mesh": 3}
    assert notes == [
        "archive.zip: 4 files of shapes, such as bed/bed0/mesh.off, are not taken: the model has another one, or the "
        "layout has none there",
        "archive.zip: nothing says which axis of 3 meshes is up; z is taken, as in ModelNet (see up)",
    ]


def test_which_axis_of_meshes_is_up_is_said_where_nothing_says_so(pack):
    path = pack({f"{c}/{k}.obj": OBJ for c in ("bed", "desk") for k in range(2)})
    source, notes = opened(path)
    assert (extents(source), source.ids[0]) == ([8, 3, 3], "bed/0.obj")
    assert len(notes) == 1
    assert "which axis of 4 meshes is up" in notes[0]
    source, notes = opened(path, up="y")
    assert (extents(source), notes) == ([3, 8, 3], [])
    assert opened(pack({f"{k}.binvox": encode_binvox(BALL) for k in range(2)}, name="voxels"))[1] == []


def test_of_two_layouts_in_one_archive_the_other_one_is_counted(pack):
    files = {f"v1/{PLANE}/m{k}/model.obj": OBJ for k in range(2)}
    files |= {f"v2/{PLANE}/m{k}/models/model_normalized.obj": OBJ for k in range(3)}
    rows = [f"{PLANE},m{k},{{}}" for k in range(3)]
    files["v1/all.csv"] = csv_of(*(r.format("train") for r in rows), header="synsetId,modelId,split")
    words = ["train", "val", "test"]
    files["v2/all.csv"] = csv_of(*map(str.format, rows, words), header="synsetId,modelId,split")
    source, notes = opened(pack(files))
    assert source.provenance["layout"] == "core"
    assert source.split.tolist() == ["train", "validation", "test"]  # of the file above the models
    assert len(notes) == 1
    assert notes[0].startswith(f"archive.zip: 2 files of shapes, such as v1/{PLANE}/m0/model.obj, are not taken")


def modelnet(top, glued=False):
    """As the zips are published: classes above splits, a readme, and what the system that packed them left there."""
    content = encode_off(TALL, CUBE_FACES, glued)
    splits = {"train": range(1, 9), "test": range(9, 11)}
    files = {
        f"{top}/{c}/{split}/{c}_{k:04d}.off": content
        for c in ("bathtub", "night_stand")
        for split, numbers in splits.items()
        for k in numbers
    }
    others = ("README.txt", ".DS_Store", "bathtub/.DS_Store")
    hidden = {f"__MACOSX/{top}/bathtub/train/._bathtub_0001.off": b"\0\5\x16\7", f"__MACOSX/{top}/._README.txt": b"x"}
    return files | {f"{top}/{name}": b"x" for name in others} | hidden


@pytest.mark.parametrize(("top", "glued"), [("ModelNet10", False), ("ModelNet40", True), ("modelnet40_aligned", True)])
def test_modelnets_zips_as_published_keep_their_splits_and_classes(pack, top, glued):
    source, notes = opened(pack(modelnet(top, glued), name=top))
    assert len(source.ids) == 20
    assert source.labels["class"].names == ("bathtub", "night_stand")
    assert source.labels["class"].values.tolist() == [0] * 10 + [1] * 10
    assert source.split.tolist() == (["test"] * 2 + ["train"] * 8) * 2
    assert source.provenance["split"] == "published by folders"
    assert source.provenance["up"] == "z"
    assert source.rejects == []
    assert notes == []
    assert extents(source) == [8, 3, 3]  # long along the y of the file, which is not up


@pytest.mark.parametrize("count", [4, 40, 490])
def test_a_glued_header_may_begin_with_any_digit(pack, count):
    """OFF490 is 490 vertices, and not OFF of four dimensions."""
    corners = (
        [*TALL, *[(0, 0, 0)] * (count - len(TALL))]
        if count > len(TALL)
        else [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)]
    )
    faces = CUBE_FACES if count > len(TALL) else [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    source, _ = opened(
        pack({f"a/{split}/{k}.off": encode_off(corners, faces, True) for split in ("train", "test") for k in "ab"})
    )
    assert len(source.ids) == 4
    assert source.read(0).any()


@pytest.mark.parametrize(
    "files",
    [
        {
            f"modelnet40_normal_resampled/{c}/{c}_{k:04d}.txt": b"0.1,0.2,0.3,0,0,1\n" * 5
            for c in "ab"
            for k in range(3)
        },
        {
            "modelnet40_ply_hdf5_2048/ply_data_train0.h5": b"\x89HDF\r\n\x1a\n",
            "modelnet40_ply_hdf5_2048/test_files.txt": b"x",
        },
        {f"partanno/{PLANE}/points/{k}.pts": b"0.1 0.2 0.3\n" * 5 for k in range(3)},
    ],
)
def test_point_clouds_are_refused_as_such(pack, files):
    lists = {"d/modelnet40_shape_names.txt": b"a\nb\n", "d/filelist.txt": b"a/a_0001.txt\n"}
    with pytest.raises(ArchiveError, match=r"holds points of surfaces, .*convert the meshes .*ModelNet40\.zip"):
        opened(pack(files | lists))


def test_other_texts_are_no_point_clouds(pack):
    with pytest.raises(ArchiveError) as caught:
        opened(pack({"log_1.txt": b"epoch 1\nloss 3\n", "b_2.txt": b"1 2\n3 4\n"}))
    assert "points" not in str(caught.value)
