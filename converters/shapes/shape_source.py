"""An archive of shapes as a source, surveyed once beforehand."""

import collections
import dataclasses
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from converters.archives.archive import Archive
from converters.archives.memory_share import room
from converters.archives.streamed import StreamedTar
from converters.shapes.layouts import (
    KINDS,
    SHAPE_SUFFIXES,
    Kind,
    Model,
)
from converters.shapes.shape_files import ShapeOptions, read_shape
from converters.survey import (
    NO_MEMORY,
    Outcome,
    in_threads,
    provenance_of,
    published_split,
    survey,
)
from functa_store.domains.cells import CellGrid
from functa_store.errors import MemberError
from functa_store.progress import Note, Report
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import SurveyOptions
from functa_store.sources.source import Label, Source, check_source
from functa_store.sources.splits import hold_out_every, hold_out_rule

OCCUPANCY = FeatureSpec(channels=("occupancy",), metrics=("iou", "accuracy"))
"""What the features of shapes mean: 1 inside, 0 outside."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeCatalogue:
    """What an archive says about its models before any is read; lists follow `models`.

    Attributes:
        models: In the order of the examples.
        label: Class of each model, or None.
        published: Split of each model, or None if there are none.
        facts: More for the provenance.
    """

    models: Sequence[Model]
    label: Label | None
    published: Sequence[str] | None
    facts: Mapping[str, Any]


class _Seen(NamedTuple):
    """What the survey keeps of a shape.

    Attributes:
        bits: Its cells, packed, or None if they are read again.
        thin: See `converters.shapes.shape_files.Shape`.
        halved: Whether pooling left less than half of its volume.
    """

    bits: bytes | None
    thin: bool
    halved: bool


class ShapeSource(Source):
    """The shapes of an archive as occupancies along (z, y, x), y up; see `functa_store.sources.source.Source`.

    Every shape is read once here. Those from voxels in an archive with random access are read again whenever they
    are asked for; what was made from a mesh, which takes long, or came out of a compressed tar, which cannot be read
    at random, stays in memory, a bit per cell and compressed: 0.3 KB per model at 32 cells per axis and 0.9 KB at
    64 on average for 2,592 parts of toy bricks, and never more than resolution**3 / 8 bytes and a little.

    Args:
        archive: Where the shapes are.
        catalogue: What is known about them.
        options: What to make of each shape.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more shapes cannot be read than `limits` allow.
        ArchiveError: If nothing is left to learn from.
    """

    def __init__(
        self,
        archive: Archive | StreamedTar,
        catalogue: ShapeCatalogue,
        options: ShapeOptions,
        limits: SurveyOptions,
        report: Report,
    ) -> None:
        self._archive, self._options = archive, options
        taken = catalogue.models[: limits.limit]
        chosen = [choose_file(model, options) for model in taken]
        num_read = len(chosen[: limits.check_first])
        seen = survey(
            archive.name,
            "shapes",
            [member for _, member in chosen],
            self._outcomes(chosen[:num_read]),
            num_read,
            limits,
            report,
            [r for r in archive.rejects if r.member.lower().endswith(SHAPE_SUFFIXES)],
        )
        keep, self.rejects = seen.kept, seen.rejects
        self._kept = {chosen[k][1]: found.bits for k, found in seen.found.items() if found.bits is not None}
        self._thin = sum(found.thin for found in seen.found.values())
        if note := _about_pooling(seen.found.values(), options):
            report(Note(message=f"{archive.name}: {note}"))
        self._chosen = [chosen[int(k)] for k in keep]
        self.domain = CellGrid(axes=("z", "y", "x"), resolution=(options.resolution,) * 3)
        self.features = OCCUPANCY
        self.ids = [taken[int(k)].id for k in keep]
        self.split = _split(archive.name, catalogue, keep)
        self.labels = {}
        if (label := catalogue.label) is not None:
            self.labels = {"class": dataclasses.replace(label, values=label.values[keep])}
        self.provenance = self._provenance(catalogue, limits)
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "z y x 1"]:
        """Occupancy of one example, 0 or 1. Safe to call from threads.

        Raises:
            MemberError: If the shape cannot be read.
        """
        kind, member = self._chosen[index]
        if (bits := self._kept.get(member)) is not None:
            return unpacked(bits, self._options.resolution)[..., None].astype(np.uint8)
        try:
            with room():
                occupied = read_shape(self._archive.read(member), member, kind, self._options).occupied
        except MemberError as error:
            raise MemberError(f"{self._archive.name}/{member}: {error}") from error
        return occupied[..., None].astype(np.uint8)

    def check_unchanged(self) -> None:
        """See `FileSource.check_unchanged`."""
        self._archive.check_unchanged()

    def _outcomes(self, chosen: Sequence[tuple[Kind, str]]) -> Iterator[Outcome[_Seen]]:
        if not isinstance(self._archive, StreamedTar):
            archive = self._archive
            return in_threads(lambda k: self._look(archive.read(chosen[k][1]), *chosen[k]), len(chosen))
        return self._streamed(self._archive, chosen)

    def _streamed(self, archive: StreamedTar, chosen: Sequence[tuple[Kind, str]]) -> Iterator[Outcome[_Seen]]:
        """In the order of the file, which a dry run leaves as soon as it has met the members that it reads."""
        position = {member: k for k, (_, member) in enumerate(chosen)}
        for member, content in archive.stream():
            if (k := position.pop(member, None)) is None:
                continue
            try:
                yield Outcome(position=k, found=self._look(content, *chosen[k]))
            except MemberError as error:
                yield Outcome(position=k, problem=str(error), examples=0)
            except MemoryError:
                yield Outcome(position=k, problem=NO_MEMORY, examples=0)
            if not position:
                return

    def _look(self, content: bytes, kind: Kind, member: str) -> _Seen:
        """What is learned of a shape; its cells are packed if they are to be kept."""
        shape = read_shape(content, member, kind, self._options)
        kept = kind == "mesh" or isinstance(self._archive, StreamedTar)
        return _Seen(packed(shape.occupied) if kept else None, shape.thin, shape.kept < 0.5)

    def _provenance(self, catalogue: ShapeCatalogue, limits: SurveyOptions) -> dict[str, Any]:
        kinds = collections.Counter(kind for kind, _ in self._chosen)
        read_as = dataclasses.asdict(self._options)
        decided = {"split": hold_out_rule(), "files": {kind: kinds[kind] for kind in KINDS if kinds[kind]}}
        return {
            **provenance_of(self._archive, limits, read_as, decided, self.rejects),
            **({"thin": self._thin} if self._thin else {}),  # which an option alone does not say
            **catalogue.facts,
        }


def choose_file(model: Model, options: ShapeOptions) -> tuple[Kind, str]:
    """The file that a model is read from; see `ShapeOptions.prefer`."""
    order = KINDS if options.prefer == "auto" else (options.prefer, *KINDS)
    return next((kind, model.files[kind]) for kind in order if kind in model.files)


def _about_pooling(found: Collection[_Seen], options: ShapeOptions) -> str:
    """How many shapes are too thin for their cells, in words; "" if none is."""
    notes, cells = [], f"at {options.resolution} cells per axis"
    if thin := sum(seen.thin for seen in found):
        notes.append(f"{thin} of {len(found)} shapes have no half full cell {cells}, so that any occupied one counts")
    if halved := sum(seen.halved for seen in found):
        notes.append(f"{halved} of {len(found)} shapes keep less than half of their volume {cells}")
    return "; ".join([*notes, "pool='any' keeps what is thin in all of them"]) if notes else ""


def packed(occupied: Bool[np.ndarray, "z y x"]) -> bytes:
    """A bit per cell, compressed."""
    return zlib.compress(np.packbits(occupied).tobytes(), 6)


def unpacked(bits: bytes, resolution: int) -> Bool[np.ndarray, "z y x"]:
    """The cells that `packed` packed."""
    cells = np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8), count=resolution**3)
    return cells.reshape((resolution,) * 3).astype(bool)


def _split(name: str, catalogue: ShapeCatalogue, keep: np.ndarray) -> np.ndarray:
    if catalogue.published is None:
        return hold_out_every(len(keep))
    return published_split(name, "model", np.array(catalogue.published, "U10"), keep)
