"""Headers of WAV and FLAC files: what they declare, and headers that a killed recorder or a pipe left without a length.

A decoder takes what a header says for granted: of a WAV whose sizes were never filled in it reads nothing, of a FLAC
without a length more than there is, and of a WAV in blocks (ADPCM, GSM 6.10) also what fills the last block up. So the
length is found here, by what lies in the file: a chunk of samples ends where chunks go on or the file ends, and the
header of the last frame of a FLAC says which sample it starts at. RFC 9639 has FLAC's frames.
"""

import dataclasses
import re
import struct
from typing import NamedTuple

from functa_store.errors import MemberError

_MOST_CHUNKS = 1 << 12
_ENCODINGS = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31)  # not MP3 and the like
_IN_BLOCKS = (0x02, 0x11, 0x31)
_GSM = 0x31
_EXTENSIBLE = 0xFFFE
_GUID = bytes.fromhex("000000001000800000aa00389b71")  # of encodings that have a tag
_AMBISONIC = bytes.fromhex("00002107d3118644c8c1ca000000")
_STREAMED = 0x7FFF0000  # what writes to a pipe gives no size, or about the largest one
_LONG_STREAMED = 1 << 62
_CHUNK_NAME = re.compile(rb"[ -~]{4}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundHeader:
    """What the header of a sound file declares.

    Attributes:
        data: The file, its length filled in where its header has none.
        samples: Per channel; None if only the decoder can count them.
        most_padding: How many more a decoder may give, of what fills the last block up.
        speakers: Bits of the loudspeakers that the channels are meant for; 0 if it does not say.
        notes: What was read otherwise than the header says, in words.
    """

    data: bytes
    samples: int | None = None
    most_padding: int = 0
    speakers: int = 0
    notes: tuple[str, ...] = ()


def read_header(data: bytes) -> SoundHeader:
    """What the header of a WAV or FLAC file declares.

    Raises:
        MemberError: If it is none, or truncated, or needs another decoder; the message is the reason alone.
    """
    if not data:
        raise MemberError("is empty (0 bytes)")
    if data.startswith(b"fLaC"):
        return _read_flac(data)
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return _read_wav(data)
    raise MemberError(f"starts with {data[:8]!r}, expected a WAV or FLAC file")


class _Encoding(NamedTuple):
    """A chunk `fmt `: the tag, bytes and samples per channel of a block, and the loudspeakers."""

    tag: int
    block_bytes: int
    block_samples: int
    speakers: int


def _read_wav(data: bytes) -> SoundHeader:
    """The chunks of a WAV up to its samples."""
    encoding, declared, position = _Encoding(1, 1, 1, 0), None, 12
    size_at, long = None, None
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(data):
            raise MemberError("is truncated: its samples (the data chunk) are missing")
        kind, size = struct.unpack_from("<4sL", data, position)
        body = data[position + 8 : position + 56]
        if kind == b"ds64" and len(body) >= 16 and data.startswith(b"RF64"):
            size_at, long = position + 16, int.from_bytes(body[8:16], "little")
        elif kind == b"fmt " and len(body) >= 2:
            encoding = _read_encoding(body[:size])
        elif kind == b"fact" and len(body) >= 4 <= size:
            declared = int.from_bytes(body[:4], "little")
        elif kind == b"data":
            if long is not None and size_at is not None and size == 0xFFFFFFFF:
                return _with_samples(data, position + 8, (long, size_at, 8), encoding, declared)
            return _with_samples(data, position + 8, (size, position + 4, 4), encoding, declared)
        position += 8 + size + size % 2
    raise MemberError(f"has more than {_MOST_CHUNKS} chunks before its samples")


def _read_encoding(body: bytes) -> _Encoding:
    tag, speakers = int.from_bytes(body[:2], "little"), 0
    if tag == _EXTENSIBLE and len(body) >= 40:
        tag, speakers = int.from_bytes(body[24:26], "little"), int.from_bytes(body[20:24], "little")
        if body[26:40] == _AMBISONIC:
            raise MemberError("is in Ambisonic B-format, whose channels are no loudspeakers; decode it to some first")
        if body[26:40] != _GUID:
            raise MemberError(f"has an encoding of its own ({body[24:40].hex()}), expected PCM, float, A-law or mu-law")
    if tag not in _ENCODINGS:
        raise MemberError(f"has encoding {tag:#06x}, expected PCM, float, A-law, mu-law, ADPCM or GSM 6.10")
    block_bytes = max(1, int.from_bytes(body[12:14], "little"))
    block_samples = int.from_bytes(body[18:20], "little") if tag in _IN_BLOCKS else 1
    return _Encoding(tag, block_bytes, block_samples, speakers)


def _with_samples(
    data: bytes, start: int, field: tuple[int, int, int], encoding: _Encoding, declared: int | None
) -> SoundHeader:
    """What a WAV declares whose samples start at a byte.

    Args:
        data: The file.
        start: Where its samples start.
        field: Number of their bytes, where that number is, and its bytes.
        encoding: How they are kept.
        declared: What the chunk `fact` says that there are, if there is one.
    """
    size, at, width = field
    notes: tuple[str, ...] = ()
    follow = len(data) - start
    is_open = size >= (_LONG_STREAMED if width == 8 else _STREAMED) and size > follow
    if is_open or (size == 0 and not _are_chunks(data, start)):
        # In whole blocks: who was killed was so while writing one.
        size = follow // encoding.block_bytes * encoding.block_bytes
        data = data[:at] + size.to_bytes(width, "little") + data[at + width :]
        notes = (
            f"its header has no length, as of a recorder that was stopped; all {size} bytes that follow are taken",
        )
        declared = None
    if size > follow:
        raise MemberError(f"is truncated: it has {follow} of {size} bytes of samples")
    if encoding.tag not in _IN_BLOCKS:
        return SoundHeader(data=data, speakers=encoding.speakers, notes=notes)
    blocks = size // encoding.block_bytes if encoding.tag == _GSM else -(-size // encoding.block_bytes)
    held = blocks * encoding.block_samples
    if not declared or declared >= _STREAMED:
        samples = held if encoding.tag == _GSM else None  # which libsndfile reads a padding byte as a block of
    elif declared > held > 0:
        raise MemberError(f"is truncated: it has {held} of the {declared} samples that its header declares (fact)")
    else:
        samples = declared
    # One block for what fills the last one up, one for what is read of the byte that makes its bytes even.
    return SoundHeader(
        data=data,
        samples=samples,
        most_padding=2 * max(1, encoding.block_samples),
        speakers=encoding.speakers,
        notes=notes,
    )


def _are_chunks(data: bytes, position: int) -> bool:
    """Whether nothing but whole chunks lies from a byte on."""
    for _ in range(_MOST_CHUNKS):
        if position >= len(data):
            return True
        if not _CHUNK_NAME.match(data, position) or position + 8 > len(data):
            return False
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if position + 8 + size > len(data):
            return False
        position += 8 + size + size % 2
    return False


_TOTAL = (1 << 36) - 1
_UNKNOWN_TOTALS = (0, _TOTAL - 1, _TOTAL)
_STREAMINFO_END = 42
_MOST_CANDIDATES = 1 << 16


def _read_flac(data: bytes) -> SoundHeader:
    """STREAMINFO of a FLAC, its number of samples compared with where the last frame ends."""
    if len(data) < _STREAMINFO_END or data[4] & 0x7F != 0:
        raise MemberError("has a damaged header: its stream information is missing")
    declared = int.from_bytes(data[18:26], "big") & _TOTAL
    found = _flac_end(data)
    if declared in _UNKNOWN_TOTALS:
        if found is None:
            raise MemberError("does not say how many samples it has, and holds no whole frame of any")
        total = (int.from_bytes(data[18:26], "big") & ~_TOTAL | found).to_bytes(8, "big")
        note = f"its header has no length, as of a stream; its last frame ends at sample {found}"
        return SoundHeader(data=data[:18] + total + data[26:], samples=found, notes=(note,))
    if found is not None and found > declared:
        raise MemberError(f"declares {declared} samples, but its last frame ends at sample {found}")
    return SoundHeader(data=data, samples=declared)


def _flac_end(data: bytes) -> int | None:
    """The sample at which the last frame ends, by the last bytes that are a whole header of a frame."""
    first = _first_frame(data)
    smallest, fixed = int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:12], "big")
    if first is None or smallest > fixed:
        return None
    start = data[first : first + 2]
    is_fixed, at = start == b"\xff\xf8", len(data)
    for _ in range(_MOST_CANDIDATES):
        if (at := data.rfind(start, first, at + 1)) < 0:
            return None
        if (found := _frame_end(data, at, fixed if is_fixed else None)) is not None:
            return found
    return None


