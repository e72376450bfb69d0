"""What README.md says of a data set, as publishers write it, and files that say something else than it."""

import time

import numpy as np
import pytest

from converters.tables.dataset_card import matching
from converters.tables.huggingface import open_huggingface
from functa_store.errors import ArchiveError
from tests.converters.tables.tables import pictures, split

TRAIN_AND_TEST = """configs:
- config_name: default
  data_files:
  - split: train
    path: {}
  - split: test
    path: {}
"""
CLASSES = """dataset_info:
  features:
  - name: label
    dtype:
      class_label:
        names: {}
"""


def card(text, mark=b""):
    return mark + f"---\n{text}\n---\n# Tiny\n".encode()


def opened(folder, names, readme=None, **options):
    for seed, name in enumerate(names):
        split(folder / name, pictures(2, seed=seed), features=None)
    if readme is not None:
        (folder / "README.md").write_bytes(readme)
    return open_huggingface(folder, resolution=8, **options)


def test_a_byte_order_mark_does_not_hide_the_splits(tmp_path):
    readme = card(TRAIN_AND_TEST.format("a.parquet", "b.parquet"), b"\xef\xbb\xbf")
    source = opened(tmp_path, ["a.parquet", "b.parquet"], readme)
    assert source.split.tolist() == ["train"] * 2 + ["test"] * 2
    assert source.provenance["split"] == "published by README.md (test, train)"


@pytest.mark.parametrize("folder", ["./data", "data/", ".", "data"])
def test_a_folder_of_data_is_meant_however_it_is_written(tmp_path, folder):
    readme = card(f"configs:\n- config_name: default\n  data_dir: {folder}")
    source = opened(tmp_path, ["data/train.parquet", "data/test.parquet"], readme)
    assert source.split.tolist() == ["train"] * 2 + ["test"] * 2


def test_paths_may_have_dots(tmp_path):
    readme = card(TRAIN_AND_TEST.format("./data/a.parquet", "data/./b.parquet"))
    assert opened(tmp_path, ["data/a.parquet", "data/b.parquet"], readme).split.tolist() == ["train"] * 2 + ["test"] * 2


def test_a_folder_of_data_that_is_not_there_is_named(tmp_path):
    readme = card("configs:\n- config_name: default\n  data_dir: other")
    with pytest.raises(ArchiveError, match=r"README.md names the files other/\*\*, which are not there"):
        opened(tmp_path, ["data/train.parquet"], readme)


def test_a_file_of_two_splits_is_refused(tmp_path):
    readme = card(TRAIN_AND_TEST.format('"*.parquet"', "b.parquet"))
    with pytest.raises(ArchiveError, match=r"lists b.parquet for the splits train and test, so that what is held out"):
        opened(tmp_path, ["a.parquet", "b.parquet"], readme)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("{0: no, 1: yes}", ("no", "yes")),
        ("[off, on]", ("off", "on")),
        ("[010, 0x1f]", ("010", "0x1f")),
        ("[1.50, 2020-01-01]", ("1.50", "2020-01-01")),
        ("['0': zero, '1': one]", None),
    ],
)
def test_classes_are_called_as_they_are_written(tmp_path, names, expected):
    """YAML takes no for false and 010 for 8."""
    if expected is None:
        with pytest.raises(ArchiveError, match=r"its classes are .*expected a list of names"):
            opened(tmp_path, ["train.parquet"], card(CLASSES.format(names)))
    else:
        source = opened(tmp_path, ["train.parquet"], card(CLASSES.format(names)))
        assert source.labels["label"].names == expected


def test_what_else_is_written_there_does_not_matter(tmp_path):
    """A date that is none, and a configuration called by a year."""
    readme = card("released: 2020-13-45\nconfigs:\n- config_name: 2020\n  data_files: train.parquet\n")
    assert opened(tmp_path, ["train.parquet"], readme).provenance["configuration"] == "2020"


def test_a_card_that_repeats_itself_takes_no_time(tmp_path):
    """Aliases of YAML make a few lines a billion names."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    bomb = "\n".join(lines) + "\n"
    began = time.monotonic()
    for rest in (CLASSES.format("*i"), "configs:\n- *i\n", "configs:\n- config_name: a\n  data_files: [{path: *i}]\n"):
        with pytest.raises(ArchiveError, match="expected") as caught:
            opened(tmp_path, ["train.parquet"], card(bomb + rest))
        assert len(str(caught.value)) < 1000
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.parquet", ["a.parquet"]),
        ("*.parquet", ["a.parquet", "b1.parquet"]),
        ("**", ["a.parquet", "b1.parquet", "en/a.parquet", "en/x/c.parquet"]),
        ("**/*.parquet", ["a.parquet", "b1.parquet", "en/a.parquet", "en/x/c.parquet"]),
        ("**.parquet", ["a.parquet", "b1.parquet", "en/a.parquet", "en/x/c.parquet"]),
        ("en/**", ["en/a.parquet", "en/x/c.parquet"]),
        ("en/*", ["en/a.parquet"]),
        ("en/**/c.parquet", ["en/x/c.parquet"]),
        ("**/a.*", ["a.parquet", "en/a.parquet"]),
        ("{a,b?}.parquet", ["a.parquet", "b1.parquet"]),
        ("[!a]*.parquet", ["b1.parquet"]),
        ("b[0-9].parquet", ["b1.parquet"]),
        ("c*", []),
    ],
)
def test_patterns_are_those_of_a_shell(pattern, expected):
    assert matching(pattern, ["a.parquet", "b1.parquet", "en/a.parquet", "en/x/c.parquet"]) == expected


def test_patterns_take_no_time():
    began = time.monotonic()
    assert matching("*a" * 30 + "b", ["a" * 200]) == []
    assert matching("**/" * 30 + "b", ["/".join("a" * 200)]) == []
    with pytest.raises(ArchiveError, match="too many alternatives"):
        matching("{a,b}" * 20, ["a"])
    assert time.monotonic() - began < 1


def test_shards_with_digits_of_earlier_versions_are_counted(tmp_path):
    """datasets 2 called them train-00000-of-00002-b6bcaabd86f0ac98.parquet."""
    with pytest.raises(ArchiveError, match=r"1 of 2 files train-\*-of-00002\*.parquet; number 00001 is missing"):
        opened(tmp_path, ["train-00000-of-00002-b6bcaabd86f0ac98.parquet"])
    source = opened(tmp_path / "both", [f"data/train_sft-0000{k}-of-00002-b6bcaabd86f0ac9{k}.parquet" for k in (0, 1)])
    assert len(source.ids) == 4


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00001-b6bcaabd86f0ac98", "train-00000-of-00001-aaaabbbbccccdddd"],
        ["train-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"],
    ],
)
def test_shards_of_two_savings_are_refused(tmp_path, names):
    """Each row would be learned from twice."""
    with pytest.raises(ArchiveError, match=r"has data/train-\* from several savings.*rows would count twice"):
        opened(tmp_path, [f"data/{name}.parquet" for name in names])


def test_suffixes_in_capitals_are_taken(tmp_path):
    source = opened(tmp_path, ["TRAIN.PARQUET", "TEST.PARQUET"])
    assert source.split.tolist() == ["train"] * 2 + ["test"] * 2
    assert np.array_equal(source.read(0), pictures(2)[0])


def test_files_of_no_split_are_named(tmp_path):
    with pytest.raises(ArchiveError, match=r"files without a split such as extra \(2\)"):
        opened(tmp_path, ["train.parquet", "extra.parquet"])
