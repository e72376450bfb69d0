"""Functasets of one base network are loaded as one, and those of different ones are not mixed."""

import itertools
import json
import pickle

import numpy as np
import pytest

import functa_store
from functa_store.errors import ConfigError
from functa_store.loaders import (
    BlockShuffle,
    DecodeGrid,
    Examples,
    Loader,
    Normalization,
    to_huggingface,
)
from functa_store.loaders.batch_content import joined
from tests.loaders.conftest import CELLS, write
from tests.store.conftest import make_augmented, make_contents, write_shards


@pytest.fixture(scope="module", name="stores")
def _stores(tmp_path_factory, fs):
    """Two of one base network, one of them in int8, and one of another network."""
    folder = tmp_path_factory.mktemp("stores")
    return fs, write(folder / "int8.functa", "int8"), write(folder / "other.functa", seed=1)


def rows_of(stores):
    return np.concatenate([store.modulations[:] for store in stores])


def test_equal_bases_share_a_fingerprint_and_others_do_not(stores, tmp_path):
    """Whatever else differs: `int8` has other modulations in other bits, and another place."""
    one, int8, other = stores
    assert one.base_fingerprint == int8.base_fingerprint
    assert one.store.spec.fingerprint != int8.store.spec.fingerprint
    assert other.base_fingerprint != one.base_fingerprint
    cells = write(tmp_path / "cells.functa", network=CELLS)
    assert len({one.base_fingerprint, other.base_fingerprint, cells.base_fingerprint}) == 3
    assert len(bytes.fromhex(one.base_fingerprint)) == 32


def test_the_rates_of_the_fit_are_not_of_the_base(fs):
    import dataclasses

    spec = fs.store.spec
    rate = dataclasses.replace(spec.base["inner_loop/learning_rate"], sha256="0" * 64)
    weight = dataclasses.replace(spec.base["sine_0/kernel"], sha256="0" * 64)
    changed = [
        dataclasses.replace(spec, base=spec.base | part)
        for part in ({"inner_loop/learning_rate": rate}, {"sine_0/kernel": weight})
    ]
    assert [one.base_fingerprint == spec.base_fingerprint for one in changed] == [True, False]


@pytest.mark.parametrize("shuffle", ["full", "none", BlockShuffle(size=7, mixed=3)], ids=str)
def test_a_list_is_loaded_as_one_whose_index_counts_on(stores, shuffle):
    pair = list(stores[:2])
    loader = Loader(pair, 32, shuffle=shuffle, normalize=False)
    assert loader.num_examples == 180
    rows, ages = rows_of(pair), np.concatenate([store.labels["age"][:] for store in pair])
    seen = []
    for batch in loader:
        np.testing.assert_array_equal(batch["modulations"], rows[batch["index"]], strict=True)
        np.testing.assert_array_equal(batch["labels"]["age"], ages[batch["index"]], strict=True)
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(180))


def test_splits_states_and_names_are_those_of_all(stores):
    pair = list(stores[:2])
    loader = Loader(pair, 32, split="test", seed=4)
    assert loader.num_examples == 60
    assert (loader.functaset.split[next(iter(loader))["index"]] == "test").all()
    saved = json.loads(json.dumps(loader.state()))
    again = pickle.loads(pickle.dumps(Loader(pair, 32, split="test", seed=4)))
    again.restore(saved)
    assert [b["index"].tolist() for b in again] == [b["index"].tolist() for b in loader]
    with pytest.raises(ValueError, match="the state of another functaset"):
        Loader(pair[::-1], 32, split="test", seed=4).restore(saved)
    whole = joined(pair)
    assert whole.ids[[0, 89, 90, 179]].tolist() == ["0.png", "89.png", "0.png", "89.png"]
    assert whole.label_names == {"animal": ("cat", "dog")}
    assert joined([pair[0]]) is joined(pair[0]) is pair[0]


def test_normalisation_is_over_all_examples_of_all(stores):
    pair = list(stores[:2])
    rows = rows_of([pair[0], pair[0], pair[1]]).astype(np.float64)
    found = Normalization.of_all([pair[0], pair[0], pair[1]])
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.std[:3], rows.std(axis=0)[:3], rtol=1e-5)
    train = Normalization.of_split(pair)
    chosen = np.concatenate([store.split[:] == "train" for store in pair])
    np.testing.assert_allclose(train.mean, rows_of(pair)[chosen].astype(np.float64).mean(axis=0), rtol=1e-6)


