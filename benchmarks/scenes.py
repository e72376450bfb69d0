"""Quality of views that a fit has not seen, from one view, two, four and all.

    python -m benchmarks.scenes --archive FILE [--kind cars|chairs|both] [--time-budget 900] [--folder bench-output]
    python -m benchmarks.scenes --archive FILE --sweep [NAME ...] [--fold 3] [--outer-steps 150]

Learns on the training scenes of an archive in SRN's layout. The scenes of the test split are then fitted with views
from the first three quarters of their own, evenly chosen, and measured on at most 8 of the last quarter. Baselines on
the same held-out views: the training scenes' mean colour (`constant`), their mean colour at the same place of the
image (`mean image`), white, and the base without any modulation. --sweep compares recipes on every sixth
training scene, k, k + 6 and so on in fold k, which then takes no part in learning; the test split is not looked at.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.recipes import Changes, with_length
from benchmarks.report import decibels, publish, table
from converters.scenes.srn import SCENES_FAST, SceneSource, open_srn
from functa_store.config import ConvertConfig, overlaid
from functa_store.decode.pictures import comparison_sheet, to_image
from functa_store.decode.tiled_decoder import make_renderer
from functa_store.domains.scene import SceneVolume
from functa_store.errors import ArchiveError
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import FittedExamples, fit_examples
from functa_store.learn.inner_loop import Steps
from functa_store.learn.meta_learn import meta_learn
from functa_store.learn.outer_loop import Base
from functa_store.learn.ray_observer import COLOUR
from functa_store.learn.training_set import TrainingSet
from functa_store.learn.tuning import ReadyFit, tune
from functa_store.nets.siren import to_weights
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source
from functa_store.sources.splits import evenly_centred

CONTEXTS = (1, 2, 4, None)
MOST_HELD_OUT = 8
CONTEXT_SHARE = 0.75
SWEEP_PERIOD = 6

RECIPES: dict[str, Changes] = {
    "preset": {},
    "w0 8": {"network": {"w0": 8.0}},
    "w0 20": {"network": {"w0": 20.0}},
    "256 dimensions": {"network": {"modulation_dim": 256}},
    "96x4": {"network": {"width": 96, "depth": 4}},
    "SIREN 5e-4": {"outer": {"learning_rate": 5e-4}},
    "SIREN 1e-3": {"outer": {"learning_rate": 1e-3}},
    "rates from 0.02": {"inner": {"learning_rate": 0.02}},
    "batch 8, 128 rays": {"outer": {"batch_size": 8, "num_points": 128}},
    "batch 2, 512 rays": {"outer": {"batch_size": 2, "num_points": 512}},
    "w0 20, SIREN 5e-4": {"network": {"w0": 20.0}, "outer": {"learning_rate": 5e-4}},
    "w0 20, SIREN 1e-3": {"network": {"w0": 20.0}, "outer": {"learning_rate": 1e-3}},
    "w0 30, SIREN 5e-4": {"network": {"w0": 30.0}, "outer": {"learning_rate": 5e-4}},
    "SIREN 5e-4, batch 8, 128 rays": {"outer": {"learning_rate": 5e-4, "batch_size": 8, "num_points": 128}},
    "SIREN 5e-4, 256 dimensions": {"network": {"modulation_dim": 256}, "outer": {"learning_rate": 5e-4}},
}


class Chosen(Source):
    """Some scenes of a source; all others, and their labels, left out.

    Args:
        source: All scenes.
        indices: Which.
        split: Of each of them.
    """

    def __init__(self, source: SceneSource, indices: np.ndarray, split: np.ndarray) -> None:
        self.whole, self.indices, self.split = source, indices, split
        self.volume = self.domain = source.volume
        self.features, self.labels, self.rejects = source.features, {}, []
        self.ids = [source.ids[int(i)] for i in indices]
        self.provenance = source.provenance

    def read(self, index: int) -> np.ndarray:
        """Raw values of one scene."""
        return self.whole.read(int(self.indices[index]))


class FewViews(Chosen):
    """Some scenes, of each a few views to fit and a few others to measure.

    Args:
        source: All scenes.
        indices: Which.
        volume: How many views of each; see `with_few_views`.
    """

    def __init__(self, source: SceneSource, indices: np.ndarray, volume: SceneVolume) -> None:
        super().__init__(source, indices, np.full(len(indices), "train"))
        self.volume = self.domain = volume

    def chosen_views(self, index: int) -> list[list[int]]:
        """Which views of a scene to fit, and which to measure: as many as there are, up to the domain's."""
        count = len(self.whole.views(int(self.indices[index])).images)
        first = int(CONTEXT_SHARE * count)
        held_out = evenly_centred(count - first, self.volume.held_out_views)
        return [evenly_centred(first, self.volume.views), [first + i for i in held_out]]

    def read(self, index: int) -> np.ndarray:
        """Raw values of one scene; views that it lacks are missing values."""
        raw, parts = super().read(index), []
        wanted = self.volume.views, self.volume.held_out_views
        for chosen, number in zip(self.chosen_views(index), wanted, strict=True):
            absent = np.repeat(raw[:1], number - len(chosen), axis=0)
            absent[..., COLOUR:] = np.nan
            parts += [raw[chosen], absent]
        return np.concatenate(parts)


