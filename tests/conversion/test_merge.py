"""Functasets are put together and taken apart, lazily and as stores, without fitting anything."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import xarray as xr

import functa_store
from functa_store.cli.main import main
from functa_store.errors import ConfigError, ExampleIndexError, StoreExistsError
from functa_store.loaders import Loader, Normalization
from functa_store.progress import Note
from functa_store.sources.source import Label
from functa_store.store.reading import joined_store
from tests.decode.stores import write_store

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("v1", "v7", "v7_scene", "v7_sphere", "v7_spatial", "v7_spatial_sphere")


def cut(fs, folder, *pieces):
    """Functasets of some examples each."""
    for number, piece in enumerate(pieces):
        functa_store.subset(fs, folder / f"part{number}.functa", index=piece)
    return [functa_store.open(folder / f"part{number}.functa") for number in range(len(pieces))]


def same(found, expected, values=True):
    """Everything that readers see of two functasets."""
    np.testing.assert_array_equal(found.modulations[:], expected.modulations[:], strict=True)
    np.testing.assert_array_equal(found.mse[:], expected.mse[:])
    assert found.ids[:].tolist() == expected.ids[:].tolist()
    assert found.split[:].tolist() == expected.split[:].tolist()
    assert found.labels.keys() == expected.labels.keys()
    assert found.label_names == expected.label_names
    for one, other in ((found.labels, expected.labels), (found.metrics, expected.metrics)):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name][:], other[name][:])
    if values:
        np.testing.assert_array_equal(found.decode([0, -1]), expected.decode([0, -1]))


@pytest.mark.parametrize("name", ["v1", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
def test_parts_of_every_kind_are_the_whole_again(name, tmp_path):
    whole = functa_store.open(GOLDEN / f"{name}.functa")
    parts = cut(whole, tmp_path, [0, 1], slice(2, None))
    together = functa_store.concat(parts)
    same(together, whole)
    assert len(together) == len(whole)
    assert [p.spec.provenance["subset_of"]["fingerprint"] for p in parts] == [whole.spec.fingerprint] * 2
    functa_store.merge(parts, tmp_path / "merged.functa")
    merged = functa_store.open(tmp_path / "merged.functa")
    same(merged, whole)
    assert functa_store.verify(merged).damaged == {}
    assert merged.spec.config.modulation_dtype == whole.spec.config.modulation_dtype
    assert merged.base_fingerprint == whole.base_fingerprint
    origins = [origin["fingerprint"] for origin in merged.spec.provenance["merged_from"]]
    assert origins == [part.spec.fingerprint for part in parts]


@pytest.mark.parametrize("name", KINDS)
def test_a_selection_of_every_kind_reads_as_a_functaset(name):
    whole = functa_store.open(GOLDEN / f"{name}.functa")
    chosen = [3, 0, 2]
    some = whole.select(index=chosen)
    assert len(some) == 3
    np.testing.assert_array_equal(some.modulations[:], whole.modulations[chosen])
    np.testing.assert_array_equal(some.modulations[1:], whole.modulations[[0, 2]])
    np.testing.assert_array_equal(some.decode([1, 2]), whole.decode([0, 2]))
    assert [example.id for example in some] == whole.ids[chosen].tolist()
    np.testing.assert_array_equal(some.to_tensorstore()[2].read().result(), whole.decode(2)[0])
    np.testing.assert_array_equal(some.select(index=[2]).modulations[:], whole.modulations[[2]])
    rows = whole.modulations[chosen].reshape(-1, whole.config.network.cell_size).astype(np.float64)
    np.testing.assert_allclose(some.store.statistics["mean"], rows.mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module", name="stores")
def _stores(tmp_path_factory):
    """A labelled functaset of 30 examples, and three of its parts, of which two share no page."""
    folder = tmp_path_factory.mktemp("stores")
    labels = {"kind": Label(values=np.arange(30) % 3, names=("cat", "dog", "owl")), "size": Label(values=np.arange(30))}
    write_store(folder / "whole.functa", count=30, labels=labels)
    whole = functa_store.open(folder / "whole.functa")
    return whole, cut(whole, folder, slice(0, 7), slice(7, 9), slice(9, 30))


@pytest.mark.slow
def test_loaders_xarray_exports_and_views_take_them(stores, tmp_path):
    whole, parts = stores
    together, odd = functa_store.concat(parts), np.arange(1, 30, 2)
    for found, expected in ((together, whole), (together.select(index=odd), whole.select(index=odd))):
        for ours, theirs in zip(Loader(found, 8, seed=1), Loader(expected, 8, seed=1), strict=True):
            np.testing.assert_allclose(ours["modulations"], theirs["modulations"], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(ours["labels"]["kind"], theirs["labels"]["kind"])
        np.testing.assert_array_equal(found.to_tensorstore().read().result(), expected.decode(slice(None)))
        dataset = xr.open_dataset(found, engine="functa", modulations=True)
        assert dataset.id.values.tolist() == expected.ids[:].tolist()
        np.testing.assert_array_equal(dataset.image.isel(example=[0, 4]).values, expected.decode([0, 4]))
        np.testing.assert_array_equal(dataset.modulations.values, expected.modulations[:])
        chunked = xr.open_dataset(found, engine="functa", chunks={"example": 4})
        np.testing.assert_array_equal(chunked.image.compute().values, expected.decode(slice(None)))
        assert chunked.functa.at(y=0.5, x=0.5).shape == (len(expected), 3)
        copied = pickle.loads(pickle.dumps(found))
        np.testing.assert_array_equal(copied.modulations[:], expected.modulations[:])
        travelled = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(travelled.image.isel(example=2).values, expected.decode(2)[0])
        functa_store.export(found, tmp_path / "out.npz", 4)
        functa_store.export(expected, tmp_path / "expected.npz", 4)
        ours, theirs = (np.load(tmp_path / f"{name}.npz") for name in ("out", "expected"))
        assert ours.files == theirs.files
        for name in ours.files:
            np.testing.assert_array_equal(ours[name], theirs[name])
        (tmp_path / "out.npz").unlink()
        (tmp_path / "expected.npz").unlink()


def test_conditions_of_a_selection_are_those_of_loaders(stores):
    whole, _ = stores
    assert whole.select() is whole
    assert whole.select(split="test").split[:].tolist() == ["test"] * 15
    cats = whole.select(where={"kind": "cat"}, split="train")
    assert cats.labels["kind"][:].tolist() == [0] * 5
    assert len(whole.select(where={"kind": ["cat", 2], "size": range(10)})) == 7
    assert len(whole.select(where={"kind": {"cat", 2}, "size": frozenset(range(10))})) == 7
    assert len(whole.select(where={"kind": np.array([0, 2]), "size": np.arange(10)})) == 7
    assert len(whole.select(where={"kind": np.int64(0)})) == len(whole.select(where={"kind": "cat"}))
    assert whole.select(ids=["9.png", "3.png"]).ids[:].tolist() == ["9.png", "3.png"]
    np.testing.assert_allclose(
        Normalization.of_all(cats).mean, whole.modulations[cats.store.chosen].mean(axis=0), rtol=1e-5, atol=1e-6
    )
    for wrong, words in (
        ({"ids": ["x.png"]}, "no example of 1 of these ids, such as 'x.png'"),
        ({"ids": "9.png"}, r"write \['9.png'\]"),
        ({"where": {"kind": "cow"}}, r"no \['cow'\], but classes"),
        ({"where": {"colour": 1}}, r"no labels \['colour'\]"),
        ({"where": {"kind": None}}, r"label 'kind' is compared with numbers and names of classes.*got None"),
        ({"where": {"kind": slice(0, 2)}}, r"compared with numbers and names of classes.*got slice"),
        ({"where": {"kind": np.timedelta64(1, "s")}}, "compared with numbers and names of classes"),
        ({"where": {"kind": [[1], [1, 2]]}}, r"compared with numbers and names of classes.*got \[1\]"),
        ({"where": {"kind": b"cat"}}, "compared with numbers and names of classes"),
        ({"ids": []}, "no ids were given"),
        ({"split": "validation"}, "no split 'validation'"),
        ({"index": [1, 1]}, "example 1 is chosen twice"),
        ({"ids": ["0.png"], "split": "test"}, "no example is of all of split='test', ids="),
    ):
        with pytest.raises(ConfigError, match=words):
            whole.select(**wrong)
    with pytest.raises(ExampleIndexError):
        whole.select(index=[30])


def test_what_does_not_go_together_is_refused(stores, tmp_path, unchecked):
    whole, parts = stores
    with pytest.raises(ConfigError, match=r"part0.*7 examples have ids that .*whole\.functa have, such as '0.png'"):
        functa_store.concat([whole, parts[0]])
    with pytest.raises(ConfigError, match="30 examples have ids that"):
        functa_store.concat([whole, whole])
    assert len(functa_store.concat([whole.select(index=slice(7, None)), parts[0]])) == 30
    write_store(tmp_path / "other.functa", seed=1)
    with pytest.raises(ConfigError, match="has the base network"):
        functa_store.concat([whole, tmp_path / "other.functa"])
    for wrong in ([], "whole.functa", whole):
        with pytest.raises(ConfigError, match="expected a list"):
            functa_store.concat(wrong)
    for view in (functa_store.concat(parts), whole.select(split="test")):
        for take in (functa_store.verify, lambda some: some.objects):
            with pytest.raises(ConfigError, match="no place of"):
                take(view)
    with pytest.raises(ConfigError, match="all examples are meant"):
        functa_store.subset(whole, tmp_path / "out.functa")
    with pytest.raises(StoreExistsError):
        functa_store.subset(whole, whole.store.path, split="test")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("listed", [True, False])
def test_rows_of_parts_are_gathered_in_one_range_whatever_their_lengths(stores, tmp_path, monkeypatch, dtype, listed):
    """Shards of whole pages; in int8 each part has scales of its own."""
    if not listed:
        monkeypatch.setattr(joined_store, "MOST_LISTED", 0)
    rng, counts, base = np.random.default_rng(0), (300, 1, 1025), functa_store.open(stores[0].store.path)
    config = dataclasses.replace(base.config, rows_per_shard=1024)
    base.store.spec = dataclasses.replace(base.spec, config=config)
    start, parts = 0, []
    for number, count in enumerate(counts):
        rows = rng.normal(size=(count, 4)).astype(np.float32) * (number + 1)
        base.derive(tmp_path / f"{number}.functa", rows, ids=[str(start + k) for k in range(count)])
        functa_store.recode(tmp_path / f"{number}.functa", tmp_path / f"{number}{dtype}.functa", dtype)
        parts.append(functa_store.open(tmp_path / f"{number}{dtype}.functa"))
        start += count
    rows = np.concatenate([part.modulations[:] for part in parts])
    together = functa_store.concat(parts)
    for index in (
        rng.permutation(start),
        slice(None),
        slice(298, 303),
        slice(5, 200, 7),
        [300],
        slice(1300, 0, -3),
        1325,
        np.array([-1, -1326, 300, -1026, 7], np.int16),
        np.arange(2 * 663).reshape(2, 663) - 1326,
        np.array([5, 1325], np.uint64),
    ):
        np.testing.assert_array_equal(together.modulations[index], rows[index], strict=True)
    for wrong in (1326, -1327, 2**40):
        with pytest.raises(ExampleIndexError, match=f"example {wrong} does not exist; there are 1326"):
            together.modulations[np.array([0, wrong])]
    assert isinstance(together.modulations._table, joined_store.PartsSideBySide)
    some = together.select(index=[1325, 0, 300])
    np.testing.assert_array_equal(some.modulations[[2, 0]], rows[[300, 1325]])
    stats = together.store.statistics
    np.testing.assert_allclose(stats["std"], rows.astype(np.float64).std(axis=0), rtol=1e-4)


@pytest.mark.slow
def test_parts_in_int8_keep_their_values_or_are_rounded_anew_as_asked(stores, tmp_path):
    whole, parts = stores
    paths = []
    for number, part in enumerate(parts):
        paths.append(tmp_path / f"{number}.functa")
        functa_store.recode(part, paths[-1], "int8")
    together, notes = functa_store.concat(paths), []
    functa_store.merge(paths, tmp_path / "exact.functa", report=notes.append)
    exact = functa_store.open(tmp_path / "exact.functa")
    assert exact.config.modulation_dtype == "float32"
    np.testing.assert_array_equal(exact.modulations[:], together.modulations[:])
    assert [note.message for note in notes if isinstance(note, Note)] == [
        "modulations are in int8, of scales that differ; merged in float32, which keeps them"
    ]
    functa_store.merge(paths, tmp_path / "anew.functa", modulation_dtype="int8")
    anew = functa_store.open(tmp_path / "anew.functa")
    assert anew.config.modulation_dtype == "int8"
    assert 0 < np.abs(anew.modulations[:] - together.modulations[:]).max() < 0.02
    assert anew.spec.rounding_loss is not None
    functa_store.recode(whole, tmp_path / "int8.functa", "int8")
    int8 = functa_store.open(tmp_path / "int8.functa")
    functa_store.subset(int8, tmp_path / "some.functa", index=slice(4, 20))
    some = functa_store.open(tmp_path / "some.functa")
    assert some.config.modulation_dtype == "int8"
    np.testing.assert_array_equal(some.modulations[:], int8.modulations[4:20])
    alike = [int8.select(index=slice(0, 10)), int8.select(index=slice(10, None))]
    functa_store.merge(alike, tmp_path / "alike.functa")
    same(functa_store.open(tmp_path / "alike.functa"), int8)
    assert functa_store.open(tmp_path / "alike.functa").config.modulation_dtype == "int8"


def test_examples_that_were_not_fitted_stay_so(stores, tmp_path):
    whole, _ = stores
    whole.derive(tmp_path / "derived.functa", whole.modulations[:3] + 1, ids=["a", "b", "c"])
    functa_store.merge([whole.select(index=[0, 1, 2]), tmp_path / "derived.functa"], tmp_path / "merged.functa")
    merged = functa_store.open(tmp_path / "merged.functa")
    assert np.isnan(merged.mse[:]).tolist() == [False] * 3 + [True] * 3
    assert functa_store.verify(merged).damaged == {}


def test_augmentations_stay_behind_their_originals(tmp_path):
    whole = functa_store.open(GOLDEN / "v7_augmented.functa")
    of = whole.augmentations["of"][:]
    families = [np.flatnonzero(of == original) for original in np.unique(of)]
    first = np.concatenate(families[:2])
    second = np.concatenate(families[2:])
    together = functa_store.concat([whole.select(index=first), whole.select(index=second)])
    order = np.concatenate([first, second])
    np.testing.assert_array_equal(together.ids[:][together.augmentations["of"][:]], whole.ids[:][of[order]])
    functa_store.merge([together], tmp_path / "merged.functa")
    merged = functa_store.open(tmp_path / "merged.functa")
    assert functa_store.verify(merged).damaged == {}
    by_id = {name: row for row, name in enumerate(whole.ids[:].tolist())}
    rows = [by_id[name] for name in merged.ids[:].tolist()]
    np.testing.assert_array_equal(merged.modulations[:], whole.modulations[rows])
    names = whole.ids[:]
    assert merged.ids[:][merged.augmentations["of"][:]].tolist() == names[of[rows]].tolist()
    np.testing.assert_array_equal(merged.augmentations["side"][:], whole.augmentations["side"][rows])
    alone = np.flatnonzero(of != np.arange(len(of)))[:1]
    assert whole.select(index=alone).augmentations["of"][:].tolist() == [-1]
    with pytest.raises(ConfigError, match="1 examples are augmentations of others that are not chosen"):
        functa_store.subset(whole, tmp_path / "alone.functa", index=alone)


def test_the_commands_do_what_the_functions_do(stores, tmp_path, capsys):
    whole, parts = stores
    paths = [part.store.path for part in parts]
    assert main(["merge", *paths, str(tmp_path / "merged.functa"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["fitted"] == 30
    same(functa_store.open(tmp_path / "merged.functa"), whole)
    (tmp_path / "ids.txt").write_text("12.png\n0.png\n6.png\n")
    words = ["subset", whole.store.path, str(tmp_path / "some.functa"), "--where", "kind=cat,dog"]
    assert main([*words, "--split", "train", "--ids", str(tmp_path / "ids.txt"), "--json"]) == 0
    assert functa_store.open(tmp_path / "some.functa").ids[:].tolist() == ["12.png", "0.png", "6.png"]
    few = ["subset", whole.store.path, str(tmp_path / "few.functa"), "--index", "::10", "--where", "size=0,10"]
    assert main(few) == 0
    assert functa_store.open(tmp_path / "few.functa").labels["size"][:].tolist() == [0, 10]
    assert main([*few[:2], str(tmp_path / "none.functa"), "--where", "kind"]) == 2
    assert "expected LABEL=VALUE" in capsys.readouterr().err
    assert main([*few[:2], str(tmp_path / "none.functa"), "--where", "kind=cat", "--where", "kind=dog"]) == 2
    assert "kind has a condition already" in capsys.readouterr().err


def test_stored_arrays_of_parts_are_one_stack(stores):
    _, parts = stores
    together = functa_store.concat(parts)
    for name in ("modulations", "labels/size"):
        opened = ts.open(together.tensorstore_spec(name)).result()
        expected = together.modulations[:] if name == "modulations" else together.labels["size"][:]
        np.testing.assert_array_equal(opened.read().result(), expected, strict=True)
    chosen = together.select(split="test")
    for one in (together, chosen, functa_store.open(parts[0]).select(index=[1])):
        kernel = ts.open(one.tensorstore_spec("base/sine_0/kernel")).result().read().result()
        np.testing.assert_array_equal(kernel, one.base["sine_0/kernel"])
        with pytest.raises(ConfigError, match="reads no texts"):
            one.tensorstore_spec("id")
    with pytest.raises(ConfigError, match="selection"):
        chosen.tensorstore_spec("modulations")
