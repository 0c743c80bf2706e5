"""One door for all formats: `load_encoder(source)`."""

from __future__ import annotations

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
            ("microsoft/wavlm-large", "...@revision"), a WavLM-*.pt file of Microsoft, or
            "torchaudio:<BUNDLE>".
        overrides: settings of `FREE` that replace those of the source, such as dropouts.

    Raises:
        ConfigError: if the source is absent, unreadable, inconsistent or holds code.
    """
    # Imported here, so that reading one format needs no other format's library.
    from sertools.models.weights import folders, huggingface, microsoft, torchaudio_bundles

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
        load = folders.load_folder if folders.is_own(path) else huggingface.load_folder
        return load(path, **overrides)
    if path.is_file():
        return microsoft.load_file(path, **overrides)
    if str(source) in PRESETS:
        raise ConfigError(
            f"{source} is a preset without weights.", remedy="use build_encoder for fresh weights"
        )
    if _looks_like_id(str(source)):
        return huggingface.load_id(str(source), **overrides)
    raise ConfigError(f"{source}: no such file, folder or model.")


def _looks_like_id(source: str) -> bool:
    parts = source.split("/")
    return (
        len(parts) == 2
        and all(parts)
        and not source.startswith((".", "~"))
        and (Path(source).suffix not in (".pt", ".bin", ".safetensors"))
    )
