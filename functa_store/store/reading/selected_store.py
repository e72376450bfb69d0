"""Some examples of a store as a store of their own, and which examples are meant: by split, labels, ids or index."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from functa_store.errors import ConfigError
from functa_store.metrics import moments
from functa_store.sources.source import Reject
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.spec import ExamplesSummary, Quality, sha256_json
from functa_store.store.reading.joined_store import origin_of, quality_of, rows_in_memory
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.records import FileTotals
from functa_store.store.reading.rows import ChosenRows, Index, Rows, as_array, places_of
from functa_store.store.storage.objects import Objects
from functa_store.support.shortening import brief

ROWS_AT_A_TIME = 16384

MOST_CHARACTERS = 500
"""Of reasons in a message."""

Where = Mapping[str, Any]
"""Labels by name, each with a value or several, one of which it must have; classes by their names or numbers."""


class SelectedStore(StoreReader):
    """Some examples of a store, read where they lie; nothing is copied.

    An augmentation whose original is not among them says -1 of it.

    Args:
        store: The store.
        chosen: Which of its examples, each once, in the order that they are to have.

    Attributes:
        store: The store, which is no selection itself.
        chosen: Places of the examples there.

    Raises:
        ConfigError: If an example is chosen twice.
    """

    def __init__(self, store: StoreReader, chosen: np.ndarray) -> None:
        if isinstance(store, SelectedStore):
            store, chosen = store.store, store.chosen[chosen]
        if len(np.unique(chosen)) < len(chosen):
            values, counts = np.unique(chosen, return_counts=True)
            raise ConfigError(f"{store.path}: example {values[counts > 1][0]} is chosen twice; name each once")
        self.store, self.chosen = store, chosen
        self.verifies, self.alone = store.verifies, False
        self.path = f"{store.path} ({len(chosen)} of its {len(store)} examples)"
        self.decodable, self.odd_labels, self.label_names = store.decodable, store.odd_labels, store.label_names
        self.modulations, self.mse = self._of(store.modulations), self._of(store.mse)
        self.ids, self.split = self._of(store.ids), self._of(store.split)
        self.labels = {name: self._of(rows) for name, rows in store.labels.items()}
        self.metrics_table = None if store.metrics_table is None else self._of(store.metrics_table)
        self.metrics = {name: self._of(rows) for name, rows in store.metrics.items()}
        self.augmentations = self._augmentations()
        digest = hashlib.sha256(np.ascontiguousarray(chosen, np.dtype("<i8")).tobytes()).hexdigest()
        self.spec = dataclasses.replace(
            store.spec,
            fingerprint=sha256_json([store.spec.fingerprint, digest]),
            complete=True,
            examples=ExamplesSummary(count=len(chosen), sha256=sha256_json([store.spec.examples.sha256, digest])),
            provenance={**store.spec.provenance, "subset_of": {**origin_of(store), "chosen": digest}},
            quality={},
            manifest={},
        )

    @property
    def objects(self) -> Objects:
        """Refused.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"{self.path}: a selection, which lies in no place of its own; write it by functa_store.subset first"
        )

    @property
    def places(self) -> list[Objects]:
        """Where the store lies."""
        return self.store.places

    def reopened(self, *, verify: bool) -> "SelectedStore":
        """The same, opened again."""
        return SelectedStore(self.store.reopened(verify=verify), self.chosen)

    @property
    def num_examples(self) -> int:
        """Number of the chosen ones."""
        return len(self.chosen)

    @functools.cached_property
    def base(self) -> dict[str, np.ndarray]:
        """The store's."""
        return self.store.base

    @functools.cached_property
    def stored_base(self) -> dict[str, np.ndarray]:
        """The store's."""
        return self.store.stored_base

    @functools.cached_property
    def rounding(self) -> Rounding:
        """The store's."""
        return self.store.rounding

    @functools.cached_property
    def rejects(self) -> list[Reject]:
        """None: what was skipped was not chosen."""
        return []

    @property
    def quality(self) -> Mapping[str, Quality]:
        """How well each split was fitted, from all errors of the chosen ones, which are read for it."""
        return quality_of(self)

    @functools.cached_property
    def sizes(self) -> Mapping[str, FileTotals]:
        """The store's."""
        return self.store.sizes

    @property
    def bytes_base(self) -> int:
        """The store's."""
        return self.store.bytes_base

    @property
    def bytes_per_example(self) -> int:
        """The store's."""
        return self.store.bytes_per_example

    @functools.cached_property
    def statistics(self) -> dict[str, np.ndarray]:
        """As of a store, of the chosen examples alone, which are read for it, a few at a time."""
        return moments(self._blocks())

    def _blocks(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), ROWS_AT_A_TIME):
            yield self.modulations[start : start + ROWS_AT_A_TIME].reshape(-1, self.spec.config.network.cell_size)

    def _of(self, rows: Rows) -> Rows:
        name = f"{self.path}/{rows.name.rpartition('/')[2]}"
        open_table = functools.partial(ChosenRows, rows, self.chosen)
        return Rows(name, (len(self.chosen), *rows.shape[1:]), rows.dtype, open_table)

    def _augmentations(self) -> Mapping[str, Rows]:
        if not self.store.augmentations:
            return {}
        places = np.full(len(self.store) + 1, -1, np.int64)
        places[self.chosen] = np.arange(len(self.chosen))
        of = places[self.store.augmentations["of"][:][self.chosen]]  # the last place is that of -1
        if (of == np.arange(len(of))).all():
            return {}
        others = {name: self._of(rows) for name, rows in self.store.augmentations.items() if name != "of"}
        return {"of": rows_in_memory(f"{self.path}/of", of)} | others


