"""What a stranger's store says is shown as it is, in characters that can be seen, by every command."""

import json
import logging
import re
import sys
import unicodedata

import numpy as np
import pytest
from rich.table import Table

from functa_store.cli import main as cli
from functa_store.cli.arguments import parse_index, parse_region, parse_resolution, typed_words
from functa_store.cli.console import (
    LogLines,
    for_messages,
    for_results,
    printable,
    shortened,
    shown_on,
)
from functa_store.config import ConvertConfig
from functa_store.errors import ConfigError, FunctaStoreError, StoreMismatchError
from functa_store.progress import Note
from functa_store.reopen import reopened
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label, Reject
from tests.store.conftest import NETWORK, NUM_EXAMPLES, make_contents, write_shards

HOSTILE = "\x1b]0;owned\x07\x1b[2J \u202egnp.exe\u202c a\u200bb\u2066 \x9b31m \r\nerror: fine \t :100: [red]x[/red] [link=http://x]y[/link]"
HIDDEN = "\u2060\ufeff\u3164\ufe0f\u034f\U000e0041\u061c"


def check_seen(text):
    """No character of a text is hidden or does something, and no code became something else."""
    for character in text.replace("\n", ""):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"), repr(text)
        assert character not in HIDDEN, repr(text)
    assert "\U0001f4af" not in text
    assert "\nerror: fine" not in text


@pytest.fixture(scope="module", name="hostile")
def _hostile(tmp_path_factory):
    """A store whose every text is hostile."""
    text = HOSTILE + HIDDEN
    contents = make_contents(
        features=FeatureSpec(channels=(text, "[bold]g", ":boom:"), units=(text, "K", "1"), scale=1 / 255),
        config=ConvertConfig(network=NETWORK, rows_per_shard=8, preset=text),
        ids=[f"{text}{i}" for i in range(NUM_EXAMPLES)],
        labels={"x": Label(values=np.arange(NUM_EXAMPLES) % 2, names=(text, "=cmd"))},
        rejects=[Reject(member=text, reason=text)] * 12,
        provenance={"archive": text, "sha256": text, "converter": text, text: {text: [text]}},
        reference={"pca": {"components": 4}, "matmul_precision": {"precision": text, text: text}},
    )
    return write_shards(tmp_path_factory.mktemp("hostile") / "x.functa", contents)


