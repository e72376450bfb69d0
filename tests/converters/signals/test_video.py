"""Folders of frames, films and arrays become clips; what is no clip becomes a reject with its reason."""

import io
import pickle

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from converters.archives.listing import natural_order
from converters.archives.packed import RandomFile
from converters.signals.npy_rows import InMemory
from converters.signals.video import open_video
from functa_store.errors import ArchiveError, ConfigError, TooManyRejectsError
from functa_store.progress import Note
from functa_store.reopen import reopened
from functa_store.sources.source import Source


def clip(frames=8, size=(16, 16), channels=3, seed=0):
    """Random pixels (t, y, x, channels), smooth enough for a film to keep them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (frames, 2, 2, channels), np.uint8)
    return coarse.repeat(size[0] // 2, axis=1).repeat(size[1] // 2, axis=2)


def png(frame):
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def film(frames, suffix, fps=8):
    buffer = io.BytesIO()
    if suffix == ".gif":
        iio.imwrite(buffer, frames, extension=".gif", plugin="pillow", duration=1000 / fps, loop=0)
    else:
        iio.imwrite(buffer, frames, extension=suffix, plugin="pyav", codec="libx264", fps=fps)
    return buffer.getvalue()


def folder(name, frames):
    return {f"{name}/{k:03}.png": png(frame) for k, frame in enumerate(frames)}


@pytest.fixture(name="files")
def _files():
    return {name: data for k in range(12) for name, data in folder(f"clip{k:02}", clip(seed=k)).items()}


def test_every_kind_of_archive_gives_the_same_clips(pack, files):
    folders, zipped, tarred = (
        open_video(pack(files, kind), frames=4, resolution=16) for kind in ("folder", "zip", "tar")
    )
    assert isinstance(folders, Source)
    assert folders.ids[:3] == ["clip00#0", "clip00#1", "clip01#0"]
    for other in (zipped, tarred):
        assert other.ids == folders.ids
        np.testing.assert_array_equal(other.read(3), folders.read(3))


def test_frames_at_their_own_size_are_read_exactly(pack, files):
    source = open_video(pack(files), frames=4, resolution=16)
    np.testing.assert_array_equal(source.read(1), clip()[4:])
    assert (source.domain.axes, source.domain.resolution) == (("t", "y", "x"), (4, 16, 16))
    assert source.features.channels == ("red", "green", "blue")


def test_clips_are_held_out_whole(pack, files):
    source = open_video(pack(files), frames=4, resolution=4)
    assert [name for name, split in zip(source.ids, source.split, strict=True) if split == "test"] == [
        "clip09#0",
        "clip09#1",
    ]
    assert source.labels["clip"].values[:3].tolist() == [0, 0, 1]
    assert source.labels.keys() == {"clip"}


def test_folders_of_clips_are_splits_and_classes(pack):
    files = {}
    for name in ("train/run/a", "train/jump/a", "test/run/b", "test/jump/b"):
        files |= folder(name, clip(4))
    source = open_video(pack(files), frames=4, resolution=4)
    assert source.split.tolist() == ["test", "test", "train", "train"]
    assert source.labels["class"].names == ("jump", "run")


def test_oblong_frames_lose_their_sides_and_are_not_squashed(pack):
    wide = np.zeros((4, 8, 16, 3), np.uint8)
    wide[:, :, 4:12] = 200
    for files in (folder("a", wide), {"a.npy": npy(wide)}):
        assert (open_video(pack(files), frames=4, resolution=8).read(0) == 200).all()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".mkv"])
def test_films_say_how_long_they_last(pack, suffix):
    frames = clip(9)
    source = open_video(pack({f"a{suffix}": film(frames, suffix)}), frames=4, resolution=16)
    assert source.ids == [f"a{suffix}#0", f"a{suffix}#1"]
    assert source.domain.units == ("s", "1", "1")
    assert source.domain.lengths[0] == pytest.approx(0.5, rel=0.05)
    read = np.concatenate([source.read(0), source.read(1)]).astype(float)
    assert np.abs(read - frames[:8]).mean() < 12  # a film keeps colours coarsely, a GIF 256 of them


def test_a_frame_rate_that_is_given_holds_for_all(pack, files):
    assert open_video(pack(files), frames=4, resolution=4, fps=8).domain.lengths == (0.5, 1.0, 1.0)
    assert open_video(pack(files), frames=4, resolution=4).domain.units == ("1", "1", "1")


@pytest.mark.slow
def test_a_film_of_another_frame_rate_is_a_reject(pack):
    files = {f"{fps}.mp4": film(clip(), ".mp4", fps) for fps in (10, 25)}
    with pytest.raises(TooManyRejectsError, match="1 of 2 clips"):
        open_video(pack(files), frames=8, resolution=4)
    source = open_video(pack(files), frames=8, resolution=4, max_rejects=0.5)
    assert [r.reason.split(";")[0] for r in source.rejects] == ["has 25 frames per second, but the first film has 10"]
    assert len(open_video(pack(files), frames=8, resolution=4, fps=10).ids) == 2


@pytest.mark.parametrize(
    ("shape", "ids"),
    [((8, 16, 16, 3), ["a.npy[0]#0", "a.npy[0]#1"]), ((2, 4, 16, 16, 1), ["a.npy[0]#0", "a.npy[1]#0"])],
)
def test_an_array_of_one_clip_or_several_is_an_archive(tmp_path, shape, ids):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "a.npy", array)
    mode = "rgb" if shape[-1] == 3 else "grey"
    source = open_video(tmp_path / "a.npy", frames=4, resolution=16, mode=mode)
    assert source.ids == ids
    np.testing.assert_array_equal(source.read(1), array.reshape(2, 4, *array.shape[-3:])[1])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((8, 16, 16, 3)), "holds float64 of shape"),
        (np.zeros((8, 16, 16), np.uint8), r"expected uint8 \(t, y, x, channels\)"),
        (np.zeros((8, 16, 16, 7), np.uint8), "with 1, 3 or 4 channels"),
        (np.array([{}, {}]), "Object arrays|is no array of numbers"),
    ],
)
def test_an_array_that_is_no_clip_is_refused_or_rejected(tmp_path, pack, files, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ArchiveError, match=words):
        open_video(tmp_path / "a.npy", frames=4)
    source = open_video(
        pack(files | {"a.npy": (tmp_path / "a.npy").read_bytes()}), frames=4, resolution=4, max_rejects=0.2
    )
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(source.rejects[0].reason)


@pytest.mark.slow
def test_what_is_no_clip_becomes_a_reject_with_its_reason(pack, files):
    mp4 = film(clip(), ".mp4")
    bad = {
        **folder("one", clip(1)),
        **folder("sizes", clip(4)),
        "sizes/004.png": png(clip(1, (8, 8))[0]),
        **folder("text", clip(4)),
        "text/002.png": b"no image",
        "cut.mp4": mp4[: len(mp4) // 3],
        "text.gif": b"no film",
        "zero.mp4": b"",
    }
    source = open_video(pack(files | bad | {"notes.txt": b""}), frames=4, resolution=4, max_rejects=0.5)
    reasons = {reject.member: reject.reason for reject in source.rejects}
    assert reasons.keys() == {"one", "sizes", "text", "cut.mp4", "text.gif", "zero.mp4", "notes.txt"}
    assert reasons["one"] == "has 1 frames, fewer than the 4 of an example (--frames)"
    assert reasons["sizes"] == "has a frame sizes/004.png of (8, 8) pixels, but the first one has (16, 16)"
    assert reasons["text"].startswith("has a frame text/002.png that starts with b'no image'")
    assert reasons["cut.mp4"].startswith("cannot be decoded")
    assert reasons["text.gif"].startswith("cannot be decoded")
    assert reasons["zero.mp4"] == "is empty (0 bytes)"
    assert len(source.ids) == 24
    with pytest.raises(TooManyRejectsError, match=r"clips cannot be used so far"):
        open_video(pack(files | bad), frames=4, resolution=4)


def test_an_archive_without_clips_tells_what_it_holds(pack):
    with pytest.raises(ArchiveError, match=r"no clips; found 1 \.txt"):
        open_video(pack({"a.txt": b""}))


@pytest.mark.parametrize("option", [{"frames": 1}, {"resolution": 0}, {"mode": "cmyk"}, {"fps": 0}])
def test_options_out_of_range_are_refused_by_name(pack, files, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        open_video(pack(files), **option)


def test_a_limit_counts_examples_and_a_dry_run_hashes_nothing(pack, files):
    assert open_video(pack(files), frames=4, resolution=4, limit=3).ids == ["clip00#0", "clip00#1", "clip01#0"]
    dry = open_video(pack(files), frames=4, resolution=4, check_first=1)
    assert (len(dry.ids), dry.provenance["sha256"]) == (24, None)


def test_a_store_says_how_its_archive_was_read(pack, files):
    path = str(pack(files))
    source = open_video(path, frames=3, resolution=8, mode="grey", fps=12.5)
    again = reopened(path, source.provenance)
    assert (again.ids, again.domain) == (source.ids, source.domain)
    np.testing.assert_array_equal(again.read(5), source.read(5))


def test_frames_are_in_the_order_of_their_numbers_however_they_are_written(pack):
    frames = clip(12)
    source = open_video(pack({f"a/{k}.png": png(frame) for k, frame in enumerate(frames)}), frames=12, resolution=16)
    np.testing.assert_array_equal(source.read(0), frames)


def test_frames_beside_folders_of_frames_are_a_clip_of_their_own(pack):
    files = {f"{k}.png": png(frame) for k, frame in enumerate(clip(4))} | folder("archive", clip(4, seed=1))
    source = open_video(pack(files, "folder"), frames=4, resolution=16)
    assert source.ids == [".#0", "archive#0"]


def test_an_example_that_no_memory_holds_is_refused(pack, files):
    with pytest.raises(ConfigError, match=r"frames=1000000 at resolution=64 are .* pixels per example"):
        open_video(pack(files), frames=1_000_000, resolution=64)


def test_an_array_in_fortrans_order_is_read_once(tmp_path, pack, files, monkeypatch):
    array = clip(8)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    read, read_at = [], RandomFile.read_at
    monkeypatch.setattr(RandomFile, "read_at", lambda *given: read.append(given[2]) or read_at(*given))
    source = pickle.loads(pickle.dumps(open_video(tmp_path / "a.npy", frames=4, resolution=16)))
    for k in range(8):
        np.testing.assert_array_equal(source.read(k % 2), array[4 * (k % 2) :][:4])
    assert read.count(array.nbytes) <= 2  # in each process

    copied, copy_at = [], InMemory.read_at
    monkeypatch.setattr(InMemory, "read_at", lambda *given: copied.append(given[2]) or copy_at(*given))
    open_video(pack(files | {"x.npy": (tmp_path / "a.npy").read_bytes()}), frames=4, resolution=16)
    assert copied.count(array.nbytes) == 1


def test_an_npz_by_the_name_of_an_npy_is_no_clip(tmp_path, pack, files):
    buffer = io.BytesIO()
    np.savez(buffer, a=clip())
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with pytest.raises(ArchiveError, match=r"is an \.npz, expected an \.npy"):
        open_video(tmp_path / "a.npy")
    source = open_video(pack(files | {"x.npy": buffer.getvalue()}), frames=4, resolution=4, max_rejects=0.2)
    assert [reject.member for reject in source.rejects] == ["x.npy"]


def test_an_npy_whose_header_promises_too_much_is_a_reject(pack, files):
    header = npy(clip()).replace(b"(8, 16, 16, 3), }        ", b"(99999999999999, 16, 16, 3), }")
    source = open_video(pack(files | {"x.npy": header}), frames=4, resolution=4, max_rejects=0.2)
    assert "is no array of numbers" in source.rejects[0].reason


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("shape", [(8, 16, 16, 3), (2, 4, 16, 16, 3)])
def test_an_array_is_read_as_numpy_wrote_it(tmp_path, order, version, shape):
    array = np.asarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8), order=order)
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    source = open_video(tmp_path / "a.npy", frames=4, resolution=16)
    np.testing.assert_array_equal(np.stack([source.read(k) for k in range(2)]), array.reshape(2, 4, 16, 16, 3))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (
            b"{'descr': '|u1', 'fortran_order': False, 'shape': (%s, 1, 1, 1), }" % (b"9" * 5000),
            "damaged header",
        ),
        (
            b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 1, 1, 1), }",
            "damaged header",
        ),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "it holds Python objects"),
        (b"{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (2,), }", "it holds Python objects"),
        (b"{'descr': 'zz', 'fortran_order': False, 'shape': (2,), }", "damaged header"),
        (b"__import__('os').system('true')", "damaged header"),
        (b"(" * 9_000, "damaged header"),
        (b"x" * 70_000, "it has a header of 70000 bytes"),
    ],
)
def test_an_array_with_another_header_is_refused_without_the_advice_to_trust_it(tmp_path, pack, files, header, words):
    data = b"\x93NUMPY\2\0" + len(header).to_bytes(4, "little") + header + bytes(100)
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ArchiveError, match=words) as caught:
        open_video(tmp_path / "a.npy", frames=4)
    assert "pickle" not in str(caught.value)
    assert len(str(caught.value)) < 400
    source = open_video(pack(files | {"x.npy": data}), frames=4, resolution=4, max_rejects=0.2)
    assert source.rejects[0].member == "x.npy"


def test_an_array_that_is_cut_short_while_it_is_read_is_an_error_and_no_end_of_the_process(tmp_path):
    np.save(tmp_path / "a.npy", clip(8))
    source = open_video(tmp_path / "a.npy", frames=4, resolution=16)
    with open(tmp_path / "a.npy", "r+b") as file:
        file.truncate(4000)
    with pytest.raises(ArchiveError, match=r"a\.npy/a\.npy\[0\]: cannot be read: the archive has shrunk"):
        source.read(1)
    with pytest.raises(ArchiveError, match=r"a\.npy: was changed while it was being converted"):
        source.check_unchanged()


def test_frames_with_numbers_of_thousands_of_digits_are_in_order(pack):
    frames = clip(3)
    zeros = "0" * 200
    names = [f"a/{zeros}2.png", f"a/{zeros}10.png", "a/" + "9" * 230 + ".png"]
    files = dict(zip(names, map(png, frames), strict=True))
    np.testing.assert_array_equal(open_video(pack(files), frames=3, resolution=16).read(0), frames)
    assert natural_order("9" * 5000) > natural_order("8" * 5000) > natural_order("9" * 4999)


def test_a_film_edited_after_the_survey_is_noticed(pack, files):
    path = pack(files, "folder")
    source = open_video(path, frames=4, resolution=4)
    source.check_unchanged()
    (path / "clip00/000.png").write_bytes(b"")
    with pytest.raises(ArchiveError, match="changed while the folder"):
        source.check_unchanged()
    with pytest.raises(ArchiveError, match=r"archive/clip00: is empty"):
        source.read(0)


def davis(**parts):
    """Clips bear and camel, frames of one colour and masks of another, in folders by name: colour and suffix."""
    return {
        f"DAVIS/{part.replace('__', '/')}/{clip}/{k:05}.png": png(np.full((8, 8, 3), colour, np.uint8))
        for part, colour in parts.items()
        for clip in ("bear", "camel")
        for k in range(4)
    }


@pytest.mark.parametrize("masks", ["Annotations__480p", "Annotations_unsupervised__480p", "Annotations"])
def test_masks_beside_frames_are_left_out_and_that_is_said(pack, masks):
    """Half of the clips were masks."""
    events = []
    path = pack(davis(JPEGImages__480p=200, **{masks: 1}))
    source = open_video(path, frames=4, resolution=4, report=events.append)
    assert source.ids == ["DAVIS/JPEGImages/480p/bear#0", "DAVIS/JPEGImages/480p/camel#0"]
    assert (source.read(0) == 200).all()
    left_out = [f"DAVIS/{masks.replace('__', '/')}/{clip}" for clip in ("bear", "camel")]
    assert [r.member for r in source.rejects] == left_out
    words = "holds masks of the frames in DAVIS/JPEGImages/480p/bear"
    assert source.rejects[0].reason == words
    assert source.provenance["notes"] == [
        f"{left_out[0]}: {words} and is left out, as are 2 clips in all; --folder takes those of one folder"
    ]
    assert [event.message for event in events if isinstance(event, Note)] == [
        f"archive.zip/{source.provenance['notes'][0]}"
    ]


def test_one_folder_of_clips_may_be_asked_for(pack):
    path = pack(davis(JPEGImages__480p=200, Annotations__480p=1))
    source = open_video(path, frames=4, resolution=4, folder="Annotations")
    assert source.ids == ["DAVIS/Annotations/480p/bear#0", "DAVIS/Annotations/480p/camel#0"]
    assert (source.read(0) == 1).all()
    assert source.provenance["folder"] == "Annotations"
    with pytest.raises(ArchiveError, match="no clips below a folder named 'Images'; there are DAVIS/Annotations"):
        open_video(path, frames=4, folder="Images")


def test_masks_of_a_few_frames_and_in_the_folder_of_each_clip_are_masks_too(pack):
    files = davis(rgb=200)
    files |= {name.replace("/rgb/", "/masks/").replace(".png", "_mask.png"): files[name] for name in list(files)[::3]}
    assert len(open_video(pack(files), frames=4, resolution=4).ids) == 2
    files = {}
    for clip in ("a", "b"):
        for part in ("images", "masks"):
            files |= folder(f"{clip}/{part}", np.full((4, 8, 8, 3), 9, np.uint8))
    assert open_video(pack(files, name="each"), frames=4, resolution=4).ids == ["a/images#0", "b/images#0"]


def test_films_of_masks_are_left_out_too(pack):
    data = film(clip(4), ".gif")
    source = open_video(pack({"videos/a.gif": data, "masks/a.gif": data}), frames=4, resolution=4)
    assert source.ids == ["videos/a.gif#0"]


@pytest.mark.parametrize("names", [("labels", "other"), ("train", "test"), ("left", "right")])
def test_clips_are_no_masks_by_the_name_of_their_folder_or_by_equal_names_alone(pack, names):
    first, second = names
    shifted = {f"{second}/x/{k}.png": png(frame) for k, frame in enumerate(clip(4))} if second == "other" else {}
    files = folder(f"{first}/x", clip(4)) | (shifted or folder(f"{second}/x", clip(4)))
    assert len(open_video(pack(files), frames=4, resolution=4).ids) == 2


def test_the_same_clips_at_several_resolutions_are_told(pack):
    source = open_video(pack(davis(JPEGImages__480p=200, JPEGImages__1080p=200)), frames=4, resolution=4)
    assert len(source.ids) == 4
    assert source.provenance["notes"] == [
        "DAVIS/JPEGImages/480p/bear: is DAVIS/JPEGImages/1080p/bear at another resolution, as are 2 clips in all; "
        "--folder takes those of one folder"
    ]
    assert len(open_video(pack(davis(a__480p=1, a__1080p=1)), frames=4, resolution=4, folder="480p").ids) == 2


def test_masks_among_the_frames_of_a_folder_and_frames_twice_are_rejects(pack, files):
    frame = png(clip(1)[0])
    bad = {f"masked/{k}{end}.png": frame for k in range(4) for end in ("", "_mask")}
    bad |= {f"twice/{k}.{suffix}": frame for k in range(4) for suffix in ("png", "webp")}
    for check_first in (None, 0):
        source = open_video(pack(files | bad), frames=4, resolution=4, max_rejects=0.3, check_first=check_first)
        assert [r.reason.split(";")[0] for r in source.rejects] == [
            "has masks among its frames, as 0_mask.png of 0.png",
            "has two frames of one name, 0.png and 0.webp",
        ]
