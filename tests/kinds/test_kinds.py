"""Every kind of data goes the whole way: converted, killed, resumed, verified, decoded and loaded."""

import sys

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store import loaders
from functa_store.cli import main
from tests.kill.conversions import Conversions, Plan
from tests.kinds.archives import EXAMPLES, KINDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up files in /proc")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_goes_the_whole_way(name, tmp_path):
    """Convert, kill, resume, verify, xarray, decode at twice the resolution, loader."""
    kind = KINDS[name]
    (tmp_path / "references").mkdir()
    conversions = Conversions(tmp_path / "references", kind, ["float32"])
    (tmp_path / "killed").mkdir()
    phases, problems = conversions.carry_out(Plan("float32", ("shards:2",)), tmp_path / "killed")
    assert (phases, problems) == (["shards"], [])

    out = tmp_path / "killed/killed.functa"
    assert main(["verify", str(out), "--deep", "--archive", str(conversions.archive)]) == 0
    functaset = functa_store.open(out)
    assert (functaset.domain.axes, functaset.domain.resolution) == (kind.axes, kind.resolution)
    assert len(functaset) == EXAMPLES
    assert np.isfinite(functaset.mse[:]).all()

    twice = [2 * n for n in kind.resolution]
    decoded = functaset.decode(slice(0, 3), twice)
    assert decoded.shape == (3, *twice, functaset.features.num_channels)
    dataset = xr.open_dataset(out, engine="functa", resolution=twice)
    lazy = dataset[functaset.domain.quantity]
    assert lazy.dims == ("example", *kind.axes, "channel")
    np.testing.assert_allclose(lazy.isel(example=slice(0, 3)), decoded, rtol=1e-5, atol=1e-5)
    corner = {axis: lazy[axis].values[-1] for axis in kind.axes}
    at_corner = dataset.functa.at(**corner).isel(example=0)
    np.testing.assert_allclose(at_corner, decoded[(0, *[-1] * len(kind.axes))], rtol=1e-4, atol=1e-4)

    batch = next(iter(loaders.Loader(functaset, batch_size=4, decode=loaders.DecodePoints(num_points=5))))
    assert batch["modulations"].shape == (4, 4)
    again = functaset.decode(batch["index"], coords=batch["coords"])
    np.testing.assert_allclose(batch["features"], again, rtol=1e-5, atol=1e-5)
