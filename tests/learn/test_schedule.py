"""Learning rates over the outer steps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from functa_store.config import OuterLoopConfig
from functa_store.learn.outer_loop import decay_start, fix_num_steps, rate_scale

FRACTIONS = st.floats(0.05, 0.95)


@given(FRACTIONS, st.integers(0, 50), st.integers(1, 500))
def test_rates_rise_stay_and_fall_to_almost_nothing(decay_fraction, warmup_steps, num_steps):
    config = OuterLoopConfig(decay_fraction=decay_fraction, warmup_steps=warmup_steps)
    scales = [rate_scale(config, step, num_steps) for step in range(num_steps)]
    peak = int(np.argmax(scales))
    assert np.all((np.array(scales) > 0) & (np.array(scales) <= 1))
    assert np.all(np.diff(scales[: peak + 1]) >= 0)
    assert np.all(np.diff(scales[max(peak, warmup_steps) :]) <= 0)
    if decay_start(config, num_steps) > warmup_steps:
        assert max(scales) == 1


@given(FRACTIONS, st.integers(1, 10_000))
def test_the_steps_that_a_time_budget_took_reproduce_its_schedule(decay_fraction, fixed_at):
    config = OuterLoopConfig(decay_fraction=decay_fraction, num_steps=None, time_budget=100.0)
    num_steps = fix_num_steps(config, fixed_at, seconds=100 * (1 - decay_fraction))
    assert num_steps is not None
    assert decay_start(config, num_steps) >= fixed_at
    for step in {0, fixed_at // 2, fixed_at - 1}:
        assert rate_scale(config, step, None) == rate_scale(config, step, num_steps)


def test_a_time_budget_is_spent_at_the_speed_seen_so_far():
    config = OuterLoopConfig(num_steps=None, time_budget=900.0, decay_fraction=0.75)
    assert fix_num_steps(config, 1000, seconds=224.0) is None
    assert fix_num_steps(config, 1000, seconds=225.0) == 4000


@given(st.integers(0, 199), st.integers(0, 5))
def test_a_roll_back_halves_the_rates(step, rollbacks):
    config = OuterLoopConfig(warmup_steps=10)
    assert rate_scale(config, step, 200, rollbacks) == rate_scale(config, step, 200) / 2**rollbacks
