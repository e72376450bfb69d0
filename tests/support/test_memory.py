"""What a control group or a limit leaves counts, not what the machine has."""

import resource
import subprocess
import sys

import psutil
import pytest

from functa_store.support.memory import available_bytes, gibibytes

MIB = 2**20


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(str(text))


def available(tmp_path, membership):
    (tmp_path / "membership").write_text(membership)
    return available_bytes(str(tmp_path / "groups"), str(tmp_path / "membership"))


def test_the_tightest_group_of_version_2_bounds_memory(tmp_path):
    groups = tmp_path / "groups"
    group(groups / "batch", memory_dot_max=100 * MIB, memory_dot_current=30 * MIB)
    group(groups / "batch/job", memory_dot_max="max", memory_dot_current=20 * MIB)
    assert available(tmp_path, "0::/batch/job\n") == 70 * MIB
    (groups / "batch/memory.stat").write_text(f"anon 5\ninactive_file {10 * MIB}\n")
    assert available(tmp_path, "0::/batch/job\n") == 80 * MIB
    group(groups / "batch/job", memory_dot_max=25 * MIB)
    assert available(tmp_path, "0::/batch/job\n") == 5 * MIB


def test_a_group_of_version_1_and_one_seen_from_inside_a_container_bound_memory(tmp_path):
    groups = tmp_path / "groups"
    group(groups / "memory", memory_dot_limit_in_bytes=50 * MIB, memory_dot_usage_in_bytes=60 * MIB)
    assert available(tmp_path, "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n") == 0
    group(groups, memory_dot_max=40 * MIB, memory_dot_current=1 * MIB)
    assert available(tmp_path, "0::/../../elsewhere\n") == 39 * MIB


@pytest.mark.parametrize("membership", ["", "nonsense", "0::", "1:2", "\n\n"])
def test_without_groups_the_machine_bounds_memory(tmp_path, membership):
    found = available(tmp_path, membership)
    assert 0 < found <= psutil.virtual_memory().total


def test_a_limit_of_the_process_bounds_memory():
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, resource.RLIM_INFINITY))"
    code = f"{limit}; from functa_store.support.memory import available_bytes; print(available_bytes())"
    found = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    assert found < 2**31
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 2**31


def test_bytes_are_said_in_gibibytes():
    assert gibibytes(3 * 2**29) == "1.5 GiB"
