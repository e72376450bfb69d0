"""Which values may an option have, and which of Python's own is each?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from functa_store.config import whole


def keep_whole(config: Any, lowest: int, *names: str) -> None:
    """Check options of a frozen dataclass, and keep them as Python integers, which JSON takes.

    Raises:
        ConfigError: See `whole`.
    """
    for name in names:
        object.__setattr__(config, name, whole(name, getattr(config, name), lowest))


def plain(value: Any) -> Any:
    """Python's own numbers, in tuples."""
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return tuple(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value
