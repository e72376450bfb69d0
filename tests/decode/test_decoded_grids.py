"""Modulations that are grids decode as the format says, on any domain and at any point."""

import dataclasses
import itertools

import numpy as np
import pytest

import functa_store
from functa_store.domains.domain import network_inputs
from functa_store.domains.scene import SceneVolume
from functa_store.domains.sphere import SphereGrid
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.side_arrays import MOMENTA, RATES, base_shapes
from tests.reference import FormatReader
from tests.store.conftest import make_cells, write_shards

GLOBE = SphereGrid.around(np.linspace(80.0, -80.0, 9), np.arange(0.0, 360.0, 30.0))
EUROPE = SphereGrid.around(np.linspace(35.0, 70.0, 8), np.linspace(-20.0, 40.0, 7))
ACROSS = SphereGrid.around(np.linspace(10.0, -10.0, 5), np.linspace(200.0, 160.0, 9))
SCENE = SceneVolume(resolution=(4, 4, 4), bound=0.5, views=1, held_out_views=0, image_size=(4, 4), near=0.5, far=1.5)
DOMAINS = {
    "sounds": (None, (5,)),
    "images": (None, (2, 3)),
    "one cell": (None, (1, 1)),
    "volumes": (None, (2, 1, 3)),
    "globe": (GLOBE, (3, 4)),
    "globe of one cell": (GLOBE, (1, 1)),
    "globe of two cells": (GLOBE, (2, 2)),
    "region": (EUROPE, (3, 2)),
    "region across the date line": (ACROSS, (2, 3)),
    "scene": (SCENE, (2, 2, 3)),
}


def contents(name, lookup, map_kernel, map_bias="shared"):
    domain, grid = DOMAINS[name]
    made = make_cells(grid, lookup=lookup, map_kernel=map_kernel, map_bias=map_bias)
    if domain is None:
        return made
    channels = ("red", "green", "blue", "density") if domain is SCENE else ("red", "green", "blue")
    network = dataclasses.replace(made.config.network, head=domain.head)
    shapes = base_shapes(network, network_inputs(domain, network), len(channels)) | dict.fromkeys(
        (RATES, MOMENTA), (3, 2)
    )
    rng = np.random.default_rng(0)
    return dataclasses.replace(
        made,
        domain=domain,
        features=FeatureSpec(channels=channels),
        config=dataclasses.replace(made.config, network=network),
        base={key: rng.uniform(-0.3, 0.3, shape).astype(np.float32) for key, shape in shapes.items()},
    )


FAST = [("images", "nearest", 1, "per_cell"), ("globe", "linear", 3, "shared")]
FAST += [("region across the date line", "nearest", 3, "shared")]
EVERY = [*itertools.product(DOMAINS, ("nearest", "linear"), (1, 3), ("shared",))]
EVERY += [*itertools.product(("volumes", "globe", "scene"), ("linear",), (3,), ("per_cell",))]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in EVERY if case not in FAST]


@pytest.mark.parametrize(("name", "lookup", "map_kernel", "map_bias"), [*FAST, *SLOW])
def test_decoding_is_what_the_format_says(name, lookup, map_kernel, map_bias, tmp_path):
    made = contents(name, lookup, map_kernel, map_bias)
    made.base["sine_0/kernel"][...] *= 0.1  # at frequencies that float32 decodes to a ten-thousandth
    made.base["sine_1/kernel"][...] *= 0.1
    functaset = functa_store.open(write_shards(tmp_path / "cells.functa", made))
    reader, rng = FormatReader(tmp_path / "cells.functa"), np.random.default_rng(1)
    positions = functaset.domain.random_positions(rng, 40)
    expected = reader.decode(positions)[:4]
    found = functaset.decode(slice(0, 4), coords=positions, clip=False)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    pure = functaset.decoder(functaset.base, functaset.modulations[:4], functaset.inputs(positions))
    pure = functaset.features.to_values(np.asarray(pure), clip=False)
    np.testing.assert_allclose(pure, expected, atol=1e-3)
    native = functaset.decode(slice(0, 2), clip=False)
    on_grid = reader.decode()[:2]
    np.testing.assert_allclose(native, on_grid, atol=1e-3)


@pytest.mark.parametrize("turn", [-360, 0, 360])
def test_longitudes_of_any_convention_are_in_the_same_cell(turn, tmp_path):
    functaset = functa_store.open(write_shards(tmp_path / "cells.functa", contents("globe", "nearest", 1)))
    positions = np.array([[10.0, 5.0], [10.0, 100.0], [-50.0, 340.0]])
    found = functaset.decode(0, coords=positions + np.array([0, turn]))
    np.testing.assert_allclose(found, functaset.decode(0, coords=positions), atol=1e-3)


def test_an_example_hands_out_its_grid(tmp_path):
    functaset = functa_store.open(write_shards(tmp_path / "cells.functa", contents("volumes", "nearest", 1)))
    np.testing.assert_array_equal(functaset[3].modulation, functaset.modulations[3])
    assert functaset[3].modulation.shape == (2, 1, 3, 2)
