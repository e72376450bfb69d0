"""What is in a store, and is it all there?"""

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorstore
import zarr

from functa_store.config import differences, to_dict
from functa_store.errors import StoreFormatError
from functa_store.sources import Reject
from functa_store.store.base import base_problems, describe_array
from functa_store.store.disk import files_below, record
from functa_store.store.layout import ROW_DTYPE
from functa_store.store.receipts import Receipts
from functa_store.store.rows import Rows
from functa_store.store.skeleton import table_chunks
from functa_store.store.spec import StoreSpec, load_spec

CACHE_BYTES = 64 * 1024**2


class StoreReader:
    """An open functaset, checked against its own description; reads arrays when they are asked for.

    An unfinished store can be opened, but its modulations and errors cannot be read.

    Args:
        path: The store.

    Attributes:
        path: The store.
        spec: All it says about itself.
        format_version: Version of the format.
        complete: Whether every example has been fitted.
        num_examples: Number of examples.
        domain: Where the examples were sampled.
        features: What their values mean.
        config: The conversion.
        provenance: Facts about the archive.
        reference: Figures to compare with.
        quality: Examples and PSNR by split; empty while unfinished.
        modulations: One modulation per example, float32.
        mse: Mean squared error of each fit, float32, in the squared unit of the features.
        ids: Name of each example.
        split: Split of each example.
        labels: Named labels, one value per example.
        label_names: What the integers 0, 1, ... of a label stand for, where it has names.

    Raises:
        StoreFormatError: If there is no functaset that this release can read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.spec = spec = load_spec(self.path)
        self.format_version, self.complete = spec.format_version, spec.complete
        self.num_examples = spec.examples.count
        self.domain, self.features, self.config = spec.domain, spec.features, spec.config
        self.provenance, self.reference, self.quality = spec.provenance, spec.reference, spec.quality
        _check_tables(self.path, spec)
        self.modulations = self._table("modulations", (self.num_examples, self.config.network.modulation_size))
        self.mse = self._table("mse", (self.num_examples,))
        self.ids, self.split = self._column("id"), self._column("split")
        labels = _label_names(self.path, spec)
        self.labels: Mapping[str, Rows] = {name: self._column(f"labels/{name}") for name in labels}
        names = {name: _array(self.path, f"labels/{name}").attrs.get("names") for name in labels}
        self.label_names: Mapping[str, tuple[str, ...]] = {
            name: tuple(map(str, values)) for name, values in sorted(names.items()) if isinstance(values, list)
        }

    def __repr__(self) -> str:
        state = "complete" if self.complete else "unfinished"
        return f"<StoreReader {self.path}: {self.num_examples} examples, {state}>"

    @functools.cached_property
    def base(self) -> dict[str, np.ndarray]:
        """The base weights and inner-loop rates by name.

        Raises:
            StoreFormatError: If an array is missing, damaged or not of this network.
        """
        base = {name: _values(self.path, f"base/{name}") for name in self.spec.base}
        found = {name: describe_array(array) for name, array in base.items()}
        problems = [f"base/{name} is damaged" for name, described in self.spec.base.items() if found[name] != described]
        problems += base_problems(base, self.config.network, self.domain.num_axes, self.features.num_channels)
        if problems:
            raise StoreFormatError(f"{self.path}: {'; '.join(problems)}. Copy the store again, or convert again.")
        return base

    @functools.cached_property
    def rejects(self) -> list[Reject]:
        """The members of the archive that were skipped."""
        fields = [_read_column(self.path, self.spec, f"rejects/{field}") for field in ("member", "reason")]
        return [Reject(member=str(member), reason=str(reason)) for member, reason in zip(*fields, strict=True)]

    @property
    def num_done(self) -> int:
        """Examples whose modulation is on disk."""
        if self.complete:
            return self.num_examples
        receipts = Receipts(self.path, self.spec.fingerprint)
        return sum(len(shard) for shard in self.spec.layout.shards(self.num_examples) if receipts.read(shard))

    @property
    def bytes_total(self) -> int:
        """Bytes of all files of the store."""
        return sum(file.stat().st_size for file in files_below(self.path).values())

    @property
    def bytes_base(self) -> int:
        """Bytes of the base's files, compressed as they are."""
        return sum(file.stat().st_size for file in files_below(self.path / "base").values())

    @property
    def bytes_per_example(self) -> int:
        """Bytes of one stored modulation: what another example costs."""
        return self.config.network.modulation_size * ROW_DTYPE.itemsize

    def verify(self) -> None:
        """Read every file and compare it with the manifest.

        Raises:
            StoreFormatError: If the store is unfinished, or a file is missing, changed or foreign.
        """
        _require_complete(self.path, self.spec)
        files = files_below(self.path)
        found = {key: to_dict(record(files[key].read_bytes())) for key in files if key != "zarr.json"}
        damaged = list(differences(found, {key: to_dict(file) for key, file in self.spec.manifest.items()}))
        if damaged:
            raise StoreFormatError(f"{self.path}: {'; '.join(damaged[:5])}. Copy the store again, or convert again.")

    def _table(self, name: str, shape: tuple[int, ...]) -> Rows:
        return Rows(f"{self.path}/{name}", shape, np.dtype(np.float32), functools.partial(_Shards, self.path, name))

    def _column(self, name: str) -> Rows:
        array = _array(self.path, name)
        if array.shape != (self.num_examples,):
            raise _unexpected(self.path, name, f"shape {array.shape}", f"({self.num_examples},)")
        read = functools.partial(_read_column, self.path, self.spec, name)
        return Rows(f"{self.path}/{name}", array.shape, array.dtype, read)


