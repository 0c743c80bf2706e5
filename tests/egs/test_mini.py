"""mini: the same bytes everywhere, a voice that does what its labels say, and a safe release."""

import os
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest
import soundfile
import trees
from minis import MINI, contents, synthesise, table
from sertools.data.counts import confounds, count_faults
from sertools.data.prepare import prepare_manifest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EMOTIONS = ("neutral", "happy", "sad", "angry")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Return a release of 8 speakers with 6 utterances per emotion."""
    folder = tmp_path_factory.mktemp("mini") / "release"
    synthesise(folder, speakers=8, utterances=6)
    return folder


@pytest.fixture
def tiny(tmp_path):
    """Return a release of 4 utterances."""
    synthesise(tmp_path / "tiny", speakers=1, utterances=1)
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def measured(release):
    """Return one dict per utterance: its metadata and what is measured in its audio."""
    return [
        row | measure(soundfile.read(release / row["file"])[0]) for row in table(release)
    ]


def measure(wave):
    """F0 by autocorrelation, level, length, and log spectra in 12 bands with their spread."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 640)[::160] * np.hanning(640)
    power = np.abs(np.fft.rfft(frames, 1280)) ** 2
    lags = np.fft.irfft(power)[:, :270] / (np.fft.irfft(power)[:, :1] + 1e-9)
    lag = lags[:, 35:].argmax(1) + 35
    level = 10 * np.log10((frames**2).mean(1) + 1e-10)
    voiced = (lags[np.arange(len(lag)), lag] > 0.5) & (level > level.max() - 30)
    semitones = 12 * np.log2(16000 / lag[voiced] / 100)
    edges = np.geomspace(4, 640, 13).astype(int)
    bands = np.log(np.add.reduceat(power[:, :640], edges[:-1], axis=1) + 1e-8)
    prosody = [np.median(semitones), semitones.std(), level.mean(), level.max(), len(wave) / 16000]
    return {"f0": prosody[0], "melody": prosody[1], "level": prosody[2], "seconds": prosody[4],
            "statistics": np.concatenate([prosody, bands.mean(0), bands.std(0)])}


def mean_of(rows, what, emotion, speaker):
    return np.mean([r[what] for r in rows if (r["label"], r["speaker"]) == (emotion, speaker)])


# --- the same bytes ----------------------------------------------------------------------------


def test_a_smaller_release_is_part_of_a_larger_one(release, tmp_path):
    synthesise(tmp_path / "small", speakers=2, utterances=2)
    large, small = contents(release), contents(tmp_path / "small")
    audio = [name for name in small if name.startswith("wav/")]
    assert len(audio) == 16 and all(small[name] == large[name] for name in audio)


def test_another_seed_gives_other_voices_and_labels(tiny, tmp_path):
    synthesise(tmp_path / "other", seed=2, speakers=1, utterances=1)
    one, two = contents(tiny), contents(tmp_path / "other")
    assert one.keys() == two.keys()
    assert not any(one[name] == two[name] for name in one if name != "wav")


def test_no_instruction_set_changes_a_byte(tiny, tmp_path):
    features = np._core._multiarray_umath
    usable = [n for n in features.__cpu_dispatch__ if features.__cpu_features__.get(n)]
    env = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(usable), "OPENBLAS_NUM_THREADS": "1",
                        "OPENBLAS_CORETYPE": "Prescott", "PYTHONHASHSEED": "7"}
    run = [sys.executable, "synthesise.py", str(tmp_path / "plain")]
    subprocess.run([*run, "--speakers", "1", "--utterances", "1"], cwd=MINI, env=env, check=True,
                   stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "plain") == contents(tiny)


# --- counts and labels -------------------------------------------------------------------------


def test_the_whole_plan_has_the_counts_of_the_recipe(tmp_path, collect, load_corpus):
    from synthesise import _write_metadata
    from utterances import plan

    rows = [row for number in range(12) for row in plan(number, 12, 10, seed=1)]
    _write_metadata(tmp_path / "metadata.csv", rows)
    for row in rows:
        trees.name_only(tmp_path / row.file)
    found, faults = collect("mini", tmp_path)
    assert not faults.faults and count_faults(found.values(), load_corpus("mini")) == []
    assert confounds(found.values()) == []
    genders = defaultdict(set)
    for record in found.values():
        genders[record.session].add(record.gender)
    assert len(genders) == 6 and all(both == {"female", "male"} for both in genders.values())


def test_neutral_wording_says_nothing_about_the_emotion():
    from utterances import plan

    rows = [row for number in range(12) for row in plan(number, 12, 10, seed=1)]
    said = defaultdict(Counter)
    for row in rows:
        if "_n" in row.id.removeprefix(f"{row.speaker}_{row.label}"):
            said[row.speaker, row.label][row.text] += 1
    for speaker in {row.speaker for row in rows}:
        assert sum(said[speaker, "happy"].values()) == 6
        assert all(said[speaker, emotion] == said[speaker, "sad"] for emotion in EMOTIONS)