def _first_frame(data: bytes) -> int | None:
    """Where the first frame starts, behind the blocks of metadata."""
    position = 4
    while position + 4 <= len(data):
        is_last = data[position] & 0x80
        position += 4 + int.from_bytes(data[position + 1 : position + 4], "big")
        if is_last:
            return position if data[position : position + 2] in (b"\xff\xf8", b"\xff\xf9") else None
    return None


def _frame_end(data: bytes, at: int, fixed: int | None) -> int | None:
    """The sample at which a frame ends, or None if no header of one lies there.

    Args:
        data: The file.
        at: Where the header would start.
        fixed: Samples of every block but the last, if frames are numbered and not their samples.
    """
    head = data[at : at + 16]
    if len(head) < 6 or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 0x0F
    more = next((k for k in range(8) if not head[4] << k & 0x80), 8)  # bytes of a number, as UTF-8 has them
    if more in (1, 8) or size_code == 0 or rate_code == 15:
        return None
    length = max(1, more)
    number = head[4] & 0xFF >> more + 1 if more else head[4]
    for byte in head[5 : 4 + length]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    stop = 4 + length
    if size_code in (6, 7):
        size = int.from_bytes(head[stop : stop + size_code - 5], "big") + 1
        stop += size_code - 5
    else:
        size = 192 if size_code == 1 else 576 << size_code - 2 if size_code <= 5 else 256 << size_code - 8
    stop += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if stop >= len(head) or _crc8(head[:stop]) != head[stop]:
        return None
    return number + size if fixed is None else number * fixed + size


def _crc8(data: bytes) -> int:
    found = 0
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found << 1 ^ (0x07 if found & 0x80 else 0)) & 0xFF
    return found