def with_few_views(source: SceneSource, indices: np.ndarray, context: int | None) -> SceneVolume:
    """The volume of some scenes of which `context` views are fitted, or as many as all have for it, as with None."""
    fewest, most = view_counts(source, indices)
    views = most if context is None else min(context, most)
    return dataclasses.replace(source.volume, views=views, held_out_views=min(MOST_HELD_OUT, fewest - most))


def view_counts(source: SceneSource, indices: np.ndarray) -> tuple[int, int]:
    """The fewest views that any of some scenes has, and how many of them a fit may see.

    Raises:
        ArchiveError: If there are no scenes, or one has too few views to fit some and measure others.
    """
    name = source.provenance["archive"]
    if not len(indices):
        raise ArchiveError(
            f"{name}: there are no scenes to learn from or none to measure; take another --kind, --fold or archive"
        )
    fewest = min(len(source.views(int(i)).images) for i in indices)
    if fewest < 2:
        raise ArchiveError(f"{name}: a scene has {fewest} view, expected at least 2: to fit, and to measure")
    return fewest, int(CONTEXT_SHARE * fewest)


def of_kind(source: SceneSource, kind: str) -> np.ndarray:
    """Indices of the scenes of a category, or of all."""
    return np.array([i for i, name in enumerate(source.ids) if kind == "both" or f"{kind}_" in name], np.int64)


def baselines(train: Chosen, test: FewViews) -> dict[str, list[float]]:
    """Mean squared error on each test scene's held-out views of what does not look at it."""
    scenes = [train.read(int(i))[..., COLOUR:] for i in np.flatnonzero(train.split == "train")]
    image = np.nanmean([np.nanmean(scene, axis=0) for scene in scenes], axis=0)
    unseen = [test.read(i)[test.volume.views :, ..., COLOUR:] for i in range(len(test.ids))]
    guesses = {"constant": image.mean((0, 1)), "mean image": image, "white": np.ones(3, np.float32)}
    return {name: [float(np.mean((views - guess) ** 2)) for views in unseen] for name, guess in guesses.items()}


def tuned(base: Base, config: ConvertConfig, train: Chosen, test: FewViews) -> ReadyFit:
    """A fit whose steps are tuned, on training scenes, to as many views as those of the test scenes."""
    seen = FewViews(train.whole, train.indices[train.split == "train"], test.volume)
    return tune(base, TrainingSet(seen, config), config)


def fitted(ready: ReadyFit, test: FewViews) -> FittedExamples:
    """All test scenes, fitted."""
    return fit_examples(ready.fit, ready.shared, BatchReader(test), np.arange(len(test.ids)))


def without_modulation(base: Base, ready: ReadyFit, test: FewViews) -> FittedExamples:
    """All test scenes, not fitted at all."""
    still = jax.tree.map(jnp.zeros_like, Steps(*jax.device_get(ready.shared.steps)))
    return fitted(ready._replace(shared=ready.fit.prepare(base.learnable.base, still)), test)


