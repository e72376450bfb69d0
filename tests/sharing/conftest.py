"""A hub for the tests of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from functa_store.store.storage import proxy
from tests.decode.stores import write_store
from tests.sharing.hub_server import OWNER_TOKEN, Hub, hub_server


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    """A hub, the token of an owner, and redirects to this machine, which elsewhere are not followed."""
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", OWNER_TOKEN)
        monkeypatch.setattr(proxy, "_is_public", lambda _: True)
        yield hub


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A complete store, not to be changed."""
    store = tmp_path_factory.mktemp("written") / "pets.functa"
    write_store(store, count=60)
    return store


@pytest.fixture
def pets(written, tmp_path) -> Path:
    """A complete store of a test's own."""
    return shutil.copytree(written, tmp_path / "pets.functa")


def files_of(folder: Path, below: str = "") -> dict[str, bytes]:
    """Content of every file of a folder, by its path with another one before it."""
    prefix = f"{below}/" if below else ""
    return {
        f"{prefix}{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