def test_values_are_decoded_and_tables_exported_of_all(stores):
    pair = list(stores[:2])
    batch = next(iter(Loader(pair, 4, index=[0, 95, 3, 179], shuffle="none", decode=DecodeGrid(resolution=2))))
    for place, (store, row) in enumerate([(0, 0), (1, 5), (0, 3), (1, 89)]):
        np.testing.assert_allclose(batch["values"][place], pair[store].decode(row, 2)[0], atol=1e-6)
    pytest.importorskip("datasets")
    table = to_huggingface(pair, index=[0, 95])
    assert table["id"][:] == ["0.png", "5.png"]
    np.testing.assert_array_equal(table["modulation"][1], pair[1].modulations[5])


def test_functasets_of_different_bases_and_what_is_none_are_refused(stores, unchecked):
    for take in (lambda some: Loader(some, 8), Examples, Normalization.of_all):
        with pytest.raises(
            ConfigError, match=r"other\.functa has the base network .{8}, .*small\.functa has .* together"
        ):
            take([stores[0], stores[2]])
        for wrong in ([], "small.functa", 3 * ["small.functa"]):
            with pytest.raises(ConfigError, match="a list of functasets that are open"):
                take(wrong)


def test_labels_that_not_all_have_must_be_left_out_by_name(fs, tmp_path, monkeypatch):
    other = write(tmp_path / "other.functa")
    monkeypatch.delitem(other.store.label_names, "animal")
    with pytest.raises(ConfigError, match=r"labels \['animal'\] .*have none.* such as labels=\['age'\]"):
        Loader([fs, other], 8)
    assert set(next(iter(Loader([fs, other], 8, labels=["age"])))["labels"]) == {"age"}
    with pytest.raises(ConfigError, match=r"no labels \['animal'\]"):
        Loader([fs, other], 8, labels=["animal"])


def test_augmentations_stay_with_their_originals(tmp_path):
    plain = functa_store.open(write_shards(tmp_path / "plain.functa", make_contents()))
    augmented = functa_store.open(write_shards(tmp_path / "augmented.functa", make_augmented()))
    pair = [plain, augmented]
    if plain.base_fingerprint != augmented.base_fingerprint:
        pytest.fail("the two are of one base network")
    loader = Loader(pair, 5, split="train")
    of = joined(pair).augmentations["of"][:]
    wanted = np.concatenate([np.arange(len(plain)), augmented.augmentations["of"][:] + len(plain)])
    np.testing.assert_array_equal(of, wanted)
    seen = set()
    for _ in range(10):
        found = list(itertools.chain.from_iterable(batch["index"].tolist() for batch in loader))
        assert len(set(of[found].tolist())) == len(found) == loader.num_examples
        seen.update(found)
    assert max(seen) >= len(plain) + 15  # an augmentation


def test_examples_of_torch_are_mixed_only_where_that_makes_sense(stores):
    pytest.importorskip("torch")
    from torch.utils.data import ConcatDataset, DataLoader

    from functa_store.loaders import TorchExamples

    one, int8, other = stores

    def load(*parts):
        return list(DataLoader(ConcatDataset(parts), batch_size=180))

    with pytest.raises(ConfigError, match="modulations of 2 base networks"):
        load(TorchExamples(one), TorchExamples(other))
    with pytest.raises(ConfigError, match="normalised by different numbers; give all TorchExamples one normalize="):
        load(TorchExamples(one), TorchExamples(int8))
    normalization = Normalization.of_all([one, int8])
    (batch,) = load(*(TorchExamples(store, normalize=normalization) for store in (one, int8)))
    (same,) = DataLoader(TorchExamples([one, int8]), batch_size=180)
    np.testing.assert_allclose(batch["modulations"], same["modulations"], rtol=1e-6)
    copied = pickle.loads(pickle.dumps(TorchExamples(one)[3]))
    assert copied.origin == TorchExamples(one).origin
    assert int(copied["index"]) == 3
