"""Conversions of small archives with a base that was never learned, whose shards workers fit."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functa_store
from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig, NetworkConfig, OuterLoopConfig
from functa_store.conversion import convert as conversion
from functa_store.conversion.convert import contents_of
from functa_store.conversion.fit_shards import ready_fit
from functa_store.conversion.run_files import Checkpoints
from functa_store.conversion.workers.job import Canary, Job, bytes_of, sampled
from functa_store.domains.domain import network_inputs
from functa_store.learn.outer_loop import init_learnable
from functa_store.nets.siren import to_weights
from functa_store.progress import silent
from functa_store.sources.options import SurveyOptions
from functa_store.store.format.side_arrays import MOMENTA, RATES, base_shapes
from functa_store.store.format.spec import StoreSpec
from tests.kinds.archives import KINDS, png, write_zip

CONFIG = ConvertConfig(
    network=NetworkConfig(width=8, depth=3, w0=10.0, modulation_dim=4),
    inner=InnerLoopConfig(num_steps=2, learning_rate=0.1),
    outer=OuterLoopConfig(num_steps=60, batch_size=4, num_points=32, warmup_steps=2, monitor_every=10),
    fit=FitConfig(num_steps=3, stride=2, tuning_steps=0, tile_points=64),
    rows_per_shard=4,
)


def pictures(folder: Path, count: int = 24) -> Path:
    """A zip of small pictures of random colours, one of which cannot be read."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    members = {f"{i:03}.png": png(picture) for i, picture in enumerate(pixels)}
    return write_zip(folder / "pictures.zip", members | {"003x.png": b"no picture"})


def open_pictures(archive: Path, *, resolution: int = 8, **options: Any) -> Any:
    return functa_store.converters()["images"].open(str(archive), *_options("images", resolution=resolution, **options))


def _options(kind: str, **options: Any) -> tuple[Any, ...]:
    return functa_store.converters()[kind].options.of(**options), SurveyOptions(max_rejects=0.5), silent


def shapes(folder: Path) -> Path:
    return KINDS["voxels"].write(folder)


def open_shapes(archive: Path, **options: Any) -> Any:
    return functa_store.converters()["voxels"].open(str(archive), *_options("voxels", **options))


def never_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions take a random base instead of learning one, which takes half a minute."""

    def _learn(work, described, source, config, snapshot_seconds, log, group):
        Checkpoints(work, "learning", described)
        network = config.network
        _, learnable = init_learnable(config, network_inputs(source.domain, network), source.features.num_channels)
        rng, shape = np.random.default_rng(1), (config.fit.num_steps, network.cell_size)
        base = {name: np.asarray(array, config.base_dtype) for name, array in to_weights(learnable.base).items()}
        base[RATES] = rng.uniform(0.3, 0.5, shape).astype(np.float32)
        base[MOMENTA] = rng.uniform(0, 0.3, shape).astype(np.float32)
        exact = dataclasses.replace(config, modulation_dtype="float32")
        return contents_of(source, exact, base, {}), ready_fit(exact, base, source)

    monkeypatch.setattr(conversion, "_learn", _learn)


def files(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in Path(path).rglob("*") if p.is_file()}


def rewritten_job(path: Path, **changes: Any) -> None:
    """Change fields of the job beside a store; dictionaries are overlaid."""
    file = path.with_name(f"{path.name}.work") / "job.json"
    job = json.loads(file.read_text())
    for name, value in changes.items():
        job[name] = {**job[name], **value} if isinstance(value, dict) and name == "recipe" else value
    file.write_text(json.dumps(job))


def job_of(source: Any) -> Job:
    """The job of a source that a converter opened, as far as opening it again needs one."""
    return Job(
        epoch="",
        fingerprint="",
        recipe=source.recipe,
        archive_bytes=bytes_of(source.recipe.archive),
        samples=sampled(source),
        examples_per_device=1,
        threads=1,
        versions={},
        canary=Canary(example=0, fit=""),
    )


def spec_of(source: Any) -> StoreSpec:
    """What a store of a source says about itself."""
    network = dataclasses.replace(CONFIG.network, head=source.domain.head)
    shapes = base_shapes(network, network_inputs(source.domain, network), source.features.num_channels)
    shapes |= dict.fromkeys((RATES, MOMENTA), (CONFIG.fit.num_steps, network.cell_size))
    base = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return contents_of(source, dataclasses.replace(CONFIG, network=network), base, {}).spec()
