"""A film opens nothing but itself, and takes no more memory and time than its bytes can mean."""

import contextlib
import io
import resource
import socket
import struct

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from converters.signals import films as film_files
from converters.signals.films import film_frames, frame_rate
from converters.signals.video import open_video
from functa_store.errors import ArchiveError, MemberError


def pixels(frames=6, size=(16, 16)):
    return np.random.default_rng(0).integers(0, 256, (frames, *size, 3), np.uint8)


def film(suffix=".mp4", codec="libx264", frames=None):
    buffer = io.BytesIO()
    iio.imwrite(buffer, pixels() if frames is None else frames, extension=suffix, plugin="pyav", codec=codec, fps=8)
    return buffer.getvalue()


def gif(frames=6, size=(16, 16)):
    images = [Image.fromarray(frame) for frame in pixels(frames, size)]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=100)
    return buffer.getvalue()


def count(data):
    return sum(1 for _ in film_frames(data))


@pytest.fixture(name="port")
def _port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def texts(path, port):
    """What FFmpeg takes for films that are elsewhere."""
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {path}\nduration 1\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>',
        "tedcaptions": '{"captions":[{"duration":1,"content":"x"}]}',
        "rtsp": f"rtsp://127.0.0.1:{port}/x",
        "ass": "[Script Info]\nScriptType: v4.00+\n",
        "ffmetadata": ";FFMETADATA1\ntitle=x\n",
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{path}"/></svg>',
        "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="x"/>',
        "vobsub": f"# VobSub index file, v7\nid: en, index: 0\n{path}",
        "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file closefile\n",
    }


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif"])
def test_a_text_by_the_name_of_a_film_is_no_film(tmp_path, port, suffix):
    (tmp_path / "outside").mkdir()
    secret = tmp_path / "outside" / "secret.mp4"
    secret.write_bytes(film())
    (tmp_path / "clips").mkdir()
    for name, text in texts(secret, port).items():
        (tmp_path / "clips" / f"{name}{suffix}").write_text(text)
    with pytest.raises(ArchiveError, match="12 of 12 clips") as caught:
        open_video(tmp_path / "clips", frames=2, resolution=8, max_rejects=0.99)
    assert str(caught.value).count("expected a GIF, MP4, MOV, Matroska, WebM or AVI") == 5


@pytest.mark.parametrize(
    "magic", [b"\0\0\0\x14ftypisom\0\0\0\0", b"\x1a\x45\xdf\xa3\x80", b"RIFF\0\0\0\0AVI ", b"GIF89a"]
)
def test_a_text_behind_the_first_bytes_of_a_film_is_no_film(tmp_path, port, magic):
    for text in texts(tmp_path / "secret.mp4", port).values():
        with pytest.raises(MemberError, match=r"cannot be decoded|without pictures|frames of"):
            count(magic + text.encode())


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_what_a_film_says_of_itself_decides_and_not_its_name(pack, codec):
    files = {"a.avi": film(".mp4", codec), "b.mp4": film(".mkv", codec), "c.gif": film(".avi", "mpeg4"), "d.mov": gif()}
    source = open_video(pack(files), frames=6, resolution=16, fps=8)
    assert source.ids == [f"{name}#0" for name in files]


@pytest.mark.slow
def test_a_film_whose_samples_are_in_another_file_is_not_followed(tmp_path):
    """A data reference of QuickTime names a file, by an alias or a URL."""
    data = film()
    at = data.index(b"dref")
    assert data[at + 12 : at + 20] == b"\0\0\0\x0curl "
    assert data[at + 20 : at + 24] == b"\0\0\0\1"  # that its samples are in the film itself
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(data)
    for kind in (b"url ", b"alis", b"urn "):
        other = bytearray(data)
        other[at + 16 : at + 24] = kind + b"\0\0\0\0"
        with contextlib.suppress(MemberError):
            assert count(bytes(other)) in (0, 6)
    assert film_files._OPTIONS["enable_drefs"] == "0"
    assert film_files._OPTIONS["protocol_whitelist"] == "none"


