"""Which choices are good for sound?"""

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Preset

# Along one axis of [0, 1] the first layer of a SIREN starts with up to w0 / (2 pi) cycles, and sounds have many: a
# voice of 200 Hz makes 13 in 64 ms, its harmonics hundreds. From 100 on learning does not find its way;
# docs/how-to/convert-audio-video.md has the sweep (`python -m benchmarks.signals audio --sweep`).
AUDIO_FAST = Preset(
    summary="windows of 64 ms of speech at the rate of the files, best of 8 or 16 kHz; not for noise",
    config=ConvertConfig(preset="audio-fast", network=NetworkConfig(width=128, depth=4, w0=60.0, modulation_dim=128)),
    source={"seconds": 0.064},
)

AUDIO_PRESETS = {"audio-fast": AUDIO_FAST}
