"""Arrays in files and in memory, NumPy, Zarr, HDF5 and xarray, become one and the same source."""

import dataclasses
import os
import warnings

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from converters.arrays.arrays import open_array_archive
from converters.shapes.voxels import open_voxels
from functa_store.domains.cells import CellGrid
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    MemberError,
    TooManyRejectsError,
)
from functa_store.progress import Surveyed
from functa_store.reopen import reopened
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Source
from functa_store.sources.xarray_source import from_xarray

VALUES = np.random.default_rng(0).normal([280, 5], [10, 2], (20, 4, 6, 2)).astype(np.float32)
KINDS = np.array(["cat", "dog"] * 10)
SPLIT = np.array(["train"] * 15 + ["test"] * 5)


def write_npy(path, **arrays):
    np.save(path.with_suffix(".npy"), arrays["values"])
    return path.with_suffix(".npy")


def write_npz(path, **arrays):
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def write_hdf5(path, **arrays):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, array in arrays.items():
            file[f"deep/{name}" if name == "inner" else name] = array.astype("S") if array.dtype.kind == "U" else array
    return path.with_suffix(".h5")


def write_zarr(path, **arrays):
    group = zarr.open_group(path.with_suffix(".zarr"), mode="w")
    for name, array in arrays.items():
        numbers = np.unique(array, return_inverse=True)[1] if array.dtype.kind == "U" else array
        group.create_array(name, data=numbers, chunks=(3, *numbers.shape[1:]))
    return path.with_suffix(".zarr")


WRITERS = (write_npy, write_npz, write_hdf5, write_zarr)


@pytest.mark.parametrize("write", WRITERS)
def test_every_kind_of_file_gives_the_same_source(tmp_path, write):
    source = open_array_archive(write(tmp_path / "a", values=VALUES), units="K,m s-1", channels="t,u")
    expected = ArraySource(VALUES, units=("K", "m s-1"), channels=("t", "u"))
    assert isinstance(source, Source)
    assert (source.ids, source.features, source.domain) == (expected.ids, expected.features, expected.domain)
    assert source.provenance["sha256"] == expected.provenance["sha256"]
    for index in (0, 7, 19):
        np.testing.assert_array_equal(source.read(index), expected.read(index))


def test_features_span_the_training_examples_and_values_come_back():
    source = ArraySource(VALUES)
    training = np.stack([source.read(int(k)) for k in np.flatnonzero(source.split == "train")])
    np.testing.assert_allclose(training.min((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(training.max((0, 1, 2)), 1, atol=1e-6)
    np.testing.assert_allclose(source.features.to_values(source.read(9)), VALUES[9], rtol=1e-5)
    assert source.features.metrics == ("rmse",)


@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 255.0), (bool, 1.0)])
def test_bytes_and_booleans_stay_so_and_span_what_they_can(dtype, high):
    values = np.random.default_rng(0).integers(0, 2, (12, 5, 1)).astype(dtype)
    source = ArraySource(values)
    assert source.read(0).dtype == np.uint8
    features = (source.read(0) * source.features.scale + source.features.offset).astype(np.float32)
    np.testing.assert_allclose(source.features.to_values(features), values[0], rtol=1e-6)
    assert source.features.value_range == (0.0, high)


def test_a_range_that_is_given_holds(tmp_path):
    source = open_array_archive(write_npy(tmp_path / "a", values=VALUES), value_range="0,500")
    np.testing.assert_allclose(source.read(3), VALUES[3] / 500, rtol=1e-6)
    assert source.features.value_ranges == ((0, 500), (0, 500))


def test_a_constant_channel_is_no_division_by_zero():
    source = ArraySource(np.full((5, 3, 1), 7.0))
    assert (source.read(0) == 0).all()
    assert source.features.value_offset == (7.0,)


