"""Can a damaged store, or a stranger's, do harm?"""

import contextlib
import functools
import io
import json
import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs.zstd import Zstd
from rich.console import Console

from functa_store.cli.info import show
from functa_store.config import to_dict
from functa_store.decode.facts import info
from functa_store.decode.functaset import Functaset
from functa_store.errors import FunctaStoreError, StoreFormatError
from functa_store.sources.augmentation import PARAMETERS
from functa_store.store.format.side_arrays import numbers_of
from functa_store.store.format.spec import FORMAT_VERSION, ROOT
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import open_objects, record
from functa_store.store.storage.remote import RemoteObjects
from tests.reference import features_at
from tests.store.conftest import make_contents, write_shards
from tests.store.forging import (
    LONGEST_MESSAGE,
    Files,
    Forged,
    Stranger,
    bomb,
    bounded_memory,
    bounded_time,
    damage_file,
    equal,
    everything,
    frame,
    get,
    mutate_bytes,
    put,
    read_files,
    seal,
    sign,
    survey,
    texts,
    unchecked,
)
from tests.store.format.test_golden import GOLDEN, VERSIONS

MEGABYTES = 512
"""What reading a store of a few kB may take at most, whatever it says."""

SECONDS = 1.0


Stores = dict[str, tuple[Files, Files]]


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Stores:
    return make_stores(tmp_path_factory.mktemp("hostile"))


def make_stores(path: Path) -> Stores:
    """Small stores, and what lies beside them."""
    whole = write_shards(path / "whole.functa", make_contents())
    with contextlib.suppress(KeyboardInterrupt):
        write_shards(path / "part.functa", make_contents(), stop_before=2)
    golden = {version: (read_files(GOLDEN / f"{version}.functa"), {}) for version in VERSIONS}
    part = (read_files(path / "part.functa"), read_files(path / "part.functa.work"))
    return golden | {"float32": (read_files(whole), {}), "unfinished": part}


def damaged(numbers: Any, files: Files) -> Files:
    """A store after a bad disk or copy; nothing is sealed."""
    files = dict(files)
    for _ in range(numbers.choice([1, 1, 1, 2, 5])):
        key, other = numbers.sample(sorted(files), 2)
        if numbers.random() < 0.5:
            data = bytearray(files[key])
            mutate_bytes(numbers, data)
            files[key] = bytes(data)
        else:
            damage_file(numbers, files, key, other)
    return files


def decode(reader: Any, found: dict[str, Any]) -> np.ndarray:
    """The examples at two points per axis, by the paper's equations."""
    domain = reader.spec.domain
    positions, network = np.full((2, domain.num_axes), 0.5), to_dict(reader.spec.config.network)
    base = {name.removeprefix("base/"): array for name, array in found.items() if name.startswith("base/")}
    modulations = found["modulations"].astype(np.float64)
    with np.errstate(all="ignore"):
        return np.array([features_at(to_dict(domain), network, base, phi, positions) for phi in modulations])


def use(objects: Forged, *, thorough: bool) -> None:
    """Open, list and decode a store of unknown origin; what comes out must be of the kind that is promised."""
    found = everything(objects)
    reader = StoreReader(objects)
    count = len(reader)
    shape = reader.spec.config.network.modulation_shape
    assert (found["modulations"].shape, found["modulations"].dtype) == ((count, *shape), np.float32)
    assert (found["mse"].shape, found["mse"].dtype) == ((count,), np.float32)
    assert all(reader.metrics[name][:].shape == (count,) for name in reader.spec.features.columns)
    kinds = {"ids": "T", "split": "T", "labels": "biuf", "statistics": "f", "base": "f"}
    for name, array in found.items():
        if (group := name.partition("/")[0]) in kinds:
            assert array.dtype.kind in kinds[group], f"{group} of another type"
        if group in ("statistics", "base"):
            assert array.dtype == np.float32, f"{group} of another type"
        if group == "base":
            assert np.isfinite(array).all(), "infinite weights"
        elif group in ("ids", "split", "labels") or group.startswith("augmentation_"):
            assert array.shape == (count,), f"{group} of another length"
    if reader.augmentations:
        of = reader.augmentations["of"][:]
        assert ((of >= -1) & (of < count)).all(), "originals that are not there"
        assert all(array[:].dtype == PARAMETERS.get(name, "int64") for name, array in reader.augmentations.items())
    assert all(type(text) is str for reject in found["rejects"] for text in (reject.member, reject.reason))
    decode(reader, found)
    if thorough:
        functaset = Functaset(reader)
        repr(functaset)
        assert functaset.psnr.shape == (count,)
        show(info(objects), Console(file=io.StringIO(), markup=False, emoji=False))
        verify(objects)


