"""Functaset and Example: a store as its readers see it, with checks of the points that they choose."""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Shaped
from numpy.typing import ArrayLike

from functa_store.config import ConvertConfig
from functa_store.decode.descriptions import functaset_html, summary
from functa_store.decode.free_modulations import Inverse, check_modulations, is_free, keys_of
from functa_store.decode.grid_cache import DEFAULT_CACHE_BYTES, GridCache
from functa_store.domains.cells import AXIS_POINT_BYTES, GridPoints, Region
from functa_store.domains.domain import Domain, inputs_of, network_inputs
from functa_store.errors import ConfigError, ExampleIndexError, GridError
from functa_store.metrics import psnr
from functa_store.sources.features import FeatureSpec
from functa_store.store.format.spec import StoreSpec
from functa_store.store.reading.joined_store import JoinedStore, open_store
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Index, Rows, as_array, places_of
from functa_store.store.reading.selected_store import SelectedStore, Where, matching
from functa_store.store.storage.objects import NO_OPTIONS, Location, Objects, StorageOptions
from functa_store.support.memory import available_bytes, gibibytes
from functa_store.support.threads import check_jax

if TYPE_CHECKING:
    import tensorstore as ts

    from functa_store.conversion.encoder import Encoded, Encoder
    from functa_store.decode.tiled_decoder import Decoder, RayDecoder, TiledDecoder


Coords = Float[np.ndarray, "points axes"] | Sequence[Sequence[float]]
"""One row per point, each component in the order of the domain's axes."""


class Stored:
    """The part of a functaset that is read, not decoded.

    Args:
        store: The open store.

    Attributes:
        store: The same; what is not named here is there.
    """

    def __init__(self, store: StoreReader) -> None:
        self.store = store

    def __len__(self) -> int:
        return self.store.num_examples

    @property
    def objects(self) -> Objects:
        """Where the store lies."""
        return self.store.objects

    @property
    def modulations(self) -> Rows:
        """The modulations, read when indexed: (example, modulation), or (example, *cells, channel) of a grid."""
        return self.store.modulations

    @property
    def mse(self) -> Rows:
        """Mean squared error of each example's fit, unclipped; read when indexed."""
        return self.store.mse

    @property
    def metrics(self) -> Mapping[str, Rows]:
        """What else is kept of each example's fit, such as "iou"; read when indexed, not a number where it has none."""
        return self.store.metrics

    @property
    def psnr(self) -> np.ndarray:
        """PSNR of each example's fit in decibels."""
        return psnr(self.mse[:], self.store.spec.features.span)

    @property
    def ids(self) -> Rows:
        """Name of each example in its archive."""
        return self.store.ids

    @property
    def split(self) -> Rows:
        """Split of each example: "train", "validation" or "test"."""
        return self.store.split

    @property
    def labels(self) -> Mapping[str, Rows]:
        """Every label by name, one value per example; read when indexed."""
        return self.store.labels

    @property
    def label_names(self) -> Mapping[str, tuple[str, ...]]:
        """What the integers 0, 1, ... of a label stand for, by the name of the label, where it has names."""
        return self.store.label_names

    @property
    def augmentations(self) -> Mapping[str, Rows]:
        """Which examples are augmentations of others, one value per example, read when indexed; empty if none is.

        "of": index of the original, its own of an original (-1 in an unfinished functaset whose original is not there
        yet); "flip": whether left and right are exchanged; "top", "left", "side": the part of the original's window
        that was cut out, its upper and left edge and its size as fractions of the window (0, 0 and 1 of originals).
        """
        return self.store.augmentations

    @property
    def base(self) -> dict[str, np.ndarray]:
        """The base weights by name, such as "sine_0/kernel", and the inner loop's rates."""
        return self.store.base

    @property
    def base_fingerprint(self) -> str:
        """SHA-256 of the network and its weights: where it is the same, so is what modulations mean."""
        return self.store.spec.base_fingerprint

    @property
    def spec(self) -> StoreSpec:
        """The whole description: provenance, quality by split, layout and more."""
        return self.store.spec

    @property
    def domain(self) -> Domain:
        """Where the examples were sampled."""
        return self.store.spec.domain

    @property
    def features(self) -> FeatureSpec:
        """What decoded values mean: channels, units, data range."""
        return self.store.spec.features

    @property
    def config(self) -> ConvertConfig:
        """The whole configuration of the conversion."""
        return self.store.spec.config


