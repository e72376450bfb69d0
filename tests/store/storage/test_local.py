"""Files of a store are reached without following a link, and appear whole under their names."""

import os
import threading
from pathlib import Path

import pytest

from functa_store.errors import StorageError, StoreExistsError, StoreFormatError
from functa_store.store.storage.local import NO_FILE, LocalObjects


@pytest.fixture
def outside(tmp_path):
    """A user's folder, to which links lead."""
    folder = tmp_path / "outside"
    (folder / "0").mkdir(parents=True)
    (folder / "mine").write_bytes(b"mine")
    (folder / "0" / "mine").write_bytes(b"mine, too")
    return folder


@pytest.fixture
def store(tmp_path):
    objects = LocalObjects(tmp_path / "x.functa")
    objects.write("mse/c/0", b"shard")
    return objects


def contents(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


OPERATIONS = {
    "write": lambda objects: objects.write("mse/c/0", b"new"),
    "write_new": lambda objects: objects.write_new("mse/c/0", b"new"),
    "read": lambda objects: objects.read("mse/c/mine", 100),
    "read_ranges": lambda objects: objects.read_ranges("mse/c/mine", [0], [2]),
    "delete": lambda objects: objects.delete(["mse/c/mine", "mse/c/0/mine"]),
    "size": lambda objects: objects.size("mse/c/mine"),
    "sizes": lambda objects: objects.sizes("mse/c"),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("linked", ["mse", "mse/c"])
def test_a_linked_folder_below_a_store_leads_nowhere(store, outside, operation, linked):
    before = contents(outside)
    store.delete(["mse/c/0"])
    (store.path / linked).parent.mkdir(exist_ok=True, parents=True)
    (store.path / linked).symlink_to(outside)
    with pytest.raises(StoreFormatError, match=f"x.functa/{linked}: is a link, or is reached through a link"):
        operation(store)
    assert contents(outside) == before


def test_a_listing_does_not_enter_linked_folders(store, outside):
    (store.path / "mse/d").symlink_to(outside)
    os.mkfifo(store.path / "pipe")
    assert store.sizes() == {"mse/c/0": 5, "mse/d": NO_FILE, "pipe": NO_FILE}
    assert store.size("mse/d") == NO_FILE


def test_a_linked_file_is_replaced_and_what_it_leads_to_stays(store, outside):
    (store.path / "mse/c/1").symlink_to(outside / "mine")
    store.write("mse/c/1", b"new")
    assert (outside / "mine").read_bytes() == b"mine"
    assert store.read("mse/c/1", 10) == b"new"


def test_a_file_that_is_created_takes_the_place_of_nothing(store, outside):
    (store.path / "mse/c/1").symlink_to(outside / "nothing")
    assert not store.write_new("mse/c/1", b"new")
    assert not store.write_new("mse/c/0", b"other")
    assert store.write_new("mse/c/2", b"new", b"er")
    assert store.read("mse/c/0", 10) == b"shard"
    assert store.read("mse/c/2", 10) == b"newer"
    assert not (outside / "nothing").exists()
    assert sorted(store.sizes()) == ["mse/c/0", "mse/c/1", "mse/c/2"]


def test_a_file_is_replaced_only_while_it_is_what_it_was(store):
    assert not store.replace("mse/c/0", b"other", b"new")
    assert not store.replace("mse/c/9", b"", b"new")
    assert store.replace("mse/c/0", b"shard", b"new", b"er")
    assert not store.replace("mse/c/0", b"shard", b"newest")
    assert store.read("mse/c/0", 10) == b"newer"
    assert list(store.sizes()) == ["mse/c/0"]


def test_what_is_removed_is_the_link_and_not_what_it_leads_to(store, outside):
    (store.path / "mse/c/1").symlink_to(outside / "mine")
    (store.path / "mse/e").symlink_to(outside)
    store.delete(["mse/c/1", "mse/e"])
    assert contents(outside) == {"0/mine": b"mine, too", "mine": b"mine"}
    assert list(store.sizes()) == ["mse/c/0"]


@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to], ids=["link", "hard link"])
def test_a_linked_log_is_not_appended_to(store, outside, plant):
    plant(store.path.with_name("x.functa.log"), outside / "mine")
    with pytest.raises((StoreFormatError, StorageError), match=r"x\.functa\.log"):
        store.append_beside(".log", b"line\n")
    assert (outside / "mine").read_bytes() == b"mine"


