"""The paper's equations, and a reader of functasets, in float64 NumPy, written without looking at the library.

functa (Dupont, Kim et al., ICML 2022): SIREN with shift modulations (section 3.1), a linear map from
the latent modulation (section 3.2), and Algorithm 1 with meta-SGD. Gradients are derived by hand.
Spatial Functa (Bauer et al. 2023, section 3): a modulation per cell of a grid, taken by the points inside.
"""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import zarr


@dataclasses.dataclass
class ReferenceSiren:
    """Weights by layer; `sine` holds (W, b) with W of shape (in, out)."""

    w0: float
    sine: list[tuple[np.ndarray, np.ndarray]]
    last: tuple[np.ndarray, np.ndarray]
    map: tuple[np.ndarray, np.ndarray] | None

    @classmethod
    def from_weights(cls, w0, weights):
        wide = {name: np.asarray(value, np.float64) for name, value in weights.items()}
        depth = sum(name.startswith("sine_") for name in wide) // 2
        pair = lambda name: (wide[f"{name}/kernel"], wide[f"{name}/bias"])  # noqa: E731
        has_map = "map/kernel" in wide
        return cls(w0, [pair(f"sine_{i}") for i in range(depth)], pair("linear"), pair("map") if has_map else None)

    def shifts(self, phi):
        s = phi if self.map is None else phi @ self.map[0] + self.map[1]
        return s.reshape(len(self.sine), -1)

    def activations(self, phi, x):
        """Arguments of the sines, divided by w0, and the hidden values before every layer."""
        hidden, arguments = [x], []
        for (weight, bias), shift in zip(self.sine, self.shifts(phi), strict=True):
            arguments.append(hidden[-1] @ weight + bias + shift)
            hidden.append(np.sin(self.w0 * arguments[-1]))
        return arguments, hidden

    def __call__(self, phi, x):
        return self.activations(phi, x)[1][-1] @ self.last[0] + self.last[1] + 0.5

    def loss(self, phi, x, y):
        return np.mean((self(phi, x) - y) ** 2)

    def gradient(self, phi, x, y, weights=1.0):
        """d loss / d phi by backpropagation through the layers, where each point counts by its weight."""
        arguments, hidden = self.activations(phi, x)
        prediction = hidden[-1] @ self.last[0] + self.last[1] + 0.5
        back = (2 / y.size) * (np.broadcast_to(weights, len(y))[:, None] * (prediction - y)) @ self.last[0].T
        by_layer = []
        for (weight, _), argument in zip(self.sine[::-1], arguments[::-1], strict=True):
            back = back * self.w0 * np.cos(self.w0 * argument)
            by_layer.append(back.sum(axis=0))
            back = back @ weight.T
        shifts = np.concatenate(by_layer[::-1])
        return shifts if self.map is None else self.map[0] @ shifts

    def inner_loop(self, rates, xs, ys):
        """One meta-SGD step per row of `rates`, each on points of its own."""
        phi = np.zeros(rates.shape[1])
        for rate, x, y in zip(np.asarray(rates, np.float64), xs, ys, strict=True):
            phi = phi - rate * self.gradient(phi, x, y)
        return phi


@dataclasses.dataclass
class ReferenceSpatial:
    """A SIREN whose modulation is a grid (*cells, channels): each cell's points, alone, are its whole domain."""

    siren: ReferenceSiren
    grid: tuple[int, ...]

    def cells(self, x):
        """Every cell's index, the rows of x inside it, and their coordinates from 0 to 1 across it."""
        for cell in np.ndindex(self.grid):
            lower, width = np.array(cell) / self.grid, 1 / np.array(self.grid)
            rows = np.flatnonzero(np.all((x >= lower) & (x < lower + width), axis=1))
            yield cell, rows, (x[rows] - lower) / width

    def __call__(self, phi, x):
        found = np.full((len(x), len(self.siren.last[1])), np.nan)
        for cell, rows, local in self.cells(x):
            found[rows] = self.siren(phi[cell], local)
        return found

    def loss(self, phi, x, y):
        return np.mean((self(phi, x) - y) ** 2)

    def inner_loop(self, rates, x, y):
        """One meta-SGD step per row of rates, which all cells share, scaled by their number."""
        phi = np.zeros((*self.grid, rates.shape[1]))
        for rate in np.asarray(rates, np.float64):
            step = np.zeros_like(phi)
            for cell, rows, local in self.cells(x):
                share = len(rows) / len(x)  # of the mean over all points
                step[cell] = rate * np.prod(self.grid) * share * self.siren.gradient(phi[cell], local, y[rows])
            phi = phi - step
        return phi


