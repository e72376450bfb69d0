"""What a loader delivers, and where it goes on."""

import itertools
import json
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functa_store.errors import ConfigError, ExampleIndexError, GridError, StoreMismatchError
from functa_store.loaders import BlockShuffle, DecodeGrid, DecodePoints, Loader, Normalization
from functa_store.loaders import table as table_module

BLOCKS = BlockShuffle(size=5, mixed=4)
SHUFFLES = ["full", "none", BLOCKS]


def indices(batches):
    return [batch["index"].tolist() for batch in batches]


def examples_of(batches):
    return [index for batch in indices(batches) for index in batch]


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_batch_holds_the_rows_and_labels_of_its_examples(fs, bucket, shuffle, place):
    functaset = fs if place == "disk" else bucket
    for batch in Loader(functaset, 8, split="train", shuffle=shuffle, normalize=False):
        index = batch["index"]
        np.testing.assert_array_equal(batch["modulations"], fs.modulations[index], strict=True)
        np.testing.assert_array_equal(batch["labels"]["animal"], fs.labels["animal"][index], strict=True)
        assert set(batch["labels"]) == {"animal", "age"}
        assert (fs.split[index] == "train").all()
        assert batch["modulations"].flags.writeable


def test_an_epoch_is_the_split_and_the_next_one_is_another_order(fs):
    loader = Loader(fs, 7, split="test")
    first, second = examples_of(loader), examples_of(loader)
    assert first != second
    assert sorted(first) == sorted(second) == np.flatnonzero(fs.split[:] == "test").tolist()
    assert loader.epoch == 2


def test_modulations_are_normalised_unless_they_are_not_to_be(stored):
    batch = next(iter(Loader(stored, 8)))
    wanted = Normalization.of_all(stored).apply(stored.modulations[batch["index"]])
    np.testing.assert_array_equal(batch["modulations"], wanted, strict=True)
    assert np.isfinite(batch["modulations"]).all()


def test_only_the_labels_that_are_asked_for_are_there(fs):
    assert list(next(iter(Loader(fs, 8, labels=["age"])))["labels"]) == ["age"]
    assert next(iter(Loader(fs, 8, labels=())))["labels"] == {}


@pytest.mark.parametrize(
    "examples", [slice(10, 50, 2), [3, 3, -1], np.arange(90) % 4 == 0], ids=["slice", "list", "mask"]
)
def test_chosen_examples_are_loaded(fs, examples):
    found = examples_of(Loader(fs, 8, examples=examples))
    chosen = np.arange(90)[examples if isinstance(examples, slice) else np.asarray(examples)]
    assert sorted(found) == sorted(chosen.tolist())


def view(loader, kind):
    if kind == "numpy":
        return loader
    if kind == "torch":
        pytest.importorskip("torch")
        return loader.to_torch(prefetch=3)
    return loader.to_jax(prefetch=2)


@pytest.mark.parametrize("kind", ["numpy", "torch", "jax"])
@given(st.sampled_from(SHUFFLES), st.integers(1, 40), st.integers(0, 60), st.integers(1, 2), st.booleans())
@settings(max_examples=12)
def test_what_comes_after_a_restored_state_is_what_would_have_come(
    fs, kind, shuffle, size, stop, num_epochs, drop_last
):
    """Whatever was made ahead; 60 batches of 3 are two epochs."""
    options = {"shuffle": shuffle, "drop_last": drop_last, "num_epochs": num_epochs, "normalize": False}
    whole = [
        b["index"].tolist() for b in itertools.islice(Loader(fs, size, **options | {"num_epochs": None}), stop + 3)
    ]
    first, second = Loader(fs, size, **options), Loader(fs, size, **options)
    for _ in range(stop):
        next(iter(view(first, kind)))
    second.restore(json.loads(json.dumps(first.state())))
    endless = itertools.chain.from_iterable(view(second, kind) for _ in itertools.count())
    assert [batch["index"].tolist() for batch in itertools.islice(endless, 3)] == whole[stop:]


def test_a_state_serves_all_ranks(fs):
    ranks = [Loader(fs, 5, rank=rank, num_ranks=3, seed=4) for rank in range(3)]
    for rank in ranks:
        next(iter(rank))
    assert ranks[0].state() == ranks[2].state()


def test_an_automatic_shuffle_goes_on_in_the_order_of_the_state(fs):
    """Another machine has less memory, and must go on none the less."""
    before = Loader(fs, 8, shuffle=BLOCKS)
    next(iter(before))
    after = Loader(fs, 8, shuffle="auto")
    assert after.shuffle == "full"
    after.restore(before.state())
    assert after.shuffle == BLOCKS
    assert indices(after) == indices(before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 9}, "batch_size is 8, expected 9"),
        ({"seed": 1}, "seed is 0, expected 1"),
        ({"num_ranks": 2}, "num_ranks is 1, expected 2"),
        ({"shuffle": "none"}, "shuffle is 'full', expected 'none'"),
        ({"split": "train"}, "num_examples is 90, expected 60"),
        ({"examples": np.arange(90)[::-1]}, "examples is"),
        ({"normalize": False}, "normalization is"),
        ({"labels": ["age"]}, "labels is"),
        ({"decode": DecodePoints(num_points=3)}, "decode is"),
    ],
)
def test_the_state_of_other_options_is_refused_with_what_differs(fs, options, words):
    state = Loader(fs, 8, shuffle="full").state()
    with pytest.raises(ConfigError, match=words):
        Loader(fs, **{"batch_size": 8, "shuffle": "full"} | options).restore(state)


def test_the_state_of_another_functaset_is_refused(fs, write, tmp_path):
    other = write(tmp_path / "other.functa", seed=1)
    with pytest.raises(StoreMismatchError, match=r"functaset\.fingerprint is"):
        Loader(other, 8).restore(Loader(fs, 8).state())


