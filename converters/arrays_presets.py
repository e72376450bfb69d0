"""Which choices are good for arrays, of whatever they hold?"""

from functa_store.config import ConvertConfig
from functa_store.plugins import Preset

ARRAYS_FAST = Preset(
    summary="any arrays: the choices for images at 64x64, only a start; vary w0 first",
    config=ConvertConfig(preset="arrays-fast"),
)

ARRAYS_PRESETS = {"arrays-fast": ARRAYS_FAST}