# --- A reader of stores, as docs/explanation/format.md describes them --------------------------------------------


class FormatReader:
    """A functaset read with zarr and NumPy alone: any format version, any kind of domain, vectors and grids."""

    def __init__(self, path):
        self.path = Path(path)
        self.about = json.loads((self.path / "zarr.json").read_text())["attributes"]["functa"]
        self.domain, self.network = self.about["domain"], self.about["config"]["network"]
        names = [name for name in self.about["base"] if not name.startswith("inner_loop/")]
        self.base = {name: self.array(f"base/{name}") for name in names}

    def array(self, name):
        return np.asarray(zarr.open_array(self.path / name, mode="r")[...], np.float64)

    def augmentations(self):
        """By "of", "flip", "top", "left" and "side" one number per example; None if none is an augmentation."""
        if not (self.path / "augmentation_of").exists():
            return None
        found = {name: self.array(f"augmentation_{name}") for name in ("of", "flip", "top", "left", "side")}
        return found | {"of": found["of"].astype(int), "flip": found["flip"].astype(bool)}

    def modulations(self):
        """Shape (example, modulation) or (example, *cells, channel)."""
        stored = self.array("modulations")
        if self.about["config"].get("modulation_dtype") != "int8":
            return stored
        return self.array("scale") * stored + self.array("offset")

    def decode(self, positions=None):
        """Values of every example at positions, which default to those of the native grid; unclipped."""
        positions = native_positions(self.domain) if positions is None else np.asarray(positions, np.float64)
        found = np.stack(
            [features_at(self.domain, self.network, self.base, phi, positions) for phi in self.modulations()]
        )
        found[:, is_masked(self.domain, positions)] = np.nan
        features = self.about["features"]
        return found * features.get("value_scale", 1) + features.get("value_offset", 0)


def native_positions(domain):
    """Shape (*resolution, axes)."""
    if domain.get("kind") == "sphere":
        axes = [domain["latitudes"], domain["longitudes"]]
    else:
        axes = [(np.arange(n) + 0.5) / n for n in domain["resolution"]]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def is_masked(domain, positions):
    """Whether the native point nearest to each position is masked."""
    if not domain.get("mask"):
        return np.zeros(positions.shape[:-1], bool)
    latitudes, longitudes = np.array(domain["latitudes"]), np.array(domain["longitudes"])
    runs = [int(length) for length in domain["mask"].split()]
    masked = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(len(latitudes), len(longitudes))
    row = np.abs(positions[..., 0, None] - latitudes).argmin(axis=-1)
    column = np.abs((positions[..., 1, None] - longitudes + 180) % 360 - 180).argmin(axis=-1)
    return masked[row, column]


def features_at(domain, network, base, modulation, positions):
    """What the function that a modulation stands for has at positions, (*points, axes) -> (*points, channels)."""
    if network.get("modulation_grid") is None:
        shifts = modulation if network["modulation"] == "shift" else linear(base, "map", modulation)
        numbers = network_at(network, base, inputs_of(domain, positions), shifts)
    else:
        numbers = of_cells(domain, network, base, modulation, positions)
    if network.get("head", "linear") == "linear":
        return numbers + 0.5
    density = np.where(numbers > 0, numbers, 0.1 * (np.exp(np.minimum(numbers, 0)) - 1)) + 0.1
    return np.concatenate([numbers[..., :3] + 0.5, np.clip(density[..., 3:], 0, 10)], axis=-1)


def linear(base, name, hidden):
    return hidden @ base[f"{name}/kernel"] + base[f"{name}/bias"]


def network_at(network, base, inputs, shifts):
    """Numbers of the last layer; shifts are the same at all points, or (*points, shifts)."""
    hidden, width = inputs, network["width"]
    for layer in range(network["depth"] - 1):
        shift = shifts[..., layer * width : (layer + 1) * width]
        hidden = np.sin(network["w0"] * (linear(base, f"sine_{layer}", hidden) + shift))
    return linear(base, "linear", hidden)


