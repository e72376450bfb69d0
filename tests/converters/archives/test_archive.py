import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.archives import packed
from converters.archives.archive import open_archive
from converters.archives.listing import MAX_MEMBER_BYTES
from functa_store.errors import ArchiveError, MemberError

FILES = {"b/2.txt": b"two" * 1000, "a/1.txt": b"one", "b/10.txt": b"", "top.txt": b"\0\xff"}


def test_every_kind_gives_the_same_members_in_sorted_order(pack, kind):
    archive = open_archive(pack(FILES, kind))
    assert archive.members == sorted(FILES)
    assert {member: archive.read(member) for member in archive.members} == FILES
    assert archive.rejects == []


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text("abcäß日/ ", min_size=1, max_size=12).filter(lambda n: n.strip("/") == n and "//" not in n),
        st.binary(max_size=300),
        min_size=1,
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.binary(max_size=50),
    st.binary(max_size=50),
)
def test_a_zip_is_read_as_the_standard_library_reads_it(files, method, before, comment):
    """Also behind other bytes and with a comment, which may look like anything but another end of a zip."""
    comment = comment.replace(b"PK", b"")
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(b"PK\3\4" + before)
        with zipfile.ZipFile(file, "a", method) as archive:
            archive.comment = comment
            for name, content in files.items():
                archive.writestr(name, content)
        file.flush()
        archive = open_archive(file.name)
        assert {member: archive.read(member) for member in archive.members} == files


def test_a_zip_with_64_bit_fields_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    with zipfile.ZipFile(tmp_path / "long.zip", "w") as archive:
        for k in range(10):
            archive.writestr(str(k), bytes([k]) * 200)
    assert b"PK\6\6" in (tmp_path / "long.zip").read_bytes()
    archive = open_archive(tmp_path / "long.zip")
    assert [archive.read(m) for m in archive.members] == [bytes([k]) * 200 for k in range(10)]


def test_threads_and_pickled_copies_read_alike(pack, kind):
    files = {f"{k:03}": bytes([k]) * (k * 100) for k in range(200)}
    archive = pickle.loads(pickle.dumps(open_archive(pack(files, kind))))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, archive.members * 3)) == list(files.values()) * 3


@pytest.mark.slow
def test_listing_a_zip_costs_little_memory_per_member(tmp_path):
    num_members = 20_000
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for k in range(num_members):
            archive.writestr(f"img_align_celeba/{k:06}.jpg", b"")
    tracemalloc.start()
    try:
        archive = open_archive(tmp_path / "many.zip")
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(archive.members) == num_members
    assert kept < 150 * num_members
    assert peak < 450 * num_members


def test_the_digest_is_that_of_the_file_and_for_a_folder_of_names_and_contents(pack):
    path = pack(FILES, "zip")
    assert open_archive(path).sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    lines = "".join(f"{m}\0{hashlib.sha256(FILES[m]).hexdigest()}\n" for m in sorted(FILES))
    assert open_archive(pack(FILES, "folder")).sha256() == hashlib.sha256(lines.encode()).hexdigest()


def test_hidden_files_are_no_members(pack, kind):
    files = {"1.txt": b"", ".DS_Store": b"", "__MACOSX/._1.txt": b"", ".git/config": b""}
    archive = open_archive(pack(files, kind))
    assert archive.members == ["1.txt"]
    assert archive.rejects == []


def test_leading_dots_of_a_tar_are_taken_off(pack):
    assert open_archive(pack({"./a/1.txt": b""}, "tar")).members == ["a/1.txt"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../1.txt", "leads out of the archive"),
        ("a/../../1.txt", "leads out of the archive"),
        ("a\\..\\1.txt", "leads out of the archive"),
        ("/etc/1.txt", "absolute name"),
        ("C:\\1.txt", "absolute name"),
    ],
)
def test_names_that_lead_elsewhere_become_rejects(pack, kind, name, reason):
    archive = open_archive(pack({name: b"", "good.txt": b""}, kind))
    assert archive.members == ["good.txt"]
    assert [reject.member for reject in archive.rejects] == [name]
    assert reason in archive.rejects[0].reason


