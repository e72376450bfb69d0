"""One small archive of every kind that can be converted, made on the fly."""

import dataclasses
import gzip
import io
import json
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from PIL import Image

EXAMPLES = 8


@dataclasses.dataclass(frozen=True)
class Kind:
    """An archive of one kind, and what its functaset is.

    Attributes:
        converter: Name of the converter.
        write: Writes the archive into a folder, and gives its path.
        axes: Dimensions of a decoded example.
        resolution: Its native points along each.
        options: More words of the command line.
        modulation: Shape of a modulation.
        num_augmentations: Examples that are augmentations of others.
    """

    converter: str
    write: Callable[[Path], Path]
    axes: tuple[str, ...]
    resolution: tuple[int, ...]
    options: tuple[str, ...] = ()
    modulation: tuple[int, ...] = (4,)
    num_augmentations: int = 0

    def in_cells(self, *grid: int, lookup: str = "nearest", kernel: int = 1) -> "Kind":
        """The same with a modulation of 3 numbers in each cell of a grid."""
        words = ("--modulation-grid", ",".join(map(str, grid)), "--modulation-dim", "3")
        words += ("--network.lookup", lookup, "--network.map_kernel", str(kernel))
        return dataclasses.replace(self, options=(*self.options, *words), modulation=(*grid, 3))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def images(folder: Path) -> Path:
    pictures = rng().integers(0, 256, (EXAMPLES, 8, 8, 3), dtype=np.uint8)
    return write_zip(folder / "images.zip", {f"{i}.png": png(picture) for i, picture in enumerate(pictures)})


def parts(folder: Path) -> Path:
    """The same pictures in three zips, and the pattern that names them."""
    with zipfile.ZipFile(images(folder)) as whole:
        for part in range(3):
            members = {name: whole.read(name) for name in whole.namelist()[part::3]}
            write_zip(folder / f"part-{part}.zip", {**members})
    return folder / "part-*.zip"


def runs(folder: Path) -> Path:
    """The same arrays in four files, and the pattern that names them."""
    with np.load(arrays(folder)) as whole:
        for run, values in enumerate(np.split(whole["values"], 4)):
            np.save(folder / f"run{run}.npy", values)
    return folder / "run{0..3}.npy"


def table(folder: Path) -> Path:
    """A column of images and one of classes, in row groups of three."""
    pictures = rng().integers(0, 256, (EXAMPLES, 8, 8, 3), dtype=np.uint8)
    columns = {
        "image": pa.array([{"bytes": png(picture), "path": f"{i}.png"} for i, picture in enumerate(pictures)]),
        "label": pa.array([i % 2 for i in range(EXAMPLES)]),
    }
    pq.write_table(pa.table(columns), folder / "table.parquet", row_group_size=3)
    return folder / "table.parquet"


def shapes() -> np.ndarray:
    """Balls of different size in different places, (example, z, y, x)."""
    where = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), axis=-1)
    centres, radii = rng().uniform(2.5, 4.5, (EXAMPLES, 3)), rng().uniform(1.5, 3, EXAMPLES)
    return np.linalg.norm(where - centres[:, None, None, None], axis=-1) < radii[:, None, None, None]


def voxels(folder: Path) -> Path:
    np.savez(folder / "voxels.npz", occupancy=shapes(), labels=np.arange(EXAMPLES) % 2)
    return folder / "voxels.npz"


def binvox(shape: np.ndarray) -> bytes:
    """As published: x, then z, then y run, the last fastest; pairs of a value and how often it comes."""
    runs = b"".join(bytes([value, 1]) for value in shape.transpose(2, 0, 1).ravel().astype(np.uint8))
    return b"#binvox 1\ndim 8 8 8\ntranslate 0 0 0\nscale 1\ndata\n" + runs


def shapenet(folder: Path) -> Path:
    members = {
        f"0269115{i % 2}/model{i}/models/model_normalized.solid.binvox": binvox(shape)
        for i, shape in enumerate(shapes())
    }
    return write_zip(folder / "ShapeNetCore.v2.zip", members)


