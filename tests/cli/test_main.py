"""The command line says clearly what it did, or why it did not."""

import dataclasses
import errno
import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from functa_store.cli import main as cli
from functa_store.cli.arguments import (
    SHORT,
    _fields,
    parse_index,
    parse_region,
    parse_resolution,
)
from functa_store.cli.convert import preset_from
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.errors import ArchiveError, ConfigError, ExampleIndexError
from functa_store.media.sheet import write_sheet
from functa_store.plugins import Converter, Preset
from functa_store.progress import Note
from functa_store.sources.options import ArchiveOptions, SurveyOptions
from functa_store.sources.source import Label
from tests.decode.stores import write_store

PRESET = Preset(
    summary="For tests.",
    config=ConvertConfig(network=NetworkConfig(width=8, depth=3, modulation_dim=4)),
    source={"resolution": 8},
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeOptions(ArchiveOptions):
    """Fakes.

    Attributes:
        resolution: Cells.
        crop: Pixels.
    """

    resolution: int = 4
    crop: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClashingOptions(ArchiveOptions):
    """With a field that is an option of every conversion."""

    seed: int = 0


class Opened:
    """Notes what a converter was opened with."""

    def __init__(self):
        self.options = self.survey = None

    def __call__(self, archive, options, survey, report):
        self.options, self.survey = options, survey
        report(Note(message="opened"))
        return "source"


@pytest.fixture
def converter(monkeypatch):
    """Installs a converter `fake` beside one whose options clash with those of every conversion."""
    found = Opened()
    presets = {"tiny": PRESET, "other": dataclasses.replace(PRESET, summary="Other.")}
    fake = Converter(summary="Fakes.", options=FakeOptions, presets=presets, open=found)
    kinds = {"broken": dataclasses.replace(fake, options=ClashingOptions), "fake": fake}
    monkeypatch.setattr("functa_store.cli.convert.converters", lambda: kinds)
    monkeypatch.setattr("functa_store.cli.presets.converters", lambda: kinds)
    return found


@pytest.fixture
def conversion(monkeypatch):
    """Replaces the conversion by one that only notes its calls, or raises what a test puts in."""
    fake = types.SimpleNamespace(calls=[], error=None)

    def convert(source, path, config, *, storage, fit_batch_size, report):
        fake.calls.append((source, path, config))
        if fake.error is not None:
            raise fake.error

    fake.convert = convert
    fake.plan = lambda source, config: {"parameters": 1234, "store_bytes": 5678}
    monkeypatch.setitem(sys.modules, "functa_store.conversion.convert", fake)
    monkeypatch.setattr("functa_store.cli.convert.info", lambda path, *, storage: {"examples": 3})
    return fake


def convert_words(*more):
    return ["convert", "fake", "in.zip", "out.functa", *more]


@pytest.mark.parametrize(
    "words", ["--help", "convert --help", "info --help", "decode --help", "repair --help", "export --help"]
)
def test_help_is_printed(words, capsys, converter):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(words.split())
    assert exit_info.value.code == 0
    assert "usage: functa" in capsys.readouterr().out


def test_a_broken_plugin_leaves_the_others_usable(converter, conversion, caplog, capsys):
    assert cli.main(convert_words("--quiet")) == 0
    assert "broken is left out" in caplog.text
    assert "--seed" in caplog.text


def test_a_preset_is_overlaid_by_what_was_typed(converter):
    words = ["--modulation-dim", "7", "--time-budget", "30", "--batch-size", "5", "--seed", "3"]
    config = preset_from(cli.parse(convert_words(*words))).config
    assert config.preset == "tiny"
    assert (config.network.modulation_dim, config.network.width) == (7, 8)
    assert (config.outer.time_budget, config.outer.num_steps, config.outer.batch_size) == (30.0, None, 5)
    assert config.seed == 3


def test_a_grid_of_modulations_is_typed_as_numbers_with_commas(converter, capsys):
    words = ["--modulation-grid", "8,4", "--modulation-dim", "16", "--network.lookup", "linear"]
    network = preset_from(cli.parse(convert_words(*words))).config.network
    assert (network.modulation, network.modulation_shape, network.lookup) == ("spatial", (8, 4, 16), "linear")
    with pytest.raises(SystemExit):
        cli.parse(convert_words("--modulation-grid", "8x4"))
    assert "must be whole numbers with commas between them" in capsys.readouterr().err


def test_speed_and_memory_are_set_from_the_command_line(converter):
    words = ["--fit-steps", "33", "--fit-stride", "2", "--fit-batch", "8", "--tile-points", "256", "--microbatch", "2"]
    config = preset_from(cli.parse(convert_words(*words, "--matmul-precision", "bfloat16"))).config
    assert config.fit == FitConfig(num_steps=33, stride=2, tile_points=256)
    assert (config.outer.microbatch_size, config.matmul_precision) == (2, "bfloat16")


def test_a_batch_of_nothing_is_refused(converter, conversion, capsys):
    assert cli.main(convert_words("--fit-batch", "0")) == 2
    assert "--fit-batch must be at least 1, got 0" in capsys.readouterr().err


def test_an_option_left_out_keeps_the_presets_value(converter):
    config = preset_from(cli.parse(convert_words())).config
    assert config == dataclasses.replace(PRESET.config, preset="tiny")


def test_the_converters_own_options_reach_it(converter, conversion):
    assert cli.main(convert_words("--crop", "5", "--limit", "9", "--quiet")) == 0
    assert converter.options == FakeOptions(resolution=8, crop=5)
    assert converter.survey == SurveyOptions(limit=9, max_rejects=0.01)


def test_a_dry_run_converts_nothing(converter, conversion, capsys):
    assert cli.main(convert_words("--dry-run", "--json")) == 0
    assert conversion.calls == []
    assert converter.survey.check_first is not None
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"parameters": 1234, "store_bytes": 5678}


