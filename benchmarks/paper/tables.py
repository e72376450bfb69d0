"""Tables 2 and 6: classes of shapes told by MLPs on functa, and by 3-D convolutional networks on the arrays."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import nn

from benchmarks import report
from benchmarks.paper.archives import Archives
from benchmarks.paper.classifiers import ConvNet, Inputs, mlp, train
from benchmarks.paper.results import Figures, Results
from benchmarks.paper.sizes import Size
from examples.command import MLP_WIDTHS, Options, class_numbers
from functa_store.config import ConvertConfig, to_dict
from functa_store.decode.functaset import Functaset
from functa_store.loaders import Normalization
from functa_store.scoring.decoded import principal_components
from functa_store.sources.source import Source
from functa_store.support.atomic_output import replacing

NEEDS = frozenset({"shapes"})

TIMES = 6
"""A convolutional network has so many times the parameters of the MLP that it is beside."""

VALIDATED = "mlp-medium"
"""The size of the MLP, or that the network is beside, at which options are chosen."""

STEMS = {
    "four at a time": ((4, 4), (3, 2), (3, 2), (3, 2)),
    "five, every second": ((5, 2), (3, 2), (3, 2), (3, 2)),
}
"""Kernels and strides of networks on arrays: what the first convolution looks at."""

STEM_TIMES = 5
"""Networks on arrays are compared after so many times the CPU seconds of an MLP."""

ON_CELLS = ((3, 2), (3, 1))
"""Kernels and strides of networks on modulation grids."""

SCALES = ("each number", "all together")
"""What is scaled to deviation 1 of a vector before an MLP sees it."""

GRID_MODELS = ("MLP", "convolutions")

Make = Callable[[int], nn.Module]
"""A classifier with the weights of a seed."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """What one line of the table trains."""

    what: str
    beside: str
    inputs: Inputs
    make: Make
    epochs: float
    seeds: int
    seconds: float | None = None


def measure(results: Results, archives: Archives, size: Size) -> Figures:
    """Rows of the tables, and what was chosen how on a fifth of the training split."""
    seen = _seen(results, archives, size)
    runs, rows = _Runs(results), []
    ways = _chosen(runs, seen, size)
    for model in MLP_WIDTHS:
        few = model in size.few_sizes
        lines = {
            "functa": ("MLP on functa", *_mlps(_scaled(seen["functa"], ways["functa"]), model)),
            "pca": (f"MLP on PCA-{seen['pca'].values.shape[1]}", *_mlps(_scaled(seen["pca"], ways["pca"]), model)),
        }
        if few:
            lines["grid"] = (f"{ways['grid']} on a grid of functa", *_on_cells(seen["grid"], ways["grid"], model))
        for key, (what, inputs, make) in lines.items():
            rows.append(runs.row(f"{key}-{model}", _Row(what, model, inputs, make, size.epochs, size.seeds)))
        seconds = next(row["train_seconds"] for row in rows if row["key"] == f"functa-{model}")
        inputs, make = _on_arrays(seen["arrays"], STEMS[ways["arrays"]], model)
        equal = _Row("3-D CNN on arrays, equal CPU seconds", model, inputs, make, size.cnn_epochs, size.seeds, seconds)
        rows.append(runs.row(f"cnn-equal-{model}", equal))
        if few:
            full = _Row("3-D CNN on arrays", model, inputs, make, size.cnn_epochs, size.cnn_seeds)
            rows.append(runs.row(f"cnn-{model}", full))
    return {"rows": rows, "choices": runs.choices, "most_frequent": _most_frequent(seen["functa"])}


def _seen(results: Results, archives: Archives, size: Size) -> dict[str, Inputs]:
    """What classifiers see: modulations of both functasets, principal components as many, and the arrays."""
    source = archives.shapes(size.table_resolution)
    vector = _of_functaset(results.functaset("shapes-vector", source, size.shape_vector), size.shape_vector)
    numbers = vector.values[0].size
    components = _components(results, source, numbers)
    return {
        "functa": dataclasses.replace(vector, values=vector.values.reshape(-1, numbers)),
        "grid": _of_functaset(results.functaset("shapes-grid", source, size.shape_grid), size.shape_grid),
        "pca": dataclasses.replace(vector, values=components, settings={"components": numbers}),
        "arrays": dataclasses.replace(vector, values=_occupied(source), settings={}),
    }


def _chosen(runs: "_Runs", seen: Mapping[str, Inputs], size: Size) -> dict[str, str]:
    """Scales of vectors, the model of grids, and the first convolution on arrays."""
    ways = {}
    for name in ("functa", "pca"):
        scales = {scale: _mlps(_scaled(seen[name], scale), VALIDATED) for scale in SCALES}
        ways[name] = runs.chosen(f"{name}-scale", scales, size.epochs)
    models = {name: _on_cells(seen["grid"], name, VALIDATED) for name in GRID_MODELS}
    ways["grid"] = runs.chosen("grid-model", models, size.epochs)
    stems = {name: _on_arrays(seen["arrays"], stem, VALIDATED) for name, stem in STEMS.items()}
    seconds = STEM_TIMES * runs.best_seconds("functa-scale")
    ways["arrays"] = runs.chosen("cnn-stem", stems, size.cnn_epochs, seconds=seconds)
    return ways


class _Runs:
    """Trainings as cells of the results."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.choices: dict[str, dict[str, Figures]] = {}

    def chosen(
        self, name: str, ways: Mapping[str, tuple[Inputs, Make]], epochs: float, seconds: float | None = None
    ) -> str:
        """The way that tells most of a fifth of the training split."""
        found = {}
        for way, (inputs, make) in ways.items():
            row = _Row(way, VALIDATED, inputs.validated(), make, epochs, 1, seconds)
            found[way] = self._trained(f"validate-{name}-{way.replace(' ', '-').replace(',', '')}", row, 0)
        self.choices[name] = found
        return max(found, key=lambda way: found[way]["accuracy"])

    def best_seconds(self, name: str) -> float:
        """CPU seconds of the longest training among some ways."""
        return max(figures["train_seconds"] for figures in self.choices[name].values())

    def row(self, key: str, row: _Row) -> Figures:
        """Mean and deviation over seeds."""
        found = [self._trained(f"table-{key}-{seed}", row, seed) for seed in range(row.seeds)]
        accuracies = [figures["accuracy"] for figures in found]
        return {
            "key": key,
            "what": row.what,
            "beside": row.beside,
            "parameters": found[0]["parameters"],
            "accuracy": float(np.mean(accuracies)),
            "deviation": float(np.std(accuracies, ddof=1)) if row.seeds > 1 else None,
            "seeds": row.seeds,
            "epochs": float(np.mean([figures["epochs"] for figures in found])),
            "train_seconds": float(np.mean([figures["train_seconds"] for figures in found])),
        }

    def _trained(self, name: str, row: _Row, seed: int) -> Figures:
        def run() -> Figures:
            options = Options(model=row.beside, seed=seed)
            return train(row.make(seed), row.inputs, options, epochs=row.epochs, seconds=row.seconds)

        lasting = {"epochs": row.epochs, "equal_seconds": row.seconds is not None}
        return self._results.cell(name, {**row.inputs.settings, **lasting, "what": row.what}, run)


