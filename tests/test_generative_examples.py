"""Examples that generate and infer: their samples, likelihoods, inferences and walks have the values that they say."""

import functools
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx
from PIL import Image
from sklearn.covariance import LedoitWolf

import functa_store
from examples import diffusion, generate, infer, partly_seen, walk
from examples.gaussian import Gaussian
from examples.two_sample import nearest_neighbour_accuracy, novelty, told_apart
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.domains.scene import Lens, camera_rays, look_at_centre
from functa_store.loaders import Normalization
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.side_arrays import base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import open_objects
from functa_store.store.writing.writer import StoreWriter

GOLDEN = Path(__file__).parent / "golden"


def write_planted(path, rows, labels=None):
    """A functaset of given modulations and a small random base; every fourth example is held out."""
    rng, network = np.random.default_rng(0), NetworkConfig(width=16, depth=3, w0=5.0, modulation_dim=rows.shape[1])
    shapes = base_shapes(network, 2, 1) | {"inner_loop/learning_rate": (3, rows.shape[1])}
    base = {name: rng.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()}
    base["inner_loop/learning_rate"] = np.full((3, rows.shape[1]), 0.1, np.float32)
    contents = Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(8, 8)),
        features=FeatureSpec(channels=("grey",)),
        config=ConvertConfig(network=network),
        base=base,
        ids=[str(k) for k in range(len(rows))],
        split=np.where(np.arange(len(rows)) % 4 == 3, "test", "train"),
        labels=labels or {},
        provenance={"archive": "planted"},
    )
    with StoreWriter.resume_or_create(open_objects(path), contents) as writer:
        for shard in writer.missing_shards():
            part = rows[shard.start : shard.stop].astype(np.float32)
            writer.write(shard, part, np.full(len(part), 0.01, np.float32))
    return functa_store.open(path)


def two_clusters(count, seed=0):
    """Of four numbers, around (3, 3, 3, 3) and as often around its opposite."""
    rng = np.random.default_rng(seed)
    sign = rng.choice([-1, 1], (count, 1))
    return (sign * 3 + 0.5 * rng.normal(size=(count, 4))).astype(np.float32)


def on_a_line(count, size=6, seed=0):
    """Of several numbers that one number decides, but for a hundredth."""
    rng = np.random.default_rng(seed)
    direction = np.random.default_rng(1).normal(size=size)
    return 0.2 * (rng.normal(size=(count, 1)) * direction + 0.01 * rng.normal(size=(count, size)))


# Two samples


def test_the_nearest_neighbour_cannot_tell_equal_distributions_and_always_tells_distant_ones():
    one, other = np.random.default_rng(0).normal(size=(2, 1000, 2, 4))
    assert abs(nearest_neighbour_accuracy(one, other) - 0.5) < 0.04  # 2,000 fair guesses: 0.011 of deviation
    assert nearest_neighbour_accuracy(one, other + 100) == 1.0
    assert nearest_neighbour_accuracy(one, one + 1e-6) == 0.0, "copies are nearer than examples of their own kind"
    with pytest.raises(ValueError, match="found 1000 samples and 999 held-out"):
        nearest_neighbour_accuracy(one, other[:-1])


def test_samples_that_are_scattered_far_out_are_seen_by_the_halves_of_the_two_sample_test():
    random = np.random.default_rng(0)
    real, same, far = (random.standard_normal((400, 64)) for _ in range(3))
    assert nearest_neighbour_accuracy(same, real) == pytest.approx(0.5, abs=0.06)
    assert told_apart(same, real) == pytest.approx((0.5, 0.5), abs=0.1)
    of_samples, of_others = told_apart(2 * far, real)
    assert of_samples < 0.1
    assert of_others > 0.9


def test_copies_of_training_examples_are_memorised_and_new_ones_are_not():
    training, held_out, new = np.random.default_rng(0).normal(size=(3, 500, 8))
    copied = np.concatenate([training[:20] + 1e-6, new[20:]])
    found = novelty(copied, held_out, training)
    assert found.memorised >= 20
    assert novelty(new, held_out, training).memorised < 10
    assert novelty(training, held_out, training).distance == 0
    assert novelty(new, held_out, training).distance == pytest.approx(found.usual_distance, rel=0.05)


