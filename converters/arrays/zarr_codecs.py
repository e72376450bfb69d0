"""Codecs that a Zarr array may have, and how many bytes what they have packed becomes.

Zarr runs whatever codec the metadata of an array name; one of them, "pickle", runs what the data say. Only codecs of
plain data are let through. Of those that compress, what they unpack to is measured first, since a chunk of kilobytes
may unpack to gigabytes whatever its shape says.
"""

import bz2
import dataclasses
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from functa_store.errors import ArchiveError, MemberError

COMPRESSORS = ("blosc", "zstd", "gzip", "zlib", "bz2", "lzma", "lz4")
CHECKSUMS = ("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3")
NUMBERS = ("delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype")
TEXTS = ("vlen-utf8", "vlen-bytes")
LAYOUTS = ("bytes", "endian", "transpose", "shuffle")

ALLOWED = (*COMPRESSORS, *CHECKSUMS, *NUMBERS, *TEXTS, *LAYOUTS)
"""Codecs that only change how numbers or texts are laid out, in the names of numcodecs; "sharding_indexed" apart."""

MAX_TEXT_BYTES = 1 << 27
"""Bytes of the texts of one chunk."""

_BLOCK = 1 << 20
_SLACK = 1 << 17
"""Of headers, and the last block of a Zstandard frame that does not tell its size."""

_BLOSC_HEADER_BYTES = 16
_MAX_CODECS = 8
_TAKES_AND_MAKES: Mapping[str, tuple[str | None, str | None]] = {
    "delta": ("dtype", "astype"),
    "fixedscaleoffset": ("dtype", "astype"),
    "quantize": ("dtype", "astype"),
    "astype": ("decode_dtype", "encode_dtype"),
    "packbits": (None, None),
}
"""Options that name the numbers before and after a codec packs them."""

_MAX_NUMBER_BYTES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codecs:
    """The codecs of a chunk that were let through.

    Attributes:
        compressor: The one that makes fewer bytes, or None.
        before: Bytes of checksums before what it has made.
        after: Bytes of checksums after it.
        item_bytes: Of the widest numbers that some codec works with.
        packed_bits: Bits of a number before it is compressed.
        has_texts: Whether values are texts of any length.
    """

    compressor: str | None
    before: int
    after: int
    item_bytes: int
    packed_bits: int
    has_texts: bool

    def check_packed(self, packed: bytes, num_values: int) -> int:
        """Refuse a chunk that becomes more than its values when it is unpacked.

        Args:
            packed: As it is stored.
            num_values: That a chunk has.

        Returns:
            Bytes that it becomes.

        Raises:
            MemberError: If it does; the message is the reason alone.
        """
        inner = packed[self.before : len(packed) - self.after]
        most = MAX_TEXT_BYTES if self.has_texts else num_values * self.packed_bits // 8 + _SLACK
        found = len(inner) if self.compressor is None else _MEASURES[self.compressor](inner, most)
        if found > most:
            raise MemberError(f"has a chunk that unpacks to {found} bytes or more, expected {most} at most")
        if self.has_texts:
            self._check_texts(inner, num_values)
        return found

    def _check_texts(self, inner: bytes, num_values: int) -> None:
        """Refuse texts whose number, for which memory is taken at once, is not that of the chunk."""
        if self.compressor is None:
            head = inner[:4]
        else:
            import numcodecs

            try:
                texts: Any = numcodecs.get_codec({"id": self.compressor}).decode(inner)
                head = bytes(memoryview(texts)[:4])
            except Exception as error:  # whatever a codec stumbles over
                raise MemberError(f"has a damaged chunk: {type(error).__name__}: {error}") from error
        if len(head) < 4 or struct.unpack("<I", head)[0] > num_values:
            raise MemberError(f"has a chunk of texts that is damaged, expected {num_values} of them")