def _mlps(inputs: Inputs, model: str) -> tuple[Inputs, Make]:
    return inputs, _seeded(lambda: mlp(inputs.values.shape[1], inputs.num_classes, Options(model=model)))


def _on_cells(cells: Inputs, name: str, model: str) -> tuple[Inputs, Make]:
    """Classifiers of a grid of modulations, (examples, *cells, numbers of a cell)."""
    if name == "MLP":
        return _mlps(dataclasses.replace(cells, values=cells.values.reshape(len(cells.values), -1)), model)
    first = dataclasses.replace(cells, values=np.moveaxis(cells.values, -1, 1))
    like = parameters(lambda: mlp(int(np.prod(cells.values.shape[1:])), cells.num_classes, Options(model=model)))
    return first, _seeded(lambda: _conv(first, ON_CELLS, like))


def _on_arrays(arrays: Inputs, stem: tuple[tuple[int, int], ...], model: str) -> tuple[Inputs, Make]:
    numbers = 256 if arrays.values[0].size > 256 else arrays.values[0].size
    like = TIMES * parameters(lambda: mlp(numbers, arrays.num_classes, Options(model=model)))
    return arrays, _seeded(lambda: _conv(arrays, stem, like))


def _conv(inputs: Inputs, layers: tuple[tuple[int, int], ...], like: int) -> ConvNet:
    """A convolutional network of about as many parameters."""
    channels, axes = inputs.values.shape[1], inputs.values.ndim - 2

    def of_width(width: int) -> ConvNet:
        return ConvNet(channels, axes, width, layers, inputs.num_classes, Options.dropout)

    width = min(range(8, 129, 2), key=lambda width: abs(parameters(lambda: of_width(width)) - like))
    return of_width(width)


