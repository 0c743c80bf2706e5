"""From imitation and real releases to manifests: counts, broken audio, odd audio, subsets."""

import dataclasses
import json

import pytest
import soundfile
import trees
from sertools.data.manifest import read_manifest
from sertools.data.prepare import prepare_manifest
from sertools.errors import DataError


@pytest.fixture
def prepared(tmp_path, load_prepare, load_corpus):
    """Return a function that prepares a release; it gives records by stem, and the summary."""

    def run(name, root, file="corpus.yaml", corpus=None, **changes):
        corpus = dataclasses.replace(corpus or load_corpus(name, file), **changes)
        out = tmp_path / "prepared"
        prepare_manifest(load_prepare(name).records, corpus, root, out, say=lambda _: None)
        manifest = read_manifest(out / "utts.json")
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        return {id.removeprefix(f"{name}-"): record for id, record in manifest.items()}, summary

    return run


@pytest.fixture
def release(tmp_path):
    """Return the folder of a small EMO-DB."""
    trees.emodb(tmp_path / "release", trees.SMALL_EMODB)
    return tmp_path / "release"


SMALL_COUNTS = {"total": 14, "label": {"W": 3, "L": 2, "E": 1, "A": 2, "F": 2, "T": 2, "N": 2},
                "speaker": {"03": 8, "08": 6}, "gender": {"male": 8, "female": 6}}


def test_the_whole_release_passes_its_own_counts(tmp_path, prepared):
    root = tmp_path / "release"
    trees.emodb(root, write=lambda path: trees.sound(path, seconds=0.11))
    manifest, summary = prepared("emodb", root)
    assert len(manifest) == 535 and summary["warnings"] == [] and summary["dropped"] == {}
    assert summary["label"] == {"anger": 127, "boredom": 81, "disgust": 46, "fear": 69,
                                "happiness": 71, "sadness": 62, "neutral": 79}
    assert manifest["03a01Wa"].label == "anger" and manifest["03a01Wa"].sample_rate == 16000


def test_a_subset_is_refused_unless_it_is_allowed(release, prepared):
    with pytest.raises(DataError) as caught:
        prepared("emodb", release)
    message = str(caught.value)
    assert "counts.total: expected 535, found 14" in message
    assert "counts.label.W: expected 127, found 3" in message
    assert "counts.speaker.09: expected 43, found 0" in message
    assert "allow_subset" in message and caught.value.exit_code == 3
    manifest, summary = prepared("emodb", release, allow_subset=True)
    assert len(manifest) == 14
    assert any("expected 535, found 14" in warning for warning in summary["warnings"])


def test_own_counts_pass_and_fail(release, prepared):
    assert len(prepared("emodb", release, counts=SMALL_COUNTS)[0]) == 14
    (release / "wav" / "08a01Wa.wav").unlink()
    with pytest.raises(DataError, match="counts.speaker.08: expected 6, found 5"):
        prepared("emodb", release, counts=SMALL_COUNTS)


def test_an_unknown_letter_is_an_error_not_a_skip(release, prepared):
    trees.sound(release / "wav" / "03a01Xa.wav")
    with pytest.raises(DataError, match="emodb-03a01Xa: label 'X'"):
        prepared("emodb", release, counts=SMALL_COUNTS | {"total": 15})


def test_every_broken_file_is_named_with_its_remedy_in_one_pass(release, prepared):
    wav = release / "wav"
    trees.pointer(wav / "03a01Wa.wav")
    (wav / "03a02Wa.wav").write_bytes(b"")
    soundfile.write(wav / "03a01La.wav", [], 16000)
    trees.truncated(wav / "03a01Ea.wav")
    trees.sound(wav / "03a01Aa.wav", seconds=0.064)
    soundfile.write(wav / "03a01Fa.wav", [0.0] * 4000, 16000)
    (wav / "08a01Na.wav").unlink()
    trees.truncated(trees.sound(wav / "08a01Na.flac"))
    trees.name_only(wav / "notes.wav")
    with pytest.raises(DataError) as caught:
        prepared("emodb", release, counts=SMALL_COUNTS)
    message = str(caught.value)
    for words in (
        "wav/03a01Wa.wav: 130 bytes of text", "git lfs pull", "wav/03a02Wa.wav", "03a01La.wav",
        "without a sample", "wav/03a01Ea.wav", "missing", "wav/03a01Aa.wav: 0.064 s", "min_seconds",
        "wav/03a01Fa.wav: all samples have the same value", "wav/08a01Na.flac", "wav/notes.wav",
        "bad_audio: skip",
    ):
        assert words in message, words


def test_bad_audio_is_skipped_and_counted_on_request(release, prepared):
    trees.pointer(release / "wav" / "03a01Wa.wav")
    manifest, summary = prepared("emodb", release, counts=SMALL_COUNTS, bad_audio="skip")
    assert "03a01Wa" not in manifest and len(manifest) == 13
    assert list(summary["skipped"].values()) == [1]


