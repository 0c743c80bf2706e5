"""What is read from audio files: facts, faults, and that nothing is read twice."""

import os

import numpy as np
import pytest
import soundfile
from sertools.data.facts import Facts, extension_lies, facts_of, read_facts
from sertools.data.record import Record
from sertools.data.sniff import missing_share
from sertools.errors import Interrupted
from sounds import noise, with_extra_chunk, write

WHOLE = (None, None, None)


def facts(path, part=WHOLE) -> Facts:
    return facts_of(path, [part])[part]


@pytest.mark.parametrize("rate, channels", [
    (8000, 1), (16000, 1), (22050, 1), (24414, 1), (44100, 2), (48000, 6), (96000, 1)])
def test_rates_and_channels_come_from_the_file(tmp_path, rate, channels):
    path = write(tmp_path / "a.wav", noise(0.25, rate, channels), rate)
    found = facts(path)
    assert found.kind is None and found.content == "WAV"
    assert (found.sample_rate, found.channels) == (rate, channels)
    assert found.seconds == round(0.25 * rate) / rate


def test_hash_is_that_of_the_samples(tmp_path):
    samples = (noise(0.3) * 32767).astype("int16")  # writers round floats in different ways
    wav = facts(write(tmp_path / "a.wav", samples))
    assert facts(write(tmp_path / "a.flac", samples)).audio_hash == wav.audio_hash
    chunked = with_extra_chunk(write(tmp_path / "b.wav", samples))
    assert facts(chunked).audio_hash == wav.audio_hash
    others = [write(tmp_path / "c.wav", samples, 8000), write(tmp_path / "d.wav", samples[1:]),
              write(tmp_path / "e.wav", np.repeat(samples, 2, 1)),
              write(tmp_path / "f.wav", samples / np.float32(32767), subtype="FLOAT")]
    assert len({wav.audio_hash, *(facts(path).audio_hash for path in others)}) == 5
    assert len(wav.audio_hash) == 32


def test_long_files_are_hashed_like_short_ones(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(0.3, channels=2))
    whole = facts(path)
    monkeypatch.setattr("sertools.data.facts._BLOCK", 1000)
    assert facts(path) == whole


@pytest.mark.parametrize("part, seconds", [
    ((0.1, 0.25, None), 0.15), ((0.1, None, None), 0.2), ((None, 0.1, 1), 0.1),
    ((0.1, 0.33, None), 0.2)])  # ends may be rounded up to 0.05 s behind the file
def test_segments(tmp_path, part, seconds):
    samples = noise(0.3, channels=2)
    found = facts(write(tmp_path / "a.wav", samples), part)
    assert found.kind is None and found.seconds == pytest.approx(seconds)
    first = round((part[0] or 0) * 16000)
    cut = samples[first:first + round(seconds * 16000)]
    cut = cut if part[2] is None else cut[:, part[2]]
    assert facts(write(tmp_path / "cut.wav", cut)).audio_hash == found.audio_hash


def plain_text(path):
    path.write_text("this is no audio")


def lfs_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def truncated_wav(path):
    write(path)
    path.write_bytes(path.read_bytes()[:-4000])


def truncated_flac(path):
    write(path.with_suffix(".flac"), format="FLAC")
    path.write_bytes(path.with_suffix(".flac").read_bytes()[:-3000])


def not_finite(path):
    samples = noise(0.3)
    samples[77] = np.nan
    write(path, samples, subtype="FLOAT")


