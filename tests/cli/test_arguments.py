"""Archives that are opened again by what their stores say of them."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

from converters.climate.climate import open_climate
from functa_store.cli.arguments import reopen_archive
from functa_store.config import ConvertConfig
from functa_store.plugins import Converter, Preset
from functa_store.progress import silent
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
    monkeypatch.setattr("functa_store.cli.arguments.converters", lambda: {"fake": fake})
    chosen = Options(**values)
    provenance = json.loads(json.dumps({"converter": "fake", "limit": 3, **chosen.to_plain()}))
    _, options, survey, _ = reopen_archive("in", provenance, [], silent)
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
    again = reopen_archive(path, json.loads(json.dumps(dict(source.provenance))), [], silent)
    np.testing.assert_array_equal(again.read(3), source.read(3))
    alone = reopen_archive(path, dict(source.provenance), ["variable=u"], silent)
    assert (alone.features.channels, alone.provenance["variable"]) == (("u",), "u")
