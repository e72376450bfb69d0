"""Converter of text files that hold a curve per line, as numbers in [-1, 1] between commas."""

import hashlib
import pathlib

import numpy as np

from functa_store import ArchiveError, CellGrid, ConvertConfig, FeatureSpec, NetworkConfig, OuterLoopConfig, Reject
from functa_store.plugins import Preset
from functa_store.sources import check_rejects, hold_out_every


class CurveSource:
    """The curves of a file; see `functa_store.Source`."""

    # The network learns raw * scale + offset, in [0, 1]; decoding gives that * value_scale + value_offset.
    features = FeatureSpec(channels=("height",), scale=0.5, offset=0.5, value_scale=(2.0,), value_offset=(-1.0,))
    labels = {}  # noqa: RUF012

    def __init__(self, path, points, limit, max_rejects):
        data, curves, self.rejects = path.read_bytes(), {}, []
        for number, line in enumerate(data.decode(errors="replace").splitlines()[:limit], 1):
            try:
                curve = np.array(line.split(","), np.float32)[:, None]
                if len(curve) != points or not (abs(curve) <= 1).all():
                    raise ValueError(f"has {len(curve)} numbers, expected {points} in [-1, 1]")
                curves[f"line {number}"] = curve
            except ValueError as error:  # named in the store, and converted without it
                self.rejects.append(Reject(member=f"line {number}", reason=str(error)))
        check_rejects(path.name, "lines", self.rejects, len(curves) + len(self.rejects), max_rejects)
        self.domain = CellGrid(axes=("x",), resolution=(points,))
        self.ids, self._curves = list(curves), list(curves.values())
        self.split = hold_out_every(len(curves), 10)
        # With the converter's name and options, `functa repair` and `functa verify --deep` read the file again.
        self.provenance = {"archive": path.name, "sha256": hashlib.sha256(data).hexdigest()}
        self.provenance |= {"converter": "curves", "points": points, "limit": limit}

    def read(self, index):
        """One curve as it stands in the file, shape (points, 1)."""
        return self._curves[index]


class CurvesConverter:
    """What the entry point names; see `functa_store.plugins.Converter`."""

    summary = "a text file with a curve per line, as numbers in [-1, 1] between commas"
    _config = ConvertConfig(
        network=NetworkConfig(width=32, depth=3, w0=10.0, modulation_dim=16), outer=OuterLoopConfig(num_steps=300)
    )
    presets = {"curves-fast": Preset(summary="smooth curves", config=_config, source={"points": 50})}  # noqa: RUF012

    def add_arguments(self, parser):
        """Add the options that only this kind of archive has; None means as the preset says."""
        parser.add_argument("--points", type=int, metavar="N", help="numbers per line")

    def open(self, archive, options, report):
        """The source that the options describe."""
        if not (path := pathlib.Path(archive)).is_file():
            raise ArchiveError(f"{archive}: there is no such file; expected a text file with a curve per line")
        return CurveSource(path, options["points"], options["limit"], options["max_rejects"])


converter = CurvesConverter()
