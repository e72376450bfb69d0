"""A store is complete or resumable, whatever happens, and equal contents give equal bytes."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from numcodecs.zstd import Zstd

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.errors import (
    ConfigError,
    LearningError,
    StoreExistsError,
    StoreFormatError,
    StoreMismatchError,
)
from functa_store.sources.source import Label
from functa_store.store.format.receipts import Receipts
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.verify import verify
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import open_objects, record
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing import writer as begin
from functa_store.store.writing import writer as writer_module
from functa_store.store.writing.writer import StoreWriter


def work_path(path):
    return path.with_name(f"{path.name}.work")


def test_equal_contents_give_equal_bytes(store, write_shards, contents, read_all, tmp_path):
    assert read_all(write_shards(tmp_path / "again.functa", contents)) == read_all(store)


@pytest.mark.parametrize("stops", [[0], [1, 2]])
def test_an_interrupted_conversion_ends_in_the_same_bytes(store, write_shards, contents, read_all, tmp_path, stops):
    path = tmp_path / "pets.functa"
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            write_shards(path, contents, stop_before=stop)
        assert StoreReader(path).num_examples == stop * 8
        (path / "modulations" / f"zarr.json.{stop:016x}.part").write_bytes(b"what a killed writer leaves behind")
    write_shards(path, contents)
    assert read_all(path) == read_all(store)
    assert not work_path(path).exists()


def test_a_crash_on_completion_can_be_resumed(store, write_shards, contents, read_all, tmp_path, monkeypatch):
    path = tmp_path / "pets.functa"
    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "_manifest", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_shards(path, contents)
    assert not StoreReader(path).spec.complete
    assert StoreReader(path).num_examples == 21
    write_shards(path, contents)
    assert read_all(path) == read_all(store)


def test_a_crash_on_creation_leaves_nothing_at_the_path(store, write_shards, contents, read_all, tmp_path, monkeypatch):
    path = tmp_path / "pets.functa"
    with monkeypatch.context() as patch:
        patch.setattr(begin, "write_all", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_shards(path, contents)
    assert not path.exists()
    with pytest.raises(StoreFormatError, match="expected a functaset"):
        StoreReader(path)
    write_shards(path, contents)
    assert read_all(path) == read_all(store)
    assert not work_path(path).exists()


def test_a_shard_that_was_lost_is_missing_again(write_shards, contents, tmp_path):
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=2)
    (path / "modulations/c/0/0").unlink()
    (path / "mse/c/1").write_bytes(b"short")
    with StoreWriter.resume_or_create(path, contents) as writer:
        assert [shard.index for shard in writer.missing_shards()] == [0, 1, 2]


def test_a_shard_that_changed_after_its_receipt_is_written_again(store, write_shards, contents, read_all, tmp_path):
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=2)
    shard = path / "modulations/c/0/0"
    shard.write_bytes(b"\x01" + shard.read_bytes()[1:])
    with pytest.raises(StoreFormatError, match="modulations/c/0/0 changed after they were written"):
        write_shards(path, contents)
    write_shards(path, contents)
    assert read_all(path) == read_all(store)


def test_a_shard_may_be_written_twice_if_its_values_agree(contents, values, tmp_path):
    modulations, mse = values
    with StoreWriter.resume_or_create(tmp_path / "pets.functa", contents) as writer:
        shard = writer.missing_shards()[0]
        for _ in range(2):
            writer.write(shard, modulations[:8], mse[:8])
        with pytest.raises(StoreMismatchError, match="shard 0 was written before with other values"):
            writer.write(shard, modulations[:8] + 1, mse[:8])


def test_what_else_lies_in_the_work_directory_stays(write_shards, contents, tmp_path):
    """Learning keeps its checkpoints there."""
    path = tmp_path / "pets.functa"
    checkpoint = work_path(path) / "checkpoints" / "best"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"hours of work")
    write_shards(path, contents)
    assert [file.name for file in work_path(path).iterdir()] == ["checkpoints"]


def test_an_unfinished_store_of_another_conversion_is_named(write_shards, make_contents, contents, tmp_path):
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=1)
    other = ConvertConfig(network=NetworkConfig(width=8, depth=3, modulation_dim=4, w0=10.0), rows_per_shard=8)
    with pytest.raises(StoreMismatchError, match=r"config.network.w0 is 20.0, expected 10.0"):
        write_shards(path, make_contents(config=other))
    with pytest.raises(StoreMismatchError, match=r"examples.sha256"):
        write_shards(path, make_contents(rejects=()))
    write_shards(path, contents)


def test_a_complete_store_is_never_overwritten(store, write_shards, contents, read_all):
    before = read_all(store)
    with pytest.raises(StoreExistsError, match="complete functaset"):
        write_shards(store, contents)
    assert read_all(store) == before
    assert not work_path(store).exists()


def test_foreign_things_are_never_overwritten(write_shards, contents, tmp_path):
    (tmp_path / "file.functa").write_text("mine")
    (tmp_path / "directory.functa").mkdir()
    (tmp_path / "directory.functa" / "thesis.tex").write_text("mine")
    zarr.create_group(tmp_path / "group.functa")
    for name in ("file", "directory", "group"):
        with pytest.raises(StoreExistsError, match="holds something else"):
            write_shards(tmp_path / f"{name}.functa", contents)
    with pytest.raises(ConfigError, match=r"must end in \.functa"):
        write_shards(tmp_path / "pets.zarr", contents)


def test_an_empty_directory_is_a_path_like_any_other(write_shards, contents, tmp_path):
    (tmp_path / "pets.functa").mkdir()
    assert StoreReader(write_shards(tmp_path / "pets.functa", contents)).spec.complete


def test_two_writers_of_one_path_are_kept_apart(contents, tmp_path):
    path = tmp_path / "pets.functa"
    objects = open_objects(path)
    with sole_writer(objects), pytest.raises(StoreExistsError, match="writing"), sole_writer(objects):
        pass
    assert not path.with_name("pets.functa.work").exists()


def test_values_that_are_not_finite_are_refused(contents, values, tmp_path):
    modulations, mse = (table[:8].copy() for table in values)
    with StoreWriter.resume_or_create(tmp_path / "pets.functa", contents) as writer:
        shard = writer.missing_shards()[1]
        modulations[3, 1] = np.nan
        with pytest.raises(LearningError, match=r"modulations: the fit of example 'bild_11_ä.png' is not finite"):
            writer.write(shard, modulations, mse)
        mse[2] = np.inf
        with pytest.raises(LearningError, match=r"mse: the fit of example 'bild_10_ä.png' is not finite"):
            writer.write(shard, values[0][:8], mse)
        with pytest.raises(StoreFormatError, match=r"shape \(7, 4\), expected \(8, 4\)"):
            writer.write(shard, values[0][:7], values[1][:7])
        assert len(writer.missing_shards()) == 3


def test_plain_zarr_reads_everything(store, contents, values):
    def array(name: str) -> np.ndarray:
        return np.asarray(zarr.open_array(store / name, mode="r")[...])

    np.testing.assert_array_equal(array("modulations"), values[0])
    np.testing.assert_array_equal(array("mse"), values[1])
    assert array("id").tolist() == contents.ids
    assert array("split").tolist() == contents.split.tolist()
    assert array("rejects/reason").tolist() == ["truncated"]
    np.testing.assert_array_equal(array("statistics/max"), values[0].max(axis=0))
    for name, weights in contents.base.items():
        np.testing.assert_array_equal(array(f"base/{name}"), weights, strict=True)


def test_every_array_explains_itself(store):
    nodes = [json.loads(file.read_text()) for file in store.rglob("zarr.json")]
    arrays = [node for node in nodes if node["node_type"] == "array"]
    assert all(node["dimension_names"] and node["attributes"]["long_name"] for node in arrays)
    assert [node["attributes"]["names"] for node in arrays if "names" in node["attributes"]] == [["cat", "dog"]]


def test_tensorstore_reads_numbers(store, contents):
    for name in ("base/map/kernel", "labels/age", "statistics/mean"):
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(store / name)}}
        assert np.isfinite(tensorstore.open(spec).result().read().result()).all()


def test_xarray_reads_every_group(store, contents):
    """Warnings are errors in these tests."""
    with xr.open_zarr(store, consolidated=False) as dataset:
        assert dict(dataset.sizes) == {"example": 21, "modulation": 4}
        assert dataset["modulations"].dtype == np.float32
        assert dataset["mse"].attrs["units"] == "1"
        assert dataset["modulations"].set_xindex("id").sel(id=contents.ids[5]).id == contents.ids[5]
        assert (dataset["split"] == "test").sum() == 7
    with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
        assert tree["base/sine_1/kernel"].dims == ("input", "output")
        assert tree["base/map/kernel"].dims == ("modulation", "shift")
        assert tree["labels/animal"].dims == ("example",)


def test_no_rejects_and_no_labels_are_empty_groups(write_shards, make_contents, tmp_path):
    path = write_shards(tmp_path / "pets.functa", make_contents(labels={}, rejects=[]))
    reader = StoreReader(path)
    assert (reader.rejects, dict(reader.labels)) == ([], {})
    with xr.open_datatree(path, engine="zarr", consolidated=False) as tree:
        assert tree["rejects/member"].shape == (0,)


def test_the_root_declares_its_convention(store):
    root = json.loads((store / "zarr.json").read_text())
    assert root["attributes"].keys() == {"zarr_conventions", "functa"}
    assert root["attributes"]["zarr_conventions"][0]["name"] == "functa"
    files = {file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file() and file.parent != store}
    many = ("modulations/c/", "mse/c/", "id/c/", "split/c/", "labels/age/c/", "labels/animal/c/")  # in arrays
    assert root["attributes"]["functa"]["manifest"].keys() == {key for key in files if not key.startswith(many)}


def interrupted_after(writes, path, contents, monkeypatch, write_shards):
    """Write a store whose writer dies at a write of its own."""
    left = itertools.count(writes, -1)

    def dying(write):
        def write_or_die(self, key, *parts):
            if next(left) == 0:
                raise KeyboardInterrupt
            return write(self, key, *parts)

        return write_or_die

    with monkeypatch.context() as patch:
        for name in ("write", "write_new", "replace"):
            patch.setattr(LocalObjects, name, dying(getattr(LocalObjects, name)))
        for module in (begin, writer_module):
            patch.setattr(module, "write_all", lambda store, files: [store.write(*item) for item in files.items()])
        with pytest.raises(KeyboardInterrupt):
            write_shards(path, contents)


@pytest.mark.parametrize("writes", [[5, 0], [5, 1], [5, 7, 30], [60, 0], [60, 2]])
def test_a_writer_may_die_again_and_again(store, write_shards, contents, read_all, tmp_path, monkeypatch, writes):
    path = tmp_path / "pets.functa"
    for number in writes:
        interrupted_after(number, path, contents, monkeypatch, write_shards)
    write_shards(path, contents)
    assert read_all(path) == read_all(store)
    assert [file.name for file in tmp_path.iterdir()] == ["pets.functa"]


def test_nothing_of_an_earlier_attempt_with_other_options_stays(
    store, write_shards, contents, make_contents, read_all, tmp_path, monkeypatch
):
    path = tmp_path / "pets.functa"
    labels = {"other": Label(values=np.arange(21))}
    interrupted_after(32, path, make_contents(labels=labels), monkeypatch, write_shards)
    assert (path / "labels/other").exists()
    write_shards(path, contents)
    assert read_all(path) == read_all(store)


def test_a_writer_that_died_before_it_cleared_up_is_called_once_more(
    store, write_shards, contents, make_contents, read_all, tmp_path, monkeypatch
):
    path = tmp_path / "pets.functa"
    with monkeypatch.context() as patch:
        patch.setattr(Receipts, "clear", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_shards(path, contents)
    assert StoreReader(path).spec.complete
    with pytest.raises(StoreExistsError, match="complete functaset"):
        write_shards(path, make_contents(rejects=()))
    write_shards(path, contents)
    assert read_all(path) == read_all(store)
    assert not work_path(path).exists()
    with pytest.raises(StoreExistsError, match="complete functaset"):
        write_shards(path, contents)


def test_what_another_zstd_wrote_is_kept(write_shards, contents, tmp_path):
    """Judged by its receipt, and not by encoding it again."""
    path = tmp_path / "pets.functa"
    with pytest.raises(KeyboardInterrupt):
        write_shards(path, contents, stop_before=1)
    chunk, receipt = path / "labels/age/c/0", work_path(path) / "receipts/skeleton.json"
    data = Zstd(level=-7).encode(Zstd().decode(chunk.read_bytes()))
    assert data != chunk.read_bytes()
    chunk.write_bytes(data)
    written = json.loads(receipt.read_text())
    written["files"]["labels/age/c/0"] = dataclasses.asdict(record(data))
    receipt.write_text(json.dumps(written))
    write_shards(path, contents)
    assert chunk.read_bytes() == data
    assert verify(path).damaged == {}


@pytest.mark.parametrize("damage", ["missing", "short", "long", "changed"])
def test_damage_between_writing_and_completion_is_named_and_mended(
    store, write_shards, contents, read_all, tmp_path, monkeypatch, damage
):
    path = tmp_path / "pets.functa"
    shard = path / "modulations/c/1/0"
    with monkeypatch.context() as patch:
        complete = StoreWriter._complete

        def spoilt(self):
            data = shard.read_bytes()
            shard.unlink()
            if damage != "missing":
                shard.write_bytes({"short": data[:50], "long": data + b"x", "changed": b"x" + data[1:]}[damage])
            complete(self)

        patch.setattr(StoreWriter, "_complete", spoilt)
        with pytest.raises(StoreFormatError, match="modulations/c/1/0 changed after they were written"):
            write_shards(path, contents)
    write_shards(path, contents)
    assert read_all(path) == read_all(store)