def scenes(folder: Path) -> Path:
    members: dict[str, bytes | str] = {}
    for scene in range(EXAMPLES):
        name = f"cars_{'test' if scene % 4 == 3 else 'train'}/scene{scene}"
        members[f"{name}/intrinsics.txt"] = "8.2 4. 4. 0.\n0. 0. 0.\n1.\n1.\n8 8\n"
        for view, angle in enumerate((0.1, 2.0, 4.1)):
            picture = np.full((8, 8, 3), 255, np.uint8)
            picture[2:6, 2:6] = rng().integers(0, 200, 3) + scene
            members[f"{name}/rgb/{view:06}.png"] = png(picture)
            members[f"{name}/pose/{view:06}.txt"] = " ".join(map(str, looking_inwards(angle).ravel()))
    return write_zip(folder / "cars.zip", members)


def nerf(folder: Path) -> Path:
    members: dict[str, bytes | str] = {}
    for scene in range(EXAMPLES):
        name = f"{'test' if scene % 4 == 3 else 'train'}/scene{scene}"
        for split, angles in {"train": (0.1, 2.0, 4.1), "test": (1.0, 3.0)}.items():
            frames = []
            for view, angle in enumerate(angles):
                picture = np.zeros((8, 8, 4), np.uint8)
                picture[2:6, 2:6] = (*rng().integers(0, 200, 3) + scene, 255)
                members[f"{name}/{split}/r_{view}.png"] = png(picture)
                pose = looking_inwards(angle) @ np.diag([1.0, -1.0, -1.0, 1.0])  # x right, y up, z back
                frames.append({"file_path": f"./{split}/r_{view}", "transform_matrix": pose.tolist()})
            cameras = {"camera_angle_x": 0.9, "frames": frames}
            members[f"{name}/transforms_{split}.json"] = json.dumps(cameras)
    return write_zip(folder / "nerf.zip", members)


def looking_inwards(angle: float) -> np.ndarray:
    """Camera to world, x right, y down, z forward, at 1.3 from the origin."""
    back = np.array([np.cos(angle), np.sin(angle), 0.0])
    right = np.array([-np.sin(angle), np.cos(angle), 0.0])
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.array([0.0, 0.0, -1.0]), -back, 1.3 * back], axis=1)
    return pose


def climate(folder: Path) -> Path:
    latitudes, longitudes = np.linspace(80, -80, 8), np.arange(20.0, 380, 45)
    field = 280 + 10 * np.cos(np.radians(latitudes))[:, None] + np.cos(np.radians(longitudes))
    data = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), field + rng().normal(size=(EXAMPLES, 1, 1)), {"units": "K"})},
        {
            "time": np.arange("2000-01", "2000-09", dtype="datetime64[M]").astype("datetime64[ns]"),
            "lat": ("lat", latitudes, {"units": "degrees_north"}),
            "lon": ("lon", longitudes, {"units": "degrees_east"}),
        },
    )
    data.to_netcdf(folder / "climate.nc", engine="h5netcdf")
    return folder / "climate.nc"