def test_a_name_that_is_not_utf8_becomes_a_reject_but_in_zips_of_dos(pack, kind):
    path = pack({"good.txt": b"", "b_d.txt": b""}, kind)
    if kind == "folder":
        (path / "b_d.txt").rename(os.fsdecode(os.fsencode(path) + b"/b\xe4d.txt"))
    else:
        content = path.read_bytes().replace(b"b_d.txt", b"b\xe4d.txt")
        if kind == "tar":  # the header's checksum covers the name
            old = path.read_bytes()[512 + 148 : 512 + 154]
            new = b"%06o" % (int(old, 8) - ord("_") + 0xE4)
            content = content[: 512 + 148] + new + content[512 + 154 :]
        path.write_bytes(content)
    archive = open_archive(path)
    if kind == "zip":  # without the flag that says UTF-8, it is of code page 437
        assert (archive.members, archive.rejects) == (["bΣd.txt", "good.txt"], [])
        return
    assert archive.members == ["good.txt"]
    assert archive.rejects[0].member == "b\\xe4d.txt"
    assert "not UTF-8" in archive.rejects[0].reason


def test_repeated_names_links_and_unknown_compression_become_rejects(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "good")
        archive.writestr("good", b"1")
        archive.writestr("packed", b"1")
        archive.writestr("twice", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("twice", b"2")
    path = tmp_path / "a.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"packed", content.index(b"PK\1\2")) - 46 + 10] = 9
    path.write_bytes(content)
    archive = open_archive(path)
    assert archive.members == ["good"]
    reasons = {reject.member: reject.reason for reject in archive.rejects}
    assert reasons["link"] == "is a symbolic link"
    assert "compression method 9 (Deflate64" in reasons["packed"]
    assert "more than once" in reasons["twice"]


def test_links_in_tars_and_folders_become_rejects(tmp_path):
    folder = tmp_path / "folder"
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "1").write_bytes(b"1")
    (folder / "link").symlink_to(folder / "real")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(folder, ".")
    for path in (folder, tmp_path / "a.tar"):
        archive = open_archive(path)
        assert archive.members == ["real/1"]
        assert [reject.member for reject in archive.rejects] == ["link"]


def test_paths_that_are_no_archive_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello, world")
    (tmp_path / "nothing.zip").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, words in {
        "missing.zip": "no such file or folder",
        "notes.txt": "starts with b'hello, w', expected",
        "nothing.zip": "the file is empty",
        "empty": "the archive is empty",
    }.items():
        with pytest.raises(ArchiveError, match=words) as caught:
            open_archive(tmp_path / name)
        assert name in str(caught.value)


def test_an_empty_zip_or_tar_is_refused(pack, kind):
    if kind != "folder":
        with pytest.raises(ArchiveError, match="the archive is empty"):
            open_archive(pack({}, kind))


def test_a_compressed_tar_is_refused_with_the_way_out(pack, tmp_path):
    (tmp_path / "a.tgz").write_bytes(gzip.compress(pack(FILES, "tar").read_bytes()))
    with pytest.raises(ArchiveError, match=r"gunzip -k a\.tgz"):
        open_archive(tmp_path / "a.tgz")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("cut", [2700, 1000, 300, 30, 5])
def test_a_truncated_archive_never_opens_as_if_it_were_whole(pack, kind, cut):
    files = {f"{k}.txt": bytes(range(256)) * 2 for k in range(9)}
    path = pack(files, kind)
    content = path.read_bytes()
    end = len(content) if kind == "zip" else 9 * 1024  # before the zeros that end a tar
    path.write_bytes(content[: min(end - 1, cut if kind == "zip" else end - cut)])
    with pytest.raises(ArchiveError, match=r"truncated|damaged"):
        open_archive(path)


def test_a_damaged_tar_header_is_no_silent_end(pack):
    path = pack({"1": b"1" * 512, "2": b"2" * 512, "3": b"3"}, "tar")
    content = bytearray(path.read_bytes())
    content[1024 + 150] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="header at byte 1024 is damaged"):
        open_archive(path)