def parameters(make: Callable[[], nn.Module]) -> int:
    """Numbers that a network learns, without memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


def _seeded(make: Callable[[], nn.Module]) -> Make:
    def seeded(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return make()

    return seeded


def _of_functaset(functaset: Functaset, config: ConvertConfig) -> Inputs:
    split = functaset.split[:]
    return Inputs(
        values=Normalization.of_split(functaset, "train").apply(functaset.modulations[:]),
        classes=class_numbers(functaset, "class"),
        train=np.flatnonzero(split == "train"),
        held_out=np.flatnonzero(split == "test"),
        settings={"functaset": to_dict(config)},
    )


def _scaled(inputs: Inputs, scale: str) -> Inputs:
    axis = 0 if scale == SCALES[0] else None
    seen = inputs.values[inputs.train]
    values = (inputs.values - seen.mean(axis=0)) / np.maximum(seen.std(axis=axis), 1e-12)
    settings = {**inputs.settings, "scaled": scale}
    return dataclasses.replace(inputs, values=values.astype(np.float32), settings=settings)


def _occupied(source: Source) -> np.ndarray:
    """Which cells of all shapes are occupied, as bytes, (examples, 1, *resolution)."""
    features = source.features
    occupied = np.empty((len(source.ids), 1, *source.domain.resolution), np.uint8)
    for row in range(len(occupied)):
        occupied[row, 0] = source.read(row)[..., 0] * features.scale + features.offset > 0.5
    return occupied


def _components(results: Results, source: Source, numbers: int) -> np.ndarray:
    """Principal components of the training arrays, kept beside the functasets."""
    path = results.folder / "stores" / f"shapes-pca-{numbers}.npy"
    if not path.exists():
        arrays = _occupied(source).astype(np.float32)
        train = source.split == "train"
        found = np.empty((len(arrays), numbers), np.float32)
        found[train], found[~train] = principal_components(arrays[train], arrays[~train], numbers)
        with replacing(path) as part:
            np.save(part, found)
    return np.load(path)


def _most_frequent(inputs: Inputs) -> float:
    most = np.bincount(inputs.classes[inputs.train]).argmax()
    return float(np.mean(inputs.classes[inputs.held_out] == most))


def differences(rows: list[Figures]) -> Iterator[Figures]:
    """By size, how many points the MLP on functa is above each of the others."""
    for model in MLP_WIDTHS:
        of_size = {row["key"].removesuffix(f"-{model}"): row["accuracy"] for row in rows if row["beside"] == model}
        yield {"beside": model} | {key: 100 * (of_size["functa"] - other) for key, other in of_size.items()}


def render(_: Results, found: Figures) -> str:
    """The tables in Markdown."""
    headings = ("what", "beside", "parameters", "held-out accuracy", "deviation", "seeds", "epochs", "CPU seconds")
    lines = [(row["what"], row["beside"], row["parameters"], _percent(row["accuracy"]), _percent(row["deviation"]),
              row["seeds"], row["epochs"], row["train_seconds"]) for row in found["rows"]]  # fmt: skip
    above = [[line["beside"], *(f"{line[key]:+.1f}" if key in line else "" for key in
             ("cnn", "cnn-equal", "pca", "grid"))] for line in differences(found["rows"])]  # fmt: skip
    chosen = [(name, way, _percent(figures["accuracy"]), figures["parameters"], figures["train_seconds"])
              for name, ways in found["choices"].items() for way, figures in ways.items()]  # fmt: skip
    against = ("size", "3-D CNN", "3-D CNN, equal CPU seconds", "PCA", "grid of functa")
    return "\n".join(
        (
            report.table(headings, lines),
            f"Most frequent class: {_percent(found['most_frequent'])}.\n",
            "Points by which the MLP on functa is above\n",
            report.table(against, above),
            "Chosen by a fifth of the training split, one seed:\n",
            report.table(("choice", "way", "accuracy", "parameters", "CPU seconds"), chosen),
        )
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
