"""The code on the page of the format is a reader."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.reference import FormatReader

ROOT = Path(__file__).parents[2]
VECTORS, GRIDS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/explanation/format.md").read_text(), flags=re.DOTALL | re.MULTILINE
)


@pytest.mark.parametrize("version", ["v7", "v7_spatial"])
def test_the_code_on_the_page_decodes(version, tmp_path, monkeypatch):
    shutil.copytree(ROOT / f"tests/golden/{version}.functa", tmp_path / "pets.functa")
    monkeypatch.chdir(tmp_path)
    code = VECTORS if version == "v7" else VECTORS.partition("hidden = ")[0] + GRIDS
    names = {}
    exec(code, names)
    centres = (np.arange(128) + 0.5) / 128
    positions = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)
    expected = FormatReader("pets.functa").decode(positions)[0]
    np.testing.assert_allclose(names["image"], expected, atol=1e-4)  # computed in float32


@pytest.mark.parametrize("place", [(30.0, -25.0), (30.0, 95.0), (0.0, 50.0), (45.0, 275.0), (-45.0, 35.0)])
def test_overlapping_cells_have_no_seams(place):
    """At borders and centres of cells, and where longitudes close, in any convention."""
    reader, place = FormatReader(ROOT / "tests/golden/v7_spatial_sphere.functa"), np.array(place)
    reader.domain["mask"] = ""
    around = np.array([[1e-9, 1e-9], [-1e-9, 1e-9], [1e-9, -1e-9], [-1e-9, -1e-9]])
    found = reader.decode(np.concatenate([place + around, place + np.array([0, 360.0]) + around]))
    np.testing.assert_allclose(found, found[:, :1] + np.zeros_like(found), atol=1e-4)


def test_nearest_cells_have_seams():
    """Which the test above would find."""
    reader = FormatReader(ROOT / "tests/golden/v7_spatial.functa")
    found = reader.decode(np.array([[0.5 - 1e-9, 0.2], [0.5 + 1e-9, 0.2]]))
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.1
