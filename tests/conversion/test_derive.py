"""Generated and edited modulations become a functaset of the same base."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import functa_store
from functa_store.cli import main
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, StoreExistsError, StoreMismatchError
from functa_store.loaders import Normalization
from functa_store.reopen import reopened
from tests.decode.stores import write_store

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module", name="fs")
def _fs(tmp_path_factory) -> Functaset:
    path = tmp_path_factory.mktemp("stores") / "small.functa"
    write_store(path)
    return functa_store.open(path)


def test_a_derived_functaset_is_one_of_the_same_base(fs, tmp_path):
    edited = 0.5 * (fs.modulations[:10] + fs.modulations[2:])
    labels = {"kind": ["a", "b"] * 5, "size": np.arange(10)}
    ids = [f"mean {k}" for k in range(10)]
    fs.derive(tmp_path / "means.functa", edited, ids=ids, labels=labels, split=["train"] * 8 + ["test"] * 2)
    means = functa_store.open(tmp_path / "means.functa")
    np.testing.assert_array_equal(means.modulations[:], edited)
    np.testing.assert_array_equal(means.decode(slice(None)), fs.decode_modulations(edited))
    assert (means.domain, means.features, means.config) == (fs.domain, fs.features, fs.config)
    assert [str(name) for name in means.ids[:]] == ids
    assert [str(name) for name in means.split[7:]] == ["train", "test", "test"]
    np.testing.assert_array_equal(means.labels["kind"][:], [0, 1] * 5)
    np.testing.assert_array_equal(means.labels["size"][:], np.arange(10))
    np.testing.assert_allclose(means.store.statistics["mean"], edited.mean(axis=0), atol=1e-6)
    assert functa_store.verify(means).damaged == {}
    assert means.spec.complete


def test_its_errors_are_unknown_and_its_provenance_says_so(fs, tmp_path):
    fs.derive(tmp_path / "one.functa", fs.modulations[3], parents=[GOLDEN / "v7.functa"])
    one = functa_store.open(tmp_path / "one.functa")
    assert np.isnan(one.mse[:]).all()
    assert np.isnan(one.psnr).all()
    assert one.spec.quality["train"].psnr_mean is None
    provenance = one.spec.provenance
    assert provenance["archive"] == "derived"
    prints = [parent["fingerprint"] for parent in provenance["derived_from"]]
    assert prints == [fs.spec.fingerprint, functa_store.open(GOLDEN / "v7.functa").spec.fingerprint]
    assert functa_store.info(str(tmp_path / "one.functa"))["psnr_mean"] == {"train": None}
    with pytest.raises(StoreMismatchError, match=r"derived from.*has no archive"):
        reopened("x.zip", provenance)
    functa_store.recode(one, tmp_path / "int8.functa", "int8")
    assert functa_store.open(tmp_path / "int8.functa").spec.rounding_loss is None


@pytest.mark.parametrize("name", ["v1", "v7_scene", "v7_spatial", "v7_sphere"])
def test_every_kind_of_functaset_can_be_derived_from(name, tmp_path):
    parent = functa_store.open(GOLDEN / f"{name}.functa")
    rows = np.array(parent.modulations[:])
    parent.derive(tmp_path / "out.functa", rows)
    out = functa_store.open(tmp_path / "out.functa")
    np.testing.assert_array_equal(out.modulations[:], rows)
    assert all(np.isnan(column[:]).all() for column in out.metrics.values())
    assert out.metrics.keys() == parent.metrics.keys()


def test_normalised_modulations_are_stored_as_the_base_takes_them(fs, tmp_path):
    normalization = Normalization.of_all(fs)
    fs.derive(tmp_path / "out.functa", normalization.apply(fs.modulations[:]), normalization=normalization)
    np.testing.assert_allclose(functa_store.open(tmp_path / "out.functa").modulations[:], fs.modulations[:], atol=1e-6)


def test_an_interrupted_call_goes_on_and_another_one_is_refused(fs, tmp_path, monkeypatch):
    path, rows = tmp_path / "out.functa", fs.modulations[:] + 1
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.store.writing.writer.StoreWriter._complete", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fs.derive(path, rows)
    with pytest.raises(StoreMismatchError, match="sha256"):
        fs.derive(path, rows + 1)
    fs.derive(path, rows)
    np.testing.assert_array_equal(functa_store.open(path).modulations[:], rows)
    with pytest.raises(StoreExistsError):
        fs.derive(path, rows)


WRONG = [
    (np.zeros((0, 4)), {}, "found no modulations"),
    (np.zeros((2, 5)), {}, r"shape \(2, 5\)"),
    (np.full((2, 4), np.nan), {}, "not finite"),
    (np.zeros((2, 4)), {"ids": ["a", "a"]}, "unique"),
    (np.zeros((2, 4)), {"ids": ["a"]}, "found 1 values of ids"),
    (np.zeros((2, 4)), {"labels": {"kind": [1, 2, 3]}}, "found 3 values of label kind"),
    (np.zeros((2, 4)), {"split": "sample"}, "splits.*sample"),
    (np.zeros((2, 4)), {"parents": "other.functa"}, "parents must be a list.*'other.functa'"),
    (np.zeros((2, 4)), {"labels": [1, 2]}, r"labels must be a dictionary.*\[1, 2\]"),
]


@pytest.mark.parametrize(("rows", "options", "words"), WRONG)
def test_what_cannot_be_a_functaset_is_refused_before_anything_is_written(
    fs, tmp_path, unchecked, rows, options, words
):
    with pytest.raises(ConfigError, match=words):
        fs.derive(tmp_path / "out.functa", rows, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_command_takes_modulations_ids_splits_and_labels_from_a_file(fs, tmp_path, capsys):
    rows, out = fs.modulations[:4] + 1, tmp_path / "out.functa"
    named = {"id": np.array(["a", "b", "c", "d"]), "split": np.array(["train", "test"] * 2), "kind": np.arange(4)}
    np.savez(tmp_path / "in.npz", modulations=Normalization.of_all(fs).apply(rows), **named)
    assert main.main(["derive", str(fs.store.path), str(tmp_path / "in.npz"), str(out), "--normalized", "--json"]) == 0
    made = functa_store.open(out)
    np.testing.assert_allclose(made.modulations[:], rows, atol=1e-5)
    assert made.ids[:].tolist() == ["a", "b", "c", "d"]
    assert made.split[:].tolist() == ["train", "test"] * 2
    np.testing.assert_array_equal(made.labels["kind"][:], np.arange(4))
    assert json.loads(capsys.readouterr().out)["examples"] == 4


def test_the_command_takes_rows_of_an_array(fs, tmp_path):
    np.save(tmp_path / "in.npy", fs.modulations[:3])
    assert main.main(["derive", str(fs.store.path), str(tmp_path / "in.npy"), str(tmp_path / "out.functa")]) == 0
    np.testing.assert_array_equal(functa_store.open(tmp_path / "out.functa").modulations[:], fs.modulations[:3])


def test_the_command_says_what_is_wrong_with_a_file(fs, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", latents=np.zeros((2, 4)))
    np.savez(tmp_path / "single.npz", modulations=np.zeros((2, 4)), split="test")
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    wrong = {
        "other.npz": r"\['latents'\], expected one called 'modulations'",
        "single.npz": "'split' is a single value",
        "text.npy": "cannot be read",
        "objects.npy": "cannot be read",
        "none.npy": "No such file",
    }
    for name, words in wrong.items():
        assert main.main(["derive", str(fs.store.path), str(tmp_path / name), str(tmp_path / "out.functa")]) == 2
        assert re.search(words, capsys.readouterr().err.replace("\n", " ")), name
    assert not (tmp_path / "out.functa").exists()
