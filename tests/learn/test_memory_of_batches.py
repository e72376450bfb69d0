"""How many examples a device takes at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import functa_store.learn.devices as sizes
from functa_store.errors import ConfigError
from functa_store.learn.devices import compile_within_memory, fit_batch_size, free_bytes


class Program:
    """A compiled program that says how much memory it takes."""

    def __init__(self, temp_size_in_bytes):
        self.temp_size_in_bytes = temp_size_in_bytes

    def memory_analysis(self):
        return self


def test_examples_are_taken_together_as_memory_allows():
    def chosen(free):
        compiled = []

        def compile(size):
            compiled.append(size)
            return Program(100 + 50 * size)

        program, size = compile_within_memory("a step", compile, [16, 8, 2, 1], free / sizes.USABLE)
        assert program.temp_size_in_bytes == 100 + 50 * size
        return compiled

    assert chosen(900.0) == [16]
    assert chosen(899.0) == [16, 8]
    assert chosen(150.0) == [16, 8, 2, 1]
    with pytest.raises(ConfigError, match=r"a step needs .*tile_points"):
        chosen(149.0)


def test_a_real_programs_memory_is_known():
    program = jax.jit(lambda x: jnp.sort(x @ x) @ x).lower(np.ones((500, 500), np.float32)).compile()
    assert sizes.temporary_bytes(program) >= 500 * 500 * 4
    assert free_bytes() > 1e6


@pytest.fixture(name="two_accelerators")
def _two_accelerators(monkeypatch):
    monkeypatch.setattr(sizes, "one_at_a_time", lambda: False)
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)


def test_a_batch_on_an_accelerator_doubles_as_long_as_it_pays(two_accelerators):
    seconds = {32: 1.0, 64: 1.1, 128: 1.5, 256: 2.9}
    assert fit_batch_size(None, 1000, 10_000, seconds.__getitem__) == 128


@pytest.mark.parametrize(("holds", "expected"), [(64, 64), (32, 32), (10, 8), (2, 2)])
def test_a_batch_that_breaks_the_memory_is_not_taken(two_accelerators, holds, expected):
    def time_of(size):
        if size > holds:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return 1.0

    assert fit_batch_size(None, 1000, 10_000, time_of) == expected
    assert fit_batch_size(None, 1000, 1, time_of) == 2


def test_a_probe_tells_apart_what_is_too_large_and_what_is_broken(two_accelerators):
    def raising(message):
        def time_of(size):
            raise jax.errors.JaxRuntimeError(message)

        return time_of

    with pytest.raises(ConfigError, match="tile_points"):
        fit_batch_size(None, 1000, 10_000, raising("RESOURCE_EXHAUSTED"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        fit_batch_size(None, 1000, 10_000, raising("INTERNAL: broken"))


def test_batches_of_large_examples_are_small_on_a_cpu(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    assert fit_batch_size(None, 2**25, 1000, float) == 4
    assert fit_batch_size(None, 2**30, 1000, float) == 2
    assert fit_batch_size(None, 1000, 1000, float) == 2 * sizes.FIT_BATCH
    assert fit_batch_size(7, 1000, 1000, float) == 8
    assert fit_batch_size(7, 1000, 3, float) == 4
