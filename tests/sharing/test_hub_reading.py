"""Stores in data sets of the hub are read where they lie, at one commit, and the token goes to the hub alone."""

import contextlib
import http.client
import pickle
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store.cli import main as cli
from functa_store.errors import ConfigError, NoFunctasetError, StorageError, StoreFormatError
from functa_store.loaders import Loader
from functa_store.store.storage import proxy
from functa_store.store.storage.location import parse_location
from functa_store.store.storage.objects import StorageOptions, open_objects
from functa_store.store.writing.destination import check_output
from tests.decode.stores import write_store
from tests.sharing.conftest import files_of
from tests.sharing.hub_server import OWNER_TOKEN

NAME = "someone/pets"
ADDRESS = f"hf://datasets/{NAME}/data/pets.functa"


@pytest.fixture
def commit(hub, pets):
    """The store is in a data set; where."""
    return hub.add(NAME, files_of(pets, "data/pets.functa"))


def test_a_store_is_read_lazily_from_the_hub(hub, pets, commit):
    here, there = functa_store.open(pets), functa_store.open(ADDRESS)
    assert there.store.path == f"hf://datasets/{NAME}@{commit}/data/pets.functa"
    hub.requests.clear()
    assert np.array_equal(there.modulations[[3, 50]], here.modulations[[3, 50]])
    shards = [request for request in hub.requests if "modulations/c/" in request]
    assert 0 < len(shards) <= 4
    assert list(there.ids) == list(here.ids)
    assert np.array_equal(there.decode([5, 6], 4), here.decode([5, 6], 4))
    assert hub.leaked == []


def test_large_files_are_read_by_closed_ranges(hub, tmp_path):
    """Open ranges, and those that count from the end, are not what all hosts answer."""
    write_store(tmp_path / "a.functa", count=40)
    shard = b"".join(bytes([k % 251]) for k in range(5000))
    hub.add(NAME, {"x/large": shard})
    asked = []
    hub.fault = lambda side, method, path: asked.append((side, method)) and None
    objects = open_objects(f"hf://datasets/{NAME}/x")
    found = objects.read_ranges("large", [10, 4000], [5, 7])
    assert [bytes(part) for part in found] == [shard[10:15], shard[4000:4007]]
    assert ("large", "HEAD") not in asked


def test_the_revision_is_the_commit_at_opening(hub, pets, commit, tmp_path):
    functaset = functa_store.open(ADDRESS)
    write_store(tmp_path / "other.functa", count=8, seed=5)
    hub.add(NAME, files_of(tmp_path / "other.functa", "data/pets.functa"))
    assert np.array_equal(functaset.modulations[:], functa_store.open(pets).modulations[:])
    assert len(functa_store.open(ADDRESS)) == 8
    assert len(functa_store.open(f"hf://datasets/{NAME}@{commit}/data/pets.functa")) == 60


def test_a_commit_is_not_asked_for(hub, commit):
    functa_store.open(f"hf://datasets/{NAME}@{commit}/data/pets.functa")
    assert not [request for request in hub.requests if "/revision/" in request]


@pytest.mark.parametrize("branch", ["v2", "feature/x"])
def test_branches_are_named_behind_an_at_sign(hub, pets, branch):
    hub.add(NAME, {"README.md": b"nothing here"})
    hub.add(NAME, files_of(pets, "p.functa"), branch=branch)
    address = f"hf://datasets/{NAME}@{branch.replace('/', '%2F')}/p.functa"
    assert len(functa_store.open(address)) == 60
    with pytest.raises(StoreFormatError):
        functa_store.open(f"hf://datasets/{NAME}/p.functa")


@pytest.mark.slow
def test_what_reads_stores_reads_those_of_the_hub(hub, pets, commit, capsys):
    assert cli.main(["info", ADDRESS]) == 0
    assert commit[:12] in capsys.readouterr().out.replace("\n", "")
    assert functa_store.verify(ADDRESS) == functa_store.verify(pets)
    batch = next(iter(Loader(functa_store.open(ADDRESS), 8, split="train")))
    assert batch["modulations"].shape == (8, 4)
    with xr.open_dataset(ADDRESS, engine="functa") as dataset:
        assert dataset.image.isel(example=[3]).values.shape == (1, 8, 6, 3)
    again = pickle.loads(pickle.dumps(functa_store.open(ADDRESS)))
    assert again.store.path == f"hf://datasets/{NAME}@{commit}/data/pets.functa"


