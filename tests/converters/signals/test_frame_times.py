import numpy as np
import pytest

from converters.signals.frame_times import FrameTimes, frame_times
from functa_store.errors import MemberError


def test_frames_are_even_as_long_as_none_is_half_a_step_late():
    assert FrameTimes(starts=np.array([0, 0.03, 0.07, 0.1]), stop=0.13).even_rate(30.0) == 30.0
    assert FrameTimes(starts=np.array([0, 0.03, 0.07, 0.1]), stop=0.3).even_rate(30.0) is None
    assert FrameTimes(starts=np.array([0, 0.1, 0.2, 1.0]), stop=1.1).even_rate(10.0) is None
    assert FrameTimes(starts=np.arange(9) / 12.5, stop=9 / 12.5).even_rate(25.0) == pytest.approx(12.5)
    assert FrameTimes(starts=np.array([0.0]), stop=0.5).even_rate(None) == 2


def test_times_that_go_back_are_refused_and_unknown_ones_are_none():
    assert frame_times([None, None], None) is None
    assert frame_times([0.0, None, 0.1], None) is None
    with pytest.raises(MemberError, match=r"frame 2 at 0\.1 s, but the one before at 0\.2 s"):
        frame_times([0.0, 0.2, 0.1], None)
