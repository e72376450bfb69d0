"""Dataset cards are what the hub reads, say what a functaset holds, and pass no markup of strangers on."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.cli import main as cli
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError, StoreExistsError, StoreFormatError
from functa_store.sharing.card import escaped
from functa_store.sharing.overview import overview_of
from functa_store.sources.source import Label
from tests.decode.stores import write_store

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

GOLDEN = Path(__file__).parents[1] / "golden"
ANIMALS = {"animal": Label(values=np.arange(12) % 2, names=("cat", "dog"))}


def parsed(path):
    """The card, parsed by the hub's own library."""
    return hub.DatasetCard(Path(path).read_text(encoding="utf-8"))


def test_the_hubs_library_reads_the_front_matter(tmp_path):
    write_store(tmp_path / "pets.functa", labels=ANIMALS)
    written = functa_store.card(
        tmp_path / "pets.functa", tmp_path / "README.md", licence="cc-by-4.0", name="Pets: all", tags=["pets"]
    )
    assert written == [tmp_path / "README.md", tmp_path / "examples.png"]
    data = parsed(tmp_path / "README.md").data
    assert (data.license, data.pretty_name) == ("cc-by-4.0", "Pets: all")
    assert data.task_categories == ["image-classification"]
    assert data.size_categories == ["n<1K"]
    assert {"functa", "pets"} <= set(data.tags)
    with Image.open(tmp_path / "examples.png") as sheet:
        assert sheet.size > (8, 6)


def test_a_card_says_what_the_store_holds(tmp_path):
    write_store(tmp_path / "pets.functa", labels=ANIMALS)
    functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md", address="hf://datasets/a/b/pets.functa")
    text, store = parsed(tmp_path / "README.md").text, functa_store.open(tmp_path / "pets.functa")
    for expected in (
        "12 images",
        "| train | 6 | 20.00 | 20.00 |",
        "| animal |  | cat 6, dog 6 |",
        store.spec.fingerprint,
        "functa_store.open('hf://datasets/a/b/pets.functa')",
        "to_jax()",
        "to_torch()",
        "xr.open_dataset('hf://datasets/a/b/pets.functa', engine=\"functa\")",
        "![Decoded examples](examples.png)",
    ):
        assert expected in text, expected


@pytest.mark.slow
def test_the_code_of_a_card_runs(tmp_path):
    write_store(tmp_path / "pets.functa", count=64)
    functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md", address=str(tmp_path / "pets.functa"))
    code = re.search(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.S)
    scope = {}
    exec(code[1], scope)
    assert scope["batch"]["modulations"].shape == (32, 4)
    assert dict(scope["dataset"].sizes)["example"] == 64


@pytest.mark.parametrize("kind", ["v7_sphere", "v7_scene", "v7_spatial", "v7_augmented", "grown_v8", "v1"])
def test_every_kind_and_version_has_a_card(tmp_path, kind):
    functa_store.card(GOLDEN / f"{kind}.functa", tmp_path / "README.md")
    assert parsed(tmp_path / "README.md").data.license == "unknown"


def test_what_makes_no_picture_has_a_card_without_one(tmp_path):
    write_store(tmp_path / "a.functa", domain=CellGrid(axes=("t",), resolution=(16,), lengths=(1.0,), units=("s",)))
    assert functa_store.card(tmp_path / "a.functa", tmp_path / "README.md") == [tmp_path / "README.md"]
    text = (tmp_path / "README.md").read_text()
    assert "12 sounds" in text
    assert "![" not in text


HOSTILE = (
    "<script>alert(1)</script> [x](javascript:1) | a `b` **c** @you https://evil.example www.evil.example\x1b[2J\n# x"
)


def test_texts_of_strangers_are_shown_letter_by_letter(tmp_path):
    labels = {"<img src=x>|": Label(values=np.zeros(12, np.int64), names=(HOSTILE,))}
    write_store(tmp_path / "pets.functa", labels=labels)
    functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md")
    text = parsed(tmp_path / "README.md").text
    assert "<script" not in text
    assert "<img" not in text
    row = next(line for line in text.splitlines() if "alert" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
    assert "\x1b" not in row
    assert "\\[x\\](javascript:1)" in row
    assert "https\\://evil" in row


def test_provenance_is_told_in_words(tmp_path):
    """What a converter notes as JSON is read by people, on the card and in the report."""
    digests = {"a.txt": "0123456789abcdef" * 4, "b.txt": "f" * 128, "c.txt": "a" * 65}
    noted = {
        "label_files": digests,
        "sums": ["e" * 64, "d" * 64],
        "sum": "e" * 64,
        "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
        "members": ["a", "b"],
        "flip": True,
    }
    write_store(tmp_path / "pets.functa", provenance=noted)
    recipe = {row[0]: row[1] for row in overview_of(functa_store.open(tmp_path / "pets.functa").store).recipe}
    assert recipe["label files"] == f"a.txt 0123456789ab..., b.txt ffffffffffff..., c.txt {'a' * 65}"
    assert (recipe["sums"], recipe["sum"]) == ("eeeeeeeeeeee..., dddddddddddd...", "e" * 64)
    assert recipe["versions"] == "jax 0.10.2, numpy 2.4.6"
    assert (recipe["members"], recipe["flip"]) == ("a, b", "yes")


def test_escaping_leaves_ordinary_names_alone():
    assert escaped("faces 64x64, 2.5 dB: train-0.png") == "faces 64x64, 2.5 dB: train-0.png"


def test_what_others_wrote_is_not_replaced(tmp_path):
    write_store(tmp_path / "pets.functa")
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(StoreExistsError, match="functa card did not write"):
        functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == "mine"
    (tmp_path / "README.md").unlink()
    (tmp_path / "examples.png").write_text("mine")
    with pytest.raises(StoreExistsError, match="beside no card"):
        functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md")


def test_a_card_for_no_folder_is_refused_before_its_sheet_is_decoded(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no folder .*cards; create it first"):
        functa_store.card(tmp_path / "pets.functa", tmp_path / "cards" / "README.md")


def test_a_card_is_written_again(tmp_path):
    write_store(tmp_path / "pets.functa")
    functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md")
    functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md", licence="mit")
    assert parsed(tmp_path / "README.md").data.license == "mit"


def test_an_unfinished_functaset_has_no_card(tmp_path):
    write_store(tmp_path / "pets.functa", num_shards=1)
    with pytest.raises(StoreFormatError, match="unfinished"):
        functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md")
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    "options", [{"licence": "CC BY"}, {"tags": ["a b"]}, {"name": "a\nb"}, {"page": "javascript:1"}, {"address": ""}]
)
def test_options_that_would_break_a_card_are_refused(tmp_path, options):
    with pytest.raises(ConfigError):
        functa_store.card(tmp_path / "pets.functa", tmp_path / "README.md", **options)


def test_the_command_writes_the_same(tmp_path, capsys):
    write_store(tmp_path / "pets.functa")
    words = ["card", str(tmp_path / "pets.functa"), "--out", str(tmp_path / "README.md"), "--licence", "mit"]
    assert cli.main([*words, "--page", "https://example.org/pets/", "--task", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0] == str(tmp_path / "README.md")
    assert "https://example.org/pets/" in (tmp_path / "README.md").read_text()
    assert parsed(tmp_path / "README.md").data.task_categories == ["other"]
