"""Training data from functasets: shuffled, normalised batches for NumPy, JAX, PyTorch, grain and Hugging Face."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functa_store.loaders.batch_content import DecodeGrid as DecodeGrid
    from functa_store.loaders.batch_content import DecodePoints as DecodePoints
    from functa_store.loaders.batch_content import Normalization as Normalization
    from functa_store.loaders.datasets import Batches as Batches
    from functa_store.loaders.datasets import Examples as Examples
    from functa_store.loaders.huggingface import to_huggingface as to_huggingface
    from functa_store.loaders.loader import Loader as Loader
    from functa_store.loaders.torch_datasets import TorchBatches as TorchBatches
    from functa_store.loaders.torch_datasets import TorchExamples as TorchExamples
    from functa_store.loaders.windows import BlockShuffle as BlockShuffle

# PyTorch and datasets are optional; a name is looked up here when it is first used.
_HOMES = {
    "batch_content": "DecodeGrid DecodePoints Normalization",
    "datasets": "Batches Examples",
    "huggingface": "to_huggingface",
    "loader": "Loader",
    "windows": "BlockShuffle",
    "torch_datasets": "TorchBatches TorchExamples",
}
_FOUND_IN = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_FOUND_IN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FOUND_IN})