# Densities


@pytest.mark.slow
def test_the_density_of_a_gaussian_is_that_of_its_covariance_and_its_samples_are_of_it():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5)) + 3
    gaussian, covariance = Gaussian.fit(rows), LedoitWolf().fit(rows)
    expected = scipy.stats.multivariate_normal(covariance.location_, covariance.covariance_).logpdf(rows)
    np.testing.assert_allclose(gaussian.log_prob(jnp.asarray(rows, jnp.float32)), expected, rtol=1e-3)
    np.testing.assert_allclose(gaussian.unwhiten(gaussian.whiten(rows)), rows, atol=1e-4)
    samples = np.asarray(gaussian.sample(jax.random.key(0), 20_000))
    np.testing.assert_allclose(np.cov(samples.T), covariance.covariance_, atol=0.04 * np.abs(rows.var(axis=0)).max())


@pytest.mark.slow
def test_the_density_of_a_flow_is_exact_and_above_a_gaussians():
    """Of a banana: it integrates to one, and is that of the transformed noise by the Jacobian of the transformation."""
    pytest.importorskip("flowjax")
    from examples import flow

    def banana(seed):
        x, y = np.random.default_rng(seed).normal(size=(2, 2000))
        return np.stack([x, 0.3 * y + x**2], axis=1).astype(np.float32)

    fitted, held_out = flow.Flow.fit(banana(0), max_epochs=30, num_layers=4, width=32), banana(1)
    gain = np.mean(fitted.log_prob(held_out)) - np.mean(fitted.gaussian.log_prob(held_out))
    truth = np.mean(scipy.stats.norm.logpdf(held_out[:, 0]))
    truth += np.mean(scipy.stats.norm.logpdf(held_out[:, 1], held_out[:, 0] ** 2, 0.3))
    assert gain > 0.5
    assert np.mean(fitted.log_prob(held_out)) < truth + 0.02, "no density is likelier than the true one"
    x, y = np.linspace(-8, 8, 400), np.linspace(-15, 30, 1000)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    log_prob, area = np.asarray(fitted.log_prob(grid), np.float64), (x[1] - x[0]) * (y[1] - y[0])
    assert np.exp(log_prob).sum() * area == pytest.approx(1, abs=0.02)
    samples = fitted.sample(jax.random.key(0), 2000)
    expected = np.sum(np.exp(log_prob) * log_prob) * area  # over the density: its samples are as likely on average
    assert np.mean(fitted.log_prob(samples)) == pytest.approx(expected, abs=0.1)


@pytest.mark.slow
def test_components_beyond_those_of_the_flow_stay_gaussian(monkeypatch):
    pytest.importorskip("flowjax")
    from examples import flow

    monkeypatch.setattr(flow, "NUM_COMPONENTS", 2)
    rows = on_a_line(400)
    fitted = flow.Flow.fit(rows, max_epochs=2, num_layers=2, width=8)
    white = np.asarray(fitted.gaussian.whiten(rows))
    expected = fitted.first.log_prob(white[:, :2]) + scipy.stats.norm.logpdf(white[:, 2:]).sum(axis=1)
    np.testing.assert_allclose(fitted.log_prob_white(white), expected, rtol=1e-3)
    assert fitted.sample(jax.random.key(0), 7).shape == (7, 6)


# Diffusion


class Exact(nnx.Module):
    """The velocity of a Gaussian of mean 2 and deviation 0.5, by Bayes' rule."""

    def __call__(self, noisy, step):
        kept = jnp.asarray(diffusion.KEPT)[step][:, None]
        signal, noisiness, variance = jnp.sqrt(kept), jnp.sqrt(1 - kept), 0.25
        clean = 2 + signal * variance / (kept * variance + 1 - kept) * (noisy - signal * 2)
        noise = (noisy - signal * clean) / noisiness
        return signal * noise - noisiness * clean