@pytest.mark.parametrize(
    ("shape", "channels_axis", "resolution", "num_channels"),
    [
        ((12, 5), "none", (5,), 1),
        ((12, 5, 2), "last", (5,), 2),
        ((12, 2, 5), "first", (5,), 2),
        ((12, 5, 2, 6), "2", (5, 6), 2),
        ((12, 4, 5, 6), "none", (4, 5, 6), 1),
    ],
)
def test_the_channels_axis_is_where_it_is_said_to_be(tmp_path, shape, channels_axis, resolution, num_channels):
    values = np.random.default_rng(0).random(shape)
    source = open_array_archive(write_npy(tmp_path / "a", values=values), channels_axis=channels_axis)
    assert (source.domain.resolution, source.features.num_channels) == (resolution, num_channels)
    assert source.domain.axes == ("z", "y", "x")[-len(resolution) :]


@pytest.mark.parametrize("write", WRITERS[1:3])
def test_labels_ids_and_the_split_are_arrays_of_the_file(tmp_path, write):
    names = np.array([f"n{k}" for k in range(20)])
    path = write(tmp_path / "a", values=VALUES, kind=KINDS, age=np.arange(20) / 2, name=names, part=SPLIT)
    source = open_array_archive(path, array="values", labels="kind, age", ids="name", split_from="part")
    assert source.ids == names.tolist()
    assert (source.split == SPLIT).all()
    assert source.labels["kind"].names == ("cat", "dog")
    assert source.labels["kind"].values.tolist() == [0, 1] * 10
    assert source.labels["age"].values[3] == 1.5


def test_examples_with_nan_are_rejects_or_miss_some_values(tmp_path):
    values = VALUES.copy()
    values[3, 0, 0, 0], values[5], values[7, 1, 1, 1] = np.nan, np.nan, np.inf
    path = write_npy(tmp_path / "a", values=values)
    source = open_array_archive(path, max_rejects=0.2)
    assert {r.member: r.reason.split(";")[0] for r in source.rejects} == {
        "3": "holds 1 values that are NaN",
        "5": "holds no value: all are NaN",
        "7": "holds infinite values",
    }
    assert len(source.ids) == 17
    tolerant = open_array_archive(path, missing=True, max_rejects=0.2)
    assert tolerant.features.missing
    assert [r.member for r in tolerant.rejects] == ["5", "7"]
    assert np.isnan(tolerant.read(3)).sum() == 1
    with pytest.raises(TooManyRejectsError, match=r"1 of 20 examples cannot be used so far.*: 3 holds 1 values"):
        open_array_archive(path)


def test_nothing_but_an_example_is_read_at_once():
    class Watched:
        shape, dtype, chunks, most = VALUES.shape, VALUES.dtype, (5,), 0

        def __getitem__(self, key):
            self.most = max(self.most, len(VALUES[key]))
            return VALUES[key]

    watched = Watched()
    source = ArraySource(watched)
    watched.most = 0
    source.read(3)
    assert watched.most == 1


