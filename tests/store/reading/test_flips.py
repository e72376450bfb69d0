"""Is a single wrong byte found, wherever it is?"""

import json
import sys
from pathlib import Path

import pytest

from functa_store.errors import StoreFormatError
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.verify import verify
from tests.store.conftest import make_contents, write_shards
from tests.store.forging import Files, Forged, equal, everything, read_files, unchecked
from tests.store.format.test_golden import GOLDEN

VALUES = (0x01, 0x20, 0x80, 0xFF)


@pytest.fixture(scope="module", params=["int8", "float32"])
def files(request, tmp_path_factory) -> Files:
    """A complete store of 5 examples in int8, and one of 21 in float32."""
    if request.param == "int8":
        return read_files(GOLDEN / "v9.functa")
    path = write_shards(tmp_path_factory.mktemp("flips") / "pets.functa", make_contents())
    return read_files(path)


def flipped(data: bytes, position: int, value: int) -> bytes:
    return data[:position] + bytes([data[position] ^ value]) + data[position + 1 :]


def check_root(files: Files, expected: dict, position: int, value: int) -> None:
    """A wrong byte of the root is found, or is white space or the case of an escape: the same JSON."""
    changed = {**files, ROOT: flipped(files[ROOT], position, value)}
    try:
        found = verify(Forged(changed))
    except StoreFormatError:
        return
    if not found.damaged:
        assert json.loads(changed[ROOT]) == json.loads(files[ROOT]), (position, value)
        assert equal(everything(Forged(changed)), expected), (position, value)


def check_others(files: Files, positions: dict[str, int], value: int) -> None:
    """Wrong bytes of other files are all found, and nothing else is said to be damaged."""
    changed = {key: flipped(files[key], position, value) for key, position in positions.items()}
    assert verify(Forged(files | changed)).damaged.keys() == positions.keys(), (positions, value)


@pytest.mark.slow
def test_no_flip_is_overlooked(files):
    """Some bytes of every file, one at a time."""
    expected = everything(Forged(files))
    assert verify(Forged(files)).damaged == {}
    for i in range(0, len(files[ROOT]), 13):
        check_root(files, expected, i, VALUES[i % 4])
    for key in sorted(files.keys() - {ROOT}):
        for i in range(len(key) % 83, len(files[key]), 83):
            check_others(files, {key: i}, VALUES[i % 4])


@pytest.mark.long
def test_no_flip_of_any_byte_is_overlooked(files, tmp_path):
    for key, data in files.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    unchecked("tests.store.reading.test_flips", tmp_path)


def check_all(files: Files) -> None:
    """Every byte of every file, one at a time; then with every other value, in all files but the root at once."""
    expected = everything(Forged(files))
    for i in range(len(files[ROOT])):
        for value in VALUES:
            check_root(files, expected, i, value)
    others = sorted(files.keys() - {ROOT})
    for key in others:
        for i in range(len(files[key])):
            check_others(files, {key: i}, VALUES[i % 4])
    for i in range(max(len(files[key]) for key in others)):
        for value in VALUES:
            check_others(files, {key: i for key in others if i < len(files[key])}, value)


if __name__ == "__main__":  # the slow test
    check_all(read_files(Path(sys.argv[1])))
