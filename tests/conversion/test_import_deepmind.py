"""Published functa become functasets that decode as their own code does, and no file of a stranger runs anything."""

import contextlib
import functools
import importlib.util
import json
import pickle
import random
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store.cli import main as cli
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig, OuterLoopConfig
from functa_store.conversion.deepmind_files import read_base, read_modulations
from functa_store.conversion.import_deepmind import import_deepmind
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    FunctaStoreError,
    StoreExistsError,
    StoreMismatchError,
)
from functa_store.loaders import Loader
from functa_store.store.writing.writer import StoreWriter

GOLDEN = Path(__file__).parent.parent / "golden"
PARAMS, MODULATIONS = GOLDEN / "celeba_params_4_latents.npz", GOLDEN / "celeba_modulations_4_latents.npz"
PREFIX = "latent_modulated_siren"

has_haiku = all(importlib.util.find_spec(name) for name in ("haiku", "ml_collections", "dill"))
with_haiku = pytest.mark.skipif(not has_haiku, reason="needs dm-haiku, ml_collections and dill")


@pytest.fixture(scope="session")
def imported(tmp_path_factory):
    """The golden pair as a functaset."""
    path = tmp_path_factory.mktemp("deepmind") / "celeba.functa"
    import_deepmind(PARAMS, MODULATIONS, path)
    return path


def haiku_names(layers: int) -> list[str]:
    return [f"{PREFIX}/modulated_siren_layer{f'_{i}' if i else ''}/linear" for i in range(layers)]


def checkpoint(width=6, depth=3, dim=4, channels=3, **changes):
    """Parameters and settings of their format, in plain containers and NumPy arrays."""
    rng = np.random.default_rng(0)
    sizes = [2, *[width] * (depth - 1), channels]

    def linear(fan_in, fan_out, bound):
        return {
            "w": rng.uniform(-bound, bound, (fan_in, fan_out)).astype(np.float32),
            "b": rng.uniform(-bound, bound, fan_out).astype(np.float32),
        }

    bounds = [0.5, *[(6 / width) ** 0.5 / 30] * (depth - 2), 0.3]
    params = {name: linear(*sizes[i : i + 2], bounds[i]) for i, name in enumerate(haiku_names(depth))}
    params[f"{PREFIX}/~/latent_to_modulation/~/mlp/~/linear_0"] = linear(dim, width * (depth - 1), 0.1)
    params[f"{PREFIX}/~/meta_sgd_lrs"] = {"meta_sgd_lrs": rng.uniform(0, 1, dim).astype(np.float32)}
    params[f"{PREFIX}/~/latent_vector"] = {"latent_vector": np.zeros(dim, np.float32)}
    model = {
        "type": "latent_modulated_siren",
        "w0": 30.0,
        "width": width,
        "depth": depth,
        "latent_dim": dim,
        "modulate_scale": False,
        "modulate_shift": True,
        "layer_sizes": (),
        "meta_sgd_clip_range": (0.0, 1.0),
    }
    dataset = {"name": "celeb_a_hq", "num_channels": channels, "resolution": 8, "type": "image"}
    config = {"model": model, "dataset": dataset, "training": {"inner_steps": 3}}
    for place, value in changes.items():
        section, _, name = place.partition("__")
        config[section][name] = value
        if value is None:
            del config[section][name]
    return {"params": params, "config": config}


def splits(dim=4, **counts):
    rng = np.random.default_rng(1)
    return {
        name: {
            "modulation": rng.normal(size=(count, dim)).astype(np.float32),
            "psnr": np.linspace(20, 40, count).astype(np.float32),
        }
        for name, count in (counts or {"train": 3, "test": 2}).items()
    }


