"""Exported arrays are what decoding gives, under names that do no harm, or not there at all."""

import csv
import dataclasses
import errno
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import functa_store
from functa_store.decode.functaset import Functaset
from functa_store.decode.pictures import to_image
from functa_store.domains.cells import CellGrid
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import (
    ConfigError,
    ExampleIndexError,
    FunctaStoreError,
    GridError,
    StorageError,
    StoreExistsError,
)
from functa_store.exporting import export as exporting
from functa_store.exporting import zarr_files
from functa_store.exporting.array_files import escaped, file_names, unescaped
from functa_store.exporting.export import export
from functa_store.exporting.zarr_files import chunk_shape
from functa_store.progress import Exported, Note
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.side_arrays import RATES, base_shapes
from tests.store.conftest import NETWORK, NUM_EXAMPLES, make_contents, write_shards

WINDOW = {"resolution": (3, 5), "region": ((0.25, 0.75), (0.0, 0.5))}
EXAMPLE_BYTES = 8 * 8 * 3 * 4


@pytest.fixture(scope="module", name="fs")
def _fs(tmp_path_factory) -> Functaset:
    """21 pictures."""
    return functa_store.open(write_shards(tmp_path_factory.mktemp("stores") / "pets.functa", make_contents()))


def make_fields(path, axes=("level",), **changes) -> Functaset:
    """21 examples that make no pictures, in kelvin, from 200 to 300."""
    rng = np.random.default_rng(0)
    shapes = base_shapes(NETWORK, len(axes), 2) | {RATES: (3, 4)}
    changes = {
        "domain": CellGrid(axes=axes, resolution=(6,) * len(axes)),
        "features": FeatureSpec(channels=("air", "ground"), units=("K",) * 2, data_range=(200.0, 300.0)),
        "base": {name: 50 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        **changes,
    }
    return functa_store.open(write_shards(path, make_contents(**changes)))


@pytest.fixture(scope="module", name="fields")
def _fields(tmp_path_factory) -> Functaset:
    return make_fields(tmp_path_factory.mktemp("stores") / "fields.functa")


@pytest.fixture(name="batches")
def _batches(monkeypatch) -> list[int]:
    """How many examples each call of decode was for; batches hold five pictures, chunks two."""
    monkeypatch.setattr(exporting, "BATCH_BYTES", 5 * EXAMPLE_BYTES)
    monkeypatch.setattr(zarr_files, "MOST_CHUNK_BYTES", 2 * EXAMPLE_BYTES)
    decode, found = Functaset.decode, []

    def counted(self, index, *args, **options):
        found.append(len(index))
        return decode(self, index, *args, **options)

    monkeypatch.setattr(Functaset, "decode", counted)
    return found


GLOBE = SphereGrid(latitudes=(60.0, 0.0, -60.0), longitudes=(0.0, 90.0, 180.0, 270.0), mask="5 2 5")
"""Two points are missing."""


def make_globes(path) -> Functaset:
    """21 fields on a sphere, in kelvin."""
    features = FeatureSpec(channels=("air",), units=("K",), value_scale=(100.0,), value_offset=(200.0,))
    rng, shapes = np.random.default_rng(0), base_shapes(NETWORK, 3, 1) | {RATES: (3, 4)}
    base = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return functa_store.open(write_shards(path, make_contents(domain=GLOBE, features=features, base=base)))


def rows_of(folder) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


EVERY = list(range(NUM_EXAMPLES))
SELECTIONS = [
    (EVERY, {}, {}),
    (EVERY[::-4], {"index": slice(None, None, -4)}, {"region": ((0.0, 0.5), (0.5, 1.0))}),
    (EVERY[1::3], {"index": np.arange(NUM_EXAMPLES) % 3 == 1, "clip": False}, {"resolution": 4}),
    ([20, 3, 3, 20], {"index": [20, 3, 3, -1]}, WINDOW),
    ([5], {"index": 5}, {}),
]


@pytest.mark.parametrize(("positions", "choice", "grid"), SELECTIONS)
def test_exported_arrays_are_what_decode_gives(fs, batches, tmp_path, positions, choice, grid):
    expected = fs.decode(positions, clip=choice.get("clip", True), **grid)
    for name in ("pets.npz", "pets.zarr"):
        assert export(fs, tmp_path / name, **grid, **choice) == expected.shape
    with np.load(tmp_path / "pets.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["values"], expected)
        np.testing.assert_array_equal(arrays["index"], positions)
        np.testing.assert_array_equal(arrays["id"], list(map(str, fs.ids[positions])))
        np.testing.assert_array_equal(arrays["split"], list(map(str, fs.split[positions])))
        assert arrays["channel"].tolist() == ["red", "green", "blue"]
        np.testing.assert_array_equal(arrays["mse"], fs.mse[positions])
        np.testing.assert_array_equal(arrays["labels/age"], fs.labels["age"][positions])
        np.testing.assert_array_equal(arrays["coords/x"], fs.domain.axis_coords(**grid)[1])
    with xr.open_zarr(tmp_path / "pets.zarr", consolidated=False) as dataset:
        np.testing.assert_array_equal(dataset.image, expected)
        np.testing.assert_array_equal(dataset.example, positions)


ODD = {
    "axes": ("id", "along/across"),
    "labels": {name: Label(values=np.arange(NUM_EXAMPLES) % 2, names=("no", "yes")) for name in ("id", "hair colour")},
}


@pytest.mark.slow
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("store", ["fs", "fields", "odd"])
def test_xarray_sees_in_the_group_what_it_sees_in_the_functaset(store, clip, request, tmp_path):
    fs = make_fields(tmp_path / "odd.functa", **ODD) if store == "odd" else request.getfixturevalue(store)
    options = {"resolution": 3, "region": ((0.25, 0.75),) * fs.domain.num_axes, "clip": clip}
    export(fs, tmp_path / "out.zarr", **options)
    seen = xr.open_dataset(fs.store.path, engine="functa", **options)
    with xr.open_zarr(tmp_path / "out.zarr", consolidated=False) as exported:
        xr.testing.assert_identical(exported.load(), seen.load())
        assert set(exported.indexes) == set(seen.indexes)
        assert {name: array.dtype.kind for name, array in exported.items()} == dict.fromkeys(seen, "f")
        for name, array in exported.variables.items():
            assert array.attrs.keys() == seen[name].attrs.keys()


@pytest.mark.parametrize("store", ["fs", "fields"])
def test_bytes_are_within_half_a_level_of_the_features(store, request, tmp_path):
    functaset = request.getfixturevalue(store)
    export(functaset, tmp_path / "out.zarr", dtype="uint8")
    expected = functaset.decode(slice(None), clip=True)
    level = functaset.features.span / 255
    with xr.open_zarr(tmp_path / "out.zarr", consolidated=False) as dataset:
        decoded = dataset[functaset.domain.quantity]
        assert decoded.encoding["dtype"] == np.uint8
        np.testing.assert_allclose(decoded, expected, atol=0.501 * level)
        assert decoded.attrs["units"] == functaset.features.units[0]


def test_pictures_are_those_of_the_features(fs, batches, tmp_path):
    export(fs, tmp_path / "pets", 5)
    for row, features in zip(rows_of(tmp_path / "pets"), fs.decode(EVERY, 5), strict=True):
        with Image.open(tmp_path / "pets" / row["file"]) as picture:
            np.testing.assert_array_equal(picture, to_image(features))


def test_what_makes_no_picture_becomes_an_array(fields, tmp_path):
    export(fields, tmp_path / "fields", 5, clip=False)
    for row, features in zip(rows_of(tmp_path / "fields"), fields.decode(slice(None), 5, clip=False), strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / "fields" / row["file"]), features)


def test_the_table_lists_every_file_and_what_is_known_of_it(fs, tmp_path):
    export(fs, tmp_path / "pets", index=[7, 2, 7])
    rows = rows_of(tmp_path / "pets")
    assert list(rows[0]) == ["index", "id", "split", "mse", "labels/age", "labels/animal", "file"]
    assert [int(row["index"]) for row in rows] == [7, 2, 7]
    assert [row["id"] for row in rows] == [fs[7].id, fs[2].id, fs[7].id]
    np.testing.assert_allclose([float(row["mse"]) for row in rows], fs.mse[[7, 2, 7]], rtol=1e-6)
    assert [row["file"] for row in rows] == ["bild_7_ä.png", "bild_2_ä.png", "bild_7_ä-2.png"]
    assert {row["file"] for row in rows} | {"index.csv"} == set(os.listdir(tmp_path / "pets"))


PIECES = [*"./\\aA\0\n_ *-", "..", "ä", "a\u0308", "-2", "con", "\u017f", "\ud800", "\u65e5" * 50, ".jpg"]
NASTY = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=20)