@pytest.mark.parametrize("wrong", [{}, {"epoch": 0}, {"batch": 12}, {"epoch": -1}, {"batch": "1"}, {"options": 3}])
def test_what_is_no_state_is_refused(fs, wrong):
    loader = Loader(fs, 8)
    state = loader.state() | wrong if wrong and wrong != {"epoch": 0} else wrong
    with pytest.raises(ConfigError, match=r"not the state of a loader|no place of 12 batches"):
        loader.restore(state)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"split": "validation"}, ConfigError, r"no split 'validation', there are \['test', 'train'\]"),
        ({"examples": []}, ConfigError, "no examples of this index"),
        ({"examples": [99]}, ExampleIndexError, "99"),
        ({"examples": np.array([0.5])}, ExampleIndexError, "90 examples"),
        ({"examples": [1], "split": "train"}, ConfigError, "not both"),
        ({"num_epochs": 0}, ConfigError, "num_epochs must be"),
        ({"labels": ["colour"]}, ConfigError, r"no labels \['colour'\], there are \['age', 'animal'\]"),
        ({"decode": DecodeGrid(resolution=0)}, GridError, "resolution"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_read(fs, options, error, words):
    with pytest.raises(error, match=words):
        Loader(fs, 8, **options)


def test_no_points_and_no_view_ahead_are_refused(fs):
    with pytest.raises(ConfigError, match="num_points"):
        DecodePoints(num_points=0)
    with pytest.raises(ConfigError, match="prefetch"):
        Loader(fs, 8).to_jax(prefetch=-1)


def test_a_grid_is_decoded_with_each_batch(fs):
    region = ((0.0, 0.5), (0.0, 1.0))
    batch = next(iter(Loader(fs, 4, decode=DecodeGrid(resolution=(2, 3), region=region, clip=True))))
    wanted = fs.decode(batch["index"], (2, 3), region=region, clip=True)
    np.testing.assert_array_equal(batch["features"], wanted)
    assert "coords" not in batch


def test_random_points_are_those_of_the_batch_and_the_same_on_all_ranks(fs):
    decode = DecodePoints(num_points=5)
    ranks = [list(Loader(fs, 9, decode=decode, rank=rank, num_ranks=2)) for rank in range(2)]
    for mine, yours in zip(*ranks, strict=True):
        np.testing.assert_array_equal(mine["coords"], yours["coords"])
        np.testing.assert_array_equal(mine["features"], fs.decode(mine["index"], coords=mine["coords"]))
        assert mine["coords"].shape == (5, 2)
    assert len({batch["coords"].tobytes() for batch in ranks[0]}) == len(ranks[0])


def test_memory_decides_the_shuffle(fs, bucket, monkeypatch):
    class Memory:
        available = 2 * 90 * 4 * 4

    monkeypatch.setattr(table_module.psutil, "virtual_memory", Memory)
    assert Loader(fs, 8).shuffle == Loader(bucket, 8).shuffle == "full"
    Memory.available -= 1
    for functaset in (fs, bucket):
        loader = Loader(functaset, 8, normalize=False)
        assert isinstance(loader.shuffle, BlockShuffle)
        assert sorted(examples_of(loader)) == list(range(90))
    assert Loader(fs, 8, shuffle="full").shuffle == "full"
    with pytest.raises(ConfigError, match="every row of the bucket by itself"):
        Loader(bucket, 8, shuffle="full")


def test_a_bucket_that_memory_holds_is_read_once(bucket, monkeypatch):
    loader, reads = Loader(bucket, 8), []
    read = type(bucket.modulations).__getitem__
    monkeypatch.setattr(
        type(bucket.modulations), "__getitem__", lambda rows, key: (reads.append(rows.name), read(rows, key))[1]
    )
    for _ in range(3):
        list(loader)
    assert sum(name.endswith("modulations") for name in reads) == 1


def test_threads_end_with_the_loop_that_they_worked_for(fs):
    before = threading.active_count()
    for batch in Loader(fs, 8).to_jax(prefetch=4):
        assert len(batch["index"]) == 8
        break
    assert threading.active_count() == before


def test_an_error_reaches_the_loop(write, tmp_path):
    functaset = write(tmp_path / "damaged.functa")
    (tmp_path / "damaged.functa" / "modulations" / "c" / "1" / "0").write_bytes(b"")
    for reader in (lambda loader: loader, lambda loader: loader.to_jax()):
        with pytest.raises(ValueError, match="missing or damaged"):
            list(reader(Loader(functaset, 8)))


def test_a_loader_is_pickled_with_its_place(fs):
    loader = Loader(fs, 8)
    next(iter(loader))
    assert indices(pickle.loads(pickle.dumps(loader))) == indices(loader)


def test_batches_of_jax_are_sharded_over_devices(fs):
    import jax

    mesh = jax.make_mesh((jax.device_count(),), ("examples",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("examples"))
    loader = Loader(fs, 10, decode=DecodePoints(num_points=3))
    plain = Loader(fs, 10, decode=DecodePoints(num_points=3))
    for batch, same in zip(loader.to_jax(sharding=sharding), plain, strict=True):
        assert batch["modulations"].sharding == batch["labels"]["age"].sharding == sharding
        np.testing.assert_array_equal(batch["modulations"], same["modulations"])
        np.testing.assert_array_equal(batch["coords"], same["coords"])


def test_loading_imports_no_library_that_it_does_without(fs):
    program = (
        "import sys, functa_store\n"
        "from functa_store.loaders import Examples, Loader\n"
        f"list(Loader(functa_store.open({fs.store.path!r}), 8)), Examples\n"
        "print([name for name in ('jax', 'torch', 'grain', 'datasets', 'zarr') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
