"""Pictures and their augmentations from an archive to a functaset, resumed and repaired."""

import json
from pathlib import Path

import numpy as np
import pytest

import functa_store
from converters.images.images import open_images
from functa_store.cli.main import main
from functa_store.config import ConvertConfig, FitConfig, InnerLoopConfig, NetworkConfig, OuterLoopConfig
from functa_store.progress import Fitted
from functa_store.store.reading.verify import verify
from tests.kinds import archives

CONFIG = ConvertConfig(
    network=NetworkConfig(width=8, depth=3, w0=10.0, modulation_dim=4),
    inner=InnerLoopConfig(num_steps=1, learning_rate=0.1),
    outer=OuterLoopConfig(num_steps=2, batch_size=4, num_points=16, warmup_steps=0, monitor_every=2),
    fit=FitConfig(num_steps=1, stride=1, tuning_steps=0),
    rows_per_shard=8,
)
OPTIONS = {"resolution": 8, "augment": 2, "augment_crop": 0.6, "holdout": 0.25}


def files(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in Path(path).rglob("*") if p.is_file()}


@pytest.fixture(scope="module", name="archive")
def _archive(tmp_path_factory):
    return archives.images(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="module", name="store")
def _store(archive, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "whole.functa"
    functa_store.convert(open_images(archive, **OPTIONS), path, CONFIG)
    return path


@pytest.mark.slow
def test_the_functaset_has_a_modulation_of_every_augmentation(archive, store):
    source, fs = open_images(archive, **OPTIONS), functa_store.open(store)
    assert fs.ids[:].tolist() == list(source.ids)
    assert fs.split[:].tolist() == ["train", "train", "train", "test"] * 2 + ["train"] * 12
    of = [0, 0, 1, 1, 2, 2, 4, 4, 5, 5, 6, 6]
    assert fs.augmentations["of"][:].tolist() == [*range(8), *of]
    for name in ("flip", "top", "left", "side"):
        np.testing.assert_array_equal(fs.augmentations[name][:], getattr(source.augmentations, name), strict=True)
    assert len(np.unique(fs.modulations[:], axis=0)) == 20
    assert {name: found.examples for name, found in fs.spec.quality.items()} == {"test": 2, "train": 6}
    assert verify(store).damaged == {}


@pytest.mark.slow
def test_interrupted_it_goes_on_to_the_same_bytes(archive, store, tmp_path):
    def interrupt(event):
        if isinstance(event, Fitted) and event.done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        functa_store.convert(open_images(archive, **OPTIONS), tmp_path / "resumed.functa", CONFIG, report=interrupt)
    functa_store.convert(open_images(archive, **OPTIONS), tmp_path / "resumed.functa", CONFIG)
    assert files(tmp_path / "resumed.functa") == files(store)


@pytest.mark.slow
def test_repair_opens_the_archive_with_its_augmentations(archive, store, tmp_path):
    expected = files(store)
    for name, data in expected.items():
        (tmp_path / "damaged.functa" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "damaged.functa" / name).write_bytes(data)
    (tmp_path / "damaged.functa/modulations/c/2/0").unlink()
    (tmp_path / "damaged.functa/augmentation_of/c/0").write_bytes(b"")
    assert verify(tmp_path / "damaged.functa").damaged.keys() == {"modulations/c/2/0", "augmentation_of/c/0"}
    assert main(["repair", str(tmp_path / "damaged.functa"), "--archive", str(archive)]) == 0
    assert verify(tmp_path / "damaged.functa").damaged == {}
    repaired = functa_store.open(tmp_path / "damaged.functa")
    np.testing.assert_array_equal(repaired.augmentations["of"][:], functa_store.open(store).augmentations["of"][:])
    np.testing.assert_allclose(repaired.modulations[:], functa_store.open(store).modulations[:], atol=1e-5)


@pytest.mark.slow
def test_the_plan_and_the_command_line_count_them(archive, store, capsys):
    facts = functa_store.plan(open_images(archive, **OPTIONS), CONFIG)
    assert (facts["examples"], facts["augmentations"]) == ({"test": 2, "train": 6}, 12)
    assert "2 test, 6 train; 12 augmentations of train" in facts["origin"]
    assert main(["info", str(store)]) == 0
    assert "12 of these examples, 2 of each of 6" in capsys.readouterr().out
    network = ["--network.width", "8", "--network.depth", "3", "--modulation-dim", "4"]
    words = ["--resolution", "8", "--augment", "3", "--dry-run", "--json", "--quiet", *network]
    assert main(["convert", "images", str(archive), "out.functa", *words]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["augmentations"] == 24
