"""Reports show what became of a conversion in one file that loads nothing and runs nothing."""

import base64
import html.parser
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.cli import main as cli
from functa_store.domains.cells import CellGrid
from functa_store.errors import ConfigError
from functa_store.sharing.run_history import history_of
from functa_store.sources.array_source import ArraySource
from functa_store.sources.source import Label
from tests.decode.stores import write_store

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

GOLDEN = Path(__file__).parents[1] / "golden"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J"

LOG = [
    {"time": "today", "event": "started", "machine": "x86_64", "cores": 2, "device": "cpu", "devices": 1},
    {"event": "learned", "step": 10, "psnr": 15.0, "monitored_psnr": 14.0, "seconds": 3.0},
    {"event": "learned", "step": 20, "psnr": 21.0, "monitored_psnr": 18.5, "seconds": 5.0},
    {"event": "fitted", "done": 12, "examples_per_second": 3.5},
    {"time": "later", "event": "ended", "by": "completion"},
]


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(Path(path).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def lines(*events):
    return "\n".join(json.dumps(event) for event in events).encode()


def write_report(store, tmp_path, **options):
    functa_store.report(store, tmp_path / "report.html", **options)
    return Page(tmp_path / "report.html")


def assert_inert(page):
    """Nothing of it is loaded or run."""
    allowed = (
        "html head meta title style body main h1 h2 p table thead tbody tr th td div figure figcaption br img progress"
    )
    assert {tag for tag, _ in page.tags} <= set(allowed.split())
    assert all(image["src"].startswith(("data:image/png;", "data:image/svg+xml;")) for image in page.all("img"))
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy


@pytest.mark.slow
def test_a_report_shows_the_curve_quality_and_examples(tmp_path):
    write_store(tmp_path / "pets.functa", labels={"animal": Label(values=np.arange(12) % 2, names=("cat", "dog"))})
    (tmp_path / "pets.functa.log").write_bytes(lines(*LOG))
    page = write_report(tmp_path / "pets.functa", tmp_path)
    assert_inert(page)
    for expected in (
        "18.50 dB at best, after 20 steps",
        "x86_64, 2 cores",
        "cat 6, dog 6",
        "later by completion",
        "20.00 dB",
    ):
        assert expected in page.text, expected
    assert [image["alt"] for image in page.all("img")][:2] == [
        "PSNR in decibels over outer steps",
        "Histogram of the PSNR of examples in decibels, by split",
    ]
    assert len(page.all("figure")) == 16


def test_the_best_and_the_worst_are_told_apart(tmp_path):
    page = write_report(GOLDEN / "v7.functa", tmp_path)
    store = functa_store.open(GOLDEN / "v7.functa")
    worst, best = page.text.split("Worst examples")[1].split("Best examples")
    order = [str(store.ids[i]) for i in np.argsort(store.psnr)]
    assert sorted(order, key=worst.index) == order
    assert sorted(order, key=best.index) == order[::-1]


def picture(image):
    with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as opened:
        return np.asarray(opened)


def test_examples_stand_beside_their_originals(tmp_path):
    write_store(tmp_path / "pets.functa", count=4, mse=0.01)
    values = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 3)).astype(np.uint8)
    store = functa_store.open(tmp_path / "pets.functa")
    source = ArraySource(values, ids=[str(name) for name in store.ids][::-1], axes=("y", "x"))
    page = write_report(tmp_path / "pets.functa", tmp_path, source=source)
    shown = {image["alt"]: image for image in page.all("img")}
    assert np.array_equal(picture(shown["3.png, original"]), values[0])
    assert np.array_equal(picture(shown["0.png, original"]), values[3])
    assert "Original, then decoded." in page.text


