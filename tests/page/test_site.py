"""Sites of static files that show a functaset."""

import shutil
from pathlib import Path

import pytest

import functa_store
from functa_store.errors import ConfigError, StoreExistsError, StoreFormatError
from functa_store.page.site import INDEX, STATIC, write_page
from functa_store.progress import Note
from tests.store.conftest import make_contents, write_shards

GOLDEN = Path(__file__).parents[1] / "golden"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["v1", "v7_spatial", "grown_v8"])
def test_a_site_is_the_page_and_an_equal_functaset(tmp_path, name):
    size = write_page(GOLDEN / f"{name}.functa", tmp_path / "site")
    assert files(tmp_path / "site" / f"{name}.functa") == files(GOLDEN / f"{name}.functa")
    assert functa_store.verify(tmp_path / "site" / f"{name}.functa").complete
    page = {key: content for key, content in files(tmp_path / "site").items() if not key.startswith(name)}
    assert page.keys() == {*files(STATIC), ".nojekyll"}
    assert f'<meta name="functaset" content="{name}.functa">'.encode() in page[INDEX]
    assert f"<title>{name}.functa</title>".encode() in page[INDEX]
    assert size == sum(map(len, files(tmp_path / "site").values()))


def test_what_a_stranger_put_into_a_store_is_not_copied(tmp_path):
    store = tmp_path / "pets.functa"
    shutil.copytree(GOLDEN / "v7.functa", store)
    (store / "secret.html").write_text("<script>")
    (store / "labels/evil").mkdir(parents=True)
    (store / "labels/evil/zarr.json").symlink_to("/etc/hostname")
    write_page(store, tmp_path / "site")
    assert files(tmp_path / "site/pets.functa") == files(GOLDEN / "v7.functa")


def test_a_link_inside_a_store_is_refused(tmp_path):
    store = tmp_path / "pets.functa"
    shutil.copytree(GOLDEN / "v7.functa", store)
    (store / "id/c/0").unlink()
    (store / "id/c/0").symlink_to(GOLDEN / "v7.functa/id/c/0")
    with pytest.raises(StoreFormatError, match="id/c/0"):
        write_page(store, tmp_path / "site")
    assert not list(tmp_path.glob("site*"))


def test_with_an_address_nothing_is_copied(tmp_path):
    write_page(GOLDEN / "v7.functa", tmp_path / "site", store_url="https://example.org/a%20b/v7.functa/")
    assert files(tmp_path / "site").keys() == {*files(STATIC), ".nojekyll"}
    wanted = b'<meta name="functaset" content="https://example.org/a%20b/v7.functa">'
    assert wanted in (tmp_path / "site" / INDEX).read_bytes()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "ftp://example.org/x.functa",
        "javascript:alert(1)",
        "https://me:secret@example.org/x.functa",
        "https://example.org/x.functa?token=secret",
        "https://example.org/x y",
        "C:\\x.functa",
        "https://example.org/\nx",
        "https://[::1/x",
    ],
)
def test_an_address_that_no_browser_fetches_is_refused(tmp_path, url):
    with pytest.raises(ConfigError, match=r"store_url: .*expected https://host/path") as error:
        write_page(GOLDEN / "v7.functa", tmp_path / "site", store_url=url)
    assert "secret" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_address_cannot_leave_its_attribute(tmp_path):
    write_page(GOLDEN / "v7.functa", tmp_path / "site", store_url='x"><script>alert(1)</script>')
    text = (tmp_path / "site" / INDEX).read_text()
    assert '<meta name="functaset" content="x&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;">' in text


def test_a_site_replaces_nothing_and_is_not_written_into_a_store(tmp_path):
    (tmp_path / "site").mkdir()
    with pytest.raises(StoreExistsError, match="exists already"):
        write_page(GOLDEN / "v7.functa", tmp_path / "site")
    store = tmp_path / "pets.functa"
    shutil.copytree(GOLDEN / "v7.functa", store)
    with pytest.raises(ConfigError, match="lies inside the store"):
        write_page(store, store / "site")
    with pytest.raises(ConfigError, match="there is no folder"):
        write_page(store, tmp_path / "nowhere/site")


def test_a_functaset_of_an_odd_name_gets_a_plain_one(tmp_path):
    store = tmp_path / '<b>"pets" & more.functa'
    shutil.copytree(GOLDEN / "v7.functa", store)
    write_page(store, tmp_path / "site")
    assert files(tmp_path / "site/b-pets-more.functa") == files(GOLDEN / "v7.functa")


def test_an_unfinished_functaset_goes_with_its_receipts(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "pets.functa", make_contents(), stop_before=2)
    notes = []
    write_page(tmp_path / "pets.functa", tmp_path / "site", report=notes.append)
    assert [type(note) for note in notes] == [Note]
    assert len(functa_store.open(tmp_path / "site/pets.functa")) == 16
    receipts = files(tmp_path / "site/pets.functa.work")
    assert receipts.keys() == {"receipts/000000.json", "receipts/000001.json", "receipts/skeleton.json"}
    assert receipts.items() <= files(tmp_path / "pets.functa.work").items()
