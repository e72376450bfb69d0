"""Something that is no source is named, with what makes a source of it."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import functa_store
from functa_store.sources.recognise import why_no_source

ROOT = pathlib.Path(__file__).parents[2]


def stranger(module, name, *bases):
    """An object of a class that another library would have."""
    return type(name, bases, {"__module__": module, "__len__": lambda self: 1, "__getitem__": lambda self, k: k})()


CASES = [
    ("photos.zip", "functa convert KIND PATH OUT"),
    (pathlib.Path("photos.zip"), "functa convert KIND PATH OUT"),
    (np.zeros((2, 3)), r"functa_store.ArraySource\(values\)"),
    (xr.DataArray([1.0]), "functa_store.from_xarray"),
    (xr.Dataset(), "functa_store.from_xarray"),
    (pd.DataFrame({"a": [1]}), "to_numpy.*convert huggingface"),
    (Image.new("L", (2, 2)), "from_torch of a list"),
    ([1, 2], "functa_store.from_torch.*functa_store.ArraySource"),
    (None, "it lacks domain, features"),
    (functa_store.ArraySource, "found the class ArraySource"),
    (stranger("datasets.arrow_dataset", "Dataset"), r"functa_store.from_huggingface\(dataset\)"),
    (stranger("datasets.dataset_dict", "DatasetDict", dict), r"functa_store.from_huggingface\(dataset\)"),
    (stranger("datasets.iterable_dataset", "IterableDataset"), "without streaming=True"),
    (stranger("mine", "Faces", type(stranger("torch.utils.data.dataset", "Dataset"))), "functa_store.from_torch"),
    (stranger("torch.utils.data.dataloader", "DataLoader"), r"from_torch\(loader.dataset\)"),
    (stranger("torch", "Tensor"), r"ArraySource\(tensor.numpy\(\)\)"),
    (stranger("tensorflow_datasets.core.dataset_builder", "DatasetBuilder"), r"functa_store.from_tfds\(builder\)"),
    (stranger("tensorflow.python.data.ops.dataset_ops", "DatasetV2"), "functa_store.from_tfds"),
    (stranger("h5py._hl.dataset", "Dataset"), r"functa_store.ArraySource\(values\)"),
    ({"train": stranger("torch.utils.data.dataset", "Dataset")}, "functa_store.from_torch.*by splits is taken"),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_what_is_no_source_is_named_with_what_to_call(number):
    value, advice = CASES[number]
    assert re.search(advice, why_no_source(value))


@pytest.mark.slow
def test_convert_plan_and_repair_say_so_before_anything_else(tmp_path):
    """In a process of its own, since types of arguments are checked here."""
    code = (
        "import sys, numpy as np, functa_store\nfrom functa_store.conversion.convert import plan\n"
        "config, values = functa_store.ConvertConfig(), np.zeros(3)\n"
        "for call in (lambda: functa_store.convert(values, sys.argv[1], config), lambda: plan(values, config),\n"
        "             lambda: functa_store.repair(values, 'tests/golden/v5.functa')):\n"
        "    try: call()\n"
        "    except functa_store.ArchiveError as error: print(error)"
    )
    path = str(tmp_path / "x.functa")
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(re.findall(r"found a NumPy array .*functa_store.ArraySource", done.stdout)) == 3
    assert not list(tmp_path.iterdir())


def test_a_source_that_lacks_something_is_told_what():
    class Half:
        domain = features = ids = split = labels = provenance = None

    assert why_no_source(Half()).endswith("it lacks rejects, read")


def test_no_library_is_imported_to_say_so():
    code = (
        "import sys; from functa_store.sources.recognise import why_no_source as why; why([1]); why('x')\n"
        "print([name for name in ('datasets', 'torch', 'xarray', 'pandas', 'PIL', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "datasets" not in done.stdout
    assert "torch" not in done.stdout
    assert "pandas" not in done.stdout
