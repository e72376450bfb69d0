"""Which amplitudes does one sound file give?"""

import dataclasses
import io
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64

from functa_store.errors import ConfigError, MemberError, MissingLibraryError

if TYPE_CHECKING:
    from soundfile import SoundFile

CHANNELS = {1: ("amplitude",), 2: ("left", "right")}
MIXES = ("mono", "stereo", "keep")

_FASTEST = 1_000_000
_LONGEST = 1 << 24
_MOST_VALUES = 1 << 28  # two gigabytes as they are decoded
_LOUDEST = 8.0  # 18 dB above full scale; beyond it, numbers are no amplitudes
_STREAMED = 0x7FFF0000  # what writes to a pipe gives no size, or about the largest one


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundOptions:
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
    channels: str = "mono"
    pad: bool = False
    silence: float | int = -60.0

    def __post_init__(self) -> None:
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
        if self.channels not in MIXES:
            raise ConfigError(f"channels must be one of {', '.join(MIXES)}, got {self.channels!r}")
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
    if data.startswith(b"RIFF"):
        _check_whole(data)
    soundfile = _soundfile()
    try:
        return soundfile.SoundFile(io.BytesIO(data))
    except soundfile.SoundFileError as error:
        raise MemberError(f"has a damaged header: {error}") from error


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
        rate, frames = file.samplerate, file.frames
        try:
            sound = file.read(dtype="float64", always_2d=True)
        except _soundfile().SoundFileError as error:
            raise MemberError(f"cannot be decoded: {error}") from error
    if len(sound) < frames:
        raise MemberError(f"is truncated: it has {len(sound)} of {frames} samples")
    if not np.isfinite(sound).all() or np.abs(sound).max() > _LOUDEST:
        raise MemberError(f"holds numbers up to {np.abs(sound).max()}, expected amplitudes in [-1, 1]")
    sound = _mixed(sound, form.num_channels)
    if rate != form.sample_rate:
        sound = _resampled(sound, rate, form.sample_rate)
    return np.clip(sound, -1, 1).astype(np.float32)


def glance(data: bytes, form: WindowFormat, options: SoundOptions) -> int:
    """Number of samples that `read_sound` gives, from the header alone; errors as there."""
    with open_sound(data) as file:
        _check_header(file, form, options)
        return _length(file, form)


def _length(file: "SoundFile", form: WindowFormat) -> int:
    """Samples of a channel once it has been resampled."""
    common = math.gcd(file.samplerate, form.sample_rate)
    return -(-file.frames * (form.sample_rate // common) // (file.samplerate // common))


def _check_header(file: "SoundFile", form: WindowFormat, options: SoundOptions) -> None:
    if file.frames == 0:
        raise MemberError("holds no samples (zero length)")
    if (values := _length(file, form) * file.channels + file.frames * file.channels) > _MOST_VALUES:
        raise MemberError(f"says that it has {values} samples, more than the {_MOST_VALUES} that are held in memory")
    if file.samplerate != form.sample_rate and options.sample_rate is None:
        raise MemberError(
            f"has {file.samplerate} Hz, but the first file has {form.sample_rate}; --sample-rate resamples all"
        )
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


def _resampled(sound: Float64[np.ndarray, "samples channel"], given: int, wanted: int) -> np.ndarray:
    try:
        from scipy.signal import resample_poly
    except ImportError as error:
        raise MissingLibraryError("scipy is not installed; run pip install 'functa-store[audio]'") from error
    common = math.gcd(given, wanted)
    return resample_poly(sound, wanted // common, given // common, axis=0)


def _check_whole(data: bytes) -> None:
    """Refuse a WAV whose samples end before its header says so: libsndfile takes what is there."""
    position = 12
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<4sL", data, position)
        if kind == b"data":
            if size < _STREAMED and position + 8 + size > len(data):
                raise MemberError(f"is truncated: it has {len(data) - position - 8} of {size} bytes of samples")
            return
        position += 8 + size + size % 2
    raise MemberError("is truncated: its samples (the data chunk) are missing")


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is not there
        raise MissingLibraryError("soundfile is not installed; run pip install 'functa-store[audio]'") from error
    return soundfile