def test_odd_audio_is_read_as_it_is(release, prepared):
    wav = release / "wav"
    rates = {"03a01Wa": 8000, "03a02Wa": 22050, "03a01La": 24414, "03a01Ea": 44100,
             "03a01Aa": 48000, "03a01Fa": 96000}
    for stem, rate in rates.items():
        trees.sound(wav / f"{stem}.wav", rate=rate)
    trees.sound(wav / "03a01Ta.wav", channels=2)
    trees.with_chunk(wav / "03a01Na.wav")
    trees.with_chunk(wav / "08a01Ta.wav", name=b"PAD ", size=14)
    trees.aiff_inside(wav / "08a01Wa.wav")
    plain, _ = prepared("emodb", release, counts=SMALL_COUNTS)
    assert {stem: plain[stem].sample_rate for stem in rates} == rates
    assert plain["03a01Ta"].channels == 2
    assert all(abs(record.duration - 0.15) < 1e-3 for record in plain.values())
    assert len({record.audio_hash for record in plain.values()}) == 14


def test_an_extra_chunk_does_not_change_the_samples(release, prepared):
    before, _ = prepared("emodb", release, counts=SMALL_COUNTS)
    for path in (release / "wav").iterdir():
        trees.with_chunk(path)
    after, _ = prepared("emodb", release, counts=SMALL_COUNTS)
    assert after == before


def test_ravdess_finds_a_repeated_recording(tmp_path, prepared):
    root = tmp_path / "release"
    trees.ravdess(root, ("07",), write=lambda path, rate: trees.sound(path))
    original = root / "Actor_07" / "03-01-03-01-02-01-07.wav"
    (root / "Actor_07" / "03-01-03-01-02-02-07.wav").write_bytes(original.read_bytes())
    manifest, summary = prepared("ravdess", root, allow_subset=True)
    assert len(manifest) == 60
    assert summary["duplicates"] == [
        ["ravdess-03-01-03-01-02-01-07", "ravdess-03-01-03-01-02-02-07"]]


def test_ravdess_song_and_speech_have_manifests_of_their_own(tmp_path, prepared):
    root = tmp_path / "release"
    trees.ravdess(root, ("17", "18"), ("01", "02"), write=lambda path, rate: trees.sound(path))
    sung, summary = prepared("ravdess", root, "corpus_song.yaml", allow_subset=True)
    assert len(sung) == 44 and summary["set"] == "song"
    assert summary["dropped"] == {"speech, not in part song": 120}
    assert "surprise" not in summary["label"] and summary["label"]["neutral"] == 4


def test_urdu_warns_that_speakers_give_the_class_away(tmp_path, prepared):
    trees.urdu(tmp_path / "release", trees.SMALL_URDU)
    _, summary = prepared("urdu", tmp_path / "release", allow_subset=True)
    assert any("speakers have one class only" in warning for warning in summary["warnings"])


def test_korean_text_survives_the_manifest(tmp_path, prepared):
    trees.emotiontts(tmp_path / "release", trees.SMALL_EMOTIONTTS, each=1)
    manifest, _ = prepared("emotiontts_ko", tmp_path / "release", allow_subset=True)
    assert manifest["nea00201"].text == "201번 문장이에요."
    assert manifest["nea00201"].label == "sadness"


def test_korean_without_labels(tmp_path, prepared):
    trees.emotiontts(tmp_path / "release", {}, each=1)
    manifest, summary = prepared(
        "emotiontts_ko", tmp_path / "release", "corpus_unlabelled.yaml")
    assert len(manifest) == 6 and {record.label for record in manifest.values()} == {None}
    assert summary["set"] == "unlabelled"


REAL = [("emodb", "corpus.yaml", 535, []),
        ("ravdess", "corpus.yaml", 1440, [["ravdess-03-01-03-01-02-01-07",
                                           "ravdess-03-01-03-01-02-02-07"]]),
        ("urdu", "corpus.yaml", 400, []),
        ("emotiontts_ko", "corpus.yaml", 300, [])]


@pytest.mark.realdata
@pytest.mark.parametrize("name, file, total, twins", REAL)
def test_real_releases_pass_as_they_are(name, file, total, twins, real_data, prepared):
    manifest, summary = prepared(name, real_data(name), file)
    assert len(manifest) == total and summary["duplicates"] == twins
    assert summary["dropped"] == {} and summary["skipped"] == {}
    assert not any("subset" in warning for warning in summary["warnings"])


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name, total, rate",
    [("emodb", 10, 16000), ("ravdess", 10, 48000), ("urdu", 10, 44100),
     ("emotiontts_ko", 3, 22050)],
)
def test_real_originals_are_an_allowed_subset(name, total, rate, real_data, prepared):
    root = real_data(f"{name}_orig")
    with pytest.raises(DataError, match="allow_subset"):
        prepared(name, root)
    manifest, summary = prepared(name, root, allow_subset=True)
    assert len(manifest) == total and summary["sample_rate"] == {str(rate): total}
    assert any("subset" in warning for warning in summary["warnings"])
    if name == "ravdess":
        assert summary["channels"] == {"1": 5, "2": 5}