@pytest.mark.slow
@pytest.mark.parametrize("table", [b"stsz", b"stts", b"elst", b"ctts", b"stsc", b"stco"])
@pytest.mark.parametrize("promised", [(1 << 32) - 1, 1 << 28, 1 << 22])
def test_tables_that_promise_billions_of_samples_are_refused_before_they_are_kept(table, promised):
    data = bytearray(film(".mp4"))
    if (at := data.find(table)) < 0:
        pytest.skip("this film has none")
    if table == b"stsz":
        data[at + 8 : at + 12] = struct.pack(">L", 1)  # one size for all, so that no table follows
        at += 4
    data[at + 8 : at + 12] = struct.pack(">L", promised)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(MemberError):
        count(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@pytest.mark.slow
def test_a_promise_of_samples_is_found_wherever_it_is():
    data = bytearray(film(".mp4"))
    data += struct.pack(">L4s", 8 + 20, b"free") + b"moof" + b"traf" + b"trun" + struct.pack(">LL", 0, 1 << 30)
    with pytest.raises(MemberError, match="promises 107374"):
        count(bytes(data))


@pytest.mark.slow
def test_a_compressed_index_is_refused():
    data = film(".mp4") + struct.pack(">L4sL4s", 16, b"moov", 8, b"cmov")
    with pytest.raises(MemberError, match="compressed index"):
        count(data)


@pytest.mark.slow
def test_frames_that_are_too_large_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(film_files, "MOST_FRAME_PIXELS", 16 * 16 - 1)
    for data in (film(), film(".mkv"), film(".avi", "mpeg4"), gif()):
        with pytest.raises(MemberError, match="frames of 16 x 16 pixels, more than 255"):
            count(data)


def test_a_gif_whose_later_frame_is_huge_is_refused_before_it_is_decoded():
    data = bytearray(gif())
    at = data.rindex(b"\x21\xf9\4")
    assert data[at + 8] == ord(",")
    data[at + 13 : at + 17] = struct.pack("<HH", 65535, 65535)
    with pytest.raises(MemberError, match="frames of 65535 x 65535 pixels"):
        count(bytes(data))


@pytest.mark.slow
def test_more_pixels_than_its_bytes_can_mean_are_refused(monkeypatch):
    monkeypatch.setattr(film_files, "_FREE_PIXELS", 4 * 16 * 16)
    monkeypatch.setattr(film_files, "_PIXELS_PER_BYTE", 0)
    for data in (film(), gif()):
        frames = film_frames(data)
        assert len([next(frames) for _ in range(4)]) == 4
        with pytest.raises(MemberError, match="more pixels in its frames"):
            next(frames)


@pytest.mark.slow
def test_a_clip_of_more_frames_than_memory_is_asked_to_hold_is_a_reject(pack, monkeypatch):
    monkeypatch.setattr("converters.signals.video_clips._MOST_KEPT", 5 * 8 * 8 * 3)
    files = {"a.mp4": film(), "b.gif": gif(), "c.gif": gif(4)}
    source = open_video(pack(files), frames=4, resolution=8, max_rejects=0.9, fps=8)
    assert source.ids == ["c.gif#0"]
    assert {r.reason.split(";")[1] for r in source.rejects} == {" cut it into shorter clips"}


@pytest.mark.slow
def test_a_rate_that_no_film_has_is_a_reject(monkeypatch):
    assert (frame_rate(gif()), frame_rate(film())) == (10, 8)
    monkeypatch.setattr(film_files, "_RATES", (1e-3, 5))
    with pytest.raises(MemberError, match="10 frames per second; give them with --fps"):
        frame_rate(gif())


@pytest.mark.slow
def test_a_codec_that_films_do_not_have_is_refused():
    with pytest.raises(MemberError, match=r"in codec flv, expected one of"):
        count(film(".avi", "flv"))


def test_a_film_without_pictures_is_refused():
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MemberError, match="without pictures"):
        count(buffer.getvalue())