def check_codecs(where: str, codecs: list[Any], item_bytes: int) -> Codecs:
    """The codecs of an array, if all of them are let through.

    Args:
        where: File and array.
        codecs: As metadata have them, in the order in which a chunk is packed: of version 2 with an "id", of version 3
            with a "name" and a "configuration".
        item_bytes: Bytes of a value; of texts, of a pointer to it.

    Raises:
        ArchiveError: If one is not, or its options make no sense.
    """
    named = [_named(where, codec) for codec in codecs]
    names = [name for name, _ in named]
    for name in names:
        if name not in ALLOWED:
            raise ArchiveError(
                f"{where}: its codec {ascii(name)[:100]} is none of those that only lay out numbers and texts "
                f"({', '.join(ALLOWED)}), and might run code or take any amount of memory; if you trust the archive, "
                "write the array again with one of them, such as blosc or zstd"
            )
    if len(named) > _MAX_CODECS:
        raise ArchiveError(f"{where}: has {len(named)} codecs, expected at most {_MAX_CODECS}; write it again")
    widest, packed_bits = _follow_numbers(where, named, item_bytes)
    compressors = [k for k, name in enumerate(names) if name in COMPRESSORS]
    if len(compressors) > 1:
        raise ArchiveError(f"{where}: compressed twice, by {', '.join(names)}; expected one compressor: write it again")
    for name, options in named:
        if name == "lzma" and (options.get("format", 1) not in (1, 2) or options.get("filters")):
            raise ArchiveError(f"{where}: codec lzma has filters of its own, expected none; write it again with zstd")
    before, after = 0, 0
    for name, options in named[compressors[0] + 1 :] if compressors else []:
        if name not in CHECKSUMS:
            raise ArchiveError(
                f"{where}: {name} follows the compressor, expected nothing but checksums: write it again"
            )
        at_end = options.get("location", "end" if name in ("crc32c", "fletcher32") else "start") == "end"
        before, after = (before, after + 4) if at_end else (before + 4, after)
    return Codecs(
        compressor=names[compressors[0]] if compressors else None,
        before=before,
        after=after,
        item_bytes=widest,
        packed_bits=packed_bits,
        has_texts=_are_texts(where, named, compressors),
    )


def _are_texts(where: str, named: list[tuple[str, Mapping[str, Any]]], compressors: list[int]) -> bool:
    """Whether the values are texts, which nothing but a compressor may follow."""
    plain = [name for name, _ in named[: compressors[0] if compressors else None] if name not in CHECKSUMS]
    if not any(name in TEXTS for name in plain):
        return False
    if len(plain) > 1 or (not compressors and len(named) > 1):
        raise ArchiveError(f"{where}: has codecs {', '.join(plain)}, expected texts by one of them: write it again")
    return True


def _named(where: str, codec: Any) -> tuple[str, Mapping[str, Any]]:
    """Name and options of a codec as metadata of either version have it."""
    if isinstance(codec, str):
        codec = {"name": codec}
    if isinstance(codec, dict) and "name" in codec and "id" not in codec:
        options = codec.get("configuration") or {}
        name = codec["name"]
        if isinstance(name, str) and isinstance(options, dict) and options.get("id", "") in ("", _bare(name)):
            return _bare(name), options
    elif isinstance(codec, dict) and isinstance(codec.get("id"), str):
        return codec["id"], codec
    raise ArchiveError(f"{where}: found the codec {ascii(codec)[:200]}, expected one with a name; fetch it again")


def _bare(name: str) -> str:
    return name.removeprefix("numcodecs.")


def _follow_numbers(where: str, named: list[tuple[str, Mapping[str, Any]]], item_bytes: int) -> tuple[int, int]:
    """Bytes of the widest numbers on the way, and bits of the last ones.

    Each codec must take numbers of the size that the one before it makes: else a chunk would grow from one to the next.
    """
    bits = widest = 8 * item_bytes
    for name, options in named:
        if name not in NUMBERS or name == "bitround":
            continue
        taken, made = _TAKES_AND_MAKES[name]
        takes = _bits(where, name, options, taken, bits)
        makes = 1 if name == "packbits" else _bits(where, name, options, made, takes)
        if takes != bits:
            raise ArchiveError(
                f"{where}: codec {name} takes numbers of {takes} bits, but is given ones of {bits}; fetch it again"
            )
        bits, widest = makes, max(widest, makes)
    return widest // 8, bits


def _bits(where: str, name: str, options: Mapping[str, Any], option: str | None, otherwise: int) -> int:
    """Bits of the numbers that an option of a codec names."""
    if option is None or options.get(option) is None:
        return otherwise
    try:
        dtype = np.dtype(options[option])
    except Exception as error:  # whatever NumPy says of nonsense
        raise ArchiveError(f"{where}: codec {name} has a damaged {option}; fetch it again") from error
    if dtype.kind not in "biufmMc" or dtype.itemsize > _MAX_NUMBER_BYTES:
        raise ArchiveError(f"{where}: codec {name} works with {ascii(str(dtype))[:100]}, expected plain numbers")
    return 8 * dtype.itemsize


def measure_deflate(packed: bytes, most: int, wbits: int = zlib.MAX_WBITS) -> int:
    """Bytes that a zlib stream unpacks to, counted to a little beyond `most`; a damaged one as far as it goes."""
    return sum(_inflated(packed, wbits, most))


