"""Settings of every test."""

import os

import hypothesis
import jax
import jaxtyping
import pytest

# As conversions run: a device per core. Before any test module starts JAX; a caller's own number stays.
if "--xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 2)

# A first example pays for compilation, which no deadline can know.
hypothesis.settings.register_profile("functa", deadline=None)
hypothesis.settings.load_profile("functa")


@pytest.fixture(scope="session", autouse=True)
def _compile_equal_programs_once(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    jax.config.update("jax_compilation_cache_dir", str(shared / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not enforced, as for users."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
