"""Archives that are opened again by what their functasets keep of them."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

import functa_store
from converters.arrays.arrays import open_array_archive
from converters.climate.climate import open_climate
from functa_store.cli.arguments import typed_words
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig, OuterLoopConfig
from functa_store.plugins import Converter, Preset
from functa_store.reopen import reopened
from functa_store.sources.options import ArchiveOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ArchiveOptions):
    """Whose defaults say something."""

    clean: bool = True
    width: int | None = 64
    names: tuple[str, ...] = ("a",)


@pytest.mark.parametrize("values", [{}, {"clean": False}, {"width": None}, {"names": ()}, {"names": ("t,2m", "u")}])
@pytest.mark.usefixtures("unchecked")
def test_an_archive_is_opened_again_as_it_was(monkeypatch, values):
    presets = {"tiny": Preset(summary="For tests.", config=ConvertConfig())}
    fake = Converter(summary="Fakes.", options=Options, presets=presets, open=lambda *given: given)
    monkeypatch.setattr("functa_store.reopen.converters", lambda: {"fake": fake})
    chosen = Options(**values)
    provenance = json.loads(json.dumps({"converter": "fake", "limit": 3, **chosen.to_plain()}))
    _, options, survey, _ = reopened("in", provenance)
    assert (options, survey.limit) == (chosen, 3)


def test_a_climate_variable_whose_name_has_a_comma_is_found_again(tmp_path):
    path = str(tmp_path / "field.nc")
    coords = {"time": np.arange(6), "lat": np.linspace(60, -60, 7), "lon": np.arange(0, 360, 30)}
    values = np.random.default_rng(0).random((2, 6, 7, 12), np.float32)
    dims = tuple(coords)
    units = {"units": "K"}
    fields = {name: (dims, field, units) for name, field in zip(("t,2m", "u"), values, strict=True)}
    made = xr.Dataset(fields, coords)
    made.lat.attrs["units"], made.lon.attrs["units"] = "degrees_north", "degrees_east"
    made.to_netcdf(path)
    source = open_climate(path, variable=["t,2m", "u"])
    assert source.features.channels == ("t,2m", "u")
    assert source.provenance["variable"] == ["t,2m", "u"]
    again = reopened(path, json.loads(json.dumps(dict(source.provenance))))
    np.testing.assert_array_equal(again.read(3), source.read(3))
    alone = reopened(path, dict(source.provenance), given=typed_words(["variable=u"]))
    assert (alone.features.channels, alone.provenance["variable"]) == (("u",), "u")


TINY = ConvertConfig(
    network=NetworkConfig(width=8, depth=3, modulation_dim=2),
    outer=OuterLoopConfig(num_steps=2, batch_size=2),
    fit=FitConfig(num_steps=1, tuning_steps=0),
)


@pytest.mark.slow
def test_the_archive_of_a_functaset_is_opened_again_by_a_public_name(tmp_path):
    values = np.random.default_rng(0).random((12, 5, 3), np.float32)
    np.savez(tmp_path / "a.npz", values=values, other=values[::-1])
    source = open_array_archive(tmp_path / "a.npz", array="values", channels_axis="none", limit=11)
    functa_store.convert(source, tmp_path / "a.functa", TINY)
    opened = functa_store.open(tmp_path / "a.functa")
    for functaset in (opened, tmp_path / "a.functa"):
        again = functa_store.reopen_archive(functaset, tmp_path / "a.npz")
        assert (again.ids, again.provenance) == (source.ids, source.provenance)
        np.testing.assert_array_equal(again.read(7), source.read(7))
    other = functa_store.reopen_archive(opened, tmp_path / "a.npz", array="other")
    assert other.provenance["array"] == "other"
    with pytest.raises(TypeError, match="no_such"):
        functa_store.reopen_archive(opened, tmp_path / "a.npz", no_such=1)
    opened.derive(tmp_path / "derived.functa", opened.modulations[:2])
    with pytest.raises(functa_store.StoreMismatchError, match="has no archive"):
        functa_store.reopen_archive(tmp_path / "derived.functa", tmp_path / "a.npz")