def test_a_log_that_is_a_pipe_or_a_device_is_refused_at_once(store):
    os.mkfifo(store.path.with_name("x.functa.log"))
    with pytest.raises((StoreFormatError, StorageError), match=r"x\.functa\.log"):
        store.append_beside(".log", b"line\n")
    store.path.with_name("x.functa.log").unlink()
    store.path.with_name("x.functa.log").symlink_to("/dev/null")
    with pytest.raises(StoreFormatError, match="is a link"):
        store.append_beside(".log", b"line\n")


def test_a_linked_work_folder_is_refused_and_a_linked_store_is_the_users(store, outside, tmp_path):
    (tmp_path / "x.functa.work").symlink_to(outside)
    for operation in (
        lambda work: work.sizes(),
        lambda work: work.write("receipts/0.json", b"{}"),
        lambda work: work.make(),
        lambda work: work.below("exact.functa").sizes(),
    ):
        with pytest.raises(StoreFormatError, match=r"x\.functa\.work: is a link"):
            operation(store.sibling(".work"))
    assert contents(outside) == {"0/mine": b"mine, too", "mine": b"mine"}
    (tmp_path / "alias").symlink_to(store.path)
    assert LocalObjects(tmp_path / "alias").read("mse/c/0", 10) == b"shard"
    assert LocalObjects(tmp_path / "alias").sibling(".log").name == str(tmp_path / "x.functa.log")


def test_two_writers_of_one_file_never_tear_it(store):
    """Each has a temporary file of its own: one name for both tore 43 of 1,996 looks."""
    data = {letter: letter * 2**18 for letter in (b"a", b"b")}
    errors: list[Exception] = []

    def write(letter: bytes) -> None:
        try:
            for _ in range(60):
                store.write("mse/c/0", data[letter])
        except StorageError as error:
            errors.append(error)

    store.write("mse/c/0", data[b"a"])
    threads = [threading.Thread(target=write, args=(letter,)) for letter in data]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert store.read("mse/c/0", 2**18) in data.values()
    assert not errors
    assert list(store.sizes()) == ["mse/c/0"]


def test_a_file_system_without_hard_links_creates_files_all_the_same(store, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert store.write_new("mse/c/1", b"new")
    assert not store.write_new("mse/c/1", b"newer")
    assert store.read("mse/c/1", 10) == b"new"


def test_whoever_may_not_write_any_more_changes_nothing(store):
    def refuse() -> None:
        raise StoreExistsError("gone on by another process")

    guarded = store.guarded(refuse)
    before = contents(store.path)
    for operation in (
        lambda objects: objects.write("mse/c/0", b"new"),
        lambda objects: objects.write_new("mse/c/1", b"new"),
        lambda objects: objects.delete(["mse/c/0"]),
        lambda objects: objects.append_beside(".log", b"line"),
        lambda objects: objects.below("mse").write("c/0", b"new"),
        lambda objects: objects.sibling(".work").write("lease", b"new"),
    ):
        with pytest.raises(StoreExistsError):
            operation(guarded)
    assert contents(store.path) == before
    assert [path.name for path in store.path.parent.iterdir()] == ["x.functa"]


def test_a_process_that_stood_still_while_it_wrote_does_not_give_the_file_its_name(store):
    asked = iter([None, StoreExistsError("gone on by another process")])

    def check() -> None:
        if (error := next(asked)) is not None:
            raise error

    with pytest.raises(StoreExistsError):
        store.guarded(check).write("mse/c/0", b"new")
    assert contents(store.path) == {"mse/c/0": b"shard"}


def test_many_descriptors_are_not_left_open(store):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for k in range(50):
        store.write(f"mse/c/{k}", b"x")
        store.write_new(f"mse/c/{k}", b"x")
        store.read(f"mse/c/{k}", 1)
        store.sizes()
        with pytest.raises(FileNotFoundError):
            store.read("labels/none", 1)
    store.delete(list(store.sizes()))
    assert before is None or len(os.listdir("/proc/self/fd")) <= before
    assert not any(store.path.iterdir())