def test_a_dry_run_prints_a_table(converter, conversion, capsys):
    assert cli.main(convert_words("--dry-run")) == 0
    captured = capsys.readouterr()
    assert "store bytes" in captured.out
    assert "5,678" in captured.out
    assert "opened" in captured.err


def test_json_ends_with_the_result(converter, conversion, capsys):
    assert cli.main(convert_words("--json")) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"event": "note", "message": "opened"}, {"examples": 3}]


@pytest.mark.parametrize(
    "error",
    [
        ArchiveError("in.zip: no examples;\nis this the right archive?"),
        OSError(errno.ENOSPC, "No space left on device", "out.functa"),
    ],
    ids=["ours", "disk full"],
)
def test_an_error_is_one_line_and_exit_code_2(error, converter, conversion, capsys):
    conversion.error = error
    assert cli.main(convert_words("--quiet", "--json")) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {' '.join(str(error).split())}\n"
    assert json.loads(captured.out) == {"event": "error", "error": type(error).__name__, "message": str(error)}


def test_an_interrupted_conversion_says_how_to_go_on(converter, conversion, capsys):
    conversion.error = KeyboardInterrupt()
    assert cli.main(convert_words("--quiet")) == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--outer-steps", "0"], ["--max-rejects", "2"], ["--limit", "0"], ["--seed", "-1"]])
def test_an_option_out_of_range_is_refused_before_anything_is_read(words, converter, conversion, capsys):
    assert cli.main(convert_words(*words)) == 2
    assert "error: " in capsys.readouterr().err
    assert converter.options is None


