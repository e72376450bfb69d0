"""Converter of ShapeNet, ShapeNetVox32, ModelNet and their like.

Expected result: one example per model, occupancy 0 or 1 along (z, y, x), y up; label `class` with the names of the
taxonomy, or of folders. ShapeNetCore.v2 has the splits of its all.csv and ModelNet those of its folders; of
ShapeNetVox32, which comes without, every tenth model is held out. The layouts are those that are published; the
archives at hand were others in the same layouts.
"""

import argparse
import collections
import os
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from converters.archives.archive import Archive
from converters.archives.streamed import StreamedTar, open_shapes
from converters.shapes.layouts import (
    SPLIT_FILE,
    TAXONOMY,
    Model,
    ShapeLayout,
    class_label,
    find_models,
    find_text,
    published_splits,
    read_text,
)
from converters.shapes.presets import SHAPE_PRESETS
from converters.shapes.shape_files import (
    Pool,
    Prefer,
    ShapeOptions,
    Up,
)
from converters.shapes.shape_source import ShapeCatalogue, ShapeSource
from converters.survey import SurveyOptions
from functa_store.errors import ArchiveError
from functa_store.progress import Report, silent

NO_SPLIT = "none"


def open_shapenet(
    path: str | os.PathLike[str],
    *,
    resolution: int = 32,
    prefer: Prefer = "auto",
    pool: Pool = "mean",
    up: Up | None = None,
    split: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> ShapeSource:
    """A source over an archive of shapes; `converters.shapes.layouts.find_models` has the layouts.

    Voxels of a finer grid are pooled to the resolution; surfaces are filled first, and so are meshes, which are
    voxelised at the resolution itself, in a cube as wide as their longest extent: where binvox would put them in the
    layouts of ShapeNet, centred in folders.

    Args:
        path: A folder, a folder of zips, a zip, a tar, or a tar compressed by gzip.
        resolution: Cells per axis of every example.
        prefer: "auto", "solid", "surface" or "mesh"; see `ShapeOptions`.
        pool: "mean" or "any"; see `ShapeOptions`.
        up: Axis of meshes that points up; None takes y in the layouts of ShapeNet, and z in folders, as in ModelNet.
        split: CSV of published splits; None takes the all.csv in or beside the archive, if there is one; "none"
            holds out every tenth model.
        limit: Models at most, the first ones in sorted order.
        max_rejects: Fraction of the models that may be unreadable.
        check_first: Models to read now, for a dry run; None reads all.
        report: Told how far the survey is.

    Returns:
        The source, every model read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
        MissingLibraryError: If meshes or surfaces need scipy and it is not installed.
    """
    limits = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    ShapeOptions(resolution=resolution, prefer=prefer, pool=pool, up=up or "y")  # before the archive is read
    archive = open_shapes(path)
    layout, models = find_models(archive)
    in_folders = layout == "folders"
    catalogue = _catalogue(archive, path, layout, models, split)
    options = ShapeOptions(
        resolution=resolution, prefer=prefer, pool=pool, up=up or ("z" if in_folders else "y"), centred=in_folders
    )
    return ShapeSource(archive, catalogue, options, limits, report)


def _catalogue(
    archive: Archive | StreamedTar,
    path: str | os.PathLike[str],
    layout: ShapeLayout,
    models: Sequence[Model],
    split: str | os.PathLike[str] | None,
) -> ShapeCatalogue:
    """Classes, splits and where they are from; models that a split file does not list are left out."""
    facts: dict[str, Any] = {"converter": "shapenet", "layout": layout}
    of_shapenet = layout != "folders"
    taxonomy = find_text(archive, path, TAXONOMY) if of_shapenet else None
    facts["taxonomy_sha256"] = taxonomy and taxonomy.sha256
    splits = [model.split for model in models]
    if split is None:
        file = find_text(archive, path, SPLIT_FILE) if of_shapenet else None
    else:
        file = None if split == NO_SPLIT else read_text(split)
        splits = [None] * len(models)
    if file is not None:
        splits = published_splits(models, file)
        facts |= {"split_sha256": file.sha256, "models_without_split": splits.count(None)}
    listed = [k for k, name in enumerate(splits) if name is not None]
    if listed:
        models, published = [models[k] for k in listed], [str(splits[k]) for k in listed]
    else:
        published = None
    _check_unique(archive.name, models)
    return ShapeCatalogue(models=models, label=class_label(models, taxonomy), published=published, facts=facts)


def _check_unique(name: str, models: Sequence[Model]) -> None:
    most, count = collections.Counter(model.id for model in models).most_common(1)[0]
    if count > 1:
        raise ArchiveError(f"{name}: holds {count} models called {most}, expected one; convert the folders one by one")


class ShapenetConverter:
    """Converts archives of shapes; see `functa_store.plugins.Converter`."""

    summary = "ShapeNetCore, ShapeNetVox32, ModelNet, or any folders of binvox, OFF or OBJ"
    presets = SHAPE_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        parser.add_argument("--resolution", type=int, metavar="N", help="cells per axis of every example")
        parser.add_argument("--prefer", choices=get_args(Prefer), help="file of a model to take (default: auto: solid)")
        parser.add_argument("--pool", choices=get_args(Pool), help="of finer voxels (default: mean, at least half)")
        parser.add_argument("--up", choices=get_args(Up), help="upward axis of meshes (default: y; in folders: z)")
        parser.add_argument("--split", metavar="FILE", help="CSV of published splits (default: all.csv), or none")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> ShapeSource:
        """The source that the options describe; see `open_shapenet`."""
        return open_shapenet(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = ShapenetConverter()
