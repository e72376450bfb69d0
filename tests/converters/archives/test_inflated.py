import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest

from converters.archives import inflated
from converters.archives.archive import open_archive
from converters.archives.inflated import Inflated, kept_blocks, open_member, open_placed
from converters.archives.packed import RandomFile
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.memory import LRUCache

DATA = np.random.default_rng(0).integers(0, 40, 400_001, dtype=np.uint8).tobytes()


@pytest.fixture(name="small", autouse=True)
def _small(monkeypatch):
    """Blocks and copies of decoders few enough that a small file has many."""
    monkeypatch.setattr(inflated, "BLOCK", 1 << 12)
    monkeypatch.setattr(inflated, "MOST_STATES", 16)


@pytest.fixture(name="packed")
def _packed(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(DATA[:200_000], 1) + gzip.compress(DATA[200_000:], 9) + bytes(100))
    return path


@pytest.mark.parametrize("kept", [0, 1 << 14, 1 << 20])
def test_any_place_can_be_read_in_any_order(packed, kept):
    found = Inflated(RandomFile(str(packed)), is_gzip=True, kept=LRUCache(kept))
    assert found.size == len(DATA)
    assert len(found._states) <= 17
    for start in np.random.default_rng(1).integers(0, len(DATA) - 9000, 40).tolist():
        assert found.read_at(start, 9000) == DATA[start : start + 9000]
    assert found.read_at(len(DATA), 0) == b""
    with pytest.raises(MemberError, match="ends at 400001: truncated"):
        found.read_at(len(DATA) - 1, 2)


@pytest.mark.parametrize("cut", [5, 30, 100_000])
def test_what_is_cut_off_is_refused_at_once(packed, cut):
    packed.write_bytes(packed.read_bytes()[:cut])
    with pytest.raises(ArchiveError, match="is truncated"):
        Inflated(RandomFile(str(packed)), is_gzip=True)


def test_damage_is_refused_at_once(packed):
    content = bytearray(packed.read_bytes())
    content[50_000] ^= 0xFF
    packed.write_bytes(content)
    with pytest.raises(ArchiveError, match="is damaged"):
        Inflated(RandomFile(str(packed)), is_gzip=True)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inflated, "_FREE_BYTES", 1 << 16)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(ArchiveError, match="out of all proportion"):
        Inflated(RandomFile(str(path)), is_gzip=True)


def test_members_are_read_in_place_or_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("stored", DATA)
        archive.writestr("deflated", DATA, zipfile.ZIP_DEFLATED)
        archive.writestr("lzma", DATA, zipfile.ZIP_LZMA)
        archive.writestr("gzip", gzip.compress(DATA))
        archive.writestr("twice", gzip.compress(DATA), zipfile.ZIP_DEFLATED)
    archive = open_archive(tmp_path / "a.zip")
    for name in ("stored", "deflated", "gzip"):
        file = open_member(archive, name, kept_blocks())
        assert (file.size, file.read_at(123_456, 7000)) == (len(DATA), DATA[123_456:130_456])
        assert file.name == f"a.zip/{name}"
    with pytest.raises(ArchiveError, match="compressed by another method than DEFLATE"):
        open_member(archive, "lzma", kept_blocks())
    with pytest.raises(ArchiveError, match="is compressed twice"):
        open_member(archive, "twice", kept_blocks())


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_a_packed_tar_is_an_archive(tmp_path, name):
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as archive:
        info = tarfile.TarInfo("deep/file")
        info.size = len(DATA)
        archive.addfile(info, io.BytesIO(DATA))
    found = open_placed(tmp_path / name)
    assert found.members == ["deep/file"]
    assert found.read("deep/file") == DATA
    assert open_member(found, "deep/file", kept_blocks()).read_at(9, 9) == DATA[9:18]