def test_an_encrypted_zip_is_refused(pack):
    path = pack({"1.txt": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"1\.txt is encrypted"):
        open_archive(path)


def test_a_damaged_zip_directory_is_refused(pack):
    content = pack(FILES).read_bytes()
    end = content.index(b"PK\5\6")
    for position, value in {end + 10: struct.pack("<H", 9), end + 12: struct.pack("<L", 1 << 30)}.items():
        path = pack(FILES)
        path.write_bytes(content[:position] + value + content[position + len(value) :])
        with pytest.raises(ArchiveError, match="damaged"):
            open_archive(path)


def test_flipped_bits_of_a_member_are_noticed(pack):
    path = pack({"1.txt": b"abc" * 100})
    content = bytearray(path.read_bytes())
    content[38] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(MemberError, match="damaged inside the zip"):
        open_archive(path).read("1.txt")


def test_members_that_are_missing_or_too_long_are_member_errors(pack, kind, monkeypatch):
    archive = open_archive(pack({"1.txt": b"123456"}, kind))
    with pytest.raises(MemberError):
        archive.read("2.txt")
    monkeypatch.setattr("converters.archives.listing.MAX_MEMBER_BYTES", 5)
    with pytest.raises(MemberError, match="bytes, more than the 5"):
        archive.read("1.txt")
    assert MAX_MEMBER_BYTES == 1 << 28


def test_a_zip_bomb_is_read_no_further_than_its_directory_promises(pack):
    path = pack({"1.txt": bytes(1 << 20)})
    content = bytearray(path.read_bytes())
    content[(at := content.index(b"PK\1\2")) + 24 : at + 28] = struct.pack("<L", 10)
    path.write_bytes(content)
    with pytest.raises(MemberError, match="11 of 10 bytes"):
        open_archive(path).read("1.txt")


def test_what_a_conversion_into_the_folder_writes_is_no_member(pack):
    path = pack(FILES, "folder")
    before = open_archive(path).sha256()
    outputs = ("out.functa/zarr.json", "b/out.functa/c/0", "out.functa.work/receipt.json", "out.functa.log")
    pack(dict.fromkeys(outputs, b"1"), "folder")
    archive = open_archive(path)
    assert (archive.members, archive.rejects, archive.sha256()) == (sorted(FILES), [], before)


def test_pipes_and_links_that_lead_to_no_file_become_rejects(pack, tmp_path):
    path = pack({"1.jpg": b"1"}, "folder")
    os.mkfifo(path / "pipe.jpg")
    for link, target in {
        "a.jpg": "pipe.jpg",
        "b.jpg": "/dev/zero",
        "c.jpg": "c.jpg",
        "d.jpg": "gone",
        "e.jpg": "1.jpg",
    }.items():
        (path / link).symlink_to(target)
    archive = open_archive(path)
    assert archive.members == ["1.jpg", "e.jpg"]
    reasons = {reject.member: reject.reason for reject in archive.rejects}
    assert "symbolic links" in reasons.pop("c.jpg")
    assert reasons.keys() == {"a.jpg", "b.jpg", "d.jpg", "pipe.jpg"}
    assert set(reasons.values()) == {"is not a regular file but a pipe, socket, device or broken link"}
    with pytest.raises(ArchiveError, match=r"pipe\.jpg: found a pipe or device, expected a folder"):
        open_archive(path / "pipe.jpg")


@pytest.mark.parametrize("field", [24, 20, 42], ids=["size", "stored", "offset"])
@pytest.mark.parametrize("value", [1 << 63, (1 << 64) - 1])
def test_a_zip_member_beyond_63_bits_becomes_a_reject(pack, field, value):
    path = pack({"1.txt": b"1", "good.txt": b"2"})
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\1\2")
    content[start + field : start + field + 4] = b"\xff" * 4
    content[start + 30 : start + 32] = struct.pack("<H", 12)
    content[start + 51 : start + 51] = struct.pack("<2HQ", 1, 8, value)
    end = content.index(b"PK\5\6") + 12
    content[end : end + 4] = struct.pack("<L", struct.unpack_from("<L", content, end)[0] + 12)
    path.write_bytes(content)
    archive = open_archive(path)
    assert archive.members == ["good.txt"]
    assert "beyond the end of any archive" in archive.rejects[0].reason


def test_a_zip_member_whose_64_bit_field_is_cut_short_is_no_crash(pack):
    path = pack({"1.txt": b"1", "good.txt": b"2"})
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\1\2")
    content[start + 30 : start + 32] = struct.pack("<H", 9)
    content[start + 51 : start + 51] = struct.pack("<2H", 1, 8) + b"short"
    end = content.index(b"PK\5\6") + 12
    content[end : end + 4] = struct.pack("<L", struct.unpack_from("<L", content, end)[0] + 9)
    path.write_bytes(content)
    assert open_archive(path).read("1.txt") == b"1"


@pytest.mark.parametrize("size", [1 << 63, (1 << 88) - 1])
def test_a_tar_member_beyond_63_bits_is_an_error_in_words(tmp_path, size):
    info = tarfile.TarInfo("1.txt")
    info.size = size
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ArchiveError, match=r"damaged or truncated"):
        open_archive(tmp_path / "a.tar")


