"""Several functasets of one base network as one, whose examples follow each other."""

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.store.format.spec import sha256_json
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Rows
from functa_store.store.storage.local import LocalObjects

Functasets = Functaset | Sequence[Functaset]
"""A functaset, or several of one base network, whose examples follow each other."""


def joined(functasets: Functasets) -> Functaset:
    """A functaset as it is; several as one, whose index counts on from each to the next.

    It has the labels that all of them have, with the same names of classes, and is decoded with the domain and features
    of the first.

    Raises:
        ConfigError: If there is none, or their base networks differ.
    """
    if isinstance(functasets, Functaset):
        return functasets
    several = list(functasets)
    if not several or not all(isinstance(one, Functaset) for one in several):
        raise ConfigError(f"expected a functaset, or a list of functasets that are open, got {functasets!r}")
    return several[0] if len(several) == 1 else Functaset(JoinedStore([one.store for one in several]))


class JoinedStore(StoreReader):
    """Several stores of one base network, as far as loaders, decoding and tables read them.

    Args:
        stores: At least one, in order.

    Attributes:
        odd_labels: Labels that not all of them have, or that have other names of classes in each.
        decodable: Whether all have the same domain and features.

    Raises:
        ConfigError: If their base networks differ.
    """

    def __init__(self, stores: Sequence[StoreReader]) -> None:
        first = stores[0]
        for store in stores:
            if store.spec.base_fingerprint != first.spec.base_fingerprint:
                raise ConfigError(
                    f"{store.path} has the base network {store.spec.base_fingerprint[:8]}, {first.path} has "
                    f"{first.spec.base_fingerprint[:8]}, in which modulations mean something else; load functasets of "
                    "one base network together, whose base_fingerprint is the same"
                )
        self._stores = list(stores)
        self._counts = [len(store) for store in stores]
        self.path = " + ".join(store.path for store in stores)
        self.objects = next(
            (store.objects for store in stores if not isinstance(store.objects, LocalObjects)), first.objects
        )
        specs = [store.spec for store in stores]
        self.spec = dataclasses.replace(
            first.spec,
            fingerprint=sha256_json([spec.fingerprint for spec in specs]),
            complete=all(spec.complete for spec in specs),
            quality={},
        )
        self.decodable = all((spec.domain, spec.features) == (first.spec.domain, first.spec.features) for spec in specs)
        self.modulations, self.mse = self._rows("modulations"), self._rows("mse")
        self.ids, self.split = self._rows("ids"), self._rows("split")
        named = sorted(set().union(*(store.labels for store in stores)))
        common = [name for name in first.labels if all(self._has_label(store, name) for store in stores)]
        self.labels = {name: _follow(f"{self.path}/{name}", [s.labels[name] for s in stores]) for name in common}
        self.label_names = {name: first.label_names[name] for name in common if name in first.label_names}
        self.odd_labels = [name for name in named if name not in common]
        self.metrics: Mapping[str, Rows] = {}
        self.augmentations = self._augmentations()

    @property
    def num_examples(self) -> int:
        """Examples of all of them."""
        return sum(self._counts)

    @functools.cached_property
    def base(self) -> dict[str, np.ndarray]:
        """That of the first one, which has the rates of its own fit."""
        return self._stores[0].base

    @property
    def bytes_per_example(self) -> int:
        """That of the one whose modulations are largest."""
        return max(store.bytes_per_example for store in self._stores)

    @functools.cached_property
    def statistics(self) -> dict[str, np.ndarray]:
        """Over all examples of all, per dimension or channel: `mean`, `std` (population), `min`, `max`, float32.

        Raises:
            StoreFormatError: If one is unfinished, or its statistics are missing or damaged.
        """
        parts = [store.statistics for store in self._stores]
        shares = np.array(self._counts, np.float64)[:, None] / self.num_examples
        means, stds = (np.array([part[name] for part in parts], np.float64) for name in ("mean", "std"))
        mean = (shares * means).sum(axis=0)
        std = np.sqrt((shares * (stds**2 + (means - mean) ** 2)).sum(axis=0))
        return {
            "mean": mean.astype(np.float32),
            "std": std.astype(np.float32),
            "min": np.min([part["min"] for part in parts], axis=0),
            "max": np.max([part["max"] for part in parts], axis=0),
        }

    def _has_label(self, store: StoreReader, name: str) -> bool:
        return name in store.labels and store.label_names.get(name) == self._stores[0].label_names.get(name)

    def _rows(self, name: str) -> Rows:
        return _follow(f"{self.path}/{name}", [getattr(store, name) for store in self._stores])

    def _augmentations(self) -> Mapping[str, Rows]:
        """Originals of all rows, as they are counted here."""
        if not any(store.augmentations for store in self._stores):
            return {}
        originals = []
        for store, start in zip(self._stores, np.cumsum([0, *self._counts]), strict=False):
            of = store.augmentations["of"][:] if store.augmentations else np.arange(len(store))
            originals.append(np.where(of < 0, of, of + start).astype(np.int64))
        of = np.concatenate(originals)
        return {"of": Rows(f"{self.path}/of", of.shape, of.dtype, functools.partial(np.asarray, of))}


def odd_labels(functaset: Functaset) -> list[str]:
    """Labels that not all functasets of a joined one have, or that have other names of classes in each."""
    return functaset.store.odd_labels if isinstance(functaset.store, JoinedStore) else []


def is_decodable(functaset: Functaset) -> bool:
    """Whether all functasets of a joined one have the same domain and features."""
    return not isinstance(functaset.store, JoinedStore) or functaset.store.decodable


def _follow(name: str, parts: Sequence[Rows]) -> Rows:
    """Rows of several arrays, one after the other."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    return Rows(name, shape, np.result_type(*(part.dtype for part in parts)), functools.partial(_Following, parts))


class _Following:
    """Reads rows of several arrays as if they were one.

    Args:
        parts: The arrays, of which copies are opened, since whoever opens them may let them go.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = [copy.copy(part) for part in parts]
        self._starts = np.cumsum([0, *map(len, parts)])

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        places = np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, slice) else rows
        which = np.searchsorted(self._starts, places, side="right") - 1
        dtype, found = np.result_type(*(part.dtype for part in self._parts)), None
        for number in np.unique(which):
            mine = np.flatnonzero(which == number)
            values = self._parts[number][places[mine] - self._starts[number]]
            if len(mine) == len(places):
                return values.astype(dtype, copy=False)
            if found is None:
                found = np.empty((len(places), *values.shape[1:]), dtype)
            found[mine] = values
        assert found is not None, "rows to read are at least one"
        return found
