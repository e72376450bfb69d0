"""A batch spread over several devices is the batch on one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from functa_store.learn.parallel import spread

ON_FOUR = """
import jax, numpy as np, sys
jax.config.update("jax_num_cpu_devices", 4)
from tests.learn.test_parallel import result
assert jax.local_device_count() == 4
np.savez(sys.argv[1], *result(12), *result(6), *result(5))
"""


def result(batch):
    def function(shared, x):
        return jnp.sin(shared * x), {"sum": x**2}

    rows = jnp.arange(3.0 * batch).reshape(batch, 3)
    kept, summed = jax.jit(lambda x: spread(function, jnp.float32(2), (x,)))(rows)
    return np.asarray(kept), np.asarray(summed["sum"])


def test_every_number_of_devices_gives_the_same(tmp_path):
    out = tmp_path / "four.npz"
    subprocess.run([sys.executable, "-c", ON_FOUR, out], check=True)
    expected = [*result(12), *result(6), *result(5)]
    with np.load(out) as four:
        for name, alone in zip(four.files, expected, strict=True):
            np.testing.assert_allclose(four[name], alone, rtol=1e-6)
    rows = np.arange(36.0).reshape(12, 3)
    np.testing.assert_allclose(expected[0], np.sin(2 * rows), atol=1e-5)
    np.testing.assert_allclose(expected[1], (rows**2).sum(axis=0))
