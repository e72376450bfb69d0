"""Nothing outside a store changes, and no file of a user's goes, whatever links were planted where writers write.

Learning and fitting are taken from one conversion that was really made, so that thousands of commands run in minutes;
all that reads and writes is as it is.
"""

import contextlib
import dataclasses
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.conversion import convert as conversion
from functa_store.conversion import repair as repairing
from functa_store.conversion.workers import engine
from functa_store.errors import FunctaStoreError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.source import Label

CONFIG = ConvertConfig(
    network=NetworkConfig(width=8, depth=3, w0=10.0, modulation_dim=4),
    inner=InnerLoopConfig(num_steps=1, learning_rate=0.1),
    outer=OuterLoopConfig(num_steps=2, batch_size=4, num_points=16, warmup_steps=1, monitor_every=2),
    fit=FitConfig(num_steps=2, stride=1, tuning_steps=0),
    rows_per_shard=8,
)
INT8 = dataclasses.replace(CONFIG, modulation_dtype="int8")
SNAPSHOT = (np.arange(3.0), 7)
FAST_RUNS, SLOW_RUNS, SEEDS_EACH = 60, 10_000, 1_000


def source() -> ArraySource:
    values = np.random.default_rng(0).random((20, 4, 4, 1), dtype=np.float32)
    return ArraySource(values, labels={"kind": Label(values=np.arange(20))})


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders with a store in some state of its life; from here on, learning and fitting cost nothing."""
    folder = tmp_path_factory.mktemp("states")
    made = {}

    def remembered(function: Callable) -> Callable:
        def call(*args, **kwargs):
            made[function.__name__] = found = function(*args, **kwargs)
            return found

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("meta_learn", "tune", "pca_reference", "compare_precision"):
            patch.setattr(conversion, name, remembered(getattr(conversion, name)))
        functa_store.convert(source(), folder / "complete" / "x.functa", CONFIG)
    fs = functa_store.open(folder / "complete" / "x.functa")
    modulations, mse, metrics = fs.modulations[:], fs.mse[:], fs.store.metrics_table[:]

    def learn(*_args, snapshots, **_kwargs):
        snapshots.load(SNAPSHOT)
        snapshots.save(SNAPSHOT)
        return made["meta_learn"]

    def shards(_source, _ready, missing, *_args):
        for shard in missing:
            yield shard, *(table[shard.start : shard.stop] for table in (modulations, mse, metrics))

    def stopping(*args):
        yield next(shards(*args))
        raise KeyboardInterrupt

    def interrupted(*_args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "meta_learn", learn)
        patch.setattr(conversion, "tune", lambda *_args, **_kwargs: made["tune"])
        patch.setattr(conversion, "pca_reference", lambda *_args: dict(made["pca_reference"]))
        patch.setattr(conversion, "compare_precision", lambda *_args: dict(made["compare_precision"]))
        patch.setattr(repairing, "ready_fit", lambda *_args: made["tune"])
        patch.setattr(os, "fsync", lambda _descriptor: None)  # a power failure is another test's
        patch.setattr(engine, "fit_shards", shards)
        damaged = shutil.copytree(folder / "complete", folder / "damaged") / "x.functa/modulations/c/1/0"
        damaged.write_bytes(b"\1" + damaged.read_bytes()[1:])
        for name, config, module, part, instead in (
            ("unfinished", CONFIG, engine, "fit_shards", stopping),
            ("exact", INT8, engine, "fit_shards", stopping),
            ("fitted", INT8, conversion, "write_recoded", interrupted),
        ):
            with pytest.MonkeyPatch.context() as inner, contextlib.suppress(KeyboardInterrupt):
                inner.setattr(module, part, instead)
                functa_store.convert(source(), folder / name / "x.functa", config)
            assert (folder / name / "x.functa.work").is_dir()
        (folder / "nothing").mkdir()
        yield folder


def make_outside(folder: Path) -> None:
    """A user's files, some of which bear names that writers use."""
    names = "a zarr.json c/0/0 0 000000.json skeleton.json learning.npz receipts/000000.json empty/of/files"
    for name in names.split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine: {name}")
    (folder / "empty/of/files").unlink()


def everything(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_ino, what)
    return found


