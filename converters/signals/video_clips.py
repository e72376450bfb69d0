"""Clips of an archive, whichever way they are kept, and their frames, read a few at a time."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from converters.archives.archive import Archive
from converters.archives.listing import has_suffix, natural_order, nothing_to_convert
from converters.archives.many_archives import LentFile, OpenFiles, own_files
from converters.archives.memory_share import DECODED_BYTES, check_wanted, take_room
from converters.images.image_files import (
    CHANNELS,
    IMAGE_SUFFIXES,
    ImageOptions,
    Mode,
    read_image,
    read_sized_image,
)
from converters.masks import masks_beside_clips
from converters.signals.films import FilmFrame, check_rate, film_frames, frame_rate, is_avi, on_white
from converters.signals.frame_folders import check_names, frame_folders, other_resolutions
from converters.signals.frame_times import FrameTimes, frame_times
from converters.signals.npy_rows import InMemory, NpyFile
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.sources.options import ArchiveOptions
from functa_store.sources.source import Reject
from functa_store.support.memory import LRUCache

FILM_SUFFIXES = {".gif", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"}
ARRAY_SUFFIXES = {".npy"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoOptions(ArchiveOptions):
    """How every clip of an archive becomes examples of equal shape.

    Attributes:
        frames: Frames per example: a longer clip gives several, what is left over is dropped.
        resolution: Pixels per side of every frame, of its largest centred square.
        mode: "rgb", or "grey" for one channel.
        fps: Frames per second, for all clips, and those at which films of uneven times are sampled; None takes
            what the first film says whose times are even, else the first one.
        folder: Take only clips below folders of this name, such as "JPEGImages"; None takes all but masks that lie
            beside their frames.
    """

    frames: int = 16
    resolution: int = 32
    mode: Mode = "rgb"
    fps: float | int | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames < 2:
            raise ConfigError(f"frames must be at least 2, got {self.frames}; single images are for `convert images`")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ConfigError(f"fps must be positive and finite, got {self.fps}")
        values = self.frames * self.resolution**2
        if values > self.images.max_pixels:
            raise ConfigError(
                f"frames={self.frames} at resolution={self.resolution} are {values} pixels per example, more than the "
                f"{self.images.max_pixels} that can be learned; lower one of them"
            )

    @property
    def images(self) -> ImageOptions:
        """How a frame that is an image file is read."""
        return ImageOptions(resolution=self.resolution, mode=self.mode)


def check_frames(shape: tuple[int, ...], dtype: np.dtype[Any], options: VideoOptions) -> None:
    """Refuse an array that is no clip.

    Raises:
        MemberError: If it is not (t, y, x, channels) of bytes with 1, 3 or 4 channels, or its frames are too large.
    """
    if len(shape) != 4 or shape[-1] not in (1, 3, 4) or dtype != np.uint8 or 0 in shape:
        raise MemberError(
            f"holds {dtype} of shape {shape}, expected uint8 (t, y, x, channels) with 1, 3 or 4 channels, 0 to 255"
        )
    if shape[1] * shape[2] > options.images.max_pixels:
        raise MemberError(f"has frames of {shape[2]} x {shape[1]} pixels, more than {options.images.max_pixels}")


def fit_frame(
    frame: UInt8[np.ndarray, "height width given"], options: VideoOptions
) -> UInt8[np.ndarray, "y x channel"]:
    """The largest centred square of a frame, resized as images are; on white where it is transparent."""
    side, mode = options.resolution, "RGB" if options.mode == "rgb" else "L"
    opaque = on_white(frame) if frame.shape[-1] == 4 else frame
    image = Image.fromarray(opaque[..., 0] if frame.shape[-1] == 1 else opaque).convert(mode)
    fitted = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    return np.asarray(fitted).reshape(side, side, len(CHANNELS[options.mode]))


CLIP_SUFFIXES = FILM_SUFFIXES | ARRAY_SUFFIXES
_MOST_KEPT = 1 << 28
_MOST_CLIPS = 1 << 20
_NUM_SHOWN = 5
_FRAME_SUFFIXES = IMAGE_SUFFIXES - FILM_SUFFIXES


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClipFacts:
    """What is known of a clip once it has been read.

    Attributes:
        length: Number of its frames.
        fps: How many there are per second, if it says so; of uneven times, how many usually.
        uneven: When its frames are shown, if not at even times.
        remarks: What is odd about it, in words.
    """

    length: int
    fps: float | None = None
    uneven: FrameTimes | None = None
    remarks: tuple[str, ...] = ()


@runtime_checkable
class Clip(Protocol):
    """Frames in a row, read a few at a time, by threads."""

    def inspect(self) -> ClipFacts:
        """What is known once each frame has been read.

        Raises:
            MemberError: If one cannot be read, or they differ in size.
        """
        ...

    def glance(self) -> ClipFacts:
        """What `inspect` gives, without reading more than is needed for it."""
        ...

    def read(self, frames: Sequence[int]) -> UInt8[np.ndarray, "t y x channel"]:
        """Some frames, cropped and resized."""
        ...


class FrameFolder:
    """A clip whose frames are image files in one folder, in the order given."""

    def __init__(self, archive: Archive, members: list[str], options: VideoOptions) -> None:
        self._archive, self._members, self._options = archive, members, options

    def inspect(self) -> ClipFacts:
        """See `Clip.inspect`."""
        check_names(self._members)
        first = None
        for member in self._members:
            check_wanted()
            data = self._archive.read(member)
            try:
                _, size = read_sized_image(data, self._options.images)
            except MemberError as error:
                raise MemberError(f"has a frame {member} that {error}") from error
            first = first or size
            if size != first:
                raise MemberError(f"has a frame {member} of {size} pixels, but the first one has {first}")
        return ClipFacts(length=len(self._members))

    def glance(self) -> ClipFacts:
        """See `Clip.glance`."""
        check_names(self._members)
        return ClipFacts(length=len(self._members))

    def read(self, frames: Sequence[int]) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`."""
        members = [self._members[k] for k in frames]
        return np.stack([read_image(self._archive.read(member), self._options.images) for member in members])


