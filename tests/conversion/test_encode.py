"""An archive is encoded with the base of a finished functaset, as its conversion would have fitted it."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.cli import main as cli
from functa_store.errors import ArchiveError, StoreExistsError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from tests.conversion.fitted import NETWORKS, blends, fitted

PICTURES = blends(11)
SPEC = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)


def source(values=PICTURES, **changes):
    options = {"features": SPEC, "labels": {"kind": Label(values=np.arange(len(values)))}}
    return ArraySource(values, **options | changes)


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory):
    """The functaset of eleven pictures."""
    return fitted(tmp_path_factory.mktemp("stores") / "base.functa", source())


@pytest.mark.parametrize("dtype", ["float32", pytest.param("int8", marks=pytest.mark.slow)])
def test_the_same_archive_gets_the_same_modulations_and_all_else_of_its_own(base, tmp_path, dtype):
    if dtype != "float32":
        functa_store.recode(base, tmp_path / "base.functa", dtype)
        base = functa_store.open(tmp_path / "base.functa")
    test = source(split=["test"] * 10 + ["train"], ids=[f"new {k}" for k in range(11)])
    functa_store.encode(test, base, tmp_path / "out.functa")
    out = functa_store.open(tmp_path / "out.functa")
    np.testing.assert_array_equal(out.modulations[:], base.modulations[:])
    np.testing.assert_array_equal(out.mse[:], base.mse[:])
    assert out.config == base.config
    for name, array in base.store.stored_base.items():
        np.testing.assert_array_equal(out.store.stored_base[name], array)
    assert (str(out.ids[0]), str(out.split[0]), out.labels["kind"][3]) == ("new 0", "test", 3)
    assert out.spec.provenance["encoded_with"] == {
        "archive": "array",
        "fingerprint": base.spec.fingerprint,
        "same_points": True,
    }
    assert functa_store.verify(out).damaged == {}
    with pytest.raises(StoreExistsError):
        functa_store.encode(test, base, tmp_path / "out.functa")


@pytest.mark.slow
def test_an_interrupted_encoding_goes_on_to_the_same_bytes(base, tmp_path, monkeypatch):
    def files(path):
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}

    functa_store.encode(source(), base, tmp_path / "once.functa")
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.store.writing.writer.StoreWriter._complete", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.encode(source(), base, tmp_path / "twice.functa")
    assert not functa_store.open(tmp_path / "twice.functa").spec.complete
    functa_store.encode(source(), base, tmp_path / "twice.functa")
    assert files(tmp_path / "twice.functa") == files(tmp_path / "once.functa")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["latent", "spatial"])
def test_another_resolution_is_observed_at_its_own_points(base, tmp_path, kind):
    if kind != "latent":
        base = fitted(tmp_path / "grids.functa", source(), NETWORKS[kind])
    small = PICTURES.reshape(11, 6, 2, 5, 2, 3).mean(axis=(2, 4)).round().astype(np.uint8)
    functa_store.encode(source(small), base, tmp_path / "out.functa")
    out = functa_store.open(tmp_path / "out.functa")
    np.testing.assert_array_equal(out.modulations[:], base.encode(small).modulations)
    np.testing.assert_array_equal(out.mse[:], base.encode(small).mse)
    assert out.decode(0).shape == (1, 12, 10, 3)


@pytest.mark.slow
def test_values_of_another_scaling_are_taken_over_in_their_unit(tmp_path):
    kelvin = 250 + 50 * np.random.default_rng(0).random((6, 12, 1))
    options = {"channels": ["t"], "units": ["K"]}
    base = fitted(tmp_path / "base.functa", ArraySource(kelvin, value_range=(240, 310), **options))
    functa_store.encode(ArraySource(kelvin, value_range=(200, 400), **options), base, tmp_path / "out.functa")
    out = functa_store.open(tmp_path / "out.functa")
    np.testing.assert_allclose(out.modulations[:], base.modulations[:], rtol=1e-4, atol=1e-6)
    assert out.features == base.features


WRONG = [
    ({"features": FeatureSpec(channels=("r", "g", "b"), scale=1 / 255)}, r"channels \('r', 'g', 'b'\)"),
    ({"features": FeatureSpec(channels=SPEC.channels, units=("K",) * 3, scale=1 / 255)}, "in .'K', 'K', 'K'."),
    ({"axes": ("t", "x")}, "domain.axes"),
    ({"values": PICTURES[:, :, 0]}, "domain.axes"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_examples_of_another_kind_are_refused_before_work_starts(base, tmp_path, changes, words):
    with pytest.raises(ArchiveError, match=words):
        functa_store.encode(source(**changes), base, tmp_path / "out.functa")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_fewer_points_than_cells_are_refused(tmp_path):
    base = fitted(tmp_path / "grids.functa", source(), NETWORKS["spatial"])
    with pytest.raises(ArchiveError, match=r"at least one in each of \(2, 2\) cells"):
        functa_store.encode(source(PICTURES[:, :1]), base, tmp_path / "out.functa")


@pytest.mark.slow
def test_the_command_encodes_what_the_conversion_fitted(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for k, picture in enumerate(blends(11, 16, 16)):
        Image.fromarray(picture).save(tmp_path / "in" / f"{k:02}.png")
    words = ["--outer-steps", "3", "--batch-size", "2", "--modulation-dim", "4", "--fit-steps", "3", "--quiet"]
    base, out = str(tmp_path / "base.functa"), str(tmp_path / "out.functa")
    assert cli.main(["convert", "images", str(tmp_path / "in"), base, *words, "--resolution", "16"]) == 0
    assert cli.main(["encode", base, str(tmp_path / "in"), out, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["examples"] == 11
    assert facts["provenance"]["encoded_with"]["fingerprint"] == functa_store.open(base).spec.fingerprint
    np.testing.assert_array_equal(functa_store.open(out).modulations[:], functa_store.open(base).modulations[:])
    assert cli.main(["verify", out, "--deep", "--archive", str(tmp_path / "in")]) == 0
    small = str(tmp_path / "small.functa")
    assert cli.main(["encode", base, str(tmp_path / "in"), small, "--option", "resolution=8", "--limit", "3"]) == 0
    assert functa_store.open(small).decode(0).shape == (1, 16, 16, 3)
    assert len(functa_store.open(small)) == 3
    assert cli.main(["encode", base, str(tmp_path / "in"), str(tmp_path / "no.functa"), "--kind", "nothing"]) == 2
    assert "kind 'nothing': is no kind of archive, expected one of ['arrays'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_base_in_float16_encodes_with_what_is_stored(tmp_path):
    half = fitted(tmp_path / "half.functa", source(), base_dtype="float16")
    functa_store.encode(source(), half, tmp_path / "out.functa")
    out = functa_store.open(tmp_path / "out.functa")
    np.testing.assert_array_equal(out.modulations[:], half.modulations[:])
    assert out.store.stored_base["sine_1/kernel"].dtype == np.float16
    assert dataclasses.asdict(out.config) == dataclasses.asdict(half.config)