def test_private_data_sets_need_the_token(hub, pets, monkeypatch):
    hub.add(NAME, files_of(pets, "data/pets.functa"), private=True)
    assert len(functa_store.open(ADDRESS)) == 60
    assert hub.leaked == []
    for storage in (StorageOptions(anonymous=True), StorageOptions()):
        with pytest.raises(StorageError, match="set HF_TOKEN in the environment") as caught:
            functa_store.open(ADDRESS, storage=storage)
        assert OWNER_TOKEN not in str(caught.value)
        monkeypatch.delenv("HF_TOKEN", raising=False)


def test_an_expired_token_is_told_and_none_is_needed_for_what_is_public(hub, commit, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(StorageError, match="token of HF_TOKEN has expired") as caught:
        functa_store.open(ADDRESS)
    assert "hf_expired" not in str(caught.value)
    assert len(functa_store.open(ADDRESS, storage=StorageOptions(anonymous=True))) == 60


def test_the_gate_itself_keeps_the_token_from_other_servers(hub):
    """The client leaves it out, too, but that is the client's business."""
    gate = proxy.gate_to("http", urlsplit(hub.url).netloc, follows=True)
    for server in (hub.large_url, hub.url):
        with contextlib.closing(http.client.HTTPConnection(urlsplit(gate.url).netloc)) as connection:
            connection.request("GET", f"{server}/x", headers={"AUTHORIZATION": "Bearer hf_a", "Cookie": "a=b"})
            assert connection.getresponse().status in (401, 403)
    assert hub.leaked == []


def test_a_token_that_would_break_a_header_is_refused(hub, monkeypatch, commit):
    monkeypatch.setenv("HF_TOKEN", "hf_a\r\nX-Evil: 1")
    with pytest.raises(ConfigError, match="HF_TOKEN: expected the token") as caught:
        functa_store.open(ADDRESS)
    assert "X-Evil" not in str(caught.value)


@pytest.mark.parametrize("address", [f"hf://datasets/{NAME}@none/x.functa", "hf://datasets/someone/none/x.functa"])
def test_what_is_not_there_is_said_so(hub, commit, address):
    with pytest.raises(NoFunctasetError, match=r"no such data set at .*, or it has no revision"):
        functa_store.open(address)


def test_a_path_without_a_store_is_said_so(hub, commit):
    with pytest.raises(NoFunctasetError, match=f"{NAME}@{commit}/none"):
        functa_store.open(f"hf://datasets/{NAME}/none.functa")


@pytest.mark.slow
def test_requests_are_repeated_when_the_hub_says_so(hub, pets, commit):
    refused = []

    def once(side, method, path):
        if "zarr.json" in path and len(refused) < 2:
            refused.append(path)
            return 429, {"Retry-After": "1"}
        return None

    hub.fault = once
    assert len(functa_store.open(ADDRESS)) == 60
    assert len(refused) == 2


def test_a_wait_that_is_too_long_is_told(hub, commit):
    hub.fault = lambda side, method, path: (429, {"Retry-After": "500"}) if "zarr.json" in path else None
    with pytest.raises(
        StorageError, match=r"429.*to be asked again in (500|499) s; allow more with the option timeout"
    ):
        functa_store.open(ADDRESS, storage=StorageOptions(timeout=20.0))


def test_a_server_that_is_no_hub_is_told(hub, commit):
    hub.fault = lambda side, method, path: (200, {}) if "/revision/" in path else None
    with pytest.raises(StorageError, match="it is no hub"):
        functa_store.open(ADDRESS)


@pytest.mark.parametrize(
    "address",
    [
        "hf://x",
        "hf://datasets/a",
        "hf://models/a/b/x",
        "hf://datasets/a/b/../x",
        "hf://datasets/a/b//x",
        "hf:/datasets/a/b",
    ],
)
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(ConfigError, match="hf:"):
        parse_location(address)


def test_addresses_name_a_data_set_a_revision_and_a_path():
    found = parse_location("hf://datasets/a/b@refs/convert/parquet/x.functa")
    assert (found.host, found.prefix) == ("datasets/a/b@refs/convert/parquet", "x.functa")
    assert parse_location("hf://datasets/a/b").host == "datasets/a/b@main"


def test_nothing_is_written_but_by_push():
    with pytest.raises(ConfigError, match="functa push"):
        check_output(ADDRESS)
