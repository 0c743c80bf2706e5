"""Files of GEmo-CLAP's public transcription, written in its layout with tiny models."""

import numpy as np
import pytest
import torch
import transformers
from sertools.errors import ConfigError
from sertools.models.language_audio import LanguageAudio
from sertools.models.text import load_text
from sertools.models.upstream import load_upstream
from sertools.models.weights.gemoclap import load_into, read
from torch import nn

ROBERTA = {"vocab_size": 50, "max_position_embeddings": 40, "hidden_size": 12,
           "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
           "type_vocab_size": 1}
DATA2VEC = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 48, "conv_dim": [24] * 7, "conv_pos_kernel_size": 3,
            "num_conv_pos_embeddings": 2, "num_conv_pos_embedding_groups": 4}


@pytest.fixture
def released(tmp_path, make_relative, shaken):
    """Return a function: name of an audio encoder -> its models, heads, and the file of all."""

    def make(name="wavlm large", **more):
        torch.manual_seed(5)
        if name == "data2vec":
            audio = shaken(transformers.Data2VecAudioModel(
                transformers.Data2VecAudioConfig(**DATA2VEC)))
        else:
            audio = make_relative(name)
        text = shaken(transformers.RobertaModel(transformers.RobertaConfig(**ROBERTA)))
        heads = {name: nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, 512))
                 for name, width in (("audio", 32), ("text", 12))}
        state = {f"text_encoder.{key}": value for key, value in text.state_dict().items()}
        state |= {f"audio_encoder.{key}": value for key, value in audio.state_dict().items()}
        state |= {f"{kind}_projection.proj.{key}": value for kind, head in heads.items()
                  for key, value in head.state_dict().items()}
        state |= {"logit_scale_audio": torch.tensor(2.5), "logit_scale_text": torch.tensor(2.75),
                  "text_encoder.embeddings.position_ids": torch.arange(40)[None]}
        content = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}},
                   "scheduler_state_dict": {"T_max": 80}, "uar": np.float64(0.5), "war": 0.6}
        torch.save({**content, **more}, tmp_path / "fold_1_best.pth")
        for kind, model in (("audio", audio), ("text", text)):  # other weights, as pretrained
            with torch.random.fork_rng():
                other = type(model)(model.config)
            other.save_pretrained(tmp_path / kind)
        return audio, text, heads, tmp_path / "fold_1_best.pth"

    return make


def model_of(folder, **options):
    return LanguageAudio(load_upstream(folder / "audio", trainable=True, freeze_frontend=False),
                         load_text(folder / "text", freeze="none"), **options).eval()


@pytest.mark.parametrize("name", ["wavlm large", "hubert large", "wav2vec2 base", "data2vec"])
def test_it_hears_and_reads_as_transformers_with_the_files_weights(released, tmp_path, name):
    audio, text, heads, path = released(name)
    model = model_of(tmp_path)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_into(model, path)
    torch.manual_seed(1)
    wave, tokens = 0.1 * torch.randn(1, 4000), torch.tensor([[5, 9, 30, 7]])
    heard = wave
    if name != "wav2vec2 base":  # group norm: trained on waveforms as they are
        heard = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        wanted = (heads["audio"](audio(heard).last_hidden_state.mean(1)),
                  heads["text"](text(tokens).last_hidden_state[:, 0]))
        found = model(wave, torch.tensor([4000]), tokens)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other / other.norm(dim=1), atol=3e-5, rtol=1e-4)
    torch.testing.assert_close(model.scales(), torch.tensor([2.5, 2.75]).exp())
    same = [key for key, value in model.state_dict().items() if torch.equal(value, before[key])
            and not key.endswith(("position_ids", "masked_spec_embed"))]
    assert not same


def test_another_structure_is_refused_with_all_differences(released, tmp_path):
    *_, path = released()
    with pytest.raises(ConfigError, match="does not fit") as caught:
        load_into(model_of(tmp_path, dim=64, layers="weighted_sum"), path)
    said = " ".join(caught.value.problems)
    assert "audio_head.0.weight: [512, 32] in the file, [64, 32] in the model" in said
    assert "reader.layer_weights: not in the file" in said
    config = transformers.RobertaConfig(**{**ROBERTA, "num_hidden_layers": 1})
    transformers.RobertaModel(config).save_pretrained(tmp_path / "text")
    with pytest.raises(ConfigError) as caught:
        load_into(model_of(tmp_path), path)
    assert any(each.startswith("text_encoder.encoder.layer.1.") for each in caught.value.problems)
    frozen = LanguageAudio(None, load_text(tmp_path / "text"), audio_dim=32)
    with pytest.raises(ConfigError) as caught:
        load_into(frozen, path)
    assert any("use inputs: audio" in each for each in caught.value.problems)


class Code:
    """What no file of weights has."""

    def __reduce__(self):
        """Run something where the file is read."""
        return (print, ("it ran",))


def test_code_and_other_files_are_refused(released, tmp_path, capsys):
    *_, path = released(surprise=Code())
    with pytest.raises(ConfigError, match="refused"):
        read(path)
    assert "it ran" not in capsys.readouterr().out
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="no file of GEmo-CLAP"):
        read(tmp_path / "other.pth")