@given(st.lists(NASTY, max_size=30))
def test_names_of_files_are_unique_and_never_leave_their_folder(names):
    found = file_names(names)
    assert len(found) == len({name.casefold() for name in found}) == len(names)
    for name in found:
        assert os.path.basename(name) == name
        assert name.strip() == name
        assert name.isprintable()
        assert name[0] not in ".-"
        assert len(name.encode()) < 140


def test_harmless_names_lose_their_ending_alone():
    names = ["img_align_celeba/000001.jpg", "n01443537/n01443537_0.JPEG", "run-1.5/ä.tar.gz", "v1.2"]
    assert file_names(names) == ["img_align_celeba_000001", "n01443537_n01443537_0", "run-1.5_ä.tar", "v1.2"]


def test_names_that_windows_takes_for_devices_are_changed():
    assert file_names(["aux.png", "NUL", "com1.old.png", "console"]) == ["_aux", "_NUL", "_com1.old", "console"]
    assert file_names(["LPT²", "con.tar.gz"]) == ["_LPT²", "_con.tar"]


FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "x;=1+1",
    "x,\n@A1",
    "'=1",
    "\uff1d1",
    "';'=",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_as_a_formula_does(text):
    cell = escaped(text)
    for part in re.split(r"[;,|\t\r\n]", cell):
        assert part[:1] not in tuple("=+-@\uff1d")
    assert unescaped(cell) == text


