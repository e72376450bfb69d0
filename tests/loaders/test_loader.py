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

from functa_store.errors import (
    ConfigError,
    ExampleIndexError,
    GridError,
    StoreMismatchError,
)
from functa_store.loaders import (
    BlockShuffle,
    DecodeGrid,
    DecodePoints,
    Loader,
    Normalization,
)

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


@pytest.mark.parametrize("index", [slice(10, 50, 2), [3, 3, -1], np.arange(90) % 4 == 0], ids=["slice", "list", "mask"])
def test_chosen_examples_are_loaded(fs, index):
    found = examples_of(Loader(fs, 8, index=index))
    chosen = np.arange(90)[index if isinstance(index, slice) else np.asarray(index)]
    assert sorted(found) == sorted(chosen.tolist())


@pytest.mark.parametrize(("animal", "wanted"), [("dog", 1), (1, 1), (["dog", 0], None), (["dog"], 1)])
def test_split_index_and_labels_choose_together(fs, animal, wanted):
    """In the order of the index, in which one example may come twice."""
    loader = Loader(fs, 8, split="train", index=[80, 9, 9, 1, 3, 4, 2], where={"animal": animal}, shuffle="none")
    chosen = [row for row in [80, 9, 9, 1, 3, 4, 2] if row % 3 != 1 and (wanted is None or row % 2 == wanted)]
    assert examples_of(loader) == chosen
    where = examples_of(Loader(fs, 8, where={"animal": animal, "age": fs.labels["age"][:30]}, shuffle="none"))
    assert where == [row for row in range(30) if wanted is None or row % 2 == wanted]


@pytest.mark.parametrize("kind", ["numpy", "torch", "jax"])
def test_batches_name_their_examples_where_that_is_asked_for(fs, kind):
    loader = Loader(fs, 8, ids=True)
    for batch in view(loader, kind):
        assert list(batch["id"]) == [f"{row}.png" for row in np.asarray(batch["index"]).tolist()]
    assert "id" not in next(iter(view(Loader(fs, 8), kind)))
    with pytest.raises(ConfigError, match="ids is"):
        Loader(fs, 8).restore(loader.state())


def view(loader, kind):
    if kind == "numpy":
        return loader
    if kind == "torch":
        pytest.importorskip("torch")
        return loader.to_torch(prefetch=3)
    return loader.to_jax(prefetch=2)


@pytest.mark.parametrize("kind", ["numpy", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("torch", "jax"))])
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
    ranks = [Loader(fs, 5, rank=rank, num_ranks=3, seed=4, shuffle="full") for rank in range(3)]
    for rank in ranks:
        next(iter(rank))
    assert ranks[0].state() == ranks[2].state()


def test_ranks_name_an_order_since_the_memory_of_each_would_choose_another(fs):
    with pytest.raises(
        ConfigError, match=r"'auto' depends on free memory.*2 ranks.*shuffle='full' or BlockShuffle\(\)"
    ):
        Loader(fs, 5, rank=1, num_ranks=2)


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
        ({"index": np.arange(90)[::-1]}, "examples is"),
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


@pytest.mark.parametrize("state", [{}, {"epoch": 0}, [1], None, "state"], ids=repr)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_state_is_refused(fs, state):
    with pytest.raises(ConfigError, match="not the state of a loader"):
        Loader(fs, 8).restore(state)


def test_a_state_without_options_is_refused(fs):
    with pytest.raises(ConfigError, match="not the state of a loader"):
        Loader(fs, 8).restore(Loader(fs, 8).state() | {"options": 3})


@pytest.mark.parametrize(
    "place", [{"batch": 12}, {"epoch": -1}, {"batch": "1"}, {"epoch": True}, {"batch": 1.0}], ids=str
)
def test_a_place_that_no_epoch_has_is_refused(fs, place):
    with pytest.raises(ConfigError, match="no place of 12 batches"):
        Loader(fs, 8).restore(Loader(fs, 8).state() | place)


