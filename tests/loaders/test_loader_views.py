"""Other libraries see the same examples and batches."""

import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import functa_store
from functa_store import loaders
from functa_store.errors import ConfigError, ExampleIndexError
from functa_store.loaders import (
    Batches,
    BlockShuffle,
    DecodeGrid,
    DecodePoints,
    Examples,
    Loader,
)


def test_every_public_name_is_found():
    for name in loaders._FOUND_IN:
        assert getattr(loaders, name) is not None
    assert set(loaders._FOUND_IN) <= set(dir(loaders))
    with pytest.raises(AttributeError, match="no attribute 'Loaders'"):
        loaders.Loaders  # noqa: B018


def test_an_example_is_its_part_of_a_batch(fs, unchecked):
    examples = Examples(fs, split="test", decode=DecodeGrid(resolution=2))
    batch = examples.__getitems__([4, -1])
    assert len(examples) == 30
    for place, number in enumerate([4, len(examples) - 1]):
        example = examples[number]
        assert fs.split[example["index"]] == "test"
        for name in ("modulations", "index", "values"):
            np.testing.assert_array_equal(example[name], batch[name][place])
        assert example["labels"] == {name: values[place] for name, values in batch["labels"].items()}
    for index in (30, -31):
        for wrong in (lambda index=index: examples[index], lambda index=index: examples.__getitems__([0, index])):
            with pytest.raises(
                ExampleIndexError, match=rf"small\.functa: example {index} does not exist; there are 30"
            ):
                wrong()
    for several in ([0, 1], slice(2)):
        with pytest.raises(ExampleIndexError, match="expected the number of one; a DataLoader gathers several"):
            examples[several]


@pytest.mark.parametrize("shuffle", ["full", "none", BlockShuffle(size=4, mixed=3)], ids=str)
def test_batches_by_number_are_those_of_the_loader(fs, shuffle):
    batches = pickle.loads(pickle.dumps(Batches(Loader(fs, 7, shuffle=shuffle, num_epochs=None))))
    delivered = [batch["index"].tolist() for batch in Loader(fs, 7, shuffle=shuffle, num_epochs=2)]
    backwards = [batches[number]["index"].tolist() for number in reversed(range(26))]
    assert backwards[::-1] == delivered
    assert len(batches) == sys.maxsize
    with pytest.raises(ExampleIndexError, match=r"small\.functa.*batch -1 does not exist; they have no end"):
        batches[-1]


def test_batches_of_epochs_that_are_all_the_same_have_an_end(fs):
    batches = Batches(Loader(fs, 7, shuffle="none", num_epochs=2))
    assert [batches[number]["index"][0] for number in (0, 1, 13, -1)] == [0, 7, 0, 84]
    assert len(batches) == 26
    with pytest.raises(ExampleIndexError, match=r"small\.functa.*batch 26 does not exist; there are 26"):
        batches[26]


def test_random_points_are_for_batches_and_refused_for_examples(fs, unchecked):
    with pytest.raises(ConfigError, match="drawn for a whole batch"):
        Examples(fs, decode=DecodePoints(num_points=3))


@pytest.mark.parametrize("options", [{"shuffle": "full"}, {"shuffle": "none", "decode": DecodePoints(num_points=2)}])
def test_batches_that_would_come_again_are_refused(fs, options):
    with pytest.raises(ConfigError, match=r"num_epochs=None, and take .* dataset\[: 3 \* loader.batches_per_epoch\]"):
        Batches(Loader(fs, 8, num_epochs=3, **options))


def test_grain_takes_examples_and_batches(fs):
    grain = pytest.importorskip("grain")
    examples, loader = Examples(fs), Loader(fs, 10, num_epochs=None)
    assert isinstance(examples, grain.sources.RandomAccessDataSource)
    together = list(grain.MapDataset.source(examples).shuffle(seed=1).batch(9))
    assert sorted(np.concatenate([batch["index"] for batch in together]).tolist()) == list(range(90))
    np.testing.assert_array_equal(together[0]["labels"]["age"], fs.labels["age"][together[0]["index"]])
    endless = grain.MapDataset.source(Batches(loader))
    ready = list(endless[: 2 * loader.batches_per_epoch].to_iter_dataset())
    assert [batch["index"].tolist() for batch in ready] == [
        batch["index"].tolist() for batch in Loader(fs, 10, num_epochs=2)
    ]
    with pytest.raises(ValueError, match="already infinite"):
        endless.repeat(2)


