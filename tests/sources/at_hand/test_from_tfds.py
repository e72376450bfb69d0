"""ArrayRecord files as TensorFlow Datasets prepares them, written here without it."""

import contextlib
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import functa_store
from functa_store.sources.at_hand.tf_examples import parse_example

array_record = pytest.importorskip("array_record.python.array_record_module")

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)


def varint(value):
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features, packed=True):
    """A message of tf.train.Example."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value[0], float):
            content = struct.pack(f"<{len(value)}f", *value)
            each = b"".join(varint(1 << 3 | 5) + struct.pack("<f", part) for part in value)
            feature = field(2, field(1, content) if packed else each)
        else:
            each = b"".join(varint(1 << 3) + varint(part) for part in value)
            feature = field(3, field(1, b"".join(map(varint, value))) if packed else each)
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.lists(st.floats(width=32), min_size=1), st.booleans())
def test_messages_are_read_as_they_were_written(integers, floats, packed):
    found = parse_example(example({"i": integers, "f": floats, "b": b"\0\xff"}, packed))
    assert found["i"].tolist() == integers
    np.testing.assert_array_equal(found["f"], np.array(floats, np.float32))
    assert found["b"] == [b"\0\xff"]


@given(st.binary(max_size=60))
def test_other_bytes_are_no_message_or_an_empty_one(data):
    with contextlib.suppress(ValueError):
        parse_example(data)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(name="folder")
def _folder(tmp_path):
    named = "tensorflow_datasets.core.features."
    shape = {"dimensions": ["8", "8", "3"]}
    features = {
        "image": {"pythonClassName": f"{named}image_feature.Image", "image": {"shape": shape, "dtype": "uint8"}},
        "label": {
            "pythonClassName": f"{named}class_label_feature.ClassLabel",
            "classLabel": {"numClasses": "2"},
        },
        "id": {"pythonClassName": f"{named}text_feature.Text", "text": {}},
        "size": {
            "pythonClassName": f"{named}scalar.Scalar",
            "tensor": {"shape": {}, "dtype": "float32", "encoding": "none"},
        },
    }
    python = f"{named}features_dict.FeaturesDict"
    (tmp_path / "features.json").write_text(
        json.dumps({"pythonClassName": python, "featuresDict": {"features": features}})
    )
    (tmp_path / "label.labels.txt").write_text("cat\ndog\n")
    info = {
        "name": "pets",
        "version": "1.0.0",
        "fileFormat": "array_record",
        "splits": [
            {
                "name": name,
                "shardLengths": lengths,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            }
            for name, lengths in (("test", ["4"]), ("train", ["5", "3"]))
        ],
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    for name, rows in (
        ("train.array_record-00000-of-00002", range(5)),
        ("train.array_record-00001-of-00002", range(5, 8)),
        ("test.array_record-00000-of-00001", range(8, 12)),
    ):
        writer = array_record.ArrayRecordWriter(str(tmp_path / f"pets-{name}"), "group_size:1")
        for k in rows:
            writer.write(
                example({"image": png(PIXELS[k]), "label": [k % 2], "id": f"no {k}".encode(), "size": [k / 2]})
            )
        writer.close()
    return tmp_path


def test_examples_splits_and_classes_are_as_published(folder):
    source = functa_store.from_tfds(folder)
    assert source.split.tolist() == ["train"] * 8 + ["test"] * 4
    assert (source.ids[0], source.ids[-1]) == ("train/0", "test/3")
    assert np.array_equal([source.read(k) for k in range(12)], PIXELS)
    assert source.labels["label"].names == ("cat", "dog")
    assert source.labels["label"].values.tolist() == [0, 1] * 6
    assert source.labels["size"].values.tolist() == [k / 2 for k in range(12)]
    assert source.provenance["archive"] == "pets"
    assert source.provenance["split"] == "published by TensorFlow Datasets (test, train)"


def test_a_builder_says_where_its_files_are(folder):
    class Builder:
        data_dir = folder

    assert len(functa_store.from_tfds(Builder()).ids) == 12


def test_tensors_are_taken_in_their_shape(folder):
    features = json.loads((folder / "features.json").read_text())
    features["featuresDict"]["features"]["image"] = {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {"shape": {"dimensions": ["2", "3"]}, "dtype": "float32", "encoding": "none"},
    }
    (folder / "features.json").write_text(json.dumps(features))
    for path in folder.glob("*.array_record*"):
        count = array_record.ArrayRecordReader(str(path)).num_records()
        writer = array_record.ArrayRecordWriter(str(path), "group_size:1")
        for k in range(count):
            writer.write(example({"image": [k / 8 + part / 64 for part in range(6)], "label": [0]}))
        writer.close()
    source = functa_store.from_tfds(folder)
    np.testing.assert_allclose(source.read(2)[..., 0], 2 / 8 + np.arange(6).reshape(2, 3) / 64)


def test_wrong_inputs_say_what_to_do(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(functa_store.ArchiveError, match=r"found no dataset_info.json"):
        functa_store.from_tfds(empty)
    with pytest.raises(functa_store.ArchiveError, match=rf"there is one in .*{folder.name}"):
        functa_store.from_tfds(folder.parent)
    with pytest.raises(functa_store.ArchiveError, match="expected a folder or a builder"):
        functa_store.from_tfds(np.zeros(3))
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    with pytest.raises(functa_store.ArchiveError, match=r"file_format='array_record'\).download_and_prepare"):
        functa_store.from_tfds(folder)
    info["splits"][1]["shardLengths"] = ["5", "4"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(functa_store.ArchiveError, match=r"has 3 records, but dataset_info.json says 4"):
        functa_store.from_tfds(folder)
    (folder / "pets-train.array_record-00001-of-00002").unlink()
    with pytest.raises(functa_store.ArchiveError, match=r"no such file, which dataset_info.json names"):
        functa_store.from_tfds(folder)
