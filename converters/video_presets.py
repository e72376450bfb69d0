"""Which choices are good for video?"""

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Preset

# docs/how-to/convert-audio-video.md has the sweep (`python -m benchmarks.signals video --sweep`), which cannot tell w0
# from 20 to 30 apart.
VIDEO_FAST = Preset(
    summary="clips of 16 frames at 32x32; shapes, not textures",
    config=ConvertConfig(preset="video-fast", network=NetworkConfig(w0=20.0, modulation_dim=256)),
    source={"frames": 16, "resolution": 32},
)

VIDEO_PRESETS = {"video-fast": VIDEO_FAST}
