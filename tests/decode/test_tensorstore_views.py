"""TensorStore sees decoded values as `decode` gives them, and stored arrays as they are."""

import asyncio
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts

import functa_store
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError, GridError
from functa_store.sources.source import Label
from tests.decode.stores import write_store

GOLDEN = Path(__file__).parents[1] / "golden"
GRIDS = {
    "images": CellGrid(axes=("y", "x"), resolution=(8, 6)),
    "voxels": CellGrid(axes=("z", "y", "x"), resolution=(5, 4, 6), lengths=(10.0, 8.0, 6.0), units=("mm",) * 3),
    "sound": CellGrid(axes=("t",), resolution=(700,), lengths=(0.7,), units=("s",)),
    "video": CellGrid(axes=("t", "y", "x"), resolution=(3, 4, 4), lengths=(0.5, 1.0, 1.0), units=("s", "1", "1")),
}
STORED = ("v7", "v7_scene", "v7_sphere", "v7_spatial", "v7_spatial_sphere")


@pytest.fixture(scope="module", name="functasets")
def _functasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for name, domain in GRIDS.items():
        write_store(folder / f"{name}.functa", domain=domain)
    paths = [*(folder / f"{name}.functa" for name in GRIDS), *(GOLDEN / f"{name}.functa" for name in STORED)]
    return {path.stem: functa_store.open(path) for path in paths}


@pytest.fixture(name="fs")
def _fs(functasets):
    return functasets["images"]


@pytest.mark.parametrize("name", [*GRIDS, *STORED])
def test_a_view_has_the_bits_of_decode(functasets, name):
    fs = functasets[name]
    whole = fs.decode(slice(None))
    view = fs.to_tensorstore()
    assert view.domain.labels == ("example", *fs.domain.axes, "channel")
    assert view.dtype == ts.float32
    np.testing.assert_array_equal(view.read().result(), whole, strict=True)
    np.testing.assert_array_equal(
        fs.to_tensorstore(chunk=1, clip=False)[1].read().result(), fs.decode(1, clip=False)[0]
    )


@pytest.mark.parametrize("name", [*GRIDS, *STORED])
def test_another_resolution_and_a_region_are_those_of_decode(functasets, name):
    fs = functasets[name]
    twice = [2 * n for n in fs.domain.resolution]
    np.testing.assert_array_equal(fs.to_tensorstore(twice).read().result(), fs.decode(slice(None), twice))
    if fs.domain.kind == "cells":
        region = [(0.25, 0.75)] * fs.domain.num_axes
        found = fs.to_tensorstore(region=region).read().result()
        np.testing.assert_array_equal(found, fs.decode(slice(None), region=region))


@pytest.mark.parametrize("name", ["images", "v7_scene", "v7_sphere", "v7_spatial"])
def test_chunks_of_few_points_have_the_bits_of_the_whole_grid(functasets, name):
    fs = functasets[name]
    view = fs.to_tensorstore(24, chunk=(2, *[7] * fs.domain.num_axes))
    np.testing.assert_array_equal(view[:3].read().result(), fs.decode(slice(3), 24))


def test_steps_have_the_units_of_the_domain(functasets):
    assert functasets["voxels"].to_tensorstore().dimension_units == (
        None,
        *[ts.Unit(2, "mm")] * 2,
        ts.Unit(1, "mm"),
        None,
    )
    assert functasets["voxels"].to_tensorstore(10).dimension_units[1] == ts.Unit(1, "mm")
    assert functasets["sound"].to_tensorstore().dimension_units[1].base_unit == "s"
    assert functasets["v7_sphere"].to_tensorstore(8).dimension_units[2] == ts.Unit(45, "degrees_east")
    assert functasets["images"].to_tensorstore().dimension_units == (None,) * 4


