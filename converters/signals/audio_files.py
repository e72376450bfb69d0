"""Amplitudes of one sound file."""

import dataclasses
import io
import itertools
import math
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32, Float64

from converters.archives.memory_share import check_wanted, take_room
from functa_store.errors import ConfigError, MemberError
from functa_store.sources.options import ArchiveOptions
from functa_store.support.optional import require

if TYPE_CHECKING:
    from soundfile import SoundFile


CHANNELS = {1: ("amplitude",), 2: ("left", "right")}
Mix = Literal["mono", "stereo", "keep"]

_FASTEST = 1_000_000
_LONGEST = 1 << 24
_MOST_VALUES = 1 << 27  # half a gigabyte
_ALWAYS_WINDOWS = 1 << 13  # of a file, however few bytes it has
_VALUES_AT_ONCE = 1 << 18
_MOST_STEPS = 1 << 18  # of a ratio of rates: the filter has twenty times as many weights
_MOST_CHUNKS = 1 << 12
_ENCODINGS = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31)  # not MP3 and the like
_EXTENSIBLE = 0xFFFE
_LOUDEST = 8.0  # 18 dB above full scale; beyond it, numbers are no amplitudes
_STREAMED = 0x7FFF0000  # what writes to a pipe gives no size, or about the largest one


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundOptions(ArchiveOptions):
    """How every sound file of an archive becomes windows of equal length.

    Attributes:
        seconds: Length of a window, if it is not given in samples.
        samples: Length of a window at the sample rate of the examples.
        sample_rate: To which files of another rate are resampled, in Hz; None takes the rate of the first
            file, and files of another one are rejects.
        channels: "mono" takes the mean of the channels, "stereo" makes two of one, "keep" takes the first
            file's number, which must be 1 or 2, and files of another one are rejects.
        pad: Fill the last window of a file up with zeros; it is dropped otherwise.
        silence: Peak in decibels of full scale below which a window is silent, and a reject.
    """

    seconds: float | int | None = None
    samples: int | None = None
    sample_rate: int | None = None
    channels: Mix = "mono"
    pad: bool = False
    silence: float | int = -60.0

    exclusive = (("seconds", "samples"),)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.seconds is None) == (self.samples is None):
            raise ConfigError(
                f"give the length of a window either in seconds or in samples, got {self.seconds} and {self.samples}"
            )
        for name in ("seconds", "samples", "sample_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be positive and finite, got {value}")
        if self.sample_rate is not None and self.sample_rate > _FASTEST:
            raise ConfigError(f"sample_rate must be at most {_FASTEST} Hz, got {self.sample_rate}")
        if not -math.inf < self.silence <= 0:
            raise ConfigError(f"silence must be in decibels of full scale, finite and at most 0, got {self.silence}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowFormat:
    """What every window of an archive has in common.

    Attributes:
        sample_rate: In Hz.
        samples: Per window and channel.
        num_channels: 1 or 2.
    """

    sample_rate: int
    samples: int
    num_channels: int


def window_format(data: bytes, options: SoundOptions) -> WindowFormat:
    """The format that the options and the first file of an archive mean.

    Raises:
        MemberError: If the file is no sound.
        ConfigError: If a window would hold fewer than two samples.
    """
    with open_sound(data) as file:
        rate = options.sample_rate or file.samplerate
        num_channels = {"mono": 1, "stereo": 2}.get(options.channels, file.channels)
    if num_channels not in CHANNELS:
        raise MemberError(f"has {num_channels} channels, expected 1 or 2; --channels mono mixes them")
    samples = options.samples or round((options.seconds or 0) * rate)
    if not 2 <= samples <= _LONGEST:
        asked = f"of {options.seconds} s at {rate} Hz " if options.samples is None else ""
        raise ConfigError(f"a window {asked}has {samples} samples, expected 2 to {_LONGEST}")
    return WindowFormat(sample_rate=rate, samples=samples, num_channels=num_channels)


def open_sound(data: bytes) -> "SoundFile":
    """A WAV or FLAC file with its header read.

    Raises:
        MemberError: If it is none, or truncated; the message is the reason alone.
        MissingLibraryError: If soundfile is not installed.
    """
    if not data:
        raise MemberError("is empty (0 bytes)")
    if not (data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE") and not data.startswith(b"fLaC"):
        raise MemberError(f"starts with {data[:8]!r}, expected a WAV or FLAC file")
    if not data.startswith(b"fLaC"):
        _check_chunks(data)
    soundfile = _soundfile()
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.SoundFileError, ValueError, OverflowError) as error:
        raise MemberError(f"has a damaged header: {getattr(error, 'error_string', error)}") from error
    if not 1 <= file.samplerate <= _FASTEST or file.frames < 0:
        raise MemberError(
            f"says that it has {file.frames} samples at {file.samplerate} Hz, expected 1 to {_FASTEST} Hz"
        )
    return file


def read_sound(data: bytes, form: WindowFormat, options: SoundOptions) -> Float32[np.ndarray, "samples channel"]:
    """All of a file, at the rate and with the channels of the windows.

    What goes beyond full scale is clipped, as a player does; resampling overshoots by a little.

    Args:
        data: The file.
        form: What to make of it.
        options: Whether it may be resampled.

    Returns:
        Amplitudes in [-1, 1], full scale.

    Raises:
        MemberError: If it is no such sound, damaged, truncated, without a sample, of another rate or number of
            channels than may be, or its numbers are no amplitudes; the message is the reason alone.
    """
    with open_sound(data) as file:
        _check_header(file, form, options)
        length = _length(file, form)
        _check_windows(length, form, len(data))
        take_room(4 * length * form.num_channels)
        sound, done = np.empty((length, form.num_channels), np.float32), 0
        for block in resampled(_blocks(file, form.num_channels), file.samplerate, form.sample_rate):
            sound[done : done + len(block)] = np.clip(block, -1, 1)
            done += len(block)
    return sound


def _blocks(file: "SoundFile", num_channels: int) -> Iterator[Float64[np.ndarray, "samples channel"]]:
    """The samples of a file in a row, mixed; all at once they would take eight bytes for each that it promises."""
    done, frames = 0, file.frames
    while done < frames:
        check_wanted()
        try:
            block = file.read(max(1, _VALUES_AT_ONCE // file.channels), dtype="float64", always_2d=True)
        except _soundfile().SoundFileError as error:
            raise MemberError(f"cannot be decoded: {getattr(error, 'error_string', error)}") from error
        if not len(block):
            raise MemberError(f"is truncated: it has {done} of {frames} samples")
        if not np.isfinite(block).all() or np.abs(block).max() > _LOUDEST:
            raise MemberError(f"holds numbers up to {np.abs(block).max()}, expected amplitudes in [-1, 1]")
        done += len(block)
        yield _mixed(block, num_channels)


def glance(data: bytes, form: WindowFormat, options: SoundOptions) -> int:
    """Number of samples that `read_sound` gives, from the header alone; errors as there."""
    with open_sound(data) as file:
        _check_header(file, form, options)
        length = _length(file, form)
        _check_windows(length, form, len(data))
        return length


def _check_windows(length: int, form: WindowFormat, num_bytes: int) -> None:
    """Refuse a file that unpacks to far more windows than it has bytes: a tone without an end takes hardly any."""
    if (windows := length // form.samples) > max(_ALWAYS_WINDOWS, num_bytes):
        raise MemberError(
            f"would be {windows} windows of {form.samples} samples, but has {num_bytes} bytes, expected at least a "
            "byte for each; take longer windows"
        )


def _length(file: "SoundFile", form: WindowFormat) -> int:
    """Samples of a channel once it has been resampled."""
    common = math.gcd(file.samplerate, form.sample_rate)
    return -(-file.frames * (form.sample_rate // common) // (file.samplerate // common))


def _check_header(file: "SoundFile", form: WindowFormat, options: SoundOptions) -> None:
    if file.frames == 0:
        raise MemberError("holds no samples (zero length)")
    values = max(_length(file, form) * form.num_channels, file.frames * file.channels // 2)
    if values > _MOST_VALUES:
        raise MemberError(
            f"says that it has {values} samples, more than the {_MOST_VALUES} that are held in memory; cut it into "
            "shorter files"
        )
    if file.samplerate != form.sample_rate and options.sample_rate is None:
        raise MemberError(
            f"has {file.samplerate} Hz, but the first file has {form.sample_rate}; --sample-rate resamples all"
        )
    common = math.gcd(file.samplerate, form.sample_rate)
    if max(file.samplerate, form.sample_rate) // common > _MOST_STEPS:
        raise MemberError(f"has {file.samplerate} Hz, which takes too long to resample to {form.sample_rate}")
    if options.channels == "keep" and file.channels != form.num_channels:
        raise MemberError(
            f"has {file.channels} channels, but the first file has {form.num_channels}; --channels mono mixes them"
        )
    if options.channels == "stereo" and file.channels > 2:
        raise MemberError(f"has {file.channels} channels, expected 1 or 2; --channels mono mixes them")


def _mixed(sound: Float64[np.ndarray, "samples given"], num_channels: int) -> Float64[np.ndarray, "samples channel"]:
    if num_channels == 1:
        return sound.mean(axis=1, keepdims=True)
    return np.repeat(sound, 2, axis=1) if sound.shape[1] == 1 else sound


def resampled(
    blocks: Iterator[Float64[np.ndarray, "samples channel"]], given: int, wanted: int
) -> Iterator[Float64[np.ndarray, "samples channel"]]:
    """Samples at another rate, the same as if they were resampled as a whole.

    A sample at the new rate is a sum over some of the old ones around it. Each part is resampled with so many more on
    either side, which is then cut off.

    Args:
        blocks: Samples in a row, of any length.
        given: Their rate.
        wanted: The new one.

    Raises:
        MissingLibraryError: If scipy is not installed.
    """
    if given == wanted:
        yield from blocks
        return
    signal = require("scipy.signal", extra="audio")
    common = math.gcd(given, wanted)
    up, down = wanted // common, given // common
    reach = 10 * max(up, down)  # as of resample_poly, which would design its filter anew for each part
    weights = signal.firwin(2 * reach + 1, 1 / max(up, down), window=("kaiser", 5.0))
    beside = -(-(reach // up + 2) // down) * down  # multiples of `down` begin a new sample
    part = max(beside, -(-_VALUES_AT_ONCE // down) * down)
    kept, before = np.empty((0, 0)), 0  # what is at hand, and how much of it precedes the next part
    for block in itertools.chain(blocks, [None]):
        if block is not None:
            kept = np.concatenate([kept, block]) if kept.size else block
        while len(kept) >= before + part + beside or (block is None and len(kept) > before):
            last = block is None and len(kept) <= before + part
            new = signal.resample_poly(kept[: before + part + beside], up, down, axis=0, window=weights)
            yield new[before * up // down : None if last else (before + part) * up // down]
            start = before + part - min(before + part, beside)
            kept, before = kept[start:], before + part - start


def _check_chunks(data: bytes) -> None:
    """Refuse a WAV that is cut short, of which libsndfile takes what is there, or that needs another decoder."""
    position, long = 12, None
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(data):
            raise MemberError("is truncated: its samples (the data chunk) are missing")
        kind, size = struct.unpack_from("<4sL", data, position)
        body = data[position + 8 : position + 48]
        if kind == b"ds64" and len(body) >= 16:
            long = int.from_bytes(body[8:16], "little")
        if kind == b"fmt " and len(body) >= 2:
            _check_encoding(body)
        if kind == b"data":
            size = long if data.startswith(b"RF64") and size == 0xFFFFFFFF and long is not None else size
            if (size < _STREAMED or size == long) and position + 8 + size > len(data):
                raise MemberError(f"is truncated: it has {len(data) - position - 8} of {size} bytes of samples")
            return
        position += 8 + size + size % 2
    raise MemberError(f"has more than {_MOST_CHUNKS} chunks before its samples")


def _check_encoding(body: bytes) -> None:
    tag = int.from_bytes(body[:2], "little")
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = int.from_bytes(body[24:26], "little")
    if tag not in _ENCODINGS:
        raise MemberError(f"has encoding {tag:#06x}, expected PCM, float, A-law, mu-law, ADPCM or GSM 6.10")


def _soundfile() -> Any:
    return require("soundfile", extra="audio")
