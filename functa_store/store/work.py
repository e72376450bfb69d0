"""What lies in the work folder beside a store while something writes it?"""

WORK_SUFFIX = ".work"
"""Ending of that folder's name."""

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
