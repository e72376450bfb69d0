"""Tars that never end, that grow without bound, or whose members are elsewhere."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.archives.archive import open_archive
from converters.archives.streamed import StreamedTar
from functa_store.errors import ArchiveError

MEGABYTE = 1 << 20


def header(name="a.txt", size=0, kind=tarfile.REGTYPE, field=None):
    """A block of a tar; `field` is the size as it is written, whatever it is."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if field is not None:
        block[124:136] = field.ljust(12, b"\0")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name, content=b"", kind=tarfile.REGTYPE):
    return header(name, len(content), kind) + content + bytes(-len(content) % 512)


def pax(*records, kind=tarfile.XHDTYPE):
    return member("pax", b"".join(records), kind)


def record(key, value):
    text = b" %s=%s\n" % (key, value)
    length = len(text) + 1
    while len(b"%d" % length) + len(text) != length:
        length += 1
    return b"%d" % length + text


@pytest.fixture(params=["tar", "tgz"], name="opened")
def _opened(request, tmp_path):
    def opened(content, end=bytes(1024)):
        path = tmp_path / f"a.{request.param}"
        path.write_bytes(content + end if request.param == "tar" else gzip.compress(content + end))
        return open_archive(path) if request.param == "tar" else StreamedTar(str(path))

    return opened


@pytest.mark.parametrize(
    "field",
    [b"-0001000", b"-1", b"\xff" * 12, b"\xff" * 11 + b"\0", b"\x80" + b"\xff" * 11, b"0_0", b"9" * 11, b"\xc0" * 12],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"V", b"\0"])
def test_a_size_that_leads_backwards_or_beyond_the_end_is_damage(opened, field, kind):
    """CVE-2025-8194: with a size below 0 the next header is an earlier one, for ever."""
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        opened(member("good.txt", b"1") + header(kind=kind, field=field) + member("b.txt", b"2"))


@pytest.mark.parametrize("value", [b"-512", b"9" * 5000, b"9" * 20, b"1e3", b"0x10", b" 1", b""])
def test_a_size_in_a_pax_header_that_is_none_is_damage(opened, value):
    content = pax(record(b"size", value)) + member("a.txt", b"1")
    if value:
        with pytest.raises(ArchiveError, match="damaged or truncated"):
            opened(content)
    else:  # takes back what an earlier one said
        assert opened(content).members == ["a.txt"]


@pytest.mark.parametrize(
    "records",
    [
        b"1" * MEGABYTE,
        b"1" * 400_000 + b" a=b\n",
        b"99999 path=a\n",
        b"0 path=a\n",
        b"3 a",
        b"-5 a=b\n",
        b" 5 a=b\n",
        b"5 a=bc",
        b"6 abcd\n",
    ],
)
def test_a_record_of_a_pax_header_that_is_none_is_damage(opened, records):
    """CVE-2024-6232: a long number took time that grows with its square."""
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        opened(pax(records) + member("a.txt", b"1"))


def test_a_long_extended_header_is_a_reject_and_the_other_members_are_read(opened):
    long = [pax(record(b"comment", bytes(2 * MEGABYTE))), member("@", bytes(2 * MEGABYTE), tarfile.GNUTYPE_LONGNAME)]
    archive = opened(member("a.txt", b"1") + b"".join(x + member(f"{k}.txt") for k, x in enumerate(long)) + member("z"))
    assert archive.members == ["a.txt", "z"]
    assert [r.member for r in archive.rejects] == ["0.txt", "1.txt"]
    assert "more than the 1048576 that are read" in archive.rejects[0].reason


def test_a_long_link_target_is_passed_over(opened):
    archive = opened(member("@", bytes(2 * MEGABYTE), tarfile.GNUTYPE_LONGLINK) + member("a.txt", b"1"))
    assert archive.members == ["a.txt"]


@pytest.mark.long
def test_ten_thousand_extended_headers_in_a_row_are_no_recursion(opened):
    archive = opened(pax(record(b"path", b"b.txt")) * 10_000 + member("a.txt", b"1"))
    assert archive.members == ["b.txt"]
    assert archive.read("b.txt") == b"1"


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"Z"])
def test_hard_and_symbolic_links_and_devices_are_rejects(opened, kind):
    info = tarfile.TarInfo("link.txt")
    info.type, info.linkname = kind, "/etc/passwd"
    archive = opened(info.tobuf() + member("a.txt", b"1"))
    assert archive.members == ["a.txt"]
    assert [(r.member, r.reason) for r in archive.rejects] == [("link.txt", "is a link, device or sparse file")]


def test_sparse_members_of_every_kind_are_rejects(opened):
    old = bytearray(header("old.txt", 512, tarfile.GNUTYPE_SPARSE))
    old[482] = 1
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    more = bytes(504) + b"\1" + bytes(7)
    new = pax(record(b"GNU.sparse.name", b"new.txt"), record(b"GNU.sparse.major", b"1")) + member("x", b"1")
    archive = opened(bytes(old) + more * 3 + bytes(512) + bytes(512) + new + member("a.txt", b"1"))
    assert archive.members == ["a.txt"]
    assert [r.member for r in archive.rejects] == ["new.txt", "old.txt"]


def test_what_a_global_header_says_holds_for_all_that_follow(opened):
    archive = opened(pax(record(b"comment", b"x"), kind=tarfile.XGLTYPE) + member("a.txt", b"1") + member("b.txt"))
    assert archive.members == ["a.txt", "b.txt"]


def test_an_extended_header_without_a_member_is_damage(opened):
    with pytest.raises(ArchiveError, match="damaged or truncated"):
        opened(member("a.txt", b"1") + pax(record(b"path", b"b")))


@pytest.mark.slow
def test_a_compressed_tar_of_gigabytes_in_megabytes_is_refused(tmp_path):
    zeros = gzip.compress(bytes(64 * MEGABYTE), 9)
    start = gzip.compress(member("pax", kind=tarfile.REGTYPE) + header("x", 1 << 36), 1)
    (tmp_path / "a.tgz").write_bytes(start + zeros * 64)
    with pytest.raises(ArchiveError, match=r"unpacks to more than .* out of all proportion"):
        StreamedTar(str(tmp_path / "a.tgz"))


def test_a_compressed_tar_of_millions_of_members_in_little_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("converters.archives.streamed._FREE_MEMBERS", 1000)
    one = gzip.compress(header("x") * 10_000, 9)
    (tmp_path / "a.tgz").write_bytes(one)
    with pytest.raises(ArchiveError, match=r"unpacks to more than .* members"):
        StreamedTar(str(tmp_path / "a.tgz"))


@given(
    st.dictionaries(
        st.text("abcäß日", min_size=1, max_size=200).filter(lambda name: len(name.encode()) < 255),
        st.binary(max_size=2000),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_a_tar_is_read_as_the_standard_library_wrote_it(tmp_path_factory, files, form):
    path = tmp_path_factory.mktemp("tars") / "a.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size, info.mtime = len(content), 1.5
            archive.addfile(info, io.BytesIO(content))
        folder = tarfile.TarInfo("folder/")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    archive = open_archive(path)
    assert {name.removeprefix("folder/"): archive.read(name) for name in archive.members} == files
