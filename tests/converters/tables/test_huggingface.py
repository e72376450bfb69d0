"""Data sets of the hub: which rows, splits, classes and values become examples."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from converters.tables.huggingface import HUGGINGFACE_PRESETS, TableOptions, converter, open_huggingface
from functa_store.conversion.convert import plan
from functa_store.errors import ArchiveError, ConfigError, TooManyRejectsError
from functa_store.plugins import _check_converter
from functa_store.progress import Note
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import origin
from tests.converters.tables.tables import IMAGE, files, pictures, png, split, wav, write
from tests.remote.servers import web_server


def notes_of(archive, **options):
    told = []
    source = open_huggingface(archive, report=told.append, **options)
    return source, [event.message for event in told if isinstance(event, Note)]


@pytest.fixture(name="hub")
def _hub(tmp_path):
    """A clone of a data set: two files to learn from, one held out."""
    pixels = pictures(12)
    split(tmp_path / "tiny/data/train-00000-of-00002.parquet", pixels[:4])
    split(tmp_path / "tiny/data/train-00001-of-00002.parquet", pixels[4:8], [1, 1, 1, 0])
    split(tmp_path / "tiny/data/test-00000-of-00001.parquet", pixels[8:], [-1, -1, -1, -1])
    return tmp_path / "tiny", pixels


def test_images_splits_and_classes_are_as_published(hub):
    folder, pixels = hub
    source = open_huggingface(folder, resolution=8)
    assert source.ids[0] == "train/train-00000-of-00002/0"
    assert source.ids[-1] == "test/test-00000-of-00001/3"
    assert source.split.tolist() == ["train"] * 8 + ["test"] * 4
    assert np.array_equal([source.read(k) for k in range(12)], pixels)
    label = source.labels["label"]
    assert label.names == ("cat", "dog", "(none)")
    assert label.values.tolist() == [0, 1, 0, 1, 1, 1, 1, 0, 2, 2, 2, 2]
    assert "splits published by file names (test, train): 4 test, 8 train" in origin(source)
    assert "label label by column label: 4 cat" not in origin(source)
    assert "label label by column label: 3 cat, 5 dog, 4 (none)" in origin(source)


def test_other_columns_are_labels_or_are_said_to_be_left_out(tmp_path):
    columns = {
        "image": files(map(png, pictures(10))),
        "source": pa.array(["web", "book", None, "web", "web"] * 2),
        "caption": [f"picture {k}" for k in range(10)],
        "size": pa.array([1.5, None] * 5, pa.float32()),
        "age": pa.array([1, None] * 5, pa.int32()),
        "big": pa.array([2**60 + 1, None] * 5, pa.int64()),
        "good": [True, False] * 5,
        "boxes": [[1, 2]] * 10,
        "when": pa.array([0] * 10, pa.timestamp("s")),
        "a/b": [1] * 10,
        "Size": [1] * 10,
        "kind": pa.array(["x", "y"] * 5).dictionary_encode(),
    }
    source, notes = notes_of(write(tmp_path / "t.parquet", columns, row_group_size=3), resolution=8)
    assert set(source.labels) == {"source", "size", "age", "good", "kind"}
    assert source.labels["source"].names == ("book", "web", "(none)")
    assert source.labels["source"].values.tolist() == [1, 0, 2, 1, 1] * 2
    np.testing.assert_array_equal(source.labels["size"].values, np.array([1.5, np.nan] * 5, np.float32))
    np.testing.assert_array_equal(source.labels["age"].values, [1, np.nan] * 5)
    assert source.labels["good"].values.tolist() == [True, False] * 5
    assert source.labels["kind"].names == ("x", "y")
    for column, reason in [
        ("caption", "10 different texts in 10 rows"),
        ("big", "more than 53 bits"),
        ("boxes", "neither numbers nor texts"),
        ("when", "neither numbers nor texts"),
        ("a/b", "slash"),
        ("Size", "letters' case"),
    ]:
        assert any(repr(column) in note and reason in note for note in notes), column
        assert reason in source.provenance["columns_left_out"][column]


def test_classes_without_a_name_are_refused(tmp_path):
    split(tmp_path / "t.parquet", pictures(4), [0, 1, 2, 1])
    with pytest.raises(ArchiveError, match=r"'label': holds the class 2, but the names published are those of 2"):
        open_huggingface(tmp_path / "t.parquet", resolution=8)


@pytest.mark.parametrize("names", ["{'0': cat, '1': dog}", "[cat, dog]"])
def test_a_readme_says_files_splits_and_classes(tmp_path, names):
    """Front matter counts, not names of files: held.parquet is the test split, and other.parquet is not taken."""
    pixels = pictures(8)
    split(tmp_path / "d/a/first.parquet", pixels[:5], features=None)
    split(tmp_path / "d/a/held.parquet", pixels[5:], features=None)
    split(tmp_path / "d/b/train.parquet", pixels, features=None)
    (tmp_path / "d/README.md").write_text(
        f"""---
