import pathlib
import zipfile

import numpy as np
import pytest

from converters.images.celeba import celeba_crop, open_celeba
from functa_store.errors import ArchiveError, ConfigError

FACES = pathlib.Path(__file__).parents[3].parent / "shared/data/faces_ukparliament_celeba_layout.zip"
NUM_IMAGES = 10
NAMES = [f"{k:06}" for k in range(1, NUM_IMAGES + 1)]
SPLITS = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2]


def rows(values):
    return "".join(f"{name}.jpg {value}\n" for name, value in zip(NAMES, values, strict=True))


LABELS = {
    "list_attr_celeba.txt": f"{NUM_IMAGES}\nBald Smiling\n" + rows(["-1  1"] * 9 + [" 1 -1"]),
    "list_eval_partition.txt": rows(SPLITS),
    "identity_CelebA.txt": rows(range(100, 110)),
}
LABELS = {name: text.encode() for name, text in LABELS.items()}
PUBLISHED = {"list_attr_celeba.txt": "Anno", "identity_CelebA.txt": "Anno", "list_eval_partition.txt": "Eval"}


@pytest.fixture
def images(encode_image):
    return {f"img_align_celeba/{name}.jpg": encode_image(k, (18, 22), fmt="JPEG") for k, name in enumerate(NAMES)}


def check_labels(source):
    assert list(source.labels) == ["Bald", "Smiling", "identity"]
    assert source.labels["Bald"].values.dtype == np.int8
    assert source.labels["Bald"].values.tolist() == [-1] * 9 + [1]
    assert source.labels["identity"].values.dtype == np.int32
    assert source.labels["identity"].values.tolist() == list(range(100, 110))
    assert source.split.tolist() == ["train"] * 7 + ["validation"] * 2 + ["test"]
    assert source.provenance["split"] == "published in list_eval_partition.txt"
    assert set(source.provenance["label_files"]) == set(LABELS)


@pytest.mark.parametrize("layout", ["top", "published", "deep"])
def test_labels_inside_the_archive_are_found(pack, kind, images, layout):
    folder = {"top": lambda n: n, "published": lambda n: f"{PUBLISHED[n]}/{n}", "deep": lambda n: f"celeba/Anno/{n}"}
    check_labels(open_celeba(pack(images | {folder[layout](n): c for n, c in LABELS.items()}, kind), resolution=4))


@pytest.mark.parametrize("published", [True, False])
def test_labels_beside_the_archive_are_found(pack, kind, images, tmp_path, published):
    for name, content in LABELS.items():
        folder = tmp_path / PUBLISHED[name] if published else tmp_path
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    path = pack(images, kind)
    check_labels(open_celeba(path, resolution=4))
    if kind == "folder" and not published:
        (path / "list_eval_partition.txt").write_bytes(LABELS["list_eval_partition.txt"])
        check_labels(open_celeba(path, resolution=4))  # those inside come first


def test_labels_of_another_folder_are_taken_when_asked_for(pack, images, tmp_path):
    path = pack(images | {"identity_CelebA.txt": b"nonsense"})
    labels = pack({f"{PUBLISHED[n]}/{n}": c for n, c in LABELS.items()}, "folder", "labels")
    check_labels(open_celeba(path, resolution=4, labels=labels))
    assert open_celeba(path, resolution=4, labels="none").labels == {}
    (tmp_path / "none here").mkdir()
    with pytest.raises(ArchiveError, match=r"none here: no label file found, expected list_attr_celeba\.txt"):
        open_celeba(path, labels=tmp_path / "none here")


def test_an_archive_without_labels_holds_out_its_last_tenth(pack, encode_image):
    source = open_celeba(pack({f"data128x128/{k:05}.jpg": encode_image(k, (8, 8)) for k in range(20)}), resolution=4)
    assert source.labels == {}
    assert source.ids[0] == "data128x128/00000.jpg"
    assert np.flatnonzero(source.split == "test").tolist() == [18, 19]
    assert source.provenance["split"] == "last tenth held out"