def damages(stores: Stores, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Stores after a bad disk, none of them sealed, which are refused or read to the last bit."""
    kinds = ("v9", "float32", "v9_sphere", "v9_spatial", "v7", "v3")
    whole = {name: files for name, (files, work) in stores.items() if name in kinds}
    expected = {name: everything(Forged(files)) for name, files in whole.items()}

    def run(files: Files, name: str) -> None:
        found = everything(Forged(files))
        if not equal(found, expected[name]):
            raise AssertionError("wrong data")

    for i in range(count):
        name = kinds[i % len(kinds)]
        numbers = random.Random(f"damage {i}")
        yield f"damage {i} of {name}", functools.partial(run, damaged(numbers, whole[name]), name)


KINDS = (
    *("v9", "float32", "unfinished", "v9_sphere", "v9_spatial", "v7", "v6", "v5", "v4", "v3", "v9_scene"),
    "v9_spatial_sphere",
    *("v2", "v1"),
)
"""Stores that a stranger may begin with."""


def forgeries(stores: Stores, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Stores of a stranger, all of them sealed."""
    for i in range(count):
        name = KINDS[i % len(KINDS)]
        stranger = Stranger(*stores[name], seed=f"forgery {i}")
        objects = stranger.forge()
        yield (
            f"forgery {i} of {name}: {'; '.join(stranger.did)}",
            functools.partial(use, objects, thorough=i % 32 in (0, 3)),
        )


@pytest.mark.slow
def test_damage_is_refused_or_changes_nothing(stores):
    ends = survey(damages(stores, 250), MEGABYTES, SECONDS)
    assert min(ends["read"], ends["refused"]) > 15, ends


@pytest.mark.slow
def test_a_strangers_store_is_refused_or_read(stores):
    ends = survey(forgeries(stores, 500), MEGABYTES, SECONDS)
    assert min(ends["read"], ends["refused"]) > 50, ends


@pytest.mark.long
def test_a_hundred_thousand_stores_do_no_harm(tmp_path):
    unchecked("tests.store.reading.test_hostile", tmp_path)


# --- One attack at a time: what is done, and the words of the error ----------------------------------------------


def claim(**changes: Any) -> Callable[[Stranger], None]:
    """Replace attributes, given by their path with __ between keys."""

    def change(stranger: Stranger) -> None:
        for path, value in changes.items():
            *above, key = path.split("__")
            functools.reduce(lambda tree, name: tree[name], above, stranger.functa)[key] = value

    return change


def describe(name: str, **changes: Any) -> Callable[[Stranger], None]:
    """Replace what an array's metadata say."""

    def change(stranger: Stranger) -> None:
        found = json.loads(stranger.files[f"{name}/zarr.json"]) | changes
        stranger.files[f"{name}/zarr.json"] = json.dumps(found).encode()

    return change


def chunks(*sizes: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(sizes)}}


def hold(name: str, values: Any) -> Callable[[Stranger], None]:
    """Replace what an array holds."""
    return lambda stranger: put(stranger.files, stranger.root, name, values)


def spoil(name: str, value: float) -> Callable[[Stranger], None]:
    """Replace one number of an array."""

    def change(stranger: Stranger) -> None:
        values = get(stranger.files, name)
        values.flat[0] = value
        put(stranger.files, stranger.root, name, values)

    return change


def store(key: str, data: bytes | Callable[[bytes], bytes]) -> Callable[[Stranger], None]:
    """Replace a file."""

    def change(stranger: Stranger) -> None:
        stranger.files[key] = data(stranger.files[key]) if callable(data) else data

    return change


def record_too(key: str) -> Callable[[Stranger], None]:
    """Add a name to the manifest."""
    return lambda stranger: stranger.extra.update({key: {"bytes": 4, "crc32c": "00000000"}})


def sealed_first(stranger: Stranger) -> None:
    """What is changed from now on is signed, and nothing else."""
    stranger.sealed()
    stranger.extra["keep"] = True


def without_record(key: str) -> Callable[[Stranger], None]:
    """Take a name out of the manifest."""

    def change(stranger: Stranger) -> None:
        sealed_first(stranger)
        del stranger.functa["manifest"][key]

    return change


def checksums(name: str, values: Any) -> Callable[[Stranger], None]:
    """Replace an array of the manifest, and record it there."""

    def change(stranger: Stranger) -> None:
        sealed_first(stranger)
        put(stranger.files, stranger.root, f"manifest/{name}", values)
        _record_again(stranger, f"manifest/{name}/")

    return change


def bomb_in_manifest(stranger: Stranger) -> None:
    """4 GiB of checksums in 130 kB."""
    sealed_first(stranger)
    describe("manifest/id", shape=[2**29, 2], chunk_grid=chunks(2**29, 2))(stranger)
    stranger.files["manifest/id/c/0/0"] = bomb(2**32)
    _record_again(stranger, "manifest/id/")


def _record_again(stranger: Stranger, folder: str) -> None:
    manifest = stranger.functa["manifest"]
    for key in [key for key in manifest if key.startswith(folder)]:
        del manifest[key]
    for key in [key for key in stranger.files if key.startswith(folder)]:
        manifest[key] = to_dict(record(stranger.files[key]))


def together(*changes: Callable[[Stranger], None]) -> Callable[[Stranger], None]:
    def change(stranger: Stranger) -> None:
        for one in changes:
            one(stranger)

    return change


def unfinished(stranger: Stranger) -> None:
    """No manifest, no receipts: nothing says what should be there."""
    stranger.functa |= {"complete": False, "manifest": {}, "quality": {}}
    if "manifest_sha256" in stranger.functa:
        stranger.functa["manifest_sha256"] = None


def giant(stranger: Stranger) -> None:
    """An array of the base that no network has, 4 GiB of zeros in 130 kB."""
    put(stranger.files, stranger.root, "base/x", np.zeros(1, np.float32))
    describe("base/x", shape=[2**30], chunk_grid=chunks(2**30))(stranger)
    stranger.functa["base"]["x"]["shape"] = [2**30]
    stranger.files["base/x/c/0"] = bomb(2**32)


def many_rejects(stranger: Stranger) -> None:
    """An unfinished store has no manifest that says how many chunks there are."""
    unfinished(stranger)
    for field in ("member", "reason"):
        describe(f"rejects/{field}", shape=[2**28], chunk_grid=chunks(1))(stranger)


def many_chunks_in_a_shard(stranger: Stranger) -> None:
    """The index of such a shard takes 32 GiB."""
    for path, value in {"config__network__modulation_dim": 1, "layout__rows_per_shard": 2**31}.items():
        claim(**{path: value})(stranger)
    claim(layout__rows_per_chunk=1, layout__mse_rows_per_chunk=2**31)(stranger)
    for name, inner, row in (("modulations", 1, [1]), ("mse", 2**31, [])):
        found = json.loads(stranger.files[f"{name}/zarr.json"])
        found["shape"] = [5, *row]
        found["chunk_grid"]["configuration"]["chunk_shape"] = [2**31, *row]
        found["codecs"][0]["configuration"]["chunk_shape"] = [inner, *row]
        stranger.files[f"{name}/zarr.json"] = json.dumps(found).encode()
    for name in ("scale", "offset"):
        put(stranger.files, stranger.root, name, np.ones(1, np.float32))
    size = 2**31 + 16 * 2**31 + 4
    stranger.extra["modulations/c/0/0"] = {"bytes": size, "crc32c": "00000000"}
    stranger.extra["mse/c/0"] = {"bytes": 2**33 + 20, "crc32c": "00000000"}