@pytest.mark.parametrize("kind", ["v7_sphere", "v7_scene", "v7_spatial_sphere", "v7_augmented", "grown_v8", "v1"])
@pytest.mark.slow
def test_every_kind_and_version_has_a_report(tmp_path, kind):
    page = write_report(GOLDEN / f"{kind}.functa", tmp_path)
    assert_inert(page)
    assert "There is no log beside" in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "resolution", "channels"),
    [(("t",), (32,), ("left",)), (("t", "y", "x"), (3, 4, 5), ("red", "green", "blue"))],
)
def test_sounds_and_clips_have_figures(tmp_path, axes, resolution, channels):
    domain = CellGrid(axes=axes, resolution=resolution)
    write_store(tmp_path / "a.functa", count=3, domain=domain, channels=channels)
    page = write_report(tmp_path / "a.functa", tmp_path)
    assert len([image for image in page.all("img") if image["alt"].endswith("decoded")]) == 6


def test_texts_of_strangers_are_escaped(tmp_path):
    write_store(tmp_path / "pets.functa", labels={"<b>|": Label(values=np.zeros(12, np.int64), names=(HOSTILE,))})
    told = [dict(LOG[0], machine=HOSTILE, device=HOSTILE), *LOG[1:4], dict(LOG[4], by=HOSTILE, time=HOSTILE)]
    (tmp_path / "pets.functa.log").write_bytes(lines(*told))
    page = write_report(tmp_path / "pets.functa", tmp_path)
    assert_inert(page)
    assert "<script>alert(1)</script>" in page.text  # as text
    assert "\x1b" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "log",
    [
        b"\xff\xfe{",
        b"[1]\n5\nnull\n" + b"[" * 100_000,
        lines(*LOG[1:]),
        lines(LOG[0], {"event": "learned", "step": "x", "psnr": None}, {"event": "fitted", "done": [1]}),
        lines(LOG[0], {"event": "learned", "step": 1e300, "psnr": float("nan")}),
    ],
)
def test_a_log_that_is_none_is_no_error(log):
    history = history_of(log)
    assert list(history.looks) == []


def test_a_step_that_was_repeated_counts_as_it_was_last():
    again = {"event": "learned", "step": 10, "psnr": 16.0, "monitored_psnr": 15.0, "seconds": 3.0}
    looks = history_of(lines(*LOG[:3], LOG[0], again)).looks
    assert [(look.step, look.psnr) for look in looks] == [(10, 16.0), (20, 21.0)]


def test_a_step_that_is_told_late_is_not_how_far_a_run_went():
    late = {"event": "learned", "step": 19, "psnr": 20.9, "monitored_psnr": None, "seconds": 4.9}
    (run,) = history_of(lines(*LOG[:3], late, LOG[4])).runs
    assert run.facts["learned"] == "20 steps in 5 s"


def test_an_unfinished_functaset_shows_its_progress(tmp_path):
    write_store(tmp_path / "pets.functa", num_shards=1)
    page = write_report(tmp_path / "pets.functa", tmp_path)
    assert page.all("progress") == [{"value": "4", "max": "12"}]
    assert "4 of 12 examples are fitted" in page.text


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        functa_store.report(tmp_path / "pets.functa", tmp_path / "report.pdf")


def test_a_report_for_no_folder_is_refused_before_anything_is_opened(tmp_path, capsys):
    """Neither the functaset nor the archive of this command is there; what is wrong with the report is said first."""
    with pytest.raises(ConfigError, match=r"there is no folder .*reports; create it first"):
        functa_store.report(tmp_path / "none.functa", tmp_path / "reports" / "r.html")
    command = ["report", "none.functa", "--out", str(tmp_path / "reports" / "r.html"), "--archive", "none.zip"]
    assert cli.main(command) != 0
    assert "there is no folder" in " ".join(capsys.readouterr().err.split())


def test_the_command_writes_the_same(tmp_path, capsys):
    write_store(tmp_path / "pets.functa")
    assert cli.main(["report", str(tmp_path / "pets.functa"), "--out", str(tmp_path / "r.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"out": str(tmp_path / "r.html")}
    assert_inert(Page(tmp_path / "r.html"))