@given(st.text("'=+-@;,|\t\r\nax1.\uff1d", max_size=12))
def test_cells_are_turned_back_into_their_texts(text):
    assert unescaped(escaped(text)) == text


@pytest.mark.parametrize("text", ["", "-3", "+1.5e-3", "007", "a-b", "it's", "n01443537/x=1.png"])
def test_numbers_and_harmless_texts_stay_as_they_are(text):
    assert escaped(text) == text


def test_a_table_of_a_strangers_examples_runs_nothing(tmp_path):
    ids = [*FORMULAS, *map(str, range(NUM_EXAMPLES - len(FORMULAS)))][:NUM_EXAMPLES]
    labels = {"-age": Label(values=np.linspace(-2, 2, NUM_EXAMPLES))}
    fs = functa_store.open(write_shards(tmp_path / "s.functa", make_contents(ids=ids, labels=labels)))
    export(fs, tmp_path / "out", 2)
    rows = rows_of(tmp_path / "out")
    assert [unescaped(row["id"]) for row in rows] == ids
    assert not any(row["id"].startswith(tuple("=+-@")) for row in rows)
    np.testing.assert_allclose([float(row["labels/-age"]) for row in rows], np.linspace(-2, 2, NUM_EXAMPLES), rtol=1e-6)


def test_a_strangers_names_stay_in_the_folder(tmp_path):
    ids = [f"../../{i}/../x.png" for i in range(NUM_EXAMPLES - 2)] + ["/etc/passwd", "\0"]
    fs = functa_store.open(write_shards(tmp_path / "s.functa", make_contents(ids=ids)))
    (tmp_path / "inner").mkdir()
    export(fs, tmp_path / "inner" / "out", 2)
    assert sorted(os.listdir(tmp_path)) == ["inner", "s.functa"]
    assert os.listdir(tmp_path / "inner") == ["out"]
    assert len(os.listdir(tmp_path / "inner" / "out")) == NUM_EXAMPLES + 1
    assert [row["id"] for row in rows_of(tmp_path / "inner" / "out")] == ids


