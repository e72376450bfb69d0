"""The bytes that are fetched hold the rows that are asked for, and little else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from functa_store.store.reading.shard_rows import Ranges
from functa_store.store.storage.remote import COALESCE, spans_of

ROWS = 64
selections = st.one_of(
    st.lists(st.integers(0, ROWS - 1), min_size=1).map(np.array),
    st.builds(slice, st.integers(0, ROWS // 2), st.integers(ROWS // 2 + 1, ROWS), st.integers(1, ROWS)),
)


@given(selections, st.sampled_from([4, COALESCE // 8, COALESCE + 4]))
def test_rows_are_found_in_their_ranges(inside, row_bytes):
    ranges = Ranges.of(inside, row_bytes)
    of_ranges = zip(ranges.starts, ranges.lengths, strict=True)
    fetched = np.concatenate([np.arange(start, start + n, row_bytes) for start, n in of_ranges]) // row_bytes
    np.testing.assert_array_equal(fetched[ranges.places], np.arange(ROWS)[inside])


@given(selections, st.sampled_from([4, COALESCE // 8, COALESCE + 4]))
def test_no_gap_longer_than_a_request_is_worth_is_fetched(inside, row_bytes):
    wanted = len(np.unique(np.arange(ROWS)[inside]))
    assert Ranges.of(inside, row_bytes).fetched_bytes <= wanted * row_bytes + (wanted - 1) * COALESCE


def test_neighbours_share_a_span():
    assert spans_of([COALESCE * 4, 0, 10], [5, 10, 10]) == [(0, 20), (COALESCE * 4, COALESCE * 4 + 5)]
