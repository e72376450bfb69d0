"""The fast sine against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functa_store.nets import fast_math

PAIRS = [(fast_math.sin, np.sin), (fast_math.cos, np.cos)]
ANGLES = np.concatenate(
    [
        np.linspace(-1e4, 1e4, 1_000_001),
        np.linspace(-20, 20, 200_001),
        np.arange(-3000, 3001) * np.pi / 2,
    ]
).astype(np.float32)


@pytest.mark.parametrize(("ours", "exact"), PAIRS)
def test_the_error_stays_below_2e_7_up_to_ten_thousand(ours, exact):
    error = np.abs(jax.jit(ours)(ANGLES) - exact(ANGLES.astype(np.float64)))
    assert error.max() <= 2e-7


@pytest.mark.parametrize(("ours", "exact"), PAIRS)
@pytest.mark.parametrize("compiled", [True, False])
def test_up_to_a_million_the_error_stays_below_a_twentieth(ours, exact, compiled):
    angles = np.linspace(1e4, 1e6, 100_001).astype(np.float32)
    error = np.abs((jax.jit(ours) if compiled else ours)(jnp.asarray(angles)) - exact(angles.astype(np.float64)))
    assert error.max() <= 0.05


@pytest.mark.parametrize("ours", [fast_math.sin, fast_math.cos])
def test_what_is_no_angle_gives_nan(ours):
    assert np.isnan(ours(jnp.array([jnp.inf, -jnp.inf, jnp.nan]))).all()


@pytest.mark.slow
@given(st.floats(-100, 100, width=32))
def test_derivatives_are_those_of_the_sine(x):
    x = jnp.float32(x)
    first, second = jax.grad(fast_math.sin), jax.grad(jax.grad(fast_math.sin))
    np.testing.assert_allclose(first(x), np.cos(x), atol=3e-7)
    np.testing.assert_allclose(second(x), -np.sin(x), atol=3e-7)
    np.testing.assert_allclose(jax.grad(fast_math.cos)(x), -np.sin(x), atol=3e-7)


@pytest.mark.slow
def test_a_batch_of_derivatives_is_the_batch_of_each():
    angles = jnp.linspace(-30, 30, 24).reshape(4, 6)
    for function in (fast_math.sin, jax.grad(fast_math.sin), jax.grad(jax.grad(fast_math.sin))):
        mapped = jax.vmap(jax.vmap(function))(angles)
        alone = [[function(x) for x in row] for row in angles]
        np.testing.assert_allclose(mapped, alone, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_rounded_once(dtype):
    x = jnp.linspace(-10, 10, 1001).astype(dtype)
    assert fast_math.sin(x).dtype == dtype
    np.testing.assert_array_equal(fast_math.sin(x), fast_math.sin(x.astype(jnp.float32)).astype(dtype))
