"""Walks through the space of modulations: from example to example, or towards a class of a label, as a GIF.

    python -m examples.walk                                                           # handwritten digits
    python -m examples.walk --store faces.functa --examples 3,14,15,92 --resolution 128
    python -m examples.walk --store faces.functa --examples 3 --label Smiling --to 1 --out smile.gif

Without a label, frames lie on a closed curve through the examples. With one, the first example moves along the
difference of the means of a class and of its own one, and back. Shapes and scenes turn around once on the way.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import functa_store
from examples.digits import digits_functaset
from functa_store.decode.pictures import solid_image, to_image
from functa_store.media.scene_views import cameras_around

FRAMES_PER_SECOND = 12


def closed_walk(modulations: np.ndarray, num_frames: int) -> np.ndarray:
    """Modulations on a closed curve through some, (frames, *shape); frames lie closer together near each of these.

    Between two of them the line is straight, but for the distance from their mean: midway between two independent
    modulations it would be 0.7 times theirs, and what is decoded would fade. It goes evenly from one's to the other's.

    Args:
        modulations: At least two, (examples, *shape).
        num_frames: From each of them to the next one.
    """
    rows = modulations.reshape(len(modulations), -1)
    centre = rows.mean(axis=0)
    share = _eased(num_frames)[:, None]
    legs = []
    for here, there in zip(rows - centre, np.roll(rows, -1, axis=0) - centre, strict=True):
        between = (1 - share) * here + share * there
        distance = (1 - share) * np.linalg.norm(here) + share * np.linalg.norm(there)
        found = np.linalg.norm(between, axis=1, keepdims=True)
        legs.append(between * np.where(len(rows) > 2, distance / np.maximum(found, 1e-9), 1))
    return (np.concatenate(legs) + centre).astype(np.float32).reshape(-1, *modulations.shape[1:])


def edit(functaset: functa_store.Functaset, example: int, label: str, to: str, num_frames: int) -> np.ndarray:
    """Modulations of an example on its way towards a class and back, (frames, *shape).

    Args:
        functaset: Has a split "train", whose means of classes are taken.
        example: Its place.
        label: Whose classes they are.
        to: Name or number of the class.
        num_frames: There and back.

    Raises:
        ConfigError: If there is no such label, or no training example of the class or the example's own one.
    """
    if label not in functaset.labels:
        raise functa_store.ConfigError(
            f"{functaset.store.path}: no label {label!r}, there are {sorted(functaset.labels)}; name one by --label"
        )
    values, names = functaset.labels[label][:], functaset.label_names.get(label, ())
    texts = np.array([names[value] if names else str(value) for value in values])
    training = functaset.split[:] == "train"
    means = []
    for wanted in (texts[example], to):
        chosen = np.flatnonzero(training & (texts == wanted))
        if not len(chosen):
            raise functa_store.ConfigError(
                f"{functaset.store.path}: no training example with {label} {wanted!r}, there are "
                f"{sorted(set(texts[training].tolist()))[:20]}; name another class by --to"
            )
        means.append(functaset.modulations[chosen].mean(axis=0))
    start = functaset.modulations[example]
    share = np.concatenate([_eased(num_frames // 2), 1 - _eased(num_frames // 2)])
    return (start + share.reshape(-1, *[1] * start.ndim) * (means[1] - means[0])).astype(np.float32)


def _eased(count: int) -> np.ndarray:
    """Shares that rise from 0 towards 1, slowly at both ends."""
    return (1 - np.cos(np.pi * np.arange(count) / count)) / 2


def frames_of(functaset: functa_store.Functaset, modulations: np.ndarray, resolution: int | None) -> list[Image.Image]:
    """A picture of each modulation; the eye goes once around shapes and scenes."""
    count, domain = len(modulations), functaset.domain
    if domain.scene is not None:
        side = resolution or domain.scene.image_size[0]
        poses, focal = cameras_around(functaset, count)
        views = zip(modulations, poses, strict=True)
        seen = [functa_store.render_view(functaset, row, pose, side, side, focal * side).colour for row, pose in views]
        return [to_image(np.asarray(colour)) for colour in seen]
    if len(domain.axes) == 3:
        level = float(np.mean(functaset.features.value_range))
        turned = zip(modulations, np.arange(count) * 360 / count, strict=True)
        return [
            solid_image(functaset.decode_modulations(row, resolution)[0, ..., 0], level=level, azimuth=30 + angle)
            for row, angle in turned
        ]
    pictures = functa_store.pictures(functaset, modulations, resolution)
    return pictures[:: len(pictures) // count]  # of a field the first channel


def run(argv: Sequence[str] | None = None) -> int:
    """Run the example; returns the number of frames."""
    parser = argparse.ArgumentParser(description="Walk through the space of modulations.")
    parser.add_argument("--store", help="a functaset (default: handwritten digits, converted on the spot)")
    parser.add_argument("--examples", default="0,1,2,3", help="their places, separated by commas (default: 0,1,2,3)")
    parser.add_argument("--label", help="move the first example towards a class of this label")
    parser.add_argument("--to", help="name or number of the class")
    parser.add_argument("--frames", type=int, default=16, help="from each example to the next one (default: 16)")
    parser.add_argument("--resolution", type=int, help="points along an edge (default: as the archive)")
    parser.add_argument("--out", type=Path, default=Path("examples-output/walk.gif"), help="the film")
    args = parser.parse_args(argv)
    if (args.label is None) != (args.to is None):
        parser.error("--label and --to go together: a label, and the class that is moved towards")
    if args.frames < 2 or (args.label is None and "," not in args.examples):
        parser.error("a walk needs two examples, or a label and a class, and at least two frames")
    if args.out.suffix.lower() != ".gif":
        parser.error(f"--out must end in .gif, got {args.out}")
    try:
        functaset = functa_store.open(args.store) if args.store else digits_functaset()
        examples = [int(word) for word in args.examples.split(",")]
        if args.label is None:
            modulations = closed_walk(functaset.modulations[examples], args.frames)
        else:
            modulations = edit(functaset, examples[0], args.label, args.to, 2 * args.frames)
        frames = frames_of(functaset, modulations, args.resolution)
    except (functa_store.FunctaStoreError, ValueError) as error:
        parser.error(str(error))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(args.out, save_all=True, append_images=frames[1:], duration=1000 // FRAMES_PER_SECOND, loop=0)
    sys.stdout.write(f"{args.out}: {len(frames)} frames\n")
    return len(frames)


if __name__ == "__main__":
    run()