def many_examples(stranger: Stranger) -> None:
    """The manifest has four shards of 2**28 rows each, which are not there."""
    rows, count, inner = 2**28, 2**30, 2**20
    claim(examples__count=count)(stranger)
    claim(layout={"rows_per_shard": rows, "rows_per_chunk": inner, "mse_rows_per_chunk": inner})(stranger)
    for name, row, width in (("modulations", [4], 4), ("mse", [], 4), ("metrics", [2], 8)):
        found = json.loads(stranger.files[f"{name}/zarr.json"])
        found["shape"] = [count, *row]
        found["chunk_grid"]["configuration"]["chunk_shape"] = [rows, *row]
        found["codecs"][0]["configuration"]["chunk_shape"] = [inner, *row]
        stranger.files[f"{name}/zarr.json"] = json.dumps(found).encode()
        for i in range(4):
            key = "/".join([name, "c", str(i), *["0"] * len(row)])
            stranger.extra[key] = {"bytes": rows * width + 16 * 256 + 4, "crc32c": "00000000"}
    for name in ("id", "split", "labels/animal"):
        describe(name, shape=[count], chunk_grid=chunks(65536))(stranger)


def cells(num_axes: int) -> dict[str, Any]:
    """A grid of one cell along any number of axes."""
    numbers = {name: [1.0] * num_axes for name in ("cell_aspect", "lengths")}
    axes = {"axes": ["x"] * num_axes, "units": ["1"] * num_axes, "resolution": [1] * num_axes}
    return {**axes, **numbers, "kind": "cells"}


def on_a_sphere(**changes: Any) -> Callable[[Stranger], None]:
    """A grid of two latitudes and longitudes, but for some changes."""
    degrees = {"latitudes": [0.0, 10.0], "longitudes": [0.0, 10.0], "centre": [0.0, 0.0, 0.0], "radius": 1.0}
    return together(
        claim(domain={**degrees, "area_weighting": False, "mask": "", "kind": "sphere"} | changes),
        hold("base/sine_0/kernel", np.ones((3, 8), np.float32)),
    )


