"""A forked process decodes, or says at once that it cannot."""

import os
import pickle
import subprocess
import sys

import pytest

from functa_store.errors import ConfigError
from functa_store.support.threads import Birthplace
from tests.decode.stores import write_store

DECODES_IN_A_CHILD = """
import os, sys, functa_store
fs = functa_store.open(sys.argv[1])
if sys.argv[2] == "before":
    fs.decode(0)
    import jax
elif sys.argv[2] == "elsewhere":
    import jax.numpy
    jax.numpy.zeros(1)
child = os.fork()
if not child:
    for decode in (lambda: fs.decode([1]), lambda: fs.decode_scattered([1], [[0.5, 0.5]]), lambda: fs.decoder):
        try:
            decode()
            print("decoded", flush=True)
        except functa_store.ConfigError as error:
            print("refused" if "spawn" in str(error) else error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize(
    ("jax_began", "outcome"), [("before", "refused"), ("elsewhere", "refused"), ("never", "decoded")]
)
def test_a_child_decodes_unless_jax_had_begun_when_it_was_forked(tmp_path, jax_began, outcome):
    write_store(tmp_path / "small.functa")
    command = [sys.executable, "-W", "ignore", "-c", DECODES_IN_A_CHILD, tmp_path / "small.functa", jax_began]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.split() == [outcome] * 3


def test_what_was_made_elsewhere_is_refused_and_what_was_unpickled_here_is_not(monkeypatch):
    birthplace, child = Birthplace(), os.getpid() + 1
    birthplace.check("reading from a bucket")
    monkeypatch.setattr(os, "getpid", lambda: child)
    with pytest.raises(ConfigError, match=r"reading from a bucket is not possible in a forked process.*spawn"):
        birthplace.check("reading from a bucket")
    pickle.loads(pickle.dumps(birthplace)).check("reading from a bucket")
