"""Conversions of archives that are many files are interrupted, go on, and are shared by workers."""

import shutil
import zipfile

import numpy as np
import pytest

import functa_store
from functa_store.cli import main as cli
from functa_store.conversion.workers.engine import Elsewhere
from functa_store.conversion.workers.processes import Processes
from functa_store.conversion.workers.worker import work
from functa_store.errors import ArchiveError, StoreMismatchError
from functa_store.progress import Fitted
from tests.kinds.archives import png, write_zip
from tests.workers.jobs import CONFIG, files, never_learned, open_pictures


@pytest.fixture(name="parts")
def _parts(tmp_path, monkeypatch):
    """The pattern of three zips of pictures; what converts them learns no base."""
    never_learned(monkeypatch)
    (tmp_path / "parts").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 8, 3), dtype=np.uint8)
    for part, pictures in enumerate(pixels):
        folder = tmp_path / ("more" if part == 3 else "parts")
        folder.mkdir(exist_ok=True)
        write_zip(folder / f"p-{part}.zip", {f"{k}.png": png(picture) for k, picture in enumerate(pictures)})
    return str(tmp_path / "parts/p-*.zip")


def begin(parts, path):
    functa_store.convert(open_pictures(parts), path, CONFIG, engine=Elsewhere())
    return path


@pytest.mark.slow
def test_workers_fit_the_same_bytes(parts, tmp_path):
    functa_store.convert(open_pictures(parts), tmp_path / "one.functa", CONFIG)
    begin(parts, tmp_path / "x.functa")
    assert [work(tmp_path / "x.functa", share=(k, 2)) for k in (1, 0)] == [2, 3]
    functa_store.finish(tmp_path / "x.functa")
    assert files(tmp_path / "x.functa") == files(tmp_path / "one.functa")


def test_a_worker_names_the_file_that_is_missing(parts, tmp_path):
    path = begin(parts, tmp_path / "x.functa")
    (tmp_path / "parts/p-1.zip").unlink()
    with pytest.raises(ArchiveError, match=r"parts/p-1\.zip: no such file"):
        work(path)


def test_files_may_lie_elsewhere_but_must_be_the_same(parts, tmp_path):
    path = begin(parts, tmp_path / "x.functa")
    shutil.move(tmp_path / "parts", tmp_path / "moved")
    shutil.copy(tmp_path / "more/p-3.zip", tmp_path / "moved")
    with pytest.raises(
        StoreMismatchError, match=r"of the files of the archive, p-3\.zip is added; give the files that are converted"
    ):
        work(path, archive=tmp_path / "moved/p-*.zip")
    with pytest.raises(StoreMismatchError, match=r"p-2\.zip is gone; give the files"):
        work(path, archive=[tmp_path / f"moved/p-{k}.zip" for k in range(2)])
    with pytest.raises(StoreMismatchError, match="the archive is one file or folder, and was 3 files"):
        work(path, archive=tmp_path / "moved/p-0.zip")
    (tmp_path / "moved/p-3.zip").unlink()
    assert work(path, archive=tmp_path / "moved/p-*.zip") == 5


def test_files_of_another_size_are_refused_before_they_are_read(parts, tmp_path):
    path = begin(parts, tmp_path / "x.functa")
    with zipfile.ZipFile(tmp_path / "parts/p-1.zip", "a") as archive:
        archive.comment = b"packed again"
    with pytest.raises(StoreMismatchError, match=r"p-0\.zip and 2 more: has [\d,]+ bytes, expected the [\d,]+ of"):
        work(path)


@pytest.mark.slow
def test_an_interrupted_conversion_goes_on_with_the_same_files_alone(parts, tmp_path):
    functa_store.convert(open_pictures(parts), tmp_path / "one.functa", CONFIG)
    out = tmp_path / "x.functa"

    def interrupt(event):
        if isinstance(event, Fitted) and event.done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        functa_store.convert(open_pictures(parts), out, CONFIG, report=interrupt)
    shutil.copy(tmp_path / "more/p-3.zip", tmp_path / "parts")
    with pytest.raises(StoreMismatchError, match=r"from this one: of the files of the archive, p-3\.zip is added"):
        functa_store.convert(open_pictures(parts), out, CONFIG)
    (tmp_path / "parts/p-3.zip").unlink()
    shutil.copy(tmp_path / "more/p-3.zip", tmp_path / "kept.zip")
    moved = shutil.move(tmp_path / "parts/p-1.zip", tmp_path / "p-1.zip")
    with pytest.raises(StoreMismatchError, match=r"of the files of the archive, p-1\.zip is gone"):
        functa_store.convert(open_pictures(parts), out, CONFIG)
    shutil.copy(tmp_path / "kept.zip", tmp_path / "parts/p-1.zip")
    with pytest.raises(StoreMismatchError, match=r"of the files of the archive, p-1\.zip is changed"):
        functa_store.convert(open_pictures(parts), out, CONFIG)
    shutil.copy(moved, tmp_path / "parts/p-1.zip")
    functa_store.convert(open_pictures(parts), out, CONFIG)
    assert files(out) == files(tmp_path / "one.functa")


def test_a_file_that_is_added_meanwhile_completes_nothing(parts, tmp_path):
    source, out = open_pictures(parts), tmp_path / "x.functa"
    shutil.copy(tmp_path / "more/p-3.zip", tmp_path / "parts")
    with pytest.raises(ArchiveError, match=r"p-3\.zip: was added while the files of p-\*\.zip were being converted"):
        functa_store.convert(source, out, CONFIG)
    assert not functa_store.verify(out).complete


@pytest.mark.slow
def test_processes_of_the_command_line_fit_a_list(parts, tmp_path, capsys):
    (tmp_path / "files.txt").write_text("".join(f"parts/p-{k}.zip\n" for k in (2, 0, 1)))
    functa_store.convert(open_pictures(f"@{tmp_path}/files.txt"), tmp_path / "one.functa", CONFIG)
    functa_store.convert(open_pictures(f"@{tmp_path}/files.txt"), tmp_path / "two.functa", CONFIG, engine=Processes(2))
    assert files(tmp_path / "one.functa") == files(tmp_path / "two.functa")
    assert cli.main(["verify", str(tmp_path / "two.functa"), "--deep", "--archive", f"@{tmp_path}/files.txt"]) == 0
