"""Mutants of packed archives and folders, and of the images, sounds, films, meshes and voxels in them."""

import gzip
import io
import os
import pathlib
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from converters.images.celeba import open_celeba
from converters.images.images import open_images
from converters.scenes.srn import open_srn
from converters.shapes.shapenet import open_shapenet
from converters.signals.audio import open_audio
from converters.signals.video import open_video
from functa_store.sources.source import Source
from tests.fuzz import mutations
from tests.fuzz.harness import Kind

_RNG = np.random.default_rng(0)
_NAMES = (
    *(
        "../outside/secret.bin",
        "/etc/passwd",
        "a/../../b.png",
        "a\\b.png",
        "C:\\x.png",
        "./x.png",
        ".hidden.png",
        "a//b.png",
    ),
    *(
        "x" * 300 + ".png",
        "x" * 5000 + ".png",
        "\x1b[2J.png",
        "a\nb.png",
        "a\0b.png",
        "é.png",
        "CON.png",
        "a/",
        "",
        ".",
    ),
    *("0.png", "train/0.png", "9" * 4000 + ".png", "[red]x[/red].png", ":100:.png", "=cmd|x.png"),
)
_WORDS = (
    *(
        "9" * 5000,
        "-" + "9" * 5000,
        "1e999",
        "-1e999",
        "nan",
        "inf",
        "1_0",
        "0x10",
        "\0",
        "\x85",
        "é",
        "٣",
        "1e-400",
        "-0",
    ),
    *(
        "0",
        "1",
        "-1",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775809",
        "x",
        "",
        "\\",
        "#",
    ),
    *(
        "mtllib ../../outside/secret.bin",
        "mtllib /etc/passwd",
        "mtllib http://127.0.0.1:9/x",
        "usemtl x",
        "map_Kd x.png",
    ),
    *("1 " * 3000, "f", "v", "OFF", "data", "dim", "\n", "\r", "\x0c", "\u2028", "\\\n" * 50, "x" * 70_000),
)


