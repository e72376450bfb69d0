import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from converters.shapes.shapenet import ShapenetOptions, converter, open_shapenet
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    MemberError,
    TooManyRejectsError,
)
from functa_store.progress import Note, silent
from functa_store.sources.options import SurveyOptions
from tests.converters.shapes.models import CUBE_CORNERS, CUBE_FACES, ball, encode_binvox, encode_obj, encode_off

BALL = ball(8)
BINVOX = encode_binvox(BALL)
OBJ = encode_obj(CUBE_CORNERS, CUBE_FACES)
TAXONOMY = json.dumps([{"synsetId": "02691156", "name": "airplane,aeroplane"}, {"synsetId": "1", "name": "x"}]).encode()


def core(kind="solid.binvox", synset="02691156", count=10, content=BINVOX, top=""):
    return {f"{top}{synset}/m{k:02d}/models/model_normalized.{kind}": content for k in range(count)}


def write_tgz(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def open8(path, **options):
    return open_shapenet(path, resolution=options.pop("resolution", 8), **options)


@pytest.mark.parametrize("top", ["", "ShapeNetCore.v2/"])
def test_shapenetcore_gives_an_example_per_model_with_the_taxonomys_classes(pack, kind, top):
    files = core(top=top) | core(synset="04256520", count=5, top=top) | {f"{top}taxonomy.json": TAXONOMY}
    source = open8(pack(files, kind))
    assert list(source.ids[:2]) == ["02691156/m00", "02691156/m01"]
    assert source.labels["class"].names == ("airplane", "04256520")
    assert source.labels["class"].values.tolist() == [0] * 10 + [1] * 5
    assert source.split.tolist().count("test") == 1
    np.testing.assert_array_equal(source.read(3)[..., 0], BALL)
    assert source.read(3).dtype == np.uint8
    assert source.features.columns == ("iou", "accuracy")


def test_a_zip_of_one_synset_takes_its_name_for_the_synset(pack):
    files = {f"m{k}/models/model_normalized.solid.binvox": BINVOX for k in range(3)}
    assert list(open8(pack(files, name="02691156")).ids)[:1] == ["02691156/m0"]


def test_a_folder_of_zips_is_read_as_one_archive(tmp_path):
    for synset in ("02691156", "04256520"):
        with zipfile.ZipFile(tmp_path / f"{synset}.zip", "w") as archive:
            for member, content in core(synset=synset, count=3).items():
                archive.writestr(member, content)
    (tmp_path / "taxonomy.json").write_bytes(TAXONOMY)
    source = open8(tmp_path)
    assert list(source.ids) == [f"{s}/m{k:02d}" for s in ("02691156", "04256520") for k in range(3)]
    assert source.labels["class"].names == ("airplane", "04256520")


def test_zips_inside_a_zip_are_refused_with_what_to_do(pack):
    with pytest.raises(ArchiveError, match=r"zips inside.*unpack the outer archive"):
        open8(pack({"02691156.zip": b"PK", "README.md": b""}))


def test_surfaces_are_filled_and_meshes_are_voxelised_where_nothing_better_is(pack):
    shell = encode_binvox(BALL & ~ball(8, radius=0.2))
    files = {
        "1/a/models/model_normalized.solid.binvox": BINVOX,
        "1/a/models/model_normalized.obj": OBJ,
        "1/b/models/model_normalized.surface.binvox": shell,
        "1/c/models/model_normalized.obj": OBJ,
    }
    source = open8(pack(files))
    np.testing.assert_array_equal(source.read(0)[..., 0], BALL)
    np.testing.assert_array_equal(source.read(1)[..., 0], BALL)
    assert source.read(2).all()
    assert source.provenance["files"] == {"solid": 1, "surface": 1, "mesh": 1}
    assert open8(pack(files, name="again"), prefer="mesh").read(0).all()


def test_shapenetvox32_is_read_from_its_compressed_tar(tmp_path):
    rng = np.random.default_rng(0)
    grids = [rng.random((8, 8, 8)) < 0.5 for _ in range(12)]
    files = {f"ShapeNetVox32/02691156/m{k:02d}/model.binvox": encode_binvox(g) for k, g in enumerate(grids)}
    files["ShapeNetVox32/taxonomy.json"] = TAXONOMY
    source = open8(write_tgz(tmp_path / "vox.tgz", dict(reversed(files.items()))))
    assert source.labels["class"].names == ("airplane",)
    for k, grid in enumerate(grids):
        np.testing.assert_array_equal(source.read(k)[..., 0], grid)
    assert open8(tmp_path / "vox.tgz", check_first=2).read(0).any()


def test_a_truncated_compressed_tar_is_refused(tmp_path):
    path = write_tgz(tmp_path / "vox.tgz", {f"v/1/{k}/model.binvox": BINVOX for k in range(300)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        open8(path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_compressed_tar_cut_inside_its_taxonomy_is_refused(tmp_path, kept):
    taxonomy = json.dumps([{"synsetId": str(k), "name": f"{k**9}"} for k in range(20_000)]).encode()
    path = write_tgz(tmp_path / "vox.tgz", {"v/1/a/model.binvox": BINVOX, "v/taxonomy.json": taxonomy})
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        open8(path)


def test_a_sparse_member_of_a_compressed_tar_is_a_reject(tmp_path):
    path = tmp_path / "vox.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, headers in (("a", {"GNU.sparse.major": "1", "GNU.sparse.realsize": "many"}), ("b", {})):
            info = tarfile.TarInfo(f"v/1/{name}/model.binvox")
            info.pax_headers = headers
            info.size = len(BINVOX)
            archive.addfile(info, io.BytesIO(BINVOX))
    source = open8(path, max_rejects=0.5)
    assert [(r.member, r.reason) for r in source.rejects] == [
        ("v/1/a/model.binvox", "is a link, device or sparse file")
    ]


def test_a_dry_run_over_a_compressed_tar_reports_and_reads_also_what_it_did_not_survey(tmp_path):
    bad = {f"v/0/{k:02d}/model.binvox": b"junk" for k in range(4)}
    good = {f"v/1/{k:02d}/model.binvox": BINVOX for k in range(12)}
    path = write_tgz(tmp_path / "vox.tgz", bad | good)
    source = open8(path, check_first=4, max_rejects=0.5)
    assert (len(source.ids), len(source.rejects)) == (12, 4)
    np.testing.assert_array_equal(source.read(11)[..., 0], BALL)
    with pytest.raises(TooManyRejectsError):
        open8(path, check_first=4)


@pytest.mark.parametrize("order", ["{cls}/{split}/{k}.off", "{split}/{cls}/{k}.off"])
def test_modelnet_has_classes_and_published_splits(pack, order):
    files = {
        "ModelNet2/" + order.format(cls=cls, split=split, k=f"{cls}_{k}"): encode_off(
            [(x, y, 4 * z) for x, y, z in CUBE_CORNERS], CUBE_FACES, glued=bool(k)
        )
        for cls in ("chair", "sofa")
        for split in ("train", "test")
        for k in range(2)
    }
    source = open8(pack(files))
    assert source.labels["class"].names == ("chair", "sofa")
    assert sorted(source.split) == ["test"] * 4 + ["train"] * 4
    assert source.provenance["split"].startswith("published ")
    first = source.read(0)[..., 0]
    assert first.any(axis=(0, 2)).all()  # z was up, now y is
    assert not first[:, :, 0].any()  # and the rest lies in the middle
    assert open8(pack(files, name="again"), up="y").read(0)[..., 0].any(axis=(1, 2)).all()


def csv_of(rows):
    return ("id,synsetId,subSynsetId,modelId,split\n" + "".join(rows)).encode()


def test_the_official_split_file_decides_and_models_it_does_not_list_are_left_out(pack, tmp_path):
    rows = [f"{k},2691156,0,m{k:02d},{'test' if k % 2 else 'train'}\n" for k in range(8)]
    rows += ["9,4256520,0,unknown,val\n"]
    source = open8(pack(core() | {"all.csv": csv_of(rows)}))
    assert source.split.tolist() == ["train", "test"] * 4
    assert source.provenance["models_without_split"] == 2
    (tmp_path / "mine.csv").write_bytes(csv_of(["0,02691156,0,m01,val\n", "0,02691156,0,m02,train\n"]))
    given = open8(pack(core(), name="other"), split=tmp_path / "mine.csv")
    assert dict(zip(given.ids, given.split, strict=True)) == {"02691156/m01": "validation", "02691156/m02": "train"}
    assert (
        open8(pack(core() | {"all.csv": csv_of(rows)}, name="third"), split="none").provenance["split"]
        == "every tenth example held out"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (csv_of(["1,04256520,0,unknown,train\n"]), "none of them in the archive"),
        (csv_of(["1,02691156,0,m00,part\n"]), "one of train, val, test"),
        (csv_of(["1,02691156,0,m00,train\n", "1,02691156,0,m00,test\n"]), "line 3.*as in an earlier line"),
        (b"a,b\n1,2\n", "expected also synsetId"),
        (b"\xff\xfe", "no text in UTF-8"),
        (csv_of([f"1,{'x' * 200_000},0,m00,train\n"]), "no CSV"),
    ],
)
def test_a_wrong_split_file_is_refused(pack, content, message):
    with pytest.raises(ArchiveError, match=message):
        open8(pack(core() | {"all.csv": content}))


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"a": 1}', b"[" * 100_000], ids=len)
def test_a_wrong_taxonomy_is_refused(pack, content):
    with pytest.raises(ArchiveError, match="no taxonomy"):
        open8(pack(core() | {"taxonomy.json": content}))


def test_finer_voxels_are_pooled_by_their_mean_or_by_any_of_them(pack):
    occupied = np.zeros((8, 8, 8), bool)
    occupied[:2, :2, :2] = occupied[2, :2, :2] = True  # 8 and 4 of 8 cells
    occupied[4, 4, 4] = True  # 1 of 8
    path = pack(core(count=2, content=encode_binvox(occupied)))
    assert np.argwhere(open8(path, resolution=4).read(0)[..., 0]).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert open8(path, resolution=4, pool="any").read(0).sum() == 3


def plate(thickness, size=16):
    """Cells across the whole grid, so many high."""
    occupied = np.zeros((size,) * 3, bool)
    occupied[:, 8 : 8 + thickness, :] = True
    return occupied


def test_thin_shapes_are_kept_and_counted_once(pack):
    """Of a plate that fills a quarter of the coarse cells nothing would be left; any occupied cell counts instead."""
    wire = np.zeros((16, 16, 16), bool)
    wire[3, 5, :] = True
    legs = plate(8)
    legs[::8, :8, ::8] = True  # thin parts of what is thick stay away, unless asked for
    half = np.zeros((16, 16, 16), bool)
    half[:4, :4, :4], half[4:, 4:6, 4:6] = True, True  # 64 and 48 cells; of the latter nothing is left
    half[8:, 9, 9] = half[8:, 15, 15] = half[8:, 1, 15] = True
    shapes = {"1/a": plate(1), "1/b": wire, "1/c": legs, "1/d": half}
    files = {f"{name}/model.binvox": encode_binvox(grid) for name, grid in shapes.items()}
    notes = []
    source = open8(
        pack(files), resolution=4, max_rejects=0.0, report=lambda e: isinstance(e, Note) and notes.append(e.message)
    )
    assert source.rejects == []
    expected = np.zeros((4, 4, 4), bool)
    expected[:, 2, :] = True
    np.testing.assert_array_equal(source.read(0)[..., 0], expected)
    assert np.argwhere(source.read(1)[..., 0]).tolist() == [[0, 1, k] for k in range(4)]
    expected[:, 3, :] = True
    np.testing.assert_array_equal(source.read(2)[..., 0], expected)
    assert np.argwhere(source.read(3)[..., 0]).tolist() == [[0, 0, 0]]
    assert [n.split(": ", 1)[1] for n in notes] == [
        "2 of 4 shapes have no half full cell at 4 cells per axis, so that any occupied one counts; "
        "1 of 4 shapes keep less than half of their volume at 4 cells per axis; "
        "pool='any' keeps what is thin in all of them"
    ]
    assert source.provenance["thin"] == 2
    assert "thin" not in open8(pack(files, name="again"), resolution=4, pool="any").provenance


@pytest.mark.parametrize("kind", ["solid", "surface"])
def test_no_shape_that_has_a_cell_becomes_empty(pack, kind):
    grid = np.zeros((64, 64, 64), bool)
    grid[40, 50, 60] = True
    source = open8(pack(core(f"{kind}.binvox", count=1, content=encode_binvox(grid))), resolution=8)
    assert np.argwhere(source.read(0)[..., 0]).tolist() == [[5, 6, 7]]


def test_a_mesh_thinner_than_a_cell_fills_the_cells_that_it_passes_through(pack):
    corners = [(x, y / 1000, z) for x, y, z in CUBE_CORNERS]
    source = open8(pack(core("obj", count=1, content=encode_obj(corners, CUBE_FACES))))
    assert source.read(0)[:, 0, :, 0].all()
    assert source.read(0).sum() == 64


def test_whatever_a_library_raises_over_one_model_is_a_reject(pack, monkeypatch):
    def stumble(mesh, resolution, centred):
        if mesh.vertices.max() == 2:
            raise IndexError("out of bounds")
        return np.ones((resolution,) * 3, bool)

    monkeypatch.setattr("converters.shapes.shape_files.voxelise", stumble)
    files = core("obj", count=3, content=OBJ) | core("obj", "1", 1, encode_obj(np.array(CUBE_CORNERS) * 2, CUBE_FACES))
    source = open8(pack(files), max_rejects=0.5)
    assert [(r.member, r.reason) for r in source.rejects] == [
        ("1/m00/models/model_normalized.obj", "cannot be read: IndexError: out of bounds")
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BINVOX[:-2], "truncated"),
        (b"", "no binvox file"),
        (encode_binvox(np.zeros((8, 8, 8), bool)), "is empty: no cell"),
        (encode_binvox(np.ones((8, 4, 8), bool)), "8x4x8 cells, which do not divide"),
        (encode_binvox(ball(12)), "do not divide into 8"),
        (encode_binvox(np.zeros((16, 16, 16), bool)), "is empty: no cell"),
        (
            BINVOX[: BINVOX.index(b"data\n") + 5] + bytes([1, 255, 1, 255, 0, 1]),
            "holds 511 cells, but its header promises",
        ),
        (BINVOX.replace(b"dim 8 8 8", b"dim 16 16 16"), "but its header promises 4096: truncated"),
    ],
)
def test_a_model_that_cannot_be_used_is_rejected_with_its_reason(pack, content, reason):
    path = pack(core() | core(synset="9", count=1, content=content))
    source = open8(path, max_rejects=0.2)
    assert [reject.member for reject in source.rejects] == ["9/m00/models/model_normalized.solid.binvox"]
    assert reason in source.rejects[0].reason
    assert len(source.ids) == 10
    with pytest.raises(TooManyRejectsError, match="1 of 11"):
        open8(path)


