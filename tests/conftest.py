"""Settings of every test."""

import hypothesis
import jax
import pytest

# A first example pays for compilation, which no deadline can know.
hypothesis.settings.register_profile("functa", deadline=None)
hypothesis.settings.load_profile("functa")


@pytest.fixture(scope="session", autouse=True)
def _compile_equal_programs_once(tmp_path_factory):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
