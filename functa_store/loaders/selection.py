"""Selection of examples by split or index, and checks of a loader's options."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from functa_store.config import whole
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.store.reading.rows import Index, as_array, places_of


def select(functaset: Functaset, split: str | None, index: Index | None) -> np.ndarray | None:
    """Places of the examples that a caller means; None stands for all.

    Raises:
        ConfigError: If both are given, or there is no such example.
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    if split is not None and index is not None:
        raise ConfigError(f"give either split or index, not both; got split={split!r}")
    if split is not None:
        return of_split(functaset, split)
    if index is None:
        return None
    found = as_array(places_of(functaset.store.path, index, len(functaset)))
    if len(found) == 0:
        raise ConfigError(f"{functaset.store.path}: no examples of this index, there are {len(functaset)}")
    return found


def of_split(functaset: Functaset, split: str) -> np.ndarray:
    """Places of the examples of a split.

    Raises:
        ConfigError: If there are none.
    """
    if not isinstance(split, str):
        raise ConfigError(f"split must be the name of one split, got {split!r}; take more of them by index=")
    splits = functaset.split[:]
    found = np.flatnonzero(splits == split)
    if len(found) == 0:
        raise ConfigError(
            f"{functaset.store.path}: no split {split!r}, there are {sorted(map(str, np.unique(splits)))}"
        )
    return found


def label_names(functaset: Functaset, labels: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the labels that a caller means; None stands for all.

    Raises:
        ConfigError: If there is no label of a name, or a name is given where a list of names is meant.
    """
    if isinstance(labels, str):
        raise ConfigError(f"labels must be a list of names, got {labels!r}; write [{labels!r}]")
    names = tuple(functaset.labels if labels is None else labels)
    if unknown := [name for name in names if name not in functaset.labels]:
        raise ConfigError(f"{functaset.store.path}: no labels {unknown}, there are {sorted(functaset.labels)}")
    return names


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