def save(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def forward(params, modulation, resolution, w0=30.0):
    """Their network in float64, layer by layer, without any of this library."""
    wide = {module: {name: np.asarray(a, np.float64) for name, a in named.items()} for module, named in params.items()}
    centres = (np.arange(resolution) + 0.5) / resolution
    x = np.stack(np.meshgrid(centres, centres, indexing="ij"), axis=-1)
    to_shifts = wide[f"{PREFIX}/~/latent_to_modulation/~/mlp/~/linear_0"]
    shifts = modulation.astype(np.float64) @ to_shifts["w"] + to_shifts["b"]
    *layers, last = (wide[name] for name in wide if "/modulated_siren_layer" in name)
    for layer, shift in zip(layers, shifts.reshape(len(layers), -1), strict=True):
        x = np.sin(w0 * (x @ layer["w"] + layer["b"] + shift))
    return x @ last["w"] + last["b"] + 0.5


def test_the_golden_pair_decodes_as_haiku_did(imported):
    functaset = functa_store.open(imported)
    expected = np.load(GOLDEN / "celeba_decoded.npy")
    np.testing.assert_allclose(functaset.decode(slice(None), clip=False), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(functaset.decode(slice(None)), np.clip(expected, 0, 1), rtol=0, atol=1e-5)


def test_decode_is_their_arithmetic_in_float64(tmp_path):
    published, fitted = checkpoint(depth=4), splits()
    path = tmp_path / "out.functa"
    import_deepmind(save(tmp_path / "p.npz", published), save(tmp_path / "m.npz", fitted), path)
    functaset = functa_store.open(path)
    for i, modulation in enumerate(np.concatenate([part["modulation"] for part in fitted.values()])):
        for resolution in (8, 13):
            expected = forward(published["params"], modulation, resolution)
            found = functaset.decode(i, resolution=resolution, clip=False)
            np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-5)


@with_haiku
@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(8, 3, 4, 3, 8), (5, 2, 1, 1, 6), (16, 13, 8, 3, 8)])
def test_decode_is_haikus_forward_pass(tmp_path, sizes):
    """Of networks with more than ten layers, too, whose names sort as 1, 10, 11, 2."""
    import dill
    from ml_collections import ConfigDict

    make = _maker()
    named = dict(zip(("width", "depth", "latent_dim", "num_channels", "resolution"), sizes, strict=True))
    params, fitted = make.parameters(named, seed=3), make.modulations(named, seed=3)
    (tmp_path / "p").write_bytes(dill.dumps({"params": params, "config": ConfigDict(make.settings(named))}))
    (tmp_path / "m").write_bytes(dill.dumps(fitted))
    import_deepmind(tmp_path / "p", tmp_path / "m", tmp_path / "out.functa")
    functaset = functa_store.open(tmp_path / "out.functa")
    rows = np.concatenate([part["modulation"] for part in fitted.values()])
    for resolution in (named["resolution"], 11):
        expected = make.forward(params, named, rows, resolution)
        found = functaset.decode(slice(None), resolution=resolution, clip=False)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@with_haiku
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("containers", ["plain", "haiku", "frozen"])
def test_containers_and_protocols_give_the_same_base(tmp_path, protocol, containers):
    import dill
    import jax
    from haiku._src.data_structures import FlatMapping
    from ml_collections import ConfigDict, FieldReference, FrozenConfigDict

    published = checkpoint()
    expected = read_base(save(tmp_path / "plain.npz", published))
    config = published["config"] | {"model": published["config"]["model"] | {"width": FieldReference(6)}}
    params = {
        "plain": lambda: published["params"],
        "haiku": lambda: FlatMapping(jax.tree.map(jax.numpy.asarray, published["params"])),
        "frozen": lambda: FlatMapping(published["params"]),
    }[containers]()
    config = {"plain": published["config"], "haiku": ConfigDict(config), "frozen": FrozenConfigDict(config)}[containers]
    path = tmp_path / "other.npz"
    path.write_bytes(dill.dumps({"params": params, "config": config}, protocol=protocol))
    found = read_base(path)
    assert found.network == expected.network
    assert found.weights.keys() == expected.weights.keys()
    for name, array in expected.weights.items():
        np.testing.assert_array_equal(found.weights[name], array)
    np.testing.assert_array_equal(found.rates, expected.rates)


@pytest.mark.slow
@with_haiku
def test_the_golden_pair_is_what_its_script_writes():
    make = _maker()
    assert pickle.loads(PARAMS.read_bytes())["config"].to_dict() == make.settings(make.SIZES)
    for module, named in pickle.loads(PARAMS.read_bytes())["params"].items():
        for name, array in named.items():
            np.testing.assert_allclose(array, make.parameters(make.SIZES)[module][name], rtol=1e-6)


