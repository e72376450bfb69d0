"""PSNR by numbers worked by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from functa_store.metrics import psnr, psnr_mean, psnr_of_mean_mse


def test_an_error_of_a_tenth_of_the_range_is_20_decibels():
    np.testing.assert_allclose(psnr([0.01, 0.0001]), [20, 40])
    np.testing.assert_allclose(psnr(np.array(1.0), data_range=10.0), 20)


def test_no_error_is_infinitely_good():
    assert psnr(np.array([0.0])) == [np.inf]


@given(st.lists(st.floats(1e-8, 1), min_size=1))
def test_the_mean_of_psnrs_is_never_below_the_psnr_of_the_mean_error(errors):
    assert psnr_mean(errors) >= psnr_of_mean_mse(errors) - 1e-9
