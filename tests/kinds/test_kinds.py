"""Every kind of data goes the whole way: converted, killed, resumed, verified, decoded and loaded."""

import concurrent.futures
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store import loaders
from functa_store.cli.main import main
from tests.kill.conversions import AT_ONCE, Conversions, Plan
from tests.kinds.archives import EXAMPLES, KINDS, Kind

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks up files in /proc")


@dataclasses.dataclass(frozen=True)
class Converted:
    """A functaset that was killed while it was converted, and went on."""

    archive: Path
    out: Path
    phases: list[str]
    problems: list[str]


@pytest.fixture(scope="module", name="converted")
def _converted(request, tmp_path_factory):
    """Gives the functaset of a kind; all that are tested are converted, two at a time, while others are looked at."""
    items = [item for item in request.session.items if item.path == request.path]
    names = [item.callspec.params["name"] for item in items]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        started = {name: pool.submit(kill_and_go_on, KINDS[name], tmp_path_factory.mktemp(name)) for name in names}
        yield lambda name: started[name].result()
        pool.shutdown(cancel_futures=True)


def kill_and_go_on(kind: Kind, folder: Path) -> Converted:
    (folder / "references").mkdir()
    (folder / "killed").mkdir()
    brief = dataclasses.replace(kind, options=(*kind.options, "--outer-steps", "10"))
    conversions = Conversions(folder / "references", brief, ["float32"])
    phases, problems = conversions.carry_out(Plan("float32", ("shards:2",)), folder / "killed")
    return Converted(conversions.archive, folder / "killed/killed.functa", phases, problems)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name in ("images", "climate in cells") else pytest.param(name, marks=pytest.mark.long) for name in KINDS],
)
def test_every_kind_goes_the_whole_way(name, converted: Callable[[str], Converted]):
    """Convert, kill, resume, verify, xarray, decode at twice the resolution, loader."""
    kind, done = KINDS[name], converted(name)
    assert (done.phases, done.problems) == (["shards"], [])
    assert main(["verify", str(done.out), "--deep", "--archive", str(done.archive)]) == 0
    functaset = functa_store.open(done.out)
    assert (functaset.domain.axes, functaset.domain.resolution) == (kind.axes, kind.resolution)
    assert len(functaset) == EXAMPLES + kind.num_augmentations
    assert [array.shape for array in functaset.augmentations.values()] == [(len(functaset),)] * (
        5 if kind.num_augmentations else 0
    )
    assert np.isfinite(functaset.mse[:]).all()

    twice = [2 * n for n in kind.resolution]
    decoded = functaset.decode(slice(0, 3), twice)
    assert decoded.shape == (3, *twice, functaset.features.num_channels)
    dataset = xr.open_dataset(done.out, engine="functa", resolution=twice)
    lazy = dataset[functaset.domain.quantity]
    assert lazy.dims == ("example", *kind.axes, "channel")
    np.testing.assert_allclose(lazy.isel(example=slice(0, 3)), decoded, rtol=1e-5, atol=1e-5)
    corner = {axis: lazy[axis].values[-1] for axis in kind.axes}
    at_corner = dataset.functa.at(**corner).isel(example=0)
    np.testing.assert_allclose(at_corner, decoded[(0, *[-1] * len(kind.axes))], rtol=1e-4, atol=1e-4)

    view = functaset.to_tensorstore(twice)
    np.testing.assert_array_equal(view[:3].read().result(), decoded)
    halves = [functaset.select(index=slice(0, 3)), functaset.select(index=slice(3, None))]
    np.testing.assert_array_equal(functa_store.concat(halves).modulations[:], functaset.modulations[:])

    batch = next(iter(loaders.Loader(functaset, batch_size=4, decode=loaders.DecodePoints(num_points=5))))
    assert batch["modulations"].shape == (4, *kind.modulation)
    again = functaset.decode(batch["index"], coords=batch["coords"])
    np.testing.assert_allclose(batch["values"], again, rtol=1e-5, atol=1e-5)