@pytest.mark.slow
def test_ancestral_sampling_with_the_exact_velocity_gives_the_distribution():
    samples = np.asarray(diffusion.sample(Exact(), jax.random.key(0), (5000, 3)))
    assert samples.mean() == pytest.approx(2, abs=0.02)
    assert samples.std() == pytest.approx(0.5, rel=0.03)


@pytest.mark.slow
def test_a_diffusion_learns_two_clusters(tmp_path):
    functaset = write_planted(tmp_path / "planted.functa", two_clusters(600))
    learned, _, held_out = generate.parts_of(functaset)
    normalization = Normalization.of_split(functaset, "train")
    made = diffusion.generate(functaset, learned, normalization, 150, num_steps=400, width=64, depth=2)
    samples = normalization.invert(made.samples)
    near = np.linalg.norm(np.abs(samples) - 3, axis=1) < 2.5
    assert near.mean() > 0.95
    assert 0.35 < (samples[near, 0] > 0).mean() < 0.65
    assert np.all(np.sign(samples[near]) == np.sign(samples[near, :1])), "no sample is a mixture of both"
    assert nearest_neighbour_accuracy(samples, functaset.modulations[held_out]) < 0.65


@pytest.mark.slow
def test_a_diffusion_of_a_grid_lets_its_cells_see_each_other():
    functaset = functa_store.open(GOLDEN / "v6_spatial.functa")
    normalization, shape = Normalization.of_split(functaset, "train"), functaset.config.network.modulation_shape
    options = {"num_steps": 40, "width": 16, "depth": 1, "patience": 40}
    model = diffusion.train(functaset, np.arange(len(functaset)), normalization, **options)
    one = jax.random.normal(jax.random.key(0), (1, *shape))
    other = one.at[(0,) * (len(shape))].add(1.0)  # in the first cell
    change = np.abs(model(one, jnp.array([50])) - model(other, jnp.array([50]))).max(axis=-1).ravel()
    assert change[0] > 0
    assert change[-1] > 0
    assert np.isfinite(diffusion.sample(model, jax.random.key(0), (2, *shape))).all()


# From a functaset to samples


def gaussian_samples(functaset, learned, normalization, count):
    """A model that is as simple as can be."""
    rows = generate.rows_of(functaset, learned, normalization)
    return generate.Generated(np.asarray(Gaussian.fit(rows).sample(jax.random.key(0), count)), {"note": "seen"})


@pytest.mark.slow
def test_samples_become_a_functaset_of_the_same_base_with_pictures_and_figures(tmp_path, capsys):
    rows = 0.3 * np.random.default_rng(0).normal(size=(400, 6)) * np.arange(1, 7) + 1
    functaset = write_planted(tmp_path / "planted.functa", rows)
    words = ["--store", str(functaset.store.path), "--out", str(tmp_path / "out")]
    figures = generate.run(gaussian_samples, "gaussian", words)
    samples = functa_store.open(tmp_path / "out/samples.functa")
    assert samples.base_fingerprint == functaset.base_fingerprint
    assert samples.spec.provenance["archive"] == "derived"
    assert len(samples) == 100
    np.testing.assert_allclose(samples.modulations[:].std(axis=0), rows.std(axis=0), rtol=0.25)
    np.testing.assert_allclose(samples.modulations[:].mean(axis=0), 1, atol=0.6)
    assert 35 < float(figures["samples told from held-out ones"].partition("%")[0]) < 65
    assert figures["memorised examples"].endswith("of 30")
    assert "note" in capsys.readouterr().out
    with Image.open(tmp_path / "out/samples.png") as sheet:
        assert sheet.width > 3 * 96
    with pytest.raises(SystemExit):
        generate.run(gaussian_samples, "gaussian", words)
    assert "is there already" in capsys.readouterr().err


