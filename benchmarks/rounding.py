"""What do fewer bits per number cost, against the images themselves?

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
from functa_store.commands.archives import reopen_archive
from functa_store.decode.decoder import TiledDecoder
from functa_store.metrics import psnr
from functa_store.progress import silent
from functa_store.recoding import measure_loss
from functa_store.sources import Source
from functa_store.store.reader import StoreReader
from functa_store.store.rounding import choose_rounding

BATCH = 64

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


def measure(reader: StoreReader, source: Source, base: dict[str, np.ndarray], rounded: Rounded) -> dict[str, float]:
    """Mean PSNR of every split in decibels, against the source."""
    decoder = TiledDecoder(reader.config.network, base, reader.domain.num_axes, reader.features.num_channels)
    coords, features = reader.domain.coords(), reader.features
    errors = np.zeros(reader.num_examples)
    for start in range(0, reader.num_examples, BATCH):
        rows = slice(start, min(start + BATCH, reader.num_examples))
        decoded = decoder(rounded(reader.modulations[rows]).astype(np.float32), coords)
        for i, example in enumerate(range(rows.start, rows.stop)):
            wanted = source.read(example).reshape(-1, features.num_channels) * features.scale + features.offset
            errors[example] = np.mean((decoded[i] - wanted) ** 2, dtype=np.float64)
    values = psnr(errors, features.span)
    split = np.asarray(reader.split)
    return {str(name): float(values[split == name].mean()) for name in np.unique(split)}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = report.parser(__doc__)
    parser.add_argument("store")
    parser.add_argument("archive", type=pathlib.Path)
    args = parser.parse_args(argv)
    reader = StoreReader(args.store)
    source = reopen_archive(str(args.archive), reader.provenance, [], silent)
    halved = {name: array.astype(np.float16).astype(np.float32) for name, array in reader.base.items()}
    numbers, held_out = reader.config.network.modulation_size, "test"
    rows: list[dict[str, Any]] = []
    for name, (bits, rounded) in kinds(reader).items():
        found = measure(reader, source, reader.base, rounded)
        estimate = None
        if name in ("float16", "int8"):
            low, high = reader.statistics["min"], reader.statistics["max"]
            loss = measure_loss(reader, choose_rounding(name, low, high))
            estimate = None if loss is None else loss.psnr_loss
        rows.append(_row(reader, name, numbers * bits / 8, reader.bytes_base, found, estimate))
    exact = dict(kinds(reader))["float32"][1]
    rows.append(
        _row(
            reader,
            "float32, float16 base",
            4 * numbers,
            reader.bytes_base / 2,
            measure(reader, source, halved, exact),
            None,
        )
    )
    for row in rows:
        row["lost"] = rows[0][held_out] - row[held_out]
    headings = {
        "stored": "stored",
        "bytes": "bytes per example",
        "with_base": "with its share of the base",
        held_out: "held-out PSNR, mean (dB)",
        "lost": "lost (dB)",
        "estimate": "as the store says (dB)",
    }
    report.publish("rounding", {"rows": rows}, report.table_of(_in_words(rows), headings), args.out)


def _row(
    reader: StoreReader, name: str, num_bytes: float, base: float, found: dict[str, float], estimate: float | None
) -> dict[str, Any]:
    with_base = num_bytes + base / reader.num_examples
    return {"stored": name, "bytes": num_bytes, "with_base": with_base, **found, "estimate": estimate}


def _in_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Decibels to as many digits as differ."""
    words = [dict(row) for row in rows]
    for row in words:
        row["bytes"], row["with_base"] = round(row["bytes"]), round(row["with_base"])
        row["test"], row["lost"] = f"{row['test']:.3f}", f"{row['lost']:.4f}"
        row["estimate"] = "" if row["estimate"] is None else f"{row['estimate']:.4f}"
    return words


if __name__ == "__main__":
    main()
