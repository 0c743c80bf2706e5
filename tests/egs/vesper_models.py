"""Encoders of random weights, as deep as the published ones and very narrow, by their names."""

from pathlib import Path

import torch
from sertools.models.emotion2vec import DecoderConfig, Emotion2vec
from sertools.models.presets import build_encoder
from sertools.models.weights import save_encoder
from sertools.models.weights.emotion2vec import save_official

NARROW = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24,
          "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16,
          "num_conv_pos_embedding_groups": 4}  # fmt: skip
BASE = {"num_hidden_layers": 12, "feat_extract_norm": "group"}
LARGE = {"num_hidden_layers": 24, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
FORMS = {
    "facebook/wav2vec2-base": ("Wav2Vec2", BASE),
    "facebook/wav2vec2-large": ("Wav2Vec2", {**BASE, "num_hidden_layers": 24}),
    "facebook/wav2vec2-large-lv60": ("Wav2Vec2", {**LARGE, "conv_bias": True}),
    "facebook/hubert-base-ls960": ("Hubert", BASE),
    "facebook/hubert-large-ll60k": ("Hubert", LARGE),
    "microsoft/wavlm-base": ("WavLM", BASE),
    "microsoft/wavlm-base-plus": ("WavLM", BASE),
    "microsoft/wavlm-large": ("WavLM", LARGE),
    "facebook/data2vec-audio-base": ("Data2VecAudio", {"num_hidden_layers": 12}),
    "ntu-spml/distilhubert": ("Hubert", {**BASE, "num_hidden_layers": 2,
                                         "feat_proj_layer_norm": False}),
}
EMOTION2VEC = "emotion2vec/emotion2vec_base"
SMALL = "emotion2vec_small"
BERT = "distilbert-base-uncased"


def save(name: str, root: Path) -> Path:
    """Save the encoder of this name in `root`; return its folder or file."""
    sizes, place = {"dim": 16, "num_heads": 2, "ffn_dim": 24}, root / name
    torch.manual_seed(len(name))
    if name == SMALL:
        save_encoder(build_encoder(SMALL, **sizes), place)
        return place
    place.mkdir(parents=True)
    if name == EMOTION2VEC:
        encoder = build_encoder("emotion2vec_base", **sizes, conv_dim=16)
        return save_official(Emotion2vec(encoder, DecoderConfig(dim=16, groups=2)),
                             place / "emotion2vec_base.pt")
    import transformers

    if name == BERT:
        return letters(place, dim=16, n_layers=6, n_heads=2, hidden_dim=24)
    kind, options = FORMS[name]
    config = getattr(transformers, f"{kind}Config")(**{**NARROW, **options})
    getattr(transformers, f"{kind}Model")(config).save_pretrained(place)
    transformers.Wav2Vec2FeatureExtractor(
        return_attention_mask=options.get("feat_extract_norm") == "layer",
    ).save_pretrained(place)
    return place


def letters(place: Path, **sizes: int) -> Path:
    """Save a DistilBERT of these sizes with a tokeniser of letters."""
    from transformers import BertTokenizerFast, DistilBertConfig, DistilBertModel

    known = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known, *(f"##{x}" for x in known)]
    (place / "vocab.txt").write_text("\n".join(tokens))
    BertTokenizerFast(str(place / "vocab.txt")).save_pretrained(place)
    DistilBertModel(DistilBertConfig(vocab_size=len(tokens), **sizes)).save_pretrained(place)
    return place
