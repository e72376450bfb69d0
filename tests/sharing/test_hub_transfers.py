"""Pushes and pulls move whole functasets, go on where they were interrupted, and say what the hub refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.errors import (
    ConfigError,
    NoFunctasetError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
)
from functa_store.progress import Note, Transferred
from functa_store.sharing import hub as transfers
from functa_store.sharing import hub_calls
from functa_store.store.storage.objects import StorageOptions
from tests.decode.stores import write_store
from tests.sharing.conftest import files_of
from tests.sharing.hub_server import OWNER_TOKEN, STRANGER_TOKEN

constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library, in its own calls

NAME = "someone/pets"
ADDRESS = f"hf://datasets/{NAME}"


@pytest.fixture(autouse=True)
def _without_xet(monkeypatch):
    """The newest protocol of uploads speaks with servers of its own; without it the library takes that of Git LFS."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hub_calls, "LONGEST_WAIT", 0.05)


def uploads(hub):
    return [request for request in hub.requests if request.startswith("large PUT")]


def test_a_pushed_functaset_is_opened_and_pulled(hub, pets, tmp_path):
    events = []
    address = functa_store.push(pets, ADDRESS, report=events.append)
    assert re.fullmatch(rf"{ADDRESS}@[0-9a-f]{{40}}/pets\.functa", address)
    there = {name: data for name, data in hub.files(NAME).items() if name != ".gitattributes"}
    assert there == files_of(pets, "pets.functa")
    assert np.array_equal(functa_store.open(address).modulations[:], functa_store.open(pets).modulations[:])
    assert functa_store.pull(f"{ADDRESS}/pets.functa", tmp_path / "back.functa", report=events.append) == address
    assert files_of(tmp_path / "back.functa") == files_of(pets)
    assert not (tmp_path / "back.functa.part").exists()
    moved = [event for event in events if isinstance(event, Transferred)]
    assert [event.done for event in moved if event.done == event.total] == [moved[-1].total] * 2
    assert hub.leaked == []


def test_all_of_a_push_appears_in_one_commit(hub, pets):
    functa_store.push(pets, ADDRESS)
    assert len(hub.repos[NAME].commits) == 2


def test_the_root_comes_last_where_a_push_takes_several_commits(hub, pets, monkeypatch, tmp_path):
    monkeypatch.setattr(transfers, "MOST_PER_COMMIT", 20)
    functa_store.push(pets, ADDRESS)
    write_store(tmp_path / "other.functa", count=40, seed=2)
    functa_store.push(tmp_path / "other.functa", f"{ADDRESS}/pets.functa")
    trees = list(hub.repos[NAME].commits.values())
    roots = ["pets.functa/zarr.json" in tree for tree in trees]
    assert len(trees) > 5
    assert sum(roots) == 2
    assert roots[-1]
    left = {name: data for name, data in hub.files(NAME).items() if name != ".gitattributes"}
    assert left == files_of(tmp_path / "other.functa", "pets.functa")


def test_an_interrupted_push_goes_on(hub, pets):
    left = [1]

    def fails_later(side, method, path):
        if side == "large" and method == "PUT":
            left[0] -= 1
            return (403, {}) if left[0] < 0 else None
        return None

    hub.fault = fails_later
    with pytest.raises(StorageError, match=r"run the same command again|refuses"):
        functa_store.push(pets, ADDRESS)
    assert "pets.functa/zarr.json" not in hub.files(NAME)
    sent, hub.fault = set(hub.large), lambda *_: None
    hub.requests.clear()
    functa_store.push(pets, ADDRESS)
    assert sent
    assert not [request for request in uploads(hub) if any(digest in request for digest in sent)]
    assert functa_store.verify(f"{ADDRESS}/pets.functa").damaged == {}


def test_what_is_there_is_not_sent_again(hub, pets):
    first = functa_store.push(pets, ADDRESS)
    hub.requests.clear()
    assert functa_store.push(pets, ADDRESS) == first
    assert uploads(hub) == []
    assert len(hub.repos[NAME].commits) == 2


