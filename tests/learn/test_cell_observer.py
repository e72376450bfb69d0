"""Grids of modulations while learning and fitting: points in runs of cells are the network's points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig, NetworkConfig, OuterLoopConfig
from functa_store.domains.cells import CellGrid
from functa_store.domains.domain import network_inputs
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import ConfigError
from functa_store.learn.fit import Fit, fit_examples
from functa_store.learn.grid_observers import with_same_cells
from functa_store.learn.inner_loop import error_and_gradient, extend
from functa_store.learn.observers import observer_of
from functa_store.learn.outer_loop import LearnState, init_learnable, make_optimizer, make_outer_step
from functa_store.nets.siren import network_of, to_weights
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec

SPEC = FeatureSpec(channels=("a", "b"))
SPHERE = SphereGrid.around(np.linspace(-80, 80, 9), np.arange(0, 360, 30.0), area_weighting=True)
DOMAINS = {
    "even": CellGrid(axes=("y", "x"), resolution=(12, 8)),
    "odd": CellGrid(axes=("y", "x"), resolution=(11, 7)),
    "volume": CellGrid(axes=("z", "y", "x"), resolution=(6, 5, 4)),
    "sphere": SPHERE,
}
GRIDS = {"even": (4, 4), "odd": (4, 3), "volume": (2, 3, 2), "sphere": (3, 4)}


SPATIAL = {"width": 8, "depth": 3, "w0": 5.0, "modulation": "spatial"}


def network(name, **changes):
    return NetworkConfig(**(SPATIAL | {"modulation_grid": GRIDS[name], "modulation_dim": 3} | changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("lookup", ["nearest", "linear"])
@pytest.mark.parametrize("tile", [7, 1000])
def test_runs_of_cells_give_the_error_and_gradient_of_the_network_at_its_points(name, lookup, tile):
    domain, config = DOMAINS[name], network(name, lookup=lookup, map_kernel=3, map_bias="per_cell")
    graph, learnable = init_learnable(ConvertConfig(network=config), network_inputs(domain, config), 2, domain.closed)
    base, observer = nnx.merge(graph, learnable.base), observer_of(domain, SPEC, config)
    rng = np.random.default_rng(0)
    base.map.bias[...] += jnp.asarray(0.1 * rng.normal(size=config.bias_shape), jnp.float32)
    raw = jnp.asarray(rng.uniform(size=(domain.num_points, 2)), jnp.float32)
    modulation = jnp.asarray(0.3 * rng.normal(size=config.modulation_size), jnp.float32)
    tiles = observer.tiles(np.arange(domain.num_points), tile)
    target = observer.look(raw, *map(jnp.asarray, tiles), None)
    error, gradient = error_and_gradient(observer.predict, base, modulation, target, "float32")
    weights = np.ones(domain.num_points) if domain.weights is None else domain.weights
    fractions = jnp.asarray(domain.fractions(domain.coords()))

    def plain(modulation):
        squares = jnp.mean((base(modulation, fractions) - raw) ** 2, axis=-1)
        return jnp.mean(jnp.asarray(weights, jnp.float32) * squares)

    np.testing.assert_allclose(error, plain(modulation), rtol=1e-5)
    np.testing.assert_allclose(gradient, jax.grad(plain)(modulation), atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "num_points"),
    [("odd", 20), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("even", 40), ("odd", 1000)))],
)
def test_a_draw_is_a_window_of_cells_with_all_their_points(name, num_points):
    domain = DOMAINS[name]
    observer = observer_of(domain, SPEC, network(name))
    draws = observer.draws(num_points, 16)
    group_of = observer._group_of
    seen = set()
    for seed in range(30):
        rows, counts = (np.asarray(a) for a in draws.rows(jax.random.key(seed), 3))
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[:1], rows.shape))
        np.testing.assert_allclose(counts[0].sum(), 1, rtol=1e-5)
        there = rows[0][counts[0] > 0]
        assert len(set(there)) == len(there)
        groups = set(group_of[there])
        assert sorted(there) == np.flatnonzero(np.isin(group_of, list(groups))).tolist()
        np.testing.assert_allclose(len(groups) / len(set(group_of)), draws.share)
        seen |= groups
    assert seen == set(group_of)


@pytest.mark.slow
def test_a_draw_of_large_cells_is_some_points_of_each_others_in_every_look():
    domain = CellGrid(axes=("y", "x"), resolution=(53, 40))  # cells of 26 x 20 and 27 x 20 points
    observer = observer_of(domain, SPEC, NetworkConfig(**SPATIAL, modulation_grid=(2, 1), modulation_dim=3))
    draws = observer.draws(600, 128)
    assert (draws.share, draws.whole_cells) == (1, False)
    sizes, seen = np.bincount(observer._group_of), set()
    for seed in range(60):
        rows, counts = (np.asarray(a) for a in draws.rows(jax.random.key(seed), 3))
        looks = rows.reshape(3, -1)
        for look, counted in zip(looks, counts.reshape(3, -1), strict=True):
            groups = observer._group_of[look]
            assert len(set(look)) == 512
            assert np.bincount(groups).tolist() == [256, 256]
            np.testing.assert_allclose(np.bincount(groups, counted), sizes / sizes.sum(), rtol=1e-5)
        assert len(set(looks[0]) & set(looks[1])) < 300
        seen |= set(looks.ravel())
    assert len(seen) == domain.num_points


@pytest.mark.slow
def test_cells_whose_map_sees_their_neighbours_are_drawn_all():
    observer = observer_of(DOMAINS["odd"], SPEC, network("odd", map_kernel=3))
    draws = observer.draws(20, 16)
    rows, counts = (np.asarray(a) for a in draws.rows(jax.random.key(0), 2))
    assert draws.share == 1
    assert sorted(rows[0][counts[0] > 0]) == list(range(77))


@pytest.mark.slow
def test_what_one_cell_is_fitted_to_says_nothing_about_the_others():
    """Nearest cells, kernel 1: a fit of a whole image is that of its cells one by one."""
    domain, config = DOMAINS["even"], network("even")
    rng = np.random.default_rng(0)
    raw = rng.uniform(size=(1, domain.num_points, 2)).astype(np.float32)
    changed = raw.copy()
    changed[:, 0] += 0.5  # a point of the first cell
    found = [_fitted(domain, config, values)[0] for values in (raw, changed)]
    differs = np.abs(found[0] - found[1]).reshape(-1, config.cell_size).max(axis=1)
    assert differs[0] > 1e-4
    np.testing.assert_allclose(differs[1:], 0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lookup", "stride"),
    [("nearest", 1), ("linear", 1), ("nearest", 2), ("linear", 2)],
)
def test_a_fit_is_gradient_descent_whose_rates_cells_share(lookup, stride):
    domain, config = DOMAINS["odd"], network("odd", lookup=lookup)
    raw = np.random.default_rng(0).uniform(size=(1, domain.num_points, 2)).astype(np.float32)
    modulation, mse, base, rates = _fitted(domain, config, raw, stride=stride)
    if stride == 1:
        fractions = jnp.asarray(domain.fractions(domain.coords()))
        phi = jnp.zeros(config.modulation_size)
        for row in rates:
            gradient = jax.grad(lambda phi: jnp.mean((base(phi, fractions) - raw[0]) ** 2))(phi)
            phi = phi - config.num_cells * jnp.tile(row, config.num_cells) * gradient
        np.testing.assert_allclose(modulation, phi, atol=1e-5)
    decoded = base(jnp.asarray(modulation), jnp.asarray(domain.fractions(domain.coords())))
    np.testing.assert_allclose(mse, np.mean((np.asarray(decoded) - raw[0]) ** 2), rtol=1e-5)


def _fitted(domain, config, raw, stride=1):
    whole = ConvertConfig(network=config, fit=FitConfig(num_steps=3, stride=stride, tuning_steps=0, tile_points=32))
    graph, learnable = init_learnable(whole, network_inputs(domain, config), 2, domain.closed)
    source = _Source(domain, raw)
    fit = Fit(graph, whole, source)
    shared = fit.prepare(learnable.base, extend(learnable.rates, 3))
    got = fit_examples(fit, shared, BatchReader(source), np.arange(len(raw)))
    base = network_of(config, domain, 2, to_weights(learnable.base))
    return got.modulations[0], got.mse[0], base, np.asarray(learnable.rates)


@pytest.mark.slow
def test_an_outer_step_lowers_the_loss():
    losses = _losses(network("even"))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.slow
def test_a_bias_for_each_cell_learns_what_is_where():
    """Almost without inner steps, the base has to know that the examples rise to the right and to the bottom."""
    last = [np.mean(_losses(network("even", map_bias=bias), 1e-6)[-10:]) for bias in ("shared", "per_cell")]
    assert last[1] < 0.8 * last[0]


def _losses(config, rate=1e-2):
    """The outer losses of 60 steps on two examples."""
    domain = DOMAINS["even"]
    whole = ConvertConfig(
        network=config,
        inner=InnerLoopConfig(learning_rate=rate),
        outer=OuterLoopConfig(num_steps=60, num_points=30, batch_size=2, warmup_steps=0, map_learning_rate=1e-2),
    )
    graph, learnable = init_learnable(whole, 2, 2, domain.closed)
    step = make_outer_step(graph, whole, observer_of(domain, SPEC, config))
    state = LearnState(learnable, make_optimizer(whole.outer).init(learnable))
    y, x = np.meshgrid(np.linspace(0, 1, 12), np.linspace(0, 1, 8), indexing="ij")
    raw = np.stack([np.stack([y, x], -1), np.stack([x * y, 1 - y], -1)]).reshape(2, -1, 2).astype(np.float32)
    losses = []
    for k in range(60):
        state, loss = step(state, raw, jax.random.key(k), np.float32(1))
        losses.append(float(jnp.mean(loss)))
    return losses


def test_a_grid_of_other_axes_is_refused():
    with pytest.raises(ConfigError, match=r"modulation_grid=\(2, 3, 2\) has 3 axes, expected .* y, x"):
        observer_of(DOMAINS["even"], SPEC, network("volume"))


class _Source:
    labels, rejects, provenance = {}, (), {"archive": "test", "sha256": None}

    def __init__(self, domain, raw):
        self.domain, self.features, self._raw = domain, SPEC, raw
        self.ids, self.split = [str(k) for k in range(len(raw))], np.array(["train"] * len(raw))

    def read(self, index):
        return self._raw[index].reshape(*self.domain.observed, -1)


@pytest.mark.slow
def test_the_first_gradient_of_cells_with_the_same_points_is_a_product():
    domain, config = DOMAINS["even"], network("even")
    observer = observer_of(domain, SPEC, config)
    same = with_same_cells(observer, 100)
    assert same is not None
    assert with_same_cells(observer, 5) is None
    assert with_same_cells(observer_of(domain, SPEC, network("even", map_bias="per_cell")), 100) is None
    assert with_same_cells(observer_of(DOMAINS["odd"], SPEC, network("odd")), 100) is None
    graph, learnable = init_learnable(ConvertConfig(network=config), 2, 2)
    base = nnx.merge(graph, learnable.base)
    raw = jnp.asarray(np.random.default_rng(0).uniform(size=(domain.num_points, 2)), jnp.float32)
    raw = raw.at[3, 0].set(jnp.nan)
    target = observer.look(raw, *map(jnp.asarray, observer.tiles(np.arange(domain.num_points), 20)), None)
    found = same.at_zero(same.project(base, "float32"), target)
    wanted = error_and_gradient(observer.predict, base, jnp.zeros(config.modulation_size), target, "float32")
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6, rtol=1e-3)


@pytest.mark.slow
def test_the_outer_gradient_is_the_same_with_and_without_the_product(monkeypatch):
    domain, config = DOMAINS["even"], network("even")
    whole = ConvertConfig(network=config, outer=OuterLoopConfig(num_steps=1, num_points=40, batch_size=2))
    graph, learnable = init_learnable(whole, 2, 2)
    raw = np.random.default_rng(0).uniform(size=(2, domain.num_points, 2)).astype(np.float32)
    states = []
    for same in (with_same_cells, lambda observer, tile: None):
        monkeypatch.setattr("functa_store.learn.outer_loop.with_same_cells", same)
        step = make_outer_step(graph, whole, observer_of(domain, SPEC, config))
        state = LearnState(learnable, make_optimizer(whole.outer).init(learnable))
        states.append(step(state, raw, jax.random.key(0), np.float32(1))[0].moments)
    for with_product, without in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(with_product, without, atol=2e-6, rtol=2e-3)
