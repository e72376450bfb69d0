"""What `functa decode` was asked for, and where it goes."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from functa_store.domains.cells import Region
from functa_store.errors import ConfigError
from functa_store.exporting.filenames import file_names

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset


PLACEHOLDERS = ("{id}", "{index}")
"""What stands for an example in the name of a file, where every example has a file of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be decoded, and where it goes.

    Attributes:
        functaset: Where the examples are.
        index: Which ones.
        out: The file; see `paths`.
        resolution: Points per axis inside the region; None means as the archive.
        region: The window; None means all.
        clip: Whether to clip to the range of the values.
        sample_rate: Of sound, in Hz; None means as the archive.
        orbit: Frames of a flight around a scene; None for what is no scene.
    """

    functaset: "Functaset"
    index: Sequence[int]
    out: Path
    resolution: int | tuple[int, ...] | None = None
    region: Region | None = None
    clip: bool = True
    sample_rate: int | None = None
    orbit: int | None = None

    def decode(self) -> np.ndarray:
        """Values of all examples, shape (examples, *resolution, channels)."""
        return np.asarray(
            self.functaset.decode(self.index, resolution=self.resolution, region=self.region, clip=self.clip)
        )

    def paths(self) -> list[Path]:
        """A file for each example: `out`, its placeholders replaced.

        Raises:
            ConfigError: If there are several examples and no placeholder.
        """
        name = self.out.name
        if len(self.index) > 1 and not any(placeholder in name for placeholder in PLACEHOLDERS):
            raise ConfigError(
                f"{self.out}: is one file, and {len(self.index)} examples were asked for; choose one by --index, or "
                f"write {' or '.join(PLACEHOLDERS)} into the name"
            )
        ids = file_names(str(name) for name in self.functaset.ids[self.index])
        return [
            self.out.with_name(name.replace("{index}", str(k)).replace("{id}", stem))
            for k, stem in zip(self.index, ids, strict=True)
        ]

    def side(self, usual: int) -> int:
        """Pixels along a side of a view of a scene, which has no window.

        Args:
            usual: What it is if nothing is asked for.

        Raises:
            ConfigError: If more than one number, or a region, is asked for.
        """
        if not isinstance(self.resolution, int | None):
            raise ConfigError(
                f"--resolution of a scene's views is the pixels along a side, one number, got {self.resolution}"
            )
        if self.region is not None:
            raise ConfigError(f"--region {self.region} is none of a scene's views; it is for .npz and meshes")
        return usual if self.resolution is None else self.resolution
