"""The archives that the figures are measured on: portraits, shapes, fields, and pictures for a feature space."""

import dataclasses
from pathlib import Path
from typing import Protocol

from benchmarks.altered_sources import RandomSplit, Strided
from converters.climate.climate import open_climate
from converters.images.celeba import open_celeba
from converters.images.images import open_images
from converters.shapes.shapenet import open_shapenet
from functa_store.errors import ArchiveError
from functa_store.sources.source import Source


class Archives(Protocol):
    """Examples at a resolution, by kind."""

    def portraits(self, resolution: int) -> Source:
        """Squares of RGB pixels; a random tenth is held out."""
        ...

    def shapes(self, resolution: int) -> Source:
        """Cubes of occupancies with a label "class"."""
        ...

    def fields(self, stride: int) -> Source:
        """Fields on the sphere, every so many-th latitude and longitude of them."""
        ...

    def pictures(self) -> Source:
        """Small RGB pictures with a label "class", unrelated to the portraits."""
        ...


FILES = {
    "portraits": "faces_ukparliament_celeba_layout.zip",
    "shapes": "shapes_ldraw10_shapenetcore.zip",
    "fields": "climate/glosea4_surface_temperature_global.nc",
    "pictures": "cifar10_jpeg.zip",
}


@dataclasses.dataclass(frozen=True)
class Folder:
    """The archives of a folder.

    Attributes:
        path: Where `FILES` are.
    """

    path: Path

    def check(self, kinds: set[str]) -> None:
        """Refuse a folder in which archives are missing, before anything is measured.

        Raises:
            ArchiveError: If there are, with their names.
        """
        if absent := [FILES[kind] for kind in sorted(kinds) if not (self.path / FILES[kind]).is_file()]:
            raise ArchiveError(
                f"{self.path}: found no {', '.join(absent)}; name the folder that holds the archives by --archives, or "
                "measure parts that do not need them by --only"
            )

    def portraits(self, resolution: int) -> Source:
        """The last tenth of the archive has another backdrop than the rest, so the split is drawn at random."""
        return RandomSplit(open_celeba(self.path / FILES["portraits"], resolution=resolution, crop="square"))

    def shapes(self, resolution: int) -> Source:
        """Shapes of ten classes; every tenth is held out."""
        return open_shapenet(self.path / FILES["shapes"], resolution=resolution)

    def fields(self, stride: int) -> Source:
        """Surface temperatures of a seasonal forecast; the last tenth is held out."""
        return Strided(open_climate(self.path / FILES["fields"], variable=("surface_temperature",)), stride)

    def pictures(self) -> Source:
        """CIFAR-10 with its published split."""
        return open_images(self.path / FILES["pictures"], resolution=32)
