"""Figure 5: samples of a flow and of a diffusion on modulations, their pictures, and how good they are."""

import functools
import shutil
from collections.abc import Callable

import jax
import numpy as np

import functa_store
from benchmarks import report
from benchmarks.paper.archives import Archives
from benchmarks.paper.features import Featurize, feature_space, frechet_distance
from benchmarks.paper.results import Figures, Results
from benchmarks.paper.sizes import Size
from examples import diffusion, flow
from examples.gaussian import Gaussian
from examples.generate import Generated, enlarged, flat, parts_of, rows_of
from examples.two_sample import novelty, told_apart
from functa_store.config import to_dict
from functa_store.decode.functaset import Functaset
from functa_store.loaders import Normalization
from functa_store.support.atomic_output import replacing

NEEDS = frozenset({"portraits", "shapes", "pictures"})
KINDS = ("shapes", "portraits")
SHOWN = 6
DECODED_AT_ONCE = 32
"""Examples; a cube is a megabyte."""


_SPACES = {
    "portraits": "the 64 features of a small classifier of CIFAR-10 that is trained here",
    "shapes": "the 64 features of a small classifier of these shapes that is trained here",
}


def _gaussian(functaset: Functaset, examples: np.ndarray, normalization: Normalization, count: int) -> Generated:
    """Samples of a Gaussian, which other models have to beat."""
    fitted = Gaussian.fit(rows_of(functaset, examples, normalization))
    samples = np.asarray(fitted.sample(jax.random.key(1), count))
    return Generated(samples.reshape(count, *functaset.config.network.modulation_shape))


Generate = Callable[[Functaset, np.ndarray, Normalization, int], Generated]
MODELS: dict[str, Generate] = {"flow": flow.generate, "DDPM": diffusion.generate, "Gaussian": _gaussian}


def measure(results: Results, archives: Archives, size: Size) -> list[Figures]:
    """A row per kind and model, and one of learned examples per kind, which says what a perfect model has."""
    rows = []
    for kind in KINDS:
        if kind == "portraits":
            name, config, resolution = "portraits", size.portrait_store, None
            source = archives.portraits(size.portrait_resolutions[-1])
        else:
            name, config, resolution = "shapes-vector", size.shape_vector, size.feature_resolution
            source = archives.shapes(size.table_resolution)
        compared = _Compared(results.functaset(name, source, config), size.draws, resolution)
        settings = {"config": to_dict(config), "draws": size.draws, "told": "samples, others"}
        space = functools.cache(lambda kind=kind: feature_space(results, kind, archives, size))
        for model, generate in MODELS.items():
            measured = functools.partial(_samples, results, compared, kind, model, generate, space)
            rows.append({"kind": kind, "model": model} | results.cell(f"samples-{kind}-{model}", settings, measured))
        found = results.cell(f"samples-{kind}-learned", settings, lambda c=compared, s=space: c.learned(s()[0]))
        rows.append({"kind": kind, "model": "learned examples", **found, "feature_accuracy": space()[1]["accuracy"]})
    return rows