class ArrayClip:
    """A clip that is an array (t, y, x, channels) of bytes, or one of those that an array holds."""

    def __init__(self, array: NpyFile, index: tuple[int, ...], options: VideoOptions) -> None:
        check_frames(array.shape[len(index) :], array.dtype, options)
        self._array, self._index, self._options = array, index, options

    def inspect(self) -> ClipFacts:
        """See `Clip.inspect`."""
        return ClipFacts(length=self._array.shape[len(self._index)])

    def glance(self) -> ClipFacts:
        """See `Clip.glance`."""
        return self.inspect()

    def read(self, frames: Sequence[int]) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`."""
        read = (self._array.read(self._index, k, k + 1)[0] for k in frames)
        return np.stack([fit_frame(frame, self._options) for frame in read])


class DecodedFilm(NamedTuple):
    """A film as it is kept: its frames cropped and resized, and what is known of it."""

    frames: UInt8[np.ndarray, "t y x channel"]
    facts: ClipFacts


class FilmFile:
    """A clip that is one member: a GIF, a film such as an MP4, or an .npy array."""

    def __init__(self, archive: Archive, member: str, options: VideoOptions, kept: LRUCache[DecodedFilm]) -> None:
        self._archive, self._member, self._options, self._kept = archive, member, options, kept

    def inspect(self) -> ClipFacts:
        """See `Clip.inspect`."""
        return self._decoded().facts

    def glance(self) -> ClipFacts:
        """See `Clip.glance`; only decoding tells how many frames a film has."""
        return self.inspect()

    def read(self, frames: Sequence[int]) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`; a copy, since who keeps it shall not keep the whole film."""
        return self._decoded().frames[np.asarray(frames)]

    def _decoded(self) -> DecodedFilm:
        return self._kept.get_or_make(self._member, self._decode, lambda film: film.frames.nbytes)

    def _decode(self) -> DecodedFilm:
        data, side = self._archive.read(self._member), self._options.resolution
        kept, remarks, starts, last = bytearray(), set[str](), list[float | None](), None
        is_array = has_suffix(self._member, ARRAY_SUFFIXES)
        # One by one: a minute of film in full size takes gigabytes.
        for frame in self._npy_frames(data) if is_array else film_frames(data, remarks):
            kept += fit_frame(frame.pixels, self._options).data
            starts.append(frame.start)
            last = frame.duration
            if len(kept) > _MOST_KEPT:
                raise MemberError(f"has more than {_MOST_KEPT} bytes of frames as examples; cut it into shorter clips")
            take_room(2 * len(kept))  # which are copied as they become more
        frames = np.frombuffer(kept, np.uint8).reshape(-1, side, side, len(CHANNELS[self._options.mode]))
        facts = ClipFacts(length=len(frames)) if is_array else _film_facts(data, starts, last, tuple(sorted(remarks)))
        return DecodedFilm(frames, facts)

    def _npy_frames(self, data: bytes) -> Iterator[FilmFrame]:
        array = NpyFile(InMemory(data))
        check_frames(array.shape, array.dtype, self._options)
        for k in range(array.shape[0]):
            check_wanted()
            yield FilmFrame(array.read((), k, k + 1)[0], None, None)


def _film_facts(data: bytes, starts: list[float | None], last: float | None, remarks: tuple[str, ...]) -> ClipFacts:
    """What is known of a film whose frames start at these times, the last one of which is shown so long."""
    said, times = frame_rate(data), frame_times(starts, last, in_order=not is_avi(data))
    rate = said if times is None else times.even_rate(said)
    uneven = times if rate is None else None
    rate = uneven.usual_rate(said) if uneven is not None else rate
    if rate is not None:
        check_rate(rate)
    return ClipFacts(length=len(starts), fps=rate, uneven=uneven, remarks=remarks)


class ListedClips(NamedTuple):
    """Clips of an archive before any is read.

    Attributes:
        clips: By name, in sorted order.
        left_out: Members that are no clips of their own though they might be, and why.
        notes: What is odd about some clips or folders, in words.
    """

    clips: dict[str, Clip]
    left_out: list[Reject]
    notes: dict[str, Sequence[str]]


def list_clips(archive: Archive, options: VideoOptions) -> ListedClips:
    """Every clip of an archive, those without masks of others.

    Raises:
        ArchiveError: If there are none, or none in the folder that the options name.
    """
    arrays = _own_arrays(archive, options)
    kept = LRUCache[DecodedFilm](DECODED_BYTES, keeps_last=True)
    own = own_files(archive)
    films = {
        member: [member]
        for member in archive.members
        if has_suffix(member, CLIP_SUFFIXES) and not (member in own and has_suffix(member, ARRAY_SUFFIXES))
    }
    folders = frame_folders(archive.members, _FRAME_SUFFIXES)
    if not films and not folders and not arrays:
        expected = "folders of .jpg or .png frames, .gif, .mp4 or .npy members"
        raise nothing_to_convert(archive.name, archive.members, "clips", expected, archive.rejects)
    wanted = {name: frames for name, frames in (films | folders).items() if _is_below(name, options.folder)}
    if not wanted and not arrays:
        raise ArchiveError(
            f"{archive.name}: no clips below a folder named {options.folder!r}; there are "
            f"{', '.join(sorted(films | folders)[:_NUM_SHOWN])}"
        )
    masks = masks_beside_clips(wanted)
    clips: dict[str, Clip] = arrays
    for name, frames in wanted.items():
        if name in masks:
            continue
        if name in films:
            clips[name] = FilmFile(archive, name, options, kept)
        else:
            root = "." if archive.name in folders else archive.name
            clips[name or root] = FrameFolder(archive, sorted(frames, key=natural_order), options)
    left_out = [
        Reject(
            member=mask,
            reason=f"holds masks of the frames in {frames}" if frames else "lies among masks of the frames of others",
        )
        for mask, frames in sorted(masks.items())
    ]
    notes: dict[str, Sequence[str]] = {}
    if masks:
        reason = f"{left_out[0].reason} and is left out, as are {len(masks)} clips in all"
        notes[left_out[0].member] = (f"{reason}; --folder takes those of one folder",)
    if twice := other_resolutions({name: frames for name, frames in wanted.items() if name not in masks}):
        clip, first = next(iter(twice.items()))
        notes[clip] = (
            f"is {first} at another resolution, as are {len(twice)} clips in all; --folder takes those of one folder",
        )
    return ListedClips({clip: clips[clip] for clip in sorted(clips)}, left_out, notes)


def _is_below(clip: str, folder: str | None) -> bool:
    return folder is None or f"/{folder.strip('/')}/" in f"/{clip}/"


def _own_arrays(archive: Archive, options: VideoOptions) -> dict[str, Clip]:
    """Clips of the arrays that are files by themselves, which are not read into memory."""
    opened, found = OpenFiles(), dict[str, Clip]()
    for name, path in own_files(archive).items():
        if has_suffix(name, ARRAY_SUFFIXES):
            found |= _array_clips(name, path, opened, options)
    return found


def _array_clips(name: str, path: str, opened: OpenFiles, options: VideoOptions) -> dict[str, Clip]:
    try:
        array = NpyFile(LentFile(path, opened))
    except MemberError as error:
        raise ArchiveError(f"{path}: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error
    indices = [()] if len(array.shape) != 5 else [(k,) for k in range(min(array.shape[0], _MOST_CLIPS + 1))]
    if len(indices) > _MOST_CLIPS:
        raise ArchiveError(
            f"{path}: holds {array.shape[0]} clips, more than {_MOST_CLIPS}; split it into several files"
        )
    digits = len(str(len(indices)))
    try:
        return {f"{name}[{k:0{digits}}]": ArrayClip(array, index, options) for k, index in enumerate(indices)}
    except MemberError as error:
        raise ArchiveError(f"{path}: {error}, or clips of these") from error


def is_clip_or_frame(member: str) -> bool:
    """Whether a member's name says that it is a clip, or a frame of one."""
    return has_suffix(member, CLIP_SUFFIXES | _FRAME_SUFFIXES)