def test_what_is_too_small_to_learn_from_is_refused(tmp_path, capsys):
    functaset = write_planted(tmp_path / "planted.functa", on_a_line(8))
    with pytest.raises(SystemExit):
        generate.run(gaussian_samples, "x", ["--store", str(functaset.store.path), "--out", str(tmp_path / "out")])
    assert "found 6 examples in the split 'train' and 2 in 'test', expected at least 20" in capsys.readouterr().err
    with pytest.raises(functa_store.ConfigError, match="expected more than 16 and at least one"):
        infer.compare(functaset, None, "half", "gaussian", 2, tmp_path / "out.png")


# Inference


@pytest.mark.slow
def test_a_prior_infers_what_is_hidden_and_is_chosen_without_looking_at_it(tmp_path, capsys):
    """Modulations lie on a line, which the half that is seen does not tell by itself."""
    functaset = write_planted(tmp_path / "planted.functa", on_a_line(300))
    compare = functools.partial(infer.compare, functaset, None, num_examples=8, num_steps=100)
    results = compare("half", "gaussian", out=tmp_path / "half.png")
    assert results["gaussian prior"] > results["plain fit"] + 3
    coarse = compare("coarse", "gaussian", out=tmp_path / "coarse.png")
    assert coarse["gaussian prior"] > coarse["plain fit"] + 1.5
    assert "chosen on 16 examples of train: to begin at the " in capsys.readouterr().out
    with Image.open(tmp_path / "half.png") as sheet:
        assert sheet.width > 4 * 96


class Rows:
    """Splits and augmentations of a functaset."""

    def __init__(self, split, of):
        self.split, self.augmentations = np.array(split), {"of": np.array(of)}
        self.store = SimpleNamespace(path="rows.functa")

    def __len__(self):
        return len(self.split)


def test_what_makes_no_picture_is_refused_before_a_prior_is_learned(tmp_path, unchecked):
    sounds = SimpleNamespace(
        domain=CellGrid(axes=("t",), resolution=(64,)), store=SimpleNamespace(path="sounds.functa")
    )
    with pytest.raises(functa_store.ConfigError, match=r"sounds\.functa: examples over \('t',\) make no picture"):
        infer.compare(sounds, None, "half", "gaussian", 4, tmp_path / "s.png")


def test_a_weight_is_chosen_on_examples_that_nothing_was_learned_from():
    """Of "validation", or else on some of "train" of which the prior sees no augmentation either."""
    train = Rows([*["train"] * 40, "test", "test"], [*range(20), *range(20), 40, 41])
    training, tuning, held_out = infer.choose(train, 1)
    assert (len(tuning), len(held_out)) == (16, 1)
    assert tuning.max() < 20 <= 40 <= held_out[0]
    np.testing.assert_array_equal(training, [row for row in range(40) if row % 20 not in tuning])
    validation = Rows([*["train"] * 40, "validation", "test"], [*range(20), *range(20), 40, 41])
    training, tuning, held_out = infer.choose(validation, 5)
    np.testing.assert_array_equal(training, range(40))
    assert (*tuning, *held_out) == (40, 41)


