"""What an archive looks like, by its content and names, and the command that converts such a one.

Whoever gives an archive to the wrong converter is told the right one. A converter's own rules decide what it takes;
here is only enough to tell kinds apart, read from the beginning of an archive.
"""

import collections
import contextlib
import functools
import io
import itertools
import os
import posixpath
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from converters.archives.archive import open_archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.packed import DEFLATED, Entry, RandomFile, content_start, tar_entries, tar_members, zip_entries
from converters.archives.plain_files import base_name, open_plain
from functa_store.errors import ArchiveError, FunctaStoreError
from functa_store.progress import Note
from functa_store.sources.splits import split_of_word
from functa_store.support.shortening import shown

_HEAD_BYTES = 1 << 16
_UNPACKED_BYTES = 1 << 20
_MOST_NAMES = 4000
_MOST_OF_A_FOLDER = 20_000


class Known(NamedTuple):
    """A kind of archive.

    Attributes:
        title: In words.
        command: What converts it.
        kind: Name of the converter.
    """

    title: str
    command: str
    kind: str


def _converted(title: str, kind: str) -> Known:
    return Known(title, f"functa convert {kind}", kind)


CIFAR = _converted("CIFAR-10 or CIFAR-100", "cifar")
MNIST = _converted("MNIST or another data set in IDX files", "mnist")
MEDMNIST = _converted("MedMNIST, or an .npz with an array of pictures per split", "medmnist")
WEBDATASET = _converted("shards of a WebDataset", "webdataset")
HUGGINGFACE = _converted("a data set in Parquet or Arrow files, as of Hugging Face", "huggingface")
NERF = _converted("views with cameras in transforms.json, of COLMAP or LLFF", "nerf")
SRN = _converted("scenes of SRN, with rgb/, pose/ and intrinsics.txt", "srn")
CELEBA = _converted("CelebA", "celeba")
DEEPMIND = Known("a pickle as of DeepMind's functa", "functa import-deepmind", "import-deepmind")

IMAGES = _converted("images", "images")

_BY_SUFFIX = {
    "images": (IMAGES, (".jpg", ".jpeg", ".png", ".webp")),
    "audio": (_converted("sound files", "audio"), (".wav", ".flac")),
    "video": (_converted("films", "video"), (".mp4", ".avi", ".webm", ".mkv", ".mov", ".gif")),
    "climate": (_converted("fields in NetCDF files", "climate"), (".nc", ".nc4")),
    "shapenet": (_converted("meshes or binvox files", "shapenet"), (".binvox", ".obj", ".off", ".ply", ".stl", ".glb")),
    "arrays": (_converted("arrays", "arrays"), (".npy", ".npz", ".h5", ".hdf5")),
}
_ALIKE = {"images": {"celeba"}, "celeba": {"images"}, "arrays": {"voxels", "climate", "video"}, "shapenet": {"voxels"}}
"""Kinds of files that several converters take: of these no other is named."""

_CIFAR_NAMES = {
    "batches.meta", "batches.meta.txt", "data_batch_1", "data_batch_1.bin", "test_batch.bin", "fine_label_names.txt",
}  # fmt: skip
_IDX_NAME = re.compile(r".*[-_.]idx[123][-_.](ubyte|int)(\.gz)?", re.IGNORECASE)
_IDX_MAGIC = re.compile(rb"\0\0(\x08[\x01\x03]|\x0c\x02)")
_MEDMNIST_NAME = re.compile(r"([A-Za-z]+)_(images|labels)\.npy|([xy])_([A-Za-z]+)\.npy")
_OF_BYTES, _NPY_HEAD = b"|u1", 256
_TRANSFORMS = re.compile(r"transforms(_\w+)?\.json")
_OF_CAMERAS = ({"cameras.bin", "images.bin"}, {"cameras.txt", "images.txt"}, {"poses_bounds.npy"})
_BESIDE_IMAGES = {"cls", "json", "txt"}
_PICKLED = re.compile(rb"haiku|ml_collections|latent_modulated_siren|modulations|dill")

F = TypeVar("F", bound=Callable[..., Any])


