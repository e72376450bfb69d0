"""Sound files become windows; what is no sound, or silent, becomes a reject with its reason."""

import io

import numpy as np
import pytest
import scipy.signal
import soundfile

from converters.signals.audio import open_audio
from converters.signals.audio_files import resampled
from functa_store.errors import ArchiveError, ConfigError, TooManyRejectsError
from functa_store.progress import Note, Surveyed
from functa_store.reopen import reopened
from functa_store.sources.source import Source

RATE = 8000


def tone(seconds=1.0, rate=RATE, hertz=440.0, amplitude=0.5, channels=1):
    """Samples of a sine, shape (samples,) or (samples, channels), each channel half as loud as the one before."""
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return wave if channels == 1 else np.stack([wave / 2**k for k in range(channels)], axis=-1)


def encode(samples, rate=RATE, fmt="WAV", subtype="PCM_16"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=fmt, subtype=subtype)
    return buffer.getvalue()


@pytest.fixture(name="files")
def _files():
    return {f"{k:02}.wav": encode(tone(hertz=100 + 40 * k)) for k in range(12)}


def test_every_kind_of_archive_gives_the_same_windows(pack, files):
    folder, zipped, tarred = (open_audio(pack(files, kind), seconds=0.25) for kind in ("folder", "zip", "tar"))
    assert isinstance(folder, Source)
    assert folder.ids[:5] == ["00.wav#0", "00.wav#1", "00.wav#2", "00.wav#3", "01.wav#0"]
    assert len(folder.ids) == 48
    for other in (zipped, tarred):
        assert other.ids == folder.ids
        np.testing.assert_array_equal(other.read(7), folder.read(7))


@pytest.mark.parametrize("fmt", ["WAV", "FLAC"])
def test_the_windows_of_a_file_are_its_samples_in_a_row(pack, fmt):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 1000)
    source = open_audio(pack({f"a.{fmt.lower()}": encode(samples, fmt=fmt)}), samples=100)
    read = np.concatenate([source.read(k) for k in range(len(source.ids))])[:, 0]
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, samples, atol=1 / 32768)


def test_the_domain_is_time_in_seconds_and_values_are_amplitudes(pack, files):
    source = open_audio(pack(files), seconds=0.5)
    assert (source.domain.axes, source.domain.resolution) == (("t",), (4000,))
    assert (source.domain.lengths, source.domain.units) == ((0.5,), ("s",))
    spec = source.features
    assert spec.channels == ("amplitude",)
    features = (source.read(0) * spec.scale + spec.offset).astype(np.float32)
    np.testing.assert_allclose(spec.to_values(features), source.read(0), atol=1e-6)
    assert spec.value_range == (-1, 1)


def test_a_single_file_is_an_archive(tmp_path):
    (tmp_path / "long.wav").write_bytes(encode(tone(5)))
    source = open_audio(tmp_path / "long.wav", seconds=0.25)
    assert len(source.ids) == 20
    assert np.flatnonzero(source.split == "test").tolist() == [18, 19]
    assert source.provenance["split"] == "last tenth of the windows held out"


def test_files_are_held_out_whole(pack, files):
    source = open_audio(pack(files), seconds=0.25)
    held_out = {name.split("#")[0] for name, split in zip(source.ids, source.split, strict=True) if split == "test"}
    assert held_out == {"09.wav"}
    assert source.provenance["split"] == "every tenth file held out"
    assert source.labels["file"].values[:5].tolist() == [0, 0, 0, 0, 1]


def test_folders_are_splits_and_classes(pack):
    sound = encode(tone(0.5))
    names = ("train/dog/a.wav", "train/cat/a.wav", "test/dog/b.wav", "test/cat/b.wav")
    source = open_audio(pack(dict.fromkeys(names, sound)), seconds=0.25)
    assert source.ids[0] == "test/cat/b.wav#0"
    assert source.split.tolist() == ["test"] * 4 + ["train"] * 4
    assert source.labels["class"].names == ("cat", "dog")
    assert source.labels["class"].values.tolist() == [0, 0, 1, 1] * 2


def test_the_last_window_is_dropped_or_filled_up(pack):
    path = pack({"a.wav": encode(tone(0.9))})
    assert len(open_audio(path, seconds=0.25).ids) == 3
    padded = open_audio(path, seconds=0.25, pad=True)
    assert len(padded.ids) == 4
    assert (padded.read(3)[1200:] == 0).all()
    assert np.abs(padded.read(3)[:1200]).max() > 0.4


