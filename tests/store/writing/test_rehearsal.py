"""An empty store in memory is a store like any other."""

import pytest

from functa_store.errors import StoreFormatError
from functa_store.store.storage.objects import Objects
from functa_store.store.writing.writer import MemoryObjects, rehearse
from tests.store.conftest import make_contents


def test_what_can_be_stored_passes_and_leaves_nothing():
    assert rehearse(make_contents()) is None


def test_objects_in_memory_keep_to_the_protocol():
    objects = MemoryObjects("a", {})
    assert isinstance(objects, Objects)
    objects.write("b/c", b"fir", memoryview(b"st"))
    assert not objects.write_new("b/c", b"second")
    assert objects.write_new("b/d", b"")
    assert not objects.write_new("b/d", b"")
    assert not objects.replace("b/c", b"other", b"third")
    assert objects.replace("b/c", b"first", b"third")
    assert objects.below("b").read("c", 5) == b"third"
    assert objects.read_ranges("b/c", [0, 3], [2, 2]) == [b"th", b"rd"]
    assert objects.sizes() == {"b/c": 5, "b/d": 0}
    assert objects.sizes("b") == objects.sizes()
    assert objects.sizes("c") == objects.sibling(".work").sizes() == {}
    assert (objects.size("b/c"), objects.size("b/x")) == (5, None)
    for read in (lambda: objects.read("b/c", 4), lambda: objects.read_ranges("b/c", [4], [2])):
        with pytest.raises(StoreFormatError):
            read()
    with pytest.raises(FileNotFoundError):
        objects.read("b/x", 5)
    objects.delete(["b/c", "b/c"])
    assert objects.sizes() == {"b/d": 0}
