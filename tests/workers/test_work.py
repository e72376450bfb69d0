"""Processes that share nothing but the store fit it together, and refuse what would give other bytes."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.cli.work import parse_share
from functa_store.conversion.workers import finish as finishing
from functa_store.conversion.workers import worker as worker_module
from functa_store.conversion.workers.engine import Elsewhere
from functa_store.conversion.workers.job import Canary, checksum
from functa_store.conversion.workers.processes import Processes
from functa_store.conversion.workers.reopen import reopen
from functa_store.conversion.workers.worker import Worker, work
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    StoreExistsError,
    StoreFormatError,
    StoreMismatchError,
)
from functa_store.progress import Fitted, Note, silent
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions, from_word, hints
from functa_store.store.reading.verify import verify
from tests.kinds.archives import KINDS
from tests.workers.jobs import CONFIG, files, job_of, never_learned, open_pictures, pictures, rewritten_job, spec_of


@pytest.mark.parametrize("dtype", ["float32", pytest.param("int8", marks=pytest.mark.slow)])
def test_bytes_are_those_of_a_single_process(references, begin, dtype):
    path = begin(dtype)
    written = [work(path, share=(k, 2)) for k in (1, 0)]
    functa_store.finish(path)
    assert written == [3, 3]
    assert files(path) == references[dtype]
    assert not path.with_name("x.functa.work").exists()
    assert verify(path).damaged == {}


@pytest.mark.slow
def test_a_conversion_goes_on_with_what_workers_have_written_and_workers_with_its_job(references, begin, archive):
    path = begin()
    job = path.with_name("x.functa.work") / "job.json"
    before = job.read_bytes()
    assert work(path, share=(0, 3)) == 2
    functa_store.convert(open_pictures(archive), path, CONFIG, engine=Elsewhere())
    assert job.read_bytes() == before  # so that they need not begin again
    functa_store.convert(open_pictures(archive), path, CONFIG)
    assert files(path) == references["float32"]


def test_missing_shards_are_named(begin):
    path = begin()
    work(path, share=(0, 4))
    with pytest.raises(StoreFormatError, match=r"4 of 6 shards are missing: 1, 2, 3, 5; functa work fits them"):
        functa_store.finish(path)


@pytest.mark.slow
def test_finishing_imports_neither_jax_nor_an_archive(begin, archive, tmp_path, references):
    path = begin()
    work(path)
    code = """
import sys
import functa_store
functa_store.finish(sys.argv[1])
assert not {"jax", "jaxlib", "flax", "optax", "converters", "xarray", "dask"} & sys.modules.keys(), sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=120)
    assert files(path) == references["float32"]
    functa_store.finish(path)  # which is complete: nothing is left to do
    assert files(path) == references["float32"]


@pytest.mark.slow
def test_two_that_finish_at_a_time_both_end_well(begin, references, monkeypatch):
    path = begin()
    work(path)
    claim = finishing.claim

    def late(*args):  # the other one comes first
        monkeypatch.setattr(finishing, "claim", claim)
        functa_store.finish(path)
        return claim(*args)

    monkeypatch.setattr(finishing, "claim", late)
    functa_store.finish(path)
    assert files(path) == references["float32"]


def test_a_worker_that_comes_after_the_end_has_nothing_to_do(begin):
    path, notes = begin(), []
    work(path)
    functa_store.finish(path)
    functa_store.finish(path)  # as a job that was queued again does
    assert work(path, report=notes.append) == 0
    assert notes == [Note(message=f"{path}: is complete; nothing is left to do")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-7], id="torn"),
        pytest.param(lambda data: b"x" + data[1:], id="flipped"),
        pytest.param(lambda data: None, id="gone"),
    ],
)
def test_a_shard_that_a_disk_has_damaged_is_fitted_again(begin, references, damage):
    path = begin()
    work(path)
    shard = path / "modulations/c/3/0"
    changed = damage(shard.read_bytes())
    shard.unlink() if changed is None else shard.write_bytes(changed)
    with pytest.raises(StoreFormatError, match=r"1 of 6 shards are missing: 3|c/3/0 changed after"):
        functa_store.finish(path)
    assert work(path) == 1
    functa_store.finish(path)
    assert files(path) == references["float32"]


