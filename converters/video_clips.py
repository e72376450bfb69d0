"""Which clips does an archive hold, whichever way they are kept, and how is each read a few frames at a time?"""

import io
import posixpath
import re
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from converters.archives import Archive
from converters.image_files import CHANNELS, IMAGE_SUFFIXES, read_image
from converters.kept import Kept
from converters.listing import has_suffix, nothing_to_convert
from converters.one_file import OneFile
from converters.video_frames import (
    ARRAY_SUFFIXES,
    FILM_SUFFIXES,
    VideoOptions,
    check_frames,
    film_frames,
    fit_frame,
    frame_rate,
    load_npy,
)
from functa_store.errors import ArchiveError, MemberError

CLIP_SUFFIXES = FILM_SUFFIXES | ARRAY_SUFFIXES
_FRAME_SUFFIXES = IMAGE_SUFFIXES - FILM_SUFFIXES


@runtime_checkable
class Clip(Protocol):
    """Frames in a row, read a few at a time, by threads."""

    def inspect(self) -> tuple[int, float | None]:
        """Number of frames, each of which has been read once, and how many there are per second, if it is known.

        Raises:
            MemberError: If one cannot be read, or they differ in size.
        """
        ...

    def glance(self) -> tuple[int, float | None]:
        """The same without reading more than is needed."""
        ...

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """Some frames, cropped and resized."""
        ...


class FrameFolder:
    """A clip whose frames are image files in one folder, in the order given."""

    def __init__(self, archive: Archive, members: list[str], options: VideoOptions) -> None:
        self._archive, self._members, self._options = archive, members, options

    def inspect(self) -> tuple[int, float | None]:
        """See `Clip.inspect`."""
        first = None
        for member in self._members:
            data = self._archive.read(member)
            try:
                read_image(data, self._options.images)
            except MemberError as error:
                raise MemberError(f"has a frame {member} that {error}") from error
            with Image.open(io.BytesIO(data)) as image:
                size = image.size
            first = first or size
            if size != first:
                raise MemberError(f"has a frame {member} of {size} pixels, but the first one has {first}")
        return len(self._members), None

    def glance(self) -> tuple[int, float | None]:
        """See `Clip.glance`."""
        return len(self._members), None

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`."""
        frames = [read_image(self._archive.read(m), self._options.images) for m in self._members[start:stop]]
        return np.stack(frames)


class ArrayClip:
    """A clip that is an array (t, y, x, channels) of bytes, perhaps memory-mapped."""

    def __init__(self, frames: np.ndarray, options: VideoOptions) -> None:
        check_frames(frames.shape, frames.dtype)
        self._frames, self._options = frames, options

    def inspect(self) -> tuple[int, float | None]:
        """See `Clip.inspect`."""
        return len(self._frames), None

    def glance(self) -> tuple[int, float | None]:
        """See `Clip.glance`."""
        return self.inspect()

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`."""
        return np.stack([fit_frame(np.asarray(frame), self._options) for frame in self._frames[start:stop]])


class FilmFile:
    """A clip that is one member: a GIF, a film such as an MP4, or an .npy array."""

    def __init__(self, archive: Archive, member: str, options: VideoOptions, kept: Kept) -> None:
        self._archive, self._member, self._options, self._kept = archive, member, options, kept

    def inspect(self) -> tuple[int, float | None]:
        """See `Clip.inspect`."""
        fps = frame_rate(self._archive.read(self._member), self._member)
        return len(self._frames()), fps

    def glance(self) -> tuple[int, float | None]:
        """See `Clip.glance`; only decoding tells how many frames a film has."""
        return self.inspect()

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "t y x channel"]:
        """See `Clip.read`; a copy, since who keeps it shall not keep the whole film."""
        return self._frames()[start:stop].copy()

    def _frames(self) -> UInt8[np.ndarray, "t y x channel"]:
        return self._kept.get(self._member, self._decode)

    def _decode(self) -> UInt8[np.ndarray, "t y x channel"]:
        fitted, side = [], self._options.resolution
        # One by one: a minute of film in full size takes gigabytes.
        for frame in film_frames(self._archive.read(self._member), self._member):
            check_frames((1, *frame.shape), frame.dtype)
            fitted.append(fit_frame(frame, self._options))
        shape = (len(fitted), side, side, len(CHANNELS[self._options.mode]))
        return np.stack(fitted) if fitted else np.empty(shape, np.uint8)


def list_clips(archive: Archive, path: str, options: VideoOptions) -> dict[str, Clip]:
    """Every clip by its name, in sorted order."""
    if isinstance(archive, OneFile) and has_suffix(archive.name, ARRAY_SUFFIXES):
        return _array_clips(archive.name, path, options)
    kept, films = Kept(), [member for member in archive.members if has_suffix(member, CLIP_SUFFIXES)]
    clips: dict[str, Clip] = {member: FilmFile(archive, member, options, kept) for member in films}
    folders: dict[str, list[str]] = {}
    for member in archive.members:
        if has_suffix(member, _FRAME_SUFFIXES):
            folders.setdefault(posixpath.dirname(member), []).append(member)
    if root := folders.pop("", []):
        folders["." if archive.name in folders else archive.name] = root
    clips |= {folder: FrameFolder(archive, sorted(names, key=in_time), options) for folder, names in folders.items()}
    if not clips:
        expected = "folders of .jpg or .png frames, .gif, .mp4 or .npy members"
        raise nothing_to_convert(archive.name, archive.members, "clips", expected)
    return {clip: clips[clip] for clip in sorted(clips)}


def in_time(member: str) -> tuple[list[str | tuple[int, str]], str]:
    """What sorts frames: numbers in their names by size, so that frame 10 follows frame 9 and not frame 1."""
    parts: list[str] = re.split(r"([0-9]+)", member)  # text and digits in turn
    digits = [part.lstrip("0") for part in parts[1::2]]  # compared by length first: they may be too long for an int
    numbers = [(len(number), number) for number in digits]
    return [numbers[k // 2] if k % 2 else part for k, part in enumerate(parts)], member


def _array_clips(name: str, path: str, options: VideoOptions) -> dict[str, Clip]:
    try:
        array = load_npy(path, mmap_mode="r")
    except MemberError as error:
        raise ArchiveError(f"{path}: {error}") from error
    clips = array if array.ndim == 5 else array[None]
    try:
        return {f"{name}[{k:0{len(str(len(clips)))}}]": ArrayClip(clip, options) for k, clip in enumerate(clips)}
    except MemberError as error:
        raise ArchiveError(f"{path}: {error}, or clips of these") from error


def is_clip_or_frame(member: str) -> bool:
    """Whether a member's name says that it is a clip, or a frame of one."""
    return has_suffix(member, CLIP_SUFFIXES | _FRAME_SUFFIXES)