@pytest.mark.usefixtures("unchecked")
def test_the_state_is_json_whatever_numbers_the_options_are(fs):
    """And the same as with Python's own."""
    blocks = BlockShuffle(size=np.int32(5), mixed=np.int64(4))
    numbers = {"seed": np.uint8(3), "num_epochs": np.int64(2), "shuffle": blocks, "drop_last": np.True_}
    loader = Loader(fs, np.int64(8), normalize=np.False_, decode=DecodePoints(num_points=np.int16(3)), **numbers)
    plain = Loader(fs, 8, normalize=False, decode=DecodePoints(num_points=3), seed=3, shuffle=BLOCKS, drop_last=True)
    assert json.dumps(loader.state()) == json.dumps(plain.state())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DecodeGrid(resolution=(2, 3)), DecodeGrid(resolution=[2, 3])),
        (DecodeGrid(region=((0, 1), (0, 0.5))), DecodeGrid(region=[(0.0, 1.0), (0.0, 0.5)])),
    ],
    ids=["resolution", "region"],
)
def test_the_same_grid_in_other_words_is_the_same_option(fs, one, other):
    assert one == other
    Loader(fs, 8, decode=other).restore(json.loads(json.dumps(Loader(fs, 8, decode=one).state())))


@pytest.mark.usefixtures("unchecked")
def test_a_grid_of_numpy_numbers_is_the_same_option(fs):
    assert DecodeGrid(resolution=np.int64(4)) == DecodeGrid(resolution=4)
    assert DecodeGrid(resolution=np.array([2, 3])) == DecodeGrid(resolution=(2, 3))


def test_a_state_is_taken_without_hashing_examples_or_normalisation_again(fs, monkeypatch):
    loader = Loader(fs, 8, index=np.arange(90)[::-1])
    state = loader.state()
    monkeypatch.setattr("hashlib.sha256", None)
    assert loader.state() == state


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"split": "validation"}, ConfigError, r"no split 'validation', there are \['test', 'train'\]"),
        ({"index": []}, ConfigError, "no examples of this index"),
        ({"index": [99]}, ExampleIndexError, "example 99 does not exist"),
        ({"index": np.array([0.5])}, ExampleIndexError, "90 examples"),
        ({"index": np.array([[1, 2], [3, 4]])}, ExampleIndexError, r"shape \(2, 2\)"),
        ({"index": True}, ExampleIndexError, "mask with one value per example"),
        ({"index": [1], "split": "train"}, ConfigError, "no example is of all of split='train', index=; ask for less"),
        ({"where": {"colour": 1}}, ConfigError, r"no labels \['colour'\]"),
        ({"where": {"animal": "cow"}}, ConfigError, r"'animal' has no \['cow'\], but classes \['cat', 'dog'\]"),
        ({"where": {"age": ["old"]}}, ConfigError, r"'age' has no \['old'\], but float64 without names"),
        ({"where": ["animal"]}, ConfigError, "where must be a dictionary of labels"),
        ({"where": {"animal": 2}}, ConfigError, r"no example is of all of where=\{'animal': 2\}"),
        ({"num_epochs": 0}, ConfigError, "num_epochs must be"),
        ({"num_epochs": True}, ConfigError, "num_epochs must be"),
        ({"labels": ["colour"]}, ConfigError, r"no labels \['colour'\], there are \['age', 'animal'\]"),
        ({"labels": "age"}, ConfigError, r"list of names, got 'age'; write \['age'\]"),
        ({"decode": DecodeGrid(resolution=0)}, GridError, "resolution"),
        ({"decode": 64}, ConfigError, "DecodeGrid or DecodePoints, got 64"),
        ({"normalize": "train"}, ConfigError, "True, False or a Normalization, got 'train'"),
        (
            {"normalize": Normalization(np.zeros(1, np.float32), np.ones(1, np.float32))},
            ConfigError,
            "have 4 dimensions",
        ),
        ({"shuffle": "fully"}, ConfigError, "shuffle must be"),
        ({"shuffle": np.array([1, 2])}, ConfigError, "shuffle must be"),
        ({"split": ["train", "test"]}, ConfigError, "name of one split"),
    ],
)
@pytest.mark.usefixtures("unchecked")
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
    batch = next(iter(Loader(fs, 4, decode=DecodeGrid(resolution=(2, 3), region=region))))
    wanted = fs.decode(batch["index"], (2, 3), region=region)
    np.testing.assert_array_equal(batch["values"], wanted)
    assert "coords" not in batch


def test_random_points_are_those_of_the_batch_and_the_same_on_all_ranks(fs):
    decode = DecodePoints(num_points=5)
    ranks = [list(Loader(fs, 9, decode=decode, shuffle="full", rank=rank, num_ranks=2)) for rank in range(2)]
    for mine, yours in zip(*ranks, strict=True):
        np.testing.assert_array_equal(mine["coords"], yours["coords"])
        np.testing.assert_array_equal(mine["values"], fs.decode(mine["index"], coords=mine["coords"]))
        assert mine["coords"].shape == (5, 2)
    assert len({batch["coords"].tobytes() for batch in ranks[0]}) == len(ranks[0])