def matching(
    store: StoreReader,
    *,
    split: str | None = None,
    index: Index | None = None,
    where: Where | None = None,
    ids: Sequence[str] | None = None,
) -> np.ndarray | None:
    """Places of the examples that a caller means, in the order of the ids or the index; None stands for all.

    Args:
        store: Where they are.
        split: Only those of this split.
        index: Only these.
        where: Only those with these labels.
        ids: Only these.

    Raises:
        ConfigError: If there is no such example, label or class.
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    if split is None and index is None and where is None and ids is None:
        return None
    found = np.arange(len(store))
    if ids is not None:
        found = _of_ids(store, ids)
    if index is not None:
        chosen = as_array(places_of(store.path, index, len(store)))
        if len(chosen) == 0:
            raise ConfigError(f"{store.path}: no examples of this index, there are {len(store)}")
        found = chosen if ids is None else found[np.isin(found, chosen)]
    if split is not None:
        found = found[np.isin(found, of_split(store, split))]
    if where is not None and not isinstance(where, Mapping):
        raise ConfigError(f"where must be a dictionary of labels, such as {{'digit': [3, 8]}}, got {where!r}")
    for name, wanted in (where or {}).items():
        values = _values(store, name, wanted)
        found = found[np.isin(np.asarray(store.labels[name])[found], values)]
    if len(found) == 0:
        asked = [f"split={split!r}"] * (split is not None) + ["index="] * (index is not None)
        asked += ["ids="] * (ids is not None) + ([] if where is None else [f"where={dict(where)}"])
        raise ConfigError(f"{store.path}: no example is of all of {', '.join(asked)}; ask for less")
    return found


def _of_ids(store: StoreReader, ids: Sequence[str]) -> np.ndarray:
    """Places of examples by their ids.

    Raises:
        ConfigError: If there is none of an id, or a name is given where a list of names is meant.
    """
    if isinstance(ids, str):
        raise ConfigError(f"ids must be a list of ids, got {ids!r}; write [{ids!r}]")
    wanted, names = [str(name) for name in ids], np.asarray(store.ids)
    if not wanted:
        raise ConfigError(f"{store.path}: no ids were given, expected one at least")
    places = {str(name): place for place, name in enumerate(names.tolist())}
    if unknown := [name for name in wanted if name not in places]:
        shown = ", ".join(map(repr, unknown[:3]))
        raise ConfigError(f"{store.path}: found no example of {len(unknown)} of these ids, such as {shown}")
    return np.array([places[name] for name in wanted], np.int64)


def _values(store: StoreReader, name: str, wanted: Any) -> np.ndarray:
    """Values of a label that are wanted, as they are stored.

    Raises:
        ConfigError: If there is no such label or class, or the label has values of another kind.
    """
    (name,) = label_names(store, [name])
    is_one = not isinstance(wanted, Iterable) or isinstance(wanted, str | bytes) or getattr(wanted, "ndim", 1) == 0
    given: list[Any] = [wanted] if is_one else list(wanted)
    values = [value.item() if hasattr(value, "item") else value for value in given]
    classes, dtype = store.label_names.get(name, ()), store.labels[name].dtype
    if dtype.kind not in "UTO":
        if unknown := [value for value in values if isinstance(value, str) and value not in classes]:
            has = f"classes {list(classes)}" if classes else f"{dtype} without names"
            raise ConfigError(f"{store.path}: label {name!r} has no {unknown}, but {has}")
        values = [classes.index(value) if isinstance(value, str) else value for value in values]
    if odd := [value for value in values if not isinstance(value, str | Real)]:
        raise ConfigError(
            f"{store.path}: label {name!r} is compared with numbers and names of classes, one or several, got "
            f"{brief(odd[0])}"
        )
    return np.array(values)


def of_split(store: StoreReader, split: str) -> np.ndarray:
    """Places of the examples of a split.

    Raises:
        ConfigError: If there are none.
    """
    if not isinstance(split, str):
        raise ConfigError(f"split must be the name of one split, got {split!r}; take more of them by index=")
    splits = store.split[:]
    found = np.flatnonzero(splits == split)
    if len(found) == 0:
        raise ConfigError(f"{store.path}: no split {split!r}, there are {sorted(map(str, np.unique(splits)))}")
    return found


def label_names(store: StoreReader, labels: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the labels that a caller means; None stands for all.

    Raises:
        ConfigError: If there is no label of a name, or a name is given where a list of names is meant.
    """
    if isinstance(labels, str):
        raise ConfigError(f"labels must be a list of names, got {labels!r}; write [{labels!r}]")
    if labels is None and store.odd_labels:
        reasons = "; ".join(f"{name!r}: {why}" for name, why in store.odd_labels.items())[:MOST_CHARACTERS]
        raise ConfigError(
            f"{store.path}: labels {sorted(store.odd_labels)} are not those of all examples ({reasons}); name those "
            f"that batches are to hold by labels=, such as labels={sorted(store.labels)}"
        )
    names = tuple(store.labels if labels is None else labels)
    if unknown := [name for name in names if name not in store.labels]:
        raise ConfigError(f"{store.path}: no labels {unknown}, there are {sorted(store.labels)}")
    return names
