"""A file takes the place of another one only once it is whole."""

import os

import pytest

from functa_store.errors import StorageError
from functa_store.support.atomic_output import check_replaceable, replacing


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "a.wav"
    with replacing(path) as part:
        part.write_text("new")
        assert part.suffix == ".wav"
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_stays_if_the_block_fails(tmp_path, error):
    path = tmp_path / "a.wav"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert path.read_text() == "old"


def test_a_link_goes_on_leading_to_what_was_written(tmp_path):
    (tmp_path / "there").mkdir()
    path = tmp_path / "a.npz"
    path.symlink_to(tmp_path / "there" / "b.npz")
    with replacing(path) as part:
        part.write_text("new")
    assert path.is_symlink()
    assert (tmp_path / "there" / "b.npz").read_text() == "new"


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "a.gif")
    with replacing(tmp_path / "a.gif") as part:
        assert part == tmp_path / "a.gif"
    assert (tmp_path / "a.gif").is_fifo()


def test_a_place_that_cannot_be_taken_is_refused_before_anything_is_written(tmp_path):
    check_replaceable(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
    with pytest.raises(StorageError, match=r"--sheet x: cannot be written: Is a directory; choose another place"):
        check_replaceable(tmp_path, "--sheet x")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/a\.png: cannot be written: Not a directory"):
        check_replaceable(tmp_path / "file/a.png")