def sounds(folder: Path) -> Path:
    (folder / "sounds").mkdir()
    for number, hertz in enumerate(rng().uniform(50, 300, EXAMPLES)):
        with wave.open(str(folder / f"sounds/{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((20000 * np.sin(2 * np.pi * hertz * np.arange(64) / 8000)).astype("<i2").tobytes())
    return folder / "sounds"


def clips(folder: Path) -> Path:
    np.save(folder / "clips.npy", rng().integers(0, 256, (EXAMPLES, 4, 8, 8, 3), dtype=np.uint8))
    return folder / "clips.npy"


def arrays(folder: Path) -> Path:
    np.savez(folder / "arrays.npz", values=rng().random((EXAMPLES, 16, 2), np.float32))
    return folder / "arrays.npz"


def cifar(folder: Path) -> Path:
    """The binary version of CIFAR-10, in a compressed tar: a label and three planes for each picture."""
    records = rng().integers(0, 256, (EXAMPLES, 1 + 3 * 32 * 32), dtype=np.uint8)
    records[:, 0] %= 10
    batches = {f"data_batch_{k + 1}.bin": records[k : k + 1] for k in range(5)} | {"test_batch.bin": records[5:]}
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, batch in batches.items():
            add_to_tar(archive, f"cifar-10-batches-bin/{name}", batch.tobytes())
    return folder / "cifar-10-binary.tar.gz"


def mnist(folder: Path) -> Path:
    (folder / "mnist").mkdir()
    for part, count in (("train", EXAMPLES - 2), ("t10k", 2)):
        pictures = rng().integers(0, 256, (count, 8, 8), dtype=np.uint8)
        files = {
            "images-idx3": (b"\0\0\x08\3", pictures),
            "labels-idx1": (b"\0\0\x08\1", np.arange(count, dtype=np.uint8)),
        }
        for name, (magic, values) in files.items():
            content = magic + np.array(values.shape, ">u4").tobytes() + values.tobytes()
            (folder / f"mnist/{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))
    return folder / "mnist"


def medmnist(folder: Path) -> Path:
    arrays = {}
    for split, count in (("train", EXAMPLES - 3), ("val", 2), ("test", 1)):
        arrays[f"{split}_images"] = rng().integers(0, 256, (count, 8, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 2
    np.savez_compressed(folder / "nodulemnist3d.npz", **arrays)
    return folder / "nodulemnist3d.npz"


def webdataset(folder: Path) -> Path:
    (folder / "shards").mkdir()
    pictures = rng().integers(0, 256, (EXAMPLES, 8, 8, 3), dtype=np.uint8)
    for shard in range(2):
        with tarfile.open(folder / f"shards/{('train', 'val')[shard]}-000.tar", "w") as archive:
            for k in range(shard * (EXAMPLES - 2), (EXAMPLES - 2, EXAMPLES)[shard]):
                add_to_tar(archive, f"{k:06}.png", png(pictures[k]))
                add_to_tar(archive, f"{k:06}.cls", str(k % 3).encode())
    return folder / "shards"


def add_to_tar(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


KINDS = {
    "images": Kind("images", images, ("y", "x"), (8, 8), ("--resolution", "8")),
    "augmented images": Kind(
        "images", images, ("y", "x"), (8, 8), ("--resolution", "8", "--augment", "2"), num_augmentations=2 * EXAMPLES
    ),
    "images in parts": Kind("images", parts, ("y", "x"), (8, 8), ("--resolution", "8")),
    "table": Kind("huggingface", table, ("y", "x"), (8, 8), ("--resolution", "8")),
    "voxels": Kind("voxels", voxels, ("z", "y", "x"), (8, 8, 8)),
    "shapenet": Kind("shapenet", shapenet, ("z", "y", "x"), (8, 8, 8), ("--resolution", "8")),
    "scenes": Kind("srn", scenes, ("z", "y", "x"), (8, 8, 8), ("--resolution", "8")),
    "nerf": Kind("nerf", nerf, ("z", "y", "x"), (8, 8, 8), ("--resolution", "8", "--held-out-split", "test")),
    "climate": Kind("climate", climate, ("latitude", "longitude"), (8, 8), ("--variable", "t2m")),
    "sound": Kind("audio", sounds, ("t",), (64,), ("--samples", "64", "--sample-rate", "8000")),
    "video": Kind(
        "video", clips, ("t", "y", "x"), (4, 8, 8), ("--preset", "video-fast", "--frames", "4", "--resolution", "8")
    ),
    "arrays": Kind("arrays", arrays, ("x",), (16,)),
    "arrays in runs": Kind("arrays", runs, ("x",), (16,)),
    "cifar": Kind("cifar", cifar, ("y", "x"), (32, 32)),
    "mnist": Kind("mnist", mnist, ("y", "x"), (8, 8)),
    "medmnist": Kind("medmnist", medmnist, ("z", "y", "x"), (8, 8, 8)),
    "webdataset": Kind("webdataset", webdataset, ("y", "x"), (8, 8), ("--resolution", "8")),
}

KINDS |= {
    "images in cells": KINDS["images"].in_cells(4, 2),
    "voxels in cells": KINDS["voxels"].in_cells(2, 3, 2, lookup="linear"),
    "scenes in cells": KINDS["scenes"].in_cells(2, 2, 2, lookup="linear"),
    "climate in cells": KINDS["climate"].in_cells(2, 4, lookup="linear", kernel=3),
    "sound in cells": KINDS["sound"].in_cells(8, kernel=3),
    "video in cells": KINDS["video"].in_cells(2, 2, 2),
}
"""Of every kind of domain; the number of cells need not divide that of the points."""
