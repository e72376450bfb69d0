"""Stores of every format version stay readable, and the current version stays what it is."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import zarr

from functa_store.store.reader import StoreReader
from functa_store.store.spec import FORMAT_VERSION
from functa_store.store.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden"
VERSIONS = sorted(path.stem for path in GOLDEN.glob("v*.functa"))


@pytest.fixture(scope="module")
def make():
    """The script that wrote the newest golden store."""
    return runpy.run_path(str(GOLDEN / "make.py"))


def decode_by_the_specification(path: Path) -> np.ndarray:
    """A reader with zarr and numpy alone, as docs/explanation/format.md describes it."""
    about = json.loads((path / "zarr.json").read_text())["attributes"]["functa"]
    network = about["config"]["network"]
    axes = [(np.arange(n) + 0.5) / n for n in about["domain"]["resolution"]]
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def array(name: str) -> np.ndarray:
        return np.asarray(zarr.open_array(path / name, mode="r")[...], np.float64)

    def linear(name: str, hidden: np.ndarray) -> np.ndarray:
        return hidden @ array(f"base/{name}/kernel") + array(f"base/{name}/bias")

    def decode(modulation: np.ndarray) -> np.ndarray:
        shifts = modulation if network["modulation"] == "shift" else linear("map", modulation)
        hidden = coords
        for layer, shift in enumerate(shifts.reshape(network["depth"] - 1, network["width"])):
            hidden = np.sin(network["w0"] * (linear(f"sine_{layer}", hidden) + shift))
        return linear("linear", hidden) + 0.5

    modulations = array("modulations")
    if about["config"].get("modulation_dtype") == "int8":
        modulations = array("scale") * modulations + array("offset")
    return np.stack([decode(modulation) for modulation in modulations])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_stays_readable(version):
    reader = StoreReader(GOLDEN / f"{version}.functa")
    assert verify(GOLDEN / f"{version}.functa").damaged == {}
    assert f"v{reader.format_version}" == version
    assert reader.modulations[:].shape == (5, 4)
    assert reader.ids[:].tolist() == ["a.png", "b.png", "ä.png", "d.png", "e.png"]
    assert reader.base["map/kernel"].shape == (4, 16)
    assert reader.quality["train"].examples == 3
    assert reader.rejects[0].member == "broken.png"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_decodes_by_its_specification(version):
    decoded = decode_by_the_specification(GOLDEN / f"{version}.functa")
    np.testing.assert_allclose(decoded, np.load(GOLDEN / f"{version}_decoded.npy"), rtol=1e-10, atol=1e-12)


def test_version_1_was_fitted_by_the_steps_of_learning():
    fit = StoreReader(GOLDEN / "v1.functa").config.fit
    assert (fit.num_steps, fit.stride, fit.tuning_steps) == (3, 1, 0)


def test_whatever_changes_the_format_raises_its_version(make, tmp_path, read_all):
    """Attributes and shards of a new store equal the golden one's; only compressed files may differ with zstd."""
    make["write"](tmp_path / "new.functa")
    golden, new = read_all(GOLDEN / f"v{FORMAT_VERSION}.functa"), read_all(tmp_path / "new.functa")
    assert new.keys() == golden.keys()
    assert [name for name in golden if name.startswith(("modulations/c", "mse/c")) and golden[name] != new[name]] == []
    expected, found = (json.loads(files["zarr.json"])["attributes"] for files in (golden, new))
    for attributes in (expected, found):
        del attributes["functa"]["manifest"]
    assert found == expected, "raise FORMAT_VERSION and commit a golden store of the new version"
