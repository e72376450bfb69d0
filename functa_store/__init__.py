"""Archives of images, shapes, scenes and fields as functasets: one small vector per example."""

__version__ = "0.1.0"

# Not typing's, which takes as long to import as all before it: the command line is to hear Ctrl-C at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from functa_store.config import ConvertConfig as ConvertConfig
    from functa_store.config import FitConfig as FitConfig
    from functa_store.config import InnerLoopConfig as InnerLoopConfig
    from functa_store.config import NetworkConfig as NetworkConfig
    from functa_store.config import OuterLoopConfig as OuterLoopConfig
    from functa_store.conversion.append import append as append
    from functa_store.conversion.convert import convert as convert
    from functa_store.conversion.convert import plan as plan
    from functa_store.conversion.deep_verify import DeepVerdict as DeepVerdict
    from functa_store.conversion.deep_verify import verify_deep as verify_deep
    from functa_store.conversion.encode import encode as encode
    from functa_store.conversion.encoder import Encoded as Encoded
    from functa_store.conversion.hosts import Hosts as Hosts
    from functa_store.conversion.import_deepmind import import_deepmind as import_deepmind
    from functa_store.conversion.merge import merge as merge
    from functa_store.conversion.merge import subset as subset
    from functa_store.conversion.recode import recode as recode
    from functa_store.conversion.repair import repair as repair
    from functa_store.conversion.workers.dask_engine import Dask as Dask
    from functa_store.conversion.workers.engine import Elsewhere as Elsewhere
    from functa_store.conversion.workers.finish import finish as finish
    from functa_store.conversion.workers.processes import Processes as Processes
    from functa_store.conversion.workers.worker import work as work
    from functa_store.decode.facts import info as info
    from functa_store.decode.functaset import Example as Example
    from functa_store.decode.functaset import Functaset as Functaset
    from functa_store.decode.functaset import concat as concat
    from functa_store.decode.functaset import open_functaset as open  # noqa: F401
    from functa_store.decode.pictures import comparison_sheet as comparison_sheet
    from functa_store.decode.pictures import contact_sheet as contact_sheet
    from functa_store.domains.cells import CellGrid as CellGrid
    from functa_store.domains.cells import GridPoints as GridPoints
    from functa_store.domains.scene import SceneVolume as SceneVolume
    from functa_store.domains.scene import orbit as orbit
    from functa_store.domains.scene import other_convention as other_convention
    from functa_store.domains.sphere import SphereGrid as SphereGrid
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
    from functa_store.errors import WorkerError as WorkerError
    from functa_store.exporting.export import export as export
    from functa_store.media.film import write_film as write_film
    from functa_store.media.mesh import surface as surface
    from functa_store.media.mesh import write_mesh as write_mesh
    from functa_store.media.scene_views import render_view as render_view
    from functa_store.media.scene_views import write_orbit as write_orbit
    from functa_store.media.sheet import pictures as pictures
    from functa_store.media.sheet import write_sheet as write_sheet
    from functa_store.media.sound import write_sound as write_sound
    from functa_store.page.server import PageServer as PageServer
    from functa_store.page.server import view as view
    from functa_store.page.site import write_page as write_page
    from functa_store.plugins import Converter as Converter
    from functa_store.plugins import Preset as Preset
    from functa_store.plugins import converters as converters
    from functa_store.plugins import paper_loops as paper_loops
    from functa_store.plugins import read_preset as read_preset
    from functa_store.plugins import write_preset as write_preset
    from functa_store.reopen import reopen_archive as reopen_archive
    from functa_store.scoring.score import Accuracy as Accuracy
    from functa_store.scoring.score import Score as Score
    from functa_store.scoring.score import score as score
    from functa_store.sharing.card import card as card
    from functa_store.sharing.hub import pull as pull
    from functa_store.sharing.hub import push as push
    from functa_store.sharing.report import report as report
    from functa_store.sources.array_source import ArraySource as ArraySource
    from functa_store.sources.at_hand.huggingface_source import from_huggingface as from_huggingface
    from functa_store.sources.at_hand.tfds_source import from_tfds as from_tfds
    from functa_store.sources.at_hand.torch_source import from_torch as from_torch
    from functa_store.sources.augmented_source import augmented as augmented
    from functa_store.sources.features import FeatureSpec as FeatureSpec
    from functa_store.sources.source import Label as Label
    from functa_store.sources.source import Reject as Reject
    from functa_store.sources.source import Source as Source
    from functa_store.sources.xarray_source import from_xarray as from_xarray
    from functa_store.store.reading.verify import Verdict as Verdict
    from functa_store.store.reading.verify import verify as verify
    from functa_store.store.storage.objects import StorageOptions as StorageOptions

# Importing JAX takes seconds; a name is looked up here when it is first used.
_HOMES = {
    "config": "ConvertConfig FitConfig InnerLoopConfig NetworkConfig OuterLoopConfig",
    "conversion.append": "append",
    "conversion.convert": "convert plan",
    "conversion.deep_verify": "DeepVerdict verify_deep",
    "conversion.encode": "encode",
    "conversion.encoder": "Encoded",
    "conversion.hosts": "Hosts",
    "conversion.import_deepmind": "import_deepmind",
    "conversion.merge": "merge subset",
    "conversion.recode": "recode",
    "conversion.repair": "repair",
    "conversion.workers.dask_engine": "Dask",
    "conversion.workers.engine": "Elsewhere",
    "conversion.workers.finish": "finish",
    "conversion.workers.processes": "Processes",
    "conversion.workers.worker": "work",
    "decode.facts": "info",
    "decode.functaset": "Example Functaset concat open_functaset:open",
    "decode.pictures": "comparison_sheet contact_sheet",
    "domains.cells": "CellGrid GridPoints",
    "domains.scene": "SceneVolume orbit other_convention",
    "domains.sphere": "SphereGrid",
    "errors": "ArchiveError ConfigError ExampleIndexError FunctaStoreError GridError LearningError MemberError "
    "MissingLibraryError NoFunctasetError StorageError StoreExistsError StoreFormatError StoreMismatchError "
    "TooManyRejectsError WorkerError",
    "exporting.export": "export",
    "media.film": "write_film",
    "media.mesh": "surface write_mesh",
    "media.scene_views": "render_view write_orbit",
    "media.sheet": "pictures write_sheet",
    "media.sound": "write_sound",
    "page.server": "PageServer view",
    "page.site": "write_page",
    "plugins": "Converter Preset converters paper_loops read_preset write_preset",
    "reopen": "reopen_archive",
    "scoring.score": "Accuracy Score score",
    "sharing.card": "card",
    "sharing.hub": "pull push",
    "sharing.report": "report",
    "sources.array_source": "ArraySource",
    "sources.at_hand.huggingface_source": "from_huggingface",
    "sources.at_hand.tfds_source": "from_tfds",
    "sources.at_hand.torch_source": "from_torch",
    "sources.augmented_source": "augmented",
    "sources.features": "FeatureSpec",
    "sources.source": "Label Reject Source",
    "sources.xarray_source": "from_xarray",
    "store.reading.verify": "Verdict verify",
    "store.storage.objects": "StorageOptions",
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