def test_links_out_of_a_folder_become_rejects_also_where_the_folder_itself_is_a_link(pack, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"secret")
    (tmp_path / "archive2").mkdir()
    (tmp_path / "archive2" / "1.txt").write_bytes(b"beside, with a name that begins alike")
    path = pack({"1.txt": b"1", "a/2.txt": b"2"}, "folder")
    targets = {
        "out.txt": secret,
        "up.txt": "../secret.txt",
        "a/up.txt": "../../secret.txt",
        "beside.txt": "../archive2/1.txt",
        "in.txt": path / "a/2.txt",
        "a/in.txt": "../1.txt",
        "twice.txt": "a/up.txt",
        "round.txt": "../archive/1.txt",
    }
    for link, target in targets.items():
        (path / link).symlink_to(target)
    (tmp_path / "named").symlink_to(path)
    for opened in (path, tmp_path / "named"):
        archive = open_archive(opened)
        assert archive.members == ["1.txt", "a/2.txt", "a/in.txt", "in.txt", "round.txt"]
        assert [archive.read(member) for member in archive.members] == [b"1", b"2", b"1", b"2", b"1"]
        reasons = {reject.member: reject.reason for reject in archive.rejects}
        assert reasons.keys() == {"out.txt", "up.txt", "a/up.txt", "beside.txt", "twice.txt"}
        assert all("leads out of the archive; replace it by a copy" in reason for reason in reasons.values())


@pytest.mark.parametrize("replaced", ["2.txt", "a"])
def test_a_member_replaced_by_a_link_after_the_listing_is_not_followed(pack, tmp_path, replaced):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "2.txt").write_bytes(b"secret")
    path = pack({"1.txt": b"1", "2.txt": b"2", "a/2.txt": b"2"}, "folder")
    archive = open_archive(path)
    (path / replaced).rename(tmp_path / "old")
    (path / replaced).symlink_to(tmp_path / "outside" / ("2.txt" if replaced == "2.txt" else ""))
    with pytest.raises(MemberError, match="is reached through a link, and was not when the folder was listed"):
        archive.read("2.txt" if replaced == "2.txt" else "a/2.txt")
    assert hashlib.sha256(b"secret").hexdigest() not in archive.sha256()


def test_a_link_that_is_turned_elsewhere_after_the_listing_is_not_followed(pack, tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"secret")
    path = pack({"1.txt": b"1"}, "folder")
    (path / "2.txt").symlink_to("1.txt")
    archive = open_archive(path)
    assert archive.read("2.txt") == b"1"
    (path / "2.txt").unlink()
    (path / "2.txt").symlink_to("../secret.txt")
    with pytest.raises(MemberError, match="leads out of the archive"):
        archive.read("2.txt")


def test_a_link_that_appears_between_looking_and_opening_is_not_followed(pack, tmp_path, monkeypatch):
    (tmp_path / "secret.txt").write_bytes(b"secret")
    path = pack({"a/1.txt": b"1"}, "folder")
    (path / "2.txt").symlink_to("a/1.txt")
    archive = open_archive(path)
    look = archive._inside

    def look_and_replace(member):
        found = look(member)
        (path / "a/1.txt").unlink()
        (path / "a/1.txt").symlink_to(tmp_path / "secret.txt")
        return found

    monkeypatch.setattr(archive, "_inside", look_and_replace)
    with pytest.raises(MemberError, match="is reached through a link"):
        archive.read("2.txt")


def test_a_pipe_that_takes_a_members_place_is_not_waited_for(pack):
    path = pack({"1.txt": b"1", "2.txt": b"2"}, "folder")
    archive = open_archive(path)
    (path / "1.txt").unlink()
    os.mkfifo(path / "1.txt")
    with pytest.raises(ArchiveError, match="no plain file"):
        archive.read("1.txt")
    assert archive.sha256()


