"""A conversion that is killed at any moment goes on to the bytes of one that is not."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.kill.conversions import Conversions, Plan, at_random, carry_out_all, evenly, files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up files in /proc")


@pytest.fixture(scope="module", name="conversions")
def _conversions(tmp_path_factory):
    return Conversions(tmp_path_factory.mktemp("references"))


@pytest.mark.long
def test_killed_conversions_end_in_the_same_bytes(conversions, tmp_path):
    plans = [
        Plan("float32", ("learning:100",)),
        Plan("float32", ("shards:14", "completion:29")),
        Plan("int8", ("exact shards:9", "clearing:3")),
    ]
    hits, problems = carry_out_all(conversions, plans, tmp_path)
    assert not problems
    assert hits == dict.fromkeys(("learning", "shards", "completion", "exact shards", "clearing"), 1)


KILLS = {
    "float32": {
        "learning": 6,
        "tuning": 4,
        "preparing": 2,
        "skeleton": 5,
        "shards": 6,
        "receipts": 4,
        "completion": 5,
        "clearing": 6,
    },
    "int8": {
        "learning": 1,
        "tuning": 1,
        "exact preparing": 1,
        "exact skeleton": 3,
        "exact shards": 3,
        "exact receipts": 2,
        "exact completion": 3,
        "exact clearing": 4,
        "skeleton": 3,
        "shards": 3,
        "receipts": 2,
        "completion": 3,
        "clearing": 9,
    },
}
AGAIN_AND_AGAIN = [
    Plan("float32", ("learning:50", "learning:50", "tuning:5")),
    Plan("float32", ("tuning:3", "receipts:2", "skeleton:50", "shards:1")),
    Plan("float32", ("skeleton:20", "preparing:1")),
    Plan("float32", ("skeleton:40", "preparing:2", "skeleton:60")),
    Plan("float32", ("skeleton:30", "receipts:1", "receipts:2")),
    Plan("float32", ("shards:10", "shards:10", "shards:10", "completion:5")),
    Plan("float32", ("completion:12", "completion:24", "clearing:2", "clearing:2")),
    Plan("int8", ("exact skeleton:20", "exact preparing:1")),
    Plan("int8", ("exact shards:12", "exact completion:9", "exact clearing:2")),
    Plan("int8", ("skeleton:25", "preparing:1", "shards:5")),
    Plan("int8", ("shards:12", "completion:9", "clearing:4", "clearing:9")),
]


def hundred_plans(references):
    plans = list(AGAIN_AND_AGAIN)
    for dtype, kills in KILLS.items():
        for phase, number in kills.items():
            plans += evenly(references[dtype], dtype, phase, number)
    left = 100 - len(plans)
    return (
        plans
        + at_random(references["float32"], "float32", left // 2, 0)
        + at_random(references["int8"], "int8", left - left // 2, 1)
    )


@pytest.mark.long
def test_a_hundred_killed_conversions_end_in_the_same_bytes(conversions, tmp_path):
    plans = hundred_plans(conversions.references)
    hits, problems = carry_out_all(conversions, plans, tmp_path)
    (tmp_path / "hits.json").write_text(json.dumps(hits, indent=1))
    assert not problems, f"{len(problems)} problems:\n" + "\n".join(problems)
    assert len(plans) == 100
    for kills in KILLS.values():
        for phase, number in kills.items():
            assert hits[phase] >= number


FILL = """
mount -t tmpfs -o "$1" tmpfs "$2" || exit 9
shift
cd "$1/.." && shift
"$@" 2>first.error; echo $? >first.code
cp -a disk between
mount -o remount,size=64m,nr_inodes=10000 tmpfs "$PWD/disk"
"$@" 2>second.error; echo $? >second.code
cp -a disk after
"""
"""Convert on a disk of the given size, then with more room; the disk goes with the shell."""


def in_a_namespace():
    """The start of a command line that may mount a disk of its own, and take it along when it ends."""
    for words in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        try:
            if subprocess.run([*words, "mount", "-t", "tmpfs", "tmpfs", "/tmp"], capture_output=True).returncode == 0:
                return words
        except FileNotFoundError:
            break
    pytest.skip("may not mount a small disk")


def check_full_disk(conversions, folder, dtype, size):
    (folder / "disk").mkdir(parents=True)
    out = folder / "disk/full.functa"
    words = [*in_a_namespace(), "bash", "-c", FILL, "bash", size, str(folder / "disk")]
    environment = conversions.environment | {"KILL_TRACE": str(folder / "trace")}
    subprocess.run([*words, *conversions.command(dtype, out)], env=environment, check=True, capture_output=True)
    assert (folder / "first.code").read_text() == "2\n", f"{size} is enough"
    error = (folder / "first.error").read_text()
    assert error.startswith(f"error: {out}")
    assert "No space left on device" in error
    assert not list((folder / "between").rglob("*.part"))
    assert not conversions.problems_after_a_kill(dtype, folder / "between/full.functa")
    assert (folder / "second.code").read_text() == "0\n", (folder / "second.error").read_text()
    assert not conversions.problems_at_the_end(dtype, folder / "after/full.functa")


@pytest.mark.long
def test_a_full_disk_is_named_and_costs_nothing_once_there_is_room(conversions, tmp_path):
    check_full_disk(conversions, tmp_path, "float32", "size=160k")


@pytest.mark.long
@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", f"size={kilobytes}k") for kilobytes in (8, 24, 60, 120, 200, 240)]
    + [("int8", f"size={kilobytes}k") for kilobytes in (100, 240, 360, 420)]
    + [("float32", "size=64m,nr_inodes=40")],
)
def test_a_disk_of_any_size_may_be_full(conversions, tmp_path, dtype, size):
    check_full_disk(conversions, tmp_path, dtype, size)


@pytest.mark.long
@pytest.mark.parametrize("pause", ["learning:60", "shards:9"])
def test_a_conversion_whose_parent_was_killed_goes_on_alone(conversions, tmp_path, pause):
    out = tmp_path / "orphan.functa"
    with conversions.paused("float32", out, pause) as orphan:
        before = files(tmp_path)
        refused = conversions.convert("float32", out)
        assert refused.code == 2
        assert "another process is writing this store" in refused.error
        assert files(tmp_path) == before
        orphan.go_on()
    assert not conversions.problems_at_the_end("float32", out)


@pytest.mark.long
def test_a_conversion_that_was_killed_after_its_parent_goes_on(conversions, tmp_path):
    out = tmp_path / "orphan.functa"
    with conversions.paused("float32", out, "shards:9") as orphan:
        os.kill(orphan.pid, signal.SIGKILL)
        orphan.go_on()
    assert conversions.convert("float32", out).code == 0
    assert not conversions.problems_at_the_end("float32", out)


@pytest.mark.long
@pytest.mark.parametrize("kill", [None, "skeleton:20", "shards:14"])
def test_of_conversions_started_at_once_one_goes_on(conversions, tmp_path, kill):
    out = tmp_path / "contested.functa"
    if kill is not None:
        assert conversions.convert_until("int8", out, kill).code == -9
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda _: conversions.convert("int8", out), range(3)))
    assert sorted(one.code for one in ended) == [0, 2, 2]
    for one in ended:
        assert one.code == 0 or "another process is writing" in one.error or "complete functaset already" in one.error
    assert not conversions.problems_at_the_end("int8", out)
