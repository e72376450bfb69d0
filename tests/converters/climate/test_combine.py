"""Files of a folder that make one archive, and what keeps some from doing so."""

import numpy as np
import pytest
import xarray as xr

from converters.climate.climate import open_climate
from functa_store.errors import ArchiveError

LAT, LON = np.linspace(-79, 81, 9), np.arange(16) * 22.5
TIMES = np.arange("2001-01", "2001-09", dtype="M8[M]").astype("M8[ns]")
NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}


def whole():
    values = np.random.default_rng(0).normal(280, 10, (8, 9, 16)).astype(np.float32)
    coords = {"time": TIMES, "lat": ("lat", LAT, NORTH), "lon": ("lon", LON, EAST)}
    return xr.Dataset({"t": (("time", "lat", "lon"), values, {"units": "K"})}, coords)


@pytest.fixture(name="put")
def _put(tmp_path):
    """The folder with a file for each part."""

    def put(*parts, **options):
        for k, part in enumerate(parts):
            part.to_netcdf(tmp_path / f"{k:02}.nc", engine="h5netcdf", **options)
        return tmp_path

    return put


def opened(path, **options):
    """Values by example of a source, its ids, and what it notes."""
    notes = []
    source = open_climate(path, report=notes.append, **options)
    features = source.features
    values = np.stack([source.read(i) for i in range(len(source.ids))]) * np.array(features.value_scale)
    return source, values + features.value_offset, " ".join(getattr(note, "message", "") for note in notes)


def halves(made):
    return made.isel(time=slice(0, 4)), made.isel(time=slice(4, 8))


def check_whole(found):
    np.testing.assert_allclose(found[..., 0], whole().t, rtol=1e-6)


def test_a_variable_that_only_some_files_have_is_in_the_way_of_no_other(put):
    first, second = halves(whole())
    more = second.assign(more=second.t * 2, bounds=(("time", "nv"), np.zeros((4, 2))))
    source, found, _ = opened(put(first, more), variable="t")
    check_whole(found)
    assert source.ids == [f"2001-{k:02}-01T00:00" for k in range(1, 9)]


def test_files_without_the_wanted_variable_are_left_out_with_a_note(put):
    other = whole().rename(t="orography").isel(time=slice(0, 1))
    _, found, notes = opened(put(*halves(whole()), other), variable="t")
    check_whole(found)
    assert "1 of 3 files have no t: 02.nc; left out" in notes


def test_a_variable_that_no_file_has_is_refused(put):
    with pytest.raises(ArchiveError, match=r"no variable 'u' in any of 2 files, expected some of \['t'\]"):
        open_climate(put(*halves(whole())), variable="u")


def test_without_a_choice_the_only_field_of_all_files_is_taken(put, tmp_path):
    first, second = halves(whole())
    _, found, _ = opened(put(first.assign(bounds=(("time", "nv"), np.zeros((4, 2)))), second))
    check_whole(found)
    first.rename(t="u").to_netcdf(tmp_path / "02.nc", engine="h5netcdf")
    with pytest.raises(ArchiveError, match="found 2 fields, t, u; choose with --variable"):
        open_climate(tmp_path)


def test_variables_in_files_of_their_own_become_channels(put):
    made = whole()
    source, found, _ = opened(put(made, made.rename(t="u") * 2), variable="t,u")
    check_whole(found)
    np.testing.assert_allclose(found[..., 1], 2 * made.t, rtol=1e-6)
    assert source.features.channels == ("t", "u")


def test_a_time_of_its_own_in_each_file_becomes_a_dimension(put):
    source, found, _ = opened(put(*(whole().isel(time=k) for k in range(8))))
    check_whole(found)
    assert source.ids[-1] == "2001-08-01T00:00"
    assert source.labels["month"].values.tolist() == list(range(8))


def test_single_times_and_several_come_together(put):
    made = whole()
    check_whole(opened(put(made.isel(time=0), made.isel(time=slice(1, 7)), made.isel(time=7)))[1])


def test_a_level_of_its_own_in_each_file_becomes_a_dimension(put):
    parts = [(whole() + level).assign_coords(level=level) for level in (500, 850)]
    source, found, _ = opened(put(*parts))
    assert source.ids[0] == "500/2001-01-01T00:00"
    assert source.ids[8] == "850/2001-01-01T00:00"
    np.testing.assert_allclose(found[8:, ..., 0], whole().t + 850, rtol=1e-6)


def test_single_times_of_single_levels_become_two_dimensions(put):
    parts = [
        (whole().isel(time=k) + level).assign_coords(level=level, made=np.float64(10 * k + level))
        for k in range(3)
        for level in (500, 850)
    ]
    source, found, _ = opened(put(*parts), example_dims="time,level")
    assert source.ids[:3] == ["2001-01-01T00:00/500", "2001-01-01T00:00/850", "2001-02-01T00:00/500"]
    np.testing.assert_allclose(found[3, ..., 0], whole().t[1] + 850, rtol=1e-6)


def test_another_single_value_goes_along_the_times(put):
    parts = [whole().isel(time=k).assign_coords(run=np.int32(100 + k), height=2.0) for k in range(4)]
    source, _, _ = opened(put(*parts))
    assert source.labels["run"].values.tolist() == [100, 101, 102, 103]
    assert source.ids[0] == "2001-01-01T00:00"


def test_latitudes_that_differ_by_rounding_are_the_same_with_a_note(put):
    first, second = halves(whole())
    source, found, notes = opened(put(first, second.assign_coords(lat=("lat", LAT + 1e-6, NORTH))))
    check_whole(found)
    assert source.domain.latitudes == tuple(LAT)
    assert "01.nc: latitudes differ by up to 1e-06 degrees from those of 00.nc; taken as the same points" in notes


