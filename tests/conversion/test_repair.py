"""A store is recoded, verified and repaired to the bytes that it should have."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.cli import main as cli
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    InnerLoopConfig,
    NetworkConfig,
    OuterLoopConfig,
    to_dict,
)
from functa_store.conversion import deep_verify
from functa_store.errors import (
    ConfigError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
    StoreMismatchError,
)
from functa_store.metrics import psnr
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.reading.reader import take_inventory
from functa_store.store.storage.local import LocalObjects

CONFIG = ConvertConfig(
    network=NetworkConfig(width=16, depth=3, w0=10.0, modulation_dim=6),
    inner=InnerLoopConfig(num_steps=2, learning_rate=0.1),
    outer=OuterLoopConfig(num_steps=20, batch_size=4, num_points=32, warmup_steps=2, monitor_every=10),
    fit=FitConfig(num_steps=4, stride=2, tuning_steps=6),
    rows_per_shard=8,
)
VALUES = np.random.default_rng(0).integers(0, 256, size=(40, 8, 8, 3), dtype=np.uint8)
SPEC = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)


def source(**changes):
    return ArraySource(
        **{"values": VALUES, "features": SPEC, "labels": {"kind": Label(values=np.arange(40))}} | changes
    )


def files(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in Path(path).rglob("*") if p.is_file()}


@pytest.fixture(scope="module", name="stores")
def _stores(tmp_path_factory):
    """One store per dtype: a conversion, and what recoding makes of it, which is what a conversion to it would be."""
    folder = tmp_path_factory.mktemp("stores")
    functa_store.convert(source(), folder / "float32.functa", CONFIG)
    for dtype in ("float16", "int8"):
        functa_store.recode(folder / "float32.functa", folder / f"{dtype}.functa", dtype)
    return folder


@pytest.fixture
def copy(stores, tmp_path):
    return shutil.copytree(stores / "int8.functa", tmp_path / "copy.functa")


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_recoding_gives_the_bytes_of_a_conversion_to_that_dtype(stores, tmp_path, dtype):
    functa_store.convert(source(), tmp_path / "out.functa", dataclasses.replace(CONFIG, modulation_dtype=dtype))
    assert files(stores / f"{dtype}.functa") == files(tmp_path / "out.functa")


@pytest.mark.slow
def test_an_interrupted_conversion_to_int8_goes_on_to_the_same_bytes(stores, tmp_path, monkeypatch):
    path, config = tmp_path / "again.functa", dataclasses.replace(CONFIG, modulation_dtype="int8")
    for part in ("workers.engine.fit_shards", "convert.write_recoded"):
        with monkeypatch.context() as patch:
            patch.setattr(f"functa_store.conversion.{part}", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                functa_store.convert(source(), path, config)
    with pytest.raises(StoreFormatError, match=r"exact\.functa"):
        functa_store.open(path)
    assert len(functa_store.open(tmp_path / "again.functa.work" / "exact.functa")) == 40
    functa_store.convert(source(), path, config)
    assert files(path) == files(stores / "int8.functa")
    assert not path.with_name("again.functa.work").exists()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_the_loss_that_a_store_states_is_that_against_the_images(stores, dtype):
    exact, rounded = (functa_store.open(stores / f"{name}.functa") for name in ("float32", dtype))
    wanted = VALUES.astype(np.float64) / 255
    found = [
        psnr(((fs.decode(slice(None), clip=False) - wanted) ** 2).mean(axis=(1, 2, 3)), 1.0) for fs in (exact, rounded)
    ]
    loss = rounded.store.spec.rounding_loss
    assert loss.examples == 40
    np.testing.assert_allclose(loss.psnr_loss, (found[0] - found[1]).mean(), atol=5e-3)
    assert 0 <= loss.psnr_loss <= loss.psnr_loss_max < 0.1


def test_losses_add_up(stores, tmp_path):
    functa_store.recode(stores / "float16.functa", tmp_path / "twice.functa", "int8")
    functa_store.recode(tmp_path / "twice.functa", tmp_path / "back.functa", "float32")
    losses = [
        functa_store.open(path).store.spec.rounding_loss.psnr_loss
        for path in (stores / "float16.functa", tmp_path / "twice.functa", tmp_path / "back.functa")
    ]
    assert losses[0] < losses[1] == losses[2]


@pytest.mark.long
def test_a_base_in_float16_is_what_examples_were_fitted_with(tmp_path):
    functa_store.convert(source(), tmp_path / "half.functa", dataclasses.replace(CONFIG, base_dtype="float16"))
    fs = functa_store.open(tmp_path / "half.functa")
    assert fs.store.stored_base["sine_1/kernel"].dtype == np.float16
    assert fs.base["sine_1/kernel"].dtype == np.float32
    mse = ((fs.decode(slice(None), clip=False) - VALUES / 255) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(mse, fs.mse[:], rtol=1e-4)


def test_a_store_is_never_recoded_onto_another_one(stores):
    with pytest.raises(StoreExistsError, match="complete functaset"):
        functa_store.recode(stores / "float32.functa", stores / "int8.functa", "int8")


@pytest.mark.parametrize(
    "lost",
    [
        ["modulations/c/1/0"],
        ["mse/c/0", "modulations/c/4/0"],
        ["id/c/0", "labels/kind/zarr.json", "statistics/std/c/0"],
    ],
)
def test_repair_writes_what_is_damaged_as_it_was(copy, lost):
    before = files(copy)
    for key in lost:
        (copy / key).write_bytes(before[key][:-3])
    assert sorted(functa_store.verify(copy).damaged) == sorted(lost)
    assert functa_store.repair(source(), copy) == sorted(lost)
    assert files(copy) == before
    assert functa_store.repair(source(), copy) == []
    assert not copy.with_name("copy.functa.work").exists()


def interrupted_repair(store, monkeypatch):
    """Lose a shard, and a process that was fitting it again; returns what the files were."""
    before = files(store)
    (store / "modulations/c/1/0").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.conversion.workers.engine.fit_shards", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.repair(source(), store)
    return before


def test_an_interrupted_repair_loses_nothing_and_goes_on(copy, monkeypatch):
    before = interrupted_repair(copy, monkeypatch)
    assert len(functa_store.open(copy)) == 32
    assert functa_store.repair(source(), copy) == ["modulations/c/1/0"]
    assert files(copy) == before
    assert not copy.with_name("copy.functa.work").exists()


@pytest.mark.slow
def test_an_unfinished_conversion_is_not_for_repair(tmp_path, monkeypatch):
    path = tmp_path / "begun.functa"
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.conversion.workers.engine.fit_shards", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.convert(source(), path, CONFIG)
    with pytest.raises(StoreMismatchError, match="run the command that was interrupted"):
        functa_store.repair(source(), path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_conversion_that_died_before_it_cleared_up_is_called_once_more(stores, tmp_path, monkeypatch, dtype):
    path, config = tmp_path / "again.functa", dataclasses.replace(CONFIG, modulation_dtype=dtype)
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.conversion.convert.clear", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.convert(source(), path, config)
    with pytest.raises(StoreMismatchError, match=r"config\.seed is 0, expected 1"):
        functa_store.convert(source(), path, dataclasses.replace(config, seed=1))
    functa_store.convert(source(), path, config)
    assert files(path) == files(stores / f"{dtype}.functa")
    assert not path.with_name("again.functa.work").exists()
    with pytest.raises(StoreExistsError, match="complete functaset"):
        functa_store.convert(source(), path, config)


def test_what_cannot_be_repaired_is_said(copy):
    (copy / "mse/c/0").unlink()
    with pytest.raises(StoreMismatchError, match=r"another archive.*sha256"):
        functa_store.repair(source(values=VALUES[::-1]), copy)
    with pytest.raises(StoreMismatchError, match=r"features\.scale"):
        functa_store.repair(source(features=dataclasses.replace(SPEC, scale=1.0)), copy)
    (copy / "base/map/kernel/c/0/0").unlink()
    with pytest.raises(StoreFormatError, match="without its base, the archive must be converted again"):
        functa_store.repair(source(), copy)


def test_a_store_of_an_older_version_is_repaired_into_a_new_one(stores, tmp_path):
    """As version 2 wrote it: one kind of domain, no values, no rounding, no checksum."""
    path = shutil.copytree(stores / "float32.functa", tmp_path / "old.functa")
    root = json.loads((path / "zarr.json").read_text())
    about = root["attributes"]["functa"]
    about["manifest"] = {key: to_dict(file) for key, file in take_inventory(LocalObjects(path)).records.items()}
    about["manifest"] = {key: file for key, file in about["manifest"].items() if not key.startswith("manifest/")}
    shutil.rmtree(path / "manifest")
    for key in ("checksum", "rounding", "rounding_loss", "manifest_sha256"):
        del about[key]
    for key in ("weight_of_ones", "modulation_dtype", "base_dtype"):
        del about["config"][key]
    for key in ("head", "modulation_grid", "lookup", "map_kernel", "map_bias"):
        del about["config"]["network"][key]
    about["domain"] = {key: about["domain"][key] for key in ("axes", "resolution", "cell_aspect")}
    about["features"] = {key: about["features"][key] for key in ("channels", "data_range", "scale", "offset")}
    about["features"]["units"] = "1"
    for quality in about["quality"].values():
        quality.pop("metrics", None)
    about["format_version"] = 2
    from functa_store.store.format.spec import IDENTITY, sha256_json

    about["fingerprint"] = sha256_json({key: about[key] for key in IDENTITY if key in about})
    (path / "zarr.json").write_text(json.dumps(root))
    assert functa_store.open(path).store.spec.format_version == 2
    (path / "modulations/c/2/0").unlink()
    functa_store.repair(source(), path)
    assert files(path) == files(stores / "float32.functa")


@pytest.mark.parametrize("name", ["manifest/mse/c/0", "manifest/id/c/0/0", "manifest/split/zarr.json"])
def test_checksums_that_are_lost_are_made_anew(stores, tmp_path, name):
    """Shards whose checksums nobody knows any more are fitted again; ids are those of the archive."""
    path = shutil.copytree(stores / "float32.functa", tmp_path / "copy.functa")
    (path / name).write_bytes(b"lost")
    assert functa_store.repair(source(), path) == [name]
    assert files(path) == files(stores / "float32.functa")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_deep_look_finds_modulations_that_are_not_those_of_their_images(stores, dtype):
    functaset = functa_store.open(stores / f"{dtype}.functa")
    assert deep_verify.worst_disagreement(functaset, source()).worst < 1
    values = VALUES.copy()
    values[17] = 255 - values[17]
    found = deep_verify.worst_disagreement(functaset, source(values=values))
    assert found.worst > 1
    assert found.id == "17"
    with pytest.raises(StoreMismatchError, match="other examples"):
        deep_verify.worst_disagreement(functaset, source(values=VALUES[:30], labels={}))


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory):
    """A folder of twelve pictures, and its functaset."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    (folder / "in").mkdir()
    for number in range(12):
        corners = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(corners).resize((16, 16), Image.Resampling.BILINEAR).save(folder / "in" / f"{number:02}.png")
    words = ["--outer-steps", "3", "--batch-size", "2", "--modulation-dim", "4", "--fit-steps", "3", "--quiet"]
    words += ["--dtype", "int8", "--resolution", "16", "--limit", "11"]
    assert cli.main(["convert", "images", str(folder / "in"), str(folder / "out.functa"), *words]) == 0
    return folder