STORE = """
    zarr.json zarr.json.part modulations modulations/c modulations/c/0 modulations/c/1 modulations/c/1/0 modulations/c/2
    mse/c mse/c/1 labels labels/kind base base/sine_0/kernel/c statistics statistics/mean statistics/mean/c/0 id new
"""
WORK = """
    lease receipts receipts/000000.json receipts/000001.json receipts/skeleton.json learning learning/conversion.json
    learning/learning.npz exact.functa exact.functa/zarr.json exact.functa/modulations exact.functa.work
    exact.functa.work/receipts repair.json new
"""
PLACES = ["x.functa.work", "x.functa.log", "y.functa.work", "y.functa.log", "y.functa.work/receipts", "out.part"]
PLACES += [f"x.functa/{name}" for name in STORE.split()] + [f"x.functa.work/{name}" for name in WORK.split()]

NOTES = ("x.functa.work/notes.txt", "x.functa.work/learning/notes.txt", "x.functa.work/receipts/notes.txt")
NOTES += ("x.functa/notes.txt", "x.functa.work/exact.functa/base/notes.txt", "x.functa.work/mine/notes.txt")


def plant(folder: Path, outside: Path, dice: random.Random) -> str:
    """Put a link somewhere, and say what was done."""
    place = folder / dice.choice(PLACES)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
    except OSError:  # a link was planted above it
        return ""
    names = [str(path.relative_to(outside)) for path in outside.rglob("*")]
    target = outside / dice.choice([*names, "new", "new/deeper", "."])
    if place.resolve().is_relative_to(outside):
        return ""  # a link was planted above it
    kind = dice.choice(["absolute", "absolute", "relative", "hard", "itself", "above", "store"])
    if kind == "hard" and target.is_file():
        place.hardlink_to(target)
    elif kind == "relative":
        place.symlink_to(os.path.relpath(target, place.parent))
    elif kind in ("itself", "above", "store"):
        place.symlink_to({"itself": place, "above": folder.parent, "store": folder / "other.functa"}[kind])
    else:
        place.symlink_to(target)
    return f"{kind} link at {place.relative_to(folder)} to {target.relative_to(outside)}"


COMMANDS: dict[str, Callable[[Path], object]] = {
    "convert": lambda folder: functa_store.convert(source(), folder / "x.functa", CONFIG),
    "convert to int8": lambda folder: functa_store.convert(source(), folder / "x.functa", INT8),
    "repair": lambda folder: functa_store.repair(source(), folder / "x.functa"),
    "recode": lambda folder: cli.main(["recode", f"{folder}/x.functa", f"{folder}/y.functa", "--dtype", "int8"]),
    "verify": lambda folder: cli.main(["verify", f"{folder}/x.functa"]),
    "info": lambda folder: cli.main(["info", f"{folder}/x.functa"]),
    "decode": lambda folder: cli.main(["decode", f"{folder}/x.functa", "--out", f"{folder}/d.npz"]),
    "export": lambda folder: cli.main(["export", f"{folder}/x.functa", "--out", f"{folder}/out"]),
}


def run_one(states: Path, scratch: Path, seed: int) -> None:
    dice = random.Random(seed)
    shutil.rmtree(scratch, ignore_errors=True)
    folder, outside, state = scratch / "data", scratch / "outside", dice.choice(sorted(os.listdir(states)))
    make_outside(outside)
    shutil.copytree(states / state, folder)
    shutil.copytree(states / "complete" / "x.functa", folder / "other.functa")
    noted = {}
    for name in dice.sample(NOTES, dice.randint(0, 2)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    done = [plant(folder, outside, dice) for _ in range(dice.randint(1, 3))]
    noted = {name: (folder / name).read_text() for name in NOTES if (folder / name).is_file()}
    before, other = everything(outside), everything(folder / "other.functa")
    for command in dice.choices(list(COMMANDS), k=dice.randint(1, 2)):
        done.append(command)
        with contextlib.suppress(FunctaStoreError), quiet():
            COMMANDS[command](folder)
    story = f"seed {seed}, {state}: {'; '.join(filter(None, done))}"
    assert everything(outside) == before, story
    assert everything(folder / "other.functa") == other, story
    assert {name: (folder / name).read_text() for name in noted if (folder / name).is_file()} == noted, story


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@pytest.mark.slow
def test_links_planted_where_writers_write_change_nothing_outside(states, tmp_path):
    for seed in range(FAST_RUNS):
        run_one(states, tmp_path / "scratch", seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, SLOW_RUNS, SEEDS_EACH))
def test_ten_thousand_commands_among_planted_links_change_nothing_outside(states, tmp_path, first):
    for seed in range(first, first + SEEDS_EACH):
        run_one(states, tmp_path / "scratch", 1_000_000 + seed)
