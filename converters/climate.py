"""How are fields over latitude and longitude converted, such as those of ERA5 and CMIP?

Expected result: one example per time, level, member and so on, named by them ("1959-01-02T00:00/500"), variables as
channels in their units; labels `month` and `year` where there are times, and every numeric coordinate. The last tenth
of the times is held out.
"""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from converters.array_bounds import in_bounded_memory
from converters.climate_options import ClimateOptions, Words, add_climate_arguments
from converters.climate_presets import CLIMATE_PRESETS
from converters.survey import SurveyOptions
from functa_store.errors import MissingLibraryError
from functa_store.progress import Report, silent

if TYPE_CHECKING:
    from converters.climate_source import ClimateSource


def open_climate(
    path: str | os.PathLike[str],
    *,
    variable: Words = None,
    example_dims: Words = None,
    select: Words = None,
    scaling: str = "minmax",
    missing: str = "nan",
    area_weighting: bool | str = False,
    split: str = "last",
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> "ClimateSource":
    """A source over fields of NetCDF files or Zarr stores.

    Args:
        path: A NetCDF file, a Zarr store, a folder of NetCDF files along time, or a pattern such as "era5/*.nc".
        variable: One or more variables on one grid, which become channels; None takes the only field that there is.
        example_dims: Dimensions that make examples; None takes all but latitude and longitude.
        select: "level=500", or several such; values as ids name them, times by how they begin.
        scaling: "minmax" or "standard", per variable, from the training examples.
        missing: "nan" decodes points that are missing in every example to not a number; "fill" decodes the function.
        area_weighting: Whether points count by the area of their cell.
        split: "last" or "every": the tenth that is held out.
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be unusable.
        check_first: Examples to read now, for a dry run; None reads all.
        report: Told how far the survey is.

    Returns:
        The source, every field read once.

    Raises:
        ConfigError: If an option is out of range, or fits nothing in the archive.
        ArchiveError: If the archive cannot be converted.
        MissingLibraryError: If xarray is not installed.
    """
    options = ClimateOptions.from_words(
        variable=variable,
        example_dims=example_dims,
        select=select,
        scaling=scaling,
        missing=missing,
        area_weighting={"True": True, "False": False}.get(str(area_weighting), area_weighting),  # as a store has it
        split=split,
    )
    survey = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    try:
        from converters.climate_files import ClimateFiles  # imports xarray, which listing converters does without
        from converters.climate_source import ClimateSource
    except ImportError as error:
        raise MissingLibraryError(
            f"xarray is not installed; run pip install 'functa-store[climate]': {error}"
        ) from error
    with in_bounded_memory(os.fspath(path)):
        return ClimateSource(ClimateFiles(path), options, survey, report)


class ClimateConverter:
    """Converts fields over latitude and longitude; see `functa_store.plugins.Converter`."""

    summary = "fields over latitude and longitude: NetCDF files or Zarr"
    presets = CLIMATE_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        add_climate_arguments(parser)

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> "ClimateSource":
        """The source that the options describe; see `open_climate`."""
        return open_climate(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = ClimateConverter()
