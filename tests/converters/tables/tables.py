"""Parquet files as on the hub, made by pyarrow alone."""

import io
import json
import wave

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ["cat", "dog"]
IMAGE = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}
BYTES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pictures(count, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def wav(samples, rate=8000):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def files(contents, suffix="png"):
    """A column as `datasets` writes images and sounds."""
    return pa.array(
        [None if c is None else {"bytes": c, "path": f"{k}.{suffix}"} for k, c in enumerate(contents)], BYTES
    )


def write(path, columns, features=None, **options):
    """A Parquet file, with features in its metadata as `datasets` writes them."""
    table = pa.table(columns)
    if features is not None:
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def split(path, pixels, labels=None, features=IMAGE, **options):
    """A Parquet file of images and classes."""
    labels = [k % 2 for k in range(len(pixels))] if labels is None else labels
    return write(path, {"image": files(map(png, pixels)), "label": pa.array(labels, pa.int64())}, features, **options)