def test_blocks_are_whole_chunks_of_bounded_size(monkeypatch):
    monkeypatch.setattr("functa_store.sources.array_blocks.BLOCK_BYTES", 7 * VALUES[0].nbytes)
    seen = []

    class Watched:
        shape, dtype, chunks = VALUES.shape, VALUES.dtype, (3, 4, 6, 2)

        def __getitem__(self, key):
            seen.append((key.start, key.stop))
            return VALUES[key]

    ArraySource(Watched())
    assert seen[:4] == [(0, 6), (6, 12), (12, 18), (18, 20)]


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"values": VALUES}, {"array": "other"}, "there is no array 'other'; found values"),
        ({"values": VALUES, "more": VALUES}, {}, r"found 2 arrays of two axes or more \(values, more\)"),
        ({"values": VALUES, "k": KINDS[:5]}, {"labels": "k"}, "label k has 5 values for 20 examples"),
        ({"values": VALUES, "s": SPLIT[:5]}, {"split_from": "s"}, "split has 5 values for 20 examples"),
        ({"values": VALUES}, {"labels": "values", "array": "values"}, "expected one value per example"),
        ({"values": VALUES}, {"channels": "a,b,c"}, "found 3 channels, expected 2"),
        ({"values": VALUES}, {"axes": "x"}, "found 1 axes, expected 2"),
        ({"values": np.zeros((5, 2, 2, 2, 2, 1))}, {}, "gives 4 spatial axes .* expected 1 to 3"),
        ({"values": np.zeros((5, 2))}, {}, "gives 0 spatial axes"),
        ({"values": np.zeros((5, 2, 2), complex)}, {}, "holds complex128, expected booleans, integers or floats"),
        ({"values": np.full((5, 2, 2), "a")}, {}, "holds <U1"),
        ({"values": np.zeros((0, 2, 2))}, {}, "no examples"),
        ({"values": np.zeros((4, 0, 2))}, {}, "holds no value"),
        ({"values": VALUES}, {"channels_axis": "0"}, "no axis of .* other than the first"),
        ({"values": VALUES}, {"channels_axis": "7"}, "no axis of"),
    ],
)
def test_what_contradicts_the_array_is_refused(tmp_path, arrays, options, words):
    with pytest.raises(ArchiveError, match=words):
        open_array_archive(write_npz(tmp_path / "a", **arrays), **options)


@pytest.mark.parametrize("write", [write_npy, write_npz])
def test_python_objects_are_never_loaded(tmp_path, write):
    with pytest.raises(ArchiveError, match=r"holds Python objects, which are never loaded"):
        open_array_archive(
            write(tmp_path / "a", values=np.array([[[1, {}]]], object)), array="values" * (write is write_npz)
        )


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello, world")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.npy").write_bytes(write_npy(tmp_path / "a", values=VALUES).read_bytes()[:300])
    (tmp_path / "cut.npz").write_bytes(write_npz(tmp_path / "a", values=VALUES).read_bytes()[:300])
    (tmp_path / "cut.h5").write_bytes(write_hdf5(tmp_path / "a", values=VALUES).read_bytes()[:300])
    for name, words in {
        "none": "no such file",
        "a.txt": "starts with b'hello, w'",
        "empty": "no Zarr",
        "cut.npy": "cannot be read",
        "cut.npz": "cannot be read",
        "cut.h5": "cannot be read",
    }.items():
        with pytest.raises(ArchiveError, match=words):
            open_array_archive(tmp_path / name)