@pytest.mark.slow
def test_requests_are_repeated_where_the_hub_has_had_too_many(hub, pets, tmp_path):
    refused = []

    def throttles(side, method, path):
        kind = next((kind for kind in ("create", "commit/", "tree/", "resolve/") if kind in path), None)
        if side == "hub" and kind and kind not in refused:
            refused.append(kind)
            return 429, {"Retry-After": "0"}
        return None

    hub.fault = throttles
    functa_store.push(pets, ADDRESS)
    functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert sorted(refused) == ["commit/", "create", "resolve/", "tree/"]


@pytest.mark.slow
def test_a_wait_that_is_too_long_is_told(hub, pets):
    hub.fault = lambda side, method, path: (429, {"Retry-After": "90"}) if "commit/" in path else None
    with pytest.raises(
        StorageError, match="429 and wants to be asked again in 90 s; allow more with the option timeout"
    ):
        functa_store.push(pets, ADDRESS, storage=StorageOptions(timeout=5.0))


@pytest.mark.slow
def test_a_grown_functaset_is_pushed_with_its_parts(hub, tmp_path):
    grown = Path(__file__).parents[1] / "golden/grown_v8.functa"
    functa_store.push(grown, ADDRESS)
    functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert np.array_equal(
        functa_store.open(f"{ADDRESS}/grown_v8.functa").modulations[:], functa_store.open(grown).modulations[:]
    )
    assert functa_store.verify(tmp_path / "back.functa") == functa_store.verify(grown)


def test_an_unfinished_functaset_is_refused_before_anything_is_sent(hub, tmp_path):
    write_store(tmp_path / "pets.functa", num_shards=1)
    with pytest.raises(StoreFormatError, match=r"unfinished.*Nothing was sent"):
        functa_store.push(tmp_path / "pets.functa", ADDRESS)
    assert hub.requests == []


def test_a_damaged_functaset_is_refused_before_anything_is_sent(hub, pets):
    shard = pets / "modulations/c/3/0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreFormatError, match=r"modulations/c/3/0.*Nothing was sent"):
        functa_store.push(pets, ADDRESS)
    assert hub.requests == []
    functa_store.push(pets, ADDRESS, check=False)
    assert f"{NAME}" in hub.repos


def test_what_is_no_part_of_a_functaset_stays_here(hub, pets):
    (pets / "notes.txt").write_text("mine")
    functa_store.push(pets, ADDRESS)
    assert "pets.functa/notes.txt" not in hub.files(NAME)


@pytest.mark.parametrize("token", [None, STRANGER_TOKEN, "hf_expired"])
def test_a_push_needs_the_token_of_an_owner(hub, pets, monkeypatch, token):
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    kind, words = (StorageError, r"refuses \(401\).*HF_TOKEN") if token else (ConfigError, "set HF_TOKEN")
    with pytest.raises(kind, match=words) as caught:
        functa_store.push(pets, ADDRESS)
    assert (token or "nothing") not in str(caught.value)


def test_an_expired_token_is_told_when_pulling(hub, pets, monkeypatch, tmp_path):
    hub.add(NAME, files_of(pets, "pets.functa"))
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(StorageError, match="token of HF_TOKEN has expired") as caught:
        functa_store.pull(f"{ADDRESS}/pets.functa", tmp_path / "back.functa")
    assert "hf_expired" not in str(caught.value)
    functa_store.pull(ADDRESS, tmp_path / "back.functa", storage=StorageOptions(anonymous=True))