def results(
    base: Base, config: ConvertConfig, train: Chosen, indices: np.ndarray, contexts: Sequence[int | None]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """One row per number of views that the scenes have, mean PSNRs in decibels, and the modulations of the first."""
    _, most = view_counts(train.whole, indices)
    rows, same, modulations = [], {}, []
    for context in (c for c in contexts if c is None or c < most):
        test = FewViews(train.whole, indices, with_few_views(train.whole, indices, context))
        ready = tuned(base, config, train, test)
        if not same:  # the held-out views are the same whatever the context
            zero = without_modulation(base, ready, test)
            same = {"no modulation": decibels(zero.metrics[:, 0])}
            same |= {name: decibels(mse) for name, mse in baselines(train, test).items()}
        found = fitted(ready, test)
        row = {"views": test.volume.views, "fitted": decibels(found.mse), "held out": decibels(found.metrics[:, 0])}
        rows.append(row | same)
        modulations.append(found.modulations)
    return rows, modulations[0]


def sheet(base: Base, config: ConvertConfig, test: FewViews, modulations: np.ndarray, path: Path) -> None:
    """Write what few views of each test scene say about another one: the first of them, ours, truth and depth."""
    renderer = make_renderer(config.network, test.volume)
    columns: dict[str, list[Image.Image]] = {"context": [], "ours": [], "truth": [], "depth": []}
    weights = weights_of(base)
    for index, modulation in enumerate(modulations):
        context, *_, unseen = test.read(index)
        seen = renderer(weights, modulation, unseen[..., :3], unseen[..., 3:COLOUR])
        near, far = test.volume.near, test.volume.far
        depth = 1 - np.clip((seen.depth - near) / (far - near), 0, 1)
        images = (
            context[..., COLOUR:],
            np.clip(seen.colour, 0, 1),
            unseen[..., COLOUR:],
            np.repeat(depth[..., None], 3, -1),
        )
        for column, image in zip(columns.values(), images, strict=True):
            column.append(to_image(image, (0.0, 1.0)))
    comparison_sheet(columns).save(path)


def weights_of(base: Base) -> dict[str, np.ndarray]:
    """The base weights by name."""
    return {name: np.asarray(array) for name, array in to_weights(base.learnable.base).items()}


def kept_out_of(source: SceneSource, kind: str, fold: int) -> tuple[Chosen, np.ndarray]:
    """The training scenes of a kind but for every sixth, from `fold` on, and those, as indices of the source."""
    scenes = of_kind(source, kind)
    scenes = scenes[np.asarray(source.split)[scenes] == "train"]
    kept_out = scenes[fold::SWEEP_PERIOD]
    return Chosen(source, np.setdiff1d(scenes, kept_out), np.full(len(scenes) - len(kept_out), "train")), kept_out


def sweep(
    source: SceneSource, kind: str, config: ConvertConfig, names: Sequence[str], fold: int
) -> list[dict[str, Any]]:
    """One row per recipe: PSNRs in decibels on a fold of the training scenes, from one view and from all."""
    train, kept_out = kept_out_of(source, kind, fold)
    for indices in (train.indices, kept_out):
        view_counts(source, indices)
    rows = []
    for name in names:
        recipe = overlaid(config, RECIPES[name])
        found, _ = results(meta_learn(TrainingSet(train, recipe), recipe), recipe, train, kept_out, (1, None))
        one, everything = found[0], found[-1]
        row = {"recipe": name, "one view": one["held out"], "all views": everything["held out"]}
        rows.append(row | {key: one[key] for key in ("no modulation", "constant", "mean image")})
        sys.stdout.write(f"{rows[-1]}\n")  # a sweep takes long
        sys.stdout.flush()
    return rows


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows that share their keys, as Markdown."""
    return table(list(rows[0]), [list(row.values()) for row in rows])


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--kind", choices=("cars", "chairs", "both"), default="both")
    parser.add_argument("--resolution", type=int, default=SCENES_FAST.source["resolution"])
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--time-budget", type=float, metavar="SECONDS", help="of learning (default: the preset's steps)"
    )
    length.add_argument("--outer-steps", type=int, metavar="N", help="instead of the preset's")
    parser.add_argument("--tuning-steps", type=int, default=SCENES_FAST.config.fit.tuning_steps)
    parser.add_argument("--sweep", nargs="*", choices=RECIPES, metavar="NAME", help="compare recipes (default: all)")
    parser.add_argument(
        "--fold", type=int, choices=range(SWEEP_PERIOD), default=SWEEP_PERIOD // 2, help="which sixth to keep out"
    )
    parser.add_argument("--folder", type=Path, default=Path("bench-output"), help="where tables and images go")
    args = parser.parse_args(argv)
    use_all_cores()
    source = open_srn(args.archive, resolution=args.resolution)
    config = overlaid(SCENES_FAST.config, {"fit": {"tuning_steps": args.tuning_steps}})
    config = with_length(config, args.outer_steps, args.time_budget)
    facts = {"source": source.provenance, "kind": args.kind, "config": dataclasses.asdict(config)}
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.sweep is not None:
        rows = sweep(source, args.kind, config, args.sweep or list(RECIPES), args.fold)
        name = f"scenes-sweep-{args.kind}-{args.fold}"
        publish(name, facts | {"fold": args.fold, "rows": rows}, as_table(rows), args.folder / f"{name}.json")
        return
    scenes = of_kind(source, args.kind)
    split = np.asarray(source.split)[scenes]
    for part in ("train", "test"):
        view_counts(source, scenes[split == part])
    train = Chosen(source, scenes, split)
    base = meta_learn(TrainingSet(train, config), config)
    sys.stdout.write(f"learned {base.num_steps} outer steps\n")
    rows, modulations = results(base, config, train, scenes[split == "test"], CONTEXTS)
    publish("scenes", facts | {"rows": rows}, as_table(rows), args.folder / f"scenes-{args.kind}.json")
    few = with_few_views(source, scenes[split == "test"], CONTEXTS[0])
    test = FewViews(source, scenes[split == "test"], few)
    sheet(base, config, test, modulations, args.folder / f"scenes-{args.kind}.png")


if __name__ == "__main__":
    main()
