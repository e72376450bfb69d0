"""The commands and the code of the page on encoding run as they are written, and give what it says."""

import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.cli.main import main
from tests.docs.pages import PAGES, blocks
from tests.kinds.archives import KINDS, looking_inwards, png, write_zip

PAGE = (PAGES / "how-to/encode.md").read_text()
LEARNED = shlex.split("--network.width 8 --network.depth 3 --network.w0 10 --modulation-dim 4 --outer-steps 2 --quiet")
LEARNED += shlex.split(
    "--batch-size 4 --outer.num_points 32 --outer.num_monitored 2 --fit-steps 2 --fit.tuning_steps 0"
)


def pictures(count, seed):
    """Smooth pictures of 64x64, uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((64, 64))) for one in coarse])


def learn(kind, archive, path, *words):
    assert main(["convert", kind, str(archive), path, *LEARNED, *words]) == 0


@pytest.fixture(name="made")
def _made(tmp_path, monkeypatch):
    """What the page takes for granted: functasets, archives and arrays of a reader's own, in the working directory."""
    monkeypatch.chdir(tmp_path)
    members = {f"{k:03}.png": png(picture) for k, picture in enumerate(pictures(200, seed=0))}
    learn("images", write_zip(tmp_path / "faces.zip", members), "faces.functa")
    new = {f"new/{k}.png": png(picture) for k, picture in enumerate(pictures(3, seed=1))}
    write_zip(tmp_path / "new_photos.zip", new)
    (tmp_path / "scans").mkdir()
    for name, data in new.items():
        (tmp_path / "scans" / name.replace("/", "-")).write_bytes(data)
    np.save("samples.npy", np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32))
    mask = np.zeros((3, 64, 64), bool)
    mask[:, :, :32] = True
    rng = np.random.default_rng(3)
    return {
        "pictures": pictures(3, seed=1),
        "mask": mask,
        "thumbnails": pictures(3, seed=1)[:, ::4, ::4],
        "values": rng.integers(0, 256, (2, 2, 3), dtype=np.uint8),
    }


@pytest.mark.slow
def test_what_is_written_on_encoding_runs(made, capsys):
    names = dict(made)
    python = [text for kind, text in blocks(PAGE) if kind == "python"]
    assert len(python) == 3
    first, second, third = python
    exec(compile(first, "arrays", "exec"), names)
    assert names["encoded"].modulations.shape == (3, 4)
    assert np.isfinite(names["encoded"].psnr).all()

    *of_pictures, of_scenes = second.splitlines(keepends=True)
    for line in of_pictures:
        exec(compile(f"found = {line}", line, "exec"), names)
        assert np.isfinite(names["found"].modulations).all(), line
    assert "cars.encode(view, poses=poses, focal=131.25)" in of_scenes

    exec(compile(third, "derived", "exec"), names)
    between = functa_store.open("between.functa")
    assert between.ids[0] == "mean 0"
    assert len(between) == 100
    shutil.rmtree("between.functa")  # the command line makes it, too

    faces = names["faces"]
    np.savez("between.npz", modulations=faces.modulations[:5], id=[f"mean {k}" for k in range(5)], kind=["mean"] * 5)
    commands = [text for kind, text in blocks(PAGE) if kind == "console"]
    lines = [line for text in commands for line in text.splitlines()]
    assert len(lines) == 5
    for line in lines:
        assert main(shlex.split(line)[2:]) == 0, line
    encoded = faces.encode(made["pictures"])
    for name in ("new", "scans"):
        found = functa_store.open(f"{name}.functa")
        np.testing.assert_array_equal(found.modulations[:], encoded.modulations)
    with Image.open("samples.png") as sheet:
        assert min(sheet.size) >= 256
    assert main(["info", "between.functa", "--json"]) == 0
    assert "derived" in capsys.readouterr().out


@pytest.mark.slow
def test_one_view_of_a_scene_is_encoded_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learn("srn", KINDS["scenes"].write(tmp_path), "cars.functa", *KINDS["scenes"].options)
    view = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    names = {"cars": functa_store.open("cars.functa"), "view": view, "poses": looking_inwards(0.3)[None]}
    python = [text for kind, text in blocks(PAGE) if kind == "python"]
    exec(compile(f"found = {python[1].splitlines()[-1]}", "one view", "exec"), names)
    assert np.isfinite(names["found"].modulations).all()
