"""The engine `functa` of xarray."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from functa_store.decode.grid_cache import DEFAULT_CACHE_BYTES
from functa_store.decode.shared_functaset import open_shared
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError
from functa_store.store.storage.objects import NO_OPTIONS, StorageOptions
from functa_store.xarray_backend.dataset import Opened, open_dataset


class FunctaBackend(BackendEntrypoint):
    """Functasets as datasets that are decoded when they are looked at."""

    description: ClassVar[str] = "Decode functasets (.functa) as they are indexed"
    url: ClassVar[str] = "https://arxiv.org/abs/2201.12204"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        resolution: int | Sequence[int] | None = None,
        region: Region | None = None,
        clip: bool = True,
        storage: StorageOptions = NO_OPTIONS,
        verify: bool = False,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> xr.Dataset:
        """Open a functaset; an unfinished one holds the examples that were finished by now.

        Args:
            filename_or_obj: Its path or URL.
            drop_variables: Variables to leave out.
            resolution: Points inside the region, one number for all axes or one per axis; None keeps the
                spacing of the archive.
            region: Per axis (low, high), in [0, 1] or degrees; None means the whole domain.
            clip: Clip to the ranges of the values.
            storage: How to reach the store.
            verify: Compare the checksum of each shard when it is first touched.
            cache_bytes: Most bytes of decoded grids that are kept; see `functa_store.open`.

        Returns:
            One lazy variable, `image` for axes ("y", "x") and else `features`, of dimensions (example, *axes, channel),
            with the columns of the functaset as lazy coordinates.

        Raises:
            ConfigError: If the path or an option makes no sense.
            GridError: If resolution or region do not fit the domain.
            StoreFormatError: If there is no functaset that this release can read.
            StorageError: If the place cannot be read.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            raise ConfigError(f"expected the path or URL of a functaset, got {type(filename_or_obj).__name__}")
        shared = open_shared(
            os.path.expanduser(filename_or_obj), storage=storage, verify=verify, cache_bytes=cache_bytes
        )
        dataset = open_dataset(Opened(shared=shared, clip=clip), resolution, region)
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        return dataset.drop_vars(list(dropped), errors="ignore")

    def open_datatree(self, filename_or_obj: Any, **_: Any) -> xr.DataTree:
        """Refused.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"{filename_or_obj}: a functaset has no groups, all its arrays have the same examples; use xr.open_dataset"
        )

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a path or URL ends as those of functasets do."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return os.fspath(filename_or_obj).rstrip("/").endswith(".functa")
