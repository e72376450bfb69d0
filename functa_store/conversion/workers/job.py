"""The file job.json beside an unfinished store: all that a worker must know, and how it knows that it may write."""

import base64
import dataclasses
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence

import numpy as np

from functa_store.config import differences, from_dict, to_dict
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.sources.recipe import AnyArchive, Recipe
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly_to_both_ends
from functa_store.store.storage.objects import Objects
from functa_store.store.storage.writer_lock import EXACT_STORE, JOB, WORK_SUFFIX

MOST_JOB_BYTES = 2**26

SAMPLES = 8
"""Examples whose raw values are compared with what the converting process read, evenly spread."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canary:
    """One example, and what its fit gave in the converting process.

    Attributes:
        example: Which.
        fit: Modulation, error and metrics, float32 in base64.
    """

    example: int
    fit: str

    @classmethod
    def of(cls, example: int, *fitted: np.ndarray) -> "Canary":
        """The canary of a fitted example."""
        joined = np.concatenate([np.asarray(array, "<f4").ravel() for array in fitted])
        return cls(example=example, fit=base64.b64encode(joined.tobytes()).decode())

    @property
    def values(self) -> np.ndarray:
        """What its fit gave."""
        return np.frombuffer(base64.b64decode(self.fit), "<f4")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What workers of one unfinished store have in common.

    Attributes:
        epoch: Random; another one means that the job was begun anew, and whatever is of an older one comes too late.
        fingerprint: The store's.
        recipe: How a worker opens the archive.
        archive_bytes: Of all files of the archive, if they are files of a disk.
        samples: SHA-256 of the raw values of some examples, by their numbers.
        examples_per_device: Of a fit's batch.
        threads: That programs are split over; see `learn.devices.compute_threads`.
        versions: Of the libraries that decide bytes.
        canary: An example that a worker fits before any other one.
    """

    epoch: str
    fingerprint: str
    recipe: Recipe
    archive_bytes: int | None
    samples: dict[str, str]
    examples_per_device: int
    threads: int
    versions: dict[str, str]
    canary: Canary

    def is_alike(self, other: "Job") -> bool:
        """Whether workers of one may go on with the other."""
        same = dataclasses.replace(other, epoch=self.epoch)
        return to_dict(same) == to_dict(self)

    def check_versions(self, name: str, found: Mapping[str, str]) -> None:
        """Refuse a worker whose libraries are others.

        Args:
            name: Who is refused.
            found: Versions of its libraries.

        Raises:
            StoreMismatchError: If some differ; names them.
        """
        if wrong := list(differences(dict(found), self.versions)):
            raise StoreMismatchError(
                f"{name}: refused as a worker, since libraries differ from those of the conversion: "
                f"{'; '.join(wrong[:5])}. Install these versions there."
            )

    def check_canary(self, name: str, threads: int, *fitted: np.ndarray) -> None:
        """Refuse a worker whose fit of the canary differs.

        Args:
            name: Who is refused.
            threads: That its programs are split over.
            *fitted: What its fit of the canary gave.

        Raises:
            StoreMismatchError: If that is not what the converting process got, bit for bit.
        """
        found = Canary.of(self.canary.example, *fitted)
        if found.fit == self.canary.fit:
            return
        ours, theirs = found.values, self.canary.values
        by = f"by up to {np.abs(ours - theirs).max():.3g}" if ours.shape == theirs.shape else "in number"
        why = (
            "another kind of processor, accelerator or compiler. Use machines of one kind."
            if threads == self.threads
            else f"its programs are split over {threads} threads, those of the conversion over {self.threads}. Begin "
            "in a process that has not used JAX."
        )
        raise StoreMismatchError(
            f"{name}: refused as a worker, since its fit of example {self.canary.example} differs {by} from that of "
            f"the converting process: {why}"
        )


def epoch() -> str:
    """A new epoch."""
    return secrets.token_hex(8)


def write_job(store: Objects, job: Job) -> None:
    """Let workers begin."""
    store.sibling(WORK_SUFFIX).write(JOB, json.dumps(to_dict(job), indent=1).encode())


def read_job(store: Objects) -> tuple[Job, bytes] | None:
    """The job beside a store, and the bytes of its file; None if there is none.

    Raises:
        StoreFormatError: If it is damaged, or of another release.
    """
    work = store.sibling(WORK_SUFFIX)
    try:
        data = work.read(JOB, MOST_JOB_BYTES)
    except FileNotFoundError:
        return None
    try:
        return from_dict(Job, json.loads(data), brief=True), data
    except (ValueError, RecursionError) as error:
        raise StoreFormatError(
            f"{work.name}/{JOB}: damaged, or written by another release: {str(error)[:300]}. Run the command that was "
            "interrupted again."
        ) from error


def job_bytes(store: Objects) -> bytes | None:
    """The bytes of the job's file as it is now; None if there is none."""
    try:
        return store.sibling(WORK_SUFFIX).read(JOB, MOST_JOB_BYTES)
    except FileNotFoundError:
        return None


def places_of_job(store: Objects) -> list[Objects]:
    """The stores that workers may be asked for by the name of one: itself, and that of its exact modulations."""
    return [store, store.sibling(WORK_SUFFIX).below(EXACT_STORE)]


def sampled(source: Source) -> dict[str, str]:
    """SHA-256 of the raw values of some examples, by their numbers."""
    return {str(example): checksum(source, int(example)) for example in some_of(len(source.ids))}


def some_of(count: int) -> Sequence[int]:
    """Numbers of the examples that are compared."""
    return evenly_to_both_ends(count, SAMPLES).tolist()


def checksum(source: Source, example: int) -> str:
    """SHA-256 of the type, shape and raw values of an example."""
    raw = np.ascontiguousarray(source.read(example))
    digest = hashlib.sha256(f"{raw.dtype.str} {raw.shape} ".encode())
    digest.update(raw.data if raw.size else b"")
    return digest.hexdigest()


def bytes_of(archive: AnyArchive) -> int | None:
    """Bytes of all files of an archive, if they are files of this machine; None of folders, patterns and addresses."""
    paths = [archive] if isinstance(archive, str | os.PathLike) else archive
    return sum(map(os.path.getsize, paths)) if all(map(os.path.isfile, paths)) else None
