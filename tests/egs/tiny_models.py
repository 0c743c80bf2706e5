"""Encoders of random weights by the names of published ones: as deep, very narrow, in their format.

A name is known by the words of its family; a new one of a known family needs nothing here.
"""

import re
from collections.abc import Callable
from pathlib import Path

import torch
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.presets import build_encoder
from sertools.models.weights import save_encoder
from sertools.models.weights.emotion2vec import save_official
from sertools.models.whisper import SIZES as WHISPER
from transformers.utils import logging

SIZES = {"dim": 48, "num_heads": 2, "ffn_dim": 48}
"""Of our own encoders; a pretraining in small form builds the same."""
CONV, DECODER = 16, {"dim": 16, "groups": 2}
NARROW = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24,
          "conv_dim": (CONV,) * 7, "num_conv_pos_embeddings": 16,
          "num_conv_pos_embedding_groups": 4}  # fmt: skip
TEXT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 24}  # fmt: skip
LABELS = "angry disgusted fearful happy neutral other sad surprised <unk>".split()
EXPERIMENT = re.compile(r"(?:^|/)exp/([^/]+)/pretrain/.+")
"""What another run of ours pretrains; its first group is that run's name."""


def save(name: str, root: Path) -> Path:
    """Save the encoder of this name in `root` if it is not there; return its folder or file.

    Raises:
        LookupError: the name has no word of a family in it.
    """
    make = maker_of(name)
    place = root / re.sub(r"[^A-Za-z0-9_.=-]+", "-", name.lstrip("./"))
    if not place.exists():
        logging.disable_progress_bar()
        torch.manual_seed(len(name))
        half = place.with_name(f"{place.name}.part")
        half.mkdir(parents=True)
        make(name, half)
        half.rename(place)
    file = next(place.glob("*.pt"), None)
    # A classifier is named by its folder, in which its labels are; other files by themselves.
    return place if file is None or (place / "tokens.txt").exists() else file


def maker_of(name: str) -> Callable[[str, Path], object]:
    """Return what makes the encoder of this name: (name, folder) -> anything.

    Raises:
        LookupError: the name has no word of a family in it.
    """
    ours = EXPERIMENT.search(name)
    for words, make in EXPERIMENTS if ours else FAMILIES:
        if re.search(words, ours[1].partition("_pretrainer.")[0] if ours else name.lower()):
            return make
    raise LookupError(f"{name}: tests/egs/tiny_models.py knows no tiny encoder of this family; "
                      "add its words and what makes one")


# ------------------------------------------------------------------------- published speech models


def released(kind: str, **more: object) -> Callable[[str, Path], None]:
    """Return a maker of transformers' models of this kind."""
    def make(name: str, place: Path) -> None:
        import transformers

        options = {**depth_of(name), **more}
        config = getattr(transformers, f"{kind}Config")(**NARROW, **options)
        getattr(transformers, f"{kind}Model")(config).save_pretrained(place)
        transformers.Wav2Vec2FeatureExtractor(
            return_attention_mask=options.get("feat_extract_norm") == "layer",
        ).save_pretrained(place)

    return make


def depth_of(name: str) -> dict[str, object]:
    """Return what base and large models differ in; early wav2vec 2.0 is large like a base one."""
    large = bool(re.search(r"large|xlsr|xls-r|1b|2b", name.lower()))
    base = {"num_hidden_layers": 24 if large else 12}
    if not large or re.fullmatch(r".*wav2vec2-large(-960h)?", name):
        return {**base, "feat_extract_norm": "group"}
    return {**base, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
            **({"conv_bias": True} if "wav2vec2" in name else {})}


def data2vec_audio(name: str, place: Path) -> None:
    """Save data2vec of the first kind, in which every layer of convolutions is normalised."""
    layers = depth_of(name)["num_hidden_layers"]
    import transformers

    config = transformers.Data2VecAudioConfig(**NARROW, num_hidden_layers=layers)
    transformers.Data2VecAudioModel(config).save_pretrained(place)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(place)


def whisper(name: str, place: Path) -> None:
    """Save a Whisper as deep as the published one of this size, with windows of 2 s, not 30."""
    import transformers

    layers = next(layers for size, (_, layers, _) in WHISPER.items()
                  if size.partition("_")[0] in name.lower())
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=layers, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=16, vocab_size=100,
        max_source_positions=100, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1)  # fmt: skip
    transformers.WhisperForConditionalGeneration(config).save_pretrained(place)
    transformers.WhisperFeatureExtractor(chunk_length=2).save_pretrained(place)


def emotion2vec(name: str, place: Path) -> None:
    """Save emotion2vec in its own format."""
    encoder = build_encoder("emotion2vec_base", **SIZES, conv_dim=CONV)
    save_official(Emotion2vec(encoder, DecoderConfig(**DECODER)), place / "emotion2vec_base.pt")


