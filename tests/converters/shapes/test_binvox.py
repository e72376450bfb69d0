import io

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from converters.shapes.shape_files import ShapeOptions, read_binvox, read_shape
from functa_store.errors import MemberError
from tests.converters.shapes.models import ball, encode_binvox

SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
HEADER = b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n"


@given(SHAPES.flatmap(lambda shape: arrays(bool, shape)))
def test_what_was_written_cell_by_cell_is_read(occupancy):
    found = read_binvox(encode_binvox(occupancy, (1, -2, 0.5), 3.0))
    np.testing.assert_array_equal(found.occupancy, occupancy)
    assert (found.translate, found.scale) == ((1, -2, 0.5), 3.0)


def test_y_runs_fastest_then_z_then_x():
    """The second cell of the file is one step up, the third one (of 2 x 2 x 2) one step along z, the fifth along x."""
    for place, (z, y, x) in {1: (0, 1, 0), 2: (1, 0, 0), 4: (0, 0, 1)}.items():
        cells = [int(k == place) for k in range(8)]
        found = read_binvox(HEADER + bytes(n for cell in cells for n in (cell, 1)))
        assert np.argwhere(found.occupancy).tolist() == [[z, y, x]]


def test_trimesh_reads_the_same_cells():
    loader = pytest.importorskip("trimesh.exchange.binvox")
    content = encode_binvox(ball(7, centre=(0.3, 0.5, 0.7), radius=0.25))
    theirs = loader.load_binvox(io.BytesIO(content)).matrix  # (x, y, z)
    np.testing.assert_array_equal(read_binvox(content).occupancy, theirs.transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no binvox file"),
        (b"#binvox 2\ndim 2 2 2\ndata\n\1\10", "no binvox file of version 1"),
        (b"#binvox 1\ndim 2 2 2\n", "no line 'data' ends"),
        (b"#binvox 1\ndata\n\1\10", "dim"),
        (b"#binvox 1\ndim 2 2\ndata\n\1\10", "three sizes"),
        (b"#binvox 1\ndim 0 2 2\ndata\n", "three sizes"),
        (b"#binvox 1\ndim 2 -2 2\ndata\n", "three sizes"),
        (b"#binvox 1\ndim 99999 99999 99999\ndata\n", "three sizes"),
        (b"#binvox 1\ndim 1024 1024 1024\ndata\n", "cells in all"),
        (HEADER.replace(b"scale 1", b"scale nan") + b"\1\10", "finite"),
        (HEADER.replace(b"scale 1", b"scale 0") + b"\1\10", "positive"),
        (HEADER + b"\1\7", "holds 7 cells, but its header promises 8: truncated"),
        (HEADER + b"\1\10\0\1", "holds 9 cells"),
        (HEADER + b"\1\10\0", "middle of a run"),
        (HEADER + b"\2\10", "value 2"),
        (HEADER, "holds 0 cells"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(content, reason):
    with pytest.raises(MemberError, match=reason):
        read_binvox(content)


def test_very_many_runs_of_nothing_take_no_memory_and_change_nothing():
    runs = b"\0\0" * 3_000_000 + b"\1\4" + b"\0\0" * 10 + b"\0\4"
    assert read_binvox(HEADER + runs).occupancy.sum() == 4


@pytest.mark.parametrize(
    "line", [b"dim " + b"9" * 5000 + b" 2 2", b"translate " + b"9" * 3000 + b" 0 x", b"scale " + b"9" * 3000]
)
def test_numbers_of_thousands_of_digits_are_refused_in_a_short_message(line):
    with pytest.raises(MemberError) as caught:
        read_binvox(b"#binvox 1\ndim 2 2 2\n" + line + b"\ndata\n\1\10")
    assert len(str(caught.value)) < 300


def test_a_surface_that_is_too_large_to_be_filled_is_refused(monkeypatch):
    monkeypatch.setattr("converters.shapes.shape_files.MAX_SURFACE_CELLS", 7)
    with pytest.raises(MemberError, match="is a surface of 8 cells, more than the 7"):
        read_shape(HEADER + b"\1\10", "a.binvox", "surface", ShapeOptions(resolution=2))
    assert read_shape(HEADER + b"\1\10", "a.binvox", "solid", ShapeOptions(resolution=2)).occupied.all()
