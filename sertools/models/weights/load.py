"""One door for all formats: `load_encoder(source)`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.encoder import SpeechEncoder
from sertools.models.presets import PRESETS

FREE = (
    "normalise_waveform",
    "mask_embedding",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "layerdrop",
    "attention",
)
"""Settings that may differ from those of the file, since no weight depends on them."""


def load_encoder(source: str | Path, **overrides: Any) -> SpeechEncoder:
    """Load a pretrained encoder, in eval mode; its kind is recognised by itself.

    Args:
        source: a folder that `save_encoder` wrote, a Hugging Face folder or id
            ("microsoft/wavlm-large", "...@revision"), a WavLM-*.pt file of Microsoft, a .pt file of
            Vesper, a .ckpt file of DistilHuBERT, a file, folder or id of emotion2vec, emotion2vec+
            or data2vec 2.0 ("emotion2vec_base.pt", "emotion2vec/emotion2vec_plus_large"), or
            "torchaudio:<BUNDLE>".
        overrides: settings of `FREE` that replace those of the source, such as dropouts.

    Raises:
        ConfigError: if the source is absent, unreadable, inconsistent or holds code.
    """
    # Imported here, so that reading one format needs no other format's library.
    from sertools.models.weights import huggingface, torchaudio_bundles

    fixed = sorted(set(overrides) - set(FREE))
    if fixed:
        raise ConfigError(
            f"{source}: {', '.join(fixed)} cannot be changed, the weights depend on it.",
            remedy=f"free are {', '.join(FREE)}",
        )
    if str(source).startswith("torchaudio:"):
        return torchaudio_bundles.load_bundle(str(source).partition(":")[2], **overrides)
    path = Path(source)
    if path.is_dir():
        return _folder_loader(path)(path, **overrides)
    if path.is_file():
        return _load_file(path, **overrides)
    if str(source) in PRESETS:
        raise ConfigError(
            f"{source} is a preset without weights.", remedy="use build_encoder for fresh weights"
        )
    if _looks_like_id(str(source)):
        return huggingface.load_id(str(source), **overrides)
    raise ConfigError(f"{source}: no such file, folder or model.", remedy=_made_by(path) or _ELSE)


def _made_by(path: Path) -> str | None:
    """Return how a recipe makes `<recipe>/exp/<tag>/pretrain/...`; None for any other path."""
    parts = path.parts
    for place in range(len(parts) - 2):
        recipe, system = Path(*parts[:place]), Path("hparams", f"{parts[place + 1]}.yaml")
        ours = parts[place] == "exp" and parts[place + 2] == "pretrain"
        if ours and (recipe / system).is_file():
            return f"make it first, in {recipe}: python run.py {system}"
    return None


def _folder_loader(path: Path) -> Callable[..., SpeechEncoder]:
    from sertools.models.weights import checkpoint, emotion2vec, folders, huggingface

    if folders.is_own(path):
        return folders.load_folder
    others = ("model.safetensors", "pytorch_model.bin")
    if any((path / name).is_file() for name in others) or checkpoint.find_file(path) is None:
        return huggingface.load_folder
    return lambda path, **options: emotion2vec.load_file(checkpoint.find_file(path), **options)


def _load_file(path: Path, **overrides: Any) -> SpeechEncoder:
    from sertools.models.weights import (
        checkpoint,
        distilhubert,
        emotion2vec,
        fairseq,
        microsoft,
        vesper,
    )

    content = fairseq.read_fairseq(path)
    if distilhubert.is_of_kind(content):
        return distilhubert.load_file(path, content, **overrides)
    if vesper.is_of_kind(content):
        return vesper.load_file(path, content, **overrides)
    if checkpoint.is_of_kind(content):
        return emotion2vec.load_file(path, content, **overrides)
    if not isinstance(content, dict) or not {"cfg", "model"} <= set(content):
        raise ConfigError(
            f"{path}: neither WavLM of Microsoft nor Vesper, DistilHuBERT, emotion2vec or data2vec "
            "2.0; it has no 'cfg' and 'model'.",
            remedy="name a Hugging Face folder, a sertools folder, or a file of those kinds",
        )
    return microsoft.load_file(path, **overrides)


_ELSE = "name a folder or file that is there, or a model of the hub such as microsoft/wavlm-large"


def _looks_like_id(source: str) -> bool:
    parts = source.split("/")
    return (
        len(parts) == 2
        and all(parts)
        and not source.startswith((".", "~"))
        and (Path(source).suffix not in (".pt", ".bin", ".safetensors"))
    )
