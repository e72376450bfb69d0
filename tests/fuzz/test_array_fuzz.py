"""Nothing that a stranger puts into an array file or climate archive does harm; see `tests.fuzz.harness`."""

import sys

import pytest

from tests.fuzz.harness import fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up files in /proc")

NAMES = ("npy", "npz", "hdf5", "netcdf3", "netcdf4", "zarr2", "zarr3")


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
def test_some_mutants_of_array_files_do_no_harm(kind):
    fuzz("tests.fuzz.array_kinds", kind, range(15)).check()


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("kind", NAMES)
def test_ten_thousand_mutants_of_array_files_do_no_harm(kind, part):
    fuzz("tests.fuzz.array_kinds", kind, range(1000 * part, 1000 * part + 1000)).check()
