"""Other weights at the same path are noticed; a copy elsewhere is the same."""

import shutil

from sertools.stages.sources import fingerprint, sources


def config(path) -> dict:
    return {"trainer": {"encoder": {"!name:": "x", "source": str(path)}}, "precision": "fp32"}


def test_changed_weights_change_the_fingerprint(tmp_path):
    weights = tmp_path / "a" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(bytes(300_000))
    first = fingerprint(config(weights.parent))
    copy = shutil.copytree(weights.parent, tmp_path / "b")
    assert fingerprint(config(copy)) == first
    assert fingerprint({"upstream": {"source": str(copy)}}) == first
    weights.write_bytes(bytes(299_999) + b"1")
    assert fingerprint(config(weights.parent)) != first


def test_changed_transcripts_change_the_fingerprint_and_are_no_encoder(tmp_path):
    file = tmp_path / "asr.jsonl"
    file.write_text("one")
    config = {"trainer": {"transcripts": str(file), "text": {"source": "a/b"}}}
    first = fingerprint(config)
    file.write_text("two")
    assert fingerprint(config) != first and sources(config) == ["a/b"]
    assert fingerprint({"trainer": {"transcripts": "corpus"}}) is None


def test_without_local_files_there_is_none():
    assert fingerprint(config("microsoft/wavlm-base-plus")) is None
    assert fingerprint({"trainer": {"epochs": 3}}) is None
