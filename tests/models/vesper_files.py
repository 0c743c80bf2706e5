"""Vesper's files in miniature, by the key list of the authors' code, written here once more."""

import sys
import types

import torch

TINY = {"dim": 32, "conv": 24, "heads": 4, "ffn": 48, "kernel": 16, "groups": 4}
KERNELS = (10, 3, 3, 3, 3, 2, 2)


def shapes(blocks, mask=True, dim=32, conv=24, heads=4, ffn=48, kernel=16, groups=4):
    """Return names behind the prefix -> shapes of a student."""
    wanted = {"mask_emb": (dim,)} if mask else {}
    for number, taps in enumerate(KERNELS):
        layer = f"feature_extractor.conv_layers.{number}"
        wanted[f"{layer}.0.weight"] = (conv, conv if number else 1, taps)
        wanted |= {f"{layer}.2.1.{kind}": (conv,) for kind in ("weight", "bias")}
    wanted |= {f"layer_norm.{kind}": (conv,) for kind in ("weight", "bias")}
    wanted |= {"post_extract_proj.weight": (dim, conv), "post_extract_proj.bias": (dim,)}
    wanted |= {"encoder.pos_conv.0.bias": (dim,), "encoder.pos_conv.0.weight_g": (1, 1, kernel),
               "encoder.pos_conv.0.weight_v": (dim, dim // groups, kernel),
               "encoder.layers.0.self_attn.relative_attention_bias.weight": (320, heads)}
    for number in range(blocks):
        layer = f"encoder.layers.{number}"
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            wanted |= {f"{layer}.{norm}.{kind}": (dim,) for kind in ("weight", "bias")}
        for part in "q k v out".split():
            wanted[f"{layer}.self_attn.{part}_proj.weight"] = (dim, dim)
            wanted[f"{layer}.self_attn.{part}_proj.bias"] = (dim,)
        wanted |= {f"{layer}.self_attn.grep_a": (1, heads, 1, 1),
                   f"{layer}.self_attn.grep_linear.weight": (8, dim // heads),
                   f"{layer}.self_attn.grep_linear.bias": (8,),
                   f"{layer}.fc1.weight": (ffn, dim), f"{layer}.fc1.bias": (ffn,),
                   f"{layer}.fc2.weight": (dim, ffn), f"{layer}.fc2.bias": (dim,)}
    return wanted


def predictors(dim=32):
    """Return names -> shapes of the three predictors."""
    sizes = {"0.weight": (dim // 2, dim), "0.bias": (dim // 2,),
             "2.weight": (dim, dim // 2), "2.bias": (dim,)}
    return {f"{loss}_predictor.simple_ffn.{name}": size
            for loss in "lhx" for name, size in sizes.items()}


def drawn(sizes, prefix=""):
    """Return random tensors, none of them near what a fresh module would hold."""
    return {prefix + name: 0.1 * torch.randn(size) + (0.3 if len(size) == 1 else 0.0)
            for name, size in sizes.items()}


def pretrained(blocks=3, **sizes):
    """Return `model` of a pretraining file."""
    return (drawn(shapes(blocks, **{**TINY, **sizes}), "vesper.")
            | drawn(predictors(sizes.get("dim", TINY["dim"]))))


def downstream(blocks=3, classes=5, width=8, weights=True):
    """Return `model` of a downstream file."""
    heads = {"projector.weight": (width, TINY["dim"]), "projector.bias": (width,),
             "classifier.weight": (classes, width), "classifier.bias": (classes,)}
    heads |= {"weights": (blocks + 1,)} if weights else {}
    return drawn(shapes(blocks, mask=False, **TINY), "vesper.") | drawn(heads)


def settings(**changed):
    """Return the part `model` of the authors' configuration, for the miniature."""
    convs = "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2"
    return {"type": "Vesper", "encoder_layers": 3, "encoder_embed_dim": 32, "ffn_embed_dim": 48,
            "num_heads": 4, "activation": "gelu", "dropout": 0.1, "normalize": True,
            "normalize_before": True, "relative_position_embedding": True, "qk_norm": False,
            "conv_pos": 16, "conv_pos_groups": 4, "num_buckets": 320, "max_distance": 800,
            "gru_rel_pos": True, "extractor_mode": "layer_norm", "conv_feature_layers": convs,
            "init_style": ["uniform_extract"]} | changed


def yacs(monkeypatch):
    """Return the class of yacs' nodes as a writer has it; nothing of it may run when it is read."""

    class CfgNode(dict):
        def __init__(self, values):
            super().__init__(
                {key: CfgNode(value) if isinstance(value, dict) else value
                 for key, value in values.items()})
            self.__dict__["__immutable__"] = False
            self.__dict__["__deprecated_keys__"] = set()

        def __setitem__(self, key, value):
            raise AssertionError("code of the class ran while the file was read")

        def __setstate__(self, state):
            raise AssertionError("code of the class ran while the file was read")

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    for name in ("yacs", "yacs.config"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["yacs.config"].CfgNode = CfgNode
    return CfgNode
