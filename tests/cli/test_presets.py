"""Presets by kind, files of choices, and converters whose options or presets cannot work."""

import dataclasses
import enum
import json
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
import yaml

from functa_store.cli import main as cli
from functa_store.cli.arguments import typed_words
from functa_store.cli.convert import options_from, preset_from
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.errors import ConfigError
from functa_store.plugins import Converter, Preset, converters, preset_values, read_preset, write_preset
from functa_store.reopen import reopened
from functa_store.sources.options import ArchiveOptions, hints, is_several

TINY = Preset(summary="For tests.", config=ConvertConfig(network=NetworkConfig(width=8, depth=3, modulation_dim=4)))
OTHER = dataclasses.replace(TINY, config=dataclasses.replace(TINY.config, seed=7), source={"seconds": 2.0})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ArchiveOptions):
    """For tests."""

    exclusive = (("seconds", "samples"),)

    seconds: float | None = None
    samples: int | None = None
    names: tuple[str, ...] | None = None
    up: Literal["y", "z"] | None = "y"
    folder: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples == 13:
            raise ConfigError("samples must not be 13")


class Opened:
    """Notes what a converter was opened with."""

    def __call__(self, archive, options, survey, report):
        self.options = options
        return "source"


FAKE = Converter(summary="100% fake.", options=Options, presets={"tiny": TINY, "other": OTHER}, open=Opened())
TWIN = dataclasses.replace(FAKE, presets={"tiny": TINY, "other": dataclasses.replace(OTHER, source={"samples": 3})})


@pytest.fixture(autouse=True)
def _kinds(monkeypatch):
    for module in ("cli.convert", "cli.presets", "reopen"):
        monkeypatch.setattr(f"functa_store.{module}.converters", lambda: {"fake": FAKE, "twin": TWIN})


@pytest.fixture(name="file")
def _file(tmp_path):
    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def parsed(*words):
    return cli.parse(["convert", "fake", "in", "out.functa", *words])


def options(*words):
    return options_from(parsed(*words), preset_from(parsed(*words)))


