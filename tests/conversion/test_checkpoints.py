"""Snapshots on disk."""

import math

import jax
import numpy as np
import pytest

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.conversion.agreement import clear
from functa_store.conversion.run_files import Checkpoints
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.learn.meta_learn import Snapshot
from functa_store.learn.outer_loop import LearnState, init_learnable, make_optimizer
from functa_store.store.storage.local import LocalObjects

CONFIG = ConvertConfig(network=NetworkConfig(width=4, depth=3, modulation_dim=2))
CONVERSION = {"config": {"seed": 0}}


def snapshot(step):
    _, learnable = init_learnable(CONFIG, 2, 1)
    state = LearnState(learnable, make_optimizer(CONFIG.outer).init(learnable))
    return Snapshot(step, 0, 1.5, state, learnable, -math.inf, 0, 0)


def test_the_last_snapshot_comes_back_exactly(tmp_path):
    checkpoints = Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    assert checkpoints.load(snapshot(0)) is None
    checkpoints.save(snapshot(7))
    checkpoints.save(snapshot(9))
    kept = Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION).load(snapshot(0))
    assert kept.step == 9
    assert type(kept.step) is int
    jax.tree.map(np.testing.assert_array_equal, kept, snapshot(9))


def test_offers_are_kept_only_once_in_a_while(tmp_path):
    patient = Checkpoints(LocalObjects(tmp_path / "patient"), "learning", CONVERSION, interval=1000.0)
    patient.offer(snapshot(3))
    assert patient.load(snapshot(0)) is None
    eager = Checkpoints(LocalObjects(tmp_path / "eager"), "learning", CONVERSION, interval=0.0)
    eager.offer(snapshot(3))
    assert eager.load(snapshot(0)).step == 3


def test_snapshots_of_another_conversion_are_refused(tmp_path):
    Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    with pytest.raises(StoreMismatchError, match=r"config.seed is 0, expected 1"):
        Checkpoints(LocalObjects(tmp_path), "learning", {"config": {"seed": 1}})


def test_a_finished_conversion_leaves_nothing(tmp_path):
    checkpoints = Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    checkpoints.save(snapshot(1))
    clear(LocalObjects(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", [b"", b"no archive at all", None])
def test_a_damaged_snapshot_is_named_with_what_to_do(tmp_path, damage):
    checkpoints = Checkpoints(LocalObjects(tmp_path), "tuning", CONVERSION)
    checkpoints.save(snapshot(7))
    file = tmp_path / "learning" / "tuning.npz"
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(StoreFormatError, match=r"tuning\.npz: .* delete it to repeat tuning"):
        checkpoints.load(snapshot(0))


def test_a_snapshot_of_another_shape_is_refused(tmp_path):
    checkpoints = Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    checkpoints.save(snapshot(7))
    other = snapshot(0)
    wider = other._replace(best=other.best._replace(rates=np.zeros((3, 5), np.float32)))
    with pytest.raises(StoreFormatError, match=r"array of shape \(3, 2\), expected \(3, 5\)"):
        checkpoints.load(wider)


def test_a_damaged_description_is_named(tmp_path):
    Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    (tmp_path / "learning/conversion.json").write_bytes(b"{")
    with pytest.raises(StoreFormatError, match=r"conversion\.json: no valid JSON"):
        Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)


@pytest.mark.slow
def test_a_snapshot_of_which_any_byte_flipped_is_refused_or_the_same(tmp_path):
    """Its headers flipped raised errors of a dozen kinds, of zipfile's, NumPy's and Python's own parser."""
    state = (np.arange(3.0), 7, -math.inf, np.ones((2, 2), np.float32))
    checkpoints = Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    checkpoints.save(state)
    file = tmp_path / "learning/learning.npz"
    whole, refused = file.read_bytes(), 0
    for position in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            file.write_bytes(whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :])
            try:
                kept = checkpoints.load(state)
            except (StoreFormatError, StoreMismatchError):
                refused += 1
                continue
            jax.tree.map(np.testing.assert_array_equal, kept, state)
    assert refused > len(whole)


@pytest.mark.parametrize(
    "described", [b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}", b"null", b"[]", b"\xff\xfe", b'{"a": NaN}']
)
def test_a_description_that_is_no_conversions_is_refused(tmp_path, described):
    Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    (tmp_path / "learning/conversion.json").write_bytes(described)
    with pytest.raises((StoreFormatError, StoreMismatchError)):
        Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)


def test_clearing_up_removes_nothing_of_a_users(tmp_path):
    checkpoints = Checkpoints(LocalObjects(tmp_path), "learning", CONVERSION)
    checkpoints.save(snapshot(1))
    mine = ["notes.txt", "learning/notes.txt", "receipts/0.json.bak", "exact.functa/base/notes.txt", "mine/zarr.json"]
    ours = ["receipts/000000.json", "receipts/skeleton.json.0123456789abcdef.part", "exact.functa/zarr.json"]
    ours += ["exact.functa/modulations/c/0/0", "exact.functa.work/receipts/000000.json", "repair.json", "lease"]
    for name in (*mine, *ours):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    clear(LocalObjects(tmp_path))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted([*mine, "lease"])