@pytest.mark.slow
def test_nothing_is_written_of_an_archive_that_is_changed_meanwhile(begin, archive, tmp_path, references):
    path, copy, fitted = begin(), tmp_path / archive.name, []
    shutil.copy(archive, copy)

    def edit(event):
        fitted.extend([event] if isinstance(event, Fitted) else [])
        if len(fitted) == 3:
            copy.write_bytes(copy.read_bytes() + b"\0")

    with pytest.raises(ArchiveError, match="was changed while it was being converted"):
        work(path, archive=copy, report=edit)
    with pytest.raises(StoreFormatError, match="4 of 6 shards are missing"):
        functa_store.finish(path)
    work(path)
    functa_store.finish(path)
    assert files(path) == references["float32"]


def test_there_is_nothing_to_work_on_without_a_job(tmp_path):
    with pytest.raises(StoreFormatError, match="found no job beside it"):
        work(tmp_path / "none.functa")


def test_a_worker_of_a_job_that_was_begun_anew_writes_no_more(begin):
    path = begin()
    worker = Worker(path)
    rewritten_job(path, epoch="another")
    assert worker.is_over()
    shard = worker.shards[0]
    (fitted,) = worker.fit([shard], Counted())
    with pytest.raises(StoreExistsError, match="begun anew"):
        worker.write(*fitted)
    assert not (path / "modulations/c").exists()


@pytest.mark.slow
def test_a_worker_with_other_libraries_is_refused_by_name(begin, monkeypatch):
    path = begin()
    found = worker_module.versions()
    monkeypatch.setattr(worker_module, "versions", lambda: found | {"jax": "0.0.1"})
    with pytest.raises(StoreMismatchError, match=r"gpu-7: refused as a worker.*jax is '0\.0\.1', expected"):
        Worker(path, name="gpu-7")


def test_a_worker_whose_canary_differs_in_one_bit_is_refused_by_name(begin):
    path = begin()
    job = json.loads((path.with_name("x.functa.work") / "job.json").read_text())
    canary = Canary(**job["canary"])
    changed = canary.values.copy()
    changed[1] = np.nextafter(changed[1], np.float32(1))
    rewritten_job(path, canary=dataclasses.asdict(Canary.of(canary.example, changed)))
    with pytest.raises(StoreMismatchError, match=r"gpu-7: refused as a worker.*example 0 differs by up to"):
        Worker(path, name="gpu-7")


class Counted:
    examples = 0

    def add(self, mse):
        self.examples += len(mse)


def test_another_archive_is_refused(begin, tmp_path):
    path = begin()
    (tmp_path / "other").mkdir()
    shorter = pictures(tmp_path / "other", count=20)
    with pytest.raises(StoreMismatchError, match=r"bytes, expected the .* of the archive that is converted"):
        Worker(path, archive=shorter)
    rewritten_job(path, archive_bytes=None)
    with pytest.raises(StoreMismatchError, match=r"has no example '02"):
        Worker(path, archive=shorter)


def test_an_archive_of_other_values_is_refused(begin):
    path = begin()
    rewritten_job(path, samples={"3": "0" * 64})
    with pytest.raises(StoreMismatchError, match=r"example '003.png' has other values"):
        Worker(path)


def test_the_archive_may_lie_elsewhere(begin, archive, tmp_path, references):
    path = begin()
    moved = shutil.copy(archive, tmp_path / "copy.zip")
    rewritten_job(path, recipe={"paths": ["/nowhere/pictures.zip"]})
    work(path, archive=moved)
    functa_store.finish(path)
    assert files(path) == references["float32"]