def _png(size: tuple[int, int] = (12, 10), mode: str = "RGB", form: str = "PNG", **options: Any) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = _RNG.integers(0, 256, (size[1], size[0], channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _frames(count: int = 5) -> np.ndarray:
    return _RNG.integers(0, 256, (count, 2, 2, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def _film(container: str, codec: str, sound: bool = False) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as film:
        stream = film.add_stream(codec, rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        heard = film.add_stream("pcm_s16le" if container == "mov" else "aac", rate=8000) if sound else None
        for frame in _frames():
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        film.mux(stream.encode())
        if heard is not None:
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), format="s16", layout="mono")
            noise.sample_rate = 8000
            film.mux(heard.encode(noise))
            film.mux(heard.encode())
    return buffer.getvalue()


def _gif() -> bytes:
    images = [Image.fromarray(frame) for frame in _frames()]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=100, disposal=2)
    return buffer.getvalue()


def _sound(form: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(np.arange(400) / 5) / 2, 8000, format=form, subtype=subtype)
    return buffer.getvalue()


def _npy(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _RNG.integers(0, 256, shape, np.uint8))
    return buffer.getvalue()


CUBE = "".join(f"v {x} {y} {z}\n" for x in (0, 1) for y in (0, 1) for z in (0, 1))
OBJ = f"mtllib x.mtl\no a\n{CUBE}vn 0 0 1\ng b\nusemtl c\nf 1 2 4 3\nf 5//1 6//1 8//1 7//1\nf 1/1/1 2/2/2 6/6/6\n"
OBJ += "f -1 -2 -3\n"
OFF = "OFF\n8 3 0\n" + CUBE.replace("v ", "") + "4 0 1 3 2\n3 4 5 7 255 0 0\n3 0 1 5\n"
BINVOX = b"#binvox 1\ndim 8 8 8\ntranslate 0 0 0\nscale 1\ndata\n\0\100\1\200\0\377\1\101"
IMAGES = {
    "png": _png(),
    "palette.png": _png(mode="L"),
    "alpha.png": _png(mode="RGBA"),
    "jpg": _png(form="JPEG"),
    "progressive.jpg": _png(form="JPEG", progressive=True),
    "webp": _png(form="WEBP"),
    "lossless.webp": _png(mode="RGBA", form="WEBP", lossless=True),
}
SOUNDS = {
    "pcm.wav": _sound("WAV", "PCM_16"),
    "float.wav": _sound("WAV", "FLOAT"),
    "adpcm.wav": _sound("WAV", "IMA_ADPCM"),
    "gsm.wav": _sound("WAV", "GSM610"),
    "extensible.wav": _sound("WAVEX", "PCM_24"),
    "long.wav": _sound("RF64", "PCM_16"),
    "flac": _sound("FLAC", "PCM_16"),
}
FILMS = {
    "mp4": _film("mp4", "libx264", sound=True),
    "mpeg4.mp4": _film("mp4", "mpeg4"),
    "mov": _film("mov", "libx264", sound=True),
    "mkv": _film("matroska", "libx264"),
    "webm": _film("webm", "libvpx-vp9"),
    "avi": _film("avi", "mpeg4"),
}
GIFS = {"gif": _gif()}
SCENE = {
    "intrinsics.txt": b"8.2 4. 4. 0.\n0. 0. 0.\n1.\n1.\n8 8\n",
    "pose/0.txt": b"1 0 0 0 0 1 0 0 0 0 1 -1.3 0 0 0 1",
    "pose/1.txt": b"0 0 1 -1.3 0 1 0 0 -1 0 0 0 0 0 0 1",
    "rgb/0.png": _png((8, 8)),
    "rgb/1.png": _png((8, 8)),
}
LABELS = {
    "list_attr_celeba.txt": b"2\nBald Smiling\n0.jpg -1 1\n1.jpg 1 1\n",
    "list_eval_partition.txt": b"0.jpg 0\n1.jpg 2\n",
    "identity_CelebA.txt": b"0.jpg 7\n1.jpg 8\n",
    "0.jpg": IMAGES["jpg"],
    "1.jpg": IMAGES["jpg"],
}
TAXONOMY = b'[{"synsetId": "02691156", "name": "airplane,plane"}, {"synsetId": "04256520", "name": "sofa"}]'
SPLITS = b"id,synsetId,subSynsetId,modelId,split\n0,02691156,0,a,train\n1,04256520,0,b,test\n"
_BOMBS = {size: zlib.compressobj(9, zlib.DEFLATED, -15) for size in (1 << 24, 1 << 27, (1 << 28) + 1)}
_BOMBS = {
    size: (packer.compress(bytes(size)) + packer.flush(), zlib.crc32(bytes(size))) for size, packer in _BOMBS.items()
}


def playlists(outside: pathlib.Path) -> dict[str, bytes]:
    """Texts that FFmpeg takes for films that are elsewhere."""
    path = outside / "secret.mp4"
    texts = {
        "ffconcat": f"ffconcat version 1.0\nfile {path}\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 50123 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>',
        "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file closefile\n",
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{path}"/></svg>',
        "rtsp": "rtsp://127.0.0.1:9/x",
        "vobsub": f"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n{path}\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def change_words(rng: random.Random, text: bytes) -> bytes:
    """A text with some words replaced, removed, doubled or moved."""
    words = (
        text.decode("latin-1").split(" ") if rng.random() < 0.5 else text.decode("latin-1").splitlines(keepends=True)
    )
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(words) + 1)
        match rng.randrange(5):
            case 0:
                words[at : at + 1] = [rng.choice(_WORDS)]
            case 1:
                words[at:at] = [rng.choice(_WORDS), "\n"]
            case 2:
                del words[at : at + rng.randint(1, 3)]
            case 3:
                words[at:at] = words[at : at + 3] * rng.choice((1, 50, 2000))
            case _:
                rng.shuffle(words)
    return (" " if rng.random() < 0.5 else "").join(words).encode("utf-8", "surrogatepass")


def change_png(rng: random.Random, data: bytes) -> bytes:
    """A PNG with chunks changed, added or removed, and their checksums right again."""
    chunks, position = [], 8
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append([data[position + 4 : position + 8], data[position + 8 : position + 8 + length]])
        position += 12 + length
    for _ in range(rng.randint(1, 3)):
        chunk = rng.choice(chunks)
        match rng.randrange(5):
            case 0:
                chunk[1] = mutations.of_bytes(rng, chunk[1])
            case 1:
                size = struct.pack(
                    ">2L", *(rng.choice((0, 1, 8191, 8192, 65535, 1 << 20, (1 << 31) - 1)) for _ in range(2))
                )
                chunks[0][1] = size + chunks[0][1][8:]
            case 2:
                chunks.insert(rng.randint(0, len(chunks)), _strange_chunk(rng))
            case 3:
                chunks.insert(rng.randint(0, len(chunks)), list(chunk))
            case _:
                chunk[0] = rng.choice(
                    (b"IDAT", b"PLTE", b"tRNS", b"IEND", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"IHDR")
                )
    body = b"".join(struct.pack(">L", len(b)) + k + b + struct.pack(">L", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + body


def _strange_chunk(rng: random.Random) -> list[bytes]:
    zeros = zlib.compress(bytes(rng.choice((100, 1 << 20, 1 << 26))), 9)
    return rng.choice(
        (
            [b"zTXt", b"k\0\0" + zeros],
            [b"iTXt", b"k\0\1\0\0\0" + zeros],
            [b"iCCP", b"k\0\0" + zeros],
            [b"tEXt", b"Raw profile type exif\0\nexif\n9999999999\n" + b"f" * 1000],
            [b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n" + b"9" * 5000 + b"\nff")],
            [b"acTL", struct.pack(">2L", rng.choice((1, 2, 1 << 31)), 0)],
            [b"eXIf", b"MM\0*" + rng.randbytes(40)],
            [b"tRNS", rng.randbytes(rng.choice((1, 6, 256)))],
        )
    )


def change_jpeg(rng: random.Random, data: bytes) -> bytes:
    """A JPEG with sizes changed, segments added, or scans added."""
    match rng.randrange(4):
        case 0:
            start = next(k for k in range(2, len(data)) if data[k] == 0xFF and data[k + 1] in (0xC0, 0xC2))
            size = struct.pack(">2H", *(rng.choice((0, 1, 8000, 8192, 65535)) for _ in range(2)))
            return data[: start + 5] + size + data[start + 9 :]
        case 1:
            exif = (
                b"Exif\0\0" + rng.choice((b"MM\0*\0\0\0\x08", b"II*\0\x08\0\0\0")) + rng.randbytes(rng.randint(0, 60))
            )
            return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
        case 2:
            at = data.index(b"\xff\xda")
            return data[:-2] + data[at:-2] * rng.choice((1, 5, 30, 300)) + data[-2:]
        case _:
            return mutations.of_bytes(rng, data)


def change_wav(rng: random.Random, data: bytes) -> bytes:
    """A sound with a field of its header changed, or chunks added."""
    if data.startswith(b"fLaC"):
        at, width = rng.choice(((8, 2), (10, 2), (18, 8), (21, 5), (26, 4), (4, 4)))
        return data[:at] + (rng.choice(mutations.EXTREMES) % 256**width).to_bytes(width, "big") + data[at + width :]
    start = data.index(b"fmt ") + 8
    match rng.randrange(3):
        case 0:
            at, width = rng.choice(
                ((start, 2), (start + 2, 2), (start + 4, 4), (start + 8, 4), (start + 12, 2), (start + 14, 2))
            )
            number = rng.choice((*mutations.EXTREMES, 0x55, 0x11, 0x31, 0xFFFE, 0x50, 192_000, 8001, 999_983, 1024))
            return data[:at] + (number % 256**width).to_bytes(width, "little") + data[at + width :]
        case 1:
            at = rng.choice(
                [k for k in range(12, len(data) - 8) if data[k : k + 4] in (b"fmt ", b"data", b"ds64", b"fact")]
            )
            return data[: at + 4] + (rng.choice(mutations.EXTREMES) % 2**32).to_bytes(4, "little") + data[at + 8 :]
        case _:
            kind = rng.choice(
                (b"LIST", b"cue ", b"smpl", b"bext", b"PEAK", b"fmt ", b"data", b"ds64", b"acid", b"id3 ")
            )
            body = rng.randbytes(rng.choice((0, 4, 24, 600)))
            return data[:12] + (kind + struct.pack("<L", len(body)) + body) * rng.choice((1, 2, 5000)) + data[12:]


def change_film(rng: random.Random, data: bytes) -> bytes:
    """A film with a table that promises much, a reference to another file, a box added or moved, or a text instead."""
    tags = (
        b"stsz",
        b"stts",
        b"stsc",
        b"stco",
        b"elst",
        b"ctts",
        b"dref",
        b"stsd",
        b"hdlr",
        b"tkhd",
        b"mdhd",
        b"mvhd",
        b"trak",
    )
    tags += (b"avcC", b"avc1", b"idx1", b"avih", b"strh", b"strf", b"\x1a\x45", b"\xb0", b"\xba", b"\x2c", b"\x21\xf9")
    found = [k for tag in tags if (k := data.find(tag)) >= 0]
    if not found or rng.random() < 0.2:
        return mutations.of_bytes(rng, data)
    at = rng.choice(found)
    match rng.randrange(6):
        case 0 | 1:
            at += 4 * rng.randint(-1, 5)
            return data[:at] + struct.pack(">L", rng.choice(mutations.EXTREMES) % 2**32) + data[at + 4 :]
        case 2:
            k = data.find(b"dref")
            entry = rng.choice((b"alis", b"url ", b"urn ")) + b"\0\0\0\0"
            return data[: k + 16] + entry + data[k + 24 :] if k >= 0 else mutations.of_bytes(rng, data)
        case 3:
            count = rng.choice(((1 << 32) - 1, 1 << 27, 1 << 20))
            trun = b"\0\0\0\x10trun" + struct.pack(">2L", 0, count)
            tfhd = b"\0\0\0\x10tfhd" + struct.pack(">2L", 0, 1)
            traf = struct.pack(">L", 8 + len(tfhd) + len(trun)) + b"traf" + tfhd + trun
            moof = struct.pack(">L", 8 + len(traf)) + b"moof" + traf
            return rng.choice((data + moof, data + struct.pack(">L", 8 + len(moof)) + b"free" + moof))
        case 4:
            alias = (
                b"\0\0\0\xc8alis"
                + b"\0\0\0\0"
                + bytes(10)
                + b"\x04disk"
                + bytes(120)
                + b"\0\x02\0\x20/etc/passwd"
                + bytes(20)
            )
            k = data.find(b"dref")
            return data[: k + 12] + alias + data[k + 24 :] if k >= 0 else mutations.of_bytes(rng, data)
        case _:
            end = rng.randrange(len(data))
            return data[:at] + data[end : end + rng.choice((8, 64, 512))] + data[at:]


def zip_bytes(rng: random.Random, files: Mapping[str, bytes]) -> bytes:
    """A zip of these files, with misdeeds in its directory."""
    local, entries = b"", []
    names = list(files.items())
    names += [(rng.choice(_NAMES), rng.choice(list(files.values()))) for _ in range(rng.choice((0, 0, 1, 3)))]
    for name, content in names:
        method, crc, size = rng.choice((0, 8, 8)), zlib.crc32(content), len(content)
        packer = zlib.compressobj(wbits=-15)
        stored = packer.compress(content) + packer.flush() if method else content
        if rng.random() < 0.03:
            size = rng.choice(list(_BOMBS))
            (stored, crc), method = _BOMBS[size], 8
        raw = name.encode("utf-8", "surrogatepass")[:65535]
        entries.append([0x800, method, crc, len(stored), size, 0o100644 << 16, len(local), raw, b""])
        local += (
            struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0x800, method, 0, 0, crc, len(stored), size, len(raw), 0)
            + raw
            + stored
        )
    if rng.random() < 0.7:
        for _ in range(rng.randint(1, 3)):
            _change_entry(rng, entries)
    directory = b""
    for flags, method, crc, stored_size, size, attributes, offset, raw, extra in entries:
        numbers = (
            20,
            20,
            flags,
            method,
            0,
            0,
            crc,
            stored_size,
            size,
            len(raw),
            len(extra),
            0,
            0,
            0,
            attributes,
            offset,
        )
        widths = [16] * 6 + [32] * 3 + [16] * 5 + [32] * 2
        fields = [number % 2**width for number, width in zip(numbers, widths, strict=True)]
        directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + raw + extra
    count = len(entries)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(local), 0)
    data = local + directory + end
    if rng.random() < 0.1:
        data = rng.randbytes(20) + data if rng.random() < 0.5 else data + rng.choice((b"PK\5\6", rng.randbytes(20)))
    return data if rng.random() < 0.6 else mutations.of_bytes(rng, data)


def _change_entry(rng: random.Random, entries: list[list[Any]]) -> None:
    entry = rng.choice(entries)
    match rng.randrange(8):
        case 0:
            entry[rng.choice((2, 3, 4, 6))] = rng.choice(mutations.EXTREMES) % 2**32
        case 1:
            entry[1] = rng.choice((1, 9, 12, 14, 93, 95, 99))
        case 2:
            entry[0] |= rng.choice((1, 8, 0x40, 0x2000))
        case 3:
            entry[5] = rng.choice((0o120777, 0o010644, 0o040755, 0o060644)) << 16
        case 4:
            entry[6] = rng.choice(entries)[6] + rng.choice((0, 0, 1, 40))
        case 5:
            numbers = [rng.choice(mutations.EXTREMES) % 2**64 for _ in range(rng.randint(0, 4))]
            entry[8] = struct.pack("<2H", 1, rng.choice((8 * len(numbers), 65535))) + struct.pack(
                f"<{len(numbers)}Q", *numbers
            )
            entry[rng.choice((3, 4, 6))] = 0xFFFFFFFF
        case 6:
            entries += [list(entry) for _ in range(rng.choice((1, 300)))]
        case _:
            entries += [[*entry[:7], b"%d.png" % k, entry[8]] for k in range(300)]


def tar_bytes(rng: random.Random, files: Mapping[str, bytes]) -> bytes:
    """A tar of these files, with links, loops, long headers and sizes that are none."""
    data = b""
    for name, content in files.items():
        if rng.random() < 0.1:
            data += _strange_member(rng, content)
        info = tarfile.TarInfo(name)
        info.size = len(content)
        if rng.random() < 0.05:
            info.pax_headers = {
                rng.choice(("path", "size", "GNU.sparse.size", "GNU.sparse.name", "comment", "mtime")): rng.choice(
                    _WORDS
                )
            }
        block = info.tobuf(rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)), "utf-8", "surrogateescape")
        if rng.random() < 0.04:
            at, width = rng.choice(
                ((124, 12), (124, 12), (100, 8), (136, 12), (0, 100), (345, 155), (156, 1), (257, 8))
            )
            field = rng.choice(
                (
                    b"-%o" % rng.randrange(10**6),
                    b"\xff" * 12,
                    b"\x80" + b"\xff" * 11,
                    b"7" * 12,
                    b"\0" * 12,
                    rng.randbytes(12),
                )
            )
            last = len(block) - 512
            block = block[: last + at] + field[:width].ljust(width, b"\0") + block[last + at + width :]
            block = block[:last] + _summed(block[last:])
        data += block + content + bytes(-len(content) % 512)
    data += bytes(rng.choice((0, 512, 1024, 10240)))
    return data if rng.random() < 0.8 else mutations.of_bytes(rng, data)


def _strange_member(rng: random.Random, content: bytes) -> bytes:
    info = tarfile.TarInfo(rng.choice(_NAMES).replace("\0", "")[:99] or "x")
    info.type = rng.choice(
        (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"L", b"K", b"x", b"g", b"X", b"S", b"V", b"D", b"M", b"Z", b"\0")
    )
    info.linkname = rng.choice(("../outside/secret.bin", "/etc/passwd", "0.png", info.name))
    body = rng.choice(
        (
            b"",
            content,
            b"1" * rng.choice((100, 100_000)),
            b"99999999999 path=x\n",
            b"11 path=a/b\n" * rng.choice((1, 100)),
            b"24 GNU.sparse.major=1\n0\n",
            b"%d comment=%s\n" % (1100012, b"x" * 1100000),
            b"x" * 300 + b"\0",
            b"20 size=-1000000000\n",
        )
    )
    info.size = len(body) if rng.random() < 0.8 else rng.choice((0, 1, 1 << 20, 1 << 33))
    try:
        return (
            info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") * rng.choice((1, 1, 1, 200))
            + body
            + bytes(-len(body) % 512)
        )
    except ValueError:
        return body


def _summed(block: bytes) -> bytes:
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def payload(rng: random.Random, outside: pathlib.Path) -> tuple[str, dict[str, bytes]]:
    """A converter's name, and files for it, some of them damaged."""
    changed = rng.random() < 0.5
    match rng.choice(("images", "audio", "video", "shapes", "scenes", "celeba")):
        case "images":
            files = {
                f"{rng.choice(('train', 'test'))}/{k}.{name}": data for k, (name, data) in enumerate(IMAGES.items())
            }
            kind = "images"
        case "audio":
            files, kind = {f"{k}.{name}": data for k, (name, data) in enumerate(SOUNDS.items())}, "audio"
        case "video":
            name = rng.choice(list(FILMS))
            files = {
                f"a.{name}": FILMS[name],
                "b.gif": GIFS["gif"],
                "c.npy": _npy((4, 8, 8, 3)),
                "t.mp4": rng.choice(list(playlists(outside).values())),
            }
            files |= {f"f/{k}.png": IMAGES["png"] for k in range(4)}
            kind = "video"
        case "shapes":
            files = {
                "x/02691156/a/models/model_normalized.solid.binvox": BINVOX,
                "x/04256520/b/models/model_normalized.obj": OBJ.encode(),
            }
            files |= {"x/taxonomy.json": TAXONOMY, "x/all.csv": SPLITS}
            if rng.random() < 0.5:
                files = {
                    f"{c}/{s}/{c}_{k}.{t}": d
                    for c in "ab"
                    for s in ("train", "test")
                    for k, (t, d) in enumerate({"off": OFF.encode(), "obj": OBJ.encode(), "binvox": BINVOX}.items())
                }
            kind = "shapes"
        case "scenes":
            files = {f"cars_train/{s}/{name}": data for s in "ab" for name, data in SCENE.items()}
            kind = "scenes"
        case _:
            files, kind = dict(LABELS), "celeba"
    if changed:
        for name in rng.sample(list(files), min(2, len(files))):
            files[name] = (
                mutations.of_bytes(rng, files[name])
                if rng.random() < 0.5 or b"\0" in files[name]
                else change_words(rng, files[name])
            )
    if rng.random() < 0.1:
        name = rng.choice(list(files))
        files[rng.choice(_NAMES)] = files.pop(name)
    return kind, files


def read(rng: random.Random, path: pathlib.Path) -> None:
    """Opens an archive by the converter that its name begins with."""
    common: dict[str, Any] = {
        "max_rejects": rng.choice((0.0, 0.999, 0.999, 0.999)),
        "check_first": rng.choice((None, None, None, 1)),
    }
    if rng.random() < 0.2:
        common["limit"] = rng.choice((1, 3))
    # What is opened relative to a folder's descriptor has a name that this process takes for one in its own folder.
    os.chdir(path.parent)
    source = _openers(rng)[path.name.partition("-")[0]](path, common)
    for index in {0, len(source.ids) - 1}:
        source.read(index)
    source.check_unchanged()


def _openers(rng: random.Random) -> dict[str, Callable[[pathlib.Path, dict[str, Any]], Source]]:
    return {
        "images": lambda p, c: open_images(p, resolution=8, mode=rng.choice(("rgb", "grey")), **c),
        "celeba": lambda p, c: open_celeba(p, resolution=8, crop=rng.choice(("square", 140)), **c),
        "audio": lambda p, c: open_audio(
            p, samples=64, sample_rate=rng.choice((None, 8000, 11025)), channels=rng.choice(("mono", "stereo", "keep")),
            pad=rng.random() < 0.5, **c,
        ),
        "video": lambda p, c: open_video(p, frames=2, resolution=8, fps=rng.choice((None, 8)), **c),
        "shapes": lambda p, c: open_shapenet(p, resolution=8, prefer=rng.choice(("auto", "mesh", "surface")), **c),
        "scenes": lambda p, c: open_srn(p, resolution=rng.choice((None, 4)), **c),
    }  # fmt: skip


def _plant(outside: pathlib.Path) -> None:
    (outside / "secret.mp4").write_bytes(FILMS["mp4"])
    (outside / "secret.png").write_bytes(IMAGES["png"])
    (outside / "folder").mkdir()
    (outside / "folder" / "0.png").write_bytes(IMAGES["png"])


def _write_zip(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    kind, files = payload(rng, outside)
    path = folder / f"{kind}-a.zip"
    path.write_bytes(zip_bytes(rng, files))
    return path


def _write_tar(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    kind, files = payload(rng, outside)
    path = folder / f"{kind}-a.tar"
    path.write_bytes(tar_bytes(rng, files))
    return path


def _write_tgz(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    kind, files = payload(rng, outside)
    while kind != "shapes":
        kind, files = payload(rng, outside)
    data = gzip.compress(tar_bytes(rng, files), 1)
    if rng.random() < 0.05:
        data += gzip.compress(bytes(1 << 26), 9) * rng.choice((1, 40))
    path = folder / "shapes-a.tgz"
    path.write_bytes(data if rng.random() < 0.85 else mutations.of_bytes(rng, data))
    return path


def _write_folder(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
    """Files, links that lead out or round, pipes, zips within."""
    kind, files = payload(rng, outside)
    path = folder / f"{kind}-a"
    path.mkdir()
    for name, data in files.items():
        name = "/".join(part[:80] for part in name.replace("\0", "_").split("/") if part not in ("", ".", "..")) or "x"
        place = path / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        except (OSError, UnicodeError):
            continue
    places = [place for place in path.rglob("*") if place.is_file()]
    for _ in range(rng.randint(0, 4)):
        place = rng.choice(places)
        target = rng.choice(
            (
                outside / "secret.png",
                outside / "secret.bin",
                outside / "folder",
                "..",
                ".",
                place.name,
                "gone",
                "/dev/zero",
                "/etc/passwd",
                rng.choice(places),
            )
        )
        link = place if rng.random() < 0.5 else place.with_name(f"link{place.suffix}")
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    if kind == "shapes" and rng.random() < 0.3:
        (path / "02691156.zip").write_bytes(zip_bytes(rng, files))
    return path


def _write_files(wholes: Mapping[str, bytes], kind: str, change: Callable[[random.Random, bytes], bytes]):
    """Writer of a folder with one or two damaged files, and perhaps a whole one."""

    def write(rng: random.Random, folder: pathlib.Path, outside: pathlib.Path) -> pathlib.Path:
        path = folder / f"{kind}-a"
        path.mkdir()
        names = list(wholes)
        if rng.random() < 0.5:
            (path / f"0.{(name := rng.choice(names))}").write_bytes(wholes[name])
        for k in range(rng.randint(1, 2)):
            name = rng.choice(names)
            data = wholes[name]
            for _ in range(rng.randint(1, 2)):
                data = _changed(rng, data, change) if rng.random() < 0.7 else mutations.of_bytes(rng, data)
            if kind == "video" and rng.random() < 0.1:
                data = rng.choice((b"", data[:12])) + rng.choice(list(playlists(outside).values()))
            (path / f"{k + 1}.{name}").write_bytes(data)
        return path

    return write


def _changed(rng: random.Random, data: bytes, change: Callable[[random.Random, bytes], bytes]) -> bytes:
    """The data changed, or damaged if they have been so far already that what is to be changed is not found."""
    try:
        return change(rng, data)
    except (IndexError, ValueError, StopIteration):
        return mutations.of_bytes(rng, data)


def _change_image(rng: random.Random, data: bytes) -> bytes:
    if data.startswith(b"\x89PNG"):
        return change_png(rng, data)
    if data.startswith(b"\xff\xd8"):
        return change_jpeg(rng, data)
    at = rng.choice((4, 12, 16, 20, 24, 26, 27))
    return data[:at] + (rng.choice(mutations.EXTREMES) % 2**32).to_bytes(4, "little") + data[at + 4 :]


def _change_gif(rng: random.Random, data: bytes) -> bytes:
    at = rng.choice(
        [
            6,
            8,
            10,
            *(k + 1 for k in range(len(data)) if data[k] == 0x2C),
            *(k for k in range(len(data)) if data[k] == 0x21),
        ]
    )
    return data[:at] + (rng.choice(mutations.EXTREMES) % 2**16).to_bytes(2, "little") + data[at + 2 :]


def _change_binvox(rng: random.Random, data: bytes) -> bytes:
    end = data.find(b"data\n") + 5
    if rng.random() < 0.6:
        sizes = " ".join(str(rng.choice((1, 2, 8, 64, 512, 645, 1024, 2**31, -1))) for _ in range(3)).encode()
        return data.replace(b"dim 8 8 8", b"dim " + sizes)
    if rng.random() < 0.3:
        return data[:end] + b"\1\377" * rng.choice((100, 600_000)) + data[end:]
    return change_words(rng, data[:end]) + data[end:]


def _kind(write: Callable[[random.Random, pathlib.Path, pathlib.Path], pathlib.Path]) -> Kind:
    return Kind(write=write, read=read, plant=_plant)


KINDS = {
    "zip": _kind(_write_zip),
    "tar": _kind(_write_tar),
    "tgz": _kind(_write_tgz),
    "folder": _kind(_write_folder),
    "image": _kind(_write_files(IMAGES, "images", _change_image)),
    "sound": _kind(_write_files(SOUNDS, "audio", change_wav)),
    "film": _kind(_write_files(FILMS, "video", change_film)),
    "gif": _kind(_write_files(GIFS, "video", _change_gif)),
    "npy": _kind(_write_files({"npy": _npy((4, 8, 8, 3))}, "video", change_words)),
    "obj": _kind(_write_files({"obj": OBJ.encode()}, "shapes", change_words)),
    "off": _kind(_write_files({"off": OFF.encode()}, "shapes", change_words)),
    "binvox": _kind(_write_files({"binvox": BINVOX}, "shapes", _change_binvox)),
}
