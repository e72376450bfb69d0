"""Data that the benchmarks run on."""

import dataclasses
import io
import pathlib
import zipfile

import numpy as np
from PIL import Image

from converters.climate.climate import open_climate
from converters.climate.source import ClimateSource


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedArchive:
    """A zip of smooth random images in CelebA's layout, the same for the same numbers.

    Attributes:
        num_images: How many.
        size: Pixels along a side.
        seed: Decides their content.
    """

    num_images: int
    size: int = 64
    seed: int = 0

    def write(self, path: pathlib.Path) -> pathlib.Path:
        """Write the archive; a few thousand images per second."""
        rng = np.random.default_rng(self.seed)
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(1, self.num_images + 1):
                coarse = rng.integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize((self.size, self.size), Image.Resampling.BICUBIC)
                encoded = io.BytesIO()
                image.save(encoded, "JPEG", quality=90)
                archive.writestr(f"img_align_celeba/{number:06d}.jpg", encoded.getvalue())
        return path


def open_winds(path: str) -> ClimateSource:
    """Monthly winds on a global grid, both components as channels, every tenth month held out."""
    return open_climate(path, variable=("u10", "v10"), split="every")