def test_members_of_a_zip_that_share_bytes_become_rejects(tmp_path):
    """As in a zip bomb of 10 MB that unpacks to 281 TB, or one of a single member that is listed a million times."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt"):
            archive.writestr(name, name * 100)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    starts = [k for k in range(len(content)) if content.startswith(b"PK\1\2", k)]
    offsets = [struct.unpack_from("<L", content, start + 42)[0] for start in starts]
    struct.pack_into("<L", content, starts[1] + 42, offsets[0])  # the same bytes as a
    struct.pack_into("<L", content, starts[3] + 42, offsets[2] + 40)  # inside those of c
    (tmp_path / "a.zip").write_bytes(content)
    archive = open_archive(tmp_path / "a.zip")
    assert archive.members == ["e.txt"]
    assert archive.read("e.txt") == b"e.txt" * 100
    assert {(r.member, r.reason) for r in archive.rejects} == {
        (f"{k}.txt", "shares its bytes with another member") for k in "abcd"
    }


def test_a_zip_member_without_a_header_before_it_is_damaged(pack):
    path = pack({"1.txt": b"1"})
    content = bytearray(path.read_bytes())
    content[:4] = b"PK\3\5"
    path.write_bytes(b"PK\3\4" + content)
    with pytest.raises(MemberError, match="its header is missing"):
        open_archive(path).read("1.txt")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\x1b[2Jb.txt", "control character"),
        ("a\nb.txt", "control character"),
        ("a\x7fb.txt", "control character"),
        ("a\x9bb.txt", "control character"),
        ("a" * 5000, "a name of 5000 bytes, more than 1024"),
    ],
)
def test_names_that_no_terminal_or_file_system_takes_become_rejects(pack, kind, name, reason):
    archive = open_archive(pack({name: b"", "good.txt": b""}, kind))
    assert archive.members == ["good.txt"]
    assert reason in archive.rejects[0].reason
    assert len(archive.rejects[0].member) < 200


@pytest.mark.parametrize("path", ["", "a\0b.zip", "\udfff\ud800.zip", None, 5, b"a.zip", ["a.zip"], "a" * 10_000])
def test_what_is_no_path_is_an_error_in_words(unchecked, path):
    with pytest.raises(ArchiveError, match=r"as a path to read|no such file") as caught:
        open_archive(path)
    assert len(str(caught.value)) < 11_000


def edited(path):
    """Other bytes, as many as before, at another time."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


def test_an_archive_that_is_left_alone_is_unchanged(pack, kind):
    archive = pickle.loads(pickle.dumps(open_archive(pack(FILES, kind))))
    archive.read("a/1.txt")
    archive.check_unchanged()


def test_an_archive_that_is_edited_replaced_or_removed_says_so(pack, kind):
    for change, words in ((edited, "changed"), (os.unlink, "removed")):
        path = pack(FILES, kind)
        archive = open_archive(path)
        change(path / "a/1.txt" if kind == "folder" else path)
        with pytest.raises(ArchiveError, match=rf"was {words} while|: {words} while"):
            archive.check_unchanged()


def test_a_file_added_to_a_folder_counts_as_change_but_what_a_conversion_writes_does_not(pack):
    path = pack(FILES, "folder")
    archive = open_archive(path)
    pack(dict.fromkeys(("out.functa/zarr.json", "out.functa.log", ".hidden"), b"1"), "folder")
    archive.check_unchanged()
    (path / "b" / "new.txt").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"b/new\.txt: added while the folder was being converted"):
        archive.check_unchanged()


