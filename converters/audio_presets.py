"""Which choices are good for sound?"""

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.plugins import Preset

# Along one axis of [0, 1] the first layer of a SIREN reaches w0 / (2 pi) cycles, and sounds have many: a voice of
# 200 Hz makes 13 in 64 ms, its harmonics hundreds. More w0 fits more of them until learning no longer finds its way;
# docs/how-to/convert-audio-video.md has the experiment.
AUDIO_FAST = Preset(
    summary="windows of 64 ms of speech or notes at 16 kHz: w0 from a sweep on made-up voices; not for noise",
    config=ConvertConfig(preset="audio-fast", network=NetworkConfig(width=128, depth=4, w0=60.0, modulation_dim=128)),
    source={"seconds": 0.064},
)

AUDIO_PRESETS = {"audio-fast": AUDIO_FAST}
