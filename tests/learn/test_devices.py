"""A batch spread over several devices is the batch on one."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.learn import devices
from functa_store.learn.devices import (
    each,
    microbatch_sizes,
    num_devices,
    over_devices,
)
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import tune
from functa_store.sources.array_source import ArraySource

ON_FOUR = """
import jax, numpy as np, sys
from tests.learn.test_devices import converted, summed
assert jax.local_device_count() == 4
np.savez(sys.argv[1], *summed(12), *summed(6), *summed(5), *converted())
"""
CONFIG = ConvertConfig(
    network=NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=8),
    outer=OuterLoopConfig(num_steps=8, batch_size=8, num_points=32, warmup_steps=2, monitor_every=4),
    fit=FitConfig(num_steps=4, stride=2, tuning_steps=4),
)


def summed(batch):
    """Something kept and something summed of every row of a batch."""

    def one(shared, x):
        return jnp.sin(shared * x), {"sum": x**2}

    def part(shared, rows):
        return each(one, shared, (rows,), microbatch_size=1)

    rows = jnp.arange(3.0 * batch).reshape(batch, 3)
    kept, total = jax.jit(lambda x: over_devices(part, jnp.float32(2), (x,)))(rows)
    return kept, total["sum"]


def converted():
    """Rates, modulations and errors of a small conversion: learned, tuned and fitted."""
    source = ArraySource(np.random.default_rng(0).uniform(0.3, 0.7, size=(24, 8, 8, 1)).astype(np.float32))
    training = TrainingSet(source, CONFIG)
    base = meta_learn(training, CONFIG)
    fit, shared, _ = tune(base, training, CONFIG)
    raw = np.stack([source.read(i).reshape(-1, 1) for i in range(24)])
    return base.learnable.rates, *shared.steps, *fit(shared, raw)


@pytest.mark.long
def test_several_devices_give_what_one_gives(tmp_path, monkeypatch):
    out = tmp_path / "four.npz"
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", ON_FOUR, str(out)], check=True, env=environment)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    expected = [*summed(12), *summed(6), *summed(5), *converted()]
    with np.load(out) as four:
        for name, alone in zip(four.files, expected, strict=True):
            np.testing.assert_allclose(four[name], alone, rtol=2e-4, atol=1e-5)
    rows = np.arange(36.0).reshape(12, 3)
    np.testing.assert_allclose(expected[0], np.sin(2 * rows), atol=1e-5)
    np.testing.assert_allclose(expected[1], (rows**2).sum(axis=0))


def test_examples_taken_together_are_those_taken_one_by_one():
    rows = jnp.arange(30.0).reshape(10, 3)
    for size in (1, 2, 5, 10):
        kept, total = each(lambda shared, x: (shared * x, x.sum()), 2.0, (rows,), size)
        np.testing.assert_array_equal(kept, 2 * rows)
        assert total == rows.sum()


def test_a_microbatch_divides_a_devices_share_of_a_batch(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert microbatch_sizes(None, 16) == [1]
    assert microbatch_sizes(5, 16) == [4]
    assert microbatch_sizes(99, 16) == [8]
    monkeypatch.setattr(devices, "one_at_a_time", lambda: False)
    assert microbatch_sizes(None, 24) == [12, 6, 4, 3, 2, 1]
    assert microbatch_sizes(None, 14) == [7, 1]


def test_only_as_many_devices_as_divide_the_batch(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    assert [num_devices(size) for size in (8, 6, 5, 2)] == [4, 3, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(("threads", "count"), [(0, 1), (2, 2), (64, devices.FEW_DEVICES)])
def test_one_core_has_some_devices_where_programs_are_split_over_more_threads(threads, count):
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import jax; from functa_store.learn.devices import compute_threads, use_all_cores, use_threads\n"
        f"use_threads({threads}); use_all_cores({threads}); print(jax.local_device_count(), compute_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
    ended = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    assert ended.stdout.split() == [str(count), str(max(threads, 1))]


def test_loops_of_a_fit_are_not_split_over_threads_on_cpus(monkeypatch):
    given = []
    monkeypatch.setattr(jax, "jit", lambda function, **options: given.append(options))
    devices.unsplit_jit(len)
    monkeypatch.setattr(devices, "one_at_a_time", lambda: False)
    devices.unsplit_jit(len)
    assert given == [{"compiler_options": devices.UNSPLIT}, {"compiler_options": None}]
