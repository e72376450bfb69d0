"""Converter of ShapeNet, ShapeNetVox32, ModelNet and their like, and the presets for shapes.

Expected result: one example per model, occupancy 0 or 1 along (z, y, x), y up; label `class` with the names of the
taxonomy, or of folders. ShapeNetCore has the splits of its all.csv and ModelNet those of its folders; of
ShapeNetVox32, which comes without, every tenth model is held out. The layouts are those that are published; the
archives at hand were others in the same layouts.
"""

import collections
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

from converters.archives.archive import Archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.many_archives import PACKED_SUFFIXES
from converters.archives.streamed import StreamedTar, open_shapes
from converters.shapes.layouts import Found, Model, find_models, is_synset
from converters.shapes.shape_files import (
    Pool,
    Prefer,
    ShapeOptions,
    Up,
)
from converters.shapes.shape_source import ShapeCatalogue, ShapeSource
from converters.shapes.taxonomy import SPLIT_FILE, TAXONOMY, class_label, find_text, published_splits, read_text
from functa_store.config import (
    ConvertConfig,
    FitConfig,
    NetworkConfig,
    OuterLoopConfig,
    overlaid,
)
from functa_store.errors import ArchiveError
from functa_store.plugins import Converter, Preset, paper_loops
from functa_store.progress import Note, Report, silent
from functa_store.sources.options import ArchiveOptions, SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import BY_FOLDERS
from functa_store.support.shortening import shown

# Edges of shapes want as high frequencies as images. Rates of 5e-4 and 4e-3 are better for the first minutes, and make
# learning collapse when they stay as high for 1,500 steps. docs/benchmarks/kinds.md has the sweep
# (`python -m benchmarks.shapes --sweep`).
SHAPES32_FAST = Preset(
    summary="shapes at 32x32x32, for a few CPU cores",
    config=ConvertConfig(
        preset="shapes32-fast",
        network=NetworkConfig(width=128, depth=4, w0=30.0, modulation_dim=256),
        outer=OuterLoopConfig(
            num_steps=7500,
            batch_size=16,
            num_points=2048,
            learning_rate=3e-4,
            map_learning_rate=2.5e-3,
            decay_fraction=0.8,
        ),
    ),
    source={"resolution": 32},
)

# Fewer examples are monitored, less often: a look at 64 of them takes as long as 100 steps. Thin walls are uncertain:
# ones count more (IoU +0.045 after 3 minutes of learning), and a step of the fit sees more of them (+0.01 to 0.02);
# 20 updates of tuning on so many points take as long as 100 at a stride of 4.
SHAPES64_FAST = Preset(
    summary="shapes at 64x64x64, for a few CPU cores",
    config=dataclasses.replace(
        SHAPES32_FAST.config,
        preset="shapes64-fast",
        outer=dataclasses.replace(SHAPES32_FAST.config.outer, num_steps=7000, num_monitored=16, monitor_every=500),
        fit=FitConfig(stride=2, tuning_steps=20),
        weight_of_ones=1.5,
    ),
    source={"resolution": 64},
)

# A thousand numbers, in cells: IoU 0.756 where one vector of as many has 0.622 after eight minutes. Rates, w0 and the
# untuned fit are those that were measured; docs/benchmarks/kinds.md, "Grids of modulations of shapes".
SHAPES64_SPATIAL = Preset(
    summary="shapes at 64x64x64 as 4x4x4 cells of 16 numbers: a quarter of an hour of learning on 2 CPU cores",
    config=overlaid(
        SHAPES64_FAST.config,
        {
            "preset": "shapes64-spatial",
            "network": {"modulation": "spatial", "modulation_grid": (4, 4, 4), "modulation_dim": 16, "w0": 10.0},
            "outer": {"num_steps": 670, "learning_rate": 1e-3, "map_learning_rate": 4e-3, "decay_fraction": 0.7},
            "fit": {"num_steps": 9, "tuning_steps": 0},
        },
    ),
    source={"resolution": 64},
)

# Dupont et al. 2022, "From data to functa", appendix on ShapeNet 64^3: SIREN of 15 layers of 512, latent modulations,
# 3 inner steps, Adam 3e-6, 5e5 steps as for its images. Two things are ours: w0 is 10 where its images have 30, since
# 15 layers at 30 are reported to fail on 3-D shapes, and a step sees 8,192 of the 262,144 points.
SHAPENET64_PAPER = Preset(
    summary="shapes at 64x64x64 with the network of the functa paper: 500,000 outer steps, for accelerators",
    config=ConvertConfig(
        preset="shapenet64-paper",
        network=NetworkConfig(width=512, depth=15, w0=10.0, modulation_dim=256),
        **paper_loops(num_steps=500_000, batch_size=8, num_points=8192),
    ),
    source={"resolution": 64},
)

SHAPE_PRESETS = {
    "shapes32-fast": SHAPES32_FAST,
    "shapes64-fast": SHAPES64_FAST,
    "shapes64-spatial": SHAPES64_SPATIAL,
    "shapenet64-paper": SHAPENET64_PAPER,
}

# An array file has the resolution that it has.
VOXELS_PRESETS = {name: dataclasses.replace(preset, source={}) for name, preset in SHAPE_PRESETS.items()}


