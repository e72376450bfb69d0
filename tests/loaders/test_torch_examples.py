"""DataLoader takes examples as they are, whole batches at once, with samplers, shards and subsets of its own."""

import numpy as np
import pytest

from functa_store.loaders import Examples

pytest.importorskip("torch")
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    SequentialSampler,
    Subset,
    random_split,
)

from functa_store.loaders import TorchExamples


def examples_of(batches):
    return [index for batch in batches for index in batch["index"].tolist()]


def check(batch, fs):
    """A batch is what `Examples` gives of the same rows, in tensors."""
    index = batch["index"].numpy()
    wanted = Examples(fs).__getitems__(index.tolist())
    assert list(batch) == list(wanted)
    np.testing.assert_array_equal(batch["modulations"].numpy(), wanted["modulations"], strict=True)
    for name, values in wanted["labels"].items():
        np.testing.assert_array_equal(batch["labels"][name].numpy(), values, strict=True)


@pytest.fixture(name="reads")
def _reads(monkeypatch):
    """How many examples are asked for at a time."""
    found, whole = [], Examples._batch
    monkeypatch.setattr(Examples, "_batch", lambda self, some: found.append(len(some)) or whole(self, some))
    return found


def test_a_plain_data_loader_gathers_whole_batches(fs, reads):
    batches = list(DataLoader(TorchExamples(fs), batch_size=40, shuffle=True))
    assert reads == [40, 40, 10]
    assert sorted(examples_of(batches)) == list(range(90))
    for batch in batches:
        check(batch, fs)


def test_subsets_and_random_splits_gather_whole_batches(fs, reads):
    examples = TorchExamples(fs, split="train")
    parts = random_split(examples, [0.75, 0.25], torch.Generator().manual_seed(0))
    found = [list(DataLoader(part, batch_size=45)) for part in parts]
    assert reads == [45, 15]
    assert sorted(examples_of(found[0] + found[1])) == np.flatnonzero(fs.split[:] == "train").tolist()
    check(found[0][0], fs)
    subset = Subset(Subset(examples, [5, 4, 3]), [2, 0])
    (batch,) = DataLoader(subset, batch_size=2)
    assert examples_of([batch]) == [int(examples[number]["index"]) for number in (3, 5)]


def test_concatenated_examples_make_the_same_batches(fs):
    both = ConcatDataset([TorchExamples(fs, split="train"), TorchExamples(fs, split="test")])
    batches = list(DataLoader(both, batch_size=40, shuffle=True))
    assert sorted(examples_of(batches)) == list(range(90))
    for batch in batches:
        check(batch, fs)


def test_a_collate_function_of_ones_own_sees_a_list_of_examples(fs):
    def collate(examples):
        assert len(examples) == len(list(examples)) == 4
        assert set(examples[0]) == {"modulations", "index", "labels"}
        assert len(examples[1:3]) == 2
        with pytest.raises(IndexError):
            examples[4]
        return [(int(one["index"]), float(one["labels"]["age"]), one["modulations"]) for one in examples]

    (batch,) = DataLoader(TorchExamples(fs, index=[7, 5, 3, 1]), batch_size=4, collate_fn=collate)
    assert [index for index, _, _ in batch] == [7, 5, 3, 1]
    assert [age for _, age, _ in batch] == [fs.labels["age"][index] for index in (7, 5, 3, 1)]
    assert torch.equal(batch[3][2], TorchExamples(fs)[1]["modulations"])


@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_of_a_distributed_sampler_share_the_examples_of_an_epoch(fs, shuffle):
    examples, seen = TorchExamples(fs), []
    for epoch in range(2):
        ranks = []
        for rank in range(3):
            sampler = DistributedSampler(examples, num_replicas=3, rank=rank, shuffle=shuffle)
            sampler.set_epoch(epoch)
            ranks.append(examples_of(DataLoader(examples, batch_size=8, sampler=sampler)))
        assert sorted(ranks[0] + ranks[1] + ranks[2]) == list(range(90))
        assert [len(rank) for rank in ranks] == [30] * 3
        seen.append(ranks)
    assert (seen[0] != seen[1]) == shuffle


class EverySecond:
    """Batches of one of two processes, as accelerate's `prepare` takes them of a batch sampler."""

    def __init__(self, sampler, process):
        self.sampler, self.process = sampler, process

    def __iter__(self):
        return (batch for number, batch in enumerate(self.sampler) if number % 2 == self.process)

    def __len__(self):
        return len(self.sampler) // 2


def test_processes_of_accelerate_share_the_batches_of_a_sampler(fs, reads):
    """It makes a DataLoader of the same dataset and collate function, with a batch sampler of its own."""
    plain = DataLoader(TorchExamples(fs), batch_size=15)
    assert isinstance(plain.batch_sampler, BatchSampler)
    assert isinstance(plain.sampler, SequentialSampler)
    found = []
    for process in range(2):
        sampler = EverySecond(plain.batch_sampler, process)
        found.append(list(DataLoader(plain.dataset, batch_sampler=sampler, collate_fn=plain.collate_fn)))
    assert examples_of(found[0]) == [*range(15), *range(30, 45), *range(60, 75)]
    assert examples_of(found[1]) == [*range(15, 30), *range(45, 60), *range(75, 90)]
    assert reads == [15] * 6


@pytest.mark.parametrize(
    "wrap", [lambda examples: examples, lambda examples: ConcatDataset([examples])], ids=["alone", "concatenated"]
)
def test_names_of_examples_are_a_list_in_their_batch(fs, wrap):
    (batch,) = DataLoader(wrap(TorchExamples(fs, index=[7, 5], ids=True)), batch_size=2)
    assert batch["id"] == ["7.png", "5.png"]
    assert TorchExamples(fs, ids=True)[3]["id"] == "3.png"
