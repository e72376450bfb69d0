"""The fuzz sees what it is there to see."""

import json
import random
import sys

import pytest

from tests.fuzz import harness, mutations
from tests.fuzz.harness import fuzz

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up files in /proc")


def test_reading_a_mutant_or_refusing_it_is_in_order():
    assert not fuzz("tests.fuzz.misdeeds", "nothing", range(5)).faults
    tally = fuzz("tests.fuzz.misdeeds", "refuse", range(5))
    assert (tally.read, sum(tally.refused.values()), tally.faults) == (0, 5, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("misdeed", "words"),
    [
        ("advise", "gives away"),
        ("raise", "KeyError: 'nothing'"),
        ("exit", "SystemExit: 3"),
        ("die", "ended with code -6"),
        ("hang", "hung"),
        ("follow a link", "opened .*link"),
        ("read outside", "opened .*hostname"),
        ("read outside in C", "outside was opened.*secret.bin"),
        ("write beside", "opened .*beside"),
        ("remove outside", r"os\.remove \("),
        ("run", r"subprocess\.Popen \("),
        ("connect", r"socket\.connect \("),
        ("unpickle", r"pickle\.find_class \("),
        ("load a library", r"ctypes\.dlopen \("),
        ("take memory", "MemoryError"),
    ],
)
def test_whatever_else_a_mutant_does_is_a_fault(misdeed, words, monkeypatch):
    if misdeed == "hang":
        monkeypatch.setattr(harness, "HANG_SECONDS", 3.0)
    tally = fuzz("tests.fuzz.misdeeds", misdeed, range(1))
    assert list(tally.faults) == [0]
    with pytest.raises(AssertionError, match=words):
        tally.check()


def test_a_child_that_died_is_replaced():
    assert len(fuzz("tests.fuzz.misdeeds", "die", range(3)).faults) == 3


def test_a_seed_makes_the_same_changes_again():
    data, value = bytes(range(256)), {"shape": [3, 4], "codecs": [{"name": "bytes"}]}
    for seed in range(200):
        once, again = (mutations.of_bytes(random.Random(seed), data) for _ in range(2))
        assert once == again
        texts = [mutations.of_json_text(random.Random(seed), json.dumps(value)) for _ in range(2)]
        assert texts[0] == texts[1]
    assert value == {"shape": [3, 4], "codecs": [{"name": "bytes"}]}
