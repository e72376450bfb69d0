"""Speed of our sine, against XLA's on this device.

    python -m benchmarks.sine [--elements 65536 16777216] [--out NAME.json]

Every device computes on an array of its own at the same time, again and again: a small one, which a CPU's cache
holds, and a large one, which it does not. Nanoseconds are those of one device per element. The pair is what a
derivative takes. Nets take ours (functa_store.nets.fast_math) whatever the device.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks import report
from benchmarks.timing import interleaved, on_every_device, ratio
from functa_store.learn.devices import use_all_cores
from functa_store.nets import fast_math

ELEMENTS = (2**16, 2**24)
AT_LEAST = 2**25
"""Elements per call, so that a call of a small array is long enough to be timed."""

AMPLITUDE = 30.0
"""Largest angle: what w0 = 30 makes of a sine layer's outputs."""

Function = Callable[[Array], Array]
FUNCTIONS: dict[str, dict[str, Function]] = {
    "sin": {"ours": fast_math.sin, "XLA": jnp.sin},
    "cos": {"ours": fast_math.cos, "XLA": jnp.cos},
    "sin and cos": {"ours": lambda x: fast_math.sin(x) * fast_math.cos(x), "XLA": lambda x: jnp.sin(x) * jnp.cos(x)},
}


def repeated(function: Function, elements: int, repeats: int) -> Callable[[], Array]:
    """A call that applies a function to its own results, scaled to angles, on every device."""
    angles = np.linspace(-AMPLITUDE, AMPLITUDE, elements, dtype=np.float32)

    def chain(x: Array) -> Array:
        return jax.lax.fori_loop(0, repeats, lambda _, y: AMPLITUDE * function(y), x)

    return on_every_device(chain, [angles])


def compare(name: str, elements: int, runs: int) -> dict[str, Any]:
    """Nanoseconds per element of both sides, JSON-ready."""
    repeats = max(1, AT_LEAST // elements)
    times = interleaved({side: repeated(f, elements, repeats) for side, f in FUNCTIONS[name].items()}, runs)
    nanoseconds = {side: 1e9 * t.median / (elements * repeats) for side, t in times.items()}
    return {
        "function": name,
        "elements": elements,
        "first_seconds": {side: t.first for side, t in times.items()},
        "ours_ns": nanoseconds["ours"],
        "xla_ns": nanoseconds["XLA"],
        "speedup": ratio(times["XLA"], times["ours"]),
    }


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    keys = {
        "function": "function",
        "elements": "elements",
        "ours_ns": "ours (ns)",
        "xla_ns": "XLA (ns)",
        "speedup": "ours, times as fast",
    }
    return report.table_of(rows, keys)


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("--elements", nargs="+", type=report.positive, default=list(ELEMENTS), metavar="N")
    args = parser.parse_args(argv)
    use_all_cores()
    rows = [compare(name, elements, args.runs) for name in FUNCTIONS for elements in args.elements]
    report.publish("sine", {"functions": rows}, markdown(rows), args.out)


if __name__ == "__main__":
    main()