ATTACKS: dict[str, tuple[Callable[[Stranger], Any], str | None]] = {
    "width": (claim(config__network__width=10**9), "more than 2147483648 numbers"),
    "depth": (claim(config__network__depth=10**9), "more than 2147483648 numbers"),
    "depth of a thin network": (
        claim(config__network__width=1, config__network__depth=10**8, config__network__w0=1.0),
        "base|layers",
    ),
    "count": (claim(examples__count=10**15), "examples.count is 1000000000000000"),
    "no examples": (claim(examples__count=0), "examples.count is 0"),
    "more examples than there are": (claim(examples__count=6), "the manifest|shape"),
    "shards of 2**62 rows": (claim(layout__rows_per_shard=2**62), "layout|more than 2147483648 numbers"),
    "shards of no rows": (claim(layout__rows_per_shard=0), "expected powers of two"),
    "a million tiny shards": (
        claim(examples__count=10**9, layout={"rows_per_shard": 1, "rows_per_chunk": 1, "mse_rows_per_chunk": 1}),
        "more than 1000000 shards",
    ),
    "chunks without end in a shard": (many_chunks_in_a_shard, "chunks"),
    "examples without end": (many_examples, "a shard is missing or damaged"),
    "not a number": (claim(config__network__w0=float("nan")), "w0 must be positive and finite"),
    "infinite": (claim(features__scale=float("inf")), "must be finite"),
    "a string for a number": (claim(examples__count="5"), "examples.count is '5'"),
    "a half for a number": (claim(examples__count=5.5), "examples.count is 5.5"),
    "a text for a shape": (claim(domain__resolution="x" * 3_000_000), "damaged attributes"),
    "a shape of many texts": (claim(domain__axes=[[]] * 300_000), "damaged attributes"),
    "many wrong records": (
        lambda stranger: stranger.extra.update({f"x/{i}": 0 for i in range(300_000)}),
        "damaged attributes",
    ),
    "a newer version": (claim(format_version=FORMAT_VERSION + 1), "Upgrade functa-store"),
    "a weight that version 4 did not have": (claim(format_version=4), "config.weight_of_ones"),
    "no version": (claim(format_version=None), "format_version is None"),
    "an unknown attribute": (claim(run_this="os.system"), "run_this"),
    "a missing attribute": (lambda stranger: stranger.functa.pop("domain"), "domain"),
    "a name that leads out": (record_too("../x"), r"found the name '\.\./x'"),
    "an absolute name": (record_too("/etc/passwd"), "found the name '/etc/passwd'"),
    "a name with a hole": (record_too("a//b"), "found the name 'a//b'"),
    "a name that is no text": (record_too("\ud800"), "found the name|surrogates not allowed"),
    "text that is no text": (claim(provenance={"archive": "\ud800"}), "surrogate|no valid JSON|UTF-8|text"),
    "a label that leads out": (record_too("labels/../../x/zarr.json"), "found the name"),
    "weights that are not numbers": (spoil("base/sine_0/kernel", np.nan), "values that are not finite"),
    "infinite weights": (spoil("base/map/bias", -np.inf), "values that are not finite"),
    "an infinite scale": (spoil("scale", np.inf), "scale"),
    "a scale that overflows": (hold("scale", np.full(4, 3e38, np.float32)), "scale"),
    "a scale of another shape": (hold("scale", np.ones(5, np.float32)), "rounding describes"),
    "a scale of another type": (hold("scale", np.ones(4, np.float64)), "rounding describes"),
    "weights of another type": (hold("base/linear/bias", np.zeros(3, np.float64)), "has dtype float64, expected"),
    "weights of another shape": (hold("base/linear/bias", np.zeros(4, np.float32)), "linear/bias"),
    "weights that are text": (hold("base/linear/bias", ["a", "b", "c"]), "base/linear/bias"),
    "weights without end": (giant, "x"),
    "ids for fewer examples": (hold("id", ["a", "b"]), r"id: shape \(2,\), expected \(5,\)"),
    "ids that are numbers": (hold("id", np.arange(5)), "id: .*string"),
    "splits that are numbers": (hold("split", np.arange(5)), "split: .*string"),
    "labels that are text": (hold("labels/animal", list("abcde")), "labels/animal"),
    "labels that are complex": (describe("labels/animal", data_type="complex128"), "data type 'complex128'"),
    "labels that are objects": (describe("labels/animal", data_type="object"), "data type 'object'"),
    "labels that are pickled": (
        describe("labels/animal", codecs=[{"name": "pickle"}, {"name": "zstd", "configuration": {"checksum": False}}]),
        "written by codecs",
    ),
    "labels behind a transformer": (
        describe("labels/animal", storage_transformers=[{"name": "x"}]),
        "written by codec",
    ),
    "labels with odd names": (describe("labels/animal", chunk_key_encoding={"name": "v2"}), "written by codecs"),
    "statistics that are text": (hold("statistics/mean", list("abcd")), "statistics/mean"),
    "statistics of another type": (hold("statistics/mean", np.zeros(4, np.int64)), "statistics/mean"),
    "rejects that are numbers": (hold("rejects/member", np.zeros(1)), "rejects/member"),
    "a single reject": (
        together(unfinished, *(hold(f"rejects/{field}", np.zeros(())) for field in ("member", "reason"))),
        "rejects/member",
    ),
    "rejects without end": (many_rejects, "rejects/member"),
    "negative shape": (describe("id", shape=[-1]), "no sizes"),
    "shape with true in it": (describe("id", shape=[True]), "no sizes"),
    "no chunks": (describe("id", chunk_grid=chunks(0)), "chunks"),
    "huge chunks": (describe("id", chunk_grid=chunks(2**40)), "absurd"),
    "many axes": (describe("id", shape=[1] * 11), "no sizes"),
    "metadata that is a list": (store("id/zarr.json", b"[]"), "no readable metadata"),
    "metadata that is deep": (store("id/zarr.json", b"[" * 100_000), "no readable metadata"),
    "no metadata": (lambda stranger: stranger.files.pop("id/zarr.json"), "id/zarr.json: missing or damaged"),
    "a bomb": (store("id/c/0", bomb(2**33)), "frame declares 8589934592 bytes"),
    "a bomb that lies": (store("id/c/0", lambda _: frame(b"", 64)[:13] + bomb(2**33)[13:]), "id/c/0"),
    "a bomb behind another frame": (store("id/c/0", lambda data: data + bomb(2**34)), "id/c/0"),
    "a bomb behind numbers": (store("base/linear/bias/c/0", lambda data: data + bomb(2**26)), "linear/bias/c/0"),
    "two frames": (store("base/linear/bias/c/0", lambda data: data + data), "base/linear/bias/c/0"),
    "texts fewer than said": (store("id/c/0", frame(texts([b"a"] * 4, 5))), "id/c/0"),
    "texts more than said": (store("id/c/0", frame(texts([b"a"] * 6))), "a chunk of 6 strings, expected 5"),
    "text longer than said": (store("id/c/0", frame(texts([b"a"] * 5, lengths=[2**32 - 1] * 5))), "id/c/0"),
    "text that is not UTF-8": (store("id/c/0", frame(texts([b"\xff"] * 5))), "id/c/0"),
    "no text": (store("id/c/0", b""), "id/c/0"),
    "an empty shard": (store("modulations/c/0/0", b""), "the manifest has"),
    "a longer shard": (store("modulations/c/0/0", lambda data: data + b"\0"), "the manifest has"),
    "a truncated shard": (store("mse/c/0", lambda data: data[:-1]), "the manifest has"),
    "an index that leads elsewhere": (store("modulations/c/0/0", lambda data: data[:-20] + bytes(20)), "is not flat"),
    "no shard": (lambda stranger: stranger.files.pop("mse/c/1"), "the manifest has None for mse/c/1"),
    "metrics that are not there": (claim(features__metrics=["iou", "accuracy", "rmse"]), "metrics"),
    "a metric that nobody knows": (claim(features__metrics=["iou", "x"]), "damaged attributes"),
    "metrics that nobody claims": (claim(features__metrics=[]), "expected"),
    "means of other metrics": (claim(quality__train__metrics={"\x1b[2J": 1.0}), "expected"),
    "a mean that is text": (claim(quality__train__metrics__iou="x"), "damaged attributes"),
    "a mean that is no number": (claim(quality__train__metrics__iou=float("nan")), "damaged attributes"),
    "no shard of metrics": (lambda stranger: stranger.files.pop("metrics/c/1/0"), "the manifest has None for metrics"),
    "metrics of another shape": (describe("metrics", shape=[5, 3]), "metrics: .*expected"),
    "metrics that are text": (describe("metrics", data_type="string"), "metrics"),
    "a domain of no kind": (claim(domain__kind="x"), "damaged attributes"),
    "a domain of another kind": (claim(domain__kind="sphere"), "damaged attributes"),
    "a length without end": (claim(domain__lengths=[float("inf"), 1.0]), "damaged attributes|positive and finite"),
    "units for other channels": (claim(features__units=["K"]), "expected one value per channel"),
    "a value without end": (claim(features__value_scale=[1.0, 1.0, float("inf")]), "damaged attributes|finite"),
    "a head that nobody knows": (claim(config__network__head="x"), "damaged attributes"),
    "a head for another domain": (claim(config__network__head="radiance"), "since the head is that of the domain"),
    "a mask that is a bomb": (on_a_sphere(mask="9" * 10**6), "mask"),
    "a mask that is none": (on_a_sphere(mask="x"), "mask"),
    "a mask of other points": (on_a_sphere(mask="1 9"), "mask"),
    "latitudes beyond the poles": (on_a_sphere(latitudes=[0.0, 100.0]), "latitudes"),
    "latitudes that are not a number": (on_a_sphere(latitudes=[float("nan"), 1.0]), "latitudes|damaged"),
    "no longitudes": (on_a_sphere(longitudes=[]), "longitudes"),
    "more axes than numpy has": (
        together(
            claim(domain=cells(65)),
            hold("base/sine_0/kernel", np.ones((65, 8), np.float32)),
        ),
        "axes",
    ),
    "a resolution that is no float": (claim(domain__resolution=[10**200, 10**200]), "resolution|points|cells"),
    "a resolution that is no float along one axis": (claim(domain__resolution=[10**400, 8]), "damaged attributes"),
    "a resolution without end": (claim(domain__resolution=[10**9, 10**9]), "points"),
}