@pytest.mark.parametrize("out", ["pets", "pets.zarr", "pets.npz"])
def test_memory_holds_a_few_examples_whatever_their_number(fs, batches, tmp_path, out):
    export(fs, tmp_path / out)
    most = 4 if out == "pets.zarr" else 5
    assert batches == [most] * (NUM_EXAMPLES // most) + [1]


def test_what_is_decoded_once_is_not_kept(fs, tmp_path):
    before = fs.cache.num_bytes
    export(fs, tmp_path / "pets.zarr", 7)
    assert fs.cache.num_bytes == before


def test_an_example_larger_than_a_batch_is_decoded_alone(fs, batches, tmp_path):
    export(fs, tmp_path / "pets.zarr", 32)
    assert batches == [1] * NUM_EXAMPLES


@given(st.integers(1, 10**6), st.lists(st.integers(1, 3000), min_size=2, max_size=4), st.sampled_from([1, 4]))
def test_chunks_are_bounded_and_as_large_as_may_be(num_examples, shape, itemsize):
    sizes = (num_examples, *shape)
    found = chunk_shape(num_examples, tuple(shape), itemsize)
    assert all(1 <= n <= size for n, size in zip(found, sizes, strict=True))
    bytes_found = itemsize * int(np.prod(found))
    assert bytes_found <= zarr_files.MOST_CHUNK_BYTES or found[:-1] == (1,) * len(shape)
    assert found == sizes or 2 * bytes_found > zarr_files.MOST_CHUNK_BYTES - bytes_found


OUTPUTS = ["out", "out.zarr", "out.npz"]


@pytest.mark.parametrize("out", OUTPUTS)
def test_an_interrupted_export_leaves_nothing(fs, batches, tmp_path, out):
    def interrupt(event):
        if event.done > NUM_EXAMPLES // 2:
            assert os.listdir(tmp_path) == [f"{out}.part"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(fs, tmp_path / out, report=interrupt)
    assert os.listdir(tmp_path) == []
    export(fs, tmp_path / out)
    assert os.listdir(tmp_path) == [out]


@pytest.mark.parametrize(
    ("out", "writing"),
    [("out", "PIL.Image.Image.save"), ("out.zarr", "zarr.Array.__setitem__"), ("out.npz", "numpy.savez")],
)
def test_a_full_disk_leaves_nothing(fs, batches, tmp_path, monkeypatch, out, writing):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, full)
    with pytest.raises(StorageError, match="No space left on device; what had been written is removed"):
        export(fs, tmp_path / out)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_export_left_is_named_and_kept(fs, tmp_path):
    (tmp_path / "out.part").mkdir()
    with pytest.raises(StoreExistsError, match=r"out\.part: .* was cut off; delete it"):
        export(fs, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out.part"]


@pytest.mark.parametrize("out", ["out", "out.npz", "out.zarr"])
def test_two_exports_that_begin_together_are_told_apart(fs, tmp_path, monkeypatch, out):
    monkeypatch.setattr(exporting, "check_free", lambda path: (path.with_name(path.name + ".part")).touch())
    with pytest.raises(StoreExistsError, match=r"\.part: another export to .* is running"):
        export(fs, tmp_path / out)
    assert os.listdir(tmp_path) == [f"{out}.part"]


def test_what_appeared_meanwhile_is_not_replaced(fs, tmp_path):
    with pytest.raises(StoreExistsError, match="exists already"):
        export(fs, tmp_path / "out.npz", report=lambda _: (tmp_path / "out.npz").write_text("mine"))
    assert (tmp_path / "out.npz").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out.npz"]


REFUSED = [
    ("s3://key:secret@bucket/out.zarr", {}, ConfigError, r"^s3:\.\.\.: .* copy it to a bucket"),
    ("no/such/out.zarr", {}, ConfigError, "create it first"),
    ("there", {}, StoreExistsError, "delete it, or choose another path"),
    ("dangling", {}, StoreExistsError, "exists already"),
    (".", {}, StoreExistsError, "exists already"),
    ("pets.functa/out", {}, ConfigError, "inside the store"),
    ("link/out.npz", {}, ConfigError, "inside the store"),
    ("out.png", {}, ConfigError, "name of a folder"),
    ("out.functa", {}, ConfigError, "NAME.zarr"),
    ("out.npz", {"dtype": "uint8"}, ConfigError, "uint8 is for NAME.zarr"),
    ("out.zarr", {"dtype": "uint8", "clip": False}, ConfigError, "for clipped values"),
    ("out", {"clip": False}, ConfigError, "pictures are always clipped"),
    ("out", {"resolution": 0}, GridError, "resolution"),
    ("out", {"region": ((0, 1),)}, GridError, "region"),
    ("out.zarr", {"index": [99]}, ExampleIndexError, "does not exist"),
    ("out.zarr", {"index": []}, ExampleIndexError, "no example to export"),
    ("out.zarr", {"resolution": 2**24}, FunctaStoreError, "lower resolution"),
]


@pytest.mark.parametrize(("out", "options", "error", "words"), REFUSED, ids=str)
def test_what_cannot_be_exported_is_refused_before_anything_is_decoded(
    tmp_path, monkeypatch, out, options, error, words
):
    fs = functa_store.open(write_shards(tmp_path / "pets.functa", make_contents()))
    (tmp_path / "there").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "link").symlink_to("pets.functa")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Functaset, "decode", None)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=words):
        export(fs, out, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_arrays_beyond_memory_or_disk_are_refused(fs, fields, tmp_path, monkeypatch):
    monkeypatch.setattr(Functaset, "decode", None)
    small = type("Usage", (), {"free": 1000, "available": 10**6})
    monkeypatch.setattr("shutil.disk_usage", lambda _: small)
    with pytest.raises(StorageError, match="make room"):
        export(fields, tmp_path / "out")
    monkeypatch.setattr("psutil.virtual_memory", lambda: small)
    with pytest.raises(GridError, match=r"a lower resolution or a region, or write .* as NAME\.zarr"):
        export(fs, tmp_path / "out.npz", 64)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error_before_anything_is_decoded(fs, tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", forbidden)
    monkeypatch.setattr(Functaset, "decode", None)
    with pytest.raises(StorageError, match="Permission denied; choose another folder"):
        export(fs, tmp_path / "out")


def test_an_unfinished_store_exports_what_is_finished_and_says_so(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "pets.functa", make_contents(), stop_before=2)
    fs, events = functa_store.open(tmp_path / "pets.functa"), []
    assert export(fs, tmp_path / "out.npz", report=events.append)[0] == len(fs) == 16
    assert [event.message for event in events if isinstance(event, Note)] == [
        f"{tmp_path}/pets.functa: unfinished; has 16 of 21 examples so far"
    ]


def test_progress_ends_with_the_last_example(fs, batches, tmp_path):
    events = []
    export(fs, tmp_path / "out", report=events.append)
    assert all(isinstance(event, Exported) for event in events)
    assert [event.done for event in events] == [5, 10, 15, 20, 21]
    assert dataclasses.replace(events[-1], examples_per_second=1.0) == Exported(
        done=21, total=21, examples_per_second=1.0, seconds_left=0.0
    )


def test_importing_it_imports_neither_jax_nor_zarr():
    code = "import sys, functa_store.exporting.export\nsys.exit(bool({'jax', 'zarr', 'xarray'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("None", "expected a path"),
        ("b'out.zarr'", "expected a path"),
        ("'out.zarr', dtype='int8'", "int8"),
        ("'out.npz', dtype='int8'", "int8"),
        ("'out.npz', dtype=None", "dtype"),
    ],
)
def test_arguments_of_a_wrong_kind_are_named(fs, tmp_path, arguments, words):
    """In a process of its own, in which no annotation is checked."""
    code = f"import functa_store as f\ntry: f.export(f.open({str(fs.store.path)!r}), {arguments})\n"
    code += "except f.errors.ConfigError as error: print(error)"
    run = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    found = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert words in found.stdout
    assert os.listdir(tmp_path) == []


