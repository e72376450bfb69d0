import numpy as np
import pytest

from converters.images.images import open_images
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    MemberError,
    TooManyRejectsError,
)
from functa_store.progress import Surveyed
from functa_store.sources.source import Source


@pytest.fixture
def files(encode_image):
    return {f"{k:03}.png": encode_image(k, (5, 7)) for k in range(40)}


def test_every_kind_of_archive_gives_an_equal_source(pack, files):
    folder, zipped, tarred = (open_images(pack(files, kind), resolution=4) for kind in ("folder", "zip", "tar"))
    assert isinstance(folder, Source)
    for other in (zipped, tarred):
        assert other.ids == folder.ids == sorted(files)
        assert (other.split == folder.split).all()
        assert (other.domain, other.features) == (folder.domain, folder.features)
        for k in range(len(folder.ids)):
            np.testing.assert_array_equal(other.read(k), folder.read(k))


def test_the_domain_and_features_are_those_of_an_image(pack, files):
    source = open_images(pack(files), resolution=4)
    assert (source.domain.axes, source.domain.resolution) == (("y", "x"), (4, 4))
    assert source.features.channels == ("red", "green", "blue")
    assert source.features.data_range == (0, 1)
    assert 255 * source.features.scale + source.features.offset == 1
    grey = open_images(pack(files), resolution=4, mode="grey")
    assert (grey.features.channels, grey.read(0).shape) == (("grey",), (4, 4, 1))


def test_the_provenance_names_the_archive_and_every_option_but_no_path(pack, files, tmp_path):
    provenance = open_images(pack(files, name="faces"), resolution=4, crop="0.5", background="black").provenance
    assert provenance["archive"] == "faces.zip"
    assert len(provenance["sha256"]) == 64
    expected = {"converter": "images", "resolution": 4, "crop": 0.5, "mode": "rgb", "background": "black", "rejects": 0}
    assert expected.items() <= provenance.items()
    assert str(tmp_path) not in str(provenance)


def test_damaged_images_become_rejects_and_the_split_counts_the_rest(pack, files):
    files |= {"003.png": b"", "007.png": b"no image", "notes.txt": b"", "../x.png": b""}
    source = open_images(pack(files), resolution=4, max_rejects=0.1)
    assert {r.member: r.reason.split(" ")[0] for r in source.rejects} == {
        "../x.png": "has", "003.png": "is", "007.png": "starts", "notes.txt": "is",
    }  # fmt: skip
    assert source.ids == [name for name in sorted(files) if name[0] == "0" and name not in ("003.png", "007.png")]
    assert np.flatnonzero(source.split == "test").tolist() == [9, 19, 29]
    assert source.provenance["rejects"] == 4


def test_too_many_rejects_name_the_first_with_their_reasons(pack, files):
    files |= {f"{k:03}.png": b"" for k in range(10, 20)}
    with pytest.raises(
        TooManyRejectsError, match=r"archive\.zip: 3 of 40 images .* 5\.0%.* 010\.png is empty .*; 012\.png"
    ):
        open_images(pack(files), max_rejects=0.05)
    assert len(open_images(pack(files), max_rejects=0.25).ids) == 30
    with pytest.raises(ArchiveError, match="no examples"):
        open_images(pack(dict.fromkeys(files, b"")), max_rejects=1.0)


def test_a_limit_takes_the_first_in_sorted_order_before_any_is_read(pack, files):
    source = open_images(
        pack(files | {"003.png": b"", "030.png": b"", "zzz/../x.png": b""}), limit=20, max_rejects=0.05
    )
    assert source.ids == [name for name in sorted(files)[:20] if name != "003.png"]
    assert [reject.member for reject in source.rejects] == ["003.png"]


def test_a_dry_run_reads_only_the_first_and_hashes_nothing(pack, files):
    path, events = pack(files | {"003.png": b"", "030.png": b""}), []
    source = open_images(path, check_first=10, max_rejects=0.1, report=events.append)
    assert (len(source.ids), source.provenance["sha256"]) == (39, None)
    assert events == [Surveyed(done=10, total=10, rejects=1)]


def test_the_survey_reports_while_it_runs(pack, files, monkeypatch):
    monkeypatch.setattr("converters.survey._SECONDS_BETWEEN_REPORTS", 0)
    events = []
    open_images(pack(files), report=events.append)
    assert [event.done for event in events] == [*range(1, 41), 40]
    assert {event.total for event in events} == {40}


def test_an_image_that_breaks_after_the_survey_is_named(pack, files):
    path = pack(files, "folder")
    source = open_images(path)
    (path / "005.png").write_bytes(b"")
    with pytest.raises(MemberError, match=r"archive/005\.png: is empty"):
        source.read(5)


def test_an_archive_without_images_tells_what_it_holds(pack):
    with pytest.raises(ArchiveError, match=r"archive\.zip: no images; found 2 \.npy, 1 \.txt, expected \.jpg"):
        open_images(pack({"1.npy": b"", "2.npy": b"", "3.txt": b""}))


@pytest.mark.parametrize("option", [{"limit": 0}, {"check_first": -1}, {"max_rejects": 1.5}])
def test_survey_options_out_of_range_are_refused(pack, files, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        open_images(pack(files), **option)


def test_a_dry_run_weighs_its_rejects_against_all_images_taken(pack, files):
    path = pack(files | {"000.png": b""})
    assert len(open_images(path, check_first=1, max_rejects=0.025).ids) == 39
    with pytest.raises(TooManyRejectsError, match="1 of 20 images"):
        open_images(path, check_first=1, limit=20, max_rejects=0.025)


def test_images_under_less_common_suffixes_are_read_or_rejected(pack, files, encode_image):
    odd = dict.fromkeys(("a.heic", "b.HEIF", "c.avif", "d.jp2", "e.ppm", "f.pgm"), b"P5 2 2 255")
    source = open_images(pack(files | odd | {"040.jfif": encode_image(fmt="JPEG")}), max_rejects=0.2)
    assert source.ids[-1] == "040.jfif"
    assert [reject.member for reject in source.rejects] == sorted(odd)
