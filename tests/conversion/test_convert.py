"""From a source to a functaset and back."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functa_store
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
)
from functa_store.conversion import convert as planning
from functa_store.conversion.fit_shards import Tally
from functa_store.conversion.recode import compared
from functa_store.domains.cells import CellGrid
from functa_store.domains.scene import SceneVolume
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    FunctaStoreError,
    StoreExistsError,
    StoreFormatError,
    StoreMismatchError,
)
from functa_store.metrics import psnr
from functa_store.progress import Fitted, Learned, Tuned
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Reject, label_problem
from functa_store.store.reading.reader import StoreReader

NETWORK = NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=4)
OUTER = OuterLoopConfig(num_steps=20, batch_size=4, num_points=32, warmup_steps=2, monitor_every=10)
CONFIG = ConvertConfig(
    network=NETWORK,
    inner=InnerLoopConfig(num_steps=2, learning_rate=0.1),
    outer=OUTER,
    fit=FitConfig(num_steps=4, stride=2, tuning_steps=6),
    rows_per_shard=16,
)
VALUES = np.random.default_rng(0).integers(0, 256, size=(40, 8, 8, 3), dtype=np.uint8)
SPEC = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)


def source():
    made = ArraySource(VALUES, features=SPEC, labels={"kind": Label(values=np.arange(40) % 3, names=("a", "b", "c"))})
    made.rejects = [Reject(member="x.png", reason="truncated")]
    return made


def files(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in Path(path).rglob("*") if p.is_file()}


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "whole.functa"
    functa_store.convert(source(), path, CONFIG)
    return path


def test_the_store_holds_what_the_source_offered(store):
    fs = functa_store.open(store)
    offered = source()
    assert list(fs.ids) == list(offered.ids)
    assert list(fs.split) == list(offered.split)
    np.testing.assert_array_equal(fs.labels["kind"], offered.labels["kind"].values)
    assert fs.store.label_names["kind"] == ("a", "b", "c")
    assert fs.store.rejects == offered.rejects
    assert fs.features == SPEC
    assert dataclasses.replace(fs.config, fit=CONFIG.fit) == CONFIG
    assert fs.store.spec.reference["components"] == 4


def test_decoding_on_the_archives_grid_is_the_fits_reconstruction(store):
    fs = functa_store.open(store)
    errors = np.mean((fs.decode(slice(None), clip=False) - VALUES / np.float32(255)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(errors, fs.mse, rtol=1e-5)
    np.testing.assert_allclose(fs.psnr, psnr(errors), atol=1e-3)


@pytest.mark.slow
def test_the_same_conversion_twice_gives_the_same_bytes(store, tmp_path):
    again = tmp_path / "again.functa"
    functa_store.convert(source(), again, CONFIG)
    assert files(again) == files(store)
    assert not again.with_name("again.functa.work").exists()


@pytest.mark.slow
@pytest.mark.parametrize("after", [Learned, Tuned, Fitted])
def test_an_interrupted_conversion_goes_on_to_the_same_bytes(store, tmp_path, after):
    path, seen = tmp_path / "resumed.functa", []

    def interrupt(event):
        seen.append(event)
        far = {Learned: lambda: True, Tuned: lambda: event.step == 3, Fitted: lambda: event.done > 16}
        if isinstance(event, after) and far[after]():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        functa_store.convert(source(), path, CONFIG, report=interrupt)
    events = []
    functa_store.convert(source(), path, CONFIG, report=events.append)
    assert files(path) == files(store)
    if after is Tuned:
        assert [event.step for event in events if isinstance(event, Tuned)] == [4, 5, 6]
    if after is Fitted:
        assert not any(isinstance(event, Learned | Tuned) for event in events)
        assert min(event.done for event in events if isinstance(event, Fitted)) > 16


ON_FOUR_DEVICES = """
import jax, sys
jax.config.update("jax_num_cpu_devices", 4)
import functa_store
from tests.conversion import test_convert as t
functa_store.convert(t.source(), sys.argv[1], t.ODD)
assert jax.local_device_count() == 4
"""
ODD = dataclasses.replace(CONFIG, outer=dataclasses.replace(OUTER, batch_size=5))


@pytest.mark.long
def test_a_batch_that_devices_do_not_divide_is_converted_all_the_same(tmp_path):
    """Five examples go to one of four devices, the fit of 32 to all of them."""
    subprocess.run([sys.executable, "-c", ON_FOUR_DEVICES, tmp_path / "four.functa"], check=True)
    functa_store.convert(source(), tmp_path / "here.functa", ODD)
    there, here = (functa_store.open(tmp_path / f"{name}.functa").modulations[:] for name in ("four", "here"))
    np.testing.assert_allclose(there, here, atol=1e-4 * np.abs(here).max())


@pytest.mark.slow
def test_a_time_budget_becomes_the_number_of_steps_it_took(tmp_path):
    outer = OuterLoopConfig(num_steps=None, time_budget=0.3, batch_size=4, num_points=32, warmup_steps=2)
    path = tmp_path / "timed.functa"
    functa_store.convert(source(), path, ConvertConfig(network=NETWORK, outer=outer))
    stored = functa_store.open(path).config.outer
    assert stored.time_budget is None
    assert stored.num_steps >= 1


def test_times_and_machine_go_to_a_log_beside_the_store(store):
    lines = [json.loads(line) for line in store.with_name("whole.functa.log").read_text().splitlines()]
    assert [line["event"] for line in lines[:1] + lines[-1:]] == ["started", "ended"]
    assert any(line["event"] == "fitted" and line["examples_per_second"] > 0 for line in lines)


def test_a_finished_store_is_not_overwritten(store):
    before = files(store)
    with pytest.raises(StoreExistsError, match="complete"):
        functa_store.convert(source(), store, CONFIG)
    assert files(store) == before


@pytest.mark.slow
def test_another_conversion_cannot_go_on_with_a_checkpoint(tmp_path):
    path = tmp_path / "mixed.functa"

    def interrupt(event):
        if isinstance(event, Learned):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        functa_store.convert(source(), path, CONFIG, report=interrupt)
    other = dataclasses.replace(CONFIG, seed=7)
    with pytest.raises(StoreMismatchError, match=r"config\.seed is 0, expected 7"):
        functa_store.convert(source(), path, other)


def test_the_fit_is_stored_with_its_base(store):
    fs = functa_store.open(store)
    assert (fs.config.fit.num_steps, fs.config.fit.stride, fs.config.fit.tile_points) == (4, 2, 1024)
    assert fs.base["inner_loop/learning_rate"].shape == fs.base["inner_loop/momentum"].shape == (4, 4)


@pytest.mark.slow
def test_reduced_precision_reports_what_it_costs(store, tmp_path):
    config = dataclasses.replace(CONFIG, matmul_precision="bfloat16")
    functa_store.convert(source(), tmp_path / "half.functa", config)
    half = functa_store.open(tmp_path / "half.functa")
    assert not np.array_equal(half.modulations[:], functa_store.open(store).modulations[:])
    found = half.store.spec.reference["matmul_precision"]
    assert found["precision"] == "bfloat16"
    assert found["examples"] == 3
    assert abs(found["psnr_mean"] - found["psnr_mean_in_float32"]) < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fit_batch_size": 0}, "fit_batch_size must be a whole number of at least 1"),
        ({"fit_batch_size": True}, "fit_batch_size must be a whole number"),
        ({"snapshot_seconds": float("nan")}, "snapshot_seconds must be at least 0"),
        ({"snapshot_seconds": "a"}, "snapshot_seconds must be a number, got 'a'"),
        ({"snapshot_seconds": None}, "snapshot_seconds must be a number, got None"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_an_option_out_of_range_writes_nothing(options, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        functa_store.convert(source(), tmp_path / "a.functa", CONFIG, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_contradicts_itself_writes_nothing(tmp_path):
    broken = source()
    broken.split = np.array(["test"] * 40)
    with pytest.raises(ArchiveError, match="nothing to learn from"):
        functa_store.convert(broken, tmp_path / "never.functa", CONFIG)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_shift_modulations_are_stored_and_decoded_like_latent_ones(tmp_path):
    network = NetworkConfig(width=8, depth=3, w0=10.0, modulation="shift", modulation_dim=None)
    config = ConvertConfig(network=network, inner=InnerLoopConfig(learning_rate=1e-3), outer=OUTER)
    path = tmp_path / "shift.functa"
    functa_store.convert(source(), path, config)
    fs = functa_store.open(path)
    assert fs.modulations.shape == (40, 16)
    assert "map/kernel" not in fs.base
    errors = np.mean((fs.decode(slice(None), clip=False) - VALUES / np.float32(255)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(errors, fs.mse, rtol=1e-5)


def test_a_plan_says_what_a_conversion_would_do(store):
    plan = planning.plan(source(), CONFIG)
    fs = functa_store.open(store)
    assert plan["examples"] == {"train": 36, "test": 4}
    assert plan["modulation_size"] == 4
    assert plan["base_parameters"] == sum(a.size for name, a in fs.base.items() if not name.startswith("inner_loop"))
    assert plan["learning_seconds"] > 0
    assert plan["fitting_seconds"] > 0


class Scenes:
    """Two scenes of random rays."""

    domain: Any = SceneVolume(
        resolution=(4,) * 3, bound=1.0, views=1, held_out_views=1, image_size=(4, 4), near=0.8, far=1.8, num_samples=4
    )

    def __init__(self, *, columns=9, channels=("red", "green", "blue", "density"), domain=None):
        self.columns, self.domain = columns, domain or self.domain
        self.features = FeatureSpec(channels=channels, metrics=("mse_held_out",))
        self.ids, self.split, self.labels, self.rejects = ["a", "b"], np.array(["train", "test"]), {}, []
        self.provenance = {"archive": "scenes", "sha256": "0"}

    def read(self, index):
        rays = np.random.default_rng(index).random((2, 4, 4, self.columns), np.float32)
        rays[..., 3:6] /= np.linalg.norm(rays[..., 3:6], axis=-1, keepdims=True)
        return rays


class Elsewhere(CellGrid):
    """A kind of domain that nobody knows."""


RADIANCE = dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, head="radiance"))


@pytest.mark.parametrize(
    ("offered", "config", "error", "words"),
    [
        (Scenes(), CONFIG, ConfigError, "needs 'radiance'"),
        (source(), RADIANCE, ConfigError, "needs 'linear'"),
        (Scenes(channels=("red", "green", "blue")), RADIANCE, ConfigError, "expected 4 for a network's head"),
        (Scenes(columns=7), RADIANCE, ArchiveError, "shape .*7.*expected .*9"),
        (Scenes(domain=Elsewhere(axes=("y", "x", "z"), resolution=(2, 4, 4))), CONFIG, ArchiveError, "shape"),
        (
            Scenes(domain=Elsewhere(axes=("y", "x", "z"), resolution=(2, 4, 4)), columns=4),
            CONFIG,
            ConfigError,
            "Elsewh",
        ),
    ],
)
def test_what_a_network_cannot_learn_is_refused_before_work_starts(offered, config, error, words, tmp_path):
    with pytest.raises(error, match=words):
        functa_store.convert(offered, tmp_path / "none.functa", config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_rounding_scenes_costs_what_is_seen_along_rays(tmp_path):
    """Their errors are those of colours, not of densities, which are ten times as large."""
    config = dataclasses.replace(
        RADIANCE, modulation_dtype="int8", outer=dataclasses.replace(OUTER, num_steps=2), fit=FitConfig(tuning_steps=0)
    )
    functa_store.convert(Scenes(), tmp_path / "rounded.functa", config)
    loss = functa_store.open(tmp_path / "rounded.functa").store.spec.rounding_loss
    assert 0 <= loss.mse_mean <= loss.mse_max < 1e-4
    reader = StoreReader(tmp_path / "rounded.functa")
    look, weights = compared(reader, 64)
    assert look(reader.modulations[0:1][0]).shape == (len(weights), 3) == (16, 3)


OTHERS = {
    "config.seed is 0, expected 1": (source, dataclasses.replace(CONFIG, seed=1)),
    "config.network.w0 is 10.0": (source, dataclasses.replace(CONFIG, network=dataclasses.replace(NETWORK, w0=9.0))),
    "examples.sha256": (lambda: ArraySource(VALUES, features=SPEC), CONFIG),
}


@pytest.mark.parametrize("found", OTHERS)
def test_a_finished_exact_store_of_another_seed_or_dataset_is_not_believed(tmp_path, store, monkeypatch, found):
    (make, config), path = OTHERS[found], tmp_path / "x.functa"
    config = dataclasses.replace(config, modulation_dtype="int8")
    monkeypatch.setattr("functa_store.conversion.convert.pca_reference", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # it has begun
        functa_store.convert(make(), path, config)
    shutil.copytree(store, tmp_path / "x.functa.work/exact.functa")
    with pytest.raises(StoreMismatchError, match=rf"exact\.functa: is a functaset of another .*{found}"):
        functa_store.convert(make(), path, config)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("time_budget", "tuning_steps"), [(None, 0), (0.2, 2)])
def test_what_is_decided_on_the_way_does_not_make_an_exact_store_anothers(
    tmp_path, monkeypatch, time_budget, tuning_steps
):
    outer = dataclasses.replace(OUTER, time_budget=time_budget, num_steps=None if time_budget else 3)
    fit = FitConfig(num_steps=3, tuning_steps=tuning_steps)
    config = dataclasses.replace(CONFIG, outer=outer, fit=fit, modulation_dtype="int8")
    monkeypatch.setattr("functa_store.conversion.convert.write_recoded", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        functa_store.convert(source(), tmp_path / "x.functa", config)
    monkeypatch.undo()
    monkeypatch.setattr("functa_store.conversion.convert._learn", lambda *_: 1 / 0)
    functa_store.convert(source(), tmp_path / "x.functa", config)
    assert functa_store.verify(tmp_path / "x.functa").complete


def test_a_finished_store_of_another_conversion_does_not_end_this_one(tmp_path, store, monkeypatch):
    path, config = tmp_path / "x.functa", dataclasses.replace(CONFIG, seed=1)
    monkeypatch.setattr("functa_store.conversion.convert.pca_reference", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # it has begun
        functa_store.convert(source(), path, config)
    shutil.copytree(store, path)
    with pytest.raises(StoreExistsError, match="complete functaset"):
        functa_store.convert(source(), path, config)
    assert (tmp_path / "x.functa.work/learning/conversion.json").exists()


@pytest.mark.slow
def test_of_an_archive_that_was_edited_meanwhile_no_snapshot_and_no_shard_is_kept(tmp_path):
    path, work = tmp_path / "x.functa", tmp_path / "x.functa.work"

    class Edited(ArraySource):
        after = work

        def check_unchanged(self):
            if self.after.exists():
                raise ArchiveError("photos.zip: was changed while it was being converted")

    edited = Edited(VALUES, features=SPEC)
    with pytest.raises(ArchiveError, match="was changed"):
        functa_store.convert(edited, path, CONFIG)
    assert [file.name for file in work.rglob("*.*")] == ["conversion.json"]
    edited.after = path / "zarr.json"  # it has learned
    with pytest.raises(ArchiveError, match="was changed"):
        functa_store.convert(edited, path, CONFIG)
    with pytest.raises(StoreFormatError, match="shards are missing"):
        functa_store.finish(path)
    assert not (path / "modulations/c").exists()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.symlink_to(path.with_name("nothing")), StoreExistsError),
        (lambda path: path.write_text("mine"), StoreExistsError),
        (lambda path: path.symlink_to(path), StoreExistsError),
        (lambda path: path.with_name("x.functa.work").symlink_to(path.parent), StoreFormatError),
        (lambda path: path.with_name("x.functa.log").symlink_to(path.parent / "mine"), StoreFormatError),
        (lambda path: path.with_name("x.functa.work").write_text("mine"), FunctaStoreError),
    ],
    ids=["dangling", "file", "loop", "linked work folder", "linked log", "a file as work folder"],
)
def test_a_place_that_cannot_be_written_is_refused_before_learning(tmp_path, monkeypatch, make, error):
    monkeypatch.setattr("functa_store.conversion.convert.meta_learn", lambda *_args, **_kwargs: 1 / 0)
    make(tmp_path / "x.functa")
    before = sorted((str(path), path.is_symlink()) for path in tmp_path.iterdir())
    with pytest.raises(error):
        functa_store.convert(source(), tmp_path / "x.functa", CONFIG)
    assert sorted((str(path), path.is_symlink()) for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"a\\b": np.zeros(40)}, "slash or backslash"),
        ({"a\0b": np.zeros(40)}, "printable"),
        ({"a\nb": np.zeros(40)}, "printable"),
        ({"\ud800": np.zeros(40)}, "printable"),
        ({"x" * 300: np.zeros(40)}, "300 bytes, expected at most 200"),
        ({"kind": np.zeros(40, complex)}, "complex128"),
        ({"kind": np.array(["a"] * 40)}, "<U1"),
        ({"kind": np.zeros(40), "Kind": np.zeros(40)}, "letters' case"),
        ({"\u00e9": np.zeros(40), "e\u0301": np.zeros(40)}, "letters' case, or in how these are composed"),
    ],
)
def test_labels_that_only_a_writer_would_refuse_are_refused_before_learning(labels, found):
    given = {name: Label(values=values) for name, values in labels.items()}
    with pytest.raises(ArchiveError, match=found):
        ArraySource(VALUES, features=SPEC, labels=given)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: setattr(made, "ids", ["\ud800", *made.ids[1:]]),
        lambda made: setattr(made, "ids", ["a\0", *made.ids[1:]]),
        lambda made: setattr(made, "ids", ["", *made.ids[1:]]),
        lambda made: setattr(made, "ids", [["a"], *made.ids[1:]]),
        lambda made: setattr(made, "ids", ["x" * 10**7, *made.ids[1:]]),
        lambda made: setattr(made, "provenance", {"archive": "\udcff.zip", "sha256": ""}),
        lambda made: setattr(made, "features", dataclasses.replace(SPEC, units=("\ud800", "1", "1"))),
    ],
    ids=["surrogate", "NUL", "empty", "list", "long", "archive", "unit"],
)
def test_texts_that_only_a_writer_would_refuse_are_refused_before_learning(tmp_path, monkeypatch, change):
    monkeypatch.setattr("functa_store.conversion.convert.meta_learn", lambda *_args, **_kwargs: 1 / 0)
    made = source()
    change(made)
    with pytest.raises((ArchiveError, ConfigError)):
        functa_store.convert(made, tmp_path / "x.functa", CONFIG)
    assert not any(tmp_path.rglob("*.npz"))
    assert not (tmp_path / "x.functa").exists()


def test_a_label_of_long_doubles_is_none_that_can_be_stored():
    assert "expected one of bool" in str(label_problem("kind", Label(values=np.zeros(4, np.longdouble))))
    assert label_problem("kind", Label(values=np.zeros(4, ">f4"), names=("a",))) is None


def test_rejects_of_other_encodings_and_lengths_are_kept_readably():
    reject = Reject(member="caf\udce9.png", reason="x" * 10_000)
    assert reject.member == "caf\\udce9.png"
    assert len(reject.reason) == 1000


def test_a_shard_that_another_process_has_fitted_says_nothing_of_quality():
    said = []
    tally = Tally(4, 8, 1.0, said.append)
    tally.count(0, 0.0)
    tally.count(2, 60.0)
    assert [(event.done, event.psnr_mean) for event in said] == [(6, 30.0)]
