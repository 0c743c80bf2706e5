"""What an encoder has heard: kept by our folders, known of published ones, said in words."""

import json

import pytest
import torch
from sertools.models.weights import load_encoder, save_encoder
from sertools.models.weights.folders import pretrained_on
from sertools.models.weights.heard import LABELLED, in_domain

WORDS = "the encoder was pretrained on this corpus's audio, {}, without labels"
HEARD = {"emodb": ["03", "08"], "emotiontts_ko": None}


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    return save_encoder(tiny_encoder("mel"), tmp_path / "encoder", HEARD)


def test_it_is_kept_beside_the_structure(folder, tiny_encoder, tmp_path):
    assert pretrained_on(folder) == HEARD
    assert json.loads((folder / "config.json").read_text())["pretrained_on"] == HEARD
    silent = save_encoder(tiny_encoder("mel"), tmp_path / "silent")
    assert pretrained_on(silent) == {}
    assert load_encoder(folder).config == load_encoder(silent).config
    again = save_encoder(load_encoder(folder), tmp_path / "again", pretrained_on(folder))
    assert pretrained_on(again) == HEARD
    same = zip(load_encoder(again).parameters(), load_encoder(folder).parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)


@pytest.mark.parametrize(("corpus", "speakers", "which"), [
    ("emodb", ["03"], "test speakers included"),
    ("emodb", ["03", "08"], "test speakers included"),
    ("EMO-DB", ["03", "09", "10"], "1 of 3 test speakers included"),
    ("emodb", ["09"], "but not on the test speakers"),
    ("emodb", ["03", None], "probably test speakers too"),
    ("emotiontts_ko", ["ema"], "probably test speakers too"),
])  # fmt: skip
def test_words(folder, corpus, speakers, which):
    assert in_domain(folder, corpus, speakers) == WORDS.format(which)
    assert in_domain(folder, "ravdess", speakers) is None


@pytest.mark.parametrize("source", [
    "emotion2vec/emotion2vec_base", "emotion2vec/emotion2vec_base@abc123",
    "iic/emotion2vec_base", "/some/where/emotion2vec_base.pt",
    "/cache/models--emotion2vec--emotion2vec_base/snapshots/abc/emotion2vec_base.pt",
])  # fmt: skip
def test_the_published_encoder_has_heard_its_evaluation_corpora(source):
    for corpus in ("iemocap", "IEMOCAP", "meld", "cmu_mosei", "mosei", "mead", "msp_podcast"):
        assert in_domain(source, corpus, ["a"]) == WORDS.format("probably test speakers too")
    for corpus in ("emodb", "ravdess", "urdu", "savee", "mosi"):
        assert in_domain(source, corpus, ["a"]) is None


def test_the_published_fine_tuned_encoders_know_labels():
    assert len(LABELLED) == 32
    for size in ("seed", "base", "large"):
        source = f"emotion2vec/emotion2vec_plus_{size}"
        for corpus in ("emodb", "ravdess", "urdu", "crema_d", "iemocap"):
            assert "fine-tuned on this corpus's training part, with its labels" in in_domain(
                source, corpus, ["a"])
        assert "without labels" in in_domain(source, "cmu_mosei", ["a"])
        assert in_domain(source, "emotiontts_ko", ["a"]) is None


@pytest.mark.parametrize("source", [
    "microsoft/wavlm-base", "facebook/data2vec-audio-base", "torchaudio:WAVLM_BASE",
    "facebook/not_emotion2vec_base", "/no/where",
])  # fmt: skip
def test_nothing_is_claimed_of_others(source):
    assert pretrained_on(source) == {}
    assert in_domain(source, "iemocap", ["Ses01F"]) is None


def test_an_encoder_is_known_by_the_pretraining_that_it_lies_in(tiny_encoder, tmp_path):
    inside = save_encoder(tiny_encoder("mel"), tmp_path / "pretrain/best/encoder")
    assert pretrained_on(inside) == {}
    (tmp_path / "pretrain/audio.json").write_text('{"corpora": {"emodb": {"hours": 0.4}}}')
    assert pretrained_on(inside) == {"emodb": None}
    for damaged in ("[1]", "{", '{"corpora": null}'):
        (tmp_path / "pretrain/audio.json").write_text(damaged)
        assert pretrained_on(inside) == {}


def test_an_own_folder_is_believed_whatever_it_is_called(tiny_encoder, tmp_path):
    place = tmp_path / "emotion2vec_base" / "encoder"
    save_encoder(tiny_encoder("mel"), place, HEARD)
    assert pretrained_on(place) == HEARD
    assert in_domain(place, "iemocap", ["a"]) is None