def _inflated(packed: bytes, wbits: int, most: int) -> Iterator[int]:
    """Lengths of the parts of one stream after another, until there are more bytes than asked for."""
    total = 0
    while packed and total <= most:
        stream = zlib.decompressobj(wbits)
        while not stream.eof and total <= most:
            try:
                part = len(stream.decompress(packed, _BLOCK))
            except zlib.error:
                return
            packed = stream.unconsumed_tail
            total += part
            yield part
            if not part and not packed:
                return
        packed = stream.unused_data if wbits > zlib.MAX_WBITS else b""  # only gzip has members one after another


def _measure_streams(make: Callable[[], Any]) -> Callable[[bytes, int], int]:
    def measure(packed: bytes, most: int) -> int:
        total = 0
        while packed and total <= most:
            stream = make()
            while not stream.eof and total <= most:
                try:
                    part = len(stream.decompress(packed, _BLOCK))
                except (OSError, lzma.LZMAError, EOFError, ValueError):
                    return total
                packed = b""
                total += part
                if not part and stream.needs_input:
                    return total
            packed = stream.unused_data if stream.eof else b""
        return total

    return measure


def _measure_blosc(packed: bytes, most: int) -> int:
    """Bytes that the header of a buffer of Blosc promises.

    c-blosc believes the header's number of packed bytes, too, and reads that many, whether they are there or not.

    Raises:
        MemberError: If the number is another one than there are.
    """
    if len(packed) < _BLOSC_HEADER_BYTES:
        raise MemberError(
            f"has a chunk of {len(packed)} bytes, expected at least the {_BLOSC_HEADER_BYTES} of a header"
        )
    unpacked, _, promised = struct.unpack_from("<3I", packed, 4)
    if promised != len(packed):
        raise MemberError(f"has a damaged chunk: it has {len(packed)} bytes, but its header promises {promised}")
    return unpacked


def _measure_lz4(packed: bytes, most: int) -> int:
    return struct.unpack_from("<I", packed)[0] if len(packed) >= 4 else 0


def _measure_zstd(packed: bytes, most: int) -> int:
    """Bytes that Zstandard frames unpack to by their headers, or at most if these do not tell (RFC 8878)."""
    total, place = 0, 0
    try:
        while place < len(packed) and total <= most:
            (magic,) = struct.unpack_from("<I", packed, place)
            if magic & 0xFFFFFFF0 == 0x184D2A50:
                place += 8 + struct.unpack_from("<I", packed, place + 4)[0]
                continue
            if magic != 0xFD2FB528:
                break
            size, place, has_checksum = _zstd_header(packed, place + 4)
            blocks, place = _zstd_blocks(packed, place)
            total += blocks if size is None else size
            place += 4 * has_checksum
    except struct.error:  # it is cut off, which unpacking it will say
        pass
    return total


def _zstd_header(packed: bytes, place: int) -> tuple[int | None, int, bool]:
    """The size that a frame tells, where its blocks begin, and whether a checksum ends it."""
    (descriptor,) = struct.unpack_from("<B", packed, place)
    is_single, size_code = bool(descriptor & 0x20), descriptor >> 6
    place += 1 + (not is_single) + (0, 1, 2, 4)[descriptor & 3]
    if not size_code and not is_single:
        return None, place, bool(descriptor & 4)
    width = (1, 2, 4, 8)[size_code]
    (size,) = struct.unpack_from({1: "<B", 2: "<H", 4: "<I", 8: "<Q"}[width], packed, place)
    return size + 256 * (width == 2), place + width, bool(descriptor & 4)


def _zstd_blocks(packed: bytes, place: int) -> tuple[int, int]:
    """Bytes that the blocks of a frame unpack to at most, and where they end."""
    total, is_last = 0, False
    while not is_last and place + 3 <= len(packed):  # one that is cut off is unpacked as far as it goes
        low, high = struct.unpack_from("<BH", packed, place)
        header = low | high << 8
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        place += 3 + (1 if kind == 1 else size)
        total += size if kind < 2 else 1 << 17
    return total, place


_MEASURES: Mapping[str, Callable[[bytes, int], int]] = {
    "blosc": _measure_blosc,
    "lz4": _measure_lz4,
    "zstd": _measure_zstd,
    "zlib": measure_deflate,
    "gzip": lambda packed, most: measure_deflate(packed, most, 16 + zlib.MAX_WBITS),
    "bz2": _measure_streams(bz2.BZ2Decompressor),
    "lzma": _measure_streams(lambda: lzma.LZMADecompressor(memlimit=1 << 28)),
}