def names_the_right_converter(kind: str) -> Callable[[F], F]:
    """Make a converter's function that opens archives say which other one is meant, if it cannot.

    That of `images` can open shards of a WebDataset and scenes of NeRF, but would lose their labels and cameras: it is
    told so in a note.

    Args:
        kind: Name of the converter.

    Returns:
        A decorator of a function whose first argument are the files of an archive, of which the first one is looked
        at, and whose last one is told of progress.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapped(files: ArchiveFiles, *args: Any) -> Any:
            path = files.paths[0]
            try:
                source = function(files, *args)
            except ArchiveError as error:
                found = recognised(path)
                if found is None or found.kind == kind or kind in _ALIKE.get(found.kind, ()):
                    raise
                if kind == "webdataset" and found == IMAGES and _is_tar(path):
                    raise  # it takes images, too
                name = base_name(os.path.abspath(path))
                raise type(error)(
                    f"{shown(name)} looks like {found.title}: convert it by `{found.command}`. `functa convert {kind}` "
                    f"says: {error}"
                ) from error
            found = recognised(path) if kind == "images" else None
            if found is not None and (found == WEBDATASET or (found == NERF and _has_cameras(path))):
                what = "labels" if found == WEBDATASET else "cameras"
                message = f"looks like {found.title}, whose {what} are not read here, but by `{found.command}`"
                args[-1](Note(message=f"{base_name(os.path.abspath(path))}: {message}"))
            return source

        return wrapped  # type: ignore[return-value]  # it takes and gives the same

    return decorate


def recognised(path: Any) -> Known | None:
    """The kind of archive that a path seems to hold; None if nothing tells, or it cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, EOFError, zlib.error, FunctaStoreError):
        path = os.fspath(path)
        return _of_folder(path) if os.path.isdir(path) else _of_file(path) if os.path.isfile(path) else None
    return None


def _has_cameras(path: Any) -> bool:
    """Whether an archive has cameras of NeRF, and not other files of such names; it has been opened as images."""
    with contextlib.suppress(FunctaStoreError):
        archive = open_archive(path)
        files = [member for member in archive.members if _TRANSFORMS.fullmatch(posixpath.basename(member))]
        return not files or b"transform_matrix" in archive.read(files[0])
    return False


def _is_tar(path: Any) -> bool:
    if not os.path.isfile(path):
        return False
    with open(open_plain(os.fspath(path)), "rb") as file:
        return file.read(262)[257:] == b"ustar"


def _of_file(path: str) -> Known | None:
    with open(open_plain(path), "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"\x1f\x8b"):
        inside = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head + _more(path, len(head)), _UNPACKED_BYTES)
        return _of_content(inside, lambda: _names_of_tar(inside), path.removesuffix(".gz"))
    if head.startswith(b"PK"):
        entries = list(itertools.islice(zip_entries(file := RandomFile(path)), _MOST_NAMES))
        found = _of_names([entry.name for entry in entries])
        return _by_suffix(["a.npz"]) if found == MEDMNIST and not _has_bytes(file, entries) else found
    return _of_content(head, lambda: (entry.name for entry in tar_entries(RandomFile(path))), path)


def _has_bytes(file: RandomFile, entries: Sequence[Entry]) -> bool:
    """Whether an array of an .npz that is named as one of pictures holds bytes, as pictures do."""
    for entry in entries:
        said = _MEDMNIST_NAME.fullmatch(posixpath.basename(entry.name.decode("utf-8", "backslashreplace")))
        if said and (said[2] or said[3]) in ("images", "x"):
            data = file.read_at(content_start(file, entry.offset), min(entry.stored, _HEAD_BYTES))
            is_packed = entry.method == DEFLATED
            return _OF_BYTES in (
                zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _NPY_HEAD) if is_packed else data[:_NPY_HEAD]
            )
    return False


def _more(path: str, start: int) -> bytes:
    with open(open_plain(path), "rb") as file:
        file.seek(start)
        return file.read(_UNPACKED_BYTES)