@pytest.mark.parametrize("option", [{"value_range": "3"}, {"value_range": "3,1"}, {"channels_axis": "middle"}])
def test_options_that_make_no_sense_are_refused_by_name(tmp_path, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        open_array_archive(write_npy(tmp_path / "a", values=VALUES), **option)


def test_a_limit_and_a_dry_run_read_only_the_first(tmp_path):
    path, events = write_npy(tmp_path / "a", values=VALUES), []
    assert open_array_archive(path, limit=12).ids == [str(k) for k in range(12)]
    dry = open_array_archive(path, check_first=4, report=events.append)
    assert (len(dry.ids), dry.provenance["sha256"]) == (20, None)
    assert events[-1] == Surveyed(done=4, total=4, rejects=0)


def test_a_store_says_how_its_archive_was_read(tmp_path):
    path = str(write_npz(tmp_path / "a", values=np.moveaxis(VALUES, -1, 1), kind=KINDS))
    options = {"channels_axis": "first", "labels": "kind", "value_range": "0,400", "missing": True, "axes": "a,b"}
    source = open_array_archive(path, **options)
    again = reopened(path, source.provenance)
    assert (again.ids, again.domain, again.features) == (source.ids, source.domain, source.features)
    np.testing.assert_array_equal(again.read(5), source.read(5))


def weather(count=20):
    """Two variables over time on a plane whose spacing is known in metres."""
    coords = {
        "time": np.datetime64("2020-01-01", "ns") + np.arange(count) * np.timedelta64(6, "h"),
        "y": ("y", np.arange(4) * -500.0, {"units": "m"}),
        "x": ("x", np.arange(6) * 250.0, {"units": "m"}),
        "kind": ("time", KINDS[:count]),
        "split": ("time", SPLIT[:count]),
    }
    dims = ("time", "y", "x")
    variables = {"t": (dims, VALUES[..., 0], {"units": "K"}), "u": (dims, VALUES[..., 1], {"units": "m s-1"})}
    return xr.Dataset(variables | {"height": ("y", np.zeros(4))}, coords)


def test_a_dataset_becomes_a_source_with_all_it_says():
    source = from_xarray(weather(), example_dim="time", name="weather")
    assert source.features.channels == ("t", "u")
    assert source.features.units == ("K", "m s-1")
    assert (source.domain.axes, source.domain.lengths, source.domain.units) == (("y", "x"), (2000, 1500), ("m", "m"))
    assert source.domain.cell_aspect == (2.0, 1.0)
    assert source.ids[1] == "2020-01-01 06:00:00"
    assert (source.split == SPLIT).all()
    assert source.labels["kind"].names == ("cat", "dog")
    assert source.labels.keys() == {"kind"}
    np.testing.assert_allclose(source.features.to_values(source.read(4)), VALUES[4], rtol=1e-5)


def test_an_array_has_its_channels_by_name():
    array = xr.DataArray(VALUES, dims=("n", "y", "x", "band"), coords={"band": ["near", "far"]}, attrs={"units": "W"})
    source = from_xarray(array.transpose("band", "x", "n", "y"), example_dim="n", channel_dim="band")
    assert source.domain.axes == ("x", "y")
    assert (source.features.channels, source.features.units) == (("near", "far"), ("W", "W"))
    np.testing.assert_allclose(source.features.to_values(source.read(4)), VALUES[4].swapaxes(0, 1), rtol=1e-5)
    assert source.domain.units == ("1", "1")


def test_what_dask_would_compute_is_computed_an_example_at_a_time():
    whole, lazy = (from_xarray(data, example_dim="time") for data in (weather(), weather().chunk(time=3)))
    assert lazy.provenance["sha256"] == whole.provenance["sha256"]
    np.testing.assert_array_equal(lazy.read(5), whole.read(5))
    assert dataclasses.asdict(lazy.features) == dataclasses.asdict(whole.features)


def test_several_dimensions_number_the_examples_together():
    array = xr.DataArray(
        VALUES[..., 0].reshape(5, 4, 4, 6), dims=("run", "member", "y", "x"), coords={"run": list("abcde")}
    )
    source = from_xarray(array, example_dim=["run", "member"])
    assert source.ids[:5] == ["a/0", "a/1", "a/2", "a/3", "b/0"]
    np.testing.assert_allclose(source.features.to_values(source.read(6)), VALUES[6, ..., :1], rtol=1e-5)


def test_missing_values_of_xarray_are_missing():
    source = from_xarray(weather().where(weather().x > 0), example_dim="time")
    assert source.features.missing
    assert np.isnan(source.read(0)).sum() == 8
    with pytest.raises(TooManyRejectsError, match="8 values that are NaN"):
        from_xarray(weather().where(weather().x > 0), example_dim="time", missing=False)


def test_time_is_measured_in_seconds_and_uneven_coordinates_not_at_all():
    times = np.datetime64("2020-01-01", "ns") + np.arange(8) * np.timedelta64(15, "s")
    array = xr.DataArray(np.random.default_rng(0).random((12, 8)), dims=("n", "t"), coords={"t": times})
    domain = from_xarray(array, example_dim="n").domain
    assert (domain.lengths, domain.units) == ((120.0,), ("s",))
    uneven = from_xarray(array.assign_coords(t=("t", np.arange(8.0) ** 2, {"units": "s"})), example_dim="n").domain
    assert (uneven.lengths, uneven.units) == ((1.0,), ("1",))


@pytest.mark.parametrize(
    "coord", [("lat", {}), ("j", {"units": "degrees_north"}), ("j", {"standard_name": "longitude"})]
)
def test_a_grid_of_latitudes_is_refused_with_the_way_out(coord):
    name, attributes = coord
    array = xr.DataArray(np.zeros((4, 5)), dims=("n", name), coords={name: (name, np.arange(5.0), attributes)})
    with pytest.raises(ArchiveError, match="use `functa convert climate`"):
        from_xarray(array, example_dim="n")


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda d: d, {"example_dim": "n"}, "no variable has the example dimension"),
        (lambda d: d, {"example_dim": "time", "channel_dim": "x"}, "for a single array"),
        (lambda d: d.t, {"example_dim": "time", "channel_dim": "c"}, "none of the other dimensions"),
        (lambda d: d.assign(u=d.u.isel(x=0)), {"example_dim": "time"}, "on different grids"),
        (lambda d: d, {"example_dim": "time", "split": "part"}, "no coordinate along 'time'"),
        (lambda d: d.t.expand_dims(a=2, b=2), {"example_dim": "time"}, "4 spatial axes"),
    ],
)
def test_an_xarray_object_that_does_not_fit_is_refused(change, options, words):
    with pytest.raises(ArchiveError, match=words):
        from_xarray(change(weather()), **options)


