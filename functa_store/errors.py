"""The error tree of functa-store.

FunctaStoreError
    ├── ConfigError            (ValueError)         an option is out of range or contradicts another
    ├── GridError              (ValueError)         a resolution, region or point is not on the domain
    ├── ArchiveError           (ValueError)         an archive is not what its converter reads
    │   ├── MemberError                             one member cannot be read; it becomes a reject
    │   └── TooManyRejectsError                     more members were rejected than allowed
    ├── StoreFormatError       (ValueError)         a store is damaged, foreign or of a newer format
    │   └── NoFunctasetError                        there is none, or one of a newer format
    ├── StoreMismatchError     (ValueError)         a store belongs to another conversion or archive
    ├── StoreExistsError       (FileExistsError)    the output path holds something, or is being written
    ├── StorageError           (OSError)            a disk or server cannot be reached, read or written
    ├── ExampleIndexError      (IndexError)         an index names no example of the functaset
    ├── MissingLibraryError    (ImportError)        a library that is optional is not installed
    ├── WorkerError            (RuntimeError)       processes of a conversion died, or none of them may work
    └── LearningError          (ArithmeticError)    meta-learning diverged and could not recover

Every message says where, what was found, what was expected and what to do.
"""


class FunctaStoreError(Exception):
    """Base of every error that functa-store raises on purpose."""


class ConfigError(FunctaStoreError, ValueError):
    """An option is out of range or contradicts another one."""


class GridError(FunctaStoreError, ValueError):
    """A resolution, region or point does not lie on the domain."""


class ArchiveError(FunctaStoreError, ValueError):
    """An archive is missing, empty, of another kind, or contradicts itself."""


class MemberError(ArchiveError):
    """One member of an archive cannot be read; the conversion records it as a reject."""


class TooManyRejectsError(ArchiveError):
    """More members of an archive were rejected than the caller allows."""


class StoreFormatError(FunctaStoreError, ValueError):
    """A store is damaged, is no functaset, or has a format version this release cannot read."""


class NoFunctasetError(StoreFormatError):
    """There is no functaset at a path, or one of a format version that this release cannot read."""


class StoreMismatchError(FunctaStoreError, ValueError):
    """A store belongs to another conversion or archive."""


class StoreExistsError(FunctaStoreError, FileExistsError):
    """The output path already holds a finished store or something foreign, or is being written."""


class StorageError(FunctaStoreError, OSError):
    """The disk or server that a store lies on cannot be reached, read or written."""


class ExampleIndexError(FunctaStoreError, IndexError):
    """An index names no example of the functaset."""


class MissingLibraryError(FunctaStoreError, ImportError):
    """A library that this needs and functa-store does without is not installed."""


class WorkerError(FunctaStoreError, RuntimeError):
    """Workers of a conversion died on one shard again and again, or none may work; or one that learns along is gone."""


class LearningError(FunctaStoreError, ArithmeticError):
    """Meta-learning diverged and could not recover from its best state."""
