"""Names of files in a store, and in the work folder beside it while something writes the store."""

import re

WORK_SUFFIX = ".work"
"""Ending of that folder's name."""

LOG_SUFFIX = ".log"
"""Ending of the name of the file beside a store that tells times and speeds."""

LEASE = "lease"
"""In a bucket: who writes."""

RECEIPTS = "receipts"
"""Folder of the proofs that shards are written."""

SKELETON = f"{RECEIPTS}/skeleton.json"
"""Proof of everything that is written before the first shard."""

REPAIR = "repair.json"
"""What a repair found damaged, while it lasts."""

LEARNING = "learning"
"""Folder of the snapshots of learning and tuning."""

CONVERSION = f"{LEARNING}/conversion.json"
"""Which conversion they belong to."""

EXACT_STORE = "exact.functa"
"""Modulations in float32 until all are fitted and their range is known."""

FOLDERS = (RECEIPTS, LEARNING, EXACT_STORE, EXACT_STORE + WORK_SUFFIX)
"""Folders in the work folder."""

_ARRAY = r"(zarr\.json|c(/[0-9]+)*)"
_FLAT, _NESTED = "modulations|mse|metrics|id|split|scale|offset", "labels|statistics|base|rejects"
_STORE = rf"(zarr\.json|({_FLAT})/{_ARRAY}|({_NESTED})/(.+/)?{_ARRAY})"
_RECEIPT = rf"{RECEIPTS}/([0-9]+|skeleton)\.json"
_SNAPSHOT = rf"{LEARNING}/(conversion\.json|[a-z]+\.npz)"
_EXACT = re.escape(EXACT_STORE)
_WORK = rf"({LEASE}|repair\.json|{_SNAPSHOT}|({_EXACT}\.work/)?{_RECEIPT}|{_EXACT}/{_STORE})"
_PART = r"\.[0-9a-f]{16}\.part"
_OF_STORE, _OF_WORK = (re.compile(rf"{names}({_PART})?", re.DOTALL) for names in (_STORE, _WORK))


def is_of_store(key: str) -> bool:
    """Whether a key below a store is one that a writer gives, be it of a file that it has not finished."""
    return _OF_STORE.fullmatch(key) is not None


def is_of_work(key: str) -> bool:
    """Whether a key below a work folder is one that a writer gives; whatever else lies there is a user's."""
    return _OF_WORK.fullmatch(key) is not None


def is_part(key: str) -> bool:
    """Whether a key that a writer gives is that of a file that it had not finished when it was killed."""
    return re.search(rf"{_PART}$", key) is not None and (is_of_store(key) or is_of_work(key))