class _Shards:
    """A sharded array through TensorStore, in which a missing chunk is an error and never fill values."""

    def __init__(self, path: Path, name: str) -> None:
        _require_complete(path, load_spec(path))
        self._name = f"{path}/{name}"
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(path.absolute() / name)},
            "fill_missing_data_reads": False,
            "recheck_cached_data": "open",
            "context": {"cache_pool": {"total_bytes_limit": CACHE_BYTES}},
        }
        with self._named_errors():
            self._store = tensorstore.open(spec, open=True, read=True).result()

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        with self._named_errors():
            return self._store[rows].read().result()

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise StoreFormatError(
                f"{self._name}: a shard is missing or damaged: {error}. Copy the store again, or convert again."
            ) from error


def _read_column(path: Path, spec: StoreSpec, name: str) -> np.ndarray:
    """A small array as a whole, its files checked against the manifest of a complete store."""
    for key, expected in spec.manifest.items():
        file = path / key
        if key.startswith(f"{name}/") and (not file.exists() or record(file.read_bytes()) != expected):
            raise StoreFormatError(f"{file}: missing or damaged. Copy the store again, or convert again.")
    return _values(path, name)


def _values(path: Path, name: str) -> np.ndarray:
    try:
        return np.asarray(_array(path, name)[...])
    except (OSError, RuntimeError) as error:  # numcodecs raises RuntimeError for torn zstd frames
        raise StoreFormatError(f"{path}/{name}: damaged ({error}). Copy the store again, or convert again.") from error


def _label_names(path: Path, spec: StoreSpec) -> list[str]:
    """Names of the labels: those that the manifest of a complete store lists, else those that are there."""
    suffix = "/zarr.json"
    files = spec.manifest if spec.complete else files_below(path)
    found = [key.removeprefix("labels/").removesuffix(suffix) for key in files if key.startswith("labels/")]
    return sorted(name for name in found if "/" not in name and f"labels/{name}{suffix}" in files)


def _array(path: Path, name: str) -> zarr.Array:
    try:
        return zarr.open_array(path / name, mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(f"{path}/{name}: no readable array. Copy the store again, or convert again.") from error


def _check_tables(path: Path, spec: StoreSpec) -> None:
    size = spec.config.network.modulation_size
    for name, (shards, chunks) in table_chunks(spec.layout, size).items():
        array = _array(path, name)
        expected = ((spec.examples.count, *shards[1:]), ROW_DTYPE, shards, chunks)
        found = (array.shape, array.dtype, array.shards, array.chunks)
        if found != expected:
            raise _unexpected(path, name, f"shape, dtype, shards and chunks {found}", str(expected))


def _unexpected(path: Path, name: str, found: str, expected: str) -> StoreFormatError:
    return StoreFormatError(
        f"{path}/{name}: {found}, expected {expected}; two conversions were mixed. Convert again into an empty path."
    )


def _require_complete(path: Path, spec: StoreSpec) -> None:
    if not spec.complete:
        raise StoreFormatError(
            f"{path}: unfinished store. Run the conversion again with the same archive and options to finish it."
        )
