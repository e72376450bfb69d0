"""Archives of images, shapes, scenes and fields as functasets: one small vector per example."""

__version__ = "0.1.0"

# Not typing's, which takes as long to import as all before it: the command line is to hear Ctrl-C at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from functa_store.array_sources import ArraySource as ArraySource
    from functa_store.config import ConvertConfig as ConvertConfig
    from functa_store.config import FitConfig as FitConfig
    from functa_store.config import InnerLoopConfig as InnerLoopConfig
    from functa_store.config import NetworkConfig as NetworkConfig
    from functa_store.config import OuterLoopConfig as OuterLoopConfig
    from functa_store.conversion import convert as convert
    from functa_store.decode.example import Example as Example
    from functa_store.decode.functaset import Functaset as Functaset
    from functa_store.decode.functaset import open_functaset as open  # noqa: F401
    from functa_store.errors import ArchiveError as ArchiveError
    from functa_store.errors import ConfigError as ConfigError
    from functa_store.errors import ExampleIndexError as ExampleIndexError
    from functa_store.errors import FunctaStoreError as FunctaStoreError
    from functa_store.errors import GridError as GridError
    from functa_store.errors import LearningError as LearningError
    from functa_store.errors import MemberError as MemberError
    from functa_store.errors import MissingLibraryError as MissingLibraryError
    from functa_store.errors import NoFunctasetError as NoFunctasetError
    from functa_store.errors import StorageError as StorageError
    from functa_store.errors import StoreExistsError as StoreExistsError
    from functa_store.errors import StoreFormatError as StoreFormatError
    from functa_store.errors import StoreMismatchError as StoreMismatchError
    from functa_store.errors import TooManyRejectsError as TooManyRejectsError
    from functa_store.exporting.export import export as export
    from functa_store.grids import CellGrid as CellGrid
    from functa_store.grids import GridPoints as GridPoints
    from functa_store.recoding import recode as recode
    from functa_store.repairing import repair as repair
    from functa_store.scenes import SceneVolume as SceneVolume
    from functa_store.sources import FeatureSpec as FeatureSpec
    from functa_store.sources import Label as Label
    from functa_store.sources import Reject as Reject
    from functa_store.sources import Source as Source
    from functa_store.sphere import SphereGrid as SphereGrid
    from functa_store.store.objects import StorageOptions as StorageOptions
    from functa_store.store.verify import Verdict as Verdict
    from functa_store.store.verify import verify as verify
    from functa_store.xarray_sources import from_xarray as from_xarray

# Importing JAX takes seconds; a name is looked up here when it is first used.
_HOMES = {
    "array_sources": "ArraySource",
    "config": "ConvertConfig FitConfig InnerLoopConfig NetworkConfig OuterLoopConfig",
    "conversion": "convert",
    "decode.example": "Example",
    "decode.functaset": "Functaset open_functaset:open",
    "errors": "ArchiveError ConfigError ExampleIndexError FunctaStoreError GridError LearningError MemberError "
    "MissingLibraryError NoFunctasetError StorageError StoreExistsError StoreFormatError StoreMismatchError "
    "TooManyRejectsError",
    "exporting.export": "export",
    "grids": "CellGrid GridPoints",
    "recoding": "recode",
    "repairing": "repair",
    "sources": "FeatureSpec Label Reject Source",
    "scenes": "SceneVolume",
    "sphere": "SphereGrid",
    "store.objects": "StorageOptions",
    "store.verify": "Verdict verify",
    "xarray_sources": "from_xarray",
}
_FOUND_IN = {
    entry.split(":")[-1]: (home, entry.split(":")[0]) for home, names in _HOMES.items() for entry in names.split()
}


def __getattr__(name: str) -> object:
    import importlib

    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, inner_name = _FOUND_IN[name]
    value = getattr(importlib.import_module(f"{__name__}.{home}"), inner_name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FOUND_IN})