@pytest.mark.slow
def test_a_push_begins_anew_where_others_push_meanwhile(hub, pets, tmp_path):
    """What is not sent again was looked up at a commit; on top of another one, two functasets would be mixed."""
    write_store(tmp_path / "other.functa", count=40, seed=3)
    write_store(tmp_path / "ours.functa", count=60, seed=9)  # with the ids of those that are there
    functa_store.push(pets, ADDRESS)
    others = [files_of(tmp_path / "other.functa", "pets.functa")]

    def pushes_first(side, method, path):
        if "/commit/" in path and others:
            hub.add(NAME, others.pop() | {"theirs.txt": b"theirs"})

    hub.fault = pushes_first
    address = functa_store.push(tmp_path / "ours.functa", f"{ADDRESS}/pets.functa")
    assert others == []
    assert functa_store.verify(address).damaged == {}
    there = hub.files(NAME)
    assert there.pop("theirs.txt") == b"theirs"
    assert there == files_of(tmp_path / "ours.functa", "pets.functa")


def test_a_data_set_that_others_go_on_changing_is_told(hub, pets):
    def changes(side, method, path):
        if "/commit/" in path:
            hub.add(NAME, {"theirs.txt": b"theirs%d" % len(hub.requests)} | hub.files(NAME))

    hub.fault = changes
    with pytest.raises(StorageError, match=r"somebody else goes on changing.*run the same command again"):
        functa_store.push(pets, ADDRESS)


@pytest.mark.slow
def test_an_interrupted_replacement_in_several_commits_goes_on(hub, pets, monkeypatch, tmp_path):
    monkeypatch.setattr(transfers, "MOST_PER_COMMIT", 20)
    functa_store.push(pets, ADDRESS)
    write_store(tmp_path / "other.functa", count=40, seed=2)
    commits = []

    def refuses_the_second(side, method, path):
        if "/commit/" not in path:
            return None
        commits.append(path)
        return (403, {}) if len(commits) == 2 else None

    hub.fault = refuses_the_second
    with pytest.raises(StorageError):
        functa_store.push(tmp_path / "other.functa", f"{ADDRESS}/pets.functa")
    functa_store.push(tmp_path / "other.functa", f"{ADDRESS}/pets.functa")
    left = {name: data for name, data in hub.files(NAME).items() if name != ".gitattributes"}
    assert left == files_of(tmp_path / "other.functa", "pets.functa")


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "90"}, {"RateLimit": '"api";r=0;t=90', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}],
)
def test_the_hub_may_say_in_either_way_when_it_is_to_be_asked_again(hub, pets, headers):
    hub.fault = lambda side, method, path: (429, headers) if "repos/create" in path else None
    with pytest.raises(StorageError, match="asked again in 90 s"):
        functa_store.push(pets, ADDRESS, storage=StorageOptions(timeout=5.0))


