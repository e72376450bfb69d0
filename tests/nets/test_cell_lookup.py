"""Candidate cells of points, their local coordinates and weights, against plain arithmetic in float64."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from functa_store.config import NetworkConfig
from functa_store.nets.cell_lookup import CellLookup
from functa_store.nets.siren import init_siren, to_weights

GRIDS = [(4,), (3, 5), (2, 1, 3)]


def lookup_of(grid, lookup="nearest", closed=(), kernel=1):
    network = NetworkConfig(
        modulation="spatial",
        modulation_grid=grid,
        modulation_dim=3,
        width=8,
        depth=3,
        w0=5.0,
        lookup=lookup,
        map_kernel=kernel,
    )
    return network, CellLookup.of(network, closed)


def plainly(grid, blended, closed, fraction):
    """{cell: (local, weight)} of one point, by axis."""
    axes = []
    for cells, closes, f in zip(grid, closed, fraction, strict=True):
        place = f * cells
        if not blended:
            cell = min(int(np.floor(place)), cells - 1)
            axes.append([(cell, place - cell, 1.0)])
            continue
        lower = int(np.floor(place - 0.5))
        upper_share = place - 0.5 - lower
        found = []
        for cell, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
            if closes:
                found.append((cell % cells, place - cell, share))
            elif 0 <= cell < cells:
                alone = not lower >= 0 or not lower + 1 < cells
                found.append((cell, place - cell, 1.0 if alone else share))
        axes.append(found)
    points = []
    for corner in itertools.product(*axes):
        cell = np.ravel_multi_index([c for c, _, _ in corner], grid)
        points.append((int(cell), [x for _, x, _ in corner], float(np.prod([w for _, _, w in corner]))))
    return [point for point in points if point[2] > 0]


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("blended", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_candidates_are_those_of_plain_arithmetic(grid, blended, closes):
    closed = (closes,) * len(grid)
    _, lookup = lookup_of(grid, "linear" if blended else "nearest", closed)
    fractions = np.random.default_rng(0).uniform(size=(50, len(grid)))
    fractions = np.concatenate([fractions, np.zeros((1, len(grid))), np.ones((1, len(grid)))])
    for found in (lookup.locate(fractions), lookup.locate(jnp.asarray(fractions, jnp.float32))):
        for k, fraction in enumerate(fractions):
            wanted = plainly(grid, blended, closed, fraction)
            there = [i for i in range(lookup.num_candidates) if found.weights[k, i] > 1e-6]
            got = sorted((int(found.cells[k, i]), *np.asarray(found.local[k, i], float).round(4)) for i in there)
            assert got == sorted((c, *np.round(x, 4)) for c, x, w in wanted if w > 1e-6)
            np.testing.assert_allclose(np.sum(found.weights[k]), 1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("blended", [False, True])
def test_points_of_a_group_have_the_same_candidates(blended):
    _, lookup = lookup_of((3, 5), "linear" if blended else "nearest", (False, True))
    fractions = np.random.default_rng(0).uniform(size=(300, 2)).astype(np.float32)
    groups, located = lookup.group_of(fractions), lookup.locate(jnp.asarray(fractions))
    cells, local, weights = lookup.in_group(jnp.asarray(fractions)[:, None], jnp.asarray(groups))
    np.testing.assert_array_equal(cells, located.cells)
    np.testing.assert_allclose(local[:, 0], located.local, atol=1e-6)
    np.testing.assert_allclose(weights[:, 0], located.weights, atol=1e-6)


def test_neighbours_are_padded_at_borders_and_wrapped_where_an_axis_closes():
    _, lookup = lookup_of((2, 3), closed=(False, True), kernel=3)
    assert lookup.neighbours[0].tolist() == [6, 6, 6, 2, 0, 1, 5, 3, 4]
    assert lookup.neighbours[5].tolist() == [1, 2, 0, 4, 5, 3, 6, 6, 6]


def in_numpy(network, weights, modulation, fraction, closed):
    """Features at one point in float64, from the definition."""
    w = {name: np.asarray(array, np.float64) for name, array in weights.items()}
    grid = network.modulation_grid
    cells = modulation.astype(np.float64).reshape(*grid, network.cell_size)
    total = np.zeros(w["linear/bias"].shape)
    for cell, local, weight in plainly(grid, network.lookup == "linear", closed, fraction):
        index = np.unravel_index(cell, grid)
        around = [()] if network.map_kernel == 1 else list(itertools.product((-1, 0, 1), repeat=len(grid)))
        seen = []
        for offset in around:
            there = [i + o for i, o in zip(index, offset or (0,) * len(grid), strict=True)]
            there = [i % n if c else i for i, n, c in zip(there, grid, closed, strict=True)]
            inside = all(0 <= i < n for i, n in zip(there, grid, strict=True))
            seen.append(cells[tuple(there)] if inside else np.zeros(network.cell_size))
        shifts = np.concatenate(seen) @ w["map/kernel"] + w["map/bias"]
        hidden = np.asarray(local)
        for layer, shift in enumerate(shifts.reshape(network.depth - 1, network.width)):
            hidden = np.sin(network.w0 * (hidden @ w[f"sine_{layer}/kernel"] + w[f"sine_{layer}/bias"] + shift))
        total = total + weight * (hidden @ w["linear/kernel"] + w["linear/bias"])
    return total + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("grid", [(3, 5), (4, 4, 4)])
@pytest.mark.parametrize("lookup", ["nearest", "linear"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_network_with_a_grid_of_modulations_is_its_definition(grid, lookup, kernel):
    closed = (False, True, False)[: len(grid)]
    network, _ = lookup_of(grid, lookup, closed, kernel)
    siren = init_siren(network, len(grid), 2, seed=0, closed=closed)
    rng = np.random.default_rng(0)
    modulation = rng.normal(size=network.modulation_size).astype(np.float32)
    fractions = rng.uniform(size=(20, len(grid))).astype(np.float32)
    weights = to_weights(nnx.state(siren))
    expected = np.stack([in_numpy(network, weights, modulation, f.astype(np.float64), closed) for f in fractions])
    np.testing.assert_allclose(siren(jnp.asarray(modulation), jnp.asarray(fractions)), expected, atol=2e-5)
    own = siren.each_its_own(jnp.broadcast_to(modulation, (20, len(modulation))), jnp.asarray(fractions))
    np.testing.assert_allclose(own, expected, atol=2e-5)


@pytest.mark.slow
def test_a_linear_lookup_has_no_seam_between_cells():
    jumps = {}
    for lookup in ("nearest", "linear"):
        network, _ = lookup_of((4, 4), lookup)
        siren = init_siren(network, 2, 1, seed=0)
        modulation = np.random.default_rng(0).normal(size=network.modulation_size).astype(np.float32)
        border = jnp.asarray([[0.25 - 1e-6, 0.4], [0.25 + 1e-6, 0.4]], jnp.float32)
        before, after = np.asarray(siren(jnp.asarray(modulation), border))[:, 0]
        jumps[lookup] = abs(after - before)
    assert jumps["nearest"] > 1e-3
    assert jumps["linear"] < 1e-4