def test_half_of_an_example_is_seen_and_the_other_one_hidden():
    functaset = functa_store.open(GOLDEN / "v6.functa")
    features = np.random.default_rng(0).random((2, *functaset.domain.resolution, 3), np.float32)
    features[:, 0, 0] = np.nan  # has no value
    seen, hidden, grid = partly_seen.half(functaset, features)
    width = functaset.domain.resolution[1]
    assert seen.positions[:, 1].max() < 0.5 < hidden.positions[:, 1].min()
    assert len(seen.positions) + len(hidden.positions) == functaset.domain.num_points - 1
    assert not np.isnan(seen.features).any()
    np.testing.assert_array_equal(hidden.features, features[:, :, width // 2 :].reshape(2, -1, 3))
    np.testing.assert_array_equal(np.isnan(grid[1, 1, :, 0]), np.arange(width) >= width // 2)


def test_blocks_are_seen_by_their_means(monkeypatch, tmp_path):
    functaset = write_planted(tmp_path / "planted.functa", on_a_line(8))
    features = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    seen, hidden, grid = partly_seen.coarse(functaset, features)
    assert grid[1, 0, 1, 0] == pytest.approx(features[1, :4, 4:].mean())
    np.testing.assert_allclose(seen.positions, [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])
    np.testing.assert_array_equal(seen.features, grid.reshape(2, 4, 1))
    assert hidden.features.shape == (2, 64, 1)
    monkeypatch.setattr(partly_seen, "COARSER", 3)
    with pytest.raises(functa_store.ConfigError, match="expected multiples of 3"):
        partly_seen.coarse(functaset, features)


def test_a_mirror_shows_what_is_seen_from_its_other_side(tmp_path):
    functaset = write_planted(tmp_path / "planted.functa", on_a_line(8))
    features = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    seen = partly_seen.half(functaset, features).seen
    both = partly_seen.mirrored(functaset, seen, functaset.domain.axes[1])
    order = np.lexsort(both.positions.T[::-1])
    np.testing.assert_allclose(both.positions[order], functaset.domain.coords().reshape(-1, 2), atol=1e-6)
    left = features[:, :, :4]
    whole = np.concatenate([left, left[:, :, ::-1]], axis=2)
    np.testing.assert_array_equal(both.features[:, order], whole.reshape(2, -1, 1))


def test_a_scene_in_a_mirror_is_seen_by_a_camera_in_it():
    """That of a camera to the right is the picture of one to the left, turned round."""
    scenes = functa_store.open(GOLDEN / "v6_scene.functa")
    right = np.concatenate(camera_rays(look_at_centre(np.array([0.9, 0.4, 0.5])), 4, 4, Lens(6.0)), axis=-1)
    left = np.concatenate(camera_rays(look_at_centre(np.array([-0.9, 0.4, 0.5])), 4, 4, Lens(6.0)), axis=-1)
    colours = np.random.default_rng(0).random((1, 16, 3), np.float32)
    positions, features = partly_seen.mirrored(scenes, partly_seen.Points(right.reshape(1, -1, 6), colours), "x")
    np.testing.assert_allclose(positions[0, 16:].reshape(4, 4, 6)[:, ::-1], left, atol=1e-6)
    np.testing.assert_array_equal(features, np.concatenate([colours, colours], axis=1))


@pytest.mark.slow
def test_what_is_symmetric_is_inferred_from_what_a_mirror_shows(tmp_path):
    functaset = write_planted(tmp_path / "planted.functa", on_a_line(80))
    values = np.asarray(functaset.decode(np.arange(80)))
    symmetric = np.concatenate([values[:, :, :4], values[:, :, 3::-1]], axis=2)
    source = SimpleNamespace(
        ids=[str(k) for k in range(80)], read=lambda k: symmetric[k], features=SimpleNamespace(scale=1.0, offset=0.0)
    )
    options = {"num_examples": 8, "num_steps": 50, "out": tmp_path / "out.png"}
    alone = infer.compare(functaset, source, "half", "gaussian", **options)
    results = infer.compare(functaset, source, "half", "gaussian", mirror="x", **options)
    assert results["plain fit"] == alone["plain fit"] != results["plain fit, mirrored"]
    assert results["gaussian prior"] > alone["gaussian prior"] + 1
    with pytest.raises(functa_store.ConfigError, match="found no axis 'up' to mirror"):
        infer.compare(functaset, source, "half", "gaussian", mirror="up", **options)


@pytest.mark.slow
def test_other_views_of_a_scene_are_inferred_from_its_first_one(tmp_path):
    """Of scenes that are views of modulations on a line: their rays and colours, as an archive has them."""
    scenes = functa_store.open(GOLDEN / "v6_scene.functa")
    rows = on_a_line(60, size=scenes.config.network.modulation_size).astype(np.float32)
    splits = np.where(np.arange(60) % 4 == 3, "test", "train")
    scenes.derive(tmp_path / "scenes.functa", rows, split=splits)
    planted = functa_store.open(tmp_path / "scenes.functa")
    poses = functa_store.orbit(3, 1.2, 30.0)
    rays = np.stack([np.concatenate(camera_rays(pose, 6, 6, Lens(6.0)), axis=-1) for pose in poses])
    flat = np.broadcast_to(rays.reshape(1, -1, 6), (60, 3 * 36, 6))
    colours = planted.ray_decoder(planted.base, rows, flat[..., :3], flat[..., 3:])
    raw = np.concatenate([flat, np.clip(colours, 0, 1)], axis=-1).reshape(60, 3, 6, 6, 9)
    source = SimpleNamespace(ids=[str(k) for k in range(60)], read=lambda k: raw[k])
    options = {"num_examples": 4, "num_steps": 100, "out": tmp_path / "views.png"}
    results = infer.compare(planted, source, "view", "gaussian", **options)
    assert results["gaussian prior"] > results["plain fit"] + 1
    white = np.asarray(infer.sheet(planted, {"white": np.ones((1, 6, 6, 3), np.float32)}))
    assert (white[white.shape[0] // 2, white.shape[1] // 2] == 255).all()  # densities go up to 10, colours to 1
    with pytest.raises(functa_store.ConfigError, match="the task view is for scenes"):
        infer.compare(planted, source, "half", "gaussian", **options)
    with pytest.raises(functa_store.ConfigError, match="give --archive"):
        infer.compare(planted, None, "view", "gaussian", **options)


# Walks


def test_a_walk_passes_through_its_examples_and_does_not_fade_between_them():
    examples = np.random.default_rng(0).normal(size=(4, 2, 50)).astype(np.float32)
    path = walk.closed_walk(examples, 6)
    assert path.shape == (24, 2, 50)
    np.testing.assert_allclose(path[::6], examples, atol=1e-5)
    distances = np.linalg.norm((path - examples.mean(axis=0)).reshape(24, -1), axis=1)
    assert distances.min() >= 0.99 * distances[::6].min()
    np.testing.assert_allclose(walk.closed_walk(examples[:2], 2)[1], examples[:2].mean(axis=0), atol=1e-5)


def test_an_edit_moves_by_the_difference_of_two_classes_and_back(tmp_path, capsys):
    rows = on_a_line(40)
    kinds = Label(values=np.arange(40) % 2, names=("cat", "dog"))
    functaset = write_planted(tmp_path / "planted.functa", rows, {"kind": kinds})
    path = walk.edit(functaset, 2, "kind", "dog", 8)
    training = np.arange(40) % 4 != 3
    cat, dog = (rows[training & (np.arange(40) % 2 == k)].mean(axis=0) for k in (0, 1))
    np.testing.assert_allclose(path[0], rows[2], atol=1e-5)
    np.testing.assert_allclose(path[4], rows[2] + dog - cat, atol=1e-5)
    np.testing.assert_allclose(path[2], path[6], atol=1e-5)
    with pytest.raises(functa_store.ConfigError, match=r"no training example with kind 'cow', there are \['cat', 'dog"):
        walk.edit(functaset, 2, "kind", "cow", 8)
    with pytest.raises(functa_store.ConfigError, match="no label 'sort'"):
        walk.edit(functaset, 2, "sort", "dog", 8)
    with pytest.raises(SystemExit):
        walk.run(["--store", str(functaset.store.path), "--examples", "3"])
    assert "needs two examples" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        walk.run(["--store", str(functaset.store.path), "--out", "walk.mp4"])
    assert "--out must end in .gif, got walk.mp4" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("v6", (5, 5)), ("v6_scene", (5, 5))])
def test_a_walk_is_a_film_of_every_kind_of_domain(tmp_path, name, size):
    words = ["--store", str(GOLDEN / f"{name}.functa"), "--examples", "0,1,2", "--frames", "2"]
    assert walk.run([*words, "--resolution", "5", "--out", str(tmp_path / "walk.gif")]) == 6
    with Image.open(tmp_path / "walk.gif") as film:
        assert (film.n_frames, film.size) == (6, size)
