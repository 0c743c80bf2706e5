"""Text encoders of the transformers library."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from sertools.errors import ConfigError
from sertools.hub import find_folder
from sertools.models.text.base import TextEncoder, check_choice
from sertools.models.upstream.base import identity_of
from sertools.models.upstream.transformers import library_version, settings_of
from torch import Tensor, nn

KINDS = ("distilbert", "bert", "roberta", "xlm-roberta")
"""Values of `model_type` in config.json that are known; DistilRoBERTa is a "roberta"."""
FREEZE = ("embeddings", "none", "all")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights; the first that exists is read, the second only as tensors, never as code."""

_DROPOUTS = ("dropout", "hidden_dropout_prob")
_ATTENTION_DROPOUTS = ("attention_dropout", "attention_probs_dropout_prob")


class TransformersText(TextEncoder):
    """A model of transformers of the kinds in `KINDS`.

    Args:
        model: without a head and without a pooler.
        freeze: as in `load_text`.
    """

    def __init__(self, model: nn.Module, freeze: str = "embeddings"):
        super().__init__()
        check_choice("freeze", freeze, FREEZE)
        model.set_attn_implementation("sdpa")  # others would not take the mask as it is given
        config = model.config
        self.model, self.freeze, self.trainable = model, freeze, freeze != "all"
        self.dim, self.vocabulary = config.hidden_size, config.vocab_size
        self.padding = config.pad_token_id or 0
        self.max_tokens = config.max_position_embeddings
        if "roberta" in config.model_type:  # positions count on from the padding token's number
            self.max_tokens -= self.padding + 1
        frozen = {"none": [], "embeddings": [model.embeddings], "all": [model]}
        for module in frozen[freeze]:
            module.requires_grad_(False)
        self.train()

    def encode(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return the last hidden state (B, S, D)."""
        # Given (B, S), transformers would ask whether all is valid, and wait for a GPU to answer.
        mask = valid[:, None, None, :]
        return self.model(input_ids=tokens, attention_mask=mask).last_hidden_state


def load_text(
    source: str | Path, freeze: str = "embeddings", dropout: float | None = None
) -> TransformersText:
    """Load a pretrained text encoder.

    Args:
        source: a folder with config.json and weights, or an id of the Hugging Face hub
            ("distilbert-base-uncased", "organisation/model", "...@revision"), which is downloaded
            only where the local cache lacks it.
        freeze: "embeddings" (tokens, positions and their LayerNorm), "none" or "all".
        dropout: of hidden states and attention weights in training; None as published.

    Raises:
        ConfigError: it is absent, unreadable, of no known kind, or lacks weights.
    """
    check_choice("freeze", freeze, FREEZE)
    folder = find_folder(source, ["config.json"], WEIGHTS)
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in WEIGHTS):
        missing.append(" or ".join(WEIGHTS))
    if missing:
        raise ConfigError(f"{folder}: no text encoder.", [f"{name} is missing" for name in missing])
    model = _load(folder, dropout)
    encoder = TransformersText(model, freeze)
    encoder.identity = identity_of(model, settings_of(model.config), library_version())
    return encoder


def _load(folder: Path, dropout: float | None) -> nn.Module:
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for a few tensors, in every fold, seed and part

    unreadable = (
        OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError,
        pickle.UnpicklingError,
    )  # fmt: skip
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except unreadable as error:
        raise ConfigError(f"{folder / 'config.json'}: cannot be read.", _why(error)) from error
    if config.model_type not in KINDS or getattr(config, "is_decoder", False):
        raise ConfigError(
            f"{folder}: {config.model_type} (or a decoder) is no text encoder that is known here.",
            remedy=f"known are {', '.join(KINDS)}",
        )
    for name in (*_DROPOUTS, *_ATTENTION_DROPOUTS) if dropout is not None else ():
        if hasattr(config, name):
            setattr(config, name, dropout)
    pooler = {} if config.model_type == "distilbert" else {"add_pooling_layer": False}
    try:
        model, report = AutoModel.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True,
            trust_remote_code=False, weights_only=True, output_loading_info=True, **pooler,
        )  # fmt: skip
    except unreadable as error:
        raise ConfigError(
            f"{folder}: the weights cannot be loaded.", _why(error),
            "download the model again, as model.safetensors where there is one",
        ) from error
    if report["missing_keys"]:
        raise ConfigError(f"{folder}: weights are missing.", sorted(report["missing_keys"]))
    return model


def _why(error: Exception) -> list[str]:
    return [(str(error).strip() or type(error).__name__).splitlines()[0]]
