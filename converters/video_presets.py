"""Which choices are good for video?"""

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Preset

VIDEO_FAST = Preset(
    summary="clips of 16 frames at 32x32, a start: w0 from a sweep on made-up clips; shapes, not textures",
    config=ConvertConfig(preset="video-fast", network=NetworkConfig(w0=20.0, modulation_dim=256)),
    source={"frames": 16, "resolution": 32},
)

VIDEO_PRESETS = {"video-fast": VIDEO_FAST}
