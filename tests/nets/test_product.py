"""Matrix products in reduced precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.nets.fast_math import product

RNG = np.random.default_rng(0)
A, B = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((30, 40), (40, 20)))


def rounded(x):
    return np.asarray(x.astype(jnp.bfloat16).astype(jnp.float32), np.float64)


def test_factors_are_rounded_and_sums_are_float32():
    np.testing.assert_allclose(product(A, B, "bfloat16"), rounded(A) @ rounded(B), rtol=1e-4, atol=1e-4)
    assert product(A, B, "bfloat16").dtype == jnp.float32
    np.testing.assert_allclose(product(A, B, "float32"), np.asarray(A, np.float64) @ B, rtol=1e-4, atol=1e-4)


def test_so_are_those_of_the_derivatives():
    cotangent = jnp.asarray(RNG.normal(size=(30, 20)), jnp.float32)
    _, pull_back = jax.vjp(lambda a, b: product(a, b, "bfloat16"), A, B)
    to_a, to_b = pull_back(cotangent)
    np.testing.assert_allclose(to_a, rounded(cotangent) @ rounded(B).T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_b, rounded(A).T @ rounded(cotangent), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "tensorfloat32", "bfloat16"])
def test_second_derivatives_are_close_to_those_of_a_plain_product(precision):
    def slope(multiply):
        return jax.grad(lambda b: jnp.sum(jax.grad(lambda b: jnp.sum(multiply(A, b) ** 3))(b) ** 2))(B)

    ours, plain = slope(lambda a, b: product(a, b, precision)), slope(jnp.matmul)
    assert jnp.linalg.norm(ours - plain) < (0.03 if precision == "bfloat16" else 1e-4) * jnp.linalg.norm(plain)
