"""A store in a bucket of Google Cloud Storage."""

import time

import numpy as np
import pytest

from functa_store.errors import StoreExistsError
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage import writer_lock as claim
from functa_store.store.storage.writer_lock import WORK_SUFFIX, sole_writer
from tests.remote.conftest import again, read_objects
from tests.store.conftest import make_contents, make_values, read_all, write_shards


@pytest.mark.slow
def test_a_store_in_google_cloud_storage_is_that_of_a_disk(gcs, local):
    write_shards(gcs, make_contents())
    assert read_objects(gcs) == read_all(local)
    assert gcs.sibling(WORK_SUFFIX).sizes() == {}
    reader = StoreReader(again(gcs))
    rows = [3, 20, 9, 9, -1]
    np.testing.assert_array_equal(reader.modulations[rows], make_values()[0][rows])
    assert list(reader.ids) == make_contents().ids
    assert verify(gcs).complete


def test_a_store_in_google_cloud_storage_is_resumed(gcs, local):
    with pytest.raises(KeyboardInterrupt):
        write_shards(gcs, make_contents(), stop_before=2)
    assert len(StoreReader(again(gcs)).ids) == 16
    write_shards(again(gcs), make_contents())
    assert read_objects(gcs) == read_all(local)


@pytest.mark.slow
def test_a_second_writer_is_refused_in_google_cloud_storage(gcs, monkeypatch):
    monkeypatch.setattr(claim, "LEASE_SECONDS", 0.6)
    with sole_writer(gcs) as (store, _):
        time.sleep(1.2)
        with pytest.raises(StoreExistsError, match="another process is writing"), sole_writer(again(gcs)):
            pass
        store.write("a", b"1")


def test_objects_that_are_not_there_count_as_removed(gcs):
    """Here they are removed one by one, and one that is not there is an error."""
    keys = [f"a/{i}" for i in range(40)]
    for key in keys[1:]:
        gcs.write(key, b"1")
    gcs.delete(keys)
    assert gcs.sizes() == {}