def test_windows_transforms_and_asyncio_read_the_same_values(fs):
    view, whole = fs.to_tensorstore(40, chunk=(2, 16, 40)), fs.decode(slice(None), 40)

    async def together():
        return await asyncio.gather(*(view[k].read() for k in range(len(fs))))

    np.testing.assert_array_equal(asyncio.run(together()), whole)
    np.testing.assert_array_equal(view[3, 5:20, 7].read().result(), whole[3, 5:20, 7])
    np.testing.assert_array_equal(view[[7, 1, 4], 5:20].read().result(), whole[[7, 1, 4], 5:20])
    np.testing.assert_array_equal(view[ts.d["y"][::-1]][2].read().result(), whole[2, ::-1])
    np.testing.assert_array_equal(view[ts.d["channel"][0]].read().result(), whole[..., 0])
    assert view[:, 5:20].origin[1] == 5
    assert view.chunk_layout.read_chunk.shape == (2, 16, 40, 3)


def test_what_was_read_is_kept_and_a_cache_of_no_bytes_keeps_nothing(fs, monkeypatch):
    decoded = []
    original = functa_store.Functaset.decode
    monkeypatch.setattr(
        functa_store.Functaset, "decode", lambda self, index, **k: decoded.append(index) or original(self, index, **k)
    )
    for cache_bytes, reads in ((2**20, 1), (0, 3)):
        view = fs.to_tensorstore(chunk=4, cache_bytes=cache_bytes)
        for _ in range(3):
            view[5, 2:4].read().result()
        assert decoded == [slice(4, 8)] * reads
        decoded.clear()


def test_what_makes_no_view_is_refused(fs):
    for chunk in (0, (1, 2), (1, 2, 3, 4), (1, 0, 3)):
        with pytest.raises(GridError, match="number of whole examples"):
            fs.to_tensorstore(chunk=chunk)
    with pytest.raises(ConfigError, match="cache_bytes"):
        fs.to_tensorstore(cache_bytes=-1)
    fs.to_tensorstore(cache_bytes=2**70)  # more than there can be is no limit
    with pytest.raises(GridError):
        fs.to_tensorstore(resolution=0)


def test_a_view_is_read_only_and_its_errors_are_ours(fs, tmp_path):
    view = fs.to_tensorstore()
    with pytest.raises(ValueError, match="not support writing"):
        view[0].write(0.0).result()
    with pytest.raises(Exception, match=r"JSON|spec|pickl|serializ"):
        pickle.dumps(view)
    write_store(tmp_path / "damaged.functa")
    (tmp_path / "damaged.functa/modulations/c/1/0").unlink()
    damaged = functa_store.open(tmp_path / "damaged.functa").to_tensorstore(chunk=4)
    damaged[0].read().result()
    with pytest.raises(functa_store.StoreFormatError, match=r"modulations/c/1/0: a shard is missing"):
        damaged[5].read().result()


def test_stored_arrays_are_opened_by_their_specs(tmp_path):
    write_store(tmp_path / "labelled.functa", labels={"size": Label(values=np.arange(12))})
    fs = functa_store.open(tmp_path / "labelled.functa")
    expected = {
        "modulations": fs.modulations[:],
        "mse": fs.mse[:],
        "labels/size": np.arange(12),
        "statistics/mean": fs.store.statistics["mean"],
        "base/sine_0/kernel": fs.base["sine_0/kernel"],
    }
    for name, values in expected.items():
        opened = ts.open(fs.tensorstore_spec(name)).result()
        np.testing.assert_array_equal(opened.read().result(), values, strict=True)
    both = functa_store.concat([fs.select(index=range(5)), fs.select(index=range(5, 12))])
    assert both.tensorstore_spec("base/sine_0/kernel") == fs.tensorstore_spec("base/sine_0/kernel")
    with pytest.raises(ConfigError, match=r"no texts.*ids"):
        fs.tensorstore_spec("id")
    with pytest.raises(ConfigError, match=r"no array 'colour'.*labels/size"):
        fs.tensorstore_spec("colour")
    (tmp_path / "labelled.functa/mse/c/1").unlink()
    with pytest.raises(ValueError, match="mse"):
        ts.open(fs.tensorstore_spec("mse")).result().read().result()


