"""Stores of every format version stay readable, and the current version stays what it is."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.load_spec import load_root
from functa_store.store.format.parts import PARTS_VERSION, parts_root
from functa_store.store.format.spec import FORMAT_VERSION
from functa_store.store.reading.joined_store import open_store
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from tests.reference import FormatReader

GOLDEN = Path(__file__).parents[2] / "golden"
VERSIONS = sorted(path.stem for path in GOLDEN.glob("v*.functa"))


@pytest.fixture(scope="module")
def make():
    """The script that wrote the newest golden store."""
    return runpy.run_path(str(GOLDEN / "make.py"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_stays_readable(version):
    reader = StoreReader(GOLDEN / f"{version}.functa")
    assert verify(GOLDEN / f"{version}.functa").damaged == {}
    assert f"v{reader.spec.format_version}" == version.partition("_")[0]
    grid = reader.spec.config.network.modulation_grid
    assert reader.modulations[:].shape == ((5, 4) if grid is None else (5, 2, 3, 2))
    is_augmented = version.endswith("_augmented")
    last = ["a.png~1", "a.png~2"] if is_augmented else ["d.png", "e.png"]
    assert reader.ids[:].tolist() == ["a.png", "b.png", "ä.png", *last]
    assert reader.base["map/kernel"].shape == (reader.spec.config.network.map_inputs, 16)
    assert reader.spec.quality["train"].examples == (1 if is_augmented else 3)
    assert reader.rejects[0].member == "broken.png"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_golden_store_decodes_by_its_specification(version):
    decoded = FormatReader(GOLDEN / f"{version}.functa").decode()
    np.testing.assert_allclose(decoded, np.load(GOLDEN / f"{version}_decoded.npy"), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("grown", "of"), [("grown_v8", "v7"), ("grown_v8_of_v9", "v9")])
def test_a_grown_golden_store_stays_readable(grown, of):
    """A functaset, and a part whose modulations are those of its second and third example."""
    path, before = GOLDEN / f"{grown}.functa", GOLDEN / f"{of}.functa"
    assert (PARTS_VERSION, verify(path).damaged, verify(path).foreign) == (8, {}, [])
    grown, first = Functaset(open_store(path)), Functaset(StoreReader(before))
    assert grown.ids[:].tolist() == [*first.ids[:].tolist(), "f.png", "g.png"]
    np.testing.assert_array_equal(grown.modulations[:5], first.modulations[:])
    np.testing.assert_array_equal(grown.modulations[5:], first.modulations[1:3])
    np.testing.assert_array_equal(grown.decode([5, 6]), first.decode([1, 2]))
    own = json.loads((before / "zarr.json").read_text())["attributes"]["functa"]
    root = (path / "zarr.json").read_bytes()
    assert json.loads(root)["attributes"]["functa"]["own"] == own
    assert parts_root(own, load_root(LocalObjects(path))[1]) == root


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


@pytest.mark.parametrize("version", [version for version in VERSIONS if int(version[1:].partition("_")[0]) < 6])
def test_until_version_5_a_modulation_was_one_vector(version):
    network = StoreReader(GOLDEN / f"{version}.functa").spec.config.network
    assert (network.modulation_grid, network.lookup, network.map_kernel) == (None, "nearest", 1)


@pytest.mark.parametrize("version", ["v4", "v5", "v6", "v7", "v9"])
@pytest.mark.parametrize("ending", ["", "_sphere", "_scene"])
def test_since_version_4_kinds_of_domain_units_and_metrics_are_kept(make, version, ending):
    reader = StoreReader(GOLDEN / f"{version}{ending}.functa")
    assert (reader.spec.domain, reader.spec.features) == make["KINDS"][ending][:2]
    columns = reader.spec.features.columns
    _, _, metrics = make["golden_values"](len(columns))
    assert tuple(reader.metrics) == columns
    for column, values in zip(columns, metrics.T, strict=True):
        np.testing.assert_array_equal(reader.metrics[column][:], values)


@pytest.mark.parametrize("version", ["v6", "v7", "v9"])
@pytest.mark.parametrize("ending", ["_spatial", "_spatial_sphere"])
def test_since_version_6_a_modulation_may_be_a_grid(make, version, ending):
    reader, network = StoreReader(GOLDEN / f"{version}{ending}.functa"), make["KINDS"][ending][2]
    if version == "v6":  # cells shared the bias of their map
        network = dataclasses.replace(network, map_bias="shared")
    assert reader.spec.config.network == network
    assert reader.base["map/bias"].shape == network.bias_shape
    rounding = make["golden_rounding"](network)
    modulations, *_ = make["golden_values"](network=network)
    np.testing.assert_array_equal(reader.modulations[:], rounding.to_values(rounding.to_stored(modulations)))
    assert {name: array.shape for name, array in reader.statistics.items()} == dict.fromkeys(reader.statistics, (2,))


@pytest.mark.parametrize("version", ["v6", "v7", "v9"])
def test_since_version_6_examples_may_be_augmentations(make, version):
    reader, written = FormatReader(GOLDEN / f"{version}_augmented.functa"), make["AUGMENTED"]["augmentations"]
    found = reader.augmentations()
    assert found.keys() == {"of", "flip", "top", "left", "side"}
    for name, values in found.items():
        np.testing.assert_array_equal(values, getattr(written, name))
    assert FormatReader(GOLDEN / f"{version}.functa").augmentations() is None
    assert dict(StoreReader(GOLDEN / f"{version}.functa").augmentations) == {}
    with_golden = StoreReader(GOLDEN / f"{version}_augmented.functa")
    for name, values in found.items():
        np.testing.assert_array_equal(with_golden.augmentations[name][:], values)


@pytest.mark.parametrize("ending", ["", "_sphere", "_scene", "_spatial", "_spatial_sphere", "_augmented"])
def test_whatever_changes_the_format_raises_its_version(make, tmp_path, read_all, ending):
    """Attributes and shards of a new store equal the golden one's; only compressed files may differ with zstd."""
    make["write"](tmp_path / "new.functa", *make["KINDS"][ending])
    golden, new = read_all(GOLDEN / f"v{FORMAT_VERSION}{ending}.functa"), read_all(tmp_path / "new.functa")
    assert new.keys() == golden.keys()
    tables = ("modulations/c", "mse/c", "metrics/c")
    assert [name for name in golden if name.startswith(tables) and golden[name] != new[name]] == []
    expected, found = (json.loads(files["zarr.json"])["attributes"] for files in (golden, new))
    for attributes in (expected, found):
        del attributes["functa"]["manifest"], attributes["functa"]["manifest_sha256"]
    assert found == expected, "raise FORMAT_VERSION and commit a golden store of the new version"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_functaset_decodes_a_golden_store_as_its_specification_says(version):
    """Weights of float32 in float32 arithmetic, values of up to 310."""
    expected = np.load(GOLDEN / f"{version}_decoded.npy")
    decoded = Functaset(StoreReader(GOLDEN / f"{version}.functa")).decode(slice(None), clip=False)
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-4)
