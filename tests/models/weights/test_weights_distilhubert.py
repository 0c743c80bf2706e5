"""DistilHuBERT: transformers' models, the authors' .ckpt files, and ours for transformers."""

import json
from argparse import Namespace

import pytest
import torch
from microsoft_names import microsoft_name
from sertools.errors import ConfigError
from sertools.models.distilled import student_of
from sertools.models.presets import build_encoder
from sertools.models.weights import load_encoder
from sertools.models.weights.distilhubert import layout_problems, save_hubert

STUDENT = {"num_hidden_layers": 2, "feat_proj_layer_norm": False}


@pytest.fixture
def hubert(make_relative):
    """Return a tiny DistilHuBERT of transformers."""
    return make_relative("hubert base", **STUDENT)


def settings(**changed):
    """Return what the authors' configuration says of the tiny one."""
    student = {
        "extractor_mode": "default", "feature_grad_mult": 0.1, "conv_pos": 16,
        "extractor_conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2",
        "conv_pos_groups": 4, "encoder_layers": 2, "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4, "activation_fn": "gelu",
        "layer_norm_first": False, "attention_type": "original", "dropout": 0.1,
        "n_tasks": 3, "task_emb_type": "expand-last", "pred_layer_id": [4, 8, 12], **changed,
    }  # fmt: skip
    return {"distiller": student, "teacher": {"model": "hubert_base", "n_layers": 12}}


def written(path, model, config=None, old_names=True):
    """Write a model of transformers as the authors' code does."""
    layer_norm = (config or settings())["distiller"]["extractor_mode"] == "layer_norm"
    tensors = {microsoft_name(name, layer_norm): tensor
               for name, tensor in model.state_dict().items() if "masked" not in name}
    if not old_names:
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            value = tensors.pop(f"encoder.pos_conv.0.{old}")
            tensors[f"encoder.pos_conv.0.parametrizations.weight.{new}"] = value
    tensors |= {"output_layer.0.weight": torch.ones(96, 32), "output_layer.0.bias": torch.ones(96),
                "output_layer.2.weight": torch.ones(3, 32, 32),
                "output_layer.2.bias": torch.ones(1, 1, 3, 32)}  # fmt: skip
    content = {"Config": config or settings(), "Distiller": tensors,
               "Args": Namespace(seed=1337), "Step": 200_000}
    torch.save(content, path)
    return path


def test_a_model_of_transformers_is_read(hubert, assert_same, waves, tmp_path):
    hubert.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, normalise_waveform=False)
    assert encoder.frontend.norm is None and not encoder.config.projection_norm
    assert_same(encoder, hubert, waves[0], tolerance=1e-5)


@pytest.mark.parametrize("old_names", [True, False])
def test_the_authors_files_are_read(hubert, assert_same, waves, tmp_path, old_names):
    path = written(tmp_path / "distilhubert_ls960_4-8-12.ckpt", hubert, old_names=old_names)
    encoder = load_encoder(path)
    assert not encoder.config.normalise_waveform
    assert_same(encoder, hubert, waves[0], tolerance=1e-5)
    assert load_encoder(path, dropout=0.3).config.dropout == 0.3


def test_layer_norm_first_has_one_behind_the_blocks(make_relative, assert_same, waves, tmp_path):
    model = make_relative("hubert large", **STUDENT, conv_bias=False)
    config = settings(layer_norm_first=True, extractor_mode="layer_norm")
    path = written(tmp_path / "student.ckpt", model, config)
    assert_same(load_encoder(path), model, *waves, tolerance=1e-5)


@pytest.mark.parametrize("changed, said", [
    ({"encoder_layers": 3}, "encoder.layers.2.fc1.weight: missing"),
    ({"encoder_embed_dim": 24}, "encoder_embed_dim: 24"),
    ({"attention_type": "sparse"}, "attention_type: 'sparse'; original can be read"),
    ({"task_emb_type": "add"}, "task_emb_type: 'add'"),
    ({"encoder_ffn_embed_dim": 64}, "shape (48, 32)"),
])
def test_what_does_not_fit_is_told(hubert, tmp_path, changed, said):
    path = written(tmp_path / "student.ckpt", hubert, settings(**changed))
    with pytest.raises(ConfigError) as caught:
        load_encoder(path)
    assert said in str(caught.value)


def test_unknown_tensors_and_code_are_refused(hubert, tmp_path):
    path = written(tmp_path / "student.ckpt", hubert)
    content = torch.load(path, weights_only=False)
    content["Distiller"]["encoder.extra.weight"] = torch.ones(2)
    torch.save(content, path)
    with pytest.raises(ConfigError, match="encoder.extra.weight: unexpected"):
        load_encoder(path)
    torch.save({**content, "Config": Harmful()}, path)
    with pytest.raises(ConfigError, match="refused"):
        load_encoder(path)
    torch.save({"Config": {}, "Distiller": {}}, path)
    with pytest.raises(ConfigError, match="has no 'distiller'"):
        load_encoder(path)


class Harmful:
    """Would run a command if it were unpickled."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("preset, changes", [
    ("distilhubert", {}), ("hubert_large", {"conv_bias": True}), ("wav2vec2_large", {}),
])
def test_our_students_run_in_transformers(preset, changes, shaken, assert_same, waves, tmp_path):
    from transformers import HubertModel

    torch.manual_seed(0)
    teacher = build_encoder(preset, dim=32, num_layers=3, num_heads=4, ffn_dim=48, conv_dim=24,
                            position_kernel=16, position_groups=4,
                            **{"normalise_waveform": False, **changes})  # fmt: skip
    student = shaken(student_of(teacher, 2))
    save_hubert(student, tmp_path / "hubert")
    model, report = HubertModel.from_pretrained(tmp_path / "hubert", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for p in student.parameters())
    assert_same(student, model.eval(), waves[0], tolerance=1e-5)
    again = load_encoder(tmp_path / "hubert")
    assert again.config == student.config
    assert all(torch.equal(one, other) for one, other in
               zip(again.state_dict().values(), student.state_dict().values(), strict=True))


def test_the_waveforms_normalisation_travels(tmp_path):
    encoder = build_encoder("hubert_large", dim=32, num_layers=1, num_heads=4, ffn_dim=48,
                            conv_dim=24, position_kernel=16, position_groups=4)
    save_hubert(encoder, tmp_path / "hubert")
    said = json.loads((tmp_path / "hubert/preprocessor_config.json").read_text())
    assert said["do_normalize"] and said["return_attention_mask"]
    assert load_encoder(tmp_path / "hubert").config.normalise_waveform


@pytest.mark.parametrize("preset", ["small", "wavlm_base", "emotion2vec_base"])
def test_other_kinds_do_not_fit_the_layout(preset, tmp_path):
    with torch.device("meta"):
        encoder = build_encoder(preset)
    assert layout_problems(encoder.config)
    with pytest.raises(ConfigError, match="cannot be saved in HuBERT's layout"):
        save_hubert(encoder, tmp_path / "hubert")