def test_specs_of_buckets_are_those_of_their_drivers():
    from functa_store.decode.chunked_views import spec_of
    from functa_store.store.reading.reader import StoreReader
    from functa_store.store.storage.objects import StorageOptions, open_objects

    store = StoreReader(GOLDEN / "v7.functa")
    options = StorageOptions(endpoint="http://127.0.0.1:9000", anonymous=True, region="eu-west-1")
    store._objects = open_objects("s3://bucket/some/v7.functa", options)
    assert spec_of(store, "mse")["kvstore"] == {
        "driver": "s3",
        "bucket": "bucket",
        "path": "some/v7.functa/mse/",
        "endpoint": "http://127.0.0.1:9000",
        "aws_region": "eu-west-1",
        "aws_credentials": {"type": "anonymous"},
    }
    store._objects = open_objects("gs://bucket/v7.functa")
    assert spec_of(store, "mse")["kvstore"] == {"driver": "gcs", "bucket": "bucket", "path": "v7.functa/mse/"}
    store._objects = open_objects("memory://bucket/v7.functa")
    with pytest.raises(ConfigError, match="cannot reach memory"):
        spec_of(store, "mse")


IN_A_CHILD = """
import os, sys, functa_store
fs = functa_store.open(sys.argv[1])
fs.to_tensorstore()
child = os.fork()
if not child:
    try:
        fs.to_tensorstore()
    except functa_store.ConfigError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_says_what_to_do_instead(tmp_path):
    write_store(tmp_path / "small.functa")
    command = [sys.executable, "-W", "ignore", "-c", IN_A_CHILD, tmp_path / "small.functa"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "a view by TensorStore is not possible in a forked process" in result.stdout
    assert "spawn" in result.stdout


BESIDE_JAX = """
import faulthandler, sys, threading, time
import jax, jax.numpy as jnp, numpy as np
import functa_store

seconds = float(sys.argv[2])
faulthandler.dump_traceback_later(seconds + 60, exit=True)
fs = functa_store.open(sys.argv[1])
whole, until = fs.decode(slice(None), 40), time.monotonic() + seconds
views = [fs.to_tensorstore(40, chunk=chunk, cache_bytes=size) for chunk, size in ((1, 0), (5, 0), (2, 2**16))]
wrong, reads = [], [0] * 64

def read(number):
    rng = np.random.default_rng(number)
    while time.monotonic() < until and not wrong:
        k, y, x = rng.integers(0, len(fs)), rng.integers(0, 30), rng.integers(0, 30)
        found = views[number % 3][k, y : y + 10, x : x + 10].read().result()
        if not np.array_equal(found, whole[k, y : y + 10, x : x + 10]):
            wrong.append((k, y, x))
        reads[number] += 1

threads = [threading.Thread(target=read, args=(number,)) for number in range(64)]
for thread in threads:
    thread.start()
product, steps = jax.jit(lambda a: jnp.tanh(a @ a)), 0
while time.monotonic() < until:
    product(jnp.ones((256, 256))).block_until_ready()
    fs.decode([steps % len(fs)], 24)
    steps += 1
for thread in threads:
    thread.join()
print(len(wrong), min(reads) > 0, steps > 0, sum(reads), steps)
"""


@pytest.mark.parametrize("seconds", [pytest.param(3, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.long)])
def test_64_threads_read_beside_jax_without_a_deadlock(tmp_path, seconds):
    write_store(tmp_path / "small.functa")
    command = [sys.executable, "-W", "ignore", "-c", BESIDE_JAX, tmp_path / "small.functa", str(seconds)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    assert result.stdout.split()[:3] == ["0", "True", "True"], result.stderr