COMMANDS = [
    "info {store}",
    "verify {store}",
    "verify {store} --deep --archive {text}",
    "repair {store} --archive {text}",
    "decode {store} --out {folder}/x.wav",
    "decode {store} --out {folder}/x.gif",
    "decode {store} --out {folder}/x.png --resolution 2",
    "decode {store} --mesh {folder}/x.ply",
    "decode {store} --out {folder}/{text}/x.png",
    "decode {store} --out {folder}/x.png --index {text}",
    "decode {store} --out {folder}/x.png --resolution {text}",
    "decode {store} --out {folder}/x.png --region {text}",
    "export {store} --out {folder}/{text} --resolution 2",
    "export {store} --out {folder}/x.zarr --resolution 2 --dtype uint8",
    "export {store} --out {folder}/x.npz --split {text}",
    "score {store} --label {text}",
    "score {store} --resolution {text}",
    "recode {store} {folder}/{text}.functa --dtype int8",
    "recode {store} {folder}/{text} --dtype int8",
    "recode {store} {folder}/x8.functa --dtype {text}",
    "import-deepmind {text} {text} {folder}/x9.functa",
    "info {folder}/{text}.functa",
    "convert images {text} {folder}/{text}.functa",
    "convert {text} a b.functa",
    "{text}",
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_shows_a_strangers_texts_harmlessly(line, hostile, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "4000")
    text = HOSTILE.replace("/", "") + HIDDEN + "\udcff"
    words = [word.format(store=hostile, folder=tmp_path, text=text) for word in line.split()]
    try:
        code = cli.main(words)
    except SystemExit as ended:
        code = ended.code
    captured = capsys.readouterr()
    assert code in (0, 2)
    check_seen(captured.out + captured.err)
    assert "error: " in captured.err or code == 0


@pytest.mark.parametrize("words", ["info {store} --json", "verify {store} --json"])
def test_programs_get_the_texts_themselves(words, hostile, capsys):
    assert cli.main(words.format(store=hostile).split()) == 0
    line = capsys.readouterr().out
    check_seen(line)
    json.loads(line)


def test_the_metrics_and_the_rejects_of_a_store_keep_their_colons_and_brackets(hostile, capsys):
    assert cli.main(["info", str(hostile)]) == 0
    shown = capsys.readouterr().out
    assert ":100: [red]x[/red]" in shown
    assert "..." in shown


@pytest.mark.parametrize("make", [for_messages, for_results])
def test_no_console_takes_codes_for_more_than_they_are(make, capsys):
    console = make()
    table = Table(":100:", title="[red]a:100:b", caption=":100:")
    table.add_row("200:100:2")
    console.print(":100: [red]")
    console.print(table)
    captured = capsys.readouterr()
    assert "[red]" in captured.out + captured.err
    assert "\U0001f4af" not in captured.out + captured.err


def test_bars_and_lines_show_notes_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for force in ("0", "1"):
        monkeypatch.setenv("FORCE_COLOR", force) if force == "1" else monkeypatch.delenv("FORCE_COLOR", raising=False)
        with shown_on(for_messages()) as report:
            report(Note(message="200:100:2 [red] \x1b[2J"))
        shown = capsys.readouterr().err
        assert "200:100:2" in shown
        assert "[red] \\x1b[2J" in shown


def test_warnings_are_lines_that_can_be_read(capsys):
    handler = LogLines(logging.WARNING)
    handler.emit(logging.LogRecord("x", logging.WARNING, "x.py", 1, "%s is left out: %r", (HOSTILE, "\x1b"), None))
    handler.emit(logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d arguments", ("none",), None))
    shown = capsys.readouterr().err
    check_seen(shown)
    assert len(shown.splitlines()) == 2


def test_a_long_message_keeps_its_beginning_and_its_end():
    text = "a" * 5000 + "z" * 5000
    short = shortened(text, 100)
    assert len(short) < 200
    assert short.startswith("a" * 50)
    assert short.endswith("z" * 50)
    assert shortened("short") == "short"
    assert printable("e\u0301 \u00e9 \u4e2d \U0001f600") == "e\u0301 \u00e9 \u4e2d \U0001f600"


DIGITS = "9" * 5000


@pytest.mark.parametrize("text", [DIGITS, f"-{DIGITS}", f":{DIGITS}", f"::{DIGITS}", f"{DIGITS}:", f"0,{DIGITS}"])
def test_numbers_of_thousands_of_digits_are_refused_in_few_words(text):
    with pytest.raises(ConfigError, match="--index takes") as caught:
        parse_index(text, 10)
    assert len(str(caught.value)) < 500
    with pytest.raises(ConfigError, match="--resolution takes"):
        parse_resolution(text)
    with pytest.raises(ConfigError, match="--resolution takes"):
        parse_resolution(str(2**70))
    with pytest.raises(ConfigError, match="--region takes"):
        parse_region(text * 2 + "x")


@pytest.mark.parametrize("option", ["--seed", "--limit", "--outer-steps", "--fit-batch", "--resolution"])
@pytest.mark.parametrize("value", [DIGITS, str(2**70), str(-(2**70))])
def test_a_number_that_nothing_counts_to_is_refused(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["convert", "images", "in.zip", "out.functa", f"{option}={value}"])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err) < 5000


ODD = [[], {}, ["images"], {"a": 1}, True, 3, None, "nonsense", "x" * 100_000, HOSTILE]


@pytest.mark.parametrize("kind", ODD, ids=range(len(ODD)))
def test_a_converter_that_is_none_is_named_in_few_words(kind):
    with pytest.raises(StoreMismatchError, match="was converted by") as caught:
        reopened("in.zip", {"converter": kind})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["resolution", "mode", "max_pixels", "limit"])
@pytest.mark.parametrize("value", [*ODD, -1, 0, 2**70, 1e300, float("nan"), "9" * 5000, 1.5], ids=str)
def test_options_of_odd_types_in_a_store_are_refused_or_the_archive_is(name, value, tmp_path):
    with pytest.raises(FunctaStoreError) as caught:
        reopened(str(tmp_path / "in.zip"), {"converter": "images", name: value})
    assert len(str(caught.value)) < 1000


