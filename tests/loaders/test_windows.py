"""Every epoch holds each example once, in an order that only seed and epoch decide."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from functa_store.errors import ConfigError
from functa_store.loaders.windows import BlockShuffle, Order, blocks_in_random_order

blocks = st.builds(BlockShuffle, size=st.integers(1, 20), mixed=st.integers(1, 8))
shuffles = st.one_of(st.sampled_from(["full", "none"]), blocks)


def batches(order, epoch):
    windows = [order.window(epoch, number) for number in range(order.num_windows)]
    per_window = order.batches_per_window
    return [
        windows[i // per_window].positions[order.places(windows[i // per_window], i)] for i in range(order.num_batches)
    ]


def orders(num_ranks, **options):
    try:
        return [Order(rank=rank, num_ranks=num_ranks, **options) for rank in range(num_ranks)]
    except ConfigError:
        assume(False)


@given(st.integers(1, 300), st.integers(1, 40), shuffles, st.integers(1, 5), st.integers(0, 3))
def test_the_ranks_share_an_epoch_and_have_as_many_batches(count, batch_size, shuffle, num_ranks, epoch):
    ranks = orders(num_ranks, num_examples=count, batch_size=batch_size, shuffle=shuffle)
    parts = [batches(order, epoch) for order in ranks]
    assert len({len(part) for part in parts}) == 1
    assert all(0 < len(batch) <= batch_size for part in parts for batch in part)
    assert all(len(batch) == batch_size for part in parts for batch in part[:-1])
    assert {len(part[-1]) for part in parts} == ranks[0].last_sizes
    np.testing.assert_array_equal(
        np.sort(np.concatenate([batch for part in parts for batch in part])), np.arange(count)
    )


@given(st.integers(1, 300), st.integers(1, 40), shuffles, st.integers(1, 5), st.integers(0, 3))
def test_without_the_last_batch_all_are_full_and_no_example_comes_twice(count, size, shuffle, num_ranks, epoch):
    ranks = orders(num_ranks, num_examples=count, batch_size=size, shuffle=shuffle, drop_last=True)
    found = np.concatenate([batch for order in ranks for batch in batches(order, epoch)])
    assert len(np.unique(found)) == len(found) == count // num_ranks // size * size * num_ranks


@given(shuffles.filter(lambda shuffle: shuffle != "none"), st.integers(0, 9), st.integers(0, 9))
def test_epochs_and_seeds_differ_and_repeat(shuffle, seed, epoch):
    def sequence(seed, epoch):
        return np.concatenate(batches(Order(num_examples=200, batch_size=30, shuffle=shuffle, seed=seed), epoch))

    np.testing.assert_array_equal(sequence(seed, epoch), sequence(seed, epoch))
    assert (sequence(seed, epoch) != sequence(seed, epoch + 1)).any()
    assert (sequence(seed, epoch) != sequence(seed + 1, epoch)).any()


@given(st.integers(1, 200), st.integers(1, 30), st.data())
def test_any_part_of_the_sequence_of_blocks_is_that_part_of_the_whole(count, size, data):
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    whole = blocks_in_random_order(np.random.default_rng(3), count, size, 0, count)
    part = blocks_in_random_order(np.random.default_rng(3), count, size, start, stop)
    np.testing.assert_array_equal(part, whole[start:stop])


def test_a_block_shuffle_reads_whole_blocks():
    window = Order(num_examples=90, batch_size=10, shuffle=BlockShuffle(size=10, mixed=3)).window(0, 1)
    assert (np.diff(window.positions.reshape(3, 10)) == 1).all()


@given(st.integers(1, 300), st.integers(1, 40), blocks)
def test_memory_holds_every_window_and_none_is_a_small_rest(count, batch_size, shuffle):
    order = Order(num_examples=count, batch_size=batch_size, shuffle=shuffle, drop_last=count >= batch_size)
    sizes = [len(order.window(0, number).places) for number in range(order.num_windows)]
    assert max(sizes) <= max(shuffle.size * shuffle.mixed, batch_size)
    assert min(sizes) >= max(sizes) - batch_size * len(sizes)


def test_random_points_are_fresh_per_batch():
    order = Order(num_examples=10, batch_size=2)
    numbers = [order.points_rng(epoch, batch).random() for epoch in range(3) for batch in range(5)]
    assert len(set(numbers)) == 15


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**32}, "seed below"),
        ({"rank": 2, "num_ranks": 2}, "rank below num_ranks"),
        ({"num_ranks": 3}, "more than others"),
        ({"batch_size": 11, "drop_last": True}, "fill no batch of 11"),
        ({"num_examples": 0}, "fill no batch"),
    ],
)
def test_options_that_make_no_order_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Order(**{"num_examples": 10, "batch_size": 3} | options)


def test_a_block_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="size must be"):
        BlockShuffle(size=0)
