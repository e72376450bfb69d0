"""Refusal of work that needs threads which a forked process does not have."""

import os
import sys

from functa_store.errors import ConfigError


class Birthplace:
    """The process that an object was made in, or unpickled in.

    Threads do not survive a fork: whatever runs some, as JAX and clients of buckets do, waits for ever in the child.
    """

    def __init__(self) -> None:
        self._process = os.getpid()

    def __reduce__(self) -> tuple[type["Birthplace"], tuple[()]]:
        return Birthplace, ()

    def check(self, what: str) -> None:
        """Refuse something that threads of the object are needed for.

        Raises:
            ConfigError: In a forked process.
        """
        if os.getpid() != self._process:
            raise _refused(what)


def check_jax(what: str) -> None:
    """Refuse something that JAX is needed for; one that was forked before JAX began starts its own.

    Raises:
        ConfigError: In a process that was forked when JAX had begun.
    """
    if _forked_from_jax:
        raise _refused(what)


def _refused(what: str) -> ConfigError:
    return ConfigError(
        f"{what} is not possible in a forked process, in which threads are missing; start workers with "
        'multiprocessing_context="spawn" (torch), or use num_workers=0'
    )


_forked_from_jax = False


def _note_jax() -> None:
    """Remember whether JAX had threads, which it says nowhere in public."""
    global _forked_from_jax  # a fact about the process
    bridge = sys.modules.get("jax._src.xla_bridge")
    _forked_from_jax = bridge is not None and getattr(bridge, "backends_are_initialized", lambda: True)()


if hasattr(os, "register_at_fork"):  # elsewhere nothing forks
    os.register_at_fork(after_in_child=_note_jax)
