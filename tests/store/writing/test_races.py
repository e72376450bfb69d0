"""Two processes write every shard of a store at the same time: nobody sees half of one, and what is late is nothing."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from functa_store.store.format.receipts import Receipts
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import open_objects, record
from functa_store.store.storage.writer_lock import JOB, sole_writer
from functa_store.store.writing.writer import StoreWriter
from tests.store.conftest import make_contents, read_all, write_shards
from tests.store.writing.race_once import CONFIG

ROOT = Path(__file__).parents[3]


class Race:
    """Stores that two processes write at the same time, looked at meanwhile and while they are completed.

    Args:
        folder: Where they lie; it holds nothing else.

    Attributes:
        looks: Files of shards that were compared with what a single process writes.
        wrong: What was not as it should be.
        late: Shards that came after the completion.
    """

    def __init__(self, folder):
        self.contents = make_contents(config=CONFIG)
        self.spec = self.contents.spec()
        self.shards = self.spec.layout.shards(self.spec.examples.count)
        self.expected = read_all(write_shards(folder / "alone.functa", self.contents))
        self.folder, self.looks, self.wrong, self.late = folder, 0, [], 0

    def run(self, looks):
        """Write store after store until there were so many looks."""
        command = [sys.executable, str(Path(__file__).with_name("race_once.py"))]
        environment = os.environ | {"PYTHONPATH": os.fspath(ROOT)}
        with contextlib.ExitStack() as stack:
            racers = [
                stack.enter_context(
                    subprocess.Popen(
                        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                    )
                )
                for _ in range(2)
            ]
            number = 0
            while self.looks < looks and not self.wrong:
                self._one_store(self.folder / f"{number}.functa", racers)
                number += 1
            for racer in racers:
                racer.stdin.close()

    def _one_store(self, path, racers):
        objects = open_objects(path)
        with sole_writer(objects) as (store, work), StoreWriter.resume_or_create(store, self.contents):
            work.write(JOB, b"{}")
        for racer in racers:
            racer.stdin.write(f"{path}\n")
        completion = threading.Thread(target=self._complete, args=(path,))
        while (done := self._look(path)) < len(self.shards):
            assert all(racer.poll() is None for racer in racers)
        completion.start()
        while completion.is_alive():
            done = max(done, self._look(path))
        completion.join()
        for racer in racers:
            passes, late = map(int, racer.stdout.readline().split())
            assert passes + late >= 1
            self.late += late
        if (found := read_all(path)) != self.expected:
            self.wrong.append((path, sorted(found.keys() ^ self.expected.keys())))
        if left := [entry.name for entry in path.parent.glob(f"{path.name}.*")]:
            self.wrong.append((path, left))

    def _complete(self, path):
        with sole_writer(open_objects(path)) as (store, _):
            writer = StoreWriter.taken_up(store, self.spec)
            assert writer.look_again() == []
            writer.complete_if_done()

    def _look(self, path):
        """Compare every shard that is there, with or without a receipt; how many have one."""
        objects = LocalObjects(path)
        done = Receipts(objects, self.spec.fingerprint).done(self.shards)
        promised = {key: file for written in done.values() for key, file in written.files.items()}
        there = [key for key in objects.sizes() if "/c/" in key and key in self.expected and key.startswith(SHARDS)]
        for key in {*there, *promised}:
            found = objects.read(key, 2**20)
            self.looks += 1
            if found != self.expected[key] or promised.get(key, record(found)) != record(found):
                self.wrong.append((path, key, len(found)))
        return len(done)


SHARDS = ("modulations/", "mse/")


def check(folder, looks):
    race = Race(folder)
    race.run(looks)
    assert race.wrong == []
    assert race.looks >= looks
    assert race.late >= 2
    last = max(folder.glob("[0-9]*.functa"), key=lambda path: int(path.stem))
    assert verify(last).damaged == {}


@pytest.mark.slow
def test_shards_that_two_processes_write_are_never_torn_and_what_is_late_changes_nothing(tmp_path):
    check(tmp_path, 1)


@pytest.mark.long
def test_shards_that_two_processes_write_are_never_torn_in_ten_thousand_looks(tmp_path):
    check(tmp_path, 10_000)