def zip_of(path, files, **options):
    """A zip with names exactly as given; `ZipFile` would turn backslashes of Windows."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.compress_type = name, archive.compression
            archive.writestr(entry, content)
    return path


def with_system(path, system):
    """Say which system packed a zip, in each entry of its directory."""
    content, position = bytearray(path.read_bytes()), -1
    while (position := content.find(b"PK\1\2", position + 1)) >= 0:
        content[position + 5] = system
    path.write_bytes(content)
    return path


def test_backslashes_of_windows_part_folders(tmp_path):
    """Where Windows packed the zip, by its own word, or where nothing else parts folders; folders are left out."""
    files = {"data\\": b"", "data\\train\\0.png": b"0", "data\\test\\1.png": b"1"}
    members = ["data/test/1.png", "data/train/0.png"]
    archive = open_archive(zip_of(tmp_path / "unix.zip", files))
    assert (archive.members, archive.rejects) == (members, [])
    assert archive.read("data/test/1.png") == b"1"
    mixed = with_system(zip_of(tmp_path / "mixed.zip", files | {"a/b.txt": b""}), 0)
    assert open_archive(mixed).members == ["a/b.txt", *members]
    unix = zip_of(tmp_path / "b.zip", {"a\\b.txt": b"", "c/d.txt": b""})
    assert open_archive(unix).members == ["a\\b.txt", "c/d.txt"]
    assert open_archive(zip_of(tmp_path / "up.zip", {"..\\out.txt": b"", "in.txt": b""})).members == ["in.txt"]


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_backslashes_that_unpacking_left_in_names_are_refused(tmp_path, pack, kind):
    files = {"train\\cat\\0.png": b"", "test\\cat\\1.png": b""}
    with pytest.raises(ArchiveError, match=r"names have backslashes, such as test.cat.1\.png.*convert the zip"):
        open_archive(pack(files, kind))


def test_more_members_than_16_bits_count_are_read(tmp_path, monkeypatch):
    """As the macOS Finder writes them: the number modulo 65,536, and no 64-bit record. A lost member is noticed."""
    monkeypatch.setattr(packed, "_MODULUS", 8)
    path = zip_of(tmp_path / "mac.zip", {f"{k:02}.txt": b"" for k in range(19)})
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\5\6")
    for number in (3, 4):
        content[end + 8 : end + 12] = struct.pack("<2H", number, number)
        path.write_bytes(content)
        if number == 3:
            assert len(open_archive(path).members) == 19
        else:
            with pytest.raises(ArchiveError, match="promises 4 members but lists 19"):
                open_archive(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_read_checked_and_bounded(tmp_path, method):
    data = np.random.default_rng(0).integers(0, 4, 50_000).astype(np.uint8).tobytes()
    path = zip_of(tmp_path / "a.zip", {"a.bin": data, "zeros.bin": bytes(1 << 20)}, compression=method)
    assert open_archive(path).read("a.bin") == data
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2")
    broken = content[:]
    broken[200:220] = bytes(20)
    (tmp_path / "broken.zip").write_bytes(broken)
    with pytest.raises(MemberError, match="damaged inside the zip"):
        open_archive(tmp_path / "broken.zip").read("a.bin")
    second = content.index(b"PK\1\2", place + 1)
    content[second + 24 : second + 28] = struct.pack("<L", 10)  # a bomb says that it is small
    (tmp_path / "bomb.zip").write_bytes(content)
    with pytest.raises(MemberError, match="11 of 10 bytes"):
        open_archive(tmp_path / "bomb.zip").read("zeros.bin")


def test_a_dictionary_of_lzma_takes_no_memory_that_a_zip_only_names(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"a.bin": b"1" * 100}, compression=zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    place = content.index(b"a.bin") + len(b"a.bin") + 4 + 1
    content[place : place + 4] = struct.pack("<L", 0xFFFFFFFF)
    path.write_bytes(content)
    with pytest.raises(MemberError, match="dictionary of 4294967295 bytes, which is not read"):
        open_archive(path).read("a.bin")


def test_a_zip_behind_a_program_is_a_zip(tmp_path):
    inner = zip_of(tmp_path / "a.zip", {"a.txt": b"1"}).read_bytes()
    (tmp_path / "a.exe").write_bytes(b"MZ" + bytes(998) + inner)
    archive = open_archive(tmp_path / "a.exe")
    assert (archive.members, archive.read("a.txt")) == (["a.txt"], b"1")
    (tmp_path / "none.bin").write_bytes(b"MZ" + bytes(998) + b"PK\5\6" + bytes(18))
    with pytest.raises(ArchiveError, match="starts with b'MZ"):
        open_archive(tmp_path / "none.bin")


def test_names_in_utf8_without_the_flag_and_in_an_extra_field_are_read(tmp_path):
    """As macOS writes them, and as Info-ZIP does beside a name in another encoding."""
    path = zip_of(tmp_path / "a.zip", {"aeb.png": b"1"})
    path.write_bytes(path.read_bytes().replace(b"aeb", "äb".encode()))
    assert open_archive(path).members == ["äb.png"]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        entry = zipfile.ZipInfo("b_.png")
        name = "日本.png".encode()
        entry.extra = struct.pack("<2HBL", 0x7075, 5 + len(name), 1, zlib.crc32(b"b_.png")) + name
        archive.writestr(entry, b"1")
    assert open_archive(tmp_path / "b.zip").members == ["日本.png"]


@pytest.mark.parametrize(
    ("head", "match"),
    [(b"Rar!\x1a\x07\x01\x00", "is a RAR archive; unpack"), (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack")],
)
def test_archives_of_other_kinds_are_named(tmp_path, head, match):
    (tmp_path / "a").write_bytes(head + bytes(100))
    with pytest.raises(ArchiveError, match=match):
        open_archive(tmp_path / "a")


def test_the_last_part_of_a_split_zip_says_how_to_join_it(tmp_path):
    path = zip_of(tmp_path / "a.zip", {"a.txt": b"1"})
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 4 : end + 8] = struct.pack("<2H", 2, 2)
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"split into 3; join them \(zip -s 0"):
        open_archive(path)
