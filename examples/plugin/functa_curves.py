"""Converter of text files that hold a curve per line, as numbers in [-1, 1] between commas."""

import dataclasses
import hashlib
import pathlib

import numpy as np

from functa_store import ArchiveError, CellGrid, ConvertConfig, FeatureSpec, NetworkConfig, OuterLoopConfig, Reject
from functa_store.plugins import ArchiveOptions, Converter, Preset
from functa_store.sources import check_rejects, hold_out_every


class CurveSource:
    """The curves of a file; see `functa_store.Source`."""

    # The network learns raw * scale + offset, in [0, 1]; decoding gives that * value_scale + value_offset.
    features = FeatureSpec(channels=("height",), scale=0.5, offset=0.5, value_scale=(2.0,), value_offset=(-1.0,))
    labels = {}  # noqa: RUF012

    def __init__(self, path, options, survey):
        points = options.points
        data, curves, self.rejects = path.read_bytes(), {}, []
        for number, line in enumerate(data.decode(errors="replace").splitlines()[: survey.limit], 1):
            try:
                curve = np.array(line.split(","), np.float32)[:, None]
                if len(curve) != points or not (abs(curve) <= 1).all():
                    raise ValueError(f"has {len(curve)} numbers, expected {points} in [-1, 1]")
                curves[f"line {number}"] = curve
            except ValueError as error:  # named in the store, and converted without it
                self.rejects.append(Reject(member=f"line {number}", reason=str(error)))
        check_rejects(path.name, "lines", self.rejects, len(curves) + len(self.rejects), survey.max_rejects)
        self.domain = CellGrid(axes=("x",), resolution=(points,))
        self.ids, self._curves = list(curves), list(curves.values())
        self.split = hold_out_every(len(curves), 10)
        # With the converter's name and options, `functa repair` and `functa verify --deep` read the file again.
        self.provenance = {"archive": path.name, "sha256": hashlib.sha256(data).hexdigest()}
        self.provenance |= {"converter": "curves", **options.to_plain(), "limit": survey.limit}

    def read(self, index):
        """One curve as it stands in the file, shape (points, 1)."""
        return self._curves[index]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CurveOptions(ArchiveOptions):
    """What a line of the file must be.

    Attributes:
        points: Numbers per line.
    """

    points: int = 50


def open_curves(archive, options, survey, report):
    """The source that the options describe."""
    if not (path := pathlib.Path(archive)).is_file():
        raise ArchiveError(f"{archive}: there is no such file; expected a text file with a curve per line")
    return CurveSource(path, options, survey)


CURVES_FAST = Preset(
    summary="smooth curves",
    config=ConvertConfig(
        network=NetworkConfig(width=32, depth=3, w0=10.0, modulation_dim=16), outer=OuterLoopConfig(num_steps=300)
    ),
)

converter = Converter(
    summary="a text file with a curve per line, as numbers in [-1, 1] between commas",
    options=CurveOptions,
    presets={"curves-fast": CURVES_FAST},
    open=open_curves,
)
