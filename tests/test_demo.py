"""The demo's archive is what it claims to be."""

import zipfile

import numpy as np
import pytest

import demo.__main__ as demo
from converters.images.celeba import open_celeba
from demo.archive import TEST, TILE, TRAIN, encoded, photographs, tiles, write_archive
from demo.table import HEADING, markdown, rows


def test_no_pixel_is_both_learned_from_and_held_out(monkeypatch):
    """Every pixel carries its own number, so that shared pixels show as shared numbers."""
    numbered = np.arange(200 * 300).reshape(200, 300, 1)
    monkeypatch.setattr("demo.archive.photographs", lambda: {"Numbered": numbered})
    seen = {split: {n for t in tiles() if t.split == split for n in t.pixels.ravel().tolist()} for split in (0, 2)}
    assert seen[TRAIN]
    assert seen[TEST]
    assert seen[TRAIN].isdisjoint(seen[TEST])


def test_the_archive_is_read_like_celeba(tmp_path, monkeypatch):
    corner = {name: pixels[:150, :300] for name, pixels in photographs().items()}
    monkeypatch.setattr("demo.archive.photographs", lambda: corner)
    path = tmp_path / "tiles.zip"
    count = write_archive(path)
    source = open_celeba(path, resolution=TILE)
    assert len(source.ids) == count
    assert set(source.split.tolist()) == {"train", "test"}
    assert set(source.labels) == set(corner)
    photograph_of = np.stack([source.labels[name].values for name in corner])
    np.testing.assert_array_equal((photograph_of == 1).sum(axis=0), 1)
    assert source.read(0).shape == (TILE, TILE, 3)


def test_the_archive_repeats_byte_for_byte(tmp_path, monkeypatch):
    corner = {"Cat": photographs()["Cat"][:64, :256]}
    monkeypatch.setattr("demo.archive.photographs", lambda: corner)
    for name in ("first.zip", "second.zip"):
        write_archive(tmp_path / name)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert archive.testzip() is None


@pytest.mark.long
def test_the_demo_leaves_a_sheet_a_table_and_a_store(tmp_path):
    """Twice, since the second run must replace what the first one left."""
    for _ in range(2):
        demo.main(tmp_path / "out", seconds=1.0, options=("--modulation-dim", "8", "--limit", "1900"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"contact-sheet.png", "table.md", "photographs.functa"} <= names


def test_the_table_names_bytes_and_both_psnrs():
    tile = photographs()["Cat"][:TILE, :TILE]
    facts = {
        "reference": {"method": "PCA", "psnr_mean": {"test": 21.5}},
        "bytes_per_example": 512,
        "bytes_base": 5000,
        "examples": 50,
        "psnr_mean": {"test": 22.25},
        "psnr_of_mean_mse": {"test": 20.0},
    }
    table = rows(facts, [tile])
    assert table[0][1:] == ("512", "22.25", "20.00")
    assert table[1][1].startswith("512 + 100 ")
    assert table[2][2:] == ("21.50", "-")
    assert {row[0]: row[1] for row in table}["PNG"] == f"{len(encoded(tile, 'PNG', optimize=True)):,}"
    assert markdown(table).splitlines()[0] == f"| {' | '.join(HEADING)} |"
