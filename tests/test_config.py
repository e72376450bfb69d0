"""Configurations check themselves and travel through JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
    differences,
    from_dict,
    overlaid,
    to_dict,
)
from functa_store.errors import ConfigError

NETWORKS = st.fixed_dictionaries(
    {"width": st.integers(1, 99), "depth": st.integers(2, 20), "w0": st.floats(0.1, 100)},
    optional={"modulation_dim": st.integers(1, 99)},
)
GRIDS = st.fixed_dictionaries(
    {"modulation_grid": st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)},
    optional={"lookup": st.sampled_from(["nearest", "linear"]), "map_kernel": st.sampled_from([1, 3])}
    | {"map_bias": st.sampled_from(["shared", "per_cell"])},
)
LOOPS = st.fixed_dictionaries({"batch_size": st.integers(1, 99), "num_points": st.none() | st.integers(1, 99)})
OTHERS = st.fixed_dictionaries(
    {
        "preset": st.none() | st.text(),
        "weight_of_ones": st.floats(0.1, 10),
        "seed": st.integers(0, 2**31),
        "rows_per_shard": st.none() | st.sampled_from([1, 64, 4096]),
    }
)


@given(NETWORKS, st.none() | GRIDS, st.integers(1, 9), LOOPS, OTHERS)
def test_a_configuration_survives_json(network, grid, num_steps, loop, others):
    """Made here, since checks of types draw random numbers, which strategies must not."""
    spatial = {"modulation": "spatial", **grid} if grid else {}
    config = ConvertConfig(
        network=NetworkConfig(**network, **spatial),
        inner=InnerLoopConfig(num_steps=num_steps),
        outer=OuterLoopConfig(**loop),
        **others,
    )
    assert from_dict(ConvertConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (InnerLoopConfig, {"num_steps": 0}, "num_steps must be at least 1, got 0"),
        (NetworkConfig, {"depth": 1}, "depth must be at least 2"),
        (FitConfig, {"stride": True}, "stride must be a whole number, got True"),
        (FitConfig, {"num_steps": 10**20}, "num_steps of a fit must be at most 1000"),
        (FitConfig, {"tile_points": 0}, "tile_points must be at least 1"),
        (NetworkConfig, {"w0": float("nan")}, "w0 must be positive"),
        (OuterLoopConfig, {"num_steps": None, "time_budget": float("inf")}, "finite"),
        (NetworkConfig, {"modulation": "shift"}, "modulation_dim must be given for latent"),
        (OuterLoopConfig, {"time_budget": 5.0}, "either the number of outer steps or a time budget"),
        (OuterLoopConfig, {"decay_fraction": 1.0}, "decay_fraction"),
        (ConvertConfig, {"rows_per_shard": 48}, "power of two"),
        (ConvertConfig, {"seed": -1}, "seed"),
        (ConvertConfig, {"seed": 1.5}, "seed must be a whole number, got 1.5"),
        (ConvertConfig, {"weight_of_ones": 0.0}, "weight_of_ones must be positive"),
        (ConvertConfig, {"weight_of_ones": None}, "weight_of_ones must be a number, got None"),
        (ConvertConfig, {"weight_of_ones": "2"}, "weight_of_ones must be a number, got '2'"),
        (ConvertConfig, {"weight_of_ones": True}, "weight_of_ones must be a number, got True"),
        (ConvertConfig, {"weight_of_ones": 1e-30}, r"weight_of_ones must be from 0\.001 to 1000\.0, got 1e-30"),
        (ConvertConfig, {"weight_of_ones": 10**400}, "weight_of_ones must be positive and finite, got 1000"),
        (NetworkConfig, {"modulation": "foo", "modulation_dim": None}, "modulation must be one of"),
        (NetworkConfig, {"modulation": ["latent"]}, "modulation must be one of"),
        (NetworkConfig, {"modulation": "spatial"}, "modulation_grid must be given for spatial modulations"),
        (NetworkConfig, {"modulation_grid": (8, 8)}, "left out for others, got modulation='latent'"),
        (NetworkConfig, {"lookup": "linear"}, "are of spatial modulations; leave them out"),
        (NetworkConfig, {"map_bias": "per_cell"}, "map_bias='per_cell' are of spatial modulations; leave them out"),
        (NetworkConfig, {"map_bias": "none"}, "map_bias must be one of shared, per_cell, got 'none'"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": (8, 0)}, "each at least 1"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": ()}, "1 to 8 numbers of cells"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": "8,8"}, "whole numbers such as"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": (8, 1.5)}, "must be a whole number"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": (2**16, 2**16)}, "modulation_grid"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": (8, 8), "map_kernel": 2}, r"one of \(1, 3\)"),
        (NetworkConfig, {"modulation": "spatial", "modulation_grid": (8, 8), "modulation_dim": None}, "modulation_dim"),
        (OuterLoopConfig, {"decay_fraction": "a"}, "decay_fraction"),
        (OuterLoopConfig, {"decay_fraction": False}, "decay_fraction must be a number, got False"),
        (NetworkConfig, {"width": 2**70}, "width must be below 2"),
        (NetworkConfig, {"width": 10**5000}, "width must be below 2.*, got int that is too large to show"),
        (NetworkConfig, {"width": 2**31, "modulation_dim": 2**31}, "more than 2147483648 numbers"),
        (NetworkConfig, {"width": 1, "depth": 10**6, "modulation_dim": 1}, "depth must be at most 1000 layers"),
        (ConvertConfig, {"network": None}, "network must be a NetworkConfig, got None"),
        (ConvertConfig, {"network": {"width": 3}}, "network must be a NetworkConfig, got {'width': 3}"),
        (ConvertConfig, {"fit": InnerLoopConfig()}, "fit must be a FitConfig, got InnerLoopConfig"),
        (ConvertConfig, {"preset": 5}, "preset must be a text, got 5"),
        (ConvertConfig, {"rows_per_shard": 2**31}, "rows_per_shard must be at most 16777216 for modulations of 128"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_value_out_of_range_is_named(kind, values, words):
    with pytest.raises(ConfigError, match=words):
        kind(**values)


def test_an_unknown_key_is_named():
    with pytest.raises(ConfigError, match=r"wdith.*ConvertConfig\.network"):
        from_dict(ConvertConfig, {"network": {"wdith": 3}})


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_become_json():
    outer = OuterLoopConfig(num_steps=np.int64(3), learning_rate=np.float32(0.5), decay_fraction=np.float32(0.25))
    network = NetworkConfig(width=np.int64(8), modulation_dim=np.int32(4))
    config = ConvertConfig(network=network, outer=outer, weight_of_ones=np.float32(2), seed=np.int64(3))
    assert from_dict(ConvertConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_changes_of_a_configuration_are_laid_over_it():
    config = overlaid(ConvertConfig(), {"network": {"width": 3, "w0": 2}, "outer": {"time_budget": 4}, "seed": 5})
    assert config == ConvertConfig(
        network=NetworkConfig(width=3, w0=2.0), outer=OuterLoopConfig(num_steps=None, time_budget=4.0), seed=5
    )
    assert overlaid(config, {"outer": {"num_steps": 9}}).outer == OuterLoopConfig(num_steps=9)
    assert overlaid(config, {"network": {"modulation": "shift"}}).network.modulation_dim is None
    with pytest.raises(ConfigError, match="outer: give either the number of outer steps or a time budget"):
        overlaid(config, {"outer": {"num_steps": 9, "time_budget": 2.0}})


def test_a_grid_makes_a_modulation_spatial_and_gives_way_to_a_vector():
    spatial = overlaid(ConvertConfig(), {"network": {"modulation_grid": [8, 8], "modulation_dim": 16}})
    assert spatial.network.modulation == "spatial"
    assert spatial.network.modulation_shape == (8, 8, 16)
    assert overlaid(spatial, {"network": {"map_kernel": 3}}).network.map_inputs == 9 * 16
    assert overlaid(spatial, {"network": {"map_bias": "per_cell"}}).network.bias_shape == (8, 8, 3 * 192)
    back = overlaid(
        overlaid(spatial, {"network": {"lookup": "linear", "map_bias": "per_cell"}}),
        {"network": {"modulation": "latent"}},
    )
    assert back.network == NetworkConfig(modulation_dim=16)


def test_differences_of_large_grids_are_named_in_brief():
    here, there = (list(np.linspace(-90, 90, count)) for count in (721, 1441))
    (difference,) = differences({"domain": {"latitudes": here}}, {"domain": {"latitudes": there}})
    assert difference.startswith("domain.latitudes is [")
    assert len(difference) < 500