def test_memory_decides_the_shuffle(fs, bucket, monkeypatch):
    class Memory:
        available = 2 * 90 * 4 * 4

    monkeypatch.setattr("psutil.virtual_memory", Memory)
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


def test_a_bucket_that_memory_holds_is_kept_once(write):
    """Not by the functaset, too."""
    functaset = write("memory://loaders/kept.functa")
    list(Loader(functaset, 8))
    assert functaset.modulations._table is None


@pytest.mark.parametrize(
    "go_on",
    [lambda loader: next(iter(loader)), lambda loader: loader.restore(loader.state())],
    ids=["iterate", "restore"],
)
def test_an_iteration_ends_with_an_error_when_its_loader_has_gone_on_elsewhere(fs, go_on):
    loader = Loader(fs, 8)
    older = iter(loader)
    next(older)
    go_on(loader)
    place = loader.state()
    with pytest.raises(ConfigError, match="another iteration has begun, or a state was restored"):
        next(older)
    assert loader.state() == place


@pytest.mark.parametrize("num_epochs", [1, 3])
@pytest.mark.parametrize("kind", ["numpy", "jax"])
def test_the_length_is_the_number_of_batches_that_iterating_gives(fs, num_epochs, kind):
    loader = view(Loader(fs, 40, num_epochs=num_epochs), kind)
    assert len(loader) == len(list(loader)) == num_epochs * Loader(fs, 40).batches_per_epoch


def test_what_never_ends_has_no_length(fs):
    loader = Loader(fs, 8, num_epochs=None)
    for endless in (loader, loader.to_jax()):
        with pytest.raises(TypeError, match="never ends; batches_per_epoch"):
            len(endless)


def test_batches_become_arrays_of_any_library(fs):
    lists = Loader(fs, 8).converted(lambda batch: batch["index"].tolist(), prefetch=1)
    assert list(lists) == indices(Loader(fs, 8))


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


@pytest.fixture(name="sharding")
def _sharding():
    """Over two devices, the last one first."""
    import jax

    if jax.device_count() < 2:
        pytest.skip("a device cannot be divided")
    mesh = jax.sharding.Mesh(np.array(jax.devices()[1::-1]), ("examples",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("examples"))


def test_batches_of_jax_are_sharded_over_devices(fs, sharding):
    """Points, which are those of all examples, are on all of them, and everything can be computed with together."""
    import jax

    loader = Loader(fs, 10, decode=DecodePoints(num_points=3))
    plain = Loader(fs, 10, decode=DecodePoints(num_points=3))
    for batch, same in zip(loader.to_jax(sharding=sharding), plain, strict=True):
        assert batch["modulations"].sharding == batch["labels"]["age"].sharding == sharding
        np.testing.assert_array_equal(batch["modulations"], same["modulations"])
        np.testing.assert_array_equal(batch["coords"], same["coords"])
        assert batch["coords"].sharding.is_fully_replicated
        assert batch["coords"].sharding.device_set == sharding.device_set
        jax.block_until_ready(jax.jit(lambda b: b["values"].sum() + b["coords"].sum())(batch))


@pytest.mark.parametrize(("count", "batch_size", "size"), [(90, 15, 15), (31, 4, 3)])
def test_batches_that_devices_cannot_share_are_refused_before_the_first_one(fs, sharding, count, batch_size, size):
    """Whether it is all of them or the last one."""
    with pytest.raises(ConfigError, match=rf"batches of {size} examples cannot be divided"):
        Loader(fs, batch_size, index=slice(0, count)).to_jax(sharding=sharding)


@pytest.mark.parametrize("values", [2**31, -(2**31) - 1])
def test_labels_that_jax_would_cut_are_refused(fs, values):
    loader = Loader(fs, 8)
    loader.reading.content.labels["animal"] = np.full(len(fs), values)
    with pytest.raises(ConfigError, match=r"label 'animal' reaches .* 32 bits"):
        loader.to_jax()


def test_last_batches_that_differ_between_ranks_make_no_array(fs):
    import jax

    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    loader = Loader(fs, 8, index=slice(0, 85), shuffle="none", num_ranks=2)
    with pytest.raises(ConfigError, match="make no array together"):
        loader.to_jax(sharding=sharding)


def test_loading_imports_no_library_that_it_does_without(fs):
    program = (
        "import sys, functa_store\n"
        "from functa_store.loaders import Examples, Loader\n"
        f"list(Loader(functa_store.open({fs.store.path!r}), 8)), Examples\n"
        "print([name for name in ('jax', 'torch', 'grain', 'datasets', 'zarr') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