def test_labels_of_text_or_numbers_become_labels():
    source = ArraySource(VALUES, labels={"kind": KINDS, "age": list(range(20)), "same": Label(values=np.arange(20))})
    assert source.labels["kind"].names == ("cat", "dog")
    assert source.labels["age"].values.tolist() == source.labels["same"].values.tolist() == list(range(20))


def test_values_whose_meaning_is_given_are_handed_out_as_they_are():
    spec = FeatureSpec(channels=("a", "b"), scale=1 / 300, metrics=("rmse",))
    source = ArraySource(VALUES, features=spec)
    assert source.features == spec
    np.testing.assert_array_equal(source.read(3), VALUES[3])


def test_a_domain_says_more_than_the_names_of_axes():
    domain = CellGrid(axes=("lag", "x"), resolution=(4, 6), lengths=(2.0, 3.0), units=("s", "m"))
    assert ArraySource(VALUES, domain=domain).domain == domain
    with pytest.raises(ArchiveError, match=r"first example has shape \(4, 6, 2\), expected"):
        ArraySource(VALUES, domain=CellGrid(axes=("y", "x"), resolution=(5, 6)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": FeatureSpec(channels=("a", "b")), "units": ("K", "K")}, "leave out units, or features"),
        ({"domain": CellGrid(axes=("y", "x"), resolution=(4, 6)), "axes": ("y", "x")}, "leave out axes, or domain"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"limit": -3}, "limit must be at least 1"),
        ({"check_first": -1}, "check_first must be at least 0"),
        ({"max_rejects": 1.5}, "max_rejects must be a fraction"),
        ({"value_range": (float("nan"), 1)}, "value_range must be"),
    ],
)
def test_options_that_contradict_each_other_or_reason_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        ArraySource(VALUES, **options)


@pytest.mark.parametrize("values", [[1e300, 2e300], [-1e308, 1e308], [1e9, 1e9 + 1], [1e300, 1e300]])
def test_what_float32_cannot_hold_or_tell_apart_is_refused(values):
    with pytest.raises(ArchiveError, match=r"channel 0 goes from .* float32"):
        ArraySource(np.array(values).reshape(2, 1, 1).repeat(20, axis=0))


def test_a_large_constant_is_learned():
    source = ArraySource(np.full((5, 3, 1), 6e9))
    np.testing.assert_allclose(source.features.to_values(source.read(0)), 6e9, rtol=1e-6)