Which = Index | Float[np.ndarray, "..."]
"""Examples of a functaset by their index; or modulations that are in no store: an array of floats, unlike an index."""

VectorsOf = Callable[[np.ndarray], np.ndarray]
"""The numbers of the modulations of some rows, (rows, numbers)."""

POINTS_AT_ONCE = 2**18
"""Points that are looked up in a domain's mask together."""


def open_functaset(
    path: Location,
    *,
    storage: StorageOptions = NO_OPTIONS,
    verify: bool = False,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> "Functaset":
    """Open a functaset; nothing but its description is read until it is asked for.

    An unfinished one holds the examples that were finished when it was opened.

    Args:
        path: The store: a path or a URL (s3://, gs://, http(s)://, memory://).
        storage: How to reach the store.
        verify: Compare the checksum of each shard when it is first touched; everything else always is.
        cache_bytes: Most bytes of decoded grids that are kept in memory, 256 MiB unless given; those that
            were not used for longest go first. 0 keeps none.

    Raises:
        ConfigError: If a URL or the number of bytes makes no sense.
        StoreFormatError: If there is no functaset that this release can read.
        StorageError: If the place cannot be read.
    """
    return Functaset(open_store(path, storage=storage, verify=verify), cache_bytes=cache_bytes)


def concat(
    functasets: "Sequence[Functaset | Location]",
    *,
    storage: StorageOptions = NO_OPTIONS,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> "Functaset":
    """Several functasets of one base network as one, whose examples follow each other; nothing is copied.

    It reads, decodes and loads as one functaset does. It has the labels that all of them have, with the same names of
    classes. Where they lie on a disk in one data type, a batch is read as fast as of one functaset.

    Args:
        functasets: At least one, each open, or where it is.
        storage: How to reach those that are not open.
        cache_bytes: As for `functa_store.open`.

    Raises:
        ConfigError: If there is none, base networks, domains or features differ, or two examples have one id.
        StoreFormatError: If at a location there is no functaset that this release can read.
        StorageError: If a location cannot be read.
    """
    if isinstance(functasets, str | Functaset) or not (several := list(functasets)):
        raise ConfigError(f"expected a list of functasets, or of paths of some, got {functasets!r}")
    store = JoinedStore([opened(one, storage).store for one in several])
    store.check_disjoint()
    return Functaset(store, cache_bytes=cache_bytes)


def opened(functaset: "Functaset | Location", storage: StorageOptions = NO_OPTIONS) -> "Functaset":
    """A functaset that is open already, or else the one at a location; errors as for `open_functaset`."""
    return functaset if isinstance(functaset, Functaset) else open_functaset(functaset, storage=storage)


def chosen_examples(functaset: "Functaset", which: Which) -> np.ndarray:
    """Places of the examples that are meant, (examples,); or modulations that were given instead, one per example.

    Raises:
        ConfigError: If these are none of the functaset's.
        ExampleIndexError: If an index names no example.
    """
    if is_free(which):
        return check_modulations(functaset.store.path, functaset.config.network, which)
    return as_array(places_of(functaset.store.path, which, len(functaset)))  # type: ignore[arg-type]  # no floats


def decode_chosen(functaset: "Functaset", which: Which, *args: Any, **options: Any) -> np.ndarray:
    """Values of examples of a functaset, or of modulations; arguments as for `Functaset.decode`."""
    decode = functaset.decode_modulations if is_free(which) else functaset.decode
    return decode(which, *args, **options)  # type: ignore[arg-type]  # what each takes


def chosen_modulation(functaset: "Functaset", which: Which) -> np.ndarray:
    """The modulation of one example, or the one that was given instead.

    Raises:
        ConfigError: If several modulations were given, or none of the functaset's.
        ExampleIndexError: If there is no such example.
    """
    if not is_free(which):
        return functaset[which].modulation  # type: ignore[index]  # checked there
    rows = chosen_examples(functaset, which)
    if len(rows) != 1:
        raise ConfigError(f"{functaset.store.path}: found {len(rows)} modulations, expected one; give them one by one")
    return rows[0]


class Functaset(Stored):
    """A dataset stored as functions: one modulation per example, one base network for all.

    Args:
        store: The open store.
        cache_bytes: Most bytes of decoded grids that are kept.

    Attributes:
        store: The open store; what is not named here is there.
        cache: The decoded grids that are kept.

    Raises:
        ConfigError: If the number of bytes makes no sense.
    """

    def __init__(self, store: StoreReader, *, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        super().__init__(store)
        self.cache = GridCache(cache_bytes)
        self._lock = threading.Lock()
        self._tiled: TiledDecoder | None = None
        self._encoder: Encoder | None = None

    def __getitem__(self, index: int) -> "Example":
        """One example.

        Raises:
            ExampleIndexError: If there is none of that index; several are chosen by `decode`.
        """
        if not hasattr(index, "__index__") or not -len(self) <= index < len(self):
            raise ExampleIndexError(f"{self.store.path}: example {index!r} does not exist; there are {len(self)}")
        return Example(functaset=self, index=range(len(self))[index])

    def __iter__(self) -> Iterator["Example"]:
        return (Example(functaset=self, index=index) for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "cache_bytes": self.cache.limit}  # compiled functions are made anew

    def __dask_tokenize__(self) -> tuple[str, str, int]:
        return type(self).__qualname__, self.store.spec.fingerprint, len(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["store"], cache_bytes=state["cache_bytes"])

    def __repr__(self) -> str:
        return f"<Functaset {' · '.join(summary(self))}>"

    def _repr_html_(self) -> str:
        return functaset_html(self)

    def inputs(self, positions: Float[np.ndarray, "*points axes"]) -> Float32[np.ndarray, "*points inputs"]:
        """What the base network is given of positions: `domain.inputs`, or for grids of modulations fractions of axes.

        Args:
            positions: Along the axes of the domain, as `domain.coords` gives them.
        """
        return inputs_of(self.domain, self.config.network, positions)

    def select(
        self,
        *,
        where: Where | None = None,
        split: str | None = None,
        ids: Sequence[str] | None = None,
        index: Index | None = None,
    ) -> "Functaset":
        """Some of the examples as a functaset, read where they lie; nothing is copied.

        It reads, decodes and loads as any functaset does, counts its examples from 0, and its statistics are those of
        its examples. `functa_store.subset` writes it. Where several conditions are given, all must hold.

        Args:
            where: Labels by name, each with a value or several, of which an example must have one; classes by their
                names or numbers.
            split: "train", "validation" or "test".
            ids: Names of examples, in the order that they are to have.
            index: Examples by their place, in the order that they are to have if there are no ids; see `decode`.

        Raises:
            ConfigError: If there is no such example, label, class or split, or one is named twice.
            ExampleIndexError: If the index is of another kind, or names an example that is not there.
        """
        chosen = matching(self.store, split=split, index=index, where=where, ids=ids)
        if chosen is None:
            return self
        return Functaset(SelectedStore(self.store, chosen), cache_bytes=self.cache.limit)

    @property
    def decoder(self) -> "Decoder":
        """Pure, jitted and differentiable: (base, modulations, inputs) -> features; see `make_decoder`.

        `inputs` makes its inputs of positions, and `features.to_values` values of what it gives.

        Raises:
            ConfigError: In a process that was forked when JAX had begun.
        """
        check_jax("decoding")
        from functa_store.decode.tiled_decoder import (
            make_decoder,  # imports JAX, which reading modulations does without
        )

        inputs = network_inputs(self.domain, self.config.network)
        return make_decoder(self.config.network, inputs, self.features.num_channels, self.domain.closed)

    @property
    def ray_decoder(self) -> "RayDecoder":
        """Pure, jitted and differentiable, of scenes: (base, modulations, origins, directions) -> colours along rays.

        Shapes are (examples, *shape of a modulation), (examples, rays, 3) twice, and (examples, rays, 3). Origins are
        x, y, z in the world, directions unit vectors; colours are in front of white, and not clipped.

        Raises:
            ConfigError: If the functaset holds no scenes, or in a process that was forked when JAX had begun.
        """
        if (scene := self.domain.scene) is None:
            raise ConfigError(
                f"{self.store.path}: holds examples over {self.domain.axes}, expected scenes, through which rays go; "
                "use decoder"
            )
        check_jax("decoding")
        from functa_store.decode.tiled_decoder import make_ray_decoder

        return make_ray_decoder(self.config.network, scene)

    @property
    def tiled_decoder(self) -> "TiledDecoder":
        """What `decode` evaluates points with; counts them.

        Raises:
            ConfigError: In a process that was forked when JAX had begun.
        """
        check_jax("decoding")
        with self._lock:  # threads that come together share one
            if self._tiled is None:
                from functa_store.decode.tiled_decoder import TiledDecoder

                self._tiled = TiledDecoder(self.config.network, self.base, self.domain, self.features.num_channels)
            return self._tiled

    def decode(
        self,
        index: Index,
        resolution: int | Sequence[int] | None = None,
        *,
        region: Region | None = None,
        coords: GridPoints | Coords | None = None,
        clip: bool = True,
    ) -> Float32[np.ndarray, "examples ..."]:
        """Values of some examples on a grid, or at points of the caller's choice.

        The first call at few points of an example compiles, and the first one at many; no other does, of
        whatever size. Grids are kept as long as the cache has room, and decoded again once they are gone.

        Args:
            index: Which examples; see `Index`.
            resolution: Points inside the region, one number for all axes or one per axis; None
                keeps the spacing of the archive.
            region: Per axis (low, high), in [0, 1] or degrees; None means the whole domain.
            coords: Points instead, one row each, or a grid of the caller's own.
            clip: Clip to the ranges of the values; False keeps what the network gives beyond them.

        Returns:
            Shape (examples, *resolution, channels), or (examples, points, channels) at points; the
            examples' axis is there for a single index, too.

        Raises:
            ConfigError: In a process that was forked when JAX had begun.
            ExampleIndexError: If the index names no example.
            GridError: If resolution, region or points do not fit the domain, or the result does not fit
                into memory.
        """
        selected = places_of(self.store.path, index, len(self))

        def chosen() -> tuple[np.ndarray, VectorsOf]:
            examples = as_array(selected)
            return examples, lambda rows: self._vectors(examples[rows])

        return self._decode(len(selected), chosen, resolution, region, coords, clip)

    def decode_modulations(
        self,
        modulations: Float[np.ndarray, "..."],
        resolution: int | Sequence[int] | None = None,
        *,
        region: Region | None = None,
        coords: GridPoints | Coords | None = None,
        clip: bool = True,
        normalization: Inverse | None = None,
    ) -> Float32[np.ndarray, "examples ..."]:
        """Values of modulations that are in no store, such as generated or edited ones; otherwise as `decode`.

        Nothing more is compiled than for `decode`, and grids of equal modulations are kept in the same cache.

        Args:
            modulations: Shape (examples, *shape of a modulation), or that of a single one, see `modulations`; of NumPy,
                or of any library whose arrays NumPy can read.
            resolution: See `decode`.
            region: See `decode`.
            coords: See `decode`.
            clip: See `decode`.
            normalization: What the modulations were normalised by, such as a loader's `normalization`; None if they
                were not.

        Returns:
            Shape (examples, *resolution, channels), or (examples, points, channels) at points; the examples' axis is
            there for a single modulation, too.

        Raises:
            ConfigError: If they are no finite numbers of that shape, or in a process that was forked when JAX had
                begun.
            GridError: As for `decode`.
        """
        rows = check_modulations(self.store.path, self.config.network, modulations, normalization)
        vectors = rows.reshape(len(rows), self.config.network.modulation_size)
        return self._decode(
            len(vectors), lambda: (keys_of(vectors), vectors.__getitem__), resolution, region, coords, clip
        )

    def encode(
        self,
        values: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        coords: GridPoints | Coords | None = None,
        poses: ArrayLike | None = None,
        focal: float | int | None = None,
    ) -> "Encoded":
        """Modulations of new examples, fitted with this functaset's base and tuned steps; nothing is written.

        Whole examples at the archive's resolution get the modulations that a conversion would give them, bit for bit
        on the same kind of machine. What was seen of an example may be less: values that are not a number, or where
        the mask is False, are not looked at; an array of another resolution is one of values at the points of its own
        grid, and `coords` are points of the caller's. The first call compiles, and the first one for each power of two
        of points.

        Args:
            values: Shape (examples, *resolution, channels), or one example without the first axis: values as `decode`
                gives them, or bytes (uint8) where the archive's are, as those of pictures. With `coords` of shape
                (examples, points, channels). Of scenes, views of shape (examples, views, height, width, 3) with poses,
                or rays and colours as converters hand them out, (examples, views, height, width, 9).
            mask: True where a value was seen: one for all examples or one each, for each point or each value.
            coords: Points at which the values were seen, one row each, or a grid of the caller's own.
            poses: Camera to world of each view, (views, 4, 4) for all scenes or (scenes, views, 4, 4) one by one, of
                OpenCV's convention; see `other_convention`.
            focal: Focal length of these cameras in pixels.

        Returns:
            Modulations, and the errors of their fits over what was seen; see `Encoded`.

        Raises:
            ConfigError: If the shape is not that of examples of this functaset, values are far from the range of its
                data or infinite, an argument is of another kind of examples, or in a process that was forked when JAX
                had begun.
            GridError: If points or poses do not fit the domain.
        """
        from functa_store.conversion.encoder import Encoder  # imports JAX

        with self._lock:
            if self._encoder is None:
                self._encoder = Encoder(self)
        return self._encoder(values, mask=mask, coords=coords, poses=poses, focal=focal)

    def derive(
        self,
        path: Location,
        modulations: Float[np.ndarray, "..."],
        *,
        ids: Sequence[str] | None = None,
        labels: Mapping[str, Any] | None = None,
        split: str | Sequence[str] | np.ndarray = "train",
        parents: "Sequence[Functaset | Location]" = (),
        normalization: Inverse | None = None,
        storage: StorageOptions = NO_OPTIONS,
    ) -> None:
        """Write a complete functaset of the same base from modulations that were generated or edited.

        Its errors are unknown: `mse` and `psnr` are not numbers. The provenance says "derived", and names this
        functaset and other parents by their fingerprints. Modulations are stored in float32. Interrupted at any moment,
        the same call goes on where it stopped.

        Args:
            path: The new store, a path or URL ending in `.functa`.
            modulations: Shape (examples, *shape of a modulation), at least one; see `decode_modulations`.
            ids: Unique names of the examples; None counts from "0".
            labels: By name a `Label`, or a number or text per example.
            split: "train", "validation" or "test" for all examples, or one each.
            parents: Other functasets that the modulations were made of.
            normalization: See `decode_modulations`.
            storage: How to reach the new store, and parents.

        Raises:
            ConfigError: If the modulations are no finite numbers of the base's shape, ids repeat, something is not one
                per example, or the path does not end in `.functa`.
            ArchiveError: If a label is neither numbers nor text.
            StoreExistsError: If the path holds something already, or another process is writing it.
            StoreMismatchError: If another store was left unfinished there.
            StorageError: If a place cannot be reached or written.
        """
        from functa_store.conversion.derive import derive

        derive(
            self, path, modulations,
            ids=ids, labels=labels, split=split, parents=parents, normalization=normalization, storage=storage,
        )  # fmt: skip

    def to_tensorstore(
        self,
        resolution: int | Sequence[int] | None = None,
        *,
        region: Region | None = None,
        chunk: int | Sequence[int] | None = None,
        clip: bool = True,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> "ts.TensorStore":
        """A view of decoded values by TensorStore, read only: what is read of it is decoded then, chunk by chunk.

        Its dimensions are "example", the axes of the domain and "channel", its values those of `decode`, float32. Along
        axes that have a unit, `dimension_units` tell the step. A view has no JSON spec, cannot be pickled, and must not
        be used in a process that was forked, which TensorStore ends. Of scenes it is the field of colours and density
        in their cube, as `decode` gives it; what a camera sees is no array of points, see `render_view`.

        Args:
            resolution: See `decode`.
            region: See `decode`.
            chunk: What is decoded together: a number of whole examples, or sizes along example and each axis. None
                takes examples up to 1 MiB of values, or parts of one along its first axes where that has more.
            clip: See `decode`.
            cache_bytes: Most bytes of chunks that TensorStore keeps, 256 MiB unless given; 0 keeps none, so that a
                chunk is decoded for every read that touches it.

        Raises:
            ConfigError: If the number of bytes makes no sense, or in a process that was forked when JAX or TensorStore
                had begun.
            GridError: If resolution, region or chunk do not fit the domain, or there is no example.
        """
        from functa_store.decode.chunked_views import view_of

        return view_of(self, resolution, region, chunk, clip=clip, cache_bytes=cache_bytes)

    def tensorstore_spec(self, name: str) -> dict[str, Any]:
        """The JSON spec by which TensorStore opens a stored array of numbers: `tensorstore.open(spec).result()`.

        Args:
            name: Of the array, as the page about the format calls it: "modulations", "mse", "labels/NAME",
                "base/sine_0/kernel", "statistics/mean" and so on. It is given as it is stored: modulations in int8
                become values by the arrays "scale" and "offset".

        Raises:
            ConfigError: If there is no such array, it holds texts, which TensorStore does not read, or it lies where
                TensorStore cannot reach it.
        """
        from functa_store.decode.chunked_views import spec_of

        return spec_of(self.store, name)

    def without_cache(self) -> "Functaset":
        """The same functaset, which keeps no decoded grids: for those who read each once, or keep what they read."""
        return Functaset(self.store, cache_bytes=0)

    def decode_scattered(
        self, index: Index, coords: Coords, *, clip: bool = True
    ) -> Float32[np.ndarray, "points channels"]:
        """Values of one example at each point: of the i-th example at the i-th point, nothing else is evaluated.

        Args:
            index: The example of each point; see `Index`.
            coords: As many points, one row each.
            clip: Clip to the ranges of the values; False keeps what the network gives beyond them.

        Raises:
            ConfigError: In a process that was forked when JAX had begun.
            ExampleIndexError: If the index names no example.
            GridError: If there are not as many points as examples, they do not fit the domain, or the result
                does not fit into memory.
        """
        selected, points = places_of(self.store.path, index, len(self)), check_points(coords, self.domain)
        if isinstance(points, GridPoints) or len(selected) != len(points):
            raise GridError(
                f"expected one point for each example, got {len(selected)} examples and {len(points)} points"
            )
        examples = as_array(selected)
        distinct = np.unique(examples)
        modulations = len(distinct) * self.config.network.modulation_size * self.modulations.dtype.itemsize
        check_memory(1, len(points), self.features.num_channels, beside=modulations + examples.nbytes)
        places = np.searchsorted(distinct, examples)
        decoded = self.tiled_decoder.scattered(self._vectors(distinct), places, points)
        return self._finished(decoded, points, clip)

    def _decode(
        self,
        count: int,
        chosen: Callable[[], tuple[Shaped[np.ndarray, " examples"], "VectorsOf"]],
        resolution: int | Sequence[int] | None,
        region: Region | None,
        coords: GridPoints | Coords | None,
        clip: bool,
    ) -> np.ndarray:
        """Values of as many modulations; what tells them apart, and the vectors of some of their rows, once asked."""
        channels = self.features.num_channels
        if coords is None:
            shape = self.domain.resolve(resolution, region)
            check_memory(
                count, math.prod(shape), channels, beside=AXIS_POINT_BYTES * sum(shape)
            )  # before axes are made
            points = self.domain.points(resolution, region)
        elif resolution is None and region is None:
            points = check_points(coords, self.domain)
            shape = points.shape if isinstance(points, GridPoints) else (len(points),)
            check_memory(count, math.prod(shape), channels)
        else:
            raise GridError("give either points (coords) or a grid (resolution, region), not both")
        keys, vectors = chosen()
        features = np.empty((count, len(points), channels), np.float32)
        grid = points.key if isinstance(points, GridPoints) and self.cache.takes(features.nbytes) else None
        self.cache.through(
            features, keys, grid, lambda rows: self.tiled_decoder.into(features, rows, vectors(rows), points)
        )
        return self._finished(features, points, clip).reshape(count, *shape, channels)

    def _vectors(self, examples: np.ndarray) -> Float32[np.ndarray, "examples numbers"]:
        """Modulations as decoding takes them: the numbers of each in one row, a grid's in C order."""
        return self.modulations[examples].reshape(len(examples), self.config.network.modulation_size)

    def _finished(self, decoded: np.ndarray, points: GridPoints | np.ndarray, clip: bool) -> np.ndarray:
        """Values of what was decoded at some points, not a number where the domain has none."""
        values = self.features.to_values(decoded, clip=clip)
        for start in range(0, len(points) if self.domain.masked else 0, POINTS_AT_ONCE):
            part = np.arange(start, min(start + POINTS_AT_ONCE, len(points)))
            values[..., part[self.domain.missing(points[part])], :] = np.nan
        return values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One example of a functaset; everything is read when it is asked for.

    Attributes:
        functaset: Where it is from.
        index: Its place there.
    """

    functaset: "Functaset" = dataclasses.field(repr=False)
    index: int

    @property
    def id(self) -> str:
        """Its name in the archive."""
        return str(self.functaset.ids[self.index])

    @property
    def split(self) -> str:
        """Its split."""
        return str(self.functaset.split[self.index])

    @property
    def labels(self) -> dict[str, Any]:
        """The value of every label."""
        return {name: values[self.index] for name, values in self.functaset.labels.items()}

    @property
    def modulation(self) -> Float32[np.ndarray, "*cells channel"]:
        """The modulation: one vector, or a grid of them, (*cells, channel)."""
        return self.functaset.modulations[self.index]

    @property
    def psnr(self) -> float:
        """PSNR of the fit in decibels."""
        return float(psnr(self.functaset.mse[self.index], self.functaset.store.spec.features.span))

    @property
    def metrics(self) -> dict[str, float]:
        """What else is kept of the fit, such as "iou"; not a number where it has none."""
        return {name: float(values[self.index]) for name, values in self.functaset.metrics.items()}

    def decode(self, resolution: int | Sequence[int] | None = None, **options: Any) -> np.ndarray:
        """Values without an examples' axis; arguments as for `Functaset.decode`."""
        return self.functaset.decode(self.index, resolution, **options)[0]


def check_points(coords: GridPoints | Coords, domain: Domain) -> GridPoints | np.ndarray:
    """The points, float32, if they are points of a domain, where alone examples have been fitted.

    Raises:
        GridError: If they are not.
    """
    axes = domain.axes
    if isinstance(coords, GridPoints):
        if len(coords.shape) != len(axes):
            raise GridError(f"a grid of {len(coords.shape)} axes, expected one for each of {axes}")
        for axis, along in zip(axes, coords.axes, strict=True):
            domain.check_positions(axis, along)
        return coords
    try:
        points = np.asarray(coords, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GridError(f"coords must be numbers, one row per point: {error}") from error
    if points.ndim != 2 or points.shape[1] != len(axes) or not np.isfinite(points).all():
        raise GridError(
            f"coords must be finite, of shape (points, {len(axes)}) for axes {axes}, got shape {points.shape}"
        )
    for axis, along in zip(axes, points.T, strict=True):
        domain.check_positions(axis, along)
    return points


def check_memory(num_examples: int, num_points: int, num_channels: int, *, beside: int = 0) -> None:
    """Refuse to decode more than memory holds.

    Args:
        num_examples: Examples of which features are held.
        num_points: Points of each.
        num_channels: Features at a point, float32.
        beside: Bytes of whatever else is held.

    Raises:
        GridError: If that is more memory than this process may take.
    """
    needed = 4 * math.prod((num_examples, num_points, num_channels)) + beside
    if needed > (free := available_bytes()):
        raise GridError(
            f"{num_examples:,} examples at {num_points:,} points of {num_channels} channels need {gibibytes(needed)}, "
            f"this process may take {gibibytes(free)}; take fewer examples at a time, a lower resolution or a region, "
            "or write all of them to a disk, as NAME.zarr, with `functa export`"
        )
