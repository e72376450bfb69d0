"""How many examples a device takes at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import functa_store.learn.sizes as sizes
from functa_store.errors import ConfigError
from functa_store.learn.sizes import compile_within_memory, fit_batch_size, free_bytes


class Program:
    """A compiled program that says how much memory it takes."""

    def __init__(self, temp_size_in_bytes):
        self.temp_size_in_bytes = temp_size_in_bytes

    def memory_analysis(self):
        return self


def test_examples_are_taken_together_as_memory_allows():
    compiled = []

    def compile(together):
        compiled.append(together)
        return Program(100 + 50 * together)

    assert compile_within_memory(compile, 16, free=1000 / sizes.USABLE)[1] == 16
    assert compile_within_memory(compile, 16, free=500 / sizes.USABLE)[1] <= 8
    assert compile_within_memory(compile, 16, free=150 / sizes.USABLE)[1] == 1
    with pytest.raises(ConfigError, match="num_points"):
        compile_within_memory(compile, 16, free=100.0)


def test_a_real_programs_memory_is_known():
    program = jax.jit(lambda x: jnp.sort(x @ x) @ x).lower(np.ones((500, 500), np.float32)).compile()
    assert sizes.temporary_bytes(program) >= 500 * 500 * 4
    assert free_bytes() > 1e6


def test_a_batch_on_an_accelerator_doubles_as_long_as_it_pays(monkeypatch):
    monkeypatch.setattr(sizes, "one_at_a_time", lambda: False)
    seconds = {32: 1.0, 64: 1.1, 128: 1.5, 256: 2.9}
    assert fit_batch_size(None, 1000, 10_000, seconds.get) == 128


def test_a_batch_that_breaks_the_memory_is_not_taken(monkeypatch):
    monkeypatch.setattr(sizes, "one_at_a_time", lambda: False)

    def time_of(size):
        if size > 64:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")
        return 1.0

    assert fit_batch_size(None, 1000, 10_000, time_of) == 64
    assert fit_batch_size(None, 1000, 20, time_of) == 20


def test_batches_of_large_examples_are_small_on_a_cpu():
    assert fit_batch_size(None, 2**26, 1000, time_of=float) == 2
    assert fit_batch_size(None, 2**30, 1000, time_of=float) == 1
    assert fit_batch_size(None, 1000, 1000, time_of=float) == sizes.FIT_BATCH
    assert fit_batch_size(7, 1000, 1000, time_of=float) == 7
