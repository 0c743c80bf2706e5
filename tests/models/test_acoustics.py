"""Acoustic statistics say what is known of signals made for the purpose."""

import math

import pytest
import torch
from sertools.models.acoustics import acoustic_statistics, statistic_names
from sertools.models.contours import RATE, contours, pitch


def tone(frequency, seconds=1.0, amplitude=0.3):
    time = torch.arange(round(seconds * RATE)) / RATE
    return amplitude * torch.sin(2 * math.pi * frequency * time)


def voice(frequency, seconds=1.0, harmonics=range(1, 12)):
    return sum(tone(frequency * n, seconds, 0.3 / n) for n in harmonics)


def noise(seconds=1.0, amplitude=0.1, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return amplitude * torch.randn(round(seconds * RATE), generator=draw)


def named(waveform):
    return dict(zip(statistic_names(), acoustic_statistics(waveform).tolist(), strict=True))


@pytest.mark.parametrize("frequency", [70, 98.5, 150, 233, 317, 440, 560])
@pytest.mark.parametrize("make", [tone, voice])
def test_pitch_of_periodic_signals(make, frequency):
    found, strength = pitch(make(frequency))
    inner = slice(5, -5)
    cents = 1200 * torch.log2(found[inner] / frequency)
    assert cents.abs().max() < 10
    assert strength[inner].min() > 0.9


def test_no_octave_errors_even_in_noise():
    for frequency in range(60, 590, 23):
        found, _ = pitch(voice(frequency, 0.3) + noise(0.3, 0.05))
        assert (found[6:-6] / frequency - 1).abs().max() < 0.03, frequency


def test_pitch_without_the_fundamental():
    found, _ = pitch(voice(150, harmonics=range(2, 9)))
    assert (found[5:-5] - 150).abs().max() < 1.5


def test_gliding_pitch_is_followed():
    time = torch.arange(RATE * 2) / RATE
    glide = torch.sin(2 * math.pi * (120 * time + 40 * time**2))  # 120 Hz + 80 Hz per second
    found, _ = pitch(glide)
    centres = (torch.arange(len(found)) * 160 + 200) / RATE
    assert (found - (120 + 80 * centres))[8:-8].abs().max() < 2
    statistics = named(glide)
    assert statistics["pitch.slope"] > 3  # semitones per second
    assert statistics["pitch.p95"] > statistics["pitch.p50"] > statistics["pitch.p05"]


def test_noise_is_not_voiced_and_a_voice_is():
    assert named(noise())["rhythm.voiced_share"] < 0.05
    assert named(voice(180))["rhythm.voiced_share"] > 0.95
    assert named(voice(180) + noise(amplitude=0.03))["hnr.mean"] < named(voice(180))["hnr.mean"]


def test_energy_in_decibels_and_its_change():
    assert named(tone(200, amplitude=1.0))["energy.p50"] == pytest.approx(-3.01, abs=0.1)
    one, two = named(voice(150)), named(2 * voice(150))
    assert two["energy.mean"] - one["energy.mean"] == pytest.approx(6.02, abs=0.01)
    for name in ("pitch.mean", "alpha.mean", "slope_low.mean", "centroid.p50", "mfcc4.mean"):
        assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-3)
    fade = torch.linspace(0, -20, RATE)  # 20 dB in a second
    assert named(tone(300) * 10 ** (fade / 20))["energy.slope"] == pytest.approx(-20, abs=0.3)


@pytest.mark.parametrize("frequency", [500, 1500, 4000])
def test_centroid_and_rolloff_of_a_tone(frequency):
    statistics = named(tone(frequency))
    assert statistics["centroid.p50"] == pytest.approx(frequency, abs=40)
    assert statistics["rolloff.p50"] == pytest.approx(frequency, abs=64)


def test_spectral_balance():
    dark, bright = named(tone(300) + noise(amplitude=1e-4)), named(tone(3000))
    assert dark["alpha.mean"] < -20 < 20 < bright["alpha.mean"]
    assert dark["hammarberg.mean"] > 20 > -20 > bright["hammarberg.mean"]
    assert named(noise())["entropy.mean"] > 0.8 > 0.4 > named(tone(1000))["entropy.mean"]
    assert named(noise())["flux.mean"] > 10 * named(voice(200))["flux.mean"]


def test_cepstrum_agrees_with_torchaudio():
    import torchaudio

    waveform = voice(140) + noise(amplitude=0.01)
    reference = torchaudio.transforms.MFCC(
        RATE, 20, log_mels=True,
        melkwargs={"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 26,
                   "f_min": 20.0, "center": False},
    )(waveform).T  # fmt: skip
    found = contours(waveform).mfcc
    # torchaudio centres the 400 samples in 512: its frames begin 56 samples earlier.
    torch.testing.assert_close(
        found[10:-10].mean(0), reference[10:-10].mean(0), atol=0.05, rtol=0.01
    )


def test_rhythm_counts_voiced_stretches():
    gap = noise(0.2, 0.001)
    statistics = named(torch.cat([part for _ in range(5) for part in (voice(200, 0.3), gap)]))
    assert statistics["rhythm.voiced_per_second"] == pytest.approx(5 / 2.5, rel=0.1)
    assert statistics["rhythm.voiced_seconds"] == pytest.approx(0.3, abs=0.05)
    assert statistics["rhythm.pause_seconds"] == pytest.approx(0.2, abs=0.05)
    assert statistics["rhythm.peaks_per_second"] >= 1.5


def test_silence_around_speech_changes_little():
    bare = named(voice(200, 0.8))
    silent = torch.zeros(RATE // 2)
    padded = named(torch.cat([silent, voice(200, 0.8), silent]))
    for name in ("pitch.mean", "energy.p50", "centroid.p50", "rhythm.voiced_share"):
        assert padded[name] == pytest.approx(bare[name], rel=0.06)
    assert padded["rhythm.seconds"] == pytest.approx(bare["rhythm.seconds"], abs=0.05)


@pytest.mark.parametrize(
    "waveform",
    [torch.zeros(8000), torch.zeros(1), torch.ones(3), torch.ones(8000), noise(0.01),
     1e-6 * noise(), 1e4 * noise(), tone(100, 0.05), torch.eye(1, 16000)[0]],
    ids=["silence", "one", "three", "constant", "short", "faint", "loud", "stub", "click"],
)  # fmt: skip
def test_always_finite(waveform):
    found = acoustic_statistics(waveform)
    assert found.shape == (len(statistic_names()),) and found.isfinite().all()


def test_names_are_unique_and_tell_all():
    names = statistic_names()
    assert len(set(names)) == len(names) == 12 * 10 + 20 * 12 + 8
    assert {"pitch.p50", "loudness.change", "mfcc19.delta_std", "rhythm.seconds"} <= set(names)


@pytest.mark.realdata
def test_men_and_women_differ_in_pitch(real_data):
    import soundfile

    middle = {}
    for speaker in ("10", "11", "08", "16"):  # two men, two women, neutral
        files = sorted((real_data("emodb") / "wav").glob(f"{speaker}*N*"))[:3]
        found = [named(torch.from_numpy(soundfile.read(f, dtype="float32")[0])) for f in files]
        semitones = sum(item["pitch.p50"] for item in found) / len(found)
        middle[speaker] = 27.5 * 2 ** (semitones / 12)
    assert all(85 < middle[man] < 150 for man in ("10", "11"))
    assert all(165 < middle[woman] < 260 for woman in ("08", "16"))