def test_png_images_have_the_labels_of_their_jpg_names(pack, encode_image):
    images = {f"img_align_celeba_png/{name}.png": encode_image() for name in NAMES}
    check_labels(open_celeba(pack(images | LABELS), resolution=4))


def test_labels_follow_their_images_past_rejects_and_limits(pack, images):
    images["img_align_celeba/000003.jpg"] = b""
    source = open_celeba(pack(images | LABELS), resolution=4, limit=9, max_rejects=0.2)
    assert [name[-10:-4] for name in source.ids] == [n for n in NAMES[:9] if n != "000003"]
    assert source.labels["identity"].values.tolist() == [100, 101, 103, 104, 105, 106, 107, 108]
    assert source.split.tolist() == ["train"] * 6 + ["validation"] * 2


def test_pictures_in_the_wild_are_left_alone_and_other_copies_refused(pack, images, encode_image):
    wild = {name.replace("img_align_celeba", "img_celeba"): content for name, content in images.items()}
    assert open_celeba(pack(images | wild), resolution=4).ids == sorted(images)
    copies = {f"data{n}x{n}/00001.jpg": encode_image() for n in (64, 128)}
    with pytest.raises(
        ArchiveError, match=r"data128x128/00001\.jpg and data64x64/00001\.jpg, expected each image once"
    ):
        open_celeba(pack(copies))


def test_rows_of_images_that_the_archive_rejects_are_ignored(tmp_path, images):
    """A repeated member, a name that leads out, a link and an odd compression cost their images alone."""
    twice, out, link, packed = (f"img_align_celeba/{name}.jpg" for name in NAMES[1:5])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in (images | LABELS).items():
            entry = zipfile.ZipInfo(name.replace("/", "/../") if name == out else name)
            entry.external_attr = 0o120777 << 16 if name == link else 0
            archive.writestr(entry, content)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(twice, b"")
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[raw.index(packed.encode(), raw.index(b"PK\1\2")) - 46 + 10] = 9  # Deflate64
    (tmp_path / "a.zip").write_bytes(raw)
    source = open_celeba(tmp_path / "a.zip", resolution=4, max_rejects=0.5)
    assert source.labels["identity"].values.tolist() == [100, 105, 106, 107, 108, 109]
    assert len(source.rejects) == 4


KAGGLE = {
    "list_attr_celeba.csv": b"image_id,Bald,Smiling\n"
    + b"".join(b"%s,%d,1\n" % (f"{name}.jpg".encode(), 1 if name == NAMES[-1] else -1) for name in NAMES),
    "list_eval_partition.csv": b"image_id,partition\r\n"
    + b"".join(b'"%s.jpg",%d\r\n' % (name.encode(), 0 if k < 7 else 1 if k < 9 else 2) for k, name in enumerate(NAMES)),
}


@pytest.mark.parametrize("beside", [False, True])
def test_the_tables_of_kaggle_are_label_files(pack, images, tmp_path, beside):
    doubled = {name.replace("/", "/img_align_celeba/"): content for name, content in images.items()}
    path = pack(doubled if beside else doubled | KAGGLE)
    if beside:
        for name, content in KAGGLE.items():
            (tmp_path / name).write_bytes(content)
    source = open_celeba(path, resolution=4)
    assert list(source.labels) == ["Bald", "Smiling"]
    assert source.labels["Bald"].values.tolist() == [-1] * 9 + [1]
    assert source.labels["Smiling"].values.tolist() == [1] * 10
    assert source.split.tolist() == ["train"] * 7 + ["validation"] * 2 + ["test"]
    assert source.provenance["split"] == "published in list_eval_partition.csv"
    assert source.provenance["labels_by"] == dict.fromkeys(["Bald", "Smiling"], "list_attr_celeba.csv")
    assert set(source.provenance["label_files"]) == set(KAGGLE)
    assert source.rejects == []


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("list_attr_celeba.csv", b"image_id,Bald,Smiling\n", b"", r"expected a row for image 000001;"),
        ("list_eval_partition.csv", b'000003.jpg",0', b'000003.jpg",7', r"partition\.csv line 4: found 1 values, '7'"),
    ],
)
def test_tables_that_do_not_fit_are_refused_with_file_and_line(pack, images, name, old, new, words):
    assert old in KAGGLE[name]
    with pytest.raises(ArchiveError, match=words):
        open_celeba(pack(images | KAGGLE | {name: KAGGLE[name].replace(old, new, 1)}))


