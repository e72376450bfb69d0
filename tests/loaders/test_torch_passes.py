"""Each pass over batches of PyTorch is a new epoch, in one process and in workers, and goes on from a state."""

import json
import os
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

import functa_store
from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.loaders import BlockShuffle, DecodePoints, Loader
from tests.loaders.conftest import write
from tests.store.conftest import make_augmented, write_shards

pytest.importorskip("torch")
from torch.utils.data import DataLoader

from functa_store.loaders import TorchBatches
from functa_store.loaders.torch_passes import Passes

SHUFFLES = ["full", BlockShuffle(size=5, mixed=4)]


def indices(batches):
    return [batch["index"].tolist() for batch in batches]


def make(fs, **options):
    return Loader(fs, **{"batch_size": 16, "split": "train", "seed": 3, "shuffle": "full"} | options)


def epochs(loader, count):
    return [indices(loader) for _ in range(count)]


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: DataLoader(b, batch_size=None)], ids=["alone", "DataLoader"])
@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
def test_each_pass_is_the_next_epoch_of_the_loader(fs, wrap, shuffle):
    batches = wrap(TorchBatches(make(fs, shuffle=shuffle)))
    found = epochs(batches, 4)
    assert found == epochs(make(fs, shuffle=shuffle), 4)
    assert len({str(epoch) for epoch in found}) == 4
    assert len(batches) == 4


def test_a_pass_of_several_epochs_is_followed_by_as_many_others(fs):
    batches = TorchBatches(make(fs, num_epochs=2))
    assert len(batches) == 8
    assert epochs(batches, 3) == epochs(make(fs, num_epochs=2), 3)


def test_a_pass_that_was_broken_off_is_followed_by_a_whole_epoch(fs):
    """As Lightning's sanity check breaks off; a loader would go on in the middle."""
    batches = DataLoader(TorchBatches(make(fs)), batch_size=None)
    next(iter(batches))
    assert indices(batches) == epochs(make(fs), 2)[1]


def test_an_epoch_draws_its_own_augmentations_and_points(fs, tmp_path):
    augmented = functa_store.open(write_shards(tmp_path / "augmented.functa", make_augmented()))
    options = {"augmentations": "one", "batch_size": 4, "shuffle": "none"}
    found = epochs(TorchBatches(make(augmented, **options)), 6)
    assert found == epochs(make(augmented, **options), 6)
    assert len({str(epoch) for epoch in found}) > 1
    batches = TorchBatches(make(fs, shuffle="none", decode=DecodePoints(num_points=2)))
    first, second = (next(iter(batches))["coords"] for _ in range(2))
    assert (first != second).all()


def test_the_next_pass_begins_with_the_epoch_that_is_set(fs):
    batches, wanted = TorchBatches(make(fs)), epochs(make(fs), 5)
    for epoch in (4, 1, 1):
        batches.set_epoch(epoch)
        assert indices(batches) == wanted[epoch]
    assert indices(batches) == wanted[2]
    with pytest.raises(ConfigError, match="epoch must be a whole number of at least 0, got -1"):
        batches.set_epoch(-1)