license: mit
configs:
- config_name: small
  data_files:
  - split: train
    path: a/f*.parquet
  - split: test
    path: [a/held.parquet]
- config_name: large
  data_files: b/*.parquet
dataset_info:
- config_name: small
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names: {names}
  splits:
  - name: train
    num_examples: 6
---
# Tiny
"""
    )
    with pytest.raises(ArchiveError, match="2 configurations; name one of large, small by --config-name"):
        open_huggingface(tmp_path / "d")
    with pytest.raises(ArchiveError, match="no configuration 'middle', expected one of large, small"):
        open_huggingface(tmp_path / "d", config_name="middle")
    source, notes = notes_of(tmp_path / "d", config_name="small", resolution=8)
    assert source.ids == [*(f"train/first/{k}" for k in range(5)), *(f"test/held/{k}" for k in range(3))]
    assert source.split.tolist() == ["train"] * 5 + ["test"] * 3
    assert source.labels["label"].names == ("cat", "dog")
    assert source.provenance["split"] == "published by README.md (test, train)"
    assert any("counts 6 examples in train, found 5" in note for note in notes)


def test_files_that_a_readme_names_must_be_there(tmp_path):
    split(tmp_path / "d/train.parquet", pictures(3))
    front = {"configs": [{"data_files": [{"split": s, "path": f"{s}.parquet"} for s in ("train", "test")]}]}
    (tmp_path / "d/README.md").write_text(f"---\n{json.dumps(front)}\n---\n")
    with pytest.raises(ArchiveError, match=r"README.md names the files test.parquet, which are not there"):
        open_huggingface(tmp_path / "d")


def test_class_names_of_dataset_infos_json(tmp_path):
    split(tmp_path / "d/train.parquet", pictures(3), features=None)
    infos = {"default": {"features": {"label": {"_type": "ClassLabel", "names": ["no", "yes"]}}, "splits": {}}}
    (tmp_path / "d/dataset_infos.json").write_text(json.dumps(infos))
    assert open_huggingface(tmp_path / "d", resolution=8).labels["label"].names == ("no", "yes")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.parquet", "test.parquet"], ["train", "test"]),
        (["train/0000.parquet", "validation/0000.parquet"], ["train", "validation"]),
        (["default/train/0000.parquet", "default/test/0000.parquet"], ["train", "test"]),
        (["data/train/part-0.parquet", "data/val/part-0.parquet"], ["train", "validation"]),
        (["mnist-train-v2.parquet", "mnist-test-v2.parquet"], ["train", "test"]),
        (["train-00000-of-00001-0123abcd.parquet", "test-00000-of-00001-4567abcd.parquet"], ["train", "test"]),
        (["a.parquet", "b.parquet"], None),
    ],
)
def test_names_of_files_and_folders_say_splits(tmp_path, names, splits):
    for name in names:
        split(tmp_path / "d" / name, pictures(12))
    source = open_huggingface(tmp_path / "d", resolution=8)
    if splits is None:
        assert source.provenance["split"] == "every tenth example held out"
        assert np.flatnonzero(source.split == "test").tolist() == [9, 19]
    else:
        assert source.split.tolist() == [word for word in splits for _ in range(12)]


def test_one_file_alone_is_of_no_split(tmp_path):
    """Its name may say train; without another one, some of it is held out."""
    source = open_huggingface(split(tmp_path / "train-00000-of-00005.parquet", pictures(10)), resolution=8)
    assert source.split.tolist() == ["train"] * 9 + ["test"]
    assert source.ids[0] == "train-00000-of-00005/0"


def test_shards_that_are_missing_are_refused(tmp_path):
    split(tmp_path / "d/train-00000-of-00003.parquet", pictures(3))
    split(tmp_path / "d/train-00002-of-00003.parquet", pictures(3))
    with pytest.raises(ArchiveError, match=r"2 of 3 files train-.*; number 00001 is missing"):
        open_huggingface(tmp_path / "d")


def test_folders_that_are_no_splits_are_configurations(tmp_path):
    for config in ("plain", "noisy"):
        split(tmp_path / f"d/{config}/train-00000-of-00001.parquet", pictures(3))
    with pytest.raises(ArchiveError, match="2 configurations; name one of noisy, plain by --config-name"):
        open_huggingface(tmp_path / "d")
    source = open_huggingface(tmp_path / "d", config_name="noisy", resolution=8)
    assert (len(source.ids), source.provenance["configuration"]) == (3, "noisy")


def test_splits_of_other_names_are_asked_about(tmp_path):
    for name, count in (("train", 4), ("test", 2), ("unlabelled", 3)):
        split(tmp_path / f"d/{name}-00000-of-00001.parquet", pictures(count))
    with pytest.raises(ArchiveError, match=r"other splits than train, .* unlabelled \(3\).*--unsplit leave-out or"):
        open_huggingface(tmp_path / "d")
    source, notes = notes_of(tmp_path / "d", unsplit="leave-out", resolution=8)
    assert source.split.tolist() == ["train"] * 4 + ["test"] * 2
    assert any("left out are 3 rows of unlabelled" in note for note in notes)
    source = open_huggingface(tmp_path / "d", unsplit="train", resolution=8)
    assert source.split.tolist() == ["train"] * 4 + ["test"] * 2 + ["train"] * 3


def test_a_column_says_splits(tmp_path):
    words = ["train", "val", "test", "train"]
    columns = {"image": files(map(png, pictures(4))), "split": words, "fold": ["a", "b", "a", "b"]}
    source = open_huggingface(write(tmp_path / "d/train.parquet", columns), resolution=8)
    assert source.split.tolist() == ["train", "validation", "test", "train"]
    assert (source.provenance["split"], set(source.labels)) == ("published in column split", {"fold"})
    with pytest.raises(ArchiveError, match="column 'fold' says 'a', expected train, validation or test"):
        open_huggingface(tmp_path / "d", split_column="fold", resolution=8)
    with pytest.raises(ArchiveError, match="no column 'part' of few texts, expected one of 'split', 'fold'"):
        open_huggingface(tmp_path / "d", split_column="part", resolution=8)


def test_a_share_of_the_only_split_is_held_out_if_asked(hub, tmp_path):
    split(tmp_path / "one/train.parquet", pictures(8))
    assert set(open_huggingface(tmp_path / "one", resolution=8).split) == {"train"}
    source = open_huggingface(tmp_path / "one", holdout=0.25, resolution=8)
    assert np.flatnonzero(source.split == "test").tolist() == [3, 7]
    with pytest.raises(ArchiveError, match=r"splits are published by file names .*; leave out holdout"):
        open_huggingface(hub[0], holdout=0.25)


def test_rows_without_bytes_are_rejects(tmp_path):
    contents = [png(pixels) for pixels in pictures(20)]
    contents[3], contents[5] = None, b"\x89PNG\r\n\x1a\nnothing"
    path = write(tmp_path / "t.parquet", {"image": files(contents)})
    with pytest.raises(TooManyRejectsError, match="has no bytes in column 'image'; if it has a path alone"):
        open_huggingface(path)
    source = open_huggingface(path, max_rejects=0.2, resolution=8)
    assert [reject.member for reject in source.rejects] == ["t/03", "t/05"]
    assert len(source.ids) == 18
    assert source.ids[3] == "t/04"


def test_ids_of_a_column(tmp_path):
    columns = {"image": files(map(png, pictures(4))), "key": ["d", "c", "b", "a"], "same": [1, 1, 2, 3]}
    path = write(tmp_path / "t.parquet", columns)
    assert open_huggingface(path, ids="key", resolution=8).ids == ["d", "c", "b", "a"]
    source = open_huggingface(path, ids="image.path", resolution=8)
    assert source.ids == ["0.png", "1.png", "2.png", "3.png"]
    assert np.array_equal(source.read(2), pictures(4)[2])
    with pytest.raises(ArchiveError, match="'1' is the id of two rows"):
        open_huggingface(path, ids="same")


def test_several_columns_of_images_are_asked_about(tmp_path):
    first, second = pictures(3), pictures(3, seed=1)
    path = write(tmp_path / "t.parquet", {"image": files(map(png, first)), "mask": files(map(png, second))})
    with pytest.raises(ArchiveError, match=r"image \(image\), mask \(image\); name one by --column"):
        open_huggingface(path)
    with pytest.raises(ArchiveError, match="no column 'depth', expected one of 'image', 'mask'"):
        open_huggingface(path, column="depth")
    source, notes = notes_of(path, column="mask", resolution=8)
    assert np.array_equal(source.read(1), second[1])
    assert any("examples are column 'mask'; not 'image'" in note for note in notes)


def test_bytes_without_a_struct_are_known_by_how_they_begin(tmp_path):
    columns = {"blob": [b"nothing"] * 3, "picture": list(map(png, pictures(3)))}
    source = open_huggingface(write(tmp_path / "t.parquet", columns), resolution=8)
    assert source.provenance["data_column"] == "picture"
    assert np.array_equal(source.read(2), pictures(3)[2])
    with pytest.raises(ArchiveError, match="none of images, sounds or arrays"):
        open_huggingface(write(tmp_path / "u.parquet", {"blob": [b"nothing"], "text": ["a"]}))


def test_sounds_become_windows_with_the_labels_and_split_of_their_row(tmp_path):
    time = np.arange(1000) / 8000
    sounds = [0.5 * np.sin(2 * np.pi * (200 + 10 * k) * time) for k in range(6)]
    for name, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
        columns = {
            "audio": files((wav(s) for s in sounds[part]), "wav"),
            "speaker": [["ann", "bob"][k % 2] for k in range(6)][part],
        }
        write(
            tmp_path / f"d/{name}-00000-of-00001.parquet", columns, {"audio": {"_type": "Audio", "sampling_rate": 8000}}
        )
    source = open_huggingface(tmp_path / "d", samples=400)
    assert source.ids[:3] == [f"train/train-00000-of-00001/{k}.wav#{w}" for k, w in ((0, 0), (0, 1), (1, 0))]
    assert source.split.tolist() == ["train"] * 8 + ["test"] * 4
    assert source.labels["speaker"].names == ("ann", "bob")
    assert source.labels["speaker"].values.tolist() == [0, 0, 1, 1] * 3
    np.testing.assert_allclose(source.read(3)[:, 0], sounds[1][400:800], atol=1e-4)
    assert source.provenance["labels_by"] == {"file": "rows", "speaker": "column speaker"}
    assert (source.provenance["samples"], source.provenance["converter"]) == (400, "huggingface")
    with pytest.raises(ConfigError, match="column 'audio' holds sounds; take --preset audio-fast, or give the length"):
        open_huggingface(tmp_path / "d")
    with pytest.raises(ConfigError, match="augment=2 is not for column 'audio'"):
        open_huggingface(tmp_path / "d", samples=400, augment=2)
    with pytest.raises(ConfigError, match="resolution=32 is not for column 'audio'"):
        open_huggingface(tmp_path / "d", samples=400, resolution=32)


def test_sounds_without_splits_are_held_out_row_by_row(tmp_path):
    """A file's name may look like a split; it is one file alone."""
    sounds = [wav(0.5 * np.cos(np.arange(800) * (k + 1) / 10)) for k in range(10)]
    path = write(tmp_path / "test-0000.parquet", {"audio": files(sounds, "wav")})
    source = open_huggingface(path, samples=400)
    assert source.split.tolist() == ["train"] * 18 + ["test"] * 2
    assert set(open_huggingface(path, samples=400, holdout=0.5).split[:4]) == {"train", "test"}


@pytest.mark.parametrize("kind", [pa.list_(pa.list_(pa.float32())), pa.list_(pa.list_(pa.float32(), 6), 4), None])
def test_arrays_keep_their_values_and_shape(tmp_path, kind):
    values = np.random.default_rng(0).random((25, 4, 6)).astype(np.float32)
    column = pa.array(values.astype(float).tolist(), kind) if kind else pa.array(values.astype(float).tolist())
    features = {"field": {"_type": "Array2D", "shape": [4, 6], "dtype": "float32"}}
    columns = {"field": column, "label": [k % 3 for k in range(25)]}
    path = write(tmp_path / "t.parquet", columns, features, row_group_size=10)
    with pytest.raises(ConfigError, match=r"shape \(4, 6\); say which axis is the channels' by --channels-axis"):
        open_huggingface(path)
    source = open_huggingface(path, channels_axis="none", value_range="0,1", units="K")
    assert (source.domain.resolution, source.features.units) == ((4, 6), ("K",))
    for k in (0, 9, 10, 24):
        np.testing.assert_allclose(source.read(k)[..., 0], values[k], rtol=1e-6)
    assert source.labels["label"].values.tolist() == [k % 3 for k in range(25)]
    assert source.provenance["split"] == "every tenth example held out"
    channels = open_huggingface(path, channels_axis="last", value_range="0,1")
    assert (channels.domain.resolution, channels.features.num_channels) == ((4,), 6)


def test_arrays_of_another_shape_are_rejects(tmp_path):
    rows = [[1.0, 2.0, 3.0]] * 20
    rows[7], rows[8], rows[9] = [1.0], None, [1.0, None, 2.0]
    source = open_huggingface(write(tmp_path / "t.parquet", {"x": rows}, row_group_size=6), max_rejects=0.2)
    assert {reject.member: reject.reason for reject in source.rejects} == {
        "t/07": "cannot be read: has the shape (1,), expected (3,)",
        "t/08": "cannot be read: is null, or has a null among its lists",
        "t/09": "holds 1 values that are NaN; say that NaN means missing, or fill them",
    }


def test_arrays_beside_images_are_not_the_data(tmp_path):
    columns = {"image": files(map(png, pictures(3))), "embedding": [[1.0, 2.0]] * 3}
    source, notes = notes_of(write(tmp_path / "t.parquet", columns), resolution=8)
    assert source.provenance["data_column"] == "image"
    assert any("'embedding'" in note for note in notes)


def test_files_of_several_data_sets_in_one_folder_are_refused(tmp_path):
    split(tmp_path / "d/train.parquet", pictures(3))
    other = {**IMAGE, "label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}
    split(tmp_path / "d/test.parquet", pictures(3), features=other)
    with pytest.raises(ArchiveError, match=r"column 'label' is .* in test/test, but .* in train/train"):
        open_huggingface(tmp_path / "d")
    write(tmp_path / "e/train.parquet", {"image": files(map(png, pictures(3))), "label": [1, 2, 3]})
    write(tmp_path / "e/test.parquet", {"image": files(map(png, pictures(3)))})
    with pytest.raises(ArchiveError, match="test/test: has no column 'label' as other files have"):
        open_huggingface(tmp_path / "e")


def test_wrong_inputs_say_what_to_do(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/data-00000-of-00001.arrow").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"load_from_disk.*functa_store.from_huggingface"):
        open_huggingface(tmp_path / "saved")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/1.png").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"no Parquet files; found 1 .png.*has its own converter"):
        open_huggingface(tmp_path / "photos")
    with pytest.raises(ArchiveError, match="no such file or folder, and no name of a data set"):
        open_huggingface(tmp_path / "nowhere.parquet")
    with pytest.raises(ArchiveError, match=r"no rows"):
        open_huggingface(split(tmp_path / "empty.parquet", pictures(0)))
    (tmp_path / "photos/2.parquet").symlink_to(split(tmp_path / "t.parquet", pictures(2)))
    with pytest.raises(ArchiveError, match="leads out of the folder"):
        open_huggingface(tmp_path / "photos")


def test_a_snapshot_of_the_hubs_cache_is_a_folder_of_links(tmp_path):
    """~/.cache/huggingface/hub/datasets--me--tiny has files in blobs/, and links to them in snapshots/REVISION/."""
    split(tmp_path / "datasets--me--tiny/blobs/abc", pictures(4))
    (tmp_path / "datasets--me--tiny/snapshots/1f/data").mkdir(parents=True)
    (tmp_path / "datasets--me--tiny/snapshots/1f/data/train-00000-of-00001.parquet").symlink_to("../../../blobs/abc")
    source = open_huggingface(tmp_path / "datasets--me--tiny/snapshots/1f", resolution=8)
    assert source.ids[3] == "train/train-00000-of-00001/3"
    assert np.array_equal(source.read(3), pictures(4)[3])


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"compression": "none", "use_dictionary": False}, {"compression": "snappy"}])
def test_by_url_and_by_name_it_is_the_same_as_on_a_disk(hub, tmp_path, monkeypatch, options):
    """The hub lists Parquet files at api/datasets/NAME/parquet, by configuration and split."""
    pixels = hub[1]
    www = tmp_path / "www"
    split(www / "files/0.parquet", pixels[:8], **options)
    split(www / "files/partial-test/0.parquet", pixels[8:], **options)
    with web_server(www) as port:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        here = f"http://127.0.0.1:{port}/files"
        listing = {"default": {"test": [f"{here}/partial-test/0.parquet"], "train": [f"{here}/0.parquet"]}}
        (www / "api/datasets/me/tiny").mkdir(parents=True)
        (www / "api/datasets/me/tiny/parquet").write_text(json.dumps(listing))
        for name in ("me/tiny", "hf://datasets/me/tiny"):
            source, notes = notes_of(name, resolution=8)
            assert source.ids == [*(f"train/0/{k}" for k in range(8)), *(f"test/0/{k}" for k in range(4))]
            assert np.array_equal([source.read(k) for k in range(12)], pixels)
            assert source.labels["label"].names == ("cat", "dog")
            assert source.provenance["split"] == "published by the hub (test, train)"
            assert any("only a first part of test" in note for note in notes)
        source = open_huggingface(f"{here}/0.parquet", resolution=8)
        assert np.array_equal(source.read(7), pixels[7])
        assert source.provenance["sha256"] == open_huggingface(f"{here}/0.parquet", resolution=8).provenance["sha256"]
        split(www / "files/0.parquet", pixels[:7], **options)
        with pytest.raises(ArchiveError, match="was changed while it was being converted"):
            source.check_unchanged()
        listing["other"] = listing["default"]
        (www / "api/datasets/me/tiny/parquet").write_text(json.dumps(listing))
        with pytest.raises(ArchiveError, match="2 configurations; name one of default, other"):
            open_huggingface("me/tiny")
        split(www / "datasets/me/tiny/resolve/main/data/1.parquet", pixels[:5])
        assert len(open_huggingface("hf://datasets/me/tiny/data/1.parquet", resolution=8).ids) == 5
        with pytest.raises(ArchiveError, match=r"me/none: no such file or folder here, and no public data set"):
            open_huggingface("me/none")
        with pytest.raises(ArchiveError, match="no such file"):
            open_huggingface(f"{here}/9.parquet")


def test_a_changed_file_is_noticed(hub):
    source = open_huggingface(hub[0], resolution=8)
    again = open_huggingface(hub[0], resolution=8)
    assert source.provenance == again.provenance
    split(hub[0] / "data/test-00000-of-00001.parquet", pictures(4, seed=9))
    with pytest.raises(ArchiveError, match="was changed"):
        source.check_unchanged()
    assert open_huggingface(hub[0], resolution=8).provenance["sha256"] != source.provenance["sha256"]


def test_a_limit_takes_the_first_rows_to_learn_from(hub):
    source = open_huggingface(hub[0], resolution=8, limit=5)
    assert source.ids == [*(f"train/train-00000-of-00002/{k}" for k in range(4)), "train/train-00001-of-00002/0"]


def test_a_plan_counts_splits_and_classes(hub):
    source = converter.open(str(hub[0]), TableOptions(resolution=8), SurveyOptions(check_first=2), lambda _: None)
    found = plan(source, HUGGINGFACE_PRESETS["images64-fast"].config)
    assert found["examples"] == {"test": 4, "train": 8}
    assert found["classes"] == {"label": {"cat": 3, "dog": 5, "(none)": 4}}


def test_options_come_back_from_provenance(hub):
    source = open_huggingface(hub[0], resolution=8, unsplit="train")
    assert TableOptions.from_plain(source.provenance) == TableOptions(resolution=8, unsplit="train")
    _check_converter(converter)


def test_large_compressed_pages_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.tables.huggingface._SLOW_PAGE", 1000)
    source, notes = notes_of(split(tmp_path / "t.parquet", pictures(9), compression="zstd"), resolution=8)
    assert any("is packed together with others" in note for note in notes)
    plain = {"compression": "none", "use_dictionary": False}
    _, notes = notes_of(split(tmp_path / "u.parquet", pictures(9), **plain), resolution=8)
    assert not notes
    assert len(source.ids) == 9


def test_row_groups_without_rows_are_passed_over(tmp_path):
    table = pa.table({"image": files(map(png, pictures(2)))})
    with pq.ParquetWriter(tmp_path / "t.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 1), table.slice(0, 0), table.slice(1, 1)):
            writer.write_table(part)
    source = open_huggingface(tmp_path / "t.parquet", resolution=8)
    assert np.array_equal([source.read(0), source.read(1)], pictures(2))


def test_few_bytes_do_not_take_much_memory(tmp_path):
    """A value of a dictionary may stand for a million, and nulls take none."""
    picture = png(np.full((8, 8, 3), 7, np.uint8)) + bytes(1 << 20)
    same = pa.array(np.zeros(3000, np.int32))
    columns = {
        "image": pa.DictionaryArray.from_arrays(same, pa.array([picture])),
        "note": pa.DictionaryArray.from_arrays(same, pa.array(["x" * (1 << 20)])),
    }
    path = write(tmp_path / "t.parquet", columns, compression="zstd", store_schema=False)
    assert path.stat().st_size < 1 << 18
    source = open_huggingface(path, resolution=8, limit=20)
    assert np.array_equal(source.read(19), np.full((8, 8, 3), 7))
    assert source.labels["note"].values.tolist() == [0] * 20
    with pytest.raises(ArchiveError, match="column 'note' has a text of 1048576 bytes, too long for an id"):
        open_huggingface(path, ids="note")
    path = write(tmp_path / "n.parquet", {"image": pa.nulls(1 << 18, pa.binary()), "x": [[1.0]] * (1 << 18)})
    with pytest.raises(ArchiveError, match=r"says 262144 rows.*expected equal numbers up to"):
        open_huggingface(path, column="x")


def test_categories_that_no_row_has_are_no_classes(tmp_path):
    kinds = pa.DictionaryArray.from_arrays(pa.array([1, 1, 2, None]), pa.array(["a", "b", "c"]))
    columns = {"image": files(map(png, pictures(4))), "kind": kinds}
    source = open_huggingface(write(tmp_path / "t.parquet", columns), resolution=8)
    assert source.labels["kind"].names == ("b", "c", "(none)")
    assert source.labels["kind"].values.tolist() == [0, 0, 1, 2]
