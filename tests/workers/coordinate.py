"""Runs one conversion by workers, with a base that was never learned: the coordinator of tests that kill.

python coordinate.py ARCHIVE OUT DTYPE processes:N | dask:ADDRESS | work | none
"""

import dataclasses
import sys
from pathlib import Path

import pytest

import functa_store
from tests.workers.jobs import CONFIG, never_learned, open_pictures


def main(archive: str, out: str, dtype: str, how: str) -> None:
    kind, _, what = how.partition(":")
    if kind == "work":
        functa_store.work(out)
        return
    engines = {
        "processes": lambda: functa_store.Processes(int(what)),
        "dask": lambda: functa_store.Dask(what),
        "none": lambda: None,
    }
    with pytest.MonkeyPatch.context() as patch:
        never_learned(patch)
        config = dataclasses.replace(CONFIG, modulation_dtype=dtype)
        functa_store.convert(open_pictures(Path(archive)), out, config, engine=engines[kind]())


if __name__ == "__main__":
    main(*sys.argv[1:])