def test_a_preset_that_kinds_share_is_shown_by_its_name(capsys):
    assert cli.main(["presets", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["network"]["width"] == 8


def test_a_preset_in_which_kinds_differ_is_asked_for_by_kind(capsys, tmp_path):
    assert cli.main(["presets", "other"]) == 2
    assert "other: differs from kind to kind; expected fake/other or twin/other" in capsys.readouterr().err
    for kind, source in (("fake", {"seconds": 2.0}), ("twin", {"samples": 3})):
        assert cli.main(["presets", f"{kind}/other", "--write", str(tmp_path / f"{kind}.yaml")]) == 0
        written = yaml.safe_load((tmp_path / f"{kind}.yaml").read_text())
        assert (written["source"], written["config"]["preset"], written["config"]["seed"]) == (source, "other", 7)
    assert cli.main(["presets", "twin/none"]) == 2
    assert "no such preset" in capsys.readouterr().err


def test_shapes_and_voxels_keep_their_own_presets(capsys, monkeypatch):
    monkeypatch.setattr("functa_store.cli.presets.converters", converters)
    for kind, source in (("shapenet", {"resolution": 64}), ("voxels", {})):
        assert cli.main(["presets", f"{kind}/shapes64-fast", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["source"] == source


def test_a_conversion_records_the_preset_of_its_file(file):
    path = file("config: {preset: other, network: {width: 5}}")
    found = preset_from(parsed("--config", path))
    assert (found.config.preset, found.config.seed, found.config.network.width) == ("other", 7, 5)
    assert found.source == {"seconds": 2.0}
    assert preset_from(parsed("--config", path, "--preset", "other")) == found
    with pytest.raises(ConfigError, match=r"mine\.yaml: config\.preset is other, but --preset is tiny"):
        preset_from(parsed("--config", path, "--preset", "tiny"))
    assert read_preset(path, TINY).config.preset == "other"


@pytest.mark.parametrize("text", ["config: {preset: null, seed: 3}", "config: {seed: 3}"])
def test_a_file_that_names_no_preset_is_laid_over_that_of_the_command(file, text):
    for words, name in (((), "tiny"), (("--preset", "other"), "other")):
        config = preset_from(parsed("--config", file(text), *words)).config
        assert (config.preset, config.seed) == (name, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config: {preset: foo}", "config.preset is 'foo', expected one of tiny, other"),
        ("config: {preset: 5}", "config.preset is 5, expected one of"),
        ("config: {preset: [1]}", r"config.preset is \[1\], expected one of"),
        ("config: {network: {width: 12.7}}", "config.network: width must be a whole number, got 12.7"),
        ("config: {network: {width: '12'}}", "config.network: width must be a whole number, got '12'"),
        ("config: {network: {width: null}}", "config.network: width must be a whole number, got None"),
        ("config: {network: {width: 4294967296}}", "config.network: width must be below 2"),
        ("config: {seed: true}", "config: seed must be a whole number, got True"),
        ("config: {seed: '3'}", "config: seed must be a whole number, got '3'"),
        ("config: {outer: {decay_fraction: no}}", "config.outer: decay_fraction must be a number, got False"),
        ("config: {outer: {learning_rate: '1'}}", "config.outer: learning_rate must be a number, got '1'"),
        ("config: {rows_per_shard: 4.0}", "config: rows_per_shard must be a whole number, got 4.0"),
        ("config: {rows_per_shard: 2147483648}", "config: rows_per_shard must be at most 536870912"),
        ("config: {modulation_dtype: no}", "config: modulation_dtype must be one of"),
        ("config: {network: []}", r"config: network is \[\], expected names and values"),
        ("config: {network: null}", "config: network is None, expected names and values"),
        ("config: {network: {widht: 3}}", "config.network: found widht, expected some of width, depth"),
        ("config: {network: {1: 2}}", "config.network: found 1, expected some of width"),
        ("config: {widht: 3, null: 4}", "config: found widht, None, expected some of preset, network"),
        ("config: []", r"config is \[\], expected names and values"),
        ("config: 0", "config is 0, expected names and values"),
        ('config: ""', "config is '', expected names and values"),
        ("config: no", "config is False, expected names and values"),
        ("source: no", "source is False, expected names and values"),
        ("source: {1: 2}", "source has 1, expected some of"),
        ("source: {null: 2, a: 3}", "source has None, a, expected some of"),
        ("source: {samples: 2.5}", "source.samples must be a whole number or none, got 2.5"),
        ("source: {up: none}", "source.up must be one of y, z or none, got 'none', which is a text here; write null"),
        ("source: {samples: 13}", "source: samples must not be 13"),
        ("summary: [1]", r"summary is \[1\], expected a text"),
        ("config:\n  seed: 1\n  rows_per_shard: 2\n  seed: 2", "the key 'seed' is there twice.*line 4"),
        ("config: {seed: 1}\nconfig: {seed: 1}", "the key 'config' is there twice.*line 2"),
        (f"config: {{seed: {'9' * 5000}}}", "line 1"),
        (f"config: {{seed: 0x{'f' * 5000}}}", "config: seed must be below 2"),
        ("config: {seed: 2020-13-45}", "month must be in 1..12.*line 1"),
        ("config: {seed: &a 1, rows_per_shard: *a}", "found an alias, expected the value itself.*line 1"),
    ],
)
def test_a_file_is_checked_as_the_command_line_is(file, text, words):
    with pytest.raises(ConfigError, match=f"(?s)mine\\.yaml: .*{words}"):
        options("--config", file(text))


@pytest.mark.parametrize("text", ["config:\nsource: {}", "config: {}", "summary:\nsource:"])
def test_a_section_may_be_empty(file, text):
    assert preset_from(parsed("--config", file(text))) == preset_from(parsed())


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("2E4", 2e4), (".5", 0.5), ("3", 3.0)])
def test_numbers_of_a_file_are_numbers_however_they_are_written(file, text, value):
    path = file(f"config: {{inner: {{learning_rate: {text}}}}}")
    assert preset_from(parsed("--config", path)).config.inner.learning_rate == value


def test_aliases_of_aliases_are_refused_at_once(file):
    lines = ["a0: &a0 [x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 12))]
    with pytest.raises(ConfigError, match="found an alias"):
        preset_from(parsed("--config", file("\n".join([*lines, "config: *a11"]))))


def test_a_file_may_choose_the_other_of_two_that_exclude_each_other(file):
    words = ("--preset", "other", "--config", file("source: {samples: 100}"))
    assert options(*words) == Options(samples=100)
    assert options(*words, "--seconds", "3") == Options(seconds=3.0)
    assert read_preset(words[-1], OTHER, Options).source == {"samples": 100}


def test_a_list_that_may_be_none_is_gathered():
    assert is_several(hints(Options)["names"])
    assert options("--names", "a", "--names", "b,c").names == ("a", "b", "c")
    assert options("--names", "none").names is None
    with pytest.raises(SystemExit):
        parsed("--names", "a", "--names", "none")


@pytest.mark.usefixtures("unchecked")
def test_a_list_is_gathered_when_an_archive_is_opened_again():
    reopened("in", {"converter": "fake"}, given=typed_words(["names=a", "names=b,c", "samples=1", "samples=2"]))
    assert (FAKE.open.__wrapped__.options.names, FAKE.open.__wrapped__.options.samples) == (("a", "b", "c"), 2)
    with pytest.raises(ConfigError, match="given twice"):
        reopened("in", {"converter": "fake"}, given=typed_words(["names=a", "names=none"]))


def test_none_can_be_chosen_among_words(capsys):
    assert (options().up, options("--up", "none").up, options("--up", "z").up) == ("y", None, "z")
    with pytest.raises(SystemExit):
        parsed("--up", "x")
    assert "argument --up: must be one of y, z or none, got 'x'" in capsys.readouterr().err


def test_the_help_of_a_kind_may_hold_any_character(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["convert", "--help"])
    assert ended.value.code == 0
    assert "100% fake." in capsys.readouterr().out


def test_what_no_file_can_say_leaves_no_file(tmp_path):
    odd = dataclasses.replace(TINY, source={"folder": Path("a")})
    with pytest.raises(ConfigError, match=r"source is \{'folder': PosixPath\('a'\)\}, expected texts"):
        write_preset(tmp_path / "mine.yaml", odd)
    write_preset(tmp_path / "good.yaml", TINY)
    with pytest.raises(OSError, match="exists already"):
        write_preset(tmp_path / "good.yaml", TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["good.yaml"]
    assert read_preset(tmp_path / "good.yaml", OTHER, Options).config == TINY.config


def test_tuples_of_a_preset_become_lists(tmp_path):
    preset = dataclasses.replace(TINY, source={"names": ("a", "b")})
    write_preset(tmp_path / "mine.yaml", preset)
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text()) == preset_values(preset)
    assert preset_values(preset)["source"] == {"names": ["a", "b"]}


def test_a_preset_of_a_grid_is_shown_as_it_is_typed_and_survives_a_file(tmp_path, monkeypatch, capsys):
    network = NetworkConfig(width=8, depth=3, modulation="spatial", modulation_grid=(2, 3), modulation_dim=4)
    cells = dataclasses.replace(TINY, config=ConvertConfig(network=network))
    kinds = {"fake": dataclasses.replace(FAKE, presets={"cells": cells})}
    monkeypatch.setattr("functa_store.cli.presets.converters", lambda: kinds)
    assert cli.main(["presets", "cells"]) == 0
    assert re.search(r"--network.modulation_grid +│ 2,3 ", capsys.readouterr().out)
    write_preset(tmp_path / "mine.yaml", cells)
    assert read_preset(tmp_path / "mine.yaml", TINY, Options).config == cells.config
    found = preset_from(parsed("--modulation-grid", "2,3", "--network.modulation_dim", "4"))
    assert found.config.network == dataclasses.replace(
        TINY.config.network, modulation="spatial", modulation_grid=(2, 3)
    )


class Colour(enum.Enum):
    """No type of an option."""

    RED = "red"


def made(**annotations):
    """A class of options whose fields have these types and defaults."""
    fields = {name: kind for name, (kind, *_) in annotations.items()}
    defaults = {name: default for name, (_, *given) in annotations.items() for default in given}
    return dataclasses.dataclass(frozen=True, kw_only=True)(
        type("Made", (ArchiveOptions,), {"__annotations__": fields, **defaults})
    )


class Forgotten(ArchiveOptions):
    """No dataclass of its own."""

    size: int = 3


SUPPORTED = "expected int, float, str, bool, a Literal of texts"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"options": made(size=(tuple[int, ...], (1,)))}, rf"Made.size is of type tuple\[int, ...\], {SUPPORTED}"),
        ({"options": made(size=(list[int], None))}, rf"Made.size is of type list\[int\], {SUPPORTED}"),
        ({"options": made(a=(int, 1), where=(Path | None, None))}, f"Made.where is of type .*Path | None, {SUPPORTED}"),
        ({"options": made(colour=(Colour, Colour.RED))}, f"Made.colour is of type .*Colour.*, {SUPPORTED}"),
        ({"options": made(names=(Sequence[str], ()))}, f"Made.names is of type .*Sequence.*, {SUPPORTED}"),
        ({"options": made(names=(tuple[str], ("a",)))}, rf"Made.names is of type tuple\[str\], {SUPPORTED}"),
        ({"options": made(most=(Mapping[str, int], None))}, f"Made.most is of type .*Mapping.*, {SUPPORTED}"),
        ({"options": made(most=(Literal[1, 2], 1))}, f"Made.most is of type .*Literal.*, {SUPPORTED}"),
        ({"options": made(size=("Undefined", 1))}, "Made: its types cannot be read"),
        ({"options": made(size=(int,))}, "Made.size has no default"),
        ({"options": made(size=(int, "a"))}, "the default of Made.size must be a whole number, got 'a'"),
        ({"options": made(size=(int, None))}, "the default of Made.size must be a whole number, got None"),
        ({"options": made(limit=(int, 1))}, "Made.limit: every archive has that already"),
        ({"options": Forgotten}, "Forgotten is no dataclass"),
        ({"options": dict}, "options is <class 'dict'>, expected a class made from ArchiveOptions"),
        ({"presets": {}}, "its presets are {}, expected one or more"),
        ({"presets": {"tiny": {"summary": "x"}}}, "preset 'tiny' is {'summary': 'x'}, expected a name and a Preset"),
        ({"presets": {"tiny": dataclasses.replace(TINY, source={"sise": 3})}}, "preset tiny: source has sise"),
        ({"presets": {"tiny": dataclasses.replace(TINY, source={"samples": "3"})}}, "source.samples must be a whole"),
        ({"summary": None}, "it has summary=None"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_converter_that_cannot_work_is_left_out_by_name(monkeypatch, caplog, found, words):
    broken = dataclasses.replace(FAKE, **found)
    entries = [entry("broken", broken), entry("fake", FAKE), entry("none", "no converter")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
    assert converters() == {"fake": FAKE}
    message, other = (record.getMessage() for record in caplog.records)
    assert message.startswith("converter broken is left out: plugin:broken fails (ConfigError: ")
    assert re.search(words, message)
    assert "it is 'no converter', expected a Converter" in other


def entry(name, loaded):
    return types.SimpleNamespace(name=name, value=f"plugin:{name}", load=lambda: loaded)


def test_every_converter_of_ours_is_taken(caplog):
    assert set(converters()) >= {"arrays", "audio", "celeba", "climate", "images", "shapenet", "srn", "video", "voxels"}
    assert caplog.records == []