@pytest.mark.slow
def test_the_commands_verify_repair_and_recode(pictures, tmp_path, capsys):
    store = shutil.copytree(pictures / "out.functa", tmp_path / "copy.functa")
    before = files(store)
    assert cli.main(["verify", str(store)]) == 0
    assert "complete, 11 of 11 examples" in capsys.readouterr().out
    deep = ["verify", str(store), "--deep", "--archive", str(pictures / "in"), "--json"]
    assert cli.main(deep) == 0
    assert json.loads(capsys.readouterr().out)["decoded"]["worst"] < 1

    (store / "mse/c/0").write_bytes(b"torn")
    assert cli.main(["verify", str(store)]) == 4
    assert "mse/c/0: has 4 bytes" in capsys.readouterr().out
    assert cli.main(["repair", str(store), "--archive", str(pictures / "in")]) == 0
    assert "mse/c/0" in capsys.readouterr().err
    assert files(store) == before

    assert cli.main(["recode", str(store), str(tmp_path / "out16.functa"), "--dtype", "float16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["dtype"], found["bytes_per_example"]) == ("float16", 8)
    assert found["rounding_loss"]["psnr_loss"] >= 0
    assert cli.main(["info", str(store)]) == 0
    assert "lost by rounding" in capsys.readouterr().out


@pytest.mark.slow
def test_exit_codes_tell_unreadable_incomplete_and_damaged_apart(pictures, tmp_path, capsys):
    assert cli.main(["verify", str(tmp_path / "nothing.functa")]) == 2
    assert "expected a functaset" in capsys.readouterr().err
    store = shutil.copytree(pictures / "out.functa", tmp_path / "copy.functa")
    root = json.loads((store / "zarr.json").read_text())
    root["attributes"]["functa"]["reference"] = {}
    (store / "zarr.json").write_text(json.dumps(root))
    assert cli.main(["verify", str(store), "--json"]) == 4
    assert "checksum" in json.loads(capsys.readouterr().out)["damaged"]["zarr.json"]
    assert cli.main(["verify", str(store), "--deep"]) == 2
    assert "--deep and --archive go together" in capsys.readouterr().err
    wrong = ["repair", str(pictures / "out.functa"), "--archive", str(pictures / "in"), "--option", "colour=red"]
    assert cli.main(wrong) == 2
    assert "expected NAME=VALUE, NAME one of" in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_behind_a_link_is_the_store_itself(copy, monkeypatch):
    """Its receipts and its lock lie beside the store, not beside the link."""
    before = interrupted_repair(copy, monkeypatch)
    link = copy.with_name("link.functa")
    link.symlink_to(copy)
    monkeypatch.chdir(copy)
    for path in (link, "."):
        assert len(functa_store.open(path)) == 32
        assert functa_store.verify(path).damaged == {}
    functa_store.repair(source(), link)
    assert files(copy) == before
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy.functa", "link.functa"]


def test_an_interrupted_recoding_is_not_for_repair(stores, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.store.writing.writer.StoreWriter._complete", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.recode(stores / "float32.functa", tmp_path / "out.functa", "int8")
    with pytest.raises(StoreMismatchError, match="run the command that was interrupted"):
        functa_store.repair(source(), tmp_path / "out.functa")
    functa_store.recode(stores / "float32.functa", tmp_path / "out.functa", "int8")
    assert files(tmp_path / "out.functa") == files(stores / "int8.functa")


@pytest.mark.slow
def test_another_archive_is_no_damage(pictures, tmp_path, capsys):
    other = shutil.copytree(pictures / "in", tmp_path / "in")
    Image.new("RGB", (16, 16), "red").save(other / "03.png")
    for command in ("verify", "repair"):
        deep = ["--deep"] if command == "verify" else []
        assert cli.main([command, str(pictures / "out.functa"), *deep, "--archive", str(other)]) == 2
        assert "was converted from another archive" in capsys.readouterr().err


def test_nothing_is_written_where_no_folder_can_be_made(stores, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot be"):
        functa_store.recode(stores / "float32.functa", "/proc/out.functa", "int8")
    with pytest.raises((StorageError, StoreExistsError)):
        functa_store.recode(stores / "float32.functa", tmp_path / "file" / "out.functa", "int8")


def test_a_file_url_is_a_path(stores):
    url = (stores / "int8.functa").as_uri()
    assert len(functa_store.open(url)) == len(functa_store.open(url.replace("file://", "file://localhost"))) == 40
    with pytest.raises(ConfigError, match="expected file:///path"):
        functa_store.open("file://host/out.functa")
