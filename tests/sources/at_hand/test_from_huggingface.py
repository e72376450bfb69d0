"""Data sets of the library `datasets` as sources."""

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.progress import Note

datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "caption": datasets.Value("string"),
        "size": datasets.Value("float32"),
    }
)


def pets(rows):
    columns = {
        "image": [Image.fromarray(PIXELS[k]) for k in rows],
        "label": [-1 if k == 11 else k % 2 for k in rows],
        "caption": [f"picture {k}" for k in rows],
        "size": [k / 2 for k in rows],
    }
    return datasets.Dataset.from_dict(columns, features=FEATURES)


def test_splits_classes_and_pictures_are_those_of_the_data_set():
    told = []
    both = datasets.DatasetDict({"train": pets(range(8)), "test": pets(range(8, 12))})
    source = functa_store.from_huggingface(both, name="pets", report=told.append)
    assert (source.ids[0], source.ids[-1]) == ("train/0", "test/3")
    assert source.split.tolist() == ["train"] * 8 + ["test"] * 4
    assert np.array_equal([source.read(k) for k in range(12)], PIXELS)
    assert source.labels["label"].names == ("cat", "dog", "(none)")
    assert source.labels["label"].values.tolist() == [0, 1] * 5 + [0, 2]
    assert source.labels["size"].values.tolist() == [k / 2 for k in range(12)]
    assert any("'caption' is left out" in event.message for event in told if isinstance(event, Note))
    assert source.provenance["split"] == "published by the DatasetDict (test, train)"


def test_a_choice_of_rows_and_a_transform_are_seen_through():
    """`select` and `shuffle` leave a table whole, with numbers beside it; what `set_transform` does is for training."""
    chosen = pets(range(12)).select([5, 3, 1])
    chosen.set_transform(lambda batch: {"nothing": [0 for _ in next(iter(batch.values()))]})
    source = functa_store.from_huggingface(chosen)
    assert np.array_equal([source.read(k) for k in range(3)], PIXELS[[5, 3, 1]])
    assert source.labels["label"].values.tolist() == [1, 1, 1]
    assert source.labels["size"].values.tolist() == [2.5, 1.5, 0.5]


def test_arrays_keep_their_values():
    values = np.random.default_rng(0).random((10, 4, 6)).astype(np.float32)
    features = datasets.Features({"field": datasets.Array2D((4, 6), "float32")})
    source = functa_store.from_huggingface(datasets.Dataset.from_dict({"field": values.tolist()}, features=features))
    assert (source.domain.resolution, source.read(0).dtype) == ((4, 6), np.float32)
    np.testing.assert_array_equal(source.read(7)[..., 0], values[7])


@pytest.mark.slow  # imports torch
def test_streams_are_refused():
    with pytest.raises(functa_store.ArchiveError, match="without streaming=True"):
        functa_store.from_huggingface(pets(range(2)).to_iterable_dataset())


def test_what_cannot_be_taken_is_named():
    table = pets(range(4))
    with pytest.raises(functa_store.ArchiveError, match="no column 'picture', expected one of image, label"):
        functa_store.from_huggingface(table, column="picture")
    with pytest.raises(functa_store.ArchiveError, match="column 'label' is ClassLabel, expected images or arrays"):
        functa_store.from_huggingface(table, column="label")
    with pytest.raises(functa_store.ArchiveError, match="none of images or arrays"):
        functa_store.from_huggingface(table.select_columns(["label", "size"]))
    other = table.select_columns(["image"]).rename_column("image", "other")
    with pytest.raises(functa_store.ConfigError, match="several columns could be the data: image, other"):
        functa_store.from_huggingface(datasets.concatenate_datasets([table, other], axis=1))
    with pytest.raises(functa_store.ArchiveError, match=r"load_from_disk\(PATH\)"):
        functa_store.from_huggingface("pets")
    with pytest.raises(functa_store.ConfigError, match=r"found the split 'unsupervised'.*pass those that are meant"):
        functa_store.from_huggingface(datasets.DatasetDict({"train": table, "unsupervised": table}))


def test_pictures_that_are_not_decoded_are():
    table = pets(range(6)).cast_column("image", datasets.Image(decode=False))
    source = functa_store.from_huggingface(table)
    assert np.array_equal([source.read(k) for k in range(6)], PIXELS[:6])


def test_a_first_row_without_a_picture_is_a_reject():
    pictures = [None, *map(Image.fromarray, PIXELS[1:6])]
    table = datasets.Dataset.from_dict({"image": pictures}, features=datasets.Features({"image": datasets.Image()}))
    source = functa_store.from_huggingface(table, max_rejects=0.2)
    assert [reject.member for reject in source.rejects] == ["0"]
    assert np.array_equal(source.read(0), PIXELS[1])


def test_lists_of_texts_are_no_arrays():
    table = datasets.Dataset.from_dict({"tags": [["a", "b"]] * 10, "curve": [[0.0, 0.5, 1.0]] * 10})
    np.testing.assert_array_equal(functa_store.from_huggingface(table).read(3)[:, 0], [0.0, 0.5, 1.0])


def test_arrays_may_have_four_axes():
    values = np.random.default_rng(0).random((10, 3, 2, 4, 2)).astype(np.float32)
    features = datasets.Features({"field": datasets.Array4D((3, 2, 4, 2), "float32")})
    table = datasets.Dataset.from_dict({"field": values.tolist()}, features=features)
    source = functa_store.from_huggingface(table, channels_axis="last")
    np.testing.assert_array_equal(source.read(7), values[7])


def test_a_share_of_the_only_split_is_held_out_if_asked():
    """`load_dataset` gives a DatasetDict, also where there is "train" alone."""
    source = functa_store.from_huggingface(datasets.DatasetDict({"train": pets(range(8))}), holdout=0.25)
    assert np.flatnonzero(source.split == "test").tolist() == [3, 7]