def test_the_same_longitudes_from_0_and_from_minus_180_are_aligned_with_a_note(put):
    first, second = halves(whole())
    west = second.assign_coords(lon=("lon", (LON + 180) % 360 - 180, EAST)).sortby("lon")
    source, found, notes = opened(put(first, west))
    check_whole(found)
    assert source.domain.longitudes == tuple(LON)
    assert "01.nc: longitudes stand in another order or convention than those of 00.nc" in notes


def test_longitudes_a_turn_away_are_the_same_with_a_note(put):
    first, second = halves(whole())
    _, found, notes = opened(put(first, second.assign_coords(lon=("lon", LON - 360, EAST))))
    check_whole(found)
    assert "01.nc: longitudes are told in another convention than those of 00.nc" in notes


def test_latitudes_from_north_to_south_are_aligned_with_a_note(put):
    first, second = halves(whole())
    _, found, notes = opened(put(first, second.isel(lat=slice(None, None, -1))))
    check_whole(found)
    assert "01.nc: latitudes stand in another order" in notes


@pytest.mark.parametrize(
    ("coordinate", "values", "message"),
    [
        ("lat", LAT + 0.5, r"01.nc: latitudes \(9 from -78.5 to 81.5\) are other points than those of 00.nc"),
        ("lon", LON + 11.25, r"01.nc: longitudes \(16 from 11.25 to 348.75\) are other points than those of 00.nc"),
    ],
)
def test_grids_that_differ_are_refused_by_both_names(put, coordinate, values, message):
    first, second = halves(whole())
    changed = second.assign_coords({coordinate: (coordinate, values, {"lat": NORTH, "lon": EAST}[coordinate])})
    with pytest.raises(ArchiveError, match=message):
        open_climate(put(first, changed))


def test_part_of_a_grid_is_refused_by_both_names(put):
    first, second = halves(whole())
    with pytest.raises(ArchiveError, match=r"01.nc: latitudes \(5 from -79 to 1\) are other points .*00.nc \(9 from"):
        open_climate(put(first, second.isel(lat=slice(0, 5))))


def test_times_that_two_files_have_are_named_with_both(put):
    made = whole()
    with pytest.raises(ArchiveError, match=r"time 2001-04-01T00:00 is in 00.nc and in 01.nc"):
        open_climate(put(made.isel(time=slice(0, 4)), made.isel(time=slice(3, 8))))


@pytest.mark.parametrize("copies", [1, 2])
def test_a_copy_of_a_file_is_not_dropped_silently(put, copies):
    first, second = halves(whole())
    with pytest.raises(
        ArchiveError, match=r"00.nc and 0\d.nc cannot be put together: both hold t from time 2001-01-01T00:00"
    ):
        open_climate(put(first, *([second] * (copies - 1)), first))


def test_files_that_nothing_tells_apart_are_refused(put):
    parts = [whole().isel(time=k, drop=True) for k in range(3)]
    with pytest.raises(ArchiveError, match=r"00.nc and 01.nc cannot be put together: both hold t from no time on"):
        open_climate(put(*parts))


def test_levels_in_other_units_are_refused(put):
    parts = [whole().expand_dims(level=[value]) for value in (500, 85000)]
    for part, units in zip(parts, ("hPa", "Pa"), strict=True):
        part["level"].attrs["units"] = units
    with pytest.raises(ArchiveError, match=r"01.nc: level is in 'Pa', but in 'hPa' in 00.nc"):
        open_climate(put(*parts))


def test_levels_that_one_file_lacks_are_named_with_both(put):
    first, second = halves(whole().expand_dims(level=[500, 850]))
    with pytest.raises(ArchiveError, match=r"put together .*level of 00.nc is 500, 850, of 01.nc 500"):
        open_climate(put(first, second.isel(level=[0])))


def test_times_that_stay_numbers_count_from_the_same_day(put):
    parts = [part.assign_coords(time=np.arange(4.0) + 4 * k) for k, part in enumerate(halves(whole()))]
    for part, day in zip(parts, ("2001-01-01", "2002-01-01"), strict=True):
        part["time"].attrs = {"units": f"days since {day}", "calendar": "lunar"}
    with pytest.raises(
        ArchiveError, match=r"01.nc: time is in 'days since 2002-01-01', but in 'days since 2001-01-01'"
    ):
        open_climate(put(*parts))


def test_files_packed_in_their_own_ways_are_unpacked_each(put, tmp_path):
    for k, (part, offset) in enumerate(zip(halves(whole()), (280.0, 285.0), strict=True)):
        packing = {"dtype": "i2", "scale_factor": 0.01 * (k + 1), "add_offset": offset, "_FillValue": np.int16(-32000)}
        part.to_netcdf(tmp_path / f"{k:02}.nc", engine="h5netcdf", encoding={"t": packing})
    np.testing.assert_allclose(opened(tmp_path)[1][..., 0], whole().t, atol=0.011)


def test_curvilinear_files_are_refused_by_name(put):
    rows, columns = np.meshgrid(LAT, LON, indexing="ij")
    made = whole().rename(lat="j", lon="i").drop_vars(["i", "j"])
    made = made.assign_coords(lat=(("j", "i"), rows, NORTH), lon=(("j", "i"), columns, EAST))
    with pytest.raises(ArchiveError, match="t lies on a curvilinear grid"):
        open_climate(put(*halves(made)), variable="t")
