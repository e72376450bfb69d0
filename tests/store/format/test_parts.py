"""Roots that list parts say what was written, and nothing else is believed."""

import json
import shutil
from pathlib import Path

import pytest

from functa_store.errors import StoreFormatError
from functa_store.store.format.parts import PartRecord, is_of_part, part_name, parts_root
from functa_store.store.format.spec import sha256_json
from functa_store.store.reading.joined_store import open_store
from functa_store.store.reading.verify import verify

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(name="grown")
def _grown(tmp_path):
    shutil.copytree(GOLDEN / "grown_v8.functa", tmp_path / "grown.functa")
    return tmp_path / "grown.functa"


def seal(path, change):
    """Change what a root says, and give it a checksum that fits."""
    root = json.loads((path / "zarr.json").read_text())
    functa = root["attributes"]["functa"]
    del functa["checksum"]
    change(functa)
    functa["checksum"] = sha256_json(root)
    (path / "zarr.json").write_text(json.dumps(root))


def first_part(**changes):
    return lambda functa: functa["parts"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (first_part(name="../other.functa"), r"part 1 is '../other.functa'.*expected 'parts/0001.functa'"),
        (first_part(name="parts/0002.functa"), "expected 'parts/0001.functa'"),
        (first_part(examples=0), "of 0 examples"),
        (first_part(examples="2"), "wrote"),
        (first_part(more=1), "more"),
        (lambda functa: functa.update(parts=[]), "lists no parts"),
        (lambda functa: functa.update(parts=[[]] * 10_000), "expected 1 to 9999"),
        (lambda functa: functa.pop("own"), "expected format_version, own and parts"),
        (lambda functa: functa.update(own=[]), "own and parts"),
        (lambda functa: functa.update(own=functa.copy()), "fields|missing|format|fingerprint"),
        (lambda functa: functa["own"].update(complete=False), "is unfinished, but followed by parts"),
        (first_part(examples=3), "has 2 examples of the store .* expected 3"),
        (first_part(fingerprint="0" * 64), "expected 2 of 0000"),
        (lambda functa: functa["parts"].append({**functa["parts"][0], "name": "parts/0002.functa"}), "parts/0002"),
    ],
)
def test_a_root_that_no_writer_wrote_is_refused(grown, change, words):
    seal(grown, change)
    with pytest.raises(StoreFormatError, match=words):
        open_store(grown)


def test_a_part_has_no_parts(grown):
    inside = grown / "parts/0001.functa"
    own = json.loads((inside / "zarr.json").read_text())["attributes"]["functa"]
    record = PartRecord(name=part_name(1), examples=1, fingerprint="0" * 64)
    (inside / "zarr.json").write_bytes(parts_root(own, [record]))
    with pytest.raises(StoreFormatError, match="has 1 parts more"):
        open_store(grown)
    assert verify(grown).damaged


def test_a_part_of_another_base_is_refused(grown):
    shutil.rmtree(grown / "parts/0001.functa")
    shutil.copytree(GOLDEN / "v7_scene.functa", grown / "parts/0001.functa")
    other = open_store(GOLDEN / "v7_scene.functa").spec
    seal(grown, first_part(examples=5, fingerprint=other.fingerprint))
    with pytest.raises(ValueError, match="has the base network"):
        open_store(grown)


def test_names_of_parts_are_known_also_while_they_are_written():
    known = ["zarr.json", "0001.functa/zarr.json", "0001.functa/mse/c/0", "0001.functa.work/receipts/0.json"]
    assert all(is_of_part(f"parts/{name}") for name in [*known, "0001.functa.log"])
    assert not any(is_of_part(key) for key in ("parts/x", "parts/1.functa/zarr.json", "mse/c/0", "parts/0001.functa"))
