"""Converter of fields over latitude and longitude, such as those of ERA5 and CMIP.

Expected result: one example per time, level, member and so on, named by them ("1959-01-02T00:00/500"), variables as
channels in their units; labels `month` and `year` where there are times, and every numeric coordinate. The last tenth
of the times is held out.
"""

from typing import TYPE_CHECKING, Any

from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.arrays.bounds import in_bounded_memory
from converters.climate.source import ClimateOptions
from functa_store.config import ConvertConfig, NetworkConfig, OuterLoopConfig, overlaid
from functa_store.errors import MissingLibraryError
from functa_store.plugins import Converter, Preset, paper_loops
from functa_store.progress import Report, silent
from functa_store.sources.options import SurveyOptions, split_options
from functa_store.sources.recipe import AnyArchive

if TYPE_CHECKING:
    from converters.climate.source import ClimateSource


CLIMATE_FAST = Preset(
    summary="fields on the sphere, for a few CPU cores",
    config=ConvertConfig(
        preset="climate-fast",
        network=NetworkConfig(width=128, depth=5, w0=20.0, modulation_dim=64),
        outer=OuterLoopConfig(
            num_steps=2000,
            batch_size=8,
            num_points=1024,
            learning_rate=5e-4,
            map_learning_rate=5e-3,
            monitor_every=100,
        ),
    ),
)

# Many numbers, in cells: closer than as many principal components as the two measured archives have of their fields.
# Cells are blind to where they are ("nearest", local coordinates), so each has a bias of its own, which the mean field
# goes into; docs/benchmarks/kinds.md, "Grids of modulations on the sphere".
CLIMATE_SPATIAL = Preset(
    summary="fields on the sphere as 8x8 cells of 16 numbers: a quarter of an hour of learning on a CPU core",
    config=overlaid(
        CLIMATE_FAST.config,
        {
            "preset": "climate-spatial",
            "network": {
                "modulation": "spatial",
                "modulation_grid": (8, 8),
                "modulation_dim": 16,
                "map_bias": "per_cell",
            },
            "outer": {"batch_size": 16, "map_learning_rate": 2e-3},
            "fit": {"num_steps": 9, "stride": 2, "tuning_steps": 20},
        },
    ),
)

# Dupont et al. 2022, "COIN++: Neural Compression Across Modalities", and configs/config_era5.txt in
# https://github.com/EmilienDupont/coinpp: SIREN of 10 layers of 384, w0 = 50, 8 dimensions, points of the unit sphere,
# temperatures scaled to [0, 1] by their smallest and largest one, 3 inner steps of rate 1e-2 on all points, Adam 3e-6
# for everything, batches of 32, 800 epochs over 8,510 fields of 46 x 90 points. Two things differ from the code: its
# first layer keeps w0 = 30, and its inner rate is not learned.
CLIMATE_PAPER = Preset(
    summary="fields on the sphere as ERA5 temperatures in COIN++: 212,800 outer steps, for accelerators",
    config=ConvertConfig(
        preset="climate-paper",
        network=NetworkConfig(width=384, depth=10, w0=50.0, modulation_dim=8),
        **paper_loops(num_steps=212_800, batch_size=32, num_points=None),
    ),
)

CLIMATE_PRESETS = {
    "climate-fast": CLIMATE_FAST,
    "climate-spatial": CLIMATE_SPATIAL,
    "climate-paper": CLIMATE_PAPER,
}


def open_climate(path: AnyArchive, *, report: Report = silent, **options: Any) -> "ClimateSource":
    """A source over fields of NetCDF files or Zarr stores.

    Args:
        path: A NetCDF file, a Zarr store, a folder of NetCDF files along time, or a pattern such as
            "era5/*.nc" or a list of several.
        report: Told how far the survey is.
        **options: Fields of `ClimateOptions` and `SurveyOptions`, such as `variable="tas"`, `select="level=500"`
            (values as ids name them, times by how they begin) and `limit=100`.

    Returns:
        The source, every field read once.

    Raises:
        ConfigError: If an option is out of range, or fits nothing in the archive.
        ArchiveError: If the archive cannot be converted.
        MissingLibraryError: If a library that reads the archive is not installed.
    """
    return converter.open(path, *split_options(ClimateOptions, options), report)


@names_the_right_converter("climate")
def _open(files: ArchiveFiles, options: ClimateOptions, survey: SurveyOptions, report: Report) -> "ClimateSource":
    try:
        from converters.climate.files import ClimateFiles  # imports xarray, which listing converters does without
        from converters.climate.source import ClimateSource
    except ImportError as error:
        raise MissingLibraryError(
            f"a library that reads climate archives is not installed; run pip install 'functa-store[climate]': {error}"
        ) from error
    with in_bounded_memory(files.name):
        return ClimateSource(ClimateFiles(files), options, survey, report)


converter = Converter(
    summary="fields over latitude and longitude: NetCDF files or Zarr",
    options=ClimateOptions,
    presets=CLIMATE_PRESETS,
    open=_open,
    files=find_files,
)