def test_a_mesh_without_faces_is_rejected(pack):
    files = core(kind="obj", content=OBJ) | core(kind="obj", synset="9", count=1, content=b"v 0 0 0\n")
    assert len(open8(pack(files), max_rejects=0.2).rejects) == 1


@pytest.mark.parametrize("files", [{"readme.txt": b"x"}, {"a/b.npy": b""}])
def test_an_archive_without_shapes_says_what_it_holds(pack, files):
    with pytest.raises(ArchiveError, match=r"no shapes; found 1 .*expected the layout"):
        open8(pack(files))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="empty"):
        open8(tmp_path)


@pytest.mark.parametrize(
    "options", [{"resolution": 1}, {"resolution": 2**20}, {"prefer": "x"}, {"pool": "max"}, {"up": "x"}, {"limit": 0}]
)
@pytest.mark.usefixtures("unchecked")
def test_options_out_of_range_are_refused(pack, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        open8(pack(core()), **options)


@pytest.mark.parametrize("resolution", [8.5, "8", True])
@pytest.mark.usefixtures("unchecked")
def test_a_resolution_that_is_no_whole_number_is_refused(pack, resolution):
    with pytest.raises(ConfigError, match="resolution must be a whole number"):
        open8(pack(core()), resolution=resolution)


def test_a_model_that_has_gone_says_which(pack):
    path = pack(core(), "folder")
    source = open8(path)
    (path / "02691156/m00/models/model_normalized.solid.binvox").unlink()
    with pytest.raises(MemberError, match="m00/models"):
        source.read(0)


def test_what_a_store_keeps_of_the_options_opens_the_same_source(pack):
    path = str(pack(core()))
    source = converter.open(path, ShapenetOptions(resolution=4, pool="any"), SurveyOptions(max_rejects=0.0), silent)
    again = converter.open(path, ShapenetOptions.from_plain(source.provenance), SurveyOptions(), silent)
    assert again.provenance == source.provenance
    np.testing.assert_array_equal(again.read(1), source.read(1))


def test_presets_name_themselves():
    for name, preset in converter.presets.items():
        assert preset.config.preset == name
        assert preset.source.keys() == {"resolution"}


def test_shapes_edited_after_the_survey_are_noticed(tmp_path):
    path = write_tgz(tmp_path / "vox.tgz", {f"v/1/{k}/model.binvox": BINVOX for k in range(3)})
    source = open8(path)
    source.check_unchanged()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ArchiveError, match=r"vox\.tgz: was changed while"):
        source.check_unchanged()


def test_thousands_of_classes_are_named_in_linear_time(pack):
    files = {f"{k:08}/m/model.binvox": BINVOX for k in range(3000)}
    assert len(open8(pack(files), check_first=0).labels["class"].names) == 3000
