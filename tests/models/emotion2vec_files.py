"""Miniatures of published emotion2vec files, named by a mapping written here from the layout."""

import torch
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.presets import build_encoder

A = "modality_encoders.AUDIO."
TINY = {"dim": 32, "num_layers": 3, "num_heads": 4, "ffn_dim": 64, "conv_dim": 16,
        "position_groups": 4}  # fmt: skip
CFG = {
    "task": {"_name": "audio_pretraining", "normalize": True},
    "model": {
        "_name": "data2vec_multi", "depth": 2, "embed_dim": 32, "num_heads": 4, "mlp_ratio": 2,
        "layer_norm_first": False, "norm_eps": 1e-5, "encoder_dropout": 0.1, "layerdrop": 0.05,
        "modalities": {"audio": {
            "prenet_depth": 1, "num_extra_tokens": 3, "num_alibi_heads": 4, "conv_pos_depth": 5,
            "conv_pos_width": 95, "conv_pos_groups": 4, "extractor_mode": "layer_norm",
            "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]",
            "decoder": {"decoder_dim": 16, "decoder_groups": 4, "decoder_kernel": 7,
                        "decoder_layers": 4},
        }},
    },
}  # fmt: skip


def tiny(seed=0, tokens=3, **settings):
    """Return student and teacher, all parameters moved and different between the two."""
    torch.manual_seed(seed)
    encoder = build_encoder("emotion2vec_base", **{**TINY, "extra_tokens": tokens, **settings})
    model = Distillation(Emotion2vec(encoder, DecoderConfig(dim=16, groups=4), 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def block(name, context=1):
    """Name a block of ours as published: the first `context` ones belong to the context encoder."""
    _, number, rest = name.split(".", 2)
    for ours, theirs in (("attention.qkv", "attn.qkv"), ("attention.out", "attn.proj"),
                         ("attention_norm", "norm1"), ("ffn.0", "mlp.fc1"), ("ffn.3", "mlp.fc2"),
                         ("ffn_norm", "norm2")):  # fmt: skip
        rest = rest.replace(ours, theirs)
    first = f"{A}context_encoder." if int(number) < context else ""
    return f"{first}blocks.{int(number) - (0 if first else context)}.{rest}"


def published(encoder):
    """Return an encoder's tensors with published names and shapes."""
    tensors = {}
    for name, tensor in encoder.state_dict().items():
        value = tensor.clone()
        if name.startswith("blocks."):
            name = block(name)
        elif name.startswith("frontend.layers."):
            number, part = name.split(".")[2], name.split(".", 3)[3]
            value = value.permute(0, 2, 1).contiguous() if part == "weight" else value
            part = {"weight": "0.weight"}.get(part, part.replace("norm", "2.1"))
            name = f"{A}local_encoder.conv_layers.{number}.{part}"
        elif name.startswith("position."):
            _, _, number, part = name.split(".")
            name = f"{A}relative_positional_encoder.{int(number) + 1}.0.{part}"
        elif name == "bias.by_distance.scale":
            name, value = A + "alibi_scale", value[None, None, :, None, None]
        else:
            for ours, theirs in (("frontend.norm", "project_features.1"),
                                 ("frontend.linear", "project_features.2"),
                                 ("input_norm", "context_encoder.norm"),
                                 ("tokens", "extra_tokens")):  # fmt: skip
                name = name.replace(ours, theirs)
            name = A + name
        tensors[name] = value
    return tensors


def pretrained(model, teacher=True):
    """Return the tensors of a pretraining file: encoder, decoder and `_ema`."""
    tensors = published(model.student.encoder)
    for name, tensor in model.student.decoder.state_dict().items():
        name = name.replace("linear", "proj")
        if name.startswith("convs."):
            _, number, part = name.split(".")
            name = f"blocks.{number}.0.{part}"
        tensors[f"{A}decoder.{name}"] = tensor.clone()
    if teacher:
        tensors["_ema"] = published(model.teacher.encoder)
    return tensors


def fine_tuned(encoder, outputs=9):
    """Return the tensors of a fine-tuned file: prefixed names and a classifier."""
    tensors = {f"d2v_model.{name}": value for name, value in published(encoder).items()}
    tensors["proj.weight"] = torch.randn(outputs, encoder.dim)
    tensors["proj.bias"] = torch.randn(outputs)
    return tensors
