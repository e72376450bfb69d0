"""Other codes of as many numbers, or bytes, for images."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.fft import dctn, idctn

from demo.archive import encoded

MOST_BLOCKS = 200_000
"""Blocks of training images that a basis is taken from, evenly chosen."""

# Orthonormal, so that errors in it are errors in RGB: the mean of the colours, and two differences.
COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

Images = Float[np.ndarray, "examples y x channels"]


def blocks_of(images: Images, block: tuple[int, int]) -> Float[np.ndarray, "examples rows columns block"]:
    """Images cut into blocks, the values of a block in one row.

    Raises:
        ValueError: If blocks do not divide the images evenly.
    """
    count, height, width, channels = images.shape
    if height % block[0] or width % block[1]:
        raise ValueError(f"blocks of {block} do not divide images of {(height, width)} evenly")
    cut = images.reshape(count, height // block[0], block[0], width // block[1], block[1], channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(count, height // block[0], width // block[1], -1)


def joined(blocks: Float[np.ndarray, "examples rows columns block"], block: tuple[int, int]) -> Images:
    """The images whose `blocks_of` these are."""
    count, rows, columns, size = blocks.shape
    cut = blocks.reshape(count, rows, columns, *block, size // (block[0] * block[1])).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(count, rows * block[0], columns * block[1], -1)


def block_pca(training: Images, images: Images, grid: Sequence[int], numbers: int) -> Images:
    """Images whose blocks each keep the first principal components of all training blocks.

    Args:
        training: Features of training images.
        images: What to reconstruct.
        grid: Blocks along y and x.
        numbers: Components of each block.
    """
    block = (images.shape[1] // grid[0], images.shape[2] // grid[1])
    known = blocks_of(training, block).reshape(-1, block[0] * block[1] * images.shape[-1])
    known = known[:: -(-len(known) // MOST_BLOCKS)].astype(np.float64)
    mean = known.mean(axis=0)
    axes = np.linalg.eigh(np.cov(known.T))[1][:, -numbers:]
    found = blocks_of(images, block).astype(np.float64) - mean
    return joined(mean + found @ axes @ axes.T, block)


def block_dct(training: Images, images: Images, block: int, numbers: int) -> Images:
    """Images whose square blocks each keep the same cosines: those of most energy in the training images.

    Args:
        training: Features of RGB training images, which decide the cosines and how many each colour channel has.
        images: What to reconstruct.
        block: Pixels along a side of a block; 8 for JPEG's.
        numbers: Coefficients of all blocks of an image together, of which each block has its share.
    """
    per_block = numbers // ((images.shape[1] // block) * (images.shape[2] // block))
    energy = np.mean(_cosines(training, block) ** 2, axis=(0, 1, 2))
    kept = np.zeros(energy.size, bool)
    kept[np.argsort(-energy, kind="stable")[:per_block]] = True
    return _from_cosines(_cosines(images, block) * kept, block)


def largest_dct(images: Images, block: int, numbers: int) -> Images:
    """Images of their largest cosines, wherever in the image they lie; which ones they are is not counted.

    Args:
        images: What to reconstruct.
        block: Pixels along a side of a block.
        numbers: Coefficients of an image.
    """
    found = _cosines(images, block)
    least = -np.sort(-np.abs(found).reshape(len(images), -1), axis=1)[:, numbers - 1]
    return _from_cosines(found * (np.abs(found) >= least[:, None, None, None]), block)


def _cosines(images: Images, block: int) -> np.ndarray:
    """Orthonormal cosines of each block in orthonormal colours, shape (examples, rows, columns, block)."""
    blocks = blocks_of((images - 0.5) @ COLOURS.T, (block, block))
    squares = blocks.reshape(*blocks.shape[:3], block, block, -1)
    return np.asarray(dctn(squares, axes=(3, 4), norm="ortho")).reshape(blocks.shape)


def _from_cosines(cosines: np.ndarray, block: int) -> Images:
    squares = cosines.reshape(*cosines.shape[:3], block, block, -1)
    values = np.asarray(idctn(squares, axes=(3, 4), norm="ortho")).reshape(cosines.shape)
    return joined(values, (block, block)) @ COLOURS + 0.5


def as_webp(pixels: UInt8[np.ndarray, "y x 3"], size: int) -> UInt8[np.ndarray, "y x 3"]:
    """The best WebP file of at most so many bytes, decoded; the smallest one if none is."""
    return np.asarray(Image.open(io.BytesIO(best_webp(pixels, size))).convert("RGB"))


def best_webp(pixels: UInt8[np.ndarray, "y x 3"], size: int) -> bytes:
    """The WebP file of the highest quality that bisection finds to have at most so many bytes; see `as_webp`."""
    low, high = 0, 101
    best = encoded(pixels, "WEBP", quality=low)
    while high - low > 1:
        middle = (low + high) // 2
        file = encoded(pixels, "WEBP", quality=middle)
        low, high, best = (middle, high, file) if len(file) <= size else (low, middle, best)
    return best