def test_a_table_beside_the_text_of_the_same_labels_is_refused(pack, images):
    with pytest.raises(ArchiveError, match=r"as well, expected one of them; remove the other"):
        open_celeba(pack(images | KAGGLE | {"list_eval_partition.txt": LABELS["list_eval_partition.txt"]}))


def test_masks_of_celebamask_are_no_examples(pack, encode_image):
    pictures = [f"CelebAMask-HQ/CelebA-HQ-img/{k}.jpg" for k in range(10)]
    masks = [
        f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/{k:05}_{part}.png" for k in range(10) for part in ("hair", "nose")
    ]
    files = {
        name: encode_image(k, fmt="JPEG" if name.endswith("jpg") else "PNG") for k, name in enumerate(pictures + masks)
    }
    source = open_celeba(pack(files), resolution=4)
    assert source.ids == pictures
    assert source.split.tolist() == ["train"] * 9 + ["test"]
    assert sorted(reject.member for reject in source.rejects) == masks


def test_label_files_may_start_with_a_byte_order_mark(pack, images):
    check_labels(open_celeba(pack(images | {n: b"\xef\xbb\xbf" + c for n, c in LABELS.items()}), resolution=4))


ATTRIBUTES, PARTITION, IDENTITY = LABELS
ROWS = LABELS[IDENTITY]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (ATTRIBUTES, b"10\n", b"11\n", r"list_attr_celeba\.txt line 1: found '11', expected .* which is 10"),
        (ATTRIBUTES, b"10\nBald Smiling\n", b"", r"line 1: found '000001\.jpg"),
        (ATTRIBUTES, b"Bald Smiling", b"Bald", r"line 3: found 2 values, '-1 1', expected 1 integers from \[-1, 1\]"),
        (ATTRIBUTES, b"Smiling", b"Bald", r"line 2: an attribute has the name 'Bald', expected one that this line has"),
        (ATTRIBUTES, b"Smiling", b"identity", r"line 2: an attribute has .*'identity', .* identity_CelebA\.txt has"),
        (ATTRIBUTES, b"Smiling", b".hidden", r"line 2: an attribute has the name '\.hidden', expected none .* begins"),
        (ATTRIBUTES, b"Smiling", b"a/b", r"line 2: an attribute has the name 'a/b', expected none with a slash"),
        (ATTRIBUTES, b"Smiling", b"a\\b", r"line 2: an attribute has the name 'a\\\\b', expected none with a slash"),
        (ATTRIBUTES, b"Smiling", b"a\x7fb", r"line 2: an attribute has the name 'a\\x7fb', expected printable"),
        (ATTRIBUTES, b"Smiling", b"a" * 201, r"line 2: an attribute has a name of 201 bytes, expected at most 200"),
        (ATTRIBUTES, b"Smiling", b"zarr.json", r"line 2: an attribute has the name 'zarr\.json', expected none"),
        (ATTRIBUTES, b"Smiling", b"__own", r"line 2: an attribute has the name '__own', expected none"),
        (ATTRIBUTES, b"000002.jpg -1", b"000002.jpg 0", r"line 4: found 2 values, '0 1', expected 2 integers"),
        (PARTITION, b"000010.jpg 2", b"000010.jpg 3", r"line 10: found 1 values, '3', .* from \[0, 1, 2\]"),
        (PARTITION, b"000010.jpg 2", b"000010.jpg test", r"line 10: found 1 values, 'test'"),
        (PARTITION, b"000010.jpg 2", b"000010.jpg", r"line 10: found 0 values"),
        (PARTITION, b"000010.jpg 2\n", b"", r"line 9: found the end of the file, expected a row for image 000010"),
        (IDENTITY, b"000001.jpg", b"900001.jpg", r"line 1: found a row for 900001\.jpg, expected an image that is in"),
        (IDENTITY, b"000002.jpg", b"000001.jpg", r"line 2: found a second row for 000001\.jpg, expected only that"),
        (IDENTITY, b"109", b"99999999999", r"line 10: .* expected 1 integers below 2\*\*31"),
        (IDENTITY, ROWS, b"", r"line 1: found the end .* 000001 and 9 other images"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused_with_file_and_line(pack, images, name, old, new, words):
    path = pack(images | LABELS | {name: LABELS[name].replace(old, new, 1)})
    with pytest.raises(ArchiveError, match=words) as caught:
        open_celeba(path)
    assert f"archive.zip/{name}" in str(caught.value)


def test_a_label_file_that_lies_in_the_archive_twice_is_refused(pack, images):
    twice = {f"{folder}/{IDENTITY}": LABELS[IDENTITY] for folder in ("a", "b")}
    with pytest.raises(ArchiveError, match=r"found archive\.zip/a/identity_CelebA\.txt as well, expected one of them"):
        open_celeba(pack(images | twice))


@pytest.mark.parametrize(
    ("crop", "means"),
    [("square", "square"), ("none", "none"), (178, 1.0), ("140", 140 / 178), (0.8, 0.8), ("0.7", 0.7), ("1.0", 1.0)],
)
def test_a_crop_is_a_word_pixels_of_the_published_size_or_a_fraction(crop, means):
    assert celeba_crop(crop) == means


@pytest.mark.parametrize("crop", [0, 179, "218"])
def test_a_crop_wider_than_the_images_is_refused(crop):
    with pytest.raises(ConfigError, match="from 1 to 178 pixels"):
        celeba_crop(crop)


@pytest.mark.slow
@pytest.mark.skipif(not FACES.exists(), reason="the shared faces archive is not here")
def test_the_faces_archive_converts_as_documented():
    source = open_celeba(FACES)
    assert len(source.ids) == 1302
    assert np.count_nonzero(source.split == "train") == 1171
    assert np.count_nonzero(source.split == "test") == 131
    assert list(source.labels) == ["identity"]
    assert source.labels["identity"].values[:2].tolist() == [10001, 10009]
    assert [reject.member for reject in source.rejects] == ["SOURCES.csv"]
    assert source.read(0).shape == (64, 64, 3)
    assert source.provenance["sha256"].startswith("9c5fce0a")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("list_attr_celeba.txt", "9" * 5000 + "\nA B\n0.jpg 1 1\n"),
        ("list_attr_celeba.txt", "1\nA B\n0.jpg 1 " + "9" * 5000 + "\n"),
        ("identity_CelebA.txt", "0.jpg " + "9" * 5000),
        ("identity_CelebA.txt", "9" * 5000),
        ("list_eval_partition.txt", "0.jpg \0"),
        ("list_eval_partition.txt", "0.jpg 1" + "\n" * (1 << 22)),
        ("list_eval_partition.txt", "x" * 100_000 + " 1"),
    ],
)
def test_label_files_of_absurd_numbers_lines_and_names_are_refused_in_words(pack, encode_image, file, text):
    path = pack({"0.jpg": encode_image(fmt="JPEG"), file: text.encode()})
    with pytest.raises(ArchiveError, match=r"CelebA|celeba|partition") as caught:
        open_celeba(path)
    assert "4300" not in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("space", ["", " ", "\t", "\x1c", "\x85", "\u2028"])
def test_lines_of_white_space_are_blank_whatever_unicode_counts_as_such(pack, encode_image, space):
    path = pack({"0.jpg": encode_image(fmt="JPEG"), "list_eval_partition.txt": f"{space}\n0.jpg 0\n".encode()})
    assert open_celeba(path).split.tolist() == ["train"]


@pytest.mark.parametrize("value", ["a\0b", "9" * 5000])
def test_options_that_are_no_path_or_number_are_errors_in_words(pack, encode_image, value):
    path = pack({"0.jpg": encode_image(fmt="JPEG")})
    with pytest.raises((ArchiveError, ConfigError)):
        open_celeba(path, labels=value)
    with pytest.raises((ArchiveError, ConfigError)):
        open_celeba(path, crop=value)