def test_examples_in_a_damaged_chunk_are_rejects_and_the_others_are_learned(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", data=VALUES, chunks=(3, 4, 6, 2))
    chunk = next(path for path in (tmp_path / "a.zarr").rglob("2/0/0/0") if path.is_file())
    chunk.write_bytes(b"damaged")
    with pytest.raises(TooManyRejectsError, match=r"1 of 20 examples .*: 6 cannot be read: "):
        ArraySource(array)
    source = ArraySource(array, max_rejects=0.2)
    assert [reject.member for reject in source.rejects] == ["6", "7", "8"]
    assert len(source.ids) == 17


def test_a_file_closed_after_the_source_was_made_is_named(tmp_path):
    with h5py.File(write_hdf5(tmp_path / "a", values=VALUES)) as file:
        source = ArraySource(file["values"], name="a.h5")
    with pytest.raises(MemberError, match=r"a\.h5/3: cannot be read"):
        source.read(3)


def test_numbers_of_another_library_are_refused():
    class Foreign:
        shape, dtype = (4, 5, 1), "torch.float32"

        def __getitem__(self, key):
            raise AssertionError

    with pytest.raises(ArchiveError, match="hand over a numpy array"):
        ArraySource(Foreign())


def test_an_xarray_dimension_may_number_examples_or_channels_but_not_both():
    with pytest.raises(ArchiveError, match="none of the other dimensions"):
        from_xarray(weather().t, example_dim="time", channel_dim="time")
    with pytest.raises(ArchiveError, match="no variable has the example dimension"):
        from_xarray(weather().t, example_dim=[])


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(ArchiveError, match="found a pipe or device"):
        open_array_archive(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.ma.masked_less(VALUES, 5), r"values\.filled\(np\.nan\)"), (xr.DataArray(VALUES), "use from_xarray")],
)
def test_an_array_that_says_more_than_its_values_is_refused(values, words):
    with pytest.raises(ArchiveError, match=words):
        ArraySource(values)


def test_a_zip_to_which_a_zarr_store_was_written_bit_by_bit_is_read(tmp_path):
    """It holds metadata more than once, since a zip can only be appended to; the last ones count."""
    values = np.random.default_rng(0).random((12, 8, 8)).astype(np.float32)
    dataset = xr.Dataset({"field": (("example", "y", "x"), values)})
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr.zip"
        with warnings.catch_warnings(action="ignore"), zarr.storage.ZipStore(path, mode="w") as store:
            dataset.to_zarr(store, zarr_format=version)
        source = open_array_archive(path, array="field", channels_axis="none")
        np.testing.assert_array_equal(source.read(3), ArraySource(values[..., None]).read(3))


def test_an_array_of_objects_beside_the_one_that_is_meant_is_passed_over(tmp_path):
    values = np.random.default_rng(0).random((12, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "a.npz", values=values, names=np.array(["a", "bb"] * 6, object))
    np.testing.assert_array_equal(open_array_archive(tmp_path / "a.npz").read(2), ArraySource(values).read(2))
    np.savez(tmp_path / "b.npz", names=np.array([["a", "bb"]], object))
    with pytest.raises(ArchiveError, match=r"found 0 arrays .* name it with --array; .*holds Python objects"):
        open_array_archive(tmp_path / "b.npz")


@pytest.mark.slow
def test_sparse_occupancies_that_shrink_seven_hundred_times_are_read(tmp_path):
    occupancy = np.zeros((1100, 64, 64, 64), np.uint8)
    occupancy[:, 20:40, 20:40, 20:40] = 1
    occupancy[np.arange(1100), np.arange(1100) % 64] = 1
    np.savez_compressed(tmp_path / "v.npz", occupancy=occupancy)
    assert (tmp_path / "v.npz").stat().st_size * 256 < occupancy.nbytes
    source = open_voxels(tmp_path / "v.npz", limit=2)
    np.testing.assert_array_equal(source.read(1)[..., 0], occupancy[1])


def test_hdf5_behind_a_user_block_is_named_with_the_way_out(tmp_path):
    with h5py.File(tmp_path / "matlab.h5", "w", userblock_size=1024) as file:
        file["x"] = np.zeros((4, 8, 8))
    with pytest.raises(ArchiveError, match=r"behind a user block of 1024 bytes.*h5unjam"):
        open_array_archive(tmp_path / "matlab.h5")
