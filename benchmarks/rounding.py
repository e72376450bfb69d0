"""Cost of fewer bits per number, against the images themselves.

    python -m benchmarks.rounding STORE.functa ARCHIVE [--out NAME.json]

STORE is a functaset in float32. Every example is decoded from its modulation in each data type, and compared with its
image; "6 bits" and "4 bits" are what packed integers would give. "float16 base" rounds the base weights of a
finished functaset, which is worse than fitting with rounded weights, as `functa convert --base-dtype` does.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import report
from functa_store.conversion.recode import measure_loss
from functa_store.decode.tiled_decoder import TiledDecoder
from functa_store.metrics import psnr
from functa_store.reopen import reopen_archive
from functa_store.sources.source import Source
from functa_store.store.format.quantization import choose_rounding
from functa_store.store.reading.reader import StoreReader

BATCH = 64
BAND = (25, 30)
"""Decibels at which the loss is given apart."""

HALF_BASE = "float32, float16 base"

Rounded = Callable[[np.ndarray], np.ndarray]


def steps_of(low: np.ndarray, high: np.ndarray, bits: int) -> Rounded:
    """Rounds every dimension to 2**bits evenly spaced values between its ends."""
    scale = np.maximum((high - low) / (2**bits - 1), np.finfo(np.float32).tiny)
    return lambda values: low + scale * np.rint((values - low) / scale)


def kinds(reader: StoreReader) -> dict[str, tuple[float, Rounded]]:
    """Bits of a stored number, and what becomes of modulations, by name."""
    low, high = reader.statistics["min"], reader.statistics["max"]
    stored = {name: choose_rounding(name, low, high) for name in ("float32", "float16", "int8")}
    found: dict[str, tuple[float, Rounded]] = {
        name: (8.0 * rounding.stored.itemsize, lambda values, r=rounding: r.to_values(r.to_stored(values)))
        for name, rounding in stored.items()
    }
    return found | {f"{bits} bits": (float(bits), steps_of(low, high, bits)) for bits in (6, 4)}


def measure(reader: StoreReader, source: Source, base: dict[str, np.ndarray], rounded: Rounded) -> np.ndarray:
    """PSNR of every example in decibels, against the source."""
    decoder = TiledDecoder(reader.spec.config.network, base, reader.spec.domain, reader.spec.features.num_channels)
    coords, features = reader.spec.domain.coords(), reader.spec.features
    errors = np.zeros(reader.num_examples)
    for start in range(0, reader.num_examples, BATCH):
        rows = slice(start, min(start + BATCH, reader.num_examples))
        decoded = decoder(rounded(reader.modulations[rows]).astype(np.float32), coords)
        for i, example in enumerate(range(rows.start, rows.stop)):
            wanted = source.read(example).reshape(-1, features.num_channels) * features.scale + features.offset
            errors[example] = np.mean((decoded[i] - wanted) ** 2, dtype=np.float64)
    return psnr(errors, features.span)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("store")
    parser.add_argument("archive", type=pathlib.Path)
    args = parser.parse_args(argv)
    reader = StoreReader(args.store)
    source = reopen_archive(reader, args.archive)
    halved = {name: array.astype(np.float16).astype(np.float32) for name, array in reader.base.items()}
    found = {name: measure(reader, source, reader.base, rounded) for name, (_, rounded) in kinds(reader).items()}
    found[HALF_BASE] = measure(reader, source, halved, lambda values: values)
    good = (found["float32"] >= BAND[0]) & (found["float32"] <= BAND[1])
    groups = {"held out": np.asarray(reader.split) == "test", f"{BAND[0]} to {BAND[1]} dB": good}
    rows = [_row(reader, name, values, found["float32"], groups) for name, values in found.items()]
    counts = ", ".join(f"{name}: {int(group.sum()):,}" for name, group in groups.items())
    headings = {
        "stored": "stored",
        "bytes": "bytes per example",
        "with_base": "with its share of the base",
        "psnr": "held-out PSNR, mean (dB)",
        **{name: f"lost, {name} (dB)" for name in groups},
        "estimate": "as the store says (dB)",
    }
    markdown = report.table_of(map(_in_words, rows), headings) + f"\nExamples, {counts}.\n"
    report.publish(
        "rounding", {"rows": rows, "examples": {n: int(g.sum()) for n, g in groups.items()}}, markdown, args.out
    )


def _row(
    reader: StoreReader, name: str, psnrs: np.ndarray, exact: np.ndarray, groups: dict[str, np.ndarray]
) -> dict[str, Any]:
    bits = 32.0 if name == HALF_BASE else kinds(reader)[name][0]
    num_bytes = reader.spec.config.network.modulation_size * bits / 8
    base = reader.bytes_base / (2 if name == HALF_BASE else 1)
    estimate = None
    if name in ("float16", "int8"):
        loss = measure_loss(reader, choose_rounding(name, reader.statistics["min"], reader.statistics["max"]))
        estimate = None if loss is None else loss.psnr_loss
    return {
        "stored": name,
        "bytes": num_bytes,
        "with_base": num_bytes + base / reader.num_examples,
        "psnr": float(psnrs[groups["held out"]].mean()),
        **{key: float((exact - psnrs)[group].mean()) if group.any() else None for key, group in groups.items()},
        "estimate": estimate,
    }


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    """Decibels to as many digits as differ."""
    words = {
        key: "" if value is None else value if isinstance(value, str) else f"{value:.4f}" for key, value in row.items()
    }
    return words | {key: round(row[key]) for key in ("bytes", "with_base")} | {"psnr": f"{row['psnr']:.3f}"}


if __name__ == "__main__":
    main()
