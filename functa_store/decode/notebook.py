"""How does a functaset look in a notebook?"""

import base64
import html
import io
from typing import TYPE_CHECKING

from functa_store.decode.summary import summary
from functa_store.sheets import contact_sheet, to_image

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset

THUMBNAILS = 8
THUMBNAIL_SIZE = 64


def functaset_html(functaset: "Functaset") -> str:
    """A few facts and, for images, thumbnails decoded on the spot."""
    facts = " · ".join(html.escape(phrase) for phrase in summary(functaset))
    return f"<div><p><b>Functaset</b> {facts}</p>{_thumbnails(functaset)}</div>"


def _thumbnails(functaset: "Functaset") -> str:
    store = functaset.store
    features = store.features
    one_range = len(set(features.value_ranges)) == 1
    if not store.complete or store.domain.num_axes != 2 or features.num_channels not in (1, 3) or not one_range:
        return ""
    decoded = functaset.decode(slice(0, THUMBNAILS), THUMBNAIL_SIZE)
    sheet = contact_sheet([to_image(example, features.value_range) for example in decoded], columns=THUMBNAILS)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    return f'<img alt="decoded examples" src="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