def grid(cells: Any, **others: Any) -> Callable[[Stranger], None]:
    """Claim a grid of other cells."""
    return claim(config__network__modulation_grid=cells, **{f"config__network__{k}": v for k, v in others.items()})


def rates(shape: tuple[int, ...]) -> Callable[[Stranger], None]:
    """Rates and momenta of another shape."""
    names = ("base/inner_loop/learning_rate", "base/inner_loop/momentum")
    return together(*(hold(name, np.ones(shape, np.float32)) for name in names))


GRID_ATTACKS: dict[str, tuple[Callable[[Stranger], Any], str | None]] = {
    "a grid of fewer axes": (grid([6]), r"modulation_grid=\(6,\) has 1 axes, expected one number of cells for each"),
    "a grid of more axes": (grid([1, 2, 3]), r"modulation_grid=\(1, 2, 3\) has 3 axes, expected one number"),
    "a grid of more axes than any": (grid([1] * 9), "modulation_grid must be 1 to 8 numbers of cells"),
    "a grid of no axes": (grid([]), "modulation_grid must be 1 to 8 numbers of cells"),
    "a grid of no cells": (grid([0, 3]), "modulation_grid must be .* each at least 1"),
    "a grid of negative cells": (grid([-2, -3]), "modulation_grid must be .* each at least 1"),
    "a grid without end": (grid([2**20, 2**20]), "modulation_grid must be|more than 2147483648 numbers"),
    "a grid that is no integer": (grid([2**400, 1]), "damaged attributes"),
    "large modulations": (grid([2**14, 2**14], modulation_dim=100), "modulations of more than 2147483648 numbers"),
    "large shards": (grid([2**15, 2**15], modulation_dim=2), "rows_per_shard must be at most 1"),
    "a grid that is text": (grid("23"), "modulation_grid"),
    "a grid of texts": (grid(["2", "3"]), "modulation_grid"),
    "no grid": (grid(None), "modulation_grid must be given for spatial modulations"),
    "a grid of vectors": (grid([2, 3], modulation="latent"), "modulation_grid must be given for spatial .* left out"),
    "a look-up of vectors": (grid(None, modulation="latent", lookup="linear"), "are of spatial modulations"),
    "as many other cells": (grid([3, 2]), "modulations: .*expected"),
    "as many numbers in other cells": (grid([2, 2], modulation_dim=3), "rounding describes"),
    "a look-up that nobody knows": (grid([2, 3], lookup="cubic"), "damaged attributes"),
    "a kernel that no map has": (grid([2, 3], map_kernel=5), "map_kernel must be one of"),
    "another map's kernel": (grid([2, 3], map_kernel=3), r"map/kernel is \(2, 16\), expected \(18, 16\)"),
    "a bias that no map has": (grid([2, 3], map_bias="none"), "damaged attributes"),
    "another map's bias": (grid([2, 3], map_bias="per_cell"), r"map/bias is \(16,\), expected \(2, 3, 16\)"),
    "a bias without end": (grid([2**15, 2**14], map_bias="per_cell"), "biases of more than 2147483648 numbers"),
    "a kernel without end": (grid([2, 3], map_kernel=3, modulation_dim=2**27), "more than 2147483648 numbers"),
    "a scale for every number": (hold("scale", np.ones(12, np.float32)), "rounding describes"),
    "rates for every number": (rates((5, 12)), r"learning_rate has shape \(5, 12\), expected \(steps, 2\)"),
    "statistics of every number": (hold("statistics/mean", np.ones(12, np.float32)), r"statistics/mean: shape \(12,\)"),
    "coordinates of the whole domain": (
        on_a_sphere(),
        r"sine_0/kernel is \(3, 8\), expected \(2, 8\)",
    ),
    "a grid that version 5 did not have": (claim(format_version=5), "config.network.lookup is there"),
}
"""Of a store whose modulations are grids of 2 x 3 cells of 2 numbers."""


OF, SIDE = "augmentation_of", "augmentation_side"