def inputs_of(domain, positions):
    """What the network takes where a modulation is one vector."""
    if domain.get("kind") != "sphere":
        return positions
    lat, lon = np.moveaxis(np.radians(positions), -1, 0)
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    return (points - domain["centre"]) / domain["radius"]


def of_cells(domain, network, base, grid, positions):
    """Numbers of the last layer where a modulation is a grid (*cells, channel)."""
    fractions, closes = fractions_of(domain, positions)
    shifts = linear(base, "map", map_inputs(grid, network["map_kernel"], closes))
    places = [
        places_along(t, count, network["lookup"], wraps)
        for t, count, wraps in zip(
            np.moveaxis(fractions * grid.shape[:-1], -1, 0), grid.shape[:-1], closes, strict=True
        )
    ]
    total = 0
    for chosen in itertools.product(*places):
        cells, local, weights = zip(*chosen, strict=True)
        weight = np.prod(weights, axis=0)
        numbers = network_at(network, base, np.stack(local, axis=-1), shifts[cells])
        total = total + weight[..., None] * numbers
    return total


def places_along(t, count, lookup, wraps):
    """Candidates along an axis: (cell, coordinate local to it, weight) of each point."""
    if lookup == "nearest":
        cell = np.clip(np.floor(t), 0, count - 1).astype(int)
        return [(cell, t - cell, np.ones_like(t))]
    lower = np.floor(t - 0.5)
    upper, upper_weight = lower + 1, t - 0.5 - lower
    if not wraps:  # what is beyond the grid counts nothing, and the other one everything
        upper_weight = np.where(lower < 0, 1.0, np.where(upper > count - 1, 0.0, upper_weight))
        lower, upper = np.clip(lower, 0, count - 1), np.clip(upper, 0, count - 1)
    candidates = ((lower, 1 - upper_weight), (upper, upper_weight))
    return [(cell.astype(int) % count, t - cell, weight) for cell, weight in candidates]


def map_inputs(grid, kernel, closes):
    """What the map takes for each cell: its numbers, or those of its neighbours and itself one after the other."""
    if kernel == 1:
        return grid
    for axis, wraps in enumerate(closes):
        width = [(int(axis == i),) * 2 for i in range(grid.ndim)]
        grid = np.pad(grid, width, mode="wrap" if wraps else "constant")
    sizes = [n - 2 for n in grid.shape[:-1]]
    offsets = itertools.product(range(3), repeat=len(sizes))
    windows = [tuple(slice(o, o + n) for o, n in zip(offset, sizes, strict=True)) for offset in offsets]
    return np.concatenate([grid[window] for window in windows], axis=-1)


def fractions_of(domain, positions):
    """How far along each axis of the domain positions lie, and which axes close."""
    if domain.get("kind") != "sphere":
        return positions, (False,) * positions.shape[-1]
    (south, north), (west, east), is_round = covered_by(domain)
    latitude = (positions[..., 0] - south) / (north - south)
    longitude = 0.5 + ((positions[..., 1] - (west + east) / 2 + 180) % 360 - 180) / (east - west)
    return np.stack([latitude, longitude], axis=-1), (False, is_round)


def covered_by(domain):
    """(south, north), (west, east), and whether the grid goes round the globe."""
    latitudes, longitudes = np.sort(domain["latitudes"]), np.sort(domain["longitudes"])
    gap = 360 - (longitudes[-1] - longitudes[0])
    is_round = gap <= 1.1 * np.diff(longitudes).max()
    first, last = longitudes[1] - longitudes[0], longitudes[-1] - longitudes[-2]
    west, east = longitudes[0] - first / 2, longitudes[-1] + last / 2
    if is_round:
        middle = (longitudes[0] + longitudes[-1]) / 2
        west, east = middle - 180, middle + 180
    ends = []
    for outermost, inner in ((latitudes[0], latitudes[1]), (latitudes[-1], latitudes[-2])):
        step = outermost - inner
        pole = np.copysign(90, step)
        to_pole = is_round and abs(pole - outermost) <= 1.1 * abs(step)
        ends.append(pole if to_pole else np.clip(outermost + step / 2, -90, 90))
    return tuple(ends), (west, east), is_round
