"""GEmo-CLAP that starts from a file of the public transcription."""

import functools

import pytest
import torch
import toy_gemoclap as toy
import transformers
from safetensors.torch import load_file
from sertools.brains.best import read_description
from sertools.brains.distributed import Ranks
from sertools.brains.gemoclap_start import find_start
from sertools.errors import ConfigError
from sertools.files import sha256
from sertools.models.text import load_text
from sertools.models.upstream import load_upstream
from sertools.stages.sources import start_of
from torch import nn

WIDE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 24}
WAVLM = {**WIDE, "conv_dim": [16] * 7, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
         "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}


@pytest.fixture
def released(tmp_path):
    """Return the file of a tiny model, and options of a trainer of its encoders."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    state = {}
    for kind, model in (("audio", transformers.WavLMModel(transformers.WavLMConfig(**WAVLM))),
                        ("text", transformers.RobertaModel(transformers.RobertaConfig(
                            vocab_size=400, max_position_embeddings=40, **WIDE)))):
        model.save_pretrained(tmp_path / kind)
        head = nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 512))
        state |= {f"{kind}_encoder.{key}": 1.1 * value
                  for key, value in model.state_dict().items()}
        state |= {f"{kind}_projection.proj.{key}": value
                  for key, value in head.state_dict().items()}
        state[f"logit_scale_{kind}"] = torch.tensor(2.5)
    torch.save({"epoch": 3, "model_state_dict": state}, tmp_path / "fold_1_best.pth")
    return tmp_path / "fold_1_best.pth", {
        "audio": functools.partial(load_upstream, source=str(tmp_path / "audio")),
        "text": functools.partial(load_text, source=str(tmp_path / "text")),
        "text_pool": "cls", "tokeniser": 300, "dim": 512, "epochs": 0,
        "start": str(tmp_path / "fold_1_best.pth")}


def test_it_is_evaluated_as_it_is(root, tmp_path, released):
    path, options = released
    work = toy.make_work(root, tmp_path / "unit")
    made = toy.trainer(**options)
    made.fit(work)
    best = work.folder / "best"
    theirs, ours = torch.load(path, weights_only=True)["model_state_dict"], load_file(
        best / "model.safetensors")
    assert torch.equal(ours["audio_head.2.weight"], theirs["audio_projection.proj.2.weight"])
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(ours[f"encoders.text.model.{name}"], theirs[f"text_encoder.{name}"])
    about = read_description(best)
    assert about["scales"]["audio"] == pytest.approx(12.1825, rel=1e-4)  # exp(2.5)
    assert about["trained_on"] == {"corpora": None, "prompts": []}
    said = made.predict(work, sorted(work.manifest)[16:])
    assert len(said) == 10 and all(sum(p.probabilities) == pytest.approx(1) for p in said)
    notes = made._inputs(work, Ranks()).notes()
    assert notes[0] == ("the model starts from fold_1_best.pth, a file of the public "
                        "transcription, which was trained on corpora that are not known")


def test_the_file_and_no_other_is_noticed(root, tmp_path, released):
    path, options = released
    work = toy.make_work(root, tmp_path / "unit")
    assert find_start(path, work).description["sha256"] == sha256(path)
    first = start_of({"trainer": {"start": str(path)}})
    with pytest.raises(ConfigError, match="does not fit"):
        toy.trainer(**{**options, "dim": 64}).fit(work)
    torch.save({"model": 1}, path)
    assert start_of({"trainer": {"start": str(path)}}) != first is not None
    with pytest.raises(ConfigError, match="no file of GEmo-CLAP"):
        toy.trainer(**options).fit(work)