NO_SPLIT = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapenetOptions(ArchiveOptions):
    """Which file of a model is taken, and how it becomes occupancies.

    Voxels of a finer grid are pooled to the resolution; surfaces are filled first, and so are meshes, which are
    voxelised at the resolution itself, in a cube as wide as their longest extent: where binvox would put them in the
    layouts of ShapeNet, centred in folders.

    Attributes:
        resolution: Cells per axis of every example.
        prefer: "auto", "solid", "surface" or "mesh"; see `ShapeOptions`.
        pool: "mean" or "any"; see `ShapeOptions`.
        up: Axis of meshes that points up; None takes y in the layouts of ShapeNet, and z in folders, as in ModelNet.
            If it is given, folders may be named like synsets without one of ShapeNet's layouts.
        split: CSV of published splits; None takes the all.csv in or beside the archive, if there is one; "none"
            holds out every tenth model.
    """

    resolution: int = 32
    prefer: Prefer = "auto"
    pool: Pool = "mean"
    up: Up | None = None
    split: str | None = option(None, metavar="FILE", is_path=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.of_layout("shapenet")

    def of_layout(self, layout: str) -> ShapeOptions:
        """These options with what a layout decides where they leave it open."""
        in_folders = layout == "folders"
        up = self.up or ("z" if in_folders else "y")
        return ShapeOptions(resolution=self.resolution, prefer=self.prefer, pool=self.pool, up=up, centred=in_folders)


def open_shapenet(path: AnyArchive, *, report: Report = silent, **options: Any) -> ShapeSource:
    """A source over an archive of shapes; `converters.shapes.layouts.find_models` has the layouts.

    Args:
        path: A folder, a folder of zips, a zip, a tar, or a tar compressed by gzip.
        report: Told how far the survey is.
        **options: Fields of `ShapenetOptions` and `SurveyOptions`, such as `resolution=32` and `limit=100`.

    Returns:
        The source, every model read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the archive cannot be converted.
        MissingLibraryError: If meshes or surfaces need scipy and it is not installed.
    """
    return converter.open(path, *split_options(ShapenetOptions, options), report)


@names_the_right_converter("shapenet")
def _open(files: ArchiveFiles, options: ShapenetOptions, survey: SurveyOptions, report: Report) -> ShapeSource:
    archive = open_shapes(files)
    found = find_models(archive, any_folders=options.up is not None)
    catalogue = _catalogue(archive, files.paths[0], found, options.split, report)
    shape_options = options.of_layout(found.layout)
    source = ShapeSource(archive, catalogue, shape_options, survey, report)
    meshes = source.provenance["files"].get("mesh", 0)
    if meshes and options.up is None and not found.up_is_known:
        report(_note(archive, f"nothing says which axis of {meshes} meshes is up; z is taken, as in ModelNet (see up)"))
    return source


def _note(archive: Archive | StreamedTar, message: str) -> Note:
    return Note(message=f"{archive.name}: {message}")


def _catalogue(
    archive: Archive | StreamedTar, path: str | os.PathLike[str], found: Found, split: str | None, report: Report
) -> ShapeCatalogue:
    """Classes, splits and where they are from; models that a split file does not list are left out."""
    models, near = found.models, next(iter(found.models[0].files.values()))
    facts: dict[str, Any] = {"converter": "shapenet", "layout": found.layout}
    of_shapenet = found.layout != "folders" or any(is_synset(model.group) for model in models)
    taxonomy = find_text(archive, path, TAXONOMY, near) if of_shapenet else None
    facts["taxonomy_sha256"] = taxonomy and taxonomy.sha256
    if found.unused:
        example = f"{len(found.unused)} files of shapes, such as {shown(found.unused[0])}"
        report(_note(archive, f"{example}, are not taken: the model has another one, or the layout has none there"))
    splits = [model.split for model in models]
    if split is None:
        file = find_text(archive, path, SPLIT_FILE, near) if of_shapenet else None
    else:
        file = None if split == NO_SPLIT else read_text(split)
        splits = [None] * len(models)
    if found.stray is not None and split is None and file is None:
        raise ArchiveError(
            f"{archive.name}: {shown(found.stray)} lies in no folder of a split, but others do, so that train and test "
            "would be mixed; expected all of them in folders called train, val or test. Move it, give a split file, "
            "or take split='none' to hold out every tenth model"
        )
    if file is not None:
        splits = published_splits(models, file)
        facts |= {"split_sha256": file.sha256, "models_without_split": splits.count(None)}
        if left_out := splits.count(None):
            report(_note(archive, f"{left_out} of {len(models)} models are left out: {file.where} does not list them"))
    listed = [k for k, name in enumerate(splits) if name is not None]
    if listed:
        facts["split"] = "published by folders" if file is None else f"published in {os.path.basename(file.where)}"
        models, published = [models[k] for k in listed], [str(splits[k]) for k in listed]
    else:
        published = None
    _check_unique(archive.name, models)
    label = class_label(models, taxonomy)
    named = "" if taxonomy is None else f", their names by {os.path.basename(taxonomy.where)}"
    facts["labels_by"] = {} if label is None else {"class": f"{BY_FOLDERS}{named}"}
    return ShapeCatalogue(models=models, label=label, published=published, facts=facts)


def _check_unique(name: str, models: Sequence[Model]) -> None:
    most, count = collections.Counter(model.id for model in models).most_common(1)[0]
    if count > 1:
        raise ArchiveError(f"{name}: holds {count} models called {most}, expected one; convert the folders one by one")


converter = Converter(
    summary="ShapeNetCore, ShapeNetVox32, ModelNet, or any folders of binvox, OFF or OBJ",
    options=ShapenetOptions,
    presets=SHAPE_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=PACKED_SUFFIXES, folders="whole", remote=True),
)