@pytest.mark.parametrize("make, kind, words", [
    (lambda path: None, "missing", "no such file"),
    (plain_text, "cannot be decoded", "it looks like text"),
    (lfs_pointer, "Git-LFS", "not fetched"),
    (lambda path: path.write_bytes(b"\0\0\0\x18ftypM4A \0\0"), "cannot be decoded", "MP4"),
    (lambda path: path.write_bytes(b""), "cannot be decoded", ""),
    (lambda path: write(path, np.zeros((0, 1), "float32")), "without a sample", "empty"),
    (lambda path: write(path, np.zeros((4000, 2), "float32")), "without any sound", "same value"),
    (lambda path: write(path, np.full((4000, 1), 0.5, "float32")), "without any sound", ""),
    (not_finite, "NaN or infinite", ""),
    (truncated_wav, "cut short", "%"),
    (truncated_flac, "cut short|cannot be decoded", ""),
])
def test_audio_that_cannot_be_used(tmp_path, make, kind, words):
    make(tmp_path / "a.wav")
    found = facts(tmp_path / "a.wav")
    assert found.kind and any(name in found.kind for name in kind.split("|"))
    assert words in found.what


@pytest.mark.parametrize("part, kind", [
    ((0.1, 0.4, None), "outside their file"), ((0.3, None, None), "outside their file"),
    ((5.0, 6.0, None), "outside their file"), ((None, None, 2), "channels that do not exist")])
def test_parts_that_do_not_exist(tmp_path, part, kind):
    assert kind in facts(write(tmp_path / "a.wav", noise(0.3, channels=2)), part).kind


def test_very_quiet_speech_is_no_silence(tmp_path):
    path = write(tmp_path / "a.wav", noise(0.3) * 3e-4)  # a few steps of 16 bits
    assert facts(path).kind is None


def test_streamed_files_without_a_length_are_whole(tmp_path):
    path = write(tmp_path / "a.wav")
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + b"\xff\xff\xff\xff" + content[at + 4:])
    assert facts(path).kind is None


def test_aiff_named_wav(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(0.3), 24414, format="AIFF")
    found = facts(path)
    assert found.kind is None and found.content == "AIFF" and found.sample_rate == 24414
    assert extension_lies("a.wav", found)
    assert not extension_lies("a.WAV", facts(write(tmp_path / "b.wav")))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no undecodable file names")
def test_names_that_are_not_unicode(tmp_path):
    folder = os.fsencode(tmp_path) + b"/Col\x8are"
    os.makedirs(folder)
    good = write(tmp_path / "a.wav")
    os.rename(good, folder + b"/a.wav")
    record = Record(id="toy-a", path=os.fsdecode(b"Col\x8are/a.wav"))
    kept = tmp_path / "audio.json"
    for _ in range(2):
        assert read_facts([record], tmp_path, kept)["toy-a"].kind is None


def some_records(folder, number=4):
    for index in range(number):
        write(folder / f"{index}.wav")
    return [Record(id=f"toy-{index}", path=f"{index}.wav") for index in range(number)]


def count_reads(monkeypatch):
    paths = []
    real = facts_of
    monkeypatch.setattr("sertools.data.facts.facts_of",
                        lambda path, parts: paths.append(path.name) or real(path, parts))
    return paths


def test_unchanged_files_are_not_read_again(tmp_path, monkeypatch):
    records, kept = some_records(tmp_path), tmp_path / "kept" / "audio.json"
    reads = count_reads(monkeypatch)
    first = read_facts(records, tmp_path, kept)
    assert sorted(reads) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    write(tmp_path / "2.wav", noise(0.4))
    (tmp_path / "3.wav").unlink()
    reads.clear()
    second = read_facts(records, tmp_path, kept)
    assert sorted(reads) == ["2.wav", "3.wav"]
    assert [second[id] == first[id] for id in first] == [True, True, False, False]
    write(tmp_path / "3.wav")
    assert read_facts(records, tmp_path, kept) == second | {"toy-3": first["toy-3"]}


def test_files_that_could_not_be_opened_are_tried_again(tmp_path, monkeypatch):
    records, kept = some_records(tmp_path, 2), tmp_path / "audio.json"

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("sertools.data.facts.content_of", refuse)
        found = read_facts(records, tmp_path, kept)
        assert {facts.what for facts in found.values()} == {"Permission denied"}
    # neither size nor time of the files changed
    assert {facts.kind for facts in read_facts(records, tmp_path, kept).values()} == {None}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1, "0.wav": 3}',
                                     '{"version": 0}'])
