"""Functasets in words, and as HTML with pictures in notebooks."""

import base64
import html
import io
from typing import TYPE_CHECKING

from functa_store.decode.pictures import contact_sheet, to_image

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset
    from functa_store.store.format.spec import Quality


def summary(functaset: "Functaset") -> list[str]:
    """A functaset in a few short phrases: path, examples, grid, modulations, quality."""
    store = functaset.store
    sizes = zip(store.spec.domain.axes, store.spec.domain.resolution, strict=True)
    phrases = [
        store.path,
        f"{len(store)} examples" if store.spec.complete else f"{len(store)} of {store.spec.examples.count} examples",
        f"{' x '.join(f'{axis} {n}' for axis, n in sizes)} x {len(store.spec.features.channels)} channels",
        f"modulations of {store.spec.config.network.modulation_size}",
    ]
    return phrases + [f"{name} {', '.join(found)}" for name, q in store.spec.quality.items() if (found := _figures(q))]


def _figures(quality: "Quality") -> list[str]:
    """PSNR, and the first metric if there is one."""
    figures = [] if quality.psnr_mean is None else [f"{quality.psnr_mean:.2f} dB"]
    return figures + [f"{name} {mean:.3g}" for name, mean in list(quality.metrics.items())[:1] if mean is not None]


THUMBNAILS = 8
THUMBNAIL_SIZE = 64


def functaset_html(functaset: "Functaset") -> str:
    """A few facts and, for images, thumbnails decoded on the spot."""
    facts = " · ".join(html.escape(phrase) for phrase in summary(functaset))
    return f"<div><p><b>Functaset</b> {facts}</p>{_thumbnails(functaset)}</div>"


def _thumbnails(functaset: "Functaset") -> str:
    store = functaset.store
    features = store.spec.features
    one_range = len(set(features.value_ranges)) == 1
    if (
        not store.spec.complete
        or store.spec.domain.num_axes != 2
        or features.num_channels not in (1, 3)
        or not one_range
    ):
        return ""
    decoded = functaset.decode(slice(0, THUMBNAILS), THUMBNAIL_SIZE)
    sheet = contact_sheet([to_image(example, features.value_range) for example in decoded], columns=THUMBNAILS)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    return f'<img alt="decoded examples" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