@pytest.mark.parametrize("stop", range(9))
@pytest.mark.parametrize("other", [TorchBatches, Loader.to_torch], ids=["TorchBatches", "to_torch"])
@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
def test_what_comes_after_a_state_is_what_would_have_come(fs, other, stop, shuffle):
    """Whichever of the two takes it; an epoch has four batches. Naming the epoch of the state changes nothing."""
    wanted = [batch for epoch in epochs(make(fs, shuffle=shuffle), 4) for batch in epoch]
    first = TorchBatches(make(fs, shuffle=shuffle))
    for _ in range(stop // 4):
        list(first)
    left = iter(first)
    for _ in range(stop % 4):
        next(left)
    saved = json.loads(json.dumps(first.state_dict()))
    second = other(make(fs, shuffle=shuffle))
    second.load_state_dict(saved)
    assert second.state_dict() == saved
    second.set_epoch(saved["epoch"])
    rest = [batch for _ in range(3 - stop // 4) for batch in indices(second)]
    assert rest == wanted[stop:12]
    third = TorchBatches(make(fs, shuffle=shuffle))
    third.load_state_dict(saved)
    assert indices(third) + indices(third) == wanted[stop : (stop // 4 + 2) * 4]


def test_batches_begin_at_the_place_of_their_loader(fs):
    loader = make(fs)
    wanted = epochs(make(fs), 2)
    next(iter(loader))
    assert epochs(TorchBatches(loader), 2) == [wanted[0][1:], wanted[1]]
    assert loader.place == (0, 1)


def test_a_view_goes_on_from_the_state_of_the_loader_and_from_an_epoch(fs):
    view = make(fs).to_torch()
    wanted = epochs(make(fs), 3)
    view.set_epoch(2)
    assert indices(view) == wanted[2]
    loader = make(fs)
    next(iter(loader))
    view.load_state_dict(loader.state())
    assert view.state_dict() == loader.state()
    assert indices(view) == wanted[0][1:]


def test_an_epoch_that_is_set_ends_the_iteration_before(fs):
    loader = make(fs)
    older = iter(loader)
    next(older)
    loader.set_epoch(0)  # it is there already
    next(older)
    loader.set_epoch(1)
    with pytest.raises(ConfigError, match="has gone on elsewhere"):
        next(older)
    assert loader.place == (1, 0)


def test_states_of_others_are_refused(fs, tmp_path):
    batches = TorchBatches(make(fs))
    with pytest.raises(ConfigError, match="seed is 4, expected 3"):
        batches.load_state_dict(TorchBatches(make(fs, seed=4)).state_dict())
    with pytest.raises(StoreMismatchError, match=r"functaset\.fingerprint"):
        batches.load_state_dict(TorchBatches(make(write(tmp_path / "other.functa", seed=1))).state_dict())
    with pytest.raises(ConfigError, match="never end; give it a number of epochs"):
        TorchBatches(make(fs, num_epochs=None))


def test_a_state_is_not_loaded_in_a_worker(fs, monkeypatch):
    """As torchdata's StatefulDataLoader does; workers that had each their own would load different epochs."""
    batches = TorchBatches(make(fs))
    state = batches.state_dict()
    worker = types.SimpleNamespace(id=0, num_workers=2, seed=0)
    monkeypatch.setattr("torch.utils.data.get_worker_info", lambda: worker)
    with pytest.raises(ConfigError, match="num_workers=0"):
        batches.load_state_dict(state)


def test_a_copy_goes_on_by_itself(fs):
    batches, wanted = TorchBatches(make(fs)), epochs(make(fs), 2)
    list(batches)
    copied = pickle.loads(pickle.dumps(batches))
    assert indices(copied) == indices(batches) == wanted[1]


def worker(number, num_workers, seed):
    return types.SimpleNamespace(id=number, num_workers=num_workers, seed=seed + number)


@pytest.fixture(name="in_workers")
def _in_workers(monkeypatch):
    """This process is the parent of the workers that are played in it."""
    monkeypatch.setattr("multiprocessing.parent_process", lambda: types.SimpleNamespace(pid=os.getpid()))


@pytest.mark.usefixtures("in_workers")
def test_workers_of_a_pass_agree_on_its_epoch_whichever_comes_first():
    passes = Passes((3, 5), 2)
    for seed, order, place in ((7, (0, 1, 2), (3, 5)), (7, (2, 0, 1), (4, 0)), (9, (1, 2, 0), (6, 0))):
        assert [passes.begin_in_worker(worker(number, 3, seed)) for number in order] == [place] * 3
    assert (passes.last_of_workers(), passes.next_place()) == ((6, 0), (8, 0))
    assert passes.begin() == (8, 0)
    assert [passes.begin_in_worker(worker(number, 2, 1)) for number in range(2)] == [(10, 0)] * 2


@pytest.mark.usefixtures("in_workers")
@pytest.mark.parametrize("first", [0, 1])
def test_workers_that_do_not_agree_are_refused_until_an_epoch_is_set(first):
    """The second one was ended before it began the first pass."""
    passes = Passes((0, 0), 1)
    passes.begin_in_worker(worker(0, 2, seed=1))
    with pytest.raises(ConfigError, match=r"would load different epochs.*call set_epoch"):  # noqa: PT012
        passes.begin_in_worker(worker(first, 2, seed=2))
        passes.begin_in_worker(worker(1 - first, 2, seed=2))
    passes.set((1, 0))
    assert [passes.begin_in_worker(worker(number, 2, 2)) for number in range(2)] == [(1, 0)] * 2
    with pytest.raises(ConfigError, match="had another number of workers"):  # noqa: PT012
        passes.begin_in_worker(worker(0, 3, 5))
        passes.begin_in_worker(worker(2, 3, 5))


def test_workers_of_another_process_and_too_many_of_them_are_refused(monkeypatch):
    passes = Passes((0, 0), 1)
    with pytest.raises(ConfigError, match="make the dataset in each process, or call its set_epoch there"):
        passes.begin_in_worker(worker(0, 1, 0))
    monkeypatch.setattr("multiprocessing.parent_process", lambda: types.SimpleNamespace(pid=os.getpid()))
    with pytest.raises(ConfigError, match="600 workers, expected at most 512"):
        passes.begin_in_worker(worker(0, 600, 0))
    passes.close()
    with pytest.raises(ConfigError, match="make a new DataLoader"):
        passes.begin_in_worker(worker(0, 1, 0))


@pytest.mark.usefixtures("in_workers")
def test_a_process_that_was_given_the_passes_of_another_counts_its_own(monkeypatch):
    """As ranks that were spawned are given the same ones."""
    passes = Passes((0, 0), 1)
    shared = passes._table
    passes.begin_in_worker(worker(0, 1, 0))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert passes.begin() == (1, 0)
    assert shared[1, 1] == 1
    assert passes._table.data_ptr() != shared.data_ptr()


@pytest.mark.usefixtures("in_workers")
def test_workers_share_an_epoch_and_the_loop_says_how_many_batches_it_had(fs, monkeypatch):
    batches, wanted = TorchBatches(make(fs)), epochs(make(fs), 3)
    shares = []
    for number in (1, 0):
        monkeypatch.setattr("torch.utils.data.get_worker_info", lambda number=number: worker(number, 2, 4))
        shares.append(indices(batches))
    assert shares == [wanted[0][1::2], wanted[0][0::2]]
    monkeypatch.undo()
    with pytest.raises(ConfigError, match=r"give state_dict\(num_batches\) those of this pass"):
        batches.state_dict()
    assert [batches.state_dict(count)["batch"] for count in (0, 3, 4)] == [0, 3, 0]
    assert batches.state_dict(4)["epoch"] == 1
    batches.load_state_dict(batches.state_dict(3))
    assert epochs(batches, 2) == [wanted[0][3:], wanted[1]]


def test_a_state_of_another_order_ends_the_passes_of_workers_that_have_the_old_one(fs):
    batches = TorchBatches(make(fs, shuffle="auto"))
    old = batches._passes
    batches.load_state_dict(make(fs, shuffle="full").state())
    assert batches._passes is old
    batches.load_state_dict(make(fs, shuffle=SHUFFLES[1]).state())
    assert indices(batches) == indices(make(fs, shuffle=SHUFFLES[1]))
    with pytest.raises(ConfigError, match="make a new DataLoader"):
        old.begin_in_worker(worker(0, 1, 0))


@pytest.fixture(name="ranks")
def _ranks(monkeypatch):
    """Called, this process is one of several of torch.distributed."""

    def be(rank, count):
        monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
        monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
        monkeypatch.setattr("torch.distributed.get_world_size", lambda: count)

    return be


def test_a_rank_that_would_load_what_another_one_loads_is_refused(fs, ranks):
    alone, of_two = TorchBatches(make(fs)), TorchBatches(make(fs, rank=1, num_ranks=2))
    ranks(0, 2)
    assert len(indices(alone)) == 4
    ranks(1, 2)
    begun = iter(alone)  # accelerate begins passes on all ranks, and asks the first one alone for batches
    with pytest.raises(ConfigError, match="rank 1 of 2 would load the batches that rank 0 loads; make the Loader with"):
        next(begun)
    assert indices(of_two) == indices(make(fs, rank=1, num_ranks=2))
    assert pickle.loads(pickle.dumps(alone))._ranks == (1, 2)


WORKERS = """
import sys
from torch.utils.data import DataLoader
import functa_store
from functa_store.loaders import Loader, TorchBatches

def indices(batches):
    return [batch["index"].tolist() for batch in batches]

def main(path, how):
    def make():
        return Loader(functa_store.open(path), 7, seed=3)

    loader = make()
    wanted = [indices(loader) for _ in range(5)]
    for persistent in (False, True):
        batches = TorchBatches(make())
        options = {"num_workers": 2, "multiprocessing_context": how, "persistent_workers": persistent}
        torch_loader = DataLoader(batches, batch_size=None, **options)
        assert indices(torch_loader) == wanted[0]
        assert indices(torch_loader) == wanted[1]
        begun = iter(torch_loader)
        assert [next(begun)["index"].tolist() for _ in range(3)] == wanted[2][:3]
        state = batches.state_dict(3)
        del begun
        assert indices(torch_loader) == wanted[3]
        batches.load_state_dict(state)
        assert indices(torch_loader) == wanted[2][3:]
        assert indices(torch_loader) == wanted[3]
        batches.set_epoch(1)
        assert indices(torch_loader) == wanted[1]
        again = TorchBatches(make())
        again.load_state_dict(state)
        assert indices(DataLoader(again, batch_size=None, **options | {"num_workers": 3})) == wanted[2][3:]
    print("as the loader")

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_passes_of_workers_are_new_epochs_and_go_on_from_states(fs, tmp_path, how):
    """In a process of its own, which has not started JAX."""
    program = tmp_path / "passes.py"
    program.write_text(WORKERS)
    root = functa_store.__path__[0].rpartition("/")[0]
    words = [sys.executable, str(program), fs.store.path, how]
    found = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": root})
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "as the loader"


def test_tensors_of_batches_are_those_of_the_loader(fs):
    for ours, theirs in zip(make(fs), TorchBatches(make(fs)), strict=True):
        np.testing.assert_array_equal(ours["modulations"], theirs["modulations"].numpy(), strict=True)
        np.testing.assert_array_equal(ours["labels"]["age"], theirs["labels"]["age"].numpy(), strict=True)


def test_a_data_loader_hands_ready_batches_on_or_refuses_to_stack_them(fs):
    batches = TorchBatches(Loader(fs, 4))
    first = next(iter(DataLoader(batches)))  # batch_size=1, as nobody wants it
    assert first["modulations"].shape == (4, *fs.config.network.modulation_shape)
    with pytest.raises(ConfigError, match="would put 2 ready batches into one; give it batch_size=None"):
        next(iter(DataLoader(batches, batch_size=2)))
