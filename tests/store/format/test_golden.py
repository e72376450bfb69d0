"""Stores of every format version stay readable, and the current version stays what it is."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.spec import FORMAT_VERSION
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify

GOLDEN = Path(__file__).parents[2] / "golden"
VERSIONS = sorted(path.stem for path in GOLDEN.glob("v*.functa"))


@pytest.fixture(scope="module")
def make():
    """The script that wrote the newest golden store."""
    return runpy.run_path(str(GOLDEN / "make.py"))


def decode_by_the_specification(path: Path) -> np.ndarray:
    """A reader with zarr and numpy alone, as docs/explanation/format.md describes it."""
    about = json.loads((path / "zarr.json").read_text())["attributes"]["functa"]
    network = about["config"]["network"]
    features, inputs = about["features"], inputs_by_the_specification(about["domain"])
    missing = mask_by_the_specification(about["domain"])

    def array(name: str) -> np.ndarray:
        return np.asarray(zarr.open_array(path / name, mode="r")[...], np.float64)

    def linear(name: str, hidden: np.ndarray) -> np.ndarray:
        return hidden @ array(f"base/{name}/kernel") + array(f"base/{name}/bias")

    def decode(modulation: np.ndarray) -> np.ndarray:
        shifts = modulation if network["modulation"] == "shift" else linear("map", modulation)
        hidden = inputs
        for layer, shift in enumerate(shifts.reshape(network["depth"] - 1, network["width"])):
            hidden = np.sin(network["w0"] * (linear(f"sine_{layer}", hidden) + shift))
        numbers = linear("linear", hidden)
        if network.get("head", "linear") == "linear":
            return numbers + 0.5
        density = np.where(numbers > 0, numbers, 0.1 * (np.exp(np.minimum(numbers, 0)) - 1)) + 0.1
        return np.concatenate([numbers[..., :3] + 0.5, np.clip(density[..., 3:], 0, 10)], axis=-1)

    modulations = array("modulations")
    if about["config"].get("modulation_dtype") == "int8":
        modulations = array("scale") * modulations + array("offset")
    decoded = np.stack([decode(modulation) for modulation in modulations])
    decoded[:, missing] = np.nan
    return decoded * features.get("value_scale", 1) + features.get("value_offset", 0)


def inputs_by_the_specification(domain: dict[str, Any]) -> np.ndarray:
    """What the network takes of each point of the native grid."""
    if domain.get("kind", "cells") in ("cells", "scene"):
        axes = [(np.arange(n) + 0.5) / n for n in domain["resolution"]]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    lat, lon = np.radians(np.meshgrid(domain["latitudes"], domain["longitudes"], indexing="ij"))
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    return (points - domain["centre"]) / domain["radius"]


def mask_by_the_specification(domain: dict[str, Any]) -> np.ndarray:
    """Points that have no value in any example."""
    shape = domain["resolution"] if "resolution" in domain else (len(domain["latitudes"]), len(domain["longitudes"]))
    if not domain.get("mask"):
        return np.zeros(shape, bool)
    runs = [int(length) for length in domain["mask"].split()]
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_stays_readable(version):
    reader = StoreReader(GOLDEN / f"{version}.functa")
    assert verify(GOLDEN / f"{version}.functa").damaged == {}
    assert f"v{reader.spec.format_version}" == version.partition("_")[0]
    assert reader.modulations[:].shape == (5, 4)
    assert reader.ids[:].tolist() == ["a.png", "b.png", "ä.png", "d.png", "e.png"]
    assert reader.base["map/kernel"].shape == (4, 16)
    assert reader.spec.quality["train"].examples == 3
    assert reader.rejects[0].member == "broken.png"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_decodes_by_its_specification(version):
    decoded = decode_by_the_specification(GOLDEN / f"{version}.functa")
    np.testing.assert_allclose(decoded, np.load(GOLDEN / f"{version}_decoded.npy"), rtol=1e-10, atol=1e-12)


def test_version_1_was_fitted_by_the_steps_of_learning():
    fit = StoreReader(GOLDEN / "v1.functa").spec.config.fit
    assert (fit.num_steps, fit.stride, fit.tuning_steps) == (3, 1, 0)


@pytest.mark.parametrize("version", [version for version in VERSIONS if int(version[1:].partition("_")[0]) < 4])
def test_until_version_3_values_were_features(version):
    reader = StoreReader(GOLDEN / f"{version}.functa")
    assert reader.spec.domain == CellGrid(axes=("y", "x"), resolution=(8, 8))
    assert reader.spec.features == FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)
    assert (reader.spec.config.network.head, dict(reader.metrics), reader.spec.quality["test"].metrics) == (
        "linear",
        {},
        {},
    )


@pytest.mark.parametrize("version", [version for version in VERSIONS if int(version[1:].partition("_")[0]) < 5])
def test_until_version_4_ones_counted_as_much_as_zeros(version):
    assert StoreReader(GOLDEN / f"{version}.functa").spec.config.weight_of_ones == 1


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("ending", ["", "_sphere", "_scene"])
def test_since_version_4_kinds_of_domain_units_and_metrics_are_kept(make, version, ending):
    reader = StoreReader(GOLDEN / f"{version}{ending}.functa")
    assert (reader.spec.domain, reader.spec.features) == make["KINDS"][ending]
    columns = reader.spec.features.columns
    _, _, metrics = make["golden_values"](len(columns))
    assert tuple(reader.metrics) == columns
    for column, values in zip(columns, metrics.T, strict=True):
        np.testing.assert_array_equal(reader.metrics[column][:], values)


@pytest.mark.parametrize("ending", ["", "_sphere", "_scene"])
def test_whatever_changes_the_format_raises_its_version(make, tmp_path, read_all, ending):
    """Attributes and shards of a new store equal the golden one's; only compressed files may differ with zstd."""
    make["write"](tmp_path / "new.functa", *make["KINDS"][ending])
    golden, new = read_all(GOLDEN / f"v{FORMAT_VERSION}{ending}.functa"), read_all(tmp_path / "new.functa")
    assert new.keys() == golden.keys()
    tables = ("modulations/c", "mse/c", "metrics/c")
    assert [name for name in golden if name.startswith(tables) and golden[name] != new[name]] == []
    expected, found = (json.loads(files["zarr.json"])["attributes"] for files in (golden, new))
    for attributes in (expected, found):
        del attributes["functa"]["manifest"]
    assert found == expected, "raise FORMAT_VERSION and commit a golden store of the new version"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_functaset_decodes_a_golden_store_as_its_specification_says(version):
    """Weights of float32 in float32 arithmetic, values of up to 310."""
    expected = np.load(GOLDEN / f"{version}_decoded.npy")
    decoded = Functaset(StoreReader(GOLDEN / f"{version}.functa")).decode(slice(None), clip=False)
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-4)
