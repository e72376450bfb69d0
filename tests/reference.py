"""The paper's equations in float64 NumPy, written without looking at the library.

functa (Dupont, Kim et al., ICML 2022): SIREN with shift modulations (section 3.1), a linear map from
the latent modulation (section 3.2), and Algorithm 1 with meta-SGD. Gradients are derived by hand.
Spatial Functa (Bauer et al. 2023, section 3): a modulation per cell of a grid, taken by the points inside.
"""

import dataclasses

import numpy as np


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
