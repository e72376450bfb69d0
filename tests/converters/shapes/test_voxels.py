import io
import zipfile

import numpy as np
import pytest

from converters.shapes.voxels import converter, open_voxels
from functa_store.errors import ArchiveError, TooManyRejectsError
from functa_store.progress import Note
from tests.converters.shapes.models import ball

GRIDS = np.stack([ball(6, centre=(0.4, 0.5, 0.5 + k / 50), radius=0.3) for k in range(12)])[:, :5]
NAMES = np.array(["b", "a", "b"] * 4)


def write(path, **arrays):
    """The same arrays in whatever the suffix says."""
    kind = path.suffix
    if kind == ".npy":
        np.save(path, arrays["occupancy"])
    elif kind == ".npz":
        np.savez_compressed(path, **arrays)
    elif kind == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values.astype("S") if values.dtype.kind == "U" else values
    else:
        import zarr

        group = zarr.create_group(path)
        for name, values in arrays.items():
            if values.dtype.kind == "U":
                values = values.astype("S10")
            group.create_array(name, data=values)
    return path


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("suffix", [".npz", ".h5", ".zarr"])
def test_occupancies_come_with_their_labels_and_splits(tmp_path, suffix):
    split = np.array(["train"] * 9 + ["val", "test", "test"])
    source = open_voxels(write(tmp_path / f"shapes{suffix}", occupancy=GRIDS, labels=NAMES, split=split))
    assert source.domain.resolution == (5, 6, 6)
    assert source.labels["class"].names == ("a", "b")
    assert source.labels["class"].values.tolist() == [1, 0, 1] * 4
    assert source.split.tolist() == ["train"] * 9 + ["validation", "test", "test"]
    for k, grid in enumerate(GRIDS):
        np.testing.assert_array_equal(source.read(k)[..., 0], grid)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".zarr"])
def test_an_array_by_itself_is_enough(tmp_path, suffix):
    source = open_voxels(write(tmp_path / f"shapes{suffix}", occupancy=GRIDS[..., None]))
    assert source.read(0).shape == (5, 6, 6, 1)
    assert source.split.tolist().count("test") == 1
    assert not source.labels


@pytest.mark.parametrize(
    ("values", "scale", "dtype"),
    [
        (GRIDS, 1, np.uint8),
        (GRIDS.astype(np.int64), 1, np.uint8),
        (GRIDS * np.uint8(255), 1 / 255, np.uint8),
        (GRIDS * 0.75, 1, np.float32),
    ],
)
def test_whatever_means_inside_becomes_a_feature_in_0_to_1(tmp_path, values, scale, dtype):
    source = open_voxels(write(tmp_path / "shapes.npy", occupancy=values))
    assert source.features.scale == scale
    assert source.read(0).dtype == dtype
    np.testing.assert_allclose(source.read(0)[..., 0] * source.features.scale, values[0] / (255 if scale < 1 else 1))


def test_other_orders_of_axes_are_turned(tmp_path):
    path = write(tmp_path / "shapes.npy", occupancy=np.ascontiguousarray(GRIDS.transpose(0, 3, 1, 2)))
    source = open_voxels(path, order="xzy")
    np.testing.assert_array_equal(source.read(2)[..., 0], GRIDS[2])


def test_an_array_per_shape_is_named_by_its_folder(tmp_path):
    path = tmp_path / "shapes.npz"
    np.savez(path, **{f"{split}/{'ab'[k % 2]}/{k}": GRIDS[k] for k, split in enumerate(["train"] * 4 + ["test"] * 2)})
    source = open_voxels(path)
    assert source.labels["class"].names == ("a", "b")
    assert source.split.tolist() == ["test"] * 2 + ["train"] * 4
    np.testing.assert_array_equal(source.read(0)[..., 0], GRIDS[4])


def test_names_choose_among_arrays(tmp_path):
    path = write(tmp_path / "shapes.npz", solid=GRIDS, hollow=~GRIDS, kind=np.arange(12))
    source = open_voxels(path, array="hollow", labels="kind")
    np.testing.assert_array_equal(source.read(0)[..., 0], ~GRIDS[0])
    assert source.labels["class"].values.tolist() == list(range(12))
    with pytest.raises(ArchiveError, match=r"found arrays .*expected nothing"):
        open_voxels(path, array="nothing")


