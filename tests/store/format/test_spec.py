"""A store's attributes are believed only if this release could have written them."""

import copy
import json

import numpy as np
import pytest

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError, StoreFormatError
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.load_spec import parse_spec
from functa_store.store.format.spec import FORMAT_VERSION

PATH = "pets.functa"


def test_attributes_survive_json(contents):
    spec = contents.spec()
    assert parse_spec(PATH, json.loads(json.dumps(spec.to_attributes()["functa"]))) == spec


@pytest.mark.parametrize(
    "change",
    [
        {"config": ConvertConfig(network=NetworkConfig(width=8, depth=3, modulation_dim=4), seed=1)},
        {"ids": [str(i) for i in range(21)]},
        {"split": np.array(["train"] * 21)},
        {"labels": {"age": Label(values=np.zeros(21))}},
        {"provenance": {"archive": "other.zip"}},
        {"rejects": ()},
        {"features": FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255, metrics=("iou",))},
        {"features": FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255, value_scale=(255.0,) * 3)},
        {"domain": CellGrid(axes=("y", "x"), resolution=(8, 8), units=("m", "m"))},
    ],
)
def test_whatever_changes_bytes_changes_the_fingerprint(make_contents, contents, change):
    assert make_contents(**change).spec().fingerprint != contents.spec().fingerprint


def test_a_reference_is_no_part_of_the_fingerprint(make_contents, contents):
    """It describes the archive, and may differ in its last digit from run to run."""
    assert make_contents(reference={"psnr": 20.4999}).spec().fingerprint == contents.spec().fingerprint


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format_version", FORMAT_VERSION + 1, f"format version {FORMAT_VERSION + 1}.*Upgrade functa-store"),
        ("format_version", "1", "format_version is '1'"),
        ("format_version", True, "format_version is True"),
        ("complete", "no", "complete is 'no'"),
        ("colour", "red", "colour"),
        ("layout", {"rows_per_shard": 8}, "rows_per_chunk"),
        ("layout.rows_per_shard", "8", "layout.rows_per_shard is '8'"),
        ("config.network.width", -1, "StoreSpec.config.network"),
        ("config.seed", 5, "fingerprint"),
        ("domain.resolution", [8], "StoreSpec.domain"),
        ("base", None, "base"),
    ],
)
def test_damaged_attributes_are_named(contents, key, value, words):
    attributes = copy.deepcopy(contents.spec().to_attributes()["functa"])
    *parents, last = key.split(".")
    node = attributes
    for parent in parents:
        node = node[parent]
    node[last] = value
    with pytest.raises(StoreFormatError, match=words):
        parse_spec(PATH, attributes)


def test_a_missing_attribute_is_named(contents):
    attributes = contents.spec().to_attributes()["functa"]
    del attributes["examples"]
    with pytest.raises(StoreFormatError, match="examples"):
        parse_spec(PATH, attributes)


def test_a_base_must_fit_its_configuration(make_contents, contents):
    base = dict(contents.base)
    for name, array, words in [
        ("sine_0/kernel", np.zeros((3, 8), np.float32), r"sine_0/kernel is \(3, 8\), expected \(2, 8\)"),
        ("sine_9/bias", np.zeros(8, np.float32), "sine_9/bias is .* expected 'missing'"),
        ("linear/bias", np.full(3, np.nan, np.float32), "linear/bias holds values that are not finite"),
        ("linear/bias", np.zeros(3), "linear/bias has dtype float64"),
        ("inner_loop/learning_rate", np.zeros(5, np.float32), r"learning_rate has shape \(5,\)"),
    ]:
        with pytest.raises(ConfigError, match=words):
            make_contents(base=base | {name: array})


def test_what_cannot_be_stored_is_refused(make_contents):
    with pytest.raises(ConfigError, match="provenance must hold plain, finite JSON"):
        make_contents(provenance={"when": np.datetime64("now")}).spec()
    with pytest.raises(ConfigError, match="reference must hold plain, finite JSON"):
        make_contents(reference={"psnr": float("nan")}).spec()
    with pytest.raises(ConfigError, match="expected none with a slash"):
        make_contents(labels={"a/b": Label(values=np.zeros(21))})
    with pytest.raises(ConfigError, match="one id, split and label per example"):
        make_contents(ids=["0"])


def test_shift_modulations_have_no_map(make_contents):
    network = NetworkConfig(width=8, depth=3, modulation="shift", modulation_dim=None)
    contents = make_contents(config=ConvertConfig(network=network))
    assert not [name for name in contents.base if name.startswith("map/")]
    assert contents.spec().config.network.modulation_size == 16


def test_a_large_root_names_its_first_problem_alone(contents):
    """Millions of wrong values would take minutes to list."""
    for key, value in {"base": {"x" * 100_000: {"shape": "y" * 100_000}}, "layout": {"rows_per_shard": 8}}.items():
        attributes = contents.spec().to_attributes()["functa"] | {key: value}
        with pytest.raises(StoreFormatError, match="damaged attributes: cannot read a StoreSpec") as error:
            parse_spec(PATH, attributes, brief=True)
        assert len(str(error.value)) < 1000