AUGMENTATION_ATTACKS: dict[str, tuple[Callable[[Stranger], None], str]] = {
    "an original beyond the end": (hold(OF, np.array([0, 1, 2, 0, 5])), "example 4 is 5, expected 0 to 4"),
    "a negative original": (hold(OF, np.array([0, 1, 2, 0, -1])), "example 4 is -1, expected 0 to 4"),
    "an augmentation of an augmentation": (hold(OF, np.array([0, 1, 2, 0, 3])), "which is itself one of 0"),
    "a circle of augmentations": (hold(OF, np.array([3, 1, 2, 0, 4])), "example 0 is an augmentation of 3"),
    "originals that are floats": (hold(OF, np.zeros(5)), "augmentation_of: float64, expected int64"),
    "originals of few examples": (hold(OF, np.arange(4)), r"augmentation_of: shape \(4,\), expected \(5,\)"),
    "originals that are texts": (hold(OF, list("abcde")), "augmentation_of: string, expected numbers"),
    "sides that are integers": (hold(SIDE, np.ones(5, np.int32)), "augmentation_side: int32, expected float32"),
    "sides that are no numbers": (hold(SIDE, np.full(5, np.nan, np.float32)), "not inside its picture"),
    "a part beyond the picture": (hold("augmentation_left", np.full(5, 0.5, np.float32)), "not inside its picture"),
    "an original that is flipped": (hold("augmentation_flip", np.ones(5, bool)), "is an original, but flipped"),
    "another split": (hold("split", ["test", "validation", "test", "train", "train"]), "of the split train, but its"),
    "augmentations that are held out": (hold("split", ["test"] * 5), "augmentation in the split test"),
    "another class": (hold("labels/animal", np.array([0, 1, 1, 1, 0])), "example 3 has the label animal 1, but its"),
    "no sides": (lambda stranger: without(stranger, SIDE), "augmentation_side/zarr.json: missing or damaged"),
    "no originals": (lambda stranger: without(stranger, OF), "augmentation_of/zarr.json: missing or damaged"),
}
"""Of a store with two augmentations of one example."""


def without(stranger: Stranger, name: str) -> None:
    for key in [key for key in stranger.files if key.startswith(f"{name}/")]:
        del stranger.files[key]


def kind_of(attack: str) -> str:
    return "_spatial" if attack in GRID_ATTACKS else "_augmented" if attack in AUGMENTATION_ATTACKS else ""


IN_ARRAYS = {
    "examples without end": "the manifest has modulations/c/0/0, whose checksum is in manifest/modulations",
    "chunks without end in a shard": "chunks|the manifest has",
    "an empty shard": "modulations/c/0/0: a shard is missing or damaged",
    "a longer shard": "modulations/c/0/0: a shard is missing or damaged",
    "a truncated shard": "mse/c/0: a shard is missing or damaged",
    "no shard": "mse/c/1: a shard is missing or damaged",
    "no shard of metrics": r"manifest/metrics: .*shape \(1,\), expected \(2,\)",
}
"""What is said otherwise of a store whose manifest is in arrays."""


MANIFEST_ATTACKS: dict[str, tuple[Callable[[Stranger], Any], str]] = {
    "a manifest of another store": (
        together(sealed_first, claim(manifest_sha256="0" * 64)),
        "are not those that its root is of",
    ),
    "no checksum of the manifest": (
        together(sealed_first, claim(manifest_sha256=None)),
        "manifest_sha256 is null",
    ),
    "no checksums of shards": (without_record("manifest/mse/zarr.json"), "the manifest has no checksums of mse"),
    "no checksums of ids": (without_record("manifest/id/zarr.json"), "the manifest has no checksums of id"),
    "a chunk that is there twice": (record_too("id/c/0"), "the manifest has id/c/0, whose checksum is in manifest/id"),
    "a manifest of an unfinished store": (claim(complete=False, quality={}), "though the store is unfinished"),
    "a manifest in version 7": (claim(format_version=7), "manifest_sha256 is there"),
    "checksums that are text": (checksums("id", ["a", "b"]), "manifest/id"),
    "checksums that are floats": (checksums("mse", np.zeros(2)), "data type float64, expected uint32"),
    "checksums of fewer shards": (checksums("mse", np.zeros(1, np.uint32)), r"shape \(1,\), expected \(2,\)"),
    "checksums without sizes": (checksums("id", np.zeros(1, np.uint32)), r"shape \(1,\), expected \(None, 2\)"),
    "checksums without end": (bomb_in_manifest, "manifest/id"),
}
"""Of a store whose manifest is in arrays."""


LONG = "many wrong records", "a shape of many texts"


@pytest.mark.parametrize("version", ["v7", "v9"])
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(attack, marks=pytest.mark.slow if attack in LONG else ())
        for attack in (*ATTACKS, *GRID_ATTACKS, *AUGMENTATION_ATTACKS)
    ],
)
def test_an_attack_is_a_clear_error(stores, attack, version):
    change, words = (ATTACKS | GRID_ATTACKS | AUGMENTATION_ATTACKS)[attack]
    stranger = Stranger(*stores[version + kind_of(attack)], seed=0)
    change(stranger)
    check_refused(stranger, IN_ARRAYS.get(attack, words) if version == "v9" else words)


@pytest.mark.parametrize("attack", MANIFEST_ATTACKS)
def test_an_attack_on_the_arrays_of_a_manifest_is_a_clear_error(stores, attack):
    change, words = MANIFEST_ATTACKS[attack]
    stranger = Stranger(*stores["v9"], seed=0)
    change(stranger)
    check_refused(stranger, words)


def check_refused(stranger: Stranger, words: str | None) -> None:
    objects = stranger.sealed()

    def read() -> None:
        reader = StoreReader(objects)
        if len(reader):
            _ = reader.mse[:], reader.modulations[0]  # without their checksums
        found = verify(objects)
        if ROOT in found.damaged:
            raise StoreFormatError(found.damaged[ROOT])
        everything(objects)
        Functaset(reader).decode(0)

    with bounded_memory(MEGABYTES), bounded_time(10), pytest.raises(FunctaStoreError, match=words) as caught:
        read()
    assert len(str(caught.value)) < LONGEST_MESSAGE


ROOTS = {
    "nothing": (b"", "no valid JSON"),
    "a list": (b"[1, 2]", "no functaset"),
    "a number": (b"3", "no functaset"),
    "a huge number": (b"1" * 5000, "no valid JSON"),
    "a text": (b'"functa"', "no functaset"),
    "no UTF-8": (b'{"a": "\xff"}', "no valid JSON"),
    "half of UTF-16": (b"\xff\xfe{", "no valid JSON"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "no valid JSON"),
    "deep inside": (b'{"attributes": {"functa": ' + b"[" * 10**6, "no valid JSON"),
    "attributes that are a list": (b'{"attributes": []}', "no functaset"),
    "no attributes": (b'{"attributes": {"functa": {}}}', "format_version is None"),
    "a list of attributes": (b'{"attributes": {"functa": [3]}}', "no functaset"),
    "a checksum and nothing else": (b'{"attributes": {"functa": {"checksum": "\\ud800"}}}', "format_version is None"),
    "half a character": (b'{"\\ud800": 1, "attributes": {"functa": {"checksum": "0"}}}', "forged"),
}