def test_a_dataset_of_hugging_face_holds_the_table_with_names_of_classes(fs):
    pytest.importorskip("datasets")
    dataset = loaders.to_huggingface(fs, split="train")
    assert len(dataset) == 60
    assert dataset.features["animal"].names == ["cat", "dog"]
    chosen = np.flatnonzero(fs.split[:] == "train")
    np.testing.assert_array_equal(dataset["modulation"], fs.modulations[chosen])
    np.testing.assert_array_equal(dataset["age"], fs.labels["age"][chosen])
    np.testing.assert_array_equal(dataset["animal"], fs.labels["animal"][chosen])
    assert dataset[0]["id"] == fs.ids[0]
    assert set(dataset["split"]) == {"train"}
    assert len(loaders.to_huggingface(fs)) == 90
    assert loaders.to_huggingface(fs, index=[5, 2])["id"][:] == ["5.png", "2.png"]
    with pytest.raises(ConfigError, match=r"labels \['colour'\]"):
        loaders.to_huggingface(fs, labels=["colour"])


def test_pytorch_that_is_not_there_is_named_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "functa_store.loaders.torch_datasets", raising=False)
    with pytest.raises(ImportError, match=r"functa-store\[torch\]"):
        importlib.import_module("functa_store.loaders.torch_datasets")


@pytest.mark.parametrize("library", ["datasets", "pyarrow"])
def test_a_library_of_hugging_face_that_is_not_there_is_named_with_what_to_type(fs, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{library} is not installed.*functa-store\[huggingface\]"):
        loaders.to_huggingface(fs)


def test_an_example_of_torch_is_one_of_numpy_in_tensors(fs):
    torch = pytest.importorskip("torch")
    ours, theirs = Examples(fs)[-1], loaders.TorchExamples(fs)[-1]
    assert torch.equal(torch.from_numpy(ours["modulations"]), theirs["modulations"])
    assert int(theirs["index"]) == ours["index"] == 89
    assert float(theirs["labels"]["age"]) == ours["labels"]["age"]


def test_tensors_share_the_memory_of_arrays(fs):
    torch = pytest.importorskip("torch")
    from functa_store.loaders.loader import to_tensors

    batch = next(iter(Loader(fs, 8)))
    tensors = to_tensors(batch)
    assert tensors["modulations"].data_ptr() == batch["modulations"].ctypes.data
    assert tensors["modulations"].dtype == torch.float32
    assert tensors["labels"]["age"].dtype == torch.float64


WORKERS = """
import sys
import torch
from torch.utils.data import DataLoader
import functa_store
from functa_store.loaders import DecodeGrid, Loader, TorchBatches, TorchExamples

def main(path, how):
    fs = functa_store.open(path)
    fs.modulations[:1]  # mapped before the workers start
    loader = Loader(fs, 9, num_epochs=2)
    batches = list(DataLoader(TorchBatches(loader), batch_size=None, num_workers=2, multiprocessing_context=how))
    for ours, theirs in zip(loader, batches, strict=True):
        assert ours["index"].tolist() == theirs["index"].tolist()
        assert torch.equal(torch.from_numpy(ours["modulations"]), theirs["modulations"])
    options = {"num_workers": 1, "multiprocessing_context": how}
    examples = DataLoader(TorchExamples(fs), batch_size=8, shuffle=True, **options)
    assert sorted(sum((batch["index"].tolist() for batch in examples), [])) == list(range(90))
    decoded = TorchExamples(fs, decode=DecodeGrid(resolution=2))
    try:
        (batch,) = DataLoader(decoded, batch_size=90, **options)
    except functa_store.ConfigError as error:
        print("multiprocessing_context" in str(error))
    else:
        print(batch["values"].shape == (90, 2, 2, 3))

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_workers_of_torch_deliver_the_same_batches(fs, tmp_path, how):
    """In a process of its own, which has not started JAX; forked workers refuse to decode, and say what to do."""
    pytest.importorskip("torch")
    program = tmp_path / "workers.py"
    program.write_text(WORKERS)
    words = [sys.executable, str(program), fs.store.path, how]
    root = functa_store.__path__[0].rpartition("/")[0]
    found = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": root})
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "True"
