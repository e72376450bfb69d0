"""May this process read and decode what another one opened?"""

import os

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
        """Refuse something that threads are needed for.

        Raises:
            ConfigError: In a forked process.
        """
        if os.getpid() != self._process:
            raise ConfigError(
                f"{what} is not possible in a forked process, in which threads are missing; start workers with "
                'multiprocessing_context="spawn" (torch), or use num_workers=0'
            )
