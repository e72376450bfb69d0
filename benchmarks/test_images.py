"""The benchmark of images runs, tiny, and its peers are what they say."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import image_peers, images, photographs
from benchmarks.datasets import GeneratedArchive
from demo.archive import encoded


@pytest.fixture(name="smooth", scope="module")
def _smooth():
    """Pictures of a few waves, shape (40, 16, 16, 3)."""
    rng = np.random.default_rng(0)
    waves = np.cos(np.pi * np.outer(np.arange(3), (np.arange(16) + 0.5) / 16))
    return 0.5 + 0.1 * np.einsum("nabc,ay,bx->nyxc", rng.normal(size=(40, 3, 3, 3)), waves, waves)


def test_blocks_are_parts_of_the_images_in_order():
    pictures = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    blocks = image_peers.blocks_of(pictures, (2, 3))
    assert blocks.shape == (2, 2, 2, 18)
    np.testing.assert_array_equal(blocks[1, 0, 1].reshape(2, 3, 3), pictures[1, :2, 3:])
    np.testing.assert_array_equal(image_peers.joined(blocks, (2, 3)), pictures)
    with pytest.raises(ValueError, match="evenly"):
        image_peers.blocks_of(pictures, (3, 3))


def test_colours_are_orthonormal():
    np.testing.assert_allclose(image_peers.COLOURS @ image_peers.COLOURS.T, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("numbers", [1, 7, 192])
def test_all_numbers_give_images_back_and_fewer_give_less(smooth, numbers):
    codes = {
        "pca": image_peers.block_pca(smooth, smooth, (2, 2), numbers),
        "cosines": image_peers.block_dct(smooth, smooth, 8, 4 * numbers),
        "largest": image_peers.largest_dct(smooth, 8, 4 * numbers),
    }
    errors = {name: float(np.mean((found - smooth) ** 2)) for name, found in codes.items()}
    if numbers == 192:
        assert max(errors.values()) < 1e-20
    else:
        assert min(errors.values()) > 1e-8
        assert errors["pca"] <= errors["cosines"], "components are the best linear code of the blocks they are of"


def test_the_largest_cosines_are_those(smooth):
    error = np.mean((image_peers.largest_dct(smooth, 8, 5) - smooth) ** 2, axis=(1, 2, 3))
    cosines = image_peers._cosines(smooth, 8).reshape(len(smooth), -1)
    rest = np.sort(cosines**2, axis=1)[:, :-5].sum(axis=1) / smooth[0].size
    np.testing.assert_allclose(error, rest)


@pytest.mark.parametrize("size", [1, 200, 700, 10**6])
def test_webp_is_the_best_that_fits(size):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    sizes = {quality: len(encoded(pixels, "WEBP", quality=quality)) for quality in range(101)}
    found = len(image_peers.best_webp(pixels, size))
    assert found == (max((n for n in sizes.values() if n <= size), default=sizes[0]))
    assert image_peers.as_webp(pixels, size).shape == pixels.shape


def test_photographs_are_cut_into_windows_that_do_not_overlap(tmp_path):
    picture = Image.fromarray(np.arange(1100 * 1300 * 3, dtype=np.uint32).astype(np.uint8).reshape(1100, 1300, 3))
    found = list(photographs.windows(picture))
    assert [(top, left) for top, left, _ in found] == [(0, 0), (0, 512), (512, 0), (512, 512)]
    np.testing.assert_array_equal(np.asarray(found[3][2]), np.asarray(picture)[512:1024, 512:1024])
    (small,) = photographs.windows(picture.resize((300, 200)))
    assert small[2].size == (512, 512)
    assert max(left for _, left, _ in photographs.windows(picture.resize((5200, 4400)))) == 2048


def test_a_seam_is_the_jump_at_borders_over_that_elsewhere():
    ramp = np.tile(np.arange(8.0)[:, None, None], (1, 8, 1))[None]
    both = ramp + ramp.transpose(0, 2, 1, 3)
    assert images.seam(both, (2, 4)) == pytest.approx(1)
    steps = both + 2 * (np.arange(8) >= 4)[:, None, None] + 2 * (np.arange(8) // 2)[:, None]
    assert images.seam(steps, (2, 4)) == pytest.approx(3)


@pytest.mark.parametrize("words", [["--dry-run"], ["--max-rejects", "0.5"], ["--no-mapping"], ["--json"]])
def test_words_that_do_not_hold_are_refused(tmp_path, capsys, words):
    with pytest.raises(SystemExit):
        images.main(["celeba", str(tmp_path / "none.zip"), "tiny", "--folder", str(tmp_path), *words])
    assert "leave it out" in capsys.readouterr().err


@pytest.mark.slow
def test_grids_are_compared_on_held_out_images(tmp_path):
    archive = GeneratedArchive(num_images=30, size=16).write(tmp_path / "archive.zip")
    words = ["--resolution", "16", "--crop", "none", "--modulation-grid", "2,2", "--modulation-dim", "3"]
    words += ["--network.width", "8", "--network.depth", "3", "--outer.num_steps", "2", "--outer.batch_size", "2"]
    words += ["--outer.warmup_steps", "1", "--outer.num_points", "64", "--fit-steps", "2", "--fit.tuning_steps", "0"]
    images.main(["celeba", str(archive), "tiny", "--folder", str(tmp_path), *words])
    facts = json.loads((tmp_path / "tiny.json").read_text())
    names = [row["side"].partition(",")[0] for row in facts["rows"]]
    assert names == [
        *("functa", "functa", "PCA", "PCA of blocks", "cosines of blocks", "cosines of blocks"),
        *("JPEG", "WebP", "JPEG", "WebP"),
    ]
    assert all(row["psnr"] > 0 for row in facts["rows"])
    assert set(facts["seam"]) == {"functa", "cubic"}
    assert "held-out images as" in (tmp_path / "tiny.md").read_text()
    assert (tmp_path / "tiny.png").stat().st_size > 0