def test_a_field_on_a_sphere_is_exported_as_values_not_as_a_picture(tmp_path):
    globes = make_globes(tmp_path / "globes.functa")
    export(globes, tmp_path / "files", index=[3])
    (row,) = rows_of(tmp_path / "files")
    found = np.load(tmp_path / "files" / row["file"])
    np.testing.assert_array_equal(found, globes.decode(3, clip=True)[0])
    assert np.isnan(found).sum() == 2


def test_points_without_a_value_stay_missing_in_8_bits(tmp_path):
    globes = make_globes(tmp_path / "globes.functa")
    export(globes, tmp_path / "bytes.zarr", dtype="uint8")
    dataset = xr.open_zarr(tmp_path / "bytes.zarr", consolidated=False)
    np.testing.assert_allclose(dataset["field"], globes.decode(slice(None), clip=True), atol=100 / 254 / 2 + 1e-4)
    np.testing.assert_array_equal(dataset["latitude"], GLOBE.latitudes)


def test_images_of_channels_with_their_own_ranges_are_no_pictures(tmp_path):
    features = FeatureSpec(channels=("u", "v", "t"), value_scale=(1.0, 1.0, 100.0))
    rng, shapes = np.random.default_rng(0), base_shapes(NETWORK, 2, 3) | {RATES: (3, 4)}
    base = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    winds = functa_store.open(write_shards(tmp_path / "winds.functa", make_contents(features=features, base=base)))
    export(winds, tmp_path / "files", index=[0])
    assert rows_of(tmp_path / "files")[0]["file"].endswith(".npy")
