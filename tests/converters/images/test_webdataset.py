import io
import json
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image

from converters.images import sample_labels
from converters.images.webdataset import open_webdataset
from functa_store.errors import ArchiveError, ConfigError, TooManyRejectsError


def png(seed=0, side=4):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, members):
    """A tar of members by name, or of pairs where a name is there twice."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def shard(numbers, **more):
    members = {}
    for k in numbers:
        members[f"{k:04}.png"] = png(k)
        members |= {f"{k:04}.{suffix}": make(k) for suffix, make in more.items()}
    return members


def opened(path, **options):
    notes = []
    source = open_webdataset(path, resolution=4, report=notes.append, **options)
    return source, str(notes)


def test_shards_are_one_archive_with_labels_and_splits(tmp_path):
    fields = {
        "size": lambda k: 10 * k,
        "score": lambda k: k / 2,
        "good": lambda k: k % 2 == 0,
        "kind": lambda k: "ab"[k % 2],
    }

    def described(k):
        more = {"caption": f"picture {k}", "tags": [k], "none": None, "maybe": None if k == 3 else k}
        return json.dumps({name: make(k) for name, make in fields.items()} | more)

    for name, numbers in (("train-000", range(4)), ("train-001", range(4, 8)), ("val-000", range(8, 10))):
        write(
            tmp_path / f"{name}.tar", shard(numbers, cls=lambda k: f"{k % 3}\n", json=described, txt=lambda k: "a text")
        )
    source, notes = opened(f"{tmp_path}/{{train-{{000..001}},val-000}}.tar")
    assert source.ids == [f"{k:04}" for k in range(10)]
    assert source.split.tolist() == ["train"] * 8 + ["validation"] * 2
    for k in range(10):
        np.testing.assert_array_equal(source.read(k), np.asarray(Image.open(io.BytesIO(png(k)))))
    assert source.labels["class"].values.tolist() == [k % 3 for k in range(10)]
    for name in ("size", "score", "good"):
        assert source.labels[name].values.tolist() == [fields[name](k) for k in range(10)]
    assert source.labels["size"].values.dtype == np.int64
    assert source.labels["good"].values.dtype == np.bool_
    assert source.labels["kind"].names == ("a", "b")
    np.testing.assert_array_equal(source.labels["maybe"].values, [0, 1, 2, np.nan, 4, 5, 6, 7, 8, 9])
    assert sorted(source.labels) == ["class", "good", "kind", "maybe", "score", "size"]
    assert "left out: 10 .txt" in notes
    assert "the field 'caption' is no label: it holds 10 different texts in 10 examples" in notes
    assert "the field 'tags' is no label: it holds lists or objects" in notes
    assert "the field 'none' is no label: it is null throughout" in notes
    assert source.provenance["split"] == "published by names of tars (train, validation)"
    assert source.provenance["labels_by"]["class"] == ".cls"
    assert source.provenance["labels_by"]["size"] == ".json"
    assert (source.provenance["shards"], source.rejects) == (3, [])


def test_the_same_shards_in_any_spelling_are_the_same(tmp_path):
    paths = [write(tmp_path / f"{k}.tar", shard([2 * k, 2 * k + 1])) for k in range(3)]
    first, _ = opened(tmp_path)
    for spec in (f"{tmp_path}/*.tar", f"{tmp_path}/{{2..0}}.tar", ",".join(map(str, paths[::-1]))):
        other, _ = opened(spec)
        assert (other.ids, other.provenance["sha256"]) == (first.ids, first.provenance["sha256"])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["imagenet1k-train-0001", "imagenet1k-validation-00"], ["train", "validation"]),
        (["cifar10_test-000-of-002", "cifar10_train-001-of-002"], ["test", "train"]),
        (["test/000", "train/000"], ["test", "train"]),
        (["train2017-0", "val2017-0"], ["train", "validation"]),
        (["shard-0", "shard-1"], ["train", "train"]),
        (["latest-0", "trains-0"], ["train", "train"]),
    ],
)
def test_names_of_tars_say_the_split(tmp_path, names, splits):
    for k, name in enumerate(names):
        write(tmp_path / f"{name}.tar", shard([k]))
    source, _ = opened(tmp_path)
    assert source.split.tolist() == splits


def test_tars_of_no_split_beside_others_are_asked_about(tmp_path):
    for k, name in enumerate(("extra-0", "test-0", "train-0")):
        write(tmp_path / f"{name}.tar", shard([k]))
    with pytest.raises(ArchiveError, match=r"1 of 3 tars are named as no split, but others are: extra-0\. Say what"):
        opened(tmp_path)
    source, notes = opened(tmp_path, unsplit="leave-out")
    assert source.ids == ["0001", "0002"]
    assert "1 tars that are named as no split are left out" in notes
    assert opened(tmp_path, unsplit="train")[0].split.tolist() == ["train", "test", "train"]


def test_keys_end_at_the_first_dot_and_keep_their_folder(tmp_path):
    write(tmp_path / "a.tar", {"x.y/1.rgb.png": png(1), "x.y/1.cls": "5", "z/1.png": png(2), "z/1.CLS": "6"})
    source, _ = opened(tmp_path / "a.tar")
    assert source.ids == ["x.y/1", "z/1"]
    assert source.labels["class"].values.tolist() == [5, 6]


def test_keys_that_repeat_in_other_shards_have_the_shard_in_their_ids(tmp_path):
    for k in range(2):
        write(tmp_path / f"s{k}.tar", shard([0, 1 + k]))
    assert opened(tmp_path)[0].ids == ["s0/0000", "s0/0001", "s1/0000", "s1/0002"]


def test_a_member_twice_in_a_shard_is_a_reject(tmp_path):
    members = [*shard([0, 1, 2]).items(), ("0001.png", png(9)), ("0002.cls", "1"), ("0002.cls", "2")]
    write(tmp_path / "a.tar", members)
    with pytest.raises(TooManyRejectsError):
        opened(tmp_path / "a.tar")
    source, _ = opened(tmp_path / "a.tar", max_rejects=0.9)
    assert source.ids == ["0000"]
    assert {r.member: r.reason for r in source.rejects} == {
        "a/0001.png": "occurs more than once in the archive",
        "a/0002.png": "its .cls occurs more than once in the archive",
    }


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        ("json", "{", "its .json cannot be read: "),
        ("json", "[1]", "its .json cannot be read: holds a list, expected an object"),
        ("json", '{"a": 1, "a": 2}', "its .json cannot be read: has the field 'a' twice"),
        ("json", "[" * 100_000, "its .json cannot be read: is nested too deeply"),
        ("json", b'{"a": "\xff"}', "its .json cannot be read: "),
        ("json", " " * (1 << 20) + "{}", "1048578 bytes, more than the 1048576 that are read"),
        ("cls", "", "its .cls is empty"),
        ("cls", "cat", "its .cls is 'cat', expected a number as the others are"),
    ],
)
def test_labels_that_cannot_be_read_are_rejects(tmp_path, suffix, content, reason):
    members = shard(range(4), cls=str, json=lambda k: "{}")
    write(tmp_path / "a.tar", members | {f"0002.{suffix}": content})
    source, _ = opened(tmp_path / "a.tar", max_rejects=0.5)
    assert source.ids == ["0000", "0001", "0003"]
    assert source.labels["class"].values.tolist() == [0, 1, 3]
    (reject,) = source.rejects
    assert reject.member == "a/0002.png"
    assert reason in reject.reason


def test_texts_of_cls_are_classes(tmp_path):
    write(tmp_path / "a.tar", shard(range(4), cls=lambda k: ["dog", "cat"][k % 2]))
    label = opened(tmp_path / "a.tar")[0].labels["class"]
    assert (label.values.tolist(), label.names) == ([1, 0, 1, 0], ("cat", "dog"))


def test_a_field_called_class_does_not_hide_cls(tmp_path):
    write(tmp_path / "a.tar", shard(range(4), cls=str, json=lambda k: json.dumps({"class": "xy"[k % 2]})))
    source, notes = opened(tmp_path / "a.tar")
    assert source.labels["class"].values.tolist() == [0, 1, 2, 3]
    assert source.labels["json_class"].names == ("x", "y")
    assert "the field class of .json is the label json_class" in notes


def test_fields_that_are_no_labels_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_labels, "MOST_CLASSES", 3)
    rows = [
        {"mixed": 1, "long": "x" * 101, "many": f"{k // 2}", "big": 1 << 70, "a/b": 1, "Size": 1, "size": 2, "ok": 1}
        | ({"mixed": "a"} if k == 3 else {})
        for k in range(10)
    ]
    write(tmp_path / "a.tar", shard(range(10), json=lambda k: json.dumps(rows[k])))
    source, notes = opened(tmp_path / "a.tar")
    assert list(source.labels) == ["Size", "ok"]
    for why in ("mixes numbers", "holds long texts", "more than 3 different texts", "beyond 64 bits", "a slash"):
        assert why in notes
    assert "'size' is no label: it differs from Size in the letters' case alone" in notes


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([2**53 + 1, None, 1], "whole numbers beyond 2^53"),  # a float would be another number
        ([2**53 + 1, 0.5, 1], "whole numbers beyond 2^53"),
        ([0.5, 1, -(2**53) - 1], "whole numbers beyond 2^53"),
        (["a", "\ud800", "a"], "no Unicode"),
    ],
)
def test_fields_that_a_label_cannot_hold_are_left_out(tmp_path, values, why):
    write(tmp_path / "a.tar", shard(range(3), json=lambda k: json.dumps({"id": values[k], "ok": k})))
    source, notes = opened(tmp_path / "a.tar")
    assert list(source.labels) == ["ok"]
    assert why in notes


def test_whole_numbers_of_64_bits_keep_their_digits(tmp_path):
    write(tmp_path / "a.tar", shard(range(3), json=lambda k: json.dumps({"id": 2**53 + 1 + k})))
    assert opened(tmp_path / "a.tar")[0].labels["id"].values.tolist() == [2**53 + 1 + k for k in range(3)]


def test_a_field_of_splits_is_published_where_no_tar_is_named_as_one(tmp_path):
    words = ["Train", "val", "testing", "train"]
    members = shard(range(8), json=lambda k: json.dumps({"split": words[k % 4], "k": k}))
    write(tmp_path / "all.tar", members)
    source, _ = opened(tmp_path / "all.tar")
    assert source.split.tolist() == ["train", "validation", "test", "train"] * 2
    assert source.provenance["split"] == "published by the field split of .json"
    assert list(source.labels) == ["k"]
    with pytest.raises(ArchiveError, match=r"published by the field split of .json; leave out holdout"):
        opened(tmp_path / "all.tar", holdout=0.2)
    write(tmp_path / "train.tar", members)
    source, _ = opened(tmp_path / "train.tar")  # what the tar is called counts more
    assert source.split.tolist() == ["train"] * 8
    assert source.labels["split"].names == ("Train", "testing", "train", "val")


def test_one_of_several_images_is_chosen_by_its_suffix(tmp_path):
    members = {}
    for k in range(3):
        members |= {f"{k}.png": png(k), f"{k}.seg.png": png(k + 10)}
    write(tmp_path / "a.tar", members)
    with pytest.raises(ArchiveError, match=r"a/0 has 2 images, \.png, \.seg\.png; .*--image-suffix png"):
        opened(tmp_path / "a.tar")
    source, notes = opened(tmp_path / "a.tar", image_suffix="seg.png")
    np.testing.assert_array_equal(source.read(2), np.asarray(Image.open(io.BytesIO(png(12)))))
    assert "3 images of other suffixes are left out" in notes


def test_keys_without_an_image_are_left_out_and_listed(tmp_path):
    write(tmp_path / "a.tar", shard([0, 1], cls=str) | {"0007.cls": "7", "__meta__/x.json": "{}"})
    source, _ = opened(tmp_path / "a.tar")
    assert source.ids == ["0000", "0001"]
    assert [(r.member, r.reason) for r in source.rejects] == [("a/0007", "is a key without an image, of .cls")]
    write(tmp_path / "b.tar", {"0.cls": "1", "0.txt": "a"})
    with pytest.raises(
        ArchiveError, match=r"b\.tar: no images; found 1 \.txt, 1 is a key without an image, of \.cls, \.txt"
    ):
        opened(tmp_path / "b.tar")


def test_damaged_images_and_tars_are_said(tmp_path):
    write(tmp_path / "0.tar", shard([0, 1]) | {"0002.png": png()[:40]})
    source, _ = opened(tmp_path / "0.tar", max_rejects=0.5)
    assert [r.member for r in source.rejects] == ["0/0002.png"]
    whole = write(tmp_path / "1.tar", shard([3])).read_bytes()
    (tmp_path / "1.tar").write_bytes(whole[:600])
    with pytest.raises(ArchiveError, match=r"1\.tar: the tar is damaged or truncated"):
        opened(tmp_path)


def test_a_share_is_held_out_where_no_name_says_splits(tmp_path):
    write(tmp_path / "a.tar", shard(range(8)))
    source, _ = opened(tmp_path, holdout=0.25)
    assert source.split.tolist() == (["train"] * 3 + ["test"]) * 2
    write(tmp_path / "b/train-0.tar", shard([0]))
    with pytest.raises(ArchiveError, match=r"published by names of tars \(train\); leave out holdout=0.25"):
        opened(tmp_path / "b", holdout=0.25)
    with pytest.raises(ConfigError, match="holdout must be a share"):
        opened(tmp_path, holdout=2)


def test_changes_meanwhile_are_noticed(tmp_path):
    write(tmp_path / "a.tar", shard(range(3)))
    source, _ = opened(tmp_path)
    write(tmp_path / "b.tar", shard([7]))
    with pytest.raises(ArchiveError, match=r"b\.tar: was added while the files of .* were being converted"):
        source.check_unchanged()
    write(tmp_path / "a.tar", shard(range(4)))
    with pytest.raises(ArchiveError, match=r"a\.tar: was changed"):
        source.check_unchanged()


def test_a_limit_does_not_change_ids(tmp_path):
    for k in range(2):
        write(tmp_path / f"s{k}.tar", shard([0, 1]))
    assert opened(tmp_path, limit=1)[0].ids == ["s0/0000"]
