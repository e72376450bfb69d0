"""Matrix products of hidden layers in a chosen precision."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from functa_store.config import MatmulPrecision


def product(
    a: Float[Array, "rows inner"], b: Float[Array | np.ndarray, "inner columns"], precision: MatmulPrecision
) -> Float[Array, "rows columns"]:
    """Matrix product of two float32 matrices.

    Args:
        a: Left factor.
        b: Right factor.
        precision: "float32" everywhere; "tensorfloat32" rounds the factors to 10 bits of mantissa on
            accelerators that do so faster, and is float32 on a CPU; "bfloat16" rounds the factors to
            bfloat16 and sums in float32, on every device. The products of the derivatives are of the same kind.

    Returns:
        The product, float32.
    """
    if precision == "bfloat16":
        return _bfloat16_product(a, b)
    return jnp.matmul(a, b, precision=precision)


@jax.custom_vjp
def _bfloat16_product(a, b):
    return jnp.matmul(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def _forward(a, b):
    return _bfloat16_product(a, b), (a, b)


def _backward(factors, cotangent):
    # Derived by JAX, a float32 cotangent would meet a bfloat16 factor, which no tensor core multiplies.
    a, b = factors
    return _bfloat16_product(cotangent, b.T), _bfloat16_product(a.T, cotangent)


_bfloat16_product.defvjp(_forward, _backward)
