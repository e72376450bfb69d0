"""Functasets for tests of the page in a browser: `python -m tests.page.stores FOLDER` writes them, and with the word
large behind it one of 1 GiB, as sparse files."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.domains.cells import CellGrid
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.side_arrays import RATES, base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.storage.objects import open_objects
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter

MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def write(
    path: Path,
    ids: list[str],
    classes: list[str],
    domain: CellGrid,
    channels: int,
    length: int = 8,
    labels: dict[str, Label] | None = None,
) -> None:
    """A functaset of random modulations, whose errors fall from the first example to the last."""
    count, rng = len(ids), np.random.default_rng(0)
    network = NetworkConfig(width=16, depth=3, w0=20.0, modulation_dim=length)
    shapes = base_shapes(network, len(domain.axes), channels) | {RATES: (3, length)}
    base = {name: rng.normal(size=shape).astype(np.float32) / shape[0] ** 0.5 for name, shape in shapes.items()}
    contents = Contents(
        domain=domain,
        features=FeatureSpec(channels=("red", "green", "blue")[:channels] if channels > 1 else ("value",)),
        config=ConvertConfig(network=network, rows_per_shard=1024),
        base=base,
        ids=ids,
        split=np.array(["train", "validation", "test"])[np.arange(count) % 3],
        labels={"animal": Label(values=np.arange(count) % len(classes), names=tuple(classes))} | (labels or {}),
        rejects=[],
        provenance={"archive": "made.zip", "sha256": "00"},
        reference={},
    )
    modulations, mse = rng.normal(size=(count, length)).astype(np.float32), np.linspace(0.1, 0.001, count, dtype="f4")
    with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, modulations[shard.start : shard.stop], mse[shard.start : shard.stop])


LARGE = 2**17
"""Examples of the large functaset; their ids are in two chunks."""


def write_large(path: Path) -> None:
    """A functaset of 1 GiB of modulations, all of which are zeros; its files take little room on a disk."""
    domain, network = (
        CellGrid(axes=("y", "x"), resolution=(16, 24)),
        NetworkConfig(width=16, depth=3, modulation_dim=2048),
    )
    rng = np.random.default_rng(0)
    shapes = base_shapes(network, len(domain.axes), 3) | {RATES: (3, 2048)}
    contents = Contents(
        domain=domain,
        features=FeatureSpec(channels=("red", "green", "blue")),
        config=ConvertConfig(network=network),
        base={name: rng.normal(size=shape).astype(np.float32) / shape[0] ** 0.5 for name, shape in shapes.items()},
        ids=[f"{i:06}.png" for i in range(LARGE)],
        split=np.array(["train", "validation", "test"])[np.arange(LARGE) % 3],
        labels={"animal": Label(values=rng.integers(0, 2, LARGE), names=("cat", "dog"))},
        provenance={"archive": "made.zip"},
    )
    with sole_writer(open_objects(path)) as (store, _), StoreWriter.resume_or_create(store, contents) as writer:
        for shard in writer.missing_shards():
            writer.write(shard, np.zeros((len(shard), 2048), np.float32), np.full(len(shard), 0.01, np.float32))
            _make_sparse(path / f"modulations/c/{shard.index}/0")


def _make_sparse(path: Path) -> None:
    """Let a file that begins with zeros keep no room for them."""
    size, tail = path.stat().st_size, 2**16
    with path.open("r+b") as file:
        file.seek(size - tail)
        end = file.read()
        file.truncate(0)
        file.truncate(size)
        os.pwrite(file.fileno(), end, size - tail)


def main(folder: Path) -> None:
    """All of the others."""
    picture, names = CellGrid(axes=("y", "x"), resolution=(16, 24)), ["cat", "dog"]
    ages = np.where(np.arange(3000) % 10 == 0, np.nan, np.arange(3000) / 10)
    numbers = np.where(np.arange(3000) == 1, -1, np.arange(3000) % 300)  # the second example has no breed
    breeds = tuple(f"breed {i}" for i in range(300))
    labels = {"age": Label(values=ages), "breed": Label(values=numbers, names=breeds)}
    write(folder / "many.functa", [f"{i:05}.png" for i in range(3000)], names, picture, 3, labels=labels)
    write(folder / "hostile.functa", [f"{MARKUP}{i}\u202egnp.exe" for i in range(6)], [MARKUP, "dog"], picture, 3)
    write(
        folder / "long.functa",
        [f"{'a folder in which all are/' * 3}{i:06}.png" for i in range(6)],
        names,
        picture,
        3,
    )
    write(folder / "sounds.functa", [f"{i}.wav" for i in range(4)], names, CellGrid(axes=("t",), resolution=(512,)), 1)
    write(
        folder / "solids.functa",
        [f"{i}.obj" for i in range(4)],
        names,
        CellGrid(axes=("z", "y", "x"), resolution=(12, 12, 12)),
        1,
    )
    write(
        folder / "clips.functa",
        [f"{i}.mp4" for i in range(4)],
        names,
        CellGrid(axes=("t", "y", "x"), resolution=(6, 12, 12)),
        3,
    )
    shutil.copytree(folder / "sounds.functa", folder / "damaged.functa")
    weights = folder / "damaged.functa/base/linear/kernel/c/0/0"
    weights.write_bytes(weights.read_bytes()[::-1])


if __name__ == "__main__":
    if sys.argv[2:] == ["large"]:
        write_large(Path(sys.argv[1]) / "large.functa")
    else:
        main(Path(sys.argv[1]))