def _of_content(head: bytes, names: Callable[[], Iterator[bytes]], path: str) -> Known | None:
    """The kind of a file by its beginning, and by what it lists if it is a tar."""
    if _IDX_MAGIC.match(head):
        return MNIST
    if head.startswith((b"PAR1", b"ARROW1")):
        return HUGGINGFACE
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        if b"batch_label" in head or b"fine_labels" in head or b"label_names" in head:
            return CIFAR
        return DEEPMIND if _PICKLED.search(head) or path.endswith(".npz") else None
    if head[257:262] == b"ustar" or path.endswith((".tar", ".tgz")):
        return _of_names(list(itertools.islice(names(), _MOST_NAMES)), is_tar=True)
    return _of_names([os.fsencode(path)])


class _Bytes:
    """A place in the beginning of a tar; see `converters.archives.packed.Cursor`."""

    def __init__(self, data: bytes) -> None:
        self.name, self.position, self._file = "", 0, io.BytesIO(data)

    def read(self, count: int) -> bytes:
        found = self._file.read(count)
        self.position += len(found)
        return found

    def skip_to(self, position: int) -> None:
        self.position = self._file.seek(position)


def _names_of_tar(data: bytes) -> Iterator[bytes]:
    """Names of the members that the beginning of a tar has headers of."""
    with contextlib.suppress(ArchiveError):
        for member in tar_members(_Bytes(data)):
            yield member.name


def _of_folder(path: str) -> Known | None:
    names: list[str] = []
    for here, folders, files in os.walk(path):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        names += [posixpath.join(os.path.relpath(here, path), name) for name in files if not name.startswith(".")]
        if len(names) > _MOST_OF_A_FOLDER:
            break
    found = _of_names([os.fsencode(name) for name in names])
    tars = sorted(name for name in names if name.endswith((".tar", ".tar.gz", ".tgz")))
    if found is None and tars:
        inside = _of_file(os.path.join(path, tars[0]))
        return WEBDATASET if inside == IMAGES else inside  # images are read of one tar alone
    return found


def _of_names(raw: Sequence[bytes], *, is_tar: bool = False) -> Known | None:
    """The kind of an archive by the names of its members; only tars are shards of a WebDataset."""
    names = [name.decode("utf-8", "backslashreplace") for name in raw]
    bases = {posixpath.basename(name) for name in names}
    folders = {posixpath.basename(posixpath.dirname(name)) for name in names}
    if bases & _CIFAR_NAMES or any(
        name.endswith(("cifar-100-python/train", "cifar-100-binary/train.bin")) for name in names
    ):
        return CIFAR
    if any(_IDX_NAME.fullmatch(base) for base in bases):
        return MNIST
    said = [found for base in bases if (found := _MEDMNIST_NAME.fullmatch(base))]
    if {found[2] or found[3] for found in said if split_of_word(found[1] or found[4])} & {"images", "x"}:
        return MEDMNIST
    if any(_TRANSFORMS.fullmatch(base) for base in bases) or any(files <= bases for files in _OF_CAMERAS):
        return NERF
    if "intrinsics.txt" in bases and {"rgb", "pose"} <= folders:
        return SRN
    if any(base.endswith((".parquet", ".arrow")) for base in bases):
        return HUGGINGFACE
    if bases & {"list_attr_celeba.txt", "list_eval_partition.txt", "list_attr_celeba.csv"}:
        return CELEBA
    return WEBDATASET if is_tar and _is_webdataset(names) else _by_suffix(names)


def _is_webdataset(names: Sequence[str]) -> bool:
    """Whether most images have members of their name beside them that say something of them."""
    beside: dict[str, set[str]] = collections.defaultdict(set)
    for name in names:
        folder, base = posixpath.split(name)
        key, _, suffix = base.partition(".")
        beside[posixpath.join(folder, key)].add(suffix.lower())
    images = [suffixes for suffixes in beside.values() if any(_is_image(f".{suffix}") for suffix in suffixes)]
    return bool(images) and 2 * sum(bool(suffixes & _BESIDE_IMAGES) for suffixes in images) > len(images)


def _is_image(suffix: str) -> bool:
    return suffix.endswith(_BY_SUFFIX["images"][1])


def _by_suffix(names: Sequence[str]) -> Known | None:
    counts: collections.Counter[str] = collections.Counter()
    for name in names:
        suffix = posixpath.splitext(name)[1].lower()
        counts.update(kind for kind, (_, suffixes) in _BY_SUFFIX.items() if suffix in suffixes)
    return _BY_SUFFIX[counts.most_common(1)[0][0]][0] if counts else None
