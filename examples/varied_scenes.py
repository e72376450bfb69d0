"""Few scenes made many: a base that learns each training scene stretched, mirrored and in other colours, too.

    python -m examples.varied_scenes --archive chairs.zip --store chairs.functa

A ray stays a straight line when space is stretched along an axis or seen in a mirror, and the colour along it stays.
So rays of views give those of other scenes exactly, without anything being drawn anew, though no camera sees them all.
"""

import argparse
import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import functa_store
from converters.scenes.srn import SRN_PRESETS, open_srn
from functa_store.progress import Learned

STRETCH = 0.25
"""Lengths along each axis are multiplied by up to e to this power, or divided."""

DARKER, OTHER_SHADE = 0.5, 0.2
"""Colours are raised to a power, up to e to this one, or its inverse: of all channels alike, and of each by itself."""

MOST_CELLS = 48
"""Along an axis of the grid on which it is measured how far a scene reaches; no more than pixels along a view."""

WHITE = 0.98
"""A colour of which no channel is darker: nothing was seen."""

TUNING_STEPS = 5
"""Updates of the fit's rates: they are worth 0.01 dB here, and each takes as long as a hundred outer steps."""


class Variant(NamedTuple):
    """How another scene is made of one.

    Attributes:
        factors: Of x, y and z, which are stretched by them; a negative one mirrors.
        channels: Which channel of colour each one is made of.
        powers: Which each channel is raised to; black and white stay as they are.
    """

    factors: np.ndarray
    channels: np.ndarray
    powers: np.ndarray

    def __call__(self, rays: np.ndarray, reach: float) -> np.ndarray:
        """Rays of the other scene.

        Args:
            rays: Origin, unit direction and colour of each, (..., 9).
            reach: How far from the world's origin they begin, at least; scenes are sampled at distances along them.
        """
        origins, directions = (part * self.factors for part in (rays[..., :3].astype(np.float64), rays[..., 3:6]))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        nearest = origins - np.sum(origins * directions, axis=-1, keepdims=True) * directions
        colours = rays[..., 6:][..., self.channels] ** self.powers
        return np.concatenate([nearest - reach * directions, directions, colours], axis=-1).astype(np.float32)


class VariedScenes(functa_store.Source):
    """Scenes, and behind them variants of the training ones; see `functa_store.Source`.

    Args:
        source: The scenes.
        num_variants: Of each one of the split "train"; their ids are "ID~1", "ID~2" and so on.
        num_validation: Training scenes that become the split "validation" before, drawn at random.
        seed: Decides both, with the ids.
    """

    def __init__(self, source: functa_store.Source, num_variants: int, num_validation: int = 0, seed: int = 0) -> None:
        self._scenes, self._count = source, len(source.ids)
        self.domain, self.features, self.rejects = source.domain, source.features, source.rejects
        split, train = source.split.copy(), np.flatnonzero(source.split == "train")
        if not num_validation < len(train):
            raise functa_store.ConfigError(
                f"{source.provenance['archive']}: found {len(train)} training scenes, expected more than the "
                f"{num_validation} for validation"
            )
        split[np.random.default_rng(seed).permutation(train)[:num_validation]] = "validation"
        learned = np.flatnonzero(split == "train")
        self._rows = np.concatenate([np.arange(self._count), np.repeat(learned, num_variants)])
        self._variants: list[Variant] = []
        self.ids = list(source.ids)
        for row in learned:
            extent = self._extent(int(row)) if num_variants else np.ones(3)
            for number in range(1, num_variants + 1):
                self.ids.append(f"{source.ids[row]}~{number}")
                digest = hashlib.sha256(f"{seed}/{self.ids[-1]}".encode()).digest()
                self._variants.append(_drawn(np.random.default_rng(list(digest)), extent))
        self.split, self.labels = split[self._rows], {
            name: dataclasses.replace(label, values=label.values[self._rows]) for name, label in source.labels.items()
        }  # fmt: skip
        self.provenance = {**source.provenance, "variants": [num_variants, num_validation, seed]}

    def read(self, index: int) -> np.ndarray:
        """Rays of one scene; see `functa_store.Source.read`."""
        rays = self._scenes.read(int(self._rows[index]))
        if index < self._count:
            return rays
        volume = self.domain.scene
        return self._variants[index - self._count](rays, (volume.near + volume.far) / 2)

    def _extent(self, row: int) -> np.ndarray:
        """How far a scene reaches along x, y and z, in halves of the cube's edge: to where its colours may have been.

        That is in the cells through which a ray of some colour goes, and no white one.
        """
        volume = self.domain.scene
        count = min(MOST_CELLS, *volume.image_size)
        rays = self._scenes.read(row).reshape(-1, 9)
        rays = rays[~np.isnan(rays[:, 6])]
        seen = np.zeros((2, count, count, count), bool)  # by coloured rays, by white ones
        for distance in np.linspace(volume.near, volume.far, 2 * count):
            cells = ((rays[:, :3] + distance * rays[:, 3:6]) / volume.bound + 1) / 2 * count
            inside = ((cells >= 0) & (cells < count)).all(axis=-1)
            white = (rays[inside, 6:] >= WHITE).all(axis=-1)
            seen[(white.astype(int), *cells[inside].astype(int).T)] = True
        places = np.argwhere(seen[0] & ~seen[1])
        if not len(places):
            return np.ones(3)
        return np.minimum(1, (np.abs(places + 0.5 - count / 2).max(axis=0) + 1.5) * 2 / count)


