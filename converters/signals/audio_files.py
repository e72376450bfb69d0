"""Amplitudes of one sound file."""

import contextlib
import dataclasses
import io
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from converters.archives.memory_share import check_wanted, take_room
from converters.signals.sound_headers import SoundHeader, read_header
from functa_store.errors import ConfigError, FunctaStoreError, MemberError
from functa_store.sources.options import ArchiveOptions
from functa_store.support.optional import require
from functa_store.support.shortening import shown

if TYPE_CHECKING:
    from soundfile import SoundFile


CHANNELS = {1: ("amplitude",), 2: ("left", "right")}
Mix = Literal["mono", "stereo", "keep"]

_FASTEST = 1_000_000
_LONGEST = 1 << 24
_MOST_VALUES = 1 << 27  # half a gigabyte
_ALWAYS_WINDOWS = 1 << 13  # of a file, however few bytes it has
_VALUES_AT_ONCE = 1 << 18
_LEFT_AND_RIGHT = (0, 0x3, 0x30, 0xC0, 0x600)  # of loudspeakers: unknown; front, back, of the centre, at the sides
_MOST_STEPS = 1 << 18  # of a ratio of rates: the filter has twenty times as many weights
_LOUDEST = 8.0  # 18 dB above full scale; beyond it, numbers are no amplitudes


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
    with open_sound(data) as sound:
        rate = options.sample_rate or sound.sample_rate
        num_channels = {"mono": 1, "stereo": 2}.get(options.channels, sound.num_channels)
    if num_channels not in CHANNELS:
        raise MemberError(f"has {num_channels} channels, expected 1 or 2; --channels mono mixes them")
    samples = options.samples or round((options.seconds or 0) * rate)
    if not 2 <= samples <= _LONGEST:
        asked = f"of {options.seconds} s at {rate} Hz " if options.samples is None else ""
        raise ConfigError(f"a window {asked}has {samples} samples, expected 2 to {_LONGEST}")
    return WindowFormat(sample_rate=rate, samples=samples, num_channels=num_channels)


class Sound(NamedTuple):
    """A sound file that is open.

    Attributes:
        file: Its decoder.
        samples: Per channel, as its header declares them.
        header: What else that declares.
    """

    file: "SoundFile"
    samples: int
    header: SoundHeader

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.file.samplerate

    @property
    def num_channels(self) -> int:
        """Of the file."""
        return self.file.channels


class DecodedSound(NamedTuple):
    """A sound file as it is kept.

    Attributes:
        samples: Amplitudes in [-1, 1], at the rate and with the channels of the windows.
        notes: What was read otherwise than its header says, in words.
        remarks: What else is odd about it.
    """

    samples: Float32[np.ndarray, "samples channel"]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]


