"""The encoder of Whisper as an upstream."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.encoder import Encoded
from sertools.models.upstream.base import Upstream
from sertools.models.whisper import WindowedWhisper
from torch import Tensor, nn

CODE_VERSION = 1
"""Raised when the same weights give other frames here."""
PREPROCESSOR = "preprocessor_config.json"
_RATE = 16000


class WhisperUpstream(Upstream):
    """The encoder of Whisper; see `models.whisper.WindowedWhisper` for what it makes of audio.

    Args:
        model: with pretrained weights.
        values: settings that its frames depend on.
        code: what computes them.
        trainable, freeze_frontend: as in `load_upstream`. Training takes memory for 30 s of each
            utterance, however short.
    """

    sample_rate = _RATE

    def __init__(
        self, model: WindowedWhisper, values: dict[str, Any], code: str, trainable: bool = False,
        freeze_frontend: bool = True,
    ):
        super().__init__(model, values, f"{code}, windows {CODE_VERSION}", trainable)
        config = model.whisper.config
        self.dim, self.num_layers = config.d_model, config.encoder_layers
        self.frame_rate, self.max_seconds = _RATE / model.hop, model.window / _RATE
        if freeze_frontend:
            self.frontend.requires_grad_(False)

    @property
    def frontend(self) -> nn.Module:
        """Return the two convolutions on mel frames."""
        return nn.ModuleList([self.model.whisper.conv1, self.model.whisper.conv2])

    def encode(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Encode a batch; longer utterances than 30 s in consecutive windows."""
        return self.model(waveforms, lengths, hidden=hidden)


def read_extractor(folder: Path, config: Any) -> Any:
    """Return the `WhisperFeatureExtractor` of a checkpoint's folder.

    Raises:
        ConfigError: it is missing, or another one than the encoder (its `WhisperConfig`) needs.
    """
    from transformers import WhisperFeatureExtractor

    try:
        extractor = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{folder}: {PREPROCESSOR} is missing or cannot be read, which says how Whisper's "
            "spectrograms are made.", [str(error).strip().splitlines()[0]],
            f"put the {PREPROCESSOR} of the same checkpoint beside its config.json") from error
    wrong = list(_faults(extractor, config))
    if wrong:
        raise ConfigError(f"{folder}: {PREPROCESSOR} does not fit the encoder.", wrong,
                          f"take the {PREPROCESSOR} of the same checkpoint")
    return extractor


def _faults(extractor: Any, config: Any) -> Iterator[str]:
    if extractor.sampling_rate != _RATE:
        yield f"sampling_rate is {extractor.sampling_rate}, known is {_RATE}"
    if extractor.feature_size != config.num_mel_bins:
        yield (f"feature_size is {extractor.feature_size}, the encoder has "
               f"{config.num_mel_bins} mel bands")
    frames, wanted = extractor.n_samples / extractor.hop_length, 2 * config.max_source_positions
    if not math.isclose(frames, wanted):
        yield (f"chunk_length {extractor.chunk_length} and hop_length {extractor.hop_length} give "
               f"{frames:g} frames, the encoder hears {wanted}")
    if getattr(extractor, "dither", 0.0):
        yield f"dither is {extractor.dither:g}: frames would differ from pass to pass"
