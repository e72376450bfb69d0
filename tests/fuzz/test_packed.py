"""What a stranger's archive may do: be read, or refused in words."""

import pytest

from tests.fuzz.harness import fuzz
from tests.fuzz.packed import KINDS

MODULE = "tests.fuzz.packed"


FIRST = ("zip", "film", "binvox")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k if k in FIRST else pytest.param(k, marks=pytest.mark.long) for k in KINDS])
def test_no_archive_does_harm(kind):
    fuzz(MODULE, kind, range(15)).check()


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_none_of_ten_thousand_archives_does_harm(kind):
    fuzz(MODULE, kind, range(15, 10_015)).check()