@pytest.mark.parametrize("found", ROOTS)
def test_a_root_that_describes_nothing_is_a_clear_error(stores, found):
    root, words = ROOTS[found]
    with bounded_time(10), pytest.raises(StoreFormatError, match=words):
        StoreReader(Forged(stores["v9"][0] | {ROOT: root}))


def test_a_root_longer_than_any_store_needs_is_not_read(stores, monkeypatch):
    monkeypatch.setattr("functa_store.store.format.load_spec.MOST_JSON_BYTES", 20_000)
    root = stores["v9"][0][ROOT]
    everything(Forged(stores["v9"][0] | {ROOT: root + b" " * (20_000 - len(root))}))
    with pytest.raises(StoreFormatError, match="has 20,001 bytes, expected at most 20,000"):
        StoreReader(Forged(stores["v9"][0] | {ROOT: root + b" " * (20_001 - len(root))}))


@pytest.mark.slow
@pytest.mark.parametrize("opening", ["[]", ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize("checksum", [True, False])
def test_no_depth_of_nesting_overflows_the_stack(stores, opening, checksum):
    """What is read just so must not be too deep for what comes after."""
    stranger = Stranger(*stores["v9"], seed=0)
    stranger.functa["provenance"] = {"archive": "@"}
    root = stranger.sealed().files[ROOT]
    if not checksum:
        root = root.replace(b'"checksum"', b'"provenance"')
    for depth in [*range(1, 880, 16), *range(880, 1000), *range(1000, 1100, 16)]:
        deep = (opening[0] * depth + "1" + opening[1] * depth).encode()
        with pytest.raises(StoreFormatError):
            StoreReader(Forged(stranger.files | {ROOT: root.replace(b'"@"', deep)}))
        stranger.files["id/zarr.json"] = b'{"shape": [5], "codecs": ' + deep + b"}"
        with pytest.raises(StoreFormatError):
            StoreReader(Forged(stranger.files | {ROOT: seal(stranger.root, stranger.files)}))


def test_of_a_key_that_is_there_twice_the_last_counts(stores):
    """As for every JSON reader of Python; whatever comes before it is as if it were not there."""
    files = stores["v9"][0]
    root = files[ROOT].replace(b'"count": 5', b'"count": 1000000000, "count": 5')
    assert equal(everything(Forged(files | {ROOT: root})), everything(Forged(files)))
    root = files[ROOT].replace(b'"count": 5', b'"count": 5, "count": 4')
    with pytest.raises(StoreFormatError, match="checksum"):
        StoreReader(Forged(files | {ROOT: root}))


PHRASES = {
    "markup": claim(config__preset="[/x]"),
    "control characters": claim(config__preset="\x1b[2J", domain__axes=["\x1b[2J", "\0"]),
    "a reference that is text": claim(reference={"matmul_precision": "x", "psnr_mean": "y"}),
    "a reference that is deep": claim(reference={"psnr_mean": [1], "psnr_of_mean_mse": {"train": "x"}}),
    "a reference without precision": claim(reference={"matmul_precision": {"precision": []}}),
    "rejects with markup": together(hold("rejects/member", ["[/x]"]), hold("rejects/reason", ["\x1b[2J"])),
    "splits with markup": hold("split", ["[/x]", "\x1b[2J", "train", "", "ä"]),
}


@pytest.mark.parametrize("phrase", PHRASES)
def test_what_a_store_says_cannot_harm_a_terminal(stores, phrase):
    stranger = Stranger(*stores["v9"], seed=0)
    PHRASES[phrase](stranger)
    printed = io.StringIO()
    with contextlib.suppress(FunctaStoreError):
        show(info(stranger.sealed()), Console(file=printed, width=200, markup=False, emoji=False))
    assert "\x1b" not in printed.getvalue()


# --- On a disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path) -> Path:
    """A complete store on a disk."""
    return shutil.copytree(GOLDEN / "v9.functa", tmp_path / "copy.functa")


def link_file(path: Path) -> None:
    shutil.copy(path / "mse/c/1", path.parent / "secret")
    (path / "mse/c/1").unlink()
    (path / "mse/c/1").symlink_to(path.parent / "secret")


def link_folder(path: Path) -> None:
    shutil.move(path / "mse/c", path.parent / "secret")
    (path / "mse/c").symlink_to(path.parent / "secret", target_is_directory=True)


def link_inside(path: Path) -> None:
    (path / "mse/c/1").unlink()
    (path / "mse/c/1").symlink_to(path / "mse/c/0")


def link_to_itself(path: Path) -> None:
    (path / "mse/c/1").unlink()
    (path / "mse/c/1").symlink_to(path / "mse/c/1")


def instead(key: str, make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / key).unlink()
        make(path / key)

    return change


PLACES = {
    "a link out": (link_file, "reached through a link"),
    "a linked folder": (link_folder, "reached through a link"),
    "a link inside": (link_inside, "reached through a link"),
    "a link to itself": (link_to_itself, "mse/c/1"),
    "a pipe as root": (instead(ROOT, os.mkfifo), "no plain file"),
    "a pipe as metadata": (instead("id/zarr.json", os.mkfifo), "no plain file"),
    "a pipe as shard": (instead("mse/c/0", os.mkfifo), "no plain file"),
    "a folder as root": (instead(ROOT, Path.mkdir), "zarr.json"),
    "a folder as shard": (instead("mse/c/0", Path.mkdir), "mse/c/0"),
    "an empty shard": (instead("mse/c/0", Path.touch), "mse/c/0: .*torn"),
    "an endless root": (lambda path: os.truncate(path / ROOT, 2**40), "has 1,099,511,627,776 bytes"),
    "an endless shard": (lambda path: os.truncate(path / "mse/c/0", 2**40), "mse/c/0"),
    "an endless column": (lambda path: os.truncate(path / "id/c/0", 2**40), "id/c/0"),
    "a root linked out": (
        instead(ROOT, lambda path: path.symlink_to("/etc/hostname")),
        "reached through a link",
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("check", [True, False], ids=["verified", "unverified"])
def test_only_plain_files_inside_the_store_are_read(copy, place, check):
    change, words = PLACES[place]
    change(copy)
    with bounded_memory(MEGABYTES), bounded_time(10), pytest.raises(FunctaStoreError, match=words):
        _ = [(reader.ids[:], reader.mse[:]) for reader in [StoreReader(copy, verify=check)]]
    with bounded_memory(MEGABYTES), bounded_time(10), contextlib.suppress(FunctaStoreError):
        assert verify(copy).damaged


NAMES = {
    "half a character": "\ud800",
    "half a byte": "\udcff",
    "long": "x" * 300,
    "deep": "a/" * 3000 + "b",
    "two lines": "a\nb",
    "delete": "\x7f",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["labels", "base", ""])
def test_no_name_in_the_manifest_crashes_a_reader(copy, name, folder):
    root = json.loads((copy / ROOT).read_text())
    key = f"{folder}/{NAMES[name]}/zarr.json".removeprefix("/")
    root["attributes"]["functa"]["manifest"][key] = {"bytes": 4, "crc32c": "00000000"}
    (copy / ROOT).write_bytes(sign(root))
    with contextlib.suppress(FunctaStoreError):
        assert verify(copy).damaged
    with contextlib.suppress(FunctaStoreError):
        everything(copy)


@pytest.mark.long
def test_folders_in_folders_are_no_way_down(copy):
    """Deeper than Python may recurse, as far as a path may be long."""
    where = os.getcwd()
    try:
        os.chdir(copy)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(where)
    try:
        with contextlib.suppress(FunctaStoreError):
            assert verify(copy).damaged == {}
    finally:
        os.rename(copy / "d", deep := copy.parent / "deep")
        while (inner := deep / "d").exists():  # rmtree recurses, too
            os.rename(inner, aside := deep.parent / "aside")
            deep.rmdir()
            aside.rename(deep)


def test_a_loop_beside_the_store_is_no_crash(tmp_path):
    (tmp_path / "x.functa.work").symlink_to(tmp_path / "x.functa.work")
    with pytest.raises(FunctaStoreError, match="found nothing"):
        StoreReader(tmp_path / "x.functa")


def test_a_base_that_inflates_to_more_than_weights_do_is_refused_before_it_is_read(tmp_path):
    """6.8 GB of zeros took 556 kB in a store."""
    data = Zstd(level=3).encode(np.zeros(2**25, np.uint8))
    with pytest.raises(ValueError, match="more than 256 times as many"):
        numbers_of(data, (2**25,), np.dtype(np.uint8))
    small = np.zeros(2**20, np.float32)
    np.testing.assert_array_equal(numbers_of(Zstd(level=3).encode(small), small.shape, small.dtype), small)


def test_a_base_beyond_the_memory_of_this_process_is_refused(store, monkeypatch):
    monkeypatch.setattr("functa_store.store.reading.reader.available_bytes", lambda: 100)
    with pytest.raises(StoreFormatError, match=r"its base needs .* of memory, this process may take"):
        _ = StoreReader(store).base


def test_a_long_sparse_shard_is_verified_block_by_block(store, tmp_path, monkeypatch):
    monkeypatch.setattr(LocalObjects, "block_bytes", 64)
    assert not verify(store).damaged
    copied = shutil.copytree(store, tmp_path / "x.functa")
    with (copied / "modulations/c/0/0").open("r+b") as file:
        file.truncate(2**40)
    (copied / "modulations/c/1/0").unlink()
    shard = copied / "modulations/c/2/0"
    shard.write_bytes(b"\1" + shard.read_bytes()[1:])
    damaged = verify(copied).damaged
    assert damaged.keys() == {f"modulations/c/{k}/0" for k in range(3)}
    assert "1,099,511,627,776 bytes" in damaged["modulations/c/0/0"]


def test_a_long_object_of_a_bucket_is_verified_block_by_block(store, monkeypatch):
    bucket, asked = open_objects("memory://hostile/blocks.functa"), dict[str, list[int]]()
    for file in filter(Path.is_file, store.rglob("*")):
        bucket.write(file.relative_to(store).as_posix(), file.read_bytes())
    read_ranges = RemoteObjects.read_ranges

    def watched(self, key, starts, lengths):
        asked.setdefault(key, []).extend(lengths)
        return read_ranges(self, key, starts, lengths)

    monkeypatch.setattr(RemoteObjects, "block_bytes", 64)
    monkeypatch.setattr(RemoteObjects, "read_ranges", watched)
    assert not verify(bucket).damaged
    key = "modulations/c/2/0"
    num_bytes = (store / key).stat().st_size
    assert asked[key] == [64] * (num_bytes // 64) + [num_bytes % 64] * (num_bytes % 64 > 0)
    assert len(asked[key]) > 1
    bucket.write(key, (store / key).read_bytes()[:-1] + b"\1")
    bucket.write("modulations/c/0/0", (store / "modulations/c/0/0").read_bytes() + bytes(64))
    assert verify(bucket).damaged.keys() == {key, "modulations/c/0/0"}


if __name__ == "__main__":  # the slow test
    found = make_stores(Path(sys.argv[1]))
    with warnings.catch_warnings(action="error"):
        damage = survey(damages(found, 40_000), MEGABYTES, SECONDS)
        forgery = survey(forgeries(found, 60_000), MEGABYTES, SECONDS)
    assert sum((damage + forgery).values()) >= 100_000