def test_words_move_valence_and_nothing_else():
    from script import SENTENCES
    from utterances import plan

    valence = {text: wording for wording, text, _ in SENTENCES.values()}
    rows = [row for number in range(12) for row in plan(number, 12, 10, seed=1)]

    def mean(dimension, emotion, wording):
        return np.mean([getattr(row, dimension) for row in rows
                        if row.label == emotion and valence[row.text] == wording])

    for emotion in ("happy", "angry"):
        assert mean("valence", emotion, 1) - mean("valence", emotion, -1) > 2
        assert abs(mean("arousal", emotion, 1) - mean("arousal", emotion, -1)) < 0.4
    gap = mean("valence", "happy", 0) - mean("valence", "angry", 0)
    assert 0.8 < gap < 2 < mean("valence", "happy", 1) - mean("valence", "angry", -1)
    assert abs(mean("arousal", "happy", 0) - mean("arousal", "angry", 0)) < 0.4


def test_the_release_prepares_into_a_manifest(release, load_prepare, load_corpus, tmp_path):
    corpus = load_corpus("mini", allow_subset=True)
    lines = []
    prepare_manifest(load_prepare("mini").records, corpus, release, tmp_path, say=lines.append)
    assert lines[0].startswith("mini: 192 utterances") and "8 speakers" in lines[0]
    assert all("subset" in line for line in lines if line.startswith("warning"))


# --- what is heard -----------------------------------------------------------------------------


def test_every_file_is_sound_speech(release):
    for row in table(release):
        wave, rate = soundfile.read(release / row["file"], dtype="int16")
        info = soundfile.info(release / row["file"])
        assert (rate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 1.4 < len(wave) / rate < 3.6
        assert 500 < np.abs(wave).max() < 32767 and abs(wave.mean()) < 30


def test_emotions_are_heard_in_every_speaker(measured):
    for speaker in {row["speaker"] for row in measured}:
        sad, angry, happy, neutral = (
            {what: mean_of(measured, what, emotion, speaker)
             for what in ("f0", "melody", "level", "seconds")}
            for emotion in ("sad", "angry", "happy", "neutral"))
        assert angry["f0"] - sad["f0"] > 2.5 and happy["f0"] - sad["f0"] > 4
        assert angry["level"] - sad["level"] > 4 and happy["level"] - neutral["level"] > 1
        assert sad["seconds"] > 1.12 * angry["seconds"]


def test_women_speak_higher_than_men(measured):
    pitch = {speaker: mean_of(measured, "f0", "neutral", speaker)
             for speaker in {row["speaker"] for row in measured}}
    assert len(pitch) == 8
    assert min(p for s, p in pitch.items() if s[0] == "f") - 3 > max(
        p for s, p in pitch.items() if s[0] == "m")


def test_intensity_drives_pitch_within_an_emotion():
    from prosody import manner
    from utterances import cast

    who, moved = cast(0, seed=1), {}
    for intensity in (0.5, 1.0):
        moved[intensity] = {
            emotion: np.mean([manner(emotion, intensity, who, np.random.RandomState(n)).pitch
                              for n in range(20)]) for emotion in EMOTIONS}
    assert moved[1.0]["happy"] - moved[0.5]["happy"] > 1.5
    assert moved[1.0]["angry"] - moved[0.5]["angry"] > 1.0
    assert moved[1.0]["sad"] - moved[0.5]["sad"] < -0.7


@pytest.mark.parametrize("hertz", [95.0, 210.3, 333.0])
def test_the_voice_has_the_pitch_and_formants_it_is_told(hertz):
    from voice import Controls, Tract, speak

    frames, formants = 200, np.array([700.0, 1200.0, 2500.0])
    steady = np.ones(frames)
    wave = speak(
        Controls(f0=hertz * steady, voice=0.05 * steady, breath=0 * steady,
                 noise=np.zeros((frames, 5)), formants=np.tile(formants, (frames, 1)),
                 nasal=0 * steady, tilt=8 * steady, open_quotient=0.6 * steady,
                 jitter=0.0, shimmer=0.0),
        Tract(scale=1.0), np.random.RandomState(0))[4000:12000]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 16))
    resolution = 16000 / (1 << 16)
    harmonics = np.arange(1, int(3200 / hertz)) * hertz
    at = np.array([spectrum[int((h - 5) / resolution):int((h + 5) / resolution)].max()
                   for h in harmonics])
    between = spectrum[((harmonics + hertz / 2) / resolution).astype(int)]
    assert at.sum() > 100 * between.sum()
    for formant in formants:  # harmonics near a formant stand out over those half way to the next
        near = at[np.abs(harmonics - formant).argmin()]
        valley = at[np.abs(harmonics - {700: 950, 1200: 1800, 2500: 1900}[formant]).argmin()]
        assert hertz > 300 or near > 1.2 * valley


def test_the_emotion_is_learnable_but_not_from_loudness(measured):
    labels = np.array([row["label"] for row in measured])
    sessions = [row["session"] for row in measured]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))

    def recall(features):
        guessed = cross_val_predict(probe, features, labels, groups=sessions,
                                    cv=LeaveOneGroupOut())
        return recall_score(labels, guessed, average="macro")

    full = recall(np.stack([row["statistics"] for row in measured]))
    loudness = recall(np.array([[row["level"]] for row in measured]))
    assert 0.6 < full < 0.97 and loudness < full - 0.12