def test_silent_windows_become_rejects_but_stop_nothing(pack, files):
    samples = np.concatenate([tone(0.25), np.zeros(RATE), tone(0.25, amplitude=1e-4), tone(0.25)])
    source = open_audio(pack({"a.wav": encode(samples)}), seconds=0.25)
    assert source.ids == ["a.wav#0", "a.wav#6"]
    assert [reject.member for reject in source.rejects] == [f"a.wav#{k}" for k in range(1, 6)]
    assert {reject.reason for reject in source.rejects} == {
        "is silent: its peak in the mean of its channels is -inf dB of full scale",
        "is silent: its peak in the mean of its channels is -78 dB of full scale",
    }
    assert len(open_audio(pack({"a.wav": encode(samples)}), seconds=0.25, silence=-90).ids) == 3


def test_what_is_no_sound_becomes_a_reject_with_its_reason(pack, files):
    sound = encode(tone())
    bad = {
        "a_empty.wav": (b"", "is empty"),
        "b_zero.wav": (encode(np.zeros(0)), "holds no samples"),
        "c_text.wav": (b"this is a text", "starts with b'this is ', expected a WAV or FLAC file"),
        "d_cut.wav": (sound[: len(sound) // 2], "is truncated: it has 7978 of 16000 bytes"),
        "e_head.wav": (sound[:40], "truncated: its samples"),
        "f_cut.flac": (encode(tone(), fmt="FLAC")[:5000], "cannot be decoded|is truncated"),
        "g_head.flac": (encode(tone(), fmt="FLAC")[:20], "damaged header"),
        "h_nan.wav": (encode(np.full(RATE, np.nan), subtype="FLOAT"), "holds numbers up to nan"),
        "i_loud.wav": (encode(np.full(RATE, 300.0), subtype="FLOAT"), "expected amplitudes"),
        "j_short.wav": (encode(tone(0.1)), "has 800 samples, less than one window of 2000; --pad"),
        "k.mp3": (b"ID3", "starts with b'ID3'"),
    }
    contents = files | {name: content for name, (content, _) in bad.items()}
    source = open_audio(pack(contents), seconds=0.25, max_rejects=0.6)
    reasons = {reject.member: reject.reason for reject in source.rejects}
    assert reasons.keys() == bad.keys()
    for name, (_, words) in bad.items():
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(reasons[name])
    with pytest.raises(TooManyRejectsError, match=r"11 of 23 sound files .* a_empty\.wav is empty|sound files"):
        open_audio(pack(contents), seconds=0.25)


def test_another_sample_rate_is_a_reject_or_resampled(pack, files):
    mixed = files | {"99.wav": encode(tone(rate=16000, hertz=300), rate=16000)}
    rejecting = open_audio(pack(mixed), seconds=0.25, max_rejects=0.2)
    assert rejecting.rejects[0].reason == "has 16000 Hz, but the first file has 8000; --sample-rate resamples all"
    resampling = open_audio(pack(mixed), seconds=0.25, sample_rate=RATE)
    assert len(resampling.ids) == len(rejecting.ids) + 4
    expected = tone(0.75, hertz=300)[2000:4000]
    np.testing.assert_allclose(resampling.read(len(resampling.ids) - 3)[:, 0], expected, atol=2e-3)


@pytest.mark.parametrize(
    ("channels", "given", "names", "first"),
    [
        ("mono", 1, ("amplitude",), [0.5]),
        ("mono", 2, ("amplitude",), [0.375]),
        ("stereo", 1, ("left", "right"), [0.5, 0.5]),
        ("stereo", 2, ("left", "right"), [0.5, 0.25]),
        ("keep", 1, ("amplitude",), [0.5]),
        ("keep", 2, ("left", "right"), [0.5, 0.25]),
        ("mono", 4, ("amplitude",), [0.5 * 1.875 / 4]),
    ],
)
def test_channels_are_mixed_doubled_or_kept(pack, channels, given, names, first):
    source = open_audio(pack({"a.wav": encode(tone(hertz=500, channels=given))}), seconds=0.25, channels=channels)
    assert source.features.channels == names
    np.testing.assert_allclose(source.read(0)[4], first, atol=1e-3)  # a quarter of a period


def test_another_number_of_channels_is_a_reject_where_it_is_kept(pack, files):
    mixed = files | {"99.wav": encode(tone(channels=2))}
    source = open_audio(pack(mixed), seconds=0.25, channels="keep", max_rejects=0.2)
    assert "has 2 channels, but the first file has 1" in source.rejects[0].reason
    with pytest.raises(ArchiveError, match="has 3 channels, expected 1 or 2"):
        open_audio(pack({"a.wav": encode(tone(channels=3))}), seconds=0.1, channels="keep")


def test_a_limit_counts_windows_and_reads_no_further(pack, files):
    events = []
    source = open_audio(pack(files), seconds=0.25, limit=6, report=events.append)
    assert source.ids == ["00.wav#0", "00.wav#1", "00.wav#2", "00.wav#3", "01.wav#0", "01.wav#1"]
    assert events[-1] == Surveyed(done=2, total=2, rejects=0)


def test_a_dry_run_reads_headers_and_hashes_nothing(pack, files):
    source = open_audio(pack(files), seconds=0.25, check_first=2)
    assert (len(source.ids), source.provenance["sha256"]) == (48, None)


def test_what_is_no_sound_by_its_name_is_named(pack, files):
    source = open_audio(pack(files | {"notes.txt": b"x"}), seconds=0.25)
    assert [(r.member, r.reason) for r in source.rejects] == [("notes.txt", "is no sound file by its name")]
    with pytest.raises(ArchiveError, match=r"no sound files; found 1 \.txt, expected \.wav or \.flac"):
        open_audio(pack({"notes.txt": b"x"}), seconds=0.25)


@pytest.mark.parametrize(
    "options",
    [{"seconds": -1.0}, {"samples": -5}, {"sample_rate": -8000}, {"channels": "quad"}, {"silence": 3.0}, {}],
)
def test_options_out_of_range_are_refused_by_name(pack, files, options):
    with pytest.raises(ConfigError, match=next(iter(options), "seconds or in samples")):
        open_audio(pack(files), **({"seconds": 0.25} | options if options and "samples" not in options else options))


@pytest.mark.parametrize("window", [{"seconds": 1e-4}, {"seconds": 1e9, "pad": True}, {"samples": 1 << 31}])
def test_a_window_of_too_few_or_too_many_samples_is_refused(pack, files, window):
    with pytest.raises(ConfigError, match="samples, expected 2 to 16777216"):
        open_audio(pack(files), **window)


def promising(num_samples):
    """A FLAC of a tenth of a second whose header promises more samples, 36 bits of them at most."""
    data = bytearray(encode(tone(0.1), fmt="FLAC"))
    data[21] = data[21] & 0xF0 | num_samples >> 32
    data[22:26] = (num_samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def test_a_header_that_promises_more_than_memory_holds_is_a_reject(pack, files):
    source = open_audio(pack(files | {"99.flac": promising(1 << 35)}), seconds=0.1, max_rejects=0.2)
    assert [reject.member for reject in source.rejects] == ["99.flac"]
    assert "more than the" in source.rejects[0].reason


def test_a_tone_of_a_few_bytes_does_not_become_millions_of_examples(pack, files):
    """Five such files of 420 kB took 4.8 GB."""
    tiny = encode(np.full(2**20, 0.5), fmt="FLAC")
    assert len(tiny) < 2**15
    for check_first in (None, 0):
        with pytest.raises((ArchiveError, TooManyRejectsError), match="windows of 64 samples, but has"):
            open_audio(pack({"long.flac": tiny}), samples=64, check_first=check_first)


def test_a_rate_that_would_blow_a_file_up_is_a_reject(pack, files):
    slow = encode(np.zeros(100_000), rate=1)
    source = open_audio(pack(files | {"99.wav": slow}), seconds=0.1, sample_rate=48_000, max_rejects=0.2)
    assert "more than the" in source.rejects[0].reason


@pytest.mark.parametrize("options", [{"seconds": 0.3, "pad": True}, {"samples": 900, "sample_rate": 4000}])
def test_a_store_says_how_its_archive_was_read(pack, files, options):
    path = pack(files)
    source = open_audio(str(path), **options)
    again = reopened(str(path), source.provenance)
    assert again.ids == source.ids
    np.testing.assert_array_equal(again.read(5), source.read(5))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "wanted"), [(44100, 16000), (8000, 48000), (44100, 44099), (7, 3), (3, 1000), (1000, 3)]
)
@pytest.mark.parametrize("length", [1, 5, 99_999, 700_001])
def test_sound_resampled_in_parts_is_the_same_as_resampled_as_a_whole(given, wanted, length):
    if length * wanted / given > 1e7:
        length = 5000
    sound = np.random.default_rng(0).uniform(-1, 1, (length, 2))
    common = np.gcd(given, wanted)
    whole = scipy.signal.resample_poly(sound, wanted // common, given // common, axis=0)
    blocks = iter(np.array_split(sound, min(length, 13)))
    np.testing.assert_array_equal(np.concatenate(list(resampled(blocks, given, wanted))), whole)


def chunk(kind, body):
    return kind + len(body).to_bytes(4, "little") + body


def test_a_wav_of_another_encoding_is_not_handed_to_another_decoder(pack, files):
    sound = encode(tone())
    at = sound.index(b"fmt ") + 8
    bad = {f"{tag}.wav": sound[:at] + tag.to_bytes(2, "little") + sound[at + 2 :] for tag in (0x55, 0x50, 0x92, 0)}
    source = open_audio(pack(files | bad), seconds=0.25, max_rejects=0.5)
    assert {r.member for r in source.rejects} == set(bad)
    assert all("has encoding 0x" in r.reason for r in source.rejects)


def test_a_wav_of_very_many_chunks_is_a_reject(pack, files):
    sound = encode(tone())
    many = sound[:12] + chunk(b"LIST", b"") * 100_000 + sound[12:]
    source = open_audio(pack(files | {"99.wav": many}), seconds=0.25, max_rejects=0.5)
    assert source.rejects[0].reason == "has more than 4096 chunks before its samples"


def test_long_files_are_read_with_64_bit_sizes_and_refused_if_they_are_cut(pack, files):
    long = encode(tone(), fmt="RF64")
    assert long[:4] == b"RF64"
    assert len(open_audio(pack(files | {"99.wav": long}), seconds=0.25).ids) == 52
    source = open_audio(pack(files | {"99.wav": long[:-100]}), seconds=0.25, max_rejects=0.2)
    assert "is truncated" in source.rejects[0].reason


@pytest.mark.parametrize("rate", [0, 1_000_001, (1 << 31) - 1, (1 << 32) - 1])
@pytest.mark.parametrize("options", [{}, {"sample_rate": RATE}])
def test_a_rate_that_no_sound_has_is_a_reject_also_of_the_first_file(pack, files, rate, options):
    sound = encode(tone())
    at = sound.index(b"fmt ") + 12
    odd = sound[:at] + rate.to_bytes(4, "little") + sound[at + 4 :]
    source = open_audio(pack({"0.wav": odd} | files), seconds=0.25, max_rejects=0.2, **options)
    assert [r.member for r in source.rejects] == ["0.wav"]


def test_sounds_of_coprime_rates_that_would_take_for_ever_are_rejects(pack, files):
    odd = encode(tone(rate=999_983), rate=999_983)
    source = open_audio(pack(files | {"99.wav": odd}), seconds=0.25, sample_rate=RATE, max_rejects=0.2)
    assert source.rejects[0].reason == "has 999983 Hz, which takes too long to resample to 8000"


def test_sounds_edited_after_the_survey_are_noticed(tmp_path, files):
    (tmp_path / "a.wav").write_bytes(files["00.wav"])
    source = open_audio(tmp_path / "a.wav", seconds=0.25)
    source.check_unchanged()
    (tmp_path / "a.wav").write_bytes(files["01.wav"] + b"x")
    with pytest.raises(ArchiveError, match=r"a\.wav: was changed while it was being converted"):
        source.check_unchanged()


def wav(subtype="PCM_16", length=2048, **changes):
    """A WAV of a rising sine, its fields data and fact overwritten by numbers of 32 bits."""
    sound = bytearray(encode(tone(1.0)[:length] * np.linspace(0.2, 1, length), subtype=subtype))
    for name, value in changes.items():
        at = sound.index(name.encode()) + (4 if name == "data" else 8)
        sound[at : at + 4] = value.to_bytes(4, "little")
    return bytes(sound)


def read_whole(source, name):
    return np.concatenate([source.read(k)[:, 0] for k, i in enumerate(source.ids) if i.startswith(f"{name}#")])


@pytest.mark.parametrize(("subtype", "error"), [("GSM610", 0.15), ("MS_ADPCM", 0.03)])
def test_what_fills_the_last_block_up_is_no_sound(pack, files, subtype, error):
    """Of 2048 samples GSM 6.10 made 2560, the last of them noise at full scale."""
    source = open_audio(pack(files | {"99.wav": wav(subtype)}), samples=64)
    found = read_whole(source, "99.wav")
    assert len(found) == 2048
    expected = tone(1.0)[:2048] * np.linspace(0.2, 1, 2048)
    assert np.abs(found - expected).max() < error


@pytest.mark.parametrize(("declared", "length"), [(0, 2240), (0xFFFFFFFF, 2240)])
def test_a_gsm_that_does_not_say_its_length_ends_with_its_last_whole_block(pack, files, declared, length):
    source = open_audio(pack(files | {"99.wav": wav("GSM610", fact=declared)}), samples=64)
    assert len(read_whole(source, "99.wav")) == length


@pytest.mark.parametrize(
    ("declared", "words"),
    [(100, "holds 2560 samples, but its header declares 100"), (9000, "has 2240 of the 9000 samples")],
)
def test_a_header_that_its_blocks_contradict_is_a_reject(pack, files, declared, words):
    source = open_audio(pack(files | {"99.wav": wav("GSM610", fact=declared)}), samples=64, max_rejects=0.2)
    assert [r.member for r in source.rejects] == ["99.wav"]
    assert words in source.rejects[0].reason


@pytest.mark.parametrize("subtype", ["ALAW", "ULAW", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "IMA_ADPCM"])
@pytest.mark.parametrize("fmt", ["WAV", "WAVEX", "RF64"])
def test_every_encoding_of_a_wav_is_read_as_it_sounds(pack, subtype, fmt):
    if subtype == "IMA_ADPCM" and fmt != "WAV":
        pytest.skip("only in WAV")
    samples = tone(0.25, hertz=100)
    source = open_audio(pack({"a.wav": encode(samples, fmt=fmt, subtype=subtype)}), samples=100)
    np.testing.assert_allclose(read_whole(source, "a.wav")[100:2000], samples[100:], atol=0.03)  # ADPCM starts slowly


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_whose_recorder_was_killed_is_read_as_far_as_samples_follow(pack, files, size):
    events = []
    source = open_audio(pack(files | {"99.wav": wav(data=size)[:-1]}), samples=23, report=events.append)
    found = read_whole(source, "99.wav")
    assert len(found) == 2047  # a multiple of 23; half a sample is lost
    np.testing.assert_allclose(found, (tone(1.0)[:2048] * np.linspace(0.2, 1, 2048))[:2047], atol=1e-4)
    words = "99.wav: its header has no length, as of a recorder that was stopped; all 4094 bytes that follow are taken"
    assert source.provenance["notes"] == [words]
    assert [event.message for event in events if isinstance(event, Note)] == [f"archive.zip/{words}"]


def test_a_long_wav_without_a_length_is_read_too(pack, files):
    for size in (0, (1 << 64) - 1):
        long = bytearray(encode(tone(0.5), fmt="RF64"))
        at = long.index(b"ds64") + 16
        long[at : at + 8] = size.to_bytes(8, "little")
        source = open_audio(pack(files | {"99.wav": bytes(long)}), samples=100)
        np.testing.assert_allclose(read_whole(source, "99.wav"), tone(0.5), atol=1e-4)


def test_an_empty_wav_with_chunks_behind_its_samples_is_empty(pack, files):
    sound = encode(np.zeros(0)) + chunk(b"LIST", b"INFOIART\4\0\0\0abcd")
    source = open_audio(pack(files | {"99.wav": sound}), samples=4, max_rejects=0.2)
    assert [r.reason for r in source.rejects] == ["holds no samples (zero length)"]


def declaring(samples, declared, **options):
    data = bytearray(encode(samples, fmt="FLAC", **options))
    data[21] = data[21] & 0xF0 | declared >> 32
    data[22:26] = (declared & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("declared", [0, (1 << 36) - 1, (1 << 36) - 2])
@pytest.mark.parametrize("length", [100, 4096, 50_000])
def test_a_flac_of_unknown_length_is_read_to_its_end(pack, files, declared, length):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, length)
    source = open_audio(pack(files | {"99.flac": declaring(samples, declared)}), samples=2)
    np.testing.assert_allclose(read_whole(source, "99.flac"), samples, atol=1 / 32768)
    assert source.provenance["notes"][0].endswith(f"its last frame ends at sample {length}")
    dry = open_audio(pack(files | {"99.flac": declaring(samples, declared)}), samples=2, check_first=0)
    assert sum(name.startswith("99.flac") for name in dry.ids) == length // 2


def test_a_flac_of_unknown_length_that_is_cut_or_damaged_is_a_reject(pack, files):
    whole = declaring(np.random.default_rng(0).uniform(-0.9, 0.9, 50_000), 0)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    bad = {"97.flac": whole[: len(whole) // 2], "98.flac": bytes(damaged), "99.flac": whole[:8000]}
    source = open_audio(pack(files | bad), samples=64, max_rejects=0.5)
    assert [r.member for r in source.rejects] == list(bad)


def test_a_flac_that_holds_more_than_it_declares_is_a_reject(pack, files):
    short = declaring(tone(1.0), 100)
    source = open_audio(pack(files | {"99.flac": short}), samples=64, max_rejects=0.2)
    assert source.rejects[0].reason == "declares 100 samples, but its last frame ends at sample 8000"


@pytest.mark.parametrize("error", [ValueError, RuntimeError, TypeError, AssertionError])
def test_whatever_a_decoder_raises_of_one_file_is_its_reject(pack, files, monkeypatch, error):
    read = soundfile.SoundFile.read

    def failing(self, *given, **options):
        if self.samplerate == 12345:
            raise error("frames must be specified for non-seekable files")
        return read(self, *given, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", failing)
    bad = encode(tone(rate=12345), rate=12345)
    source = open_audio(pack(files | {"99.wav": bad}), seconds=0.25, sample_rate=RATE, max_rejects=0.2)
    assert [r.reason for r in source.rejects] == ["cannot be decoded: frames must be specified for non-seekable files"]


def test_sound_beyond_full_scale_is_clipped_and_said_so(pack):
    events = []
    loud = pack({"a.wav": encode(tone(amplitude=2.0), subtype="FLOAT")})
    source = open_audio(loud, seconds=0.25, report=events.append)
    assert (source.read(0).min(), source.read(0).max()) == (-1, 1)
    words = "archive.zip/a.wav: goes up to 2 times full scale; what is beyond it is clipped"
    assert [event.message for event in events if isinstance(event, Note)] == [words]
    assert "notes" not in source.provenance
    open_audio(pack({"a.wav": encode(tone(amplitude=1.0))}), seconds=0.25, report=events.append)
    assert sum(isinstance(event, Note) for event in events) == 1


def extensible(speakers=None, guid=None):
    """A stereo WAV with the header of many channels."""
    sound = bytearray(encode(tone(channels=2), fmt="WAVEX"))
    at = sound.index(b"fmt ") + 8
    if speakers is not None:
        sound[at + 20 : at + 24] = speakers.to_bytes(4, "little")
    if guid is not None:
        sound[at + 26 : at + 40] = guid
    return bytes(sound)


def test_two_channels_that_are_not_left_and_right_are_no_stereo(pack):
    for speakers in (0, 3):
        assert len(open_audio(pack({"a.wav": extensible(speakers)}), seconds=0.25, channels="stereo").ids) == 4
    odd = pack({"a.wav": encode(tone(channels=2)), "b.wav": extensible(0x0C)})  # centre and bass
    for channels in ("stereo", "keep"):
        source = open_audio(odd, seconds=0.25, channels=channels, max_rejects=0.5)
        assert "two channels that are not left and right (loudspeakers 0xc)" in source.rejects[0].reason
    assert len(open_audio(odd, seconds=0.25).ids) == 8


@pytest.mark.parametrize(("tail", "words"), [("00002107d3118644c8c1ca000000", "Ambisonic"), ("11" * 14, "of its own")])
def test_channels_that_are_no_sounds_of_loudspeakers_are_not_mixed(pack, files, tail, words):
    odd = extensible(guid=bytes.fromhex(tail))
    source = open_audio(pack(files | {"99.wav": odd}), seconds=0.25, max_rejects=0.2)
    assert words in source.rejects[0].reason
