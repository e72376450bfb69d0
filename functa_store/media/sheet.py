"""Pictures of decoded examples, whichever kind of domain they have, and sheets of them."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from functa_store.decode.functaset import Functaset, Which, chosen_examples, decode_chosen, opened
from functa_store.decode.pictures import contact_sheet, solid_image, to_image
from functa_store.domains.cells import Region
from functa_store.domains.domain import Domain
from functa_store.domains.scene import SceneVolume
from functa_store.errors import ConfigError, GridError, StorageError
from functa_store.sources.features import FeatureSpec
from functa_store.store.storage.objects import Location
from functa_store.support.atomic_output import replacing

SOLID = ("z", "y", "x")
COLOURS = (1, 3, 4)
"""Channels of a picture in grey or colour, and of one whose fourth channel is left out."""

MOST_PIXELS = 2**28
"""Of all pictures together: 800 MB in memory."""

MOST_PIXELS_ALONG = 2**15
"""Of one picture, or programs that show it give up."""


def pictures(
    functaset: Functaset | Location,
    index: Which,
    resolution: int | Sequence[int] | None = None,
    *,
    region: Region | None = None,
    clip: bool = True,
) -> list[Image.Image]:
    """Pictures of some examples, of one size, as the domain has it.

    - a scene: as a camera sees it that stands midway between near and far;
    - one channel in space: as a solid looks, above the middle of its range;
    - a plane with 1, 3 or 4 channels of one range: its picture;
    - a field on the sphere, and any other plane: a grey picture of each channel over its own range, north and east
      where maps have them.

    Args:
        functaset: An open one, or where it is.
        index: Which examples; or modulations instead, an array of floats, (examples, *shape of a modulation).
        resolution: Points inside the region, one number for all axes or one per axis; None keeps the spacing of the
            archive. Of scenes, the pixels along a side of a view.
        region: Per axis (low, high); None means the whole domain. Scenes have none.
        clip: Clip to the ranges of the values.

    Returns:
        Example by example; of a field, channel by channel of each.

    Raises:
        ConfigError: If the domain makes no picture, or an option does not fit it.
        ExampleIndexError: If the index names no example.
        GridError: If resolution or region do not fit the domain, or there would be too many pixels.
    """
    functaset = opened(functaset)
    domain, features = functaset.domain, functaset.features
    check_pictures(functaset.store.path, domain, features)
    if domain.scene is not None:
        return _scenes(functaset, index, domain.scene, resolution, region)
    if domain.axes == SOLID and features.num_channels == 1:
        low, high = features.value_range
        values = decode_chosen(functaset, index, resolution, region=region, clip=clip)
        return [solid_image(example[..., 0], level=(low + high) / 2) for example in values]
    height, width = domain.resolve(resolution, region)
    count = len(chosen_examples(functaset, index))
    _check_pixels(count * (1 if is_coloured(domain, features) else features.num_channels), height, width)
    values = decode_chosen(functaset, index, resolution, region=region, clip=clip)
    each = (plane_pictures(domain, features, example, resolution, region) for example in values)
    return list(itertools.chain.from_iterable(each))


def check_pictures(name: str, domain: Domain, features: FeatureSpec) -> None:
    """Refuse a kind of examples that makes no pictures.

    Args:
        name: Of the functaset or archive, for messages.
        domain: Where its examples are sampled.
        features: What their values mean.

    Raises:
        ConfigError: If it is such.
    """
    is_solid = domain.axes == SOLID and features.num_channels == 1
    if domain.scene is None and not is_solid and len(domain.axes) != 2:
        raise ConfigError(
            f"{name}: axes {domain.axes} and channels {features.channels} make no picture; decode them to an array "
            "(--out FILE.npz)"
        )


def is_coloured(domain: Domain, features: FeatureSpec) -> bool:
    """Whether the channels of an example in a plane are one picture."""
    return domain.has_colours and features.num_channels in COLOURS and len(set(features.value_ranges)) == 1


def plane_pictures(
    domain: Domain, features: FeatureSpec, values: np.ndarray, resolution: Any = None, region: Region | None = None
) -> list[Image.Image]:
    """Pictures of one example in a plane: one, or one for each channel.

    Args:
        domain: Where it was sampled.
        features: What its values mean.
        values: Shape (height, width, channels), in the units of the archive.
        resolution: That of the values, see `pictures`.
        region: That of the values, see `pictures`.
    """
    if is_coloured(domain, features):
        return [to_image(values, features.value_range)]
    turned = values[domain.map_flips(domain.axis_coords(resolution, region))]
    ranges = enumerate(features.value_ranges)
    return [to_image(turned[..., channel, None], value_range) for channel, value_range in ranges]


def write_sheet(
    functaset: Functaset | Location,
    index: Which,
    path: str | os.PathLike[str],
    resolution: int | Sequence[int] | None = None,
    *,
    region: Region | None = None,
    clip: bool = True,
) -> tuple[int, int, int]:
    """Write pictures of some examples side by side into one file; arguments and errors as for `pictures`.

    Args:
        functaset: See `pictures`.
        index: See `pictures`.
        path: The file, ending in .png.
        resolution: See `pictures`.
        region: See `pictures`.
        clip: See `pictures`.

    Returns:
        How many pictures, and the height and width of one in pixels.

    Raises:
        StorageError: If the file cannot be written.
    """
    if (suffix := Path(path).suffix.lower()) != ".png":
        raise ConfigError(f"{os.fspath(path)}: expected a name that ends in .png, found {suffix!r}")
    images = pictures(functaset, index, resolution, region=region, clip=clip)
    if not images:
        raise ConfigError(f"{os.fspath(path)}: no examples were chosen, and a sheet needs a picture")
    try:
        with replacing(path) as part:
            contact_sheet(images).save(part)
    except OSError as error:
        raise StorageError(f"{os.fspath(path)}: cannot be written: {error}") from error
    return len(images), images[0].height, images[0].width


def _scenes(
    functaset: Functaset, index: Which, domain: SceneVolume, resolution: Any, region: Region | None
) -> list[Image.Image]:
    from functa_store.media.scene_views import cameras_around, render_view  # imports JAX

    side = view_side(resolution, region, domain.image_size[0])
    examples = [row if row.ndim else int(row) for row in chosen_examples(functaset, index)]
    _check_pixels(len(examples), side, side)
    (pose,), focal = cameras_around(functaset, 1)
    views = [render_view(functaset, k, pose, side, side, focal * side).colour for k in examples]
    return [to_image(np.asarray(view)) for view in views]


def view_side(resolution: Any, region: Region | None, usual: int) -> int:
    """Pixels along a side of a view of a scene, which has no window.

    Args:
        resolution: What was asked for; None stands for what is usual.
        region: None, as a view has none.
        usual: What it is if nothing is asked for.

    Raises:
        ConfigError: If more than one number, or a region, is asked for.
    """
    if not isinstance(resolution, int | None):
        raise ConfigError(f"the resolution of a scene's views is the pixels along a side, one number, got {resolution}")
    if region is not None:
        raise ConfigError(f"found the region {region}, but a scene's views have none; arrays (.npz) and meshes do")
    return usual if resolution is None else resolution


def _check_pixels(count: int, height: int, width: int) -> None:
    if count * height * width > MOST_PIXELS or max(height, width) > MOST_PIXELS_ALONG:
        raise GridError(
            f"found {count:,} pictures of {height:,} x {width:,} pixels, expected at most {MOST_PIXELS_ALONG:,} along "
            f"a side and {MOST_PIXELS:,} in all; take fewer examples or a lower resolution, or write --out FILE.npz"
        )