@pytest.mark.slow
def test_a_push_that_ctrl_c_ended_goes_on(hub, pets):
    """The process is interrupted while a large file is on its way."""
    began, go = threading.Event(), threading.Event()

    def waits(side, method, path):
        if side == "large" and method == "PUT" and hub.large:
            began.set()
            go.wait(60)

    hub.fault = waits
    words = [sys.executable, "-m", "functa_store.cli", "push", str(pets), ADDRESS]
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert began.wait(60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    go.set()
    assert process.returncode == 130
    assert b"run the same command again to go on from here" in said
    assert b"Traceback" not in said
    assert "pets.functa/zarr.json" not in hub.files(NAME)
    sent, hub.fault = set(hub.large), lambda *_: None
    hub.requests.clear()
    functa_store.push(pets, ADDRESS)
    assert sent
    assert not [request for request in uploads(hub) if any(digest in request for digest in sent)]
    assert {name: data for name, data in hub.files(NAME).items() if name != ".gitattributes"} == files_of(
        pets, "pets.functa"
    )


@pytest.mark.parametrize("name", ["x" * 97, "a--b", "a..b", "pets.git", "pets-", "-pets"])
def test_names_that_the_hub_does_not_take_are_told(hub, pets, name):
    with pytest.raises(ConfigError, match=name[:50]):
        functa_store.push(pets, f"hf://datasets/someone/{name}")
    assert hub.requests == []


@pytest.mark.slow
def test_long_names_of_functasets_and_labels_arrive(hub, pets, tmp_path):
    long = pets.rename(tmp_path / f"{'p' * 240}.functa")
    functa_store.push(long, f"{ADDRESS}/{'folder' * 40}/pets.functa")
    functa_store.push(long, ADDRESS)
    functa_store.pull(f"{ADDRESS}/{'folder' * 40}/pets.functa", tmp_path / "back.functa")
    assert files_of(tmp_path / "back.functa") == files_of(long)
    functa_store.pull(f"{ADDRESS}/{long.name}", tmp_path / "again.functa")
    assert files_of(tmp_path / "again.functa") == files_of(long)


def test_a_card_comes_to_the_top_of_the_data_set(hub, pets, tmp_path):
    functa_store.card(pets, tmp_path / "README.md", address=f"{ADDRESS}/pets.functa")
    functa_store.push(pets, ADDRESS, card=tmp_path / "README.md")
    assert hub.files(NAME)["README.md"] == (tmp_path / "README.md").read_bytes()
    assert hub.files(NAME)["examples.png"] == (tmp_path / "examples.png").read_bytes()
    assert len(hub.repos[NAME].commits) == 2


def test_other_files_of_a_data_set_stay(hub, pets):
    hub.add(NAME, {"a/notes.txt": b"mine", "README.md": b"mine"})
    functa_store.push(pets, f"{ADDRESS}/a/pets.functa")
    assert hub.files(NAME)["a/notes.txt"] == hub.files(NAME)["README.md"] == b"mine"
    hub.add(NAME, {"b.functa/notes.txt": b"mine"})
    with pytest.raises(StoreExistsError, match=r"b\.functa: holds something"):
        functa_store.push(pets, f"{ADDRESS}/b.functa")


@pytest.mark.slow
def test_branches_and_private_data_sets_are_made(hub, pets, monkeypatch, tmp_path):
    functa_store.push(pets, f"{ADDRESS}@v2/pets.functa", private=True)
    assert hub.repos[NAME].private
    assert "pets.functa/zarr.json" in hub.files(NAME, "v2")
    assert "pets.functa/zarr.json" not in hub.files(NAME)
    functa_store.pull(f"{ADDRESS}@v2", tmp_path / "back.functa")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(StorageError, match="HF_TOKEN"):
        functa_store.pull(f"{ADDRESS}@v2", tmp_path / "again.functa")


def test_an_interrupted_pull_goes_on(hub, pets, tmp_path):
    hub.add(NAME, files_of(pets, "pets.functa"))
    hub.fault = lambda side, method, path: (404, {}) if "modulations/c/10" in path else None
    with pytest.raises(StorageError, match="refuses"):
        functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert not (tmp_path / "back.functa").exists()
    here = {path.name for path in (tmp_path / "back.functa.part").rglob("c/*/0")}
    hub.fault = lambda *_: None
    hub.requests.clear()
    functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert here
    assert len([request for request in hub.requests if request.startswith("hub GET /datasets")]) < len(files_of(pets))
    assert files_of(tmp_path / "back.functa") == files_of(pets)
    assert not (tmp_path / "back.functa.part").exists()


@pytest.mark.slow
def test_a_pull_of_another_commit_takes_nothing_of_the_last_one(hub, pets, tmp_path):
    hub.add(NAME, files_of(pets, "pets.functa"))
    hub.fault = lambda side, method, path: (404, {}) if path.endswith("modulations/c/9/0") else None
    with pytest.raises(StorageError):
        functa_store.pull(ADDRESS, tmp_path / "back.functa")
    hub.fault = lambda *_: None
    write_store(tmp_path / "other.functa", count=20, seed=4)
    hub.add(NAME, files_of(tmp_path / "other.functa", "pets.functa"))
    functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert files_of(tmp_path / "back.functa") == files_of(tmp_path / "other.functa")


def test_what_was_damaged_on_the_way_is_not_put_in_place(hub, pets, tmp_path):
    files = files_of(pets, "pets.functa")
    files["pets.functa/modulations/c/3/0"] = files["pets.functa/modulations/c/3/0"][:-1] + b"x"
    hub.add(NAME, files)
    with pytest.raises(StoreFormatError, match=r"modulations/c/3/0.*it is removed"):
        functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert not [name for name in os.listdir(tmp_path) if name.startswith("back")]


def test_an_unfinished_functaset_is_not_downloaded(hub, tmp_path):
    write_store(tmp_path / "pets.functa", num_shards=1)
    hub.add(NAME, files_of(tmp_path / "pets.functa", "pets.functa"))
    with pytest.raises(StoreFormatError, match=r"unfinished store.*Nothing was downloaded"):
        functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert not [request for request in hub.requests if "/c/" in request]
    assert not [name for name in os.listdir(tmp_path) if name.startswith("back")]
    with pytest.raises(StorageError, match="only complete stores can be read"):
        functa_store.open(f"{ADDRESS}/pets.functa")


@pytest.mark.slow
def test_a_pull_stays_at_the_commit_at_which_it_began(hub, pets, tmp_path):
    hub.add(NAME, files_of(pets, "pets.functa"))
    write_store(tmp_path / "other.functa", count=20, seed=4)
    others = [files_of(tmp_path / "other.functa", "pets.functa")]

    def pushes_meanwhile(side, method, path):
        if "modulations/c/3" in path and others:
            hub.add(NAME, others.pop())

    hub.fault = pushes_meanwhile
    functa_store.pull(ADDRESS, tmp_path / "back.functa")
    assert others == []
    assert files_of(tmp_path / "back.functa") == files_of(pets)


@pytest.mark.slow
def test_waits_of_the_library_are_told_without_addresses(hub, pets, tmp_path, capfd, caplog):
    """Its own lines name the address of a request, which for large files has a signature."""
    hub.add(NAME, files_of(pets, "pets.functa"))
    left = [2]

    def throttles(side, method, path):
        left[0] -= "/tree/" in path
        return (429, {"RateLimit": '"api";r=0;t=1'}) if left[0] >= 0 and "/tree/" in path else None

    hub.fault, events = throttles, []
    functa_store.pull(ADDRESS, tmp_path / "back.functa", report=events.append)
    assert any("too many requests; again in 2 s" in event.message for event in events if isinstance(event, Note))
    assert "http" not in capfd.readouterr().err + caplog.text


def test_a_pull_names_what_there_is_to_choose(hub, pets, tmp_path):
    hub.add(NAME, files_of(pets, "a.functa") | files_of(pets, "b/b.functa"))
    with pytest.raises(NoFunctasetError, match=r"found 2 functasets, expected one; name one of a.functa, b/b.functa"):
        functa_store.pull(ADDRESS, tmp_path / "back.functa")
    with pytest.raises(NoFunctasetError, match="found no functasets"):
        functa_store.pull(f"{ADDRESS}/c.functa", tmp_path / "back.functa")


def test_nothing_is_replaced_by_a_pull(hub, pets, tmp_path):
    hub.add(NAME, files_of(pets, "pets.functa"))
    with pytest.raises(StoreExistsError, match="exists already"):
        functa_store.pull(ADDRESS, pets)


@pytest.mark.parametrize("path", ["a.zip", "s3://bucket/a.functa", ".functa"])
def test_a_pull_goes_to_a_path_of_a_functaset(hub, path):
    with pytest.raises(ConfigError):
        functa_store.pull(ADDRESS, path)


@pytest.mark.slow
def test_the_commands_do_the_same(hub, pets, tmp_path, capsys):
    assert cli.main(["push", str(pets), ADDRESS, "--json"]) == 0
    address = json.loads(capsys.readouterr().out.splitlines()[-1])["address"]
    assert cli.main(["pull", ADDRESS, str(tmp_path / "back.functa")]) == 0
    assert address in capsys.readouterr().out.replace("\n", "")
    assert cli.main(["pull", ADDRESS, str(tmp_path / "back.functa")]) == 2
    assert OWNER_TOKEN not in capsys.readouterr().err