def test_foreign_kept_facts_are_ignored(tmp_path, content):
    records, kept = some_records(tmp_path, 1), tmp_path / "audio.json"
    kept.write_text(content)
    assert read_facts(records, tmp_path, kept)["toy-0"].kind is None


def test_one_file_is_opened_once_for_all_its_parts(tmp_path, monkeypatch):
    write(tmp_path / "long.wav", noise(1.0))
    records = [Record(id=f"toy-{n}", path="long.wav", start=n / 10, end=(n + 1) / 10)
               for n in range(10)]
    reads = count_reads(monkeypatch)
    assert len({fact.audio_hash for fact in read_facts(records, tmp_path).values()}) == 10
    assert reads == ["long.wav"]


def test_stopping_keeps_what_was_read(tmp_path, monkeypatch):
    records, kept = some_records(tmp_path, 6), tmp_path / "audio.json"
    answers = iter([False, False, True])
    with pytest.raises(Interrupted, match="after 3 of 6") as error:
        read_facts(records, tmp_path, kept, should_stop=lambda: next(answers), workers=1)
    assert error.value.exit_code == 4
    reads = count_reads(monkeypatch)
    assert len(read_facts(records, tmp_path, kept)) == 6
    assert len(reads) == 3


def test_progress_is_said_now_and_then(tmp_path, monkeypatch):
    records, said = some_records(tmp_path), []
    read_facts(records, tmp_path, say=said.append)
    assert said == []
    monkeypatch.setattr("sertools.data.facts._SAY_EVERY", -1)
    read_facts(records, tmp_path, say=said.append)
    assert said[-1] == "read 4 of 4 audio files"


@pytest.mark.realdata
@pytest.mark.parametrize("corpus, files, twins", [("emodb", 535, 0), ("ravdess", 1440, 1)])
def test_real_recordings_are_sound(real_data, corpus, files, twins):
    root = real_data(corpus)
    records = [Record(id=path.stem, path=path.relative_to(root).as_posix())
               for path in root.rglob("*.flac")]
    found = read_facts(records, root)
    assert len(found) == files and {fact.kind for fact in found.values()} == {None}
    assert len({fact.audio_hash for fact in found.values()}) == files - twins


@pytest.mark.parametrize("head, content", [
    (b"RIFF\x00\x00\x00\x00AVI LIST", "AVI"), (b"\x1aE\xdf\xa3webm", "WebM"),
    (b"PK\x03\x04", "ZIP"), (b"\x00\x01\x02", "")])
def test_other_files_are_named(tmp_path, head, content):
    (tmp_path / "a.wav").write_bytes(head)
    found = facts(tmp_path / "a.wav")
    assert "cannot be decoded" in found.kind and content in found.what


@pytest.mark.parametrize("format", ["AIFF", "RF64", "OGG"])
def test_other_formats_are_whole(tmp_path, format):
    soundfile.write(tmp_path / "a.wav", noise(0.3), 16000, format=format)
    assert facts(tmp_path / "a.wav").kind is None


def test_a_header_without_data_is_no_audio(tmp_path):
    path = write(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes().split(b"data")[0])
    assert missing_share(path) == 0.0 and facts(path).kind


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "a.wav").mkdir()
    assert "cannot be opened" in facts(tmp_path / "a.wav").kind


def test_decoders_that_stop_early_are_noticed(tmp_path, monkeypatch):
    path = write(tmp_path / "a.flac")
    monkeypatch.setattr(soundfile.SoundFile, "read",
                        lambda *_, **__: np.zeros((0, 1), "float32"))
    assert facts(path).kind == "audio that is cut short" and "100%" in facts(path).what
