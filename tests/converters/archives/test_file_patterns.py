import io
import os
import tarfile

import pytest

from converters.archives.file_patterns import find_files
from converters.archives.tar_shards import PACKED, shards_of
from functa_store.errors import ArchiveError


def find_shards(spec):
    """As the converter of WebDataset does."""
    return shards_of(find_files(spec, of=(".tar", *PACKED), folders="mixed"))


@pytest.fixture(name="folder")
def _folder(tmp_path):
    for name in ("a-000", "a-001", "a-010", "b/c-0", "b/c-1"):
        path = tmp_path / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo("x.png"), io.BytesIO())
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("a-000.tar", ["a-000"]),
        ("a-{000..001}.tar", ["a-000", "a-001"]),
        ("a-{001..000}.tar", ["a-000", "a-001"]),
        ("a-0{00,10}.tar", ["a-000", "a-010"]),
        ("a-*.tar", ["a-000", "a-001", "a-010"]),
        ("**", ["a-000", "a-001", "a-010", "b/c-0", "b/c-1"]),
        ("b/**", ["c-0", "c-1"]),
        ("b", ["c-0", "c-1"]),
        ("b/c-{0..1}.tar", ["c-0", "c-1"]),
        ("{a-{000..001},b/c-1}.tar", ["a-000", "a-001", "b/c-1"]),
        ("a-001.tar, b/c-{0,1}.tar", ["a-001", "b/c-0", "b/c-1"]),
        ("", ["a-000", "a-001", "a-010", "b/c-0", "b/c-1"]),
    ],
)
def test_tars_are_named_as_shells_and_webdataset_do(folder, monkeypatch, spec, names):
    monkeypatch.chdir(folder)
    assert list(find_shards(spec or ".").names) == names
    if ", " not in spec:  # a list has several folders
        assert list(find_shards(folder / spec).names) == names


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("a-{000..003}.tar", r"a-002\.tar: no such file, which a-\{000\.\.003\}\.tar names"),
        ("a-{0..1}.tar", r"a-0\.tar: no such file"),
        ("z-*.tar", r"z-\*\.tar: no file has such a name"),
        ("a-000.tar,a-{000..001}.tar", r"names .*a-000\.tar twice"),
        ("pipe:cat a.tar", "is an address, expected files on a disk"),
        ("https://host/a.tar", "is an address, expected files on a disk"),
        ("empty", r"no \.tar is in this folder"),
        ("a-{0..999999999}.tar", "no such file"),
    ],
)
def test_what_is_not_there_is_named(folder, monkeypatch, spec, message):
    monkeypatch.chdir(folder)
    os.mkdir("empty")
    with pytest.raises(ArchiveError, match=message):
        find_shards(spec)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("a-*.tar", "a-*.tar"),
        ("*/c-*.tar", "*/c-*.tar"),
        ("**/c-*.tar", "**/c-*.tar"),
        ("{.,b}/[ac]-*0.tar", "{.,b}/[ac]-*0.tar"),
        ("b", "b"),
        ("b/c-0.tar", "c-0.tar"),
    ],
)
def test_messages_call_files_by_the_folders_of_their_pattern(folder, spec, name):
    assert find_shards(f"{folder}/{spec}").name == name


def test_a_choice_may_be_empty(folder):
    os.rename(folder / "a-001.tar", folder / "a-000-more.tar")
    assert find_files(str(folder / "a-000{,-more}.tar")).names == ("a-000.tar", "a-000-more.tar")


def test_packed_shards_are_refused_with_what_to_do(folder):
    (folder / "b/c-2.tar.gz").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"1 of 3 files, as by `gunzip -k c-2\.tar\.gz`, and convert the \.tar"):
        find_shards(folder / "b")