class _Compared:
    """A functaset, and the parts of it that samples are compared with."""

    def __init__(self, functaset: Functaset, draws: int, resolution: int | None) -> None:
        self.functaset, self.draws, self._resolution = functaset, draws, resolution
        self.learned_places, self.reserved_places, self.held_out_places = parts_of(functaset)
        self.normalization = Normalization.of_split(functaset, "train")
        parts = (self.learned_places, self.reserved_places, self.held_out_places)
        self.learned_rows, self.reserved, self.held_out = (
            rows_of(functaset, part, self.normalization) for part in parts
        )

    def figures(self, rows: np.ndarray) -> Figures:
        """Two-sample accuracies of `draws` sets of samples, and how near these are to what was learned."""
        found: Figures = {}
        for name, others in {"reserved": self.reserved, "held_out": self.held_out}.items():
            sets = np.array_split(rows, self.draws)
            counts = [min(len(part), len(others)) for part in sets]
            told = np.array([told_apart(part[:n], others[:n]) for part, n in zip(sets, counts, strict=True)])
            deviation = float(np.std(told.mean(axis=1), ddof=1)) if self.draws > 1 else None
            found |= {name: float(np.mean(told)), f"{name}_deviation": deviation, f"{name}_count": counts[0]}
            found |= {f"{name}_of_samples": float(told[:, 0].mean()), f"{name}_of_others": float(told[:, 1].mean())}
        new = novelty(rows, self.reserved, self.learned_rows)
        return found | {
            "samples": len(rows),
            "memorised": new.memorised,
            "nearest": new.distance,
            "usual_nearest": new.usual_distance,
        }

    def decoded(self, modulations: np.ndarray, featurize: Featurize) -> np.ndarray:
        """Features of modulations as they are stored."""
        parts = np.array_split(modulations, -(-len(modulations) // DECODED_AT_ONCE))
        decode = self.functaset.decode_modulations
        return np.concatenate([featurize(decode(part, self._resolution)) for part in parts])

    def distance(self, modulations: np.ndarray, featurize: Featurize) -> float:
        """Fréchet distance of one set, the first one, to the reserved examples, decoded, too."""
        others = self.functaset.modulations[np.sort(self.reserved_places)]
        return frechet_distance(*(self.decoded(rows, featurize) for rows in (modulations[: len(others)], others)))

    def learned(self, featurize: Featurize) -> Figures:
        """Figures of learned examples, as many in a set as there are reserved ones."""
        places = np.random.default_rng(1).permutation(self.learned_places)[: self.draws * len(self.reserved)]
        found = self.figures(rows_of(self.functaset, places, self.normalization))
        found |= {"memorised": None, "nearest": None}  # they are what is learned
        return found | {"frechet": self.distance(self.functaset.modulations[:][places], featurize)}


def _samples(
    results: Results,
    compared: _Compared,
    kind: str,
    model: str,
    generate: Generate,
    space: Callable[[], tuple[Featurize, Figures]],
) -> Figures:
    """Train a model on nine tenths of the training split, and compare its samples with the last one."""
    functaset, normalization = compared.functaset, compared.normalization
    count = compared.draws * len(compared.reserved)
    samples = np.asarray(generate(functaset, compared.learned_places, normalization, count).samples)
    modulations = normalization.invert(samples)
    with replacing(results.folder / "stores" / f"samples-{kind}-{model}.npy") as part:
        np.save(part, modulations)
    _draw(results, compared, f"samples-{kind}-{model}", samples, modulations)
    return compared.figures(flat(samples)) | {"frechet": compared.distance(modulations, space()[0])}


def _draw(results: Results, compared: _Compared, name: str, samples: np.ndarray, modulations: np.ndarray) -> None:
    """A sheet of the first samples, each beside the learned example that is nearest to it."""
    functaset = compared.functaset
    distances = np.linalg.norm(flat(samples)[:SHOWN, None] - compared.learned_rows, axis=2)
    nearest = compared.learned_places[distances.argmin(axis=1)]
    store = results.folder / "stores" / f"{name}.functa"
    if store.exists():  # of a run that was interrupted before its cell was kept
        shutil.rmtree(store)
    functaset.derive(store, modulations[:SHOWN], split="test")
    columns = {
        "sample": functa_store.pictures(functa_store.open(store), slice(None)),
        "nearest learned": functa_store.pictures(functaset, [int(place) for place in nearest]),
    }
    sheet = functa_store.comparison_sheet({title: enlarged(pictures) for title, pictures in columns.items()})
    sheet.save(results.picture(name))


def render(results: Results, rows: list[Figures]) -> str:
    """The table and the pictures in Markdown."""
    lines = []
    for row in rows:
        told = [_told(row, part) for part in ("reserved", "held_out")]
        memorised = "" if row["memorised"] is None else f"{row['memorised']} of {row['samples']}"
        lines.append(
            (row["kind"], row["model"], *told, memorised, row["nearest"], row["usual_nearest"], row["frechet"])
        )
    headings = ("kind", "samples of", "told from reserved", "told from held-out", "memorised",
                "distance to the nearest learned", "of reserved ones", "Fréchet distance")  # fmt: skip
    spaces = [f"Features of {row['kind']}: {_SPACES[row['kind']]}, which tells "
              f"{100 * row['feature_accuracy']:.1f} % of its held-out classes.\n" for row in rows
              if "feature_accuracy" in row]  # fmt: skip
    names = [(row["kind"], row["model"]) for row in rows if row["model"] in MODELS]
    pictures = [f"![Samples of {kind} by {model}, each beside the nearest learned example]"
                f"({results.relative(results.picture(f'samples-{kind}-{model}'))})\n"
                for kind, model in names]  # fmt: skip
    return "\n".join((report.table(headings, lines), *spaces, *pictures))


def _told(row: Figures, part: str) -> str:
    spread = "" if row[f"{part}_deviation"] is None else f" ± {100 * row[f'{part}_deviation']:.1f}"
    halves = (row[f"{part}_of_samples"], row[f"{part}_of_others"])
    return f"{100 * row[part]:.1f} %{spread} ({', '.join(f'{100 * half:.0f} %' for half in halves)})"
