"""Which pictures show decoded examples to a person?"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from functa_store.commands.request import Request
from functa_store.errors import ConfigError, GridError
from functa_store.scenes import SceneVolume
from functa_store.sheets import solid_image, to_image
from functa_store.sphere import SphereGrid

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset

SOLID = ("z", "y", "x")
COLOURS = (1, 3, 4)
"""Channels of a picture in grey or colour, and of one whose fourth channel is left out."""

MOST_PIXELS = 2**28
"""Of all pictures together: 800 MB in memory."""

MOST_PIXELS_ALONG = 2**15
"""Of one picture, or programs that show it give up."""


def pictures_of(request: Request) -> list[Image.Image]:
    """Pictures of one size, as the domain has it.

    - a scene: as a camera sees it that stands midway between near and far;
    - one channel in space: as a solid looks, above the middle of its range;
    - a plane with 1, 3 or 4 channels of one range: its picture;
    - a field on the sphere, and any other plane: a grey picture of each channel over its own range, north and east
      where maps have them.

    Raises:
        ConfigError: If the domain makes no picture, or an option does not fit it.
        GridError: If resolution or region do not fit the domain, or there would be too many pixels.
    """
    functaset = request.functaset
    domain, channels = functaset.domain, functaset.features.channels
    if isinstance(domain, SceneVolume):
        return _scenes(request, domain)
    if domain.axes == SOLID and len(channels) == 1:
        low, high = functaset.features.value_range
        return [solid_image(example[..., 0], level=(low + high) / 2) for example in request.decode()]
    if len(domain.axes) != 2:
        raise ConfigError(
            f"{functaset.store.path}: axes {domain.axes} and channels {channels} make no picture; write --out FILE.npz"
        )
    height, width = domain.resolve(request.resolution, request.region)
    coloured = _is_coloured(functaset)
    _check_pixels(len(request.index) * (1 if coloured else len(channels)), height, width)
    values = request.decode()
    if coloured:
        return [to_image(example, functaset.features.value_range) for example in values]
    return _fields(values, functaset.features.value_ranges, _as_on_maps(request))


def _is_coloured(functaset: "Functaset") -> bool:
    features = functaset.features
    return (
        not isinstance(functaset.domain, SphereGrid)
        and features.num_channels in COLOURS
        and len(set(features.value_ranges)) == 1
    )


def _fields(values: np.ndarray, ranges: Sequence[tuple[float, float]], turn: tuple[slice, ...]) -> list[Image.Image]:
    """Channel by channel of one example, then of the next one."""
    each = itertools.product(values, range(len(ranges)))
    return [to_image(example[turn][..., channel, None], ranges[channel]) for example, channel in each]


def _as_on_maps(request: Request) -> tuple[slice, ...]:
    """What turns a grid of latitudes and longitudes so that the first row is in the north, the first column west."""
    domain = request.functaset.domain
    if not isinstance(domain, SphereGrid):
        return ()
    latitudes, longitudes = domain.axis_coords(request.resolution, request.region)
    turned = slice(None, None, -1)
    return (
        turned if latitudes[0] < latitudes[-1] else slice(None),
        turned if longitudes[0] > longitudes[-1] else slice(None),
    )


def _scenes(request: Request, domain: SceneVolume) -> list[Image.Image]:
    from functa_store.decode.views import cameras_around, render_view  # imports JAX

    side = request.side(domain.image_size[0])
    _check_pixels(len(request.index), side, side)
    (pose,), focal = cameras_around(request.functaset, 1)
    views = [render_view(request.functaset, k, pose, side, side, focal * side).colour for k in request.index]
    return [to_image(np.asarray(view)) for view in views]


def _check_pixels(count: int, height: int, width: int) -> None:
    if count * height * width > MOST_PIXELS or max(height, width) > MOST_PIXELS_ALONG:
        raise GridError(
            f"found {count:,} pictures of {height:,} x {width:,} pixels, expected at most {MOST_PIXELS_ALONG:,} along "
            f"a side and {MOST_PIXELS:,} in all; take fewer examples or a lower resolution, or write --out FILE.npz"
        )
