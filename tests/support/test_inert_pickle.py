"""Pickles become inert values, and what they would do is never done."""

import builtins
import collections
import contextlib
import os
import pickle
import pickletools
import random
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from functa_store.errors import MemberError
from functa_store.support import inert_pickle
from functa_store.support.inert_pickle import MAX_DEPTH, Inert, Name, load_inert

CONTAINERS = {
    "text": "ä",
    "bytes": b"\x00\xff",
    "numbers": [0, -1, 255, 65536, 2**40, -(2**70), 1.5, float("inf")],
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "none": None,
    "flags": [True, False],
    "sets": [{1, "a"}, frozenset([2, b"b"])],
    "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
}
ARRAYS = [
    np.arange(6).reshape(2, 3).astype(dtype)
    for dtype in ("?", "i1", "u1", "i2", ">i2", "<u4", "i8", "f2", "f4", ">f4", "f8", "c8", "c16")
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_what_pickle_gives(protocol):
    found = load_inert(pickle.dumps(CONTAINERS, protocol))
    assert found == CONTAINERS
    assert [type(value) for value in found["numbers"]] == [type(value) for value in CONTAINERS["numbers"]]


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_what_pickle_gives(protocol):
    more = [
        np.zeros((0, 3), "f4"),
        np.float32(1.5),
        np.array(7),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.True_,
    ]
    found = load_inert(pickle.dumps([*ARRAYS, *more, ARRAYS[0]], protocol))
    for value, expected in zip(found, [*ARRAYS, *more, ARRAYS[0]], strict=True):
        assert (value.dtype, value.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(value, expected)


def test_strings_of_python_2_are_bytes():
    """A batch of CIFAR as Python 2 wrote it: protocol 2, byte strings, rows of pixels."""
    rows = bytes(range(12))
    data = (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x03a b"
        b"U\x04dataq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01b\x87Rq\x06"
        b"(K\x01K\x02K\x06\x86cnumpy\ndtype\nq\x07U\x02u1K\x00K\x01\x87Rq\x08(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x0c" + rows + b"tbU\x06labels]q\x09(K\x06K\x09eu."
    )
    found = load_inert(data)
    assert list(found) == [b"batch_label", b"data", b"labels"]
    assert found[b"batch_label"] == b"a b"
    assert found[b"labels"] == [6, 9]
    np.testing.assert_array_equal(found[b"data"], np.frombuffer(rows, np.uint8).reshape(2, 6))


def test_one_array_in_two_places_is_one_array():
    array = np.arange(3)
    found = load_inert(pickle.dumps([array, array, array.dtype]))
    assert found[0] is found[1]
    assert found[2] == array.dtype


def test_objects_of_known_classes_are_names_with_contents():
    name = Name("haiku._src.data_structures", "FlatMapping")
    made = load_inert(b"\x80\x04chaiku._src.data_structures\nFlatMapping\n}\x8c\x01aK\x01s\x85R.")
    assert isinstance(made, Inert)
    assert (made.name, made.args) == (name, ({"a": 1},))
    settings = load_inert(b"\x80\x04cml_collections.config_dict.config_dict\nConfigDict\n)\x81}\x8c\x07_fields}sb.")
    assert isinstance(settings, Inert)
    assert (settings.name.name, settings.state) == ("ConfigDict", {"_fields": {}})


class Does:
    """Calls something when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Filled:
    def __setstate__(self, state):
        raise AssertionError("was filled")

    def __getstate__(self):
        return {"a": 1}


ran = []


def run(*args):
    ran.append(args)


REDUCED = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
FLOATS = b"cnumpy\ndtype\n\x8c\x02f4K\x00K\x01\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def array_of(shape: bytes, raw: bytes = b"C\x04\x00\x00\x00\x00") -> bytes:
    return b"\x80\x04" + REDUCED + b"(K\x01" + shape + FLOATS + b"\x89" + raw + b"tb."


HOSTILE = {
    "a call of the system": (pickle.dumps(Does(os.system, "touch gone")), "posix.*system"),
    "exec": (pickle.dumps(Does(exec, "ran.append(1)")), "builtins.*exec"),
    "eval": (pickle.dumps(Does(eval, "ran.append(1)"), 0), "builtin.*eval"),
    "a function of a module here": (pickle.dumps(Does(run, 1)), "names"),
    "getattr": (pickle.dumps(Does(getattr, 1, "real")), "getattr"),
    "an import": (pickle.dumps(Does(builtins.__import__, "antigravity")), "__import__"),
    "a class of its own": (pickle.dumps(Filled()), "Filled"),
    "a name with dots": (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.", "ndarray.dump"),
    "a module within a known one": (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "system"),
    "a name that is a number": (b"\x80\x04K\x01K\x02\x93.", "no text"),
    "a name that is made": (b"\x80\x04]]\x93.", "no text"),
    "an extension": (b"\x80\x04\x82\x01.", "EXT1"),
    "a persistent id": (b"Pname\n.", "PERSID"),
    "a persistent id of bytes": (b"\x80\x04K\x01Q.", "BINPERSID"),
    "an instance": (b"(ios\nsystem\n.", "INST"),
    "an object": (b"(cnumpy\nndarray\no.", "OBJ"),
    "an object with names of arguments": (b"\x80\x04cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX"),
    "an object of a class that is only named": (b"\x80\x04cnumpy\nndarray\n)\x81.", "makes an object of numpy.ndarray"),
    "an object of list": (b"\x80\x04])\x81.", "makes an object of list"),
    "a call of an int": (b"\x80\x04cbuiltins\nint\nK\x01\x85R.", "calls builtins.int"),
    "a call of a number": (b"\x80\x04K\x01)R.", "calls int"),
    "a call without a tuple": (b"\x80\x04cnumpy\ndtype\n]R.", "calls numpy.dtype"),
    "a buffer from outside": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "a list that is filled": (b"\x80\x04]}b.", "fills list"),
    "an object that is filled twice": (
        b"\x80\x04cml_collections.config_dict.config_dict\nConfigDict\n)\x81}b}b.",
        "fills inert",
    ),
    "an array without contents": (b"\x80\x04" + REDUCED + b".", "nothing was put into"),
    "an array without contents in a list": (b"\x80\x04]" + REDUCED + b"a.", "nothing was put into"),
    "an array of objects": (array_of(b"K\x01\x85", b"]"), "Python objects"),
    "an array that is too short": (array_of(b"K\x02\x85"), "4 bytes whose shape and data type need 8"),
    "an array of 10^12 values": (array_of(b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85"), "need 4,000,000,000,000"),
    "an array of more than there is": (
        array_of(b"(" + b"\x8a\x05\x00\x10\xa5\xd4\x68" * 30 + b"t"),
        "than any machine",
    ),
    "a negative shape": (array_of(b"J\xff\xff\xff\xff\x85"), "shape is none"),
    "a shape of flags": (array_of(b"\x88\x85"), "shape is none"),
    "a data type of objects": (b"\x80\x04cnumpy\ndtype\n\x8c\x01OK\x00K\x01\x87R.", "data type 'O'"),
    "a data type of fields": (
        b"\x80\x04cnumpy\ndtype\n\x8c\x02f4K\x00K\x01\x87R(K\x03\x8c\x01<N\x8c\x01a\x85}K\x04K\x01K\x10tb.",
        "none of plain numbers",
    ),
    "bytes that are text": (b"\x80\x04c_codecs\nencode\n\x8c\x02\xc4\x80\x8c\x06latin1\x86R.", "above 255"),
    "another codec": (b"\x80\x04c_codecs\nencode\n\x8c\x01a\x8c\x03zip\x86R.", "not known"),
    "a type of dill that is none": (b"\x80\x04cdill._dill\n_load_type\n\x8c\x08CodeType\x85R.", "not known"),
    "a function of dill": (b"\x80\x04cdill._dill\n_create_function\n.", "_create_function"),
    "a list that holds itself": (b"\x80\x04]q\x00h\x00a.", "holds itself"),
    "an object that holds itself": (
        b"\x80\x04cml_collections.config_dict.config_dict\nConfigDict\n)\x81q\x00}\x8c\x01ah\x00sb.",
        "holds itself",
    ),
    "many lists in lists": (b"\x80\x04" + b"]" * 30_000 + b"a" * 29_999 + b".", "nest deeper"),
    "many marks": (b"\x80\x04" + b"(" * 100_000 + b".", "nests deeper"),
    "tuples in tuples as a key": (b"\x80\x04})" + b"\x85" * 30_000 + b"K\x01s.", "as a key"),
    "doublings": (b"\x80\x04]q\x00" + b"h\x00\x86q\x00" * 60 + b".", "repeat"),
    "a large array repeated": (
        b"\x80\x04]q\x00(" + b"B\x00\x00\x10\x00" + bytes(2**20) + b"q\x01" + b"h\x01" * 1000 + b"e.",
        "repeat",
    ),
    "numbers that collide": (b"\x80\x04}\x8a\x0a" + (2**61 - 1 << 9).to_bytes(10, "little") + b"Ns.", "as a key"),
    "a billion bytes that are not there": (b"\x80\x04B\x00\xca\x9a\x3bx.", "no whole pickle"),
    "more bytes than there are addresses": (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "no whole pickle"),
    "a number of many digits": (b"L" + b"9" * 100_000 + b"L\n.", "no whole pickle"),
    "two values": (b"\x80\x04NN.", "one value"),
    "no value": (b"\x80\x04.", "one value"),
    "no end": (b"\x80\x04N", "no whole pickle"),
    "nothing": (b"", "no whole pickle"),
    "a value after the end": (b"\x80\x04N.\x80\x04N.", "ends after 4 of 8 bytes"),
    "a value taken where there is none": (b"\x80\x04R.", "takes a value"),
    "a kept value that there is not": (b"\x80\x04h\x07.", "kept value"),
    "a key without a value": (b"\x80\x04}(Nu.", "without a value"),
    "an unknown protocol": (b"\x80\x09N.", "protocol 9"),
    "a zip": (b"PK\x03\x04" + bytes(100), "pickle"),
    "an array of NumPy": (b"\x93NUMPY\x01\x00", "pickle"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_do_nothing_and_say_why(name, tmp_path, monkeypatch):
    data, said = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    before, modules = list(ran), set(sys.modules)
    with pytest.raises(MemberError, match=said):
        load_inert(data)
    assert ran == before
    assert list(tmp_path.iterdir()) == []
    assert "antigravity" not in set(sys.modules) - modules


def test_a_value_as_deep_as_is_allowed_is_read():
    value: list = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert load_inert(pickle.dumps(value)) == value
    with pytest.raises(MemberError, match="nest deeper than 64"):
        load_inert(pickle.dumps([value]))


def test_a_pickle_of_too_many_instructions_is_refused(monkeypatch):
    monkeypatch.setattr(inert_pickle, "MAX_OPCODES", 1000)
    assert load_inert(b"\x80\x04" + b"N0" * 498 + b"N.") is None
    with pytest.raises(MemberError, match="more than 1,000 instructions"):
        load_inert(b"\x80\x04" + b"N0" * 500 + b"N.")


def test_what_is_refused_takes_no_memory():
    """Whatever a pickle says is there, no more is allocated than a few times what is."""
    tracemalloc.start()
    for name in (
        "an array of 10^12 values",
        "more bytes than there are addresses",
        "a billion bytes that are not there",
    ):
        with pytest.raises(MemberError):
            load_inert(HOSTILE[name][0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.slow
def test_damaged_pickles_give_an_error_of_ours_or_a_value():
    whole = pickle.dumps({**CONTAINERS, "arrays": ARRAYS, "scalars": [np.float32(1), np.int64(2)]})
    rng = random.Random(0)
    codes = [ord(opcode.code) for opcode in pickletools.opcodes]
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            how = rng.randrange(4)
            if how == 0:
                data[place] = rng.randrange(256)
            elif how == 1:
                data[place] = rng.choice(codes)
            elif how == 2:
                del data[place : place + rng.randint(1, 8)]
            else:
                data[place:place] = (
                    bytes([rng.choice(codes)]) + struct.pack("<I", rng.randrange(2**32))[: rng.randrange(5)]
                )
        with contextlib.suppress(MemberError):
            load_inert(bytes(data))