@pytest.mark.parametrize("engine", [Elsewhere(), Processes(2)])
def test_a_source_made_in_python_is_refused_before_anything_is_learned(tmp_path, engine):
    values = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    source = ArraySource(values, features=FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255))
    with pytest.raises(ConfigError, match="was made in Python, so that workers cannot open it"):
        functa_store.convert(source, tmp_path / "x.functa", CONFIG, engine=engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "expected"), [("0/16", (0, 16)), ("15/16", (15, 16)), (None, None)])
def test_a_share_of_the_shards_is_a_fraction(text, expected):
    assert parse_share(text) == expected


@pytest.mark.parametrize("text", ["16/16", "1", "1/0", "-1/4", "a/b", "1/2/3"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ConfigError, match=r"--shards takes I/N with 0 <= I < N"):
        parse_share(text)


@pytest.mark.parametrize("share", [(2, 2), (-1, 2), (0, 0), (0.5, 2), ("0", 2), (0,), (0, 1, 2), 3])
def test_a_share_that_is_none_is_refused(tmp_path, unchecked, share):
    with pytest.raises(ConfigError, match=r"share must be \(i, n\), whole numbers"):
        work(tmp_path / "x.functa", share=share)


@pytest.mark.slow
def test_the_commands_do_the_same(begin, references, capsys):
    path = begin()
    assert cli.main(["work", str(path), "--shards", "0/2", "--quiet"]) == 0
    assert cli.main(["finish", str(path)]) == 2
    assert "3 of 6 shards are missing: 1, 3, 5" in capsys.readouterr().err
    assert cli.main(["work", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"path": str(path), "shards_written": 3}
    assert cli.main(["finish", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] is True
    assert files(path) == references["float32"]


@pytest.mark.slow
def test_the_command_of_a_conversion_leaves_shards_to_workers(archive, tmp_path, monkeypatch, capsys):
    never_learned(monkeypatch)
    out = tmp_path / "x.functa"
    words = ["convert", "images", str(archive), str(out), "--resolution", "8", "--max-rejects", "0.5"]
    words += [
        "--network.width",
        "8",
        "--network.depth",
        "3",
        "--modulation-dim",
        "4",
        "--rows-per-shard",
        "8",
        "--fit.num_steps",
        "3",
    ]
    assert cli.main([*words, "--workers", "0"]) == 0
    assert "3 shards are left to functa work; functa finish completes the store then" in capsys.readouterr().err
    assert functa_store.verify(out).examples == 0
    assert cli.main(["work", str(out), "--quiet"]) == 0
    assert cli.main(["finish", str(out)]) == 0
    assert functa_store.verify(out).complete
    assert cli.main([*words[:3], str(tmp_path / "y.functa"), *words[4:], "--workers", "-1"]) == 2
    assert "--workers must not be negative" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_archive_is_opened_again_with_the_same_values(kind, tmp_path):
    """Without a survey where members that pass unread give the same examples."""
    archive, converter = KINDS[kind].write(tmp_path), functa_store.converters()[KINDS[kind].converter]
    words = dict(zip(KINDS[kind].options[::2], KINDS[kind].options[1::2], strict=True))
    options = {name.removeprefix("--").replace("-", "_"): value for name, value in words.items()}
    known = hints(converter.options)
    chosen = converter.options.of(
        **{name: from_word(name, known[name], value) for name, value in options.items() if name in known}
    )
    source = converter.open(str(archive), chosen, SurveyOptions(), silent)
    notes = []
    again = reopen(job_of(source), spec_of(source), list(source.ids), report=notes.append)
    assert [checksum(again, k) for k in range(len(again.ids))] == [checksum(source, k) for k in range(len(source.ids))]
    scaled = KINDS[kind].converter in ("arrays", "climate")  # by what a survey finds
    assert len([note for note in notes if isinstance(note, Note) and "surveyed again" in note.message]) == scaled
