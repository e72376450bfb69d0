"""Which data do the benchmarks run on?"""

import dataclasses
import io
import pathlib
import tarfile
import zipfile

import numpy as np
import xarray
from PIL import Image

from functa_store.sources import ArraySource, FeatureSpec, hold_out_every


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


def open_voxels(path: str) -> ArraySource:
    """Occupancies of a .tgz in the layout of ShapeNetVox32, SYNSET/MODEL/model.binvox, in the archive's order."""
    with tarfile.open(path) as archive:
        members = [member for member in archive if member.name.endswith(".binvox")]
        grids = [_binvox(archive.extractfile(member).read()) for member in members]  # type: ignore[union-attr]
    features = FeatureSpec(channels=("occupancy",))
    split = hold_out_every(len(grids), 10)
    return ArraySource(np.stack(grids)[..., None], axes=("z", "y", "x"), features=features, split=split)


def open_winds(path: str) -> ArraySource:
    """Monthly winds on a global grid, both components as channels, scaled to [0, 1] by the training months."""
    with xarray.open_dataset(path, engine="h5netcdf", decode_times=False) as data:
        winds = np.stack([data[name].to_numpy() for name in ("u10", "v10")], axis=-1).astype(np.float32)
    split = hold_out_every(len(winds), 10)
    low, high = winds[split == "train"].min(), winds[split == "train"].max()
    features = FeatureSpec(channels=("u", "v"))
    return ArraySource((winds - low) / (high - low), axes=("latitude", "longitude"), features=features, split=split)


def _binvox(content: bytes) -> np.ndarray:
    """A grid of occupancies, uint8, from run lengths after a header that ends in "data"."""
    header, _, body = content.partition(b"data\n")
    size = next(int(line.split()[1]) for line in header.splitlines() if line.startswith(b"dim"))
    values, counts = np.frombuffer(body, np.uint8).reshape(-1, 2).T
    return np.repeat(values, counts).reshape(size, size, size)
