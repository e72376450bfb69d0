"""How is a text file converted that holds a curve per line, as numbers in [-1, 1] between commas?"""

import hashlib
import pathlib

import numpy as np

from functa_store import CellGrid, ConvertConfig, FeatureSpec, NetworkConfig, OuterLoopConfig, Reject
from functa_store.errors import TooManyRejectsError
from functa_store.plugins import Preset
from functa_store.sources import hold_out_every


class CurveSource:
    """The curves of a file; see `functa_store.Source`."""

    def __init__(self, path, points, limit, max_rejects):
        data, self.ids, self.rejects, self.labels, self._curves = pathlib.Path(path).read_bytes(), [], [], {}, []
        for number, line in enumerate(data.decode().splitlines()[:limit], 1):
            try:
                curve = np.array(line.split(","), np.float32)
                if len(curve) != points or not (abs(curve) <= 1).all():
                    raise ValueError(f"has {len(curve)} numbers, expected {points} in [-1, 1]")
            except ValueError as error:  # named in the store, and converted without it
                self.rejects.append(Reject(member=f"line {number}", reason=str(error)))
            else:
                self.ids.append(f"line {number}")
                self._curves.append(curve[:, None])
        if len(self.rejects) > max_rejects * (len(self.ids) + len(self.rejects)):
            raise TooManyRejectsError(f"{path}: {len(self.rejects)} lines are no curve, such as {self.rejects[0]}")
        self.split = hold_out_every(len(self.ids), 10)
        self.domain = CellGrid(axes=("x",), resolution=(points,))
        # The network learns raw * scale + offset, in [0, 1]; decoding gives that * value_scale + value_offset.
        self.features = FeatureSpec(
            channels=("height",), scale=0.5, offset=0.5, value_scale=(2.0,), value_offset=(-1.0,)
        )
        # With the converter's name and options, `functa repair` and `functa verify --deep` read the file again.
        digest = hashlib.sha256(data).hexdigest()
        self.provenance = {"converter": "curves", "archive": pathlib.Path(path).name, "sha256": digest}
        self.provenance |= {"points": points, "limit": limit}

    def read(self, index):
        """One curve as it stands in the file, shape (points, 1)."""
        return self._curves[index]


class CurvesConverter:
    """What the entry point names; see `functa_store.plugins.Converter`."""

    summary = "a text file with a curve per line, as numbers in [-1, 1] between commas"
    _config = ConvertConfig(
        network=NetworkConfig(width=32, depth=3, w0=10.0, modulation_dim=16), outer=OuterLoopConfig(num_steps=300)
    )
    presets = {"curves-fast": Preset(summary="smooth curves, in seconds", config=_config, source={"points": 50})}  # noqa: RUF012

    def add_arguments(self, parser):
        """Add the options that only this kind of archive has; None means as the preset says."""
        parser.add_argument("--points", type=int, metavar="N", help="numbers per line")

    def open(self, archive, options, report):
        """The source that the options describe."""
        return CurveSource(archive, options["points"], options["limit"], options["max_rejects"])


converter = CurvesConverter()