def test_a_flag_of_a_store_is_true_or_false(tmp_path):
    for value in ("no", 1, [], {}):
        with pytest.raises(ConfigError, match="must be true or false"):
            reopened("in.npy", {"converter": "arrays", "missing": value})
    with pytest.raises(ConfigError, match="must be true or false"):
        reopened("in.npy", {"converter": "arrays"}, given=typed_words(["missing=maybe"]))


@pytest.mark.parametrize(
    "option", ["x", "=", "x" * 10_000, "resolution=" + DIGITS, "resolution=" + str(2**70), HOSTILE]
)
def test_an_option_that_is_none_is_refused_in_few_words(option):
    with pytest.raises(ConfigError, match="--option") as caught:
        reopened("in.zip", {"converter": "images"}, given=typed_words([option]))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory does not suffice; take fewer examples at a time"),
        (MemoryError("Unable to allocate 7 GiB"), r"memory does not suffice \(Unable to allocate 7 GiB\); take fewer"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes"), "memory does not suffice"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
    ],
)
@pytest.mark.parametrize("words_of", ["info x", "info x --json"])
def test_memory_and_recursion_that_do_not_suffice_are_one_line(error, words, words_of, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("functa_store.cli.info.info", fail)
    assert cli.main(words_of.split()) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert re.search(words, captured.err)
    assert bool(captured.out) == ("--json" in words_of)


def test_an_error_that_nobody_foresaw_is_one_line_with_its_place(monkeypatch, capsys):
    def fail(*_, **__):
        raise ZeroDivisionError(HOSTILE)

    monkeypatch.setattr("functa_store.cli.info.info", fail)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.delenv(cli.WITH_TRACEBACK, raising=False)
    assert cli.run_process(["info", "x", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "unforeseen ZeroDivisionError in test_foreign_texts.py:" in captured.err
    assert json.loads(captured.out)["error"] == "ZeroDivisionError"
    monkeypatch.setenv(cli.WITH_TRACEBACK, "1")
    cli.run_process(["info", "x"])
    assert "Traceback" in capsys.readouterr().err


SECRET = "s3cr3tpassword"
ADDRESSES = [
    f"s3://user:{SECRET}@bucket/x",
    f"s3:/user:{SECRET}@b/x",
    f"https://u:{SECRET}@h/x",
    f"gs:user:{SECRET}@b/x",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_for_a_file_is_refused_without_its_credentials(address, hostile, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["decode", str(hostile), "--out", f"{address}.png"],
        ["decode", str(hostile), "--mesh", f"{address}.ply"],
        ["export", str(hostile), "--out", address],
        ["export", str(hostile), "--out", f"{address}.zarr"],
    ):
        assert cli.main(words) == 2
        captured = capsys.readouterr()
        assert SECRET not in captured.err + captured.out
        assert "address" in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\0b.png", "", "a\0b/x.png", "x" * 300 + ".png", "x" * 5000 + ".png"])
@pytest.mark.parametrize("command", ["decode", "export"])
def test_names_that_no_disk_has_are_refused(name, command, hostile, tmp_path, capsys):
    out = f"{tmp_path}/{name.removesuffix('.png') if command == 'export' else name}" if name else ""
    assert cli.main([command, str(hostile), "--out", out]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def lead_nowhere(folder):
    (folder / "x.png").symlink_to(folder / "nowhere" / "y.png")


def be_a_folder(folder):
    (folder / "x.png").mkdir()


@pytest.mark.parametrize("make", [lead_nowhere, be_a_folder])
def test_a_place_that_cannot_be_written_is_found_before_anything_is_decoded(
    make, hostile, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("functa_store.decode.functaset.open_functaset", None)  # not even opened
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["decode", str(hostile), "--out", str(tmp_path / "x.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder in which root, too, cannot write")
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_decoded(hostile, capsys):
    for words in (["decode", str(hostile), "--out", "/proc/x.png"], ["export", str(hostile), "--out", "/proc/x"]):
        assert cli.main(words) == 2
        assert "cannot be" in capsys.readouterr().err


def test_nothing_is_left_where_only_the_place_was_tried(hostile, tmp_path, capsys):
    assert cli.main(["decode", str(hostile), "--out", str(tmp_path / "x.png"), "--index", "99"]) == 2
    assert list(tmp_path.iterdir()) == []
    capsys.readouterr()