def test_steps_and_a_time_budget_exclude_each_other(converter, capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(convert_words("--outer-steps", "3", "--time-budget", "3"))
    assert exit_info.value.code == 2


def test_info_of_what_is_no_store_fails_cleanly(tmp_path, capsys):
    assert cli.main(["info", str(tmp_path / "nothing.functa"), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert json.loads(captured.out)["event"] == "error"


@pytest.mark.parametrize("words", ["--help", "presets", "info nothing.functa", "convert --help", "score --help"])
def test_commands_that_do_not_compute_do_not_import_jax(words):
    code = (
        "import sys\nfrom functa_store.cli import main as cli\n"
        f"try: cli.main({words.split()!r})\nexcept SystemExit: pass\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_presets_are_listed_with_every_value(capsys):
    assert cli.main(["presets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= {"celeba", "images"}
    for presets in found.values():
        for preset in presets.values():
            assert preset["summary"]
            assert preset["config"]["network"]["width"] > 0
    assert cli.main(["presets"]) == 0
    assert "images64-fast" in capsys.readouterr().out


def test_a_preset_is_shown_with_the_options_that_change_it(capsys):
    assert cli.main(["presets", "images64-fast"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{option} " in shown for option in ("--resolution", "--network.width", "--dtype", "--rows-per-shard"))
    assert cli.main(["presets", "images64-fast", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["network"]["width"] == 192
    assert cli.main(["presets", "nothing"]) == 2
    assert "no such preset, expected one of" in capsys.readouterr().err


def test_every_choice_of_a_conversion_is_an_option(converter):
    words = ["--network.width", "64", "--network.modulation", "shift", "--outer.num_points", "none"]
    words += [
        "--inner.learning_rate",
        "0.5",
        "--weight-of-ones",
        "2",
        "--rows-per-shard",
        "8",
        "--outer.num_steps",
        "9",
    ]
    config = preset_from(cli.parse(convert_words(*words))).config
    assert config.network == NetworkConfig(width=64, depth=3, modulation="shift", modulation_dim=None)
    assert (config.outer.num_points, config.outer.num_steps, config.inner.learning_rate) == (None, 9, 0.5)
    assert (config.weight_of_ones, config.rows_per_shard) == (2.0, 8)
    shown = {path for path, _, _ in _fields(ConvertConfig)}
    assert {name for name in SHORT if "." not in name} | {
        "weight_of_ones",
        "rows_per_shard",
        "inner.num_steps",
    } <= shown


@pytest.mark.parametrize("words", [["--network.width", "x"], ["--network.widht", "3"], ["--network.head", "round"]])
def test_a_choice_that_is_none_is_refused(converter, words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.parse(convert_words(*words))
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_preset_is_written_edited_and_taken(converter, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    assert cli.main(["presets", "tiny", "--write", str(path)]) == 0
    same = preset_from(cli.parse(convert_words("--config", str(path))))
    assert same == dataclasses.replace(PRESET, config=dataclasses.replace(PRESET.config, preset="tiny"))
    assert cli.main(["presets", "tiny", "--write", str(path)]) == 2  # it is there
    path.write_text(path.read_text().replace("width: 8", "width: 24").replace("resolution: 8", "resolution: 4"))
    words = convert_words("--config", str(path), "--network.depth", "5")
    edited = preset_from(cli.parse(words))
    assert (edited.config.network.width, edited.config.network.depth, edited.source) == (24, 5, {"resolution": 4})


def test_a_file_says_only_what_differs(converter, tmp_path):
    (tmp_path / "mine.toml").write_text("[config.outer]\ntime_budget = 30.0\n[source]\ncrop = 3\n")
    preset = preset_from(cli.parse(convert_words("--config", str(tmp_path / "mine.toml"))))
    assert (preset.config.outer.time_budget, preset.config.outer.num_steps) == (30.0, None)
    assert preset.source == {"resolution": 8, "crop": 3}
    assert preset.config.network == PRESET.config.network


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "config: {network: {widht: 3}}", "widht"),
        ("b.yaml", "config: {network: {width: -3}}", "width must be at least 1"),
        ("c.yaml", "confg: {}", "the keys confg, expected the sections config and source"),
        ("d.yaml", "- 1", "found list"),
        ("e.yaml", "config: 3", "config is 3"),
        ("f.yaml", "a: [", "is no YAML"),
        ("g.toml", "a = [", "is no TOML"),
        ("h.yaml", "source: {resolutoin: 3}", "source has resolutoin, expected some of crop, resolution"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_before_work(converter, conversion, tmp_path, capsys, name, text, words):
    (tmp_path / name).write_text(text)
    assert cli.main(convert_words("--config", str(tmp_path / name))) == 2
    found = capsys.readouterr().err
    assert words in found
    assert name in found
    assert converter.options is None
    assert cli.main(convert_words("--config", str(tmp_path / "nothing.yaml"))) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_reader_that_stops_early_causes_no_noise():
    command = f"{sys.executable} -m functa_store.cli presets --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert done.stderr == b""


@given(st.integers(1, 50), st.data())
def test_slices_mean_what_they_mean_in_python(num_examples, data):
    bound = st.none() | st.integers(-60, 60)
    low, high, step = data.draw(bound), data.draw(bound), data.draw(bound.filter(lambda value: value != 0))
    text = ":".join("" if value is None else str(value) for value in (low, high, step))
    expected = list(range(num_examples))[low:high:step]
    if expected:
        assert parse_index(text, num_examples) == expected
    else:
        with pytest.raises(ExampleIndexError):
            parse_index(text, num_examples)


@pytest.mark.parametrize(("option", "value"), [("--index", "-3:"), ("--index", "-1"), ("--region", "-30:30.5,0:90")])
@pytest.mark.parametrize("command", ["decode", "export"])
def test_values_may_begin_with_a_minus_sign(command, option, value):
    args = cli.parse([command, "x.functa", option, value, "--out", "-3"])
    assert (getattr(args, option.removeprefix("--")), args.out) == (value, "-3")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("arrays --value-range -1,1", "value_range", "-1,1"),
        ("arrays --value-r -1,1", "value_range", "-1,1"),
        ("audio --silence -1e1", "silence", -10.0),
        ("climate --select -x=1", "select", {"-x": ("1",)}),
        ("climate --select -x=1 --select t=-2,-3", "select", {"-x": ("1",), "t": ("-2", "-3")}),
    ],
)
def test_a_value_of_any_option_may_begin_with_a_minus_sign(words, name, value):
    kind, *words = words.split()
    assert getattr(cli.parse(["convert", kind, "in", "out.functa", *words]), f"source.{name}") == value


@pytest.mark.parametrize("word", ["--json", "-h"])
def test_an_option_is_no_value_of_the_one_before_it(word, capsys):
    with pytest.raises(SystemExit):
        cli.parse(["decode", "x.functa", "--index", word])
    assert "argument --index: expected one argument" in capsys.readouterr().err


def test_an_index_may_list_numbers_and_slices():
    assert parse_index("3, -1,0:2", 10) == [3, 9, 0, 1]


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "1.5", "::0", "1,,2"])
def test_an_index_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--index"):
        parse_index(text, 10)


@pytest.mark.parametrize("text", ["10", "-11"])
def test_an_index_beyond_the_functaset_is_refused(text):
    with pytest.raises(ExampleIndexError, match="10 examples"):
        parse_index(text, 10)


def test_a_resolution_is_one_number_or_one_per_axis():
    assert parse_resolution("256") == 256
    assert parse_resolution("256x128") == (256, 128)


@pytest.mark.parametrize("text", ["", "0", "-4", "4x", "1.5", "4x0"])
def test_a_resolution_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--resolution"):
        parse_resolution(text)


def test_a_region_is_low_and_high_per_axis():
    assert parse_region("0.25:0.75,0:.5") == ((0.25, 0.75), (0.0, 0.5))


@pytest.mark.parametrize("text", ["", "0.5", "0:1:2", "a:b,0:1"])
def test_a_region_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="--region"):
        parse_region(text)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Twelve pictures of random colour gradients in CelebA's layout."""
    path = tmp_path_factory.mktemp("archive") / "tiny.zip"
    random = np.random.default_rng(0)
    members = [f"{number:06}.jpg" for number in range(1, 13)]
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            corners = random.integers(0, 256, (2, 2, 3), dtype=np.uint8)
            picture = Image.fromarray(corners).resize((16, 16), Image.Resampling.BILINEAR)
            with archive.open(f"img_align_celeba/{member}", "w") as file:
                picture.save(file, "JPEG", quality=95)
        partition = "".join(f"{member} {2 * (number >= 10)}\n" for number, member in enumerate(members))
        archive.writestr("list_eval_partition.txt", partition)
        attributes = "".join(f"{member} 1 -1\n" for member in members)
        archive.writestr("list_attr_celeba.txt", f"12\nColourful Grey\n{attributes}")
    return path


@pytest.fixture(scope="module")
def store(archive, tmp_path_factory):
    """The pictures as a functaset, converted from the command line."""
    path = tmp_path_factory.mktemp("store") / "tiny.functa"
    words = ["--outer-steps", "3", "--batch-size", "2", "--modulation-dim", "4", "--fit-steps", "3", "--quiet"]
    words += ["--matmul-precision", "bfloat16", "--network.width", "16", "--fit.tuning_steps", "4"]
    words += ["--sheet", str(path.with_suffix(".png"))]
    assert cli.main(["convert", "celeba", str(archive), str(path), *words]) == 0
    return path


def test_info_describes_the_store_that_convert_wrote(store, capsys):
    assert cli.main(["info", str(store), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] is True
    assert (found["examples"], found["splits"]) == (12, {"train": 10, "test": 2})
    assert found["modulation_shape"] == [4]
    assert set(found["psnr_mean"]) == set(found["psnr_of_mean_mse"]) == {"train", "test"}
    assert found["rejects"] == {"count": 0, "list": []}
    assert 0 < found["bytes_base"] < found["bytes_total"]
    assert cli.main(["info", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "bytes per example" in shown
    assert "fit in bfloat16" in shown


@pytest.mark.parametrize("kind", ["v7", "v7_sphere", "v7_scene", "v7_spatial_sphere", "v7_augmented", "grown_v8"])
def test_info_fits_in_80_columns_and_says_first_what_went_wrong(kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["info", str(Path(__file__).parents[1] / f"golden/{kind}.functa")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rejected members of the archive: 1"
    headings = [line for line in lines if "split " in line and "PSNR" in line]
    assert len(headings) == 1
    assert all(word in headings[0] for word in ("examples", "PSNR, mean", "of mean MSE", "PCA, mean"))
    assert max(map(len, lines)) <= 80


def test_info_names_labels_and_who_gives_them(tmp_path, capsys):
    """Also those of which provenance says nothing, and the preset that there is none."""
    labels = {name: Label(values=np.arange(12)) for name in ("age", "digit")}
    provenance = {"labels_by": {"age": "ages.txt"}}
    write_store(tmp_path / "x.functa", labels=labels, channels=("grey",), provenance=provenance)
    assert cli.main(["info", str(tmp_path / "x.functa")]) == 0
    shown = capsys.readouterr().out
    assert "age by ages.txt; digit" in shown
    assert "1 channel " in shown
    assert "None" not in shown
    assert cli.main(["info", str(tmp_path / "x.functa"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["age", "digit"]


def test_a_dry_run_writes_nothing(archive, tmp_path, capsys):
    path = tmp_path / "never.functa"
    assert cli.main(["convert", "celeba", str(archive), str(path), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_convert_draws_a_contact_sheet_when_all_is_done(store, tmp_path):
    write_sheet(store, slice(0, 16), tmp_path / "again.png")
    assert store.with_suffix(".png").read_bytes() == (tmp_path / "again.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sheet", "s.jpg"], "ends in .png"),
        (["--sheet", "s.png", "--workers", "0"], "functa work"),
        (["--sheet", "none/s.png"], "there is no folder none; create it first"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused_before_work(converter, conversion, capsys, words, message):
    assert cli.main(convert_words(*words)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert conversion.calls == []


def test_decode_draws_a_contact_sheet(store, tmp_path):
    out = tmp_path / "sheet.png"
    words = ["--index", "0:3", "--resolution", "8x6", "--region", "0:0.5,0:1", "--out", str(out)]
    assert cli.main(["decode", str(store), *words]) == 0
    with Image.open(out) as sheet:
        assert sheet.size == (2 * 6 + 2, 2 * 8 + 2)


def test_decode_writes_arrays(store, tmp_path):
    out = tmp_path / "features.npz"
    assert cli.main(["decode", str(store), "--index=-1,0", "--resolution", "8", "--out", str(out), "--no-clip"]) == 0
    with np.load(out) as arrays:
        assert arrays["values"].shape == (2, 8, 8, 3)
        assert arrays["index"].tolist() == [11, 0]
        assert arrays["id"].shape == (2,)


def test_decode_refuses_another_kind_of_file(store, tmp_path, capsys):
    assert cli.main(["decode", str(store), "--out", str(tmp_path / "sheet.gif")]) == 2
    assert ".png" in capsys.readouterr().err


def test_export_writes_the_examples_of_a_split(store, tmp_path, capsys):
    words = ["--split", "test", "--resolution", "8x6", "--out", str(tmp_path / "out")]
    assert cli.main(["export", str(store), *words]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "exporting 100%: 2 of 2 examples" in captured.err
    assert captured.err.endswith("out: 2 examples of 8 x 6 x 3\n")
    names = ["img_align_celeba_000011.png", "img_align_celeba_000012.png", "index.csv"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_export_tells_programs_every_step_and_the_result(store, tmp_path, capsys):
    out = str(tmp_path / "out.zarr")
    words = ["--index", "::-2", "--region", "0:0.5,0:1", "--dtype", "uint8", "--json"]
    assert cli.main(["export", str(store), "--out", out, *words]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("event") for line in lines] == ["exported", None]
    assert lines[-1] == {"out": out, "shape": [6, 32, 64, 3]}


def test_a_split_without_examples_is_refused(store, tmp_path, capsys):
    words = ["--index", "0:5", "--split", "test", "--out", str(tmp_path / "out")]
    assert cli.main(["export", str(store), *words]) == 2
    assert "--split test: of 5 examples none is in it; found only train" in capsys.readouterr().err


def test_an_interrupted_export_says_that_nothing_is_there(store, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("functa_store.decode.functaset.Functaset.decode", interrupt)
    assert cli.main(["export", str(store), "--out", str(tmp_path / "out.npz")]) == 130
    assert "interrupted; nothing was exported" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_pattern_that_the_shell_has_expanded_is_asked_about(converter, capsys):
    with pytest.raises(SystemExit):
        cli.main(["convert", "fake", "a.zip", "b.zip", "c.zip", "out.functa"])
    assert "unrecognized arguments: c.zip out.functa; was a pattern meant? Quote it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(convert_words("--colour", "red"))
    assert "pattern" not in capsys.readouterr().err