def test_an_empty_or_impossible_example_is_rejected(tmp_path):
    values = GRIDS.astype(np.float32)
    values[1], values[2, 0, 0, 0], values[3, 0, 0, 0] = 0, np.nan, 1.5
    path = write(tmp_path / "shapes.npy", occupancy=values)
    source = open_voxels(path, max_rejects=0.5)
    assert [(r.member, r.reason.split()[0]) for r in source.rejects] == [("1", "is"), ("2", "holds"), ("3", "holds")]
    assert list(source.ids[:2]) == ["0", "4"]
    with pytest.raises(TooManyRejectsError):
        open_voxels(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GRIDS * np.uint8(3), "go up to 3"),
        (GRIDS[0], r"have shape \(5, 6, 6\)"),
        (GRIDS[:0], r"have shape \(0, 5, 6, 6\)"),
        (np.repeat(GRIDS[..., None], 2, -1), "have shape"),
    ],
)
def test_what_are_no_occupancies_is_refused(tmp_path, values, message):
    with pytest.raises(ArchiveError, match=message):
        open_voxels(write(tmp_path / "shapes.npy", occupancy=values))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".zarr", ".txt"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 40])
def test_a_file_that_is_none_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"shapes{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        open_voxels(path)


def test_labels_of_another_length_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match="class has 3 values for 12 examples"):
        open_voxels(write(tmp_path / "shapes.npz", occupancy=GRIDS, labels=np.arange(3)))


def test_damage_inside_a_compressed_file_is_refused(tmp_path):
    path = write(tmp_path / "shapes.npz", occupancy=GRIDS)
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(byte ^ 255 for byte in content[60:90])
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_voxels(path)


def test_a_file_is_what_its_content_says_whatever_its_suffix(tmp_path):
    write(tmp_path / "shapes.npz", occupancy=GRIDS).rename(tmp_path / "shapes.npy")
    np.testing.assert_array_equal(open_voxels(tmp_path / "shapes.npy").read(3)[..., 0], GRIDS[3])


def test_a_split_of_another_name_is_not_cut_to_one_that_is_known(tmp_path):
    split = np.array(["train"] * 11 + ["validation-2"])
    with pytest.raises(ArchiveError, match=r"unknown splits.*validation-2"):
        open_voxels(write(tmp_path / "shapes.npz", occupancy=GRIDS, split=split))


def test_a_group_of_hdf5_and_lists_of_any_length_are_no_occupancies(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "shapes.h5", "w") as file:
        file["group/occupancy"] = GRIDS
        file.create_dataset("lists", (12,), dtype=h5py.vlen_dtype("i4"))
    assert len(open_voxels(tmp_path / "shapes.h5", array="group/occupancy").ids) == 12
    for wrong in ({"array": "group"}, {"array": "lists"}, {"array": "group/occupancy", "labels": "lists"}):
        with pytest.raises(ArchiveError, match=r"expected group|have shape|holds lists"):
            open_voxels(tmp_path / "shapes.h5", **wrong)


def encoded(array=None, shape=None):
    """An array as .npz files hold it, or the header alone of one of a shape."""
    file = io.BytesIO()
    if array is None:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    else:
        np.save(file, array)
    return file.getvalue()