def _drawn(rng: np.random.Generator, extent: np.ndarray) -> Variant:
    """A variant that stays within the cube, of a scene that reaches so far in it."""
    factors = np.exp(rng.uniform(-STRETCH, STRETCH, 3))
    factors *= min(1, 1 / np.max(factors * extent))
    factors[0] *= rng.choice([-1, 1])
    powers = np.exp(rng.uniform(-DARKER, DARKER) + rng.uniform(-OTHER_SHADE, OTHER_SHADE, 3))
    return Variant(factors, rng.permutation(3), powers)


def run(argv: Sequence[str] | None = None) -> functa_store.Functaset:
    """Run the example.

    Args:
        argv: Arguments instead of those of the process.

    Returns:
        The functaset.
    """
    parser = argparse.ArgumentParser(description="Convert an archive of few scenes, in SRN's layout, with variants.")
    parser.add_argument("--archive", required=True, help="scenes in SRN's layout")
    parser.add_argument("--store", required=True, help="the functaset, a new path that ends in .functa")
    parser.add_argument("--variants", type=int, default=6, metavar="N", help="of each training scene (default: 6)")
    parser.add_argument("--validation", type=int, default=0, metavar="N", help="training scenes that become that split")
    parser.add_argument("--resolution", type=int, default=64, help="pixels of a view's height (default: 64)")
    parser.add_argument("--steps", type=int, default=10_000, metavar="N", help="outer steps (default: 10,000)")
    args = parser.parse_args(argv)
    if min(args.variants, args.validation) < 0:
        parser.error("--variants and --validation must be at least 0")
    preset = SRN_PRESETS["scenes-fast"].config
    outer = dataclasses.replace(preset.outer, num_steps=args.steps)
    config = dataclasses.replace(preset, outer=outer, fit=dataclasses.replace(preset.fit, tuning_steps=TUNING_STEPS))
    try:
        scenes = VariedScenes(open_srn(args.archive, resolution=args.resolution), args.variants, args.validation)
        functa_store.convert(scenes, args.store, config, report=_report)
        return functa_store.open(args.store)
    except functa_store.FunctaStoreError as error:
        parser.error(str(error))


def _report(event: object) -> None:
    if isinstance(event, Learned) and event.monitored_psnr is not None:
        sys.stdout.write(f"{event.step} of {event.num_steps} outer steps, {event.monitored_psnr:.2f} dB\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run()