@functools.cache
def _maker():
    spec = importlib.util.spec_from_file_location("make_deepmind", GOLDEN / "make_deepmind.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_splits_ids_errors_and_rates_are_those_of_the_files(imported):
    functaset = functa_store.open(imported)
    assert list(functaset.ids[:]) == ["train/0", "train/1", "train/2", "test/0", "test/1"]
    assert list(functaset.split[:]) == ["train"] * 3 + ["test"] * 2
    np.testing.assert_allclose(functaset.psnr, [30, 31, 32, 30, 31], atol=1e-5)
    np.testing.assert_allclose(functaset.mse[:], 10 ** -np.array([3, 3.1, 3.2, 3, 3.1]), rtol=1e-5)
    base = read_base(PARAMS)
    rates = functaset.base["inner_loop/learning_rate"]
    assert rates.shape == (3, 4)
    np.testing.assert_array_equal(rates, np.tile(base.rates[0], (3, 1)))
    assert (rates.min(), rates.max()) == (0, 1)  # the golden ones reach from below 0 to above 1
    assert not functaset.base["inner_loop/momentum"].any()
    assert functaset.config.network == NetworkConfig(width=8, depth=3, w0=30.0, modulation_dim=4)
    assert functaset.domain == functa_store.CellGrid(axes=("y", "x"), resolution=(8, 8))
    assert functaset.features.channels == ("red", "green", "blue")
    assert dict(functaset.labels) == {}
    provenance = functaset.spec.provenance
    assert provenance["split"] == "published in celeba_modulations_4_latents.npz"
    assert provenance["settings"]["dataset"]["name"] == "celeb_a_hq_custom"
    assert any("3 of 4 learning rates" in note for note in provenance["notes"])


def test_what_follows_an_import_works_as_after_a_conversion(imported, tmp_path, capsys):
    functaset = functa_store.open(imported, verify=True)
    assert functa_store.verify(imported).damaged == {}
    assert functaset.decode(0, resolution=32).shape[-3:] == (32, 32, 3)
    batch = next(iter(Loader(functaset, batch_size=2, seed=0)))
    assert batch["modulations"].shape == (2, 4)
    dataset = xr.open_dataset(imported, engine="functa")
    assert dataset.sizes["example"] == 5
    functa_store.recode(imported, tmp_path / "small.functa", "float16")
    assert functa_store.open(tmp_path / "small.functa").decode(0).shape == functaset.decode(0).shape
    functa_store.export(imported, tmp_path / "decoded.npz")
    for words in (["info", str(imported)], ["verify", str(imported)], ["decode", str(imported), "--out", "sheet.png"]):
        with contextlib.chdir(tmp_path):
            assert cli.main(words) == 0
    assert "published in celeba_modulations_4_latents.npz" in capsys.readouterr().out


def test_the_command_writes_what_the_function_does(imported, tmp_path, capsys):
    out = tmp_path / "celeba.functa"
    assert cli.main(["import-deepmind", str(PARAMS), str(MODULATIONS), str(out), "--json"]) == 0
    *events, facts = map(json.loads, capsys.readouterr().out.splitlines())
    assert facts["splits"] == {"test": 2, "train": 3}
    assert facts["psnr_mean"] == pytest.approx({"test": 30.5, "train": 31})
    assert events[0]["event"] == "note"
    assert _files(out) == _files(imported)


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Pixels:
    """A source of the same kind of examples."""

    domain = functa_store.CellGrid(axes=("y", "x"), resolution=(8, 8))
    features = functa_store.FeatureSpec(channels=("red", "green", "blue"))
    ids = ("a", "b")
    split = np.array(["train", "test"])
    labels, rejects, provenance = {}, (), {"archive": "images", "sha256": "0" * 64}

    def read(self, index):
        return np.zeros((8, 8, 3), np.float32)


CONFIG = ConvertConfig(
    network=NetworkConfig(width=8, depth=3, modulation_dim=4),
    outer=OuterLoopConfig(num_steps=1, batch_size=1),
    fit=FitConfig(num_steps=1, tuning_steps=0),
)


@pytest.mark.slow
def test_an_interrupted_import_goes_on_and_is_no_conversion(imported, tmp_path, monkeypatch):
    out = tmp_path / "celeba.functa"

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_deepmind(PARAMS, MODULATIONS, out)
    with pytest.raises(StoreMismatchError, match="unfinished conversion differs"):
        functa_store.convert(Pixels(), out, CONFIG)
    with pytest.raises(StoreMismatchError, match="unfinished conversion differs"):
        import_deepmind(save(tmp_path / "p.npz", checkpoint(width=8)), MODULATIONS, out)
    with monkeypatch.context() as patched:
        patched.setattr("functa_store.conversion.import_deepmind.clear", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_deepmind(PARAMS, MODULATIONS, out)
    import_deepmind(PARAMS, MODULATIONS, out)
    assert _files(out) == _files(imported)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["celeba.functa", "celeba.functa.log", "p.npz"]
    with pytest.raises(StoreExistsError, match="complete functaset already"):
        import_deepmind(PARAMS, MODULATIONS, out)
    with pytest.raises(StoreExistsError, match="complete functaset already"):
        functa_store.convert(Pixels(), out, CONFIG)


def test_an_imported_functaset_has_no_archive_to_be_repaired_from(imported, tmp_path, capsys):
    assert cli.main(["repair", str(imported), "--archive", str(tmp_path)]) == 2
    assert "import it again" in capsys.readouterr().err.replace("\n", " ")


def test_settings_that_the_file_lacks_are_asked_for(tmp_path):
    path = save(tmp_path / "p.npz", checkpoint(model__w0=None, dataset__resolution=None))
    with pytest.raises(ConfigError, match="no setting w0; say it by --w0"):
        read_base(path)
    with pytest.raises(ConfigError, match="no setting resolution; say it by --resolution"):
        read_base(path, w0=30.0)
    found = read_base(path, w0=20.0, resolution=16)
    assert (found.network.w0, found.resolution) == (20.0, (16, 16))
    only = save(tmp_path / "only.npz", checkpoint()["params"])
    assert read_base(only, w0=30.0, resolution=8).network == NetworkConfig(width=6, depth=3, w0=30.0, modulation_dim=4)
    with pytest.raises(ConfigError, match=r"--w0 is 20\.0, but the settings of the file say 30\.0"):
        read_base(PARAMS, w0=20.0)
    with pytest.raises(ConfigError, match="w0 must be positive"):
        read_base(PARAMS, w0=float("nan"))


def test_rates_are_those_of_the_settings_where_none_were_learned(tmp_path):
    published = checkpoint(training__inner_steps=5)
    del published["params"][f"{PREFIX}/~/meta_sgd_lrs"]
    published["config"]["opt_inner"] = {"lr": 0.25}
    np.testing.assert_array_equal(
        read_base(save(tmp_path / "p.npz", published)).rates, np.full((5, 4), 0.25, np.float32)
    )


def test_other_numbers_of_every_example_become_labels(tmp_path):
    fitted = splits()
    for part in fitted.values():
        part["attribute"] = np.arange(len(part["psnr"]), dtype=">i4")
        part["title"] = "of a split"
    fitted["psnr_mean"] = 31.0
    found = read_modulations(save(tmp_path / "m.npz", fitted), 4)
    assert found.labels["attribute"].values.tolist() == [0, 1, 2, 0, 1]
    assert list(found.labels) == ["attribute"]
    (note,) = found.notes
    assert "'psnr_mean', 'title'" in note


def refused_params():
    """Checkpoints that a functaset cannot hold, and what is said of them."""

    def without(*suffixes):
        found = checkpoint()
        for suffix in suffixes:
            del found["params"][f"{PREFIX}/{suffix}"]
        return found

    def changed(module, name, array):
        found = checkpoint()
        found["params"].setdefault(f"{PREFIX}/{module}", {})[name] = array
        return found

    ones = functools.partial(np.ones, dtype=np.float32)
    deeper = changed("~/latent_to_modulation/~/mlp/~/linear_1", "w", ones((12, 12)))
    deeper["params"][f"{PREFIX}/~/latent_to_modulation/~/mlp/~/linear_1"]["b"] = ones(12)
    scales = checkpoint(model__modulate_scale=None)
    scales["params"][f"{PREFIX}/~/latent_to_modulation/~/mlp/~/linear_0"] = {"w": ones((4, 24)), "b": ones(24)}
    scene = checkpoint(channels=4)
    scene["params"][haiku_names(1)[0]]["w"] = ones((3, 6))
    untold_scene = {"params": scene["params"]}
    scene["config"]["dataset"]["type"] = "scene"
    twice = checkpoint()
    twice["params"][haiku_names(1)[0].replace(PREFIX, "other")] = twice["params"][haiku_names(1)[0]]
    nan = checkpoint()
    nan["params"][haiku_names(1)[0]]["b"] = np.full(6, np.nan, np.float32)
    return {
        "a scene": (scene, "radiance field; only images are imported"),
        "a scene without settings": (untold_scene, "radiance field; only images are imported"),
        "voxels": (checkpoint(dataset__type="voxels"), "'voxels' at points of 2 coordinates"),
        "shift modulations": (checkpoint(model__type="modulated_siren"), "type 'modulated_siren'"),
        "modulations of FiLM layers": (
            changed("modulated_siren_layer/fi_lm", "shift", ones(6)),
            "expected 'latent_modulated_siren'",
        ),
        "a deep map": (deeper, "by 2 layers, expected a single one"),
        "scales": (scales, "modulates scales"),
        "scales by settings": (checkpoint(model__modulate_scale=True), "modulates scales"),
        "no shifts": (checkpoint(model__modulate_shift=False), "modulates scales"),
        "another width": (checkpoint(model__width=7), "width 6, but config.model.width says 7"),
        "another depth": (checkpoint(model__depth=4), "depth 3, but config.model.depth says 4"),
        "another size": (checkpoint(model__latent_dim=8), "latent_dim 4, but config.model.latent_dim says 8"),
        "other channels": (checkpoint(dataset__num_channels=1), "num_channels 3, but config"),
        "no map": (without("~/latent_to_modulation/~/mlp/~/linear_0"), "lacks a map"),
        "a missing layer": (without("modulated_siren_layer_1/linear"), r"lacks layers of the network.*\[0, 2\]"),
        "a kernel of another shape": (
            changed("modulated_siren_layer_1/linear", "w", ones((6, 5))),
            r"sine_1/kernel has shape \(6, 5\), expected \(6, 6\)",
        ),
        "a kernel of another rank": (changed("modulated_siren_layer/linear", "w", ones(6)), "kernel or a bias"),
        "rates of another size": (changed("~/meta_sgd_lrs", "meta_sgd_lrs", ones(5)), r"shape \(5,\), expected \(4,\)"),
        "integers": (changed("modulated_siren_layer/linear", "b", np.ones(6, int)), "int64 as the parameter"),
        "a list": (changed("modulated_siren_layer/linear", "b", [1.0] * 6), "list as the parameter"),
        "an unknown parameter": (changed("encoder/linear", "w", ones((2, 2))), "'latent_modulated_siren/encoder"),
        "a layer twice": (twice, "second parameter"),
        "not finite": (nan, "not finite"),
        "a frequency of 0": (checkpoint(model__w0=0.0), "w0 must be positive"),
        "a frequency that is a word": (checkpoint(model__w0="30"), "'30' as its setting config.model.w0"),
        "a resolution of 0": (checkpoint(dataset__resolution=0), "config.dataset.resolution, expected a whole number"),
        "modulations": (splits(), "holds modulations; give the file of parameters first"),
        "a list of things": ([1, 2], "list as the file"),
        "nothing": ({}, "lacks layers"),
        "numbers as keys": ({1: 2}, "dict as the file"),
        "no parameters": ({"params": 3, "config": {}}, "int as 'params'"),
    }


@pytest.mark.parametrize("name", refused_params())
def test_parameters_that_a_functaset_cannot_hold_are_refused(tmp_path, name):
    published, said = refused_params()[name]
    path = save(tmp_path / "p.npz", published)
    with pytest.raises(ArchiveError, match=said) as raised:
        read_base(path, **({} if "config" in published else {"w0": 30.0, "resolution": 8}))
    assert str(raised.value).startswith(f"{path}: ")


def refused_modulations():
    """Files of modulations that are refused, and what is said of them."""

    def changed(name, value):
        found = splits()
        found["test"][name] = value
        if value is None:
            del found["test"][name]
        return found

    nan = splits()
    nan["train"]["modulation"] = nan["train"]["modulation"] * np.float32(np.nan)
    return {
        "other modulations": (splits(dim=8), r"float32 of \(3, 8\), expected floats of shape \(examples, 4\)"),
        "no PSNR": (changed("psnr", None), "test has no 'psnr'"),
        "too few PSNRs": (
            changed("psnr", np.ones(1, np.float32)),
            r"float32 of \(1,\), expected floats of shape \(2,\)",
        ),
        "PSNRs that are none": (changed("psnr", np.full(2, np.nan, np.float32)), "holds nan, expected decibels"),
        "PSNRs of infinite error": (changed("psnr", np.full(2, -5000.0)), "holds -5000.0, expected decibels"),
        "a list of modulations": (changed("modulation", [1.0]), "list, expected floats"),
        "not finite": (nan, "train/modulation holds numbers that are not finite"),
        "another split": ({"other": splits()["train"]}, "split 'other', expected names such as train"),
        "no split": ({"a": 1}, "expected splits such as 'train'"),
        "no example": (splits(train=0), "holds no modulation"),
        "parameters": (checkpoint(), "holds parameters.*publishes parameters, but no modulations"),
        "an array": (np.ones((3, 4), np.float32), "ndarray as the file"),
    }


@pytest.mark.parametrize("name", refused_modulations())
def test_modulations_that_do_not_fit_are_refused(tmp_path, name):
    fitted, said = refused_modulations()[name]
    path = save(tmp_path / "m.npz", fitted)
    with pytest.raises(ArchiveError, match=said) as raised:
        read_modulations(path, 4)
    assert str(raised.value).startswith(f"{path}: ")


def test_what_is_no_pickle_and_what_is_no_file_is_named(tmp_path):
    np.savez(tmp_path / "real.npz", a=np.ones(3))
    with pytest.raises(ArchiveError, match="is an archive or array of NumPy, expected a pickle"):
        read_base(tmp_path / "real.npz")
    with pytest.raises(ArchiveError, match="no plain file but a folder"):
        read_base(tmp_path)
    with pytest.raises(ArchiveError, match="cannot be read"):
        read_base(tmp_path / "absent.npz")
    (tmp_path / "page.npz").write_text("<html>404</html>")
    with pytest.raises(ArchiveError, match="pickle"):
        read_base(tmp_path / "page.npz")


class Runs:
    def __reduce__(self):
        return exec, ("import sys; sys.ran_by_a_pickle = True",)


def test_a_pickle_that_runs_code_runs_nothing(tmp_path):
    for value in (Runs(), {"params": Runs()}, {"params": checkpoint()["params"], "config": Runs()}):
        with pytest.raises(ArchiveError, match=r"'exec'.*nothing was executed"):
            import_deepmind(save(tmp_path / "p.npz", value), MODULATIONS, tmp_path / "out.functa")
    assert not hasattr(sys, "ran_by_a_pickle")
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def mutant(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few of them changed, removed, repeated or put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(changed)), rng.randint(1, 16)
        match rng.randrange(5):
            case 0:
                changed[place] = rng.randrange(256)
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = changed[place : place + length] * rng.randint(1, 3)
            case 3:
                changed[place : place + 4] = struct.pack("<I", rng.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1]))
            case 4:
                changed[place : place + 1] = bytes([rng.choice(b"Rbco\x81\x93()].uesQP2010gh\x94\x85\x86\x87")])
    return bytes(changed)


def check_mutants(folder, count):
    rng = random.Random(count)
    whole, fitted = PARAMS.read_bytes(), MODULATIONS.read_bytes()
    path = folder / "mutant.npz"
    for i in range(count):
        path.write_bytes(mutant(fitted if i % 2 else whole, rng))
        with contextlib.suppress(FunctaStoreError):
            if i % 2:
                found = read_modulations(path, 4)
                assert found.values.shape == (len(found.ids), 4)
                assert np.isfinite(found.values).all()
                assert np.isfinite(found.mse).all()
            else:
                base = read_base(path)
                assert all(np.isfinite(array).all() for array in base.weights.values())
                assert base.weights["map/kernel"].shape == (base.network.modulation_dim, base.network.num_shifts)


def test_mutants_give_an_error_of_ours_or_a_sound_value(tmp_path):
    check_mutants(tmp_path, 80)


@pytest.mark.slow
def test_thousands_of_mutants_give_an_error_of_ours_and_take_no_memory(tmp_path, unchecked):
    check_mutants(tmp_path, 100)
    tracemalloc.start()
    check_mutants(tmp_path, 1500)
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert left < 2 << 20