def data2vec2(name: str, place: Path) -> None:
    """Save data2vec 2.0: no extra tokens, and a teacher."""
    encoder = build_encoder("data2vec2_base", **SIZES, conv_dim=CONV)
    save_official(Distillation(Emotion2vec(encoder, DecoderConfig(**DECODER))),
                  place / "base_libri.pt", teacher=True)


def classifier(name: str, place: Path) -> None:
    """Save a classifier in the layout of emotion2vec+."""
    encoder = build_encoder("emotion2vec_base", **SIZES, num_layers=2, conv_dim=CONV)
    model = Emotion2vec(encoder, DecoderConfig(dim=32), 1)
    content = torch.load(save_official(model, place / "pretrained.pt"), weights_only=True)
    tensors = {f"d2v_model.{key}": value for key, value in content["model"].items()
               if ".decoder." not in key}  # fmt: skip
    tensors |= {"proj.weight": torch.randn(len(LABELS), SIZES["dim"]),
                "proj.bias": torch.randn(len(LABELS))}
    torch.save(tensors, place / "model.pt")
    (place / "pretrained.pt").unlink()
    lines = [label if label == "<unk>" else f"标/{label}" for label in LABELS]
    (place / "tokens.txt").write_text("\n".join(lines), encoding="utf-8")


# -------------------------------------------------------------------------------------------- text


def distilbert(name: str, place: Path) -> None:
    """Save a DistilBERT of six layers with a tokeniser of letters."""
    letters(place, dim=16, n_layers=6, n_heads=2, hidden_dim=24)


def letters(place: Path, **sizes: int) -> Path:
    """Save a DistilBERT of these sizes with a tokeniser of letters."""
    from transformers import DistilBertConfig, DistilBertModel

    DistilBertModel(DistilBertConfig(vocab_size=pieces(place), **sizes)).save_pretrained(place)
    return place


def bert(name: str, place: Path) -> None:
    """Save a BERT with a tokeniser of letters."""
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=pieces(place), **TEXT)).save_pretrained(place)


def pieces(place: Path) -> int:
    """Save BERT's tokeniser over letters; return the size of its vocabulary."""
    from transformers import BertTokenizerFast

    known = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known, *(f"##{x}" for x in known)]
    (place / "vocab.txt").write_text("\n".join(tokens))
    BertTokenizerFast(str(place / "vocab.txt")).save_pretrained(place)
    return len(tokens)


def roberta(name: str, place: Path) -> None:
    """Save a RoBERTa with a tokeniser of bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    RobertaTokenizerFast(vocab=vocabulary, merges=[]).save_pretrained(place)
    config = RobertaConfig(vocab_size=len(tokens), max_position_embeddings=514, **TEXT)
    RobertaModel(config).save_pretrained(place)


# ---------------------------------------------------------------------------- pretrained by our own


def ours(preset: str, layers: int | None = None, **more: int) -> Callable[[str, Path], None]:
    """Return a maker of a preset; a run's name may say how deep it is (pretrainer.layers=N)."""
    def make(name: str, place: Path) -> None:
        said = re.search(r"pretrainer\.layers=(\d+)", name) or re.search(r"exp/vesper(\d+)", name)
        depth = int(said[1]) if said else layers
        sizes = {**SIZES, **more, **({"num_layers": depth} if depth else {})}
        save_encoder(build_encoder(preset, **sizes), place)

    return make


EXPERIMENTS = (
    ("^vesper(_small|$)", ours("emotion2vec_small", 2)),
    (r"^vesper\d", ours("vesper4", conv_dim=CONV, position_kernel=16, position_groups=4)),
    ("^emotion2vec_base", ours("emotion2vec_base", conv_dim=CONV)),
    ("^emotion2vec", ours("emotion2vec_small")),
    ("^distilhubert", ours("distilhubert", 2, dim=16, conv_dim=CONV, position_kernel=16,
                           position_groups=4)),
    ("^distil", ours("emotion2vec_small", 2)),
)
"""Beginnings of our own pretrainings' names; the first one counts."""
FAMILIES = (
    ("emotion2vec[_-]?plus", classifier),
    ("emotion2vec", emotion2vec),
    ("base_libri|data2vec[_-]?2", data2vec2),
    ("data2vec", data2vec_audio),
    ("distilhubert", released("Hubert", num_hidden_layers=2, feat_proj_layer_norm=False)),
    ("hubert", released("Hubert")),
    ("wavlm", released("WavLM")),
    ("whisper", whisper),
    (r"wav2vec2|wav2vec-2|xlsr|xls-r", released("Wav2Vec2")),
    ("distilbert", distilbert),
    ("roberta", roberta),
    ("bert", bert),
)
"""Words of published names; the first one counts."""