@contextlib.contextmanager
def open_sound(data: bytes) -> Iterator[Sound]:
    """A WAV or FLAC file with its header read; whatever a decoder raises inside is an error of the file.

    Raises:
        MemberError: If it is none, truncated, or cannot be decoded; the message is the reason alone.
        MissingLibraryError: If soundfile is not installed.
    """
    header = read_header(data)
    soundfile = _soundfile()
    try:
        file = soundfile.SoundFile(io.BytesIO(header.data))
    except Exception as error:  # libsndfile and what wraps it raise nearly anything on damaged data
        raise MemberError(f"has a damaged header: {_reason(error)}") from error
    try:
        with file:
            if not 1 <= file.samplerate <= _FASTEST or file.frames < 0:
                raise MemberError(
                    f"says that it has {file.frames} samples at {file.samplerate} Hz, expected 1 to {_FASTEST} Hz"
                )
            yield Sound(file, file.frames if header.samples is None else header.samples, header)
    except (FunctaStoreError, MemoryError):
        raise
    except Exception as error:  # as above
        raise MemberError(f"cannot be decoded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What a decoder said, for a person; its name if it said nothing."""
    return shown(str(getattr(error, "error_string", error))) or type(error).__name__


def read_sound(data: bytes, form: WindowFormat, options: SoundOptions) -> DecodedSound:
    """All of a file, at the rate and with the channels of the windows.

    What goes beyond full scale is clipped, as a player does; resampling overshoots by a little.

    Args:
        data: The file.
        form: What to make of it.
        options: Whether it may be resampled.

    Raises:
        MemberError: If it is no such sound, damaged, truncated, without a sample, of another rate or number of
            channels than may be, or its numbers are no amplitudes; the message is the reason alone.
    """
    with open_sound(data) as sound:
        _check_header(sound, form, options)
        length = _length(sound, form)
        _check_windows(length, form, len(data))
        take_room(4 * length * form.num_channels)
        samples, done = np.empty((length, form.num_channels), np.float32), 0
        loudest = 0.0

        def mixed() -> Iterator[Float64[np.ndarray, "samples channel"]]:
            nonlocal loudest
            for block in _blocks(sound):
                loudest = max(loudest, float(np.abs(block).max()))
                yield _mixed(block, form.num_channels)

        for block in resampled(mixed(), sound.sample_rate, form.sample_rate):
            samples[done : done + len(block)] = np.clip(block, -1, 1)
            done += len(block)
    loud = (f"goes up to {loudest:.3g} times full scale; what is beyond it is clipped",) if loudest > 1 else ()
    return DecodedSound(samples, sound.header.notes, loud)


def _blocks(sound: Sound) -> Iterator[Float64[np.ndarray, "samples channel"]]:
    """The samples of a file in a row; all at once they would take eight bytes for each that it promises."""
    done, most = 0, max(1, _VALUES_AT_ONCE // sound.num_channels)
    while done < sound.samples:
        check_wanted()
        block = sound.file.read(min(most, sound.samples - done), dtype="float64", always_2d=True)
        if not len(block):
            raise MemberError(f"is truncated: it has {done} of {sound.samples} samples")
        if not np.isfinite(block).all() or np.abs(block).max() > _LOUDEST:
            raise MemberError(f"holds numbers up to {np.abs(block).max()}, expected amplitudes in [-1, 1]")
        done += len(block)
        yield block


def glance(data: bytes, form: WindowFormat, options: SoundOptions) -> tuple[int, tuple[str, ...]]:
    """Number of samples that `read_sound` gives, and what is odd, from the header alone; errors as there."""
    with open_sound(data) as sound:
        _check_header(sound, form, options)
        length = _length(sound, form)
        _check_windows(length, form, len(data))
        return length, sound.header.notes


def _check_windows(length: int, form: WindowFormat, num_bytes: int) -> None:
    """Refuse a file that unpacks to far more windows than it has bytes: a tone without an end takes hardly any."""
    if (windows := length // form.samples) > max(_ALWAYS_WINDOWS, num_bytes):
        raise MemberError(
            f"would be {windows} windows of {form.samples} samples, but has {num_bytes} bytes, expected at least a "
            "byte for each; take longer windows"
        )


def _length(sound: Sound, form: WindowFormat) -> int:
    """Samples of a channel once it has been resampled."""
    common = math.gcd(sound.sample_rate, form.sample_rate)
    return -(-sound.samples * (form.sample_rate // common) // (sound.sample_rate // common))


def _check_header(sound: Sound, form: WindowFormat, options: SoundOptions) -> None:
    rate, num_channels = sound.sample_rate, sound.num_channels
    if sound.samples == 0:
        raise MemberError("holds no samples (zero length)")
    values = max(_length(sound, form) * form.num_channels, sound.samples * num_channels // 2)
    if values > _MOST_VALUES:
        raise MemberError(
            f"says that it has {values} samples, more than the {_MOST_VALUES} that are held in memory; cut it into "
            "shorter files"
        )
    if sound.file.frames > sound.samples + sound.header.most_padding:
        raise MemberError(f"holds {sound.file.frames} samples, but its header declares {sound.samples} (fact)")
    if rate != form.sample_rate and options.sample_rate is None:
        raise MemberError(f"has {rate} Hz, but the first file has {form.sample_rate}; --sample-rate resamples all")
    common = math.gcd(rate, form.sample_rate)
    if max(rate, form.sample_rate) // common > _MOST_STEPS:
        raise MemberError(f"has {rate} Hz, which takes too long to resample to {form.sample_rate}")
    if options.channels == "keep" and num_channels != form.num_channels:
        raise MemberError(
            f"has {num_channels} channels, but the first file has {form.num_channels}; --channels mono mixes them"
        )
    if options.channels == "stereo" and num_channels > 2:
        raise MemberError(f"has {num_channels} channels, expected 1 or 2; --channels mono mixes them")
    if form.num_channels == 2 and num_channels == 2 and sound.header.speakers not in _LEFT_AND_RIGHT:
        raise MemberError(
            f"has two channels that are not left and right (loudspeakers {sound.header.speakers:#x}); --channels mono "
            "mixes them"
        )


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


def _soundfile() -> Any:
    return require("soundfile", extra="audio")