def test_arrays_of_shapes_that_cannot_be_read_are_rejected_also_the_first_one(tmp_path):
    contents = {"a": b"nonsense", "b": encoded(shape=(10**15, 4, 4)), "../c": encoded(GRIDS[0])}
    contents |= {f"shape{k}": encoded(GRIDS[k]) for k in range(5)}
    with zipfile.ZipFile(tmp_path / "shapes.npz", "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
    source = open_voxels(tmp_path / "shapes.npz", max_rejects=0.5)
    assert list(source.ids) == [f"shape{k}" for k in range(5)]
    assert sorted(reject.member for reject in source.rejects) == ["../c.npy", "a", "b"]


def test_shapes_of_integers_among_fractions_are_fractions_and_not_the_other_way_round(tmp_path):
    np.savez(tmp_path / "fractions.npz", a=GRIDS[0] * np.float32(0.5), **{f"shape{k}": GRIDS[k] for k in range(5)})
    source = open_voxels(tmp_path / "fractions.npz")
    assert {source.read(k).dtype for k in range(6)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(source.read(1)[..., 0], GRIDS[0])
    np.savez(tmp_path / "integers.npz", z=GRIDS[0] * np.float32(0.5), **{f"shape{k}": GRIDS[k] for k in range(5)})
    source = open_voxels(tmp_path / "integers.npz", max_rejects=0.5)
    assert [(r.member, r.reason) for r in source.rejects] == [
        ("z", "holds float32, expected integers as the first one")
    ]


def test_a_file_none_of_whose_shapes_can_be_read_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "shapes.npz", "w") as archive:
        for name in "ab":
            archive.writestr(f"{name}.npy", b"nonsense")
    with pytest.raises(ArchiveError, match="none of its 2 arrays"):
        open_voxels(tmp_path / "shapes.npz", max_rejects=1.0)


def test_a_grid_that_memory_could_not_hold_is_refused_before_it_is_read(tmp_path):
    np.lib.format.open_memmap(tmp_path / "shapes.npy", "w+", np.uint8, (2, 1024, 1024, 1024))  # a hole in the file
    with pytest.raises(ArchiveError, match="at most 268435456 cells"):
        open_voxels(tmp_path / "shapes.npy")


def test_one_bright_shape_among_many_decides_the_scale(tmp_path):
    values = GRIDS.astype(np.uint8)
    values[0] *= 255
    assert open_voxels(write(tmp_path / "shapes.npy", occupancy=values)).features.scale == 1 / 255


def test_it_is_a_converter_whose_presets_name_themselves(tmp_path):
    assert all(preset.config.preset == name for name, preset in converter.presets.items())
    path = write(tmp_path / "shapes.npy", occupancy=GRIDS)
    assert len(open_voxels(str(path), limit=10, max_rejects=0.1).ids) == 10


PACKED = np.where(GRIDS, np.int16(150), np.int16(-50))
"""Occupancies as stored * 0.005 + 0.25: 1 and 0."""

PACKING = {"scale_factor": 0.005, "add_offset": 0.25}


def write_with_attributes(path, values, attributes):
    if path.suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file.create_dataset("occupancy", data=values).attrs.update(attributes)
    else:
        import zarr

        array = zarr.create_group(path).create_array("occupancy", data=values)
        array.attrs.update(
            {key: getattr(value, "tolist", lambda value=value: value)() for key, value in attributes.items()}
        )
    return path


ATTRIBUTED = pytest.mark.parametrize("suffix", [".h5", ".zarr"])


@ATTRIBUTED
def test_packed_occupancies_are_the_values_that_they_mean(tmp_path, suffix):
    notes = []
    path = write_with_attributes(tmp_path / f"a{suffix}", PACKED, PACKING)
    source = open_voxels(path, report=notes.append)
    for k, grid in enumerate(GRIDS):
        np.testing.assert_allclose(source.read(k)[..., 0], grid, atol=1e-6)
    assert source.features.scale == 1
    said = [note.message for note in notes if isinstance(note, Note)]
    assert said == [
        f"a{suffix}: occupancy: values are stored int16 times 0.005 plus 0.25, as the attributes say (--ignore all "
        "takes the stored numbers)"
    ]


@ATTRIBUTED
def test_fractions_that_rounding_takes_above_one_are_one(tmp_path, suffix):
    packing = {"scale_factor": np.float32(1 / 255)}
    source = open_voxels(write_with_attributes(tmp_path / f"a{suffix}", GRIDS * np.uint8(255), packing))
    np.testing.assert_allclose(source.read(3)[..., 0], GRIDS[3], atol=1e-6)
    assert source.read(3).max() <= 1


@ATTRIBUTED
def test_shapes_with_missing_cells_are_rejects_and_the_others_stay_integers(tmp_path, suffix):
    values = GRIDS.astype(np.uint8).copy()
    values[4, 2, 3, 3] = 200
    path = write_with_attributes(tmp_path / f"a{suffix}", values, {"_FillValue": np.uint8(200)})
    notes = []
    source = open_voxels(path, max_rejects=0.1, report=notes.append)
    assert [(reject.member, reject.reason) for reject in source.rejects] == [
        ("4", "holds 1 values that are missing, by its attributes or not a number")
    ]
    assert source.read(4).dtype == np.uint8
    np.testing.assert_array_equal(source.read(4)[..., 0], GRIDS[5])
    assert "1 by _FillValue" in source.provenance["masked"]
    with pytest.raises(ArchiveError, match="occupancies go up to 200"):
        open_voxels(path, ignore="_FillValue")


@ATTRIBUTED
def test_a_fill_value_of_zero_would_leave_nothing_outside(tmp_path, suffix):
    """Of integers whose 0 means missing every shape is a reject; --ignore takes them as they are."""
    path = write_with_attributes(tmp_path / f"a{suffix}", GRIDS.astype(np.uint8), {"_FillValue": np.uint8(0)})
    with pytest.raises(TooManyRejectsError, match="values that are missing"):
        open_voxels(path)
    source = open_voxels(path, ignore="_FillValue")
    np.testing.assert_array_equal(source.read(0)[..., 0], GRIDS[0])
    assert source.provenance["ignore"] == "_FillValue"


def test_what_stores_of_arrays_without_attributes_keep_is_as_it_was(tmp_path):
    kept = open_voxels(write(tmp_path / "shapes.npz", occupancy=GRIDS)).provenance
    assert not {"ignore", "missing_value", "masked"} & set(kept)
