"""Audio encoders of the transformers library as upstreams."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from sertools.files import read_json
from sertools.models.encoder import Encoded
from sertools.models.upstream.base import Upstream
from sertools.models.upstream.whisper import WhisperUpstream, read_extractor
from sertools.models.whisper import WindowedWhisper
from torch import Tensor, nn

MASKED = ("wavlm", "hubert", "wav2vec2", "unispeech", "unispeech-sat")
"""Kinds whose attention mask makes padding harmless, if their convolutions use LayerNorm."""
ALONE = ("data2vec-audio", "wav2vec2-conformer")
"""Kinds whose position or convolution modules see padding, mask or not."""
_RATE = 16000
_NO_LAYERDROP = {"layerdrop": 0.0, "encoder_layerdrop": 0.0}
"""Dropped layers would be missing among the hidden states."""
_NO_MASKS = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
_DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "dropout")


def load_transformers(
    folder: Path,
    trainable: bool = False,
    freeze_frontend: bool = True,
    dropout: float | None = None,
    normalise: bool | None = None,
) -> Upstream:
    """Load the encoder in a folder; the arguments are those of `load_upstream`.

    Raises:
        ConfigError: the folder holds no audio encoder of a known kind, or not all its weights.
    """
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{folder}: no encoder of sertools, and no model of transformers.",
            [_first_line(error)],
            "name the folder that holds its config.json, such as exp/<tag>/pretrain/best/encoder",
        ) from error
    if config.model_type not in (*MASKED, *ALONE, "whisper") or getattr(
        config, "add_adapter", False
    ):
        raise ConfigError(
            f"{folder}: {config.model_type} (or its adapter) is no encoder that is known here.",
            remedy=f"known are {', '.join((*MASKED, *ALONE, 'whisper'))}",
        )
    if config.model_type == "whisper":
        extractor = read_extractor(folder, config)
        if normalise:
            raise ConfigError(f"{folder}: Whisper hears waveforms as they are.",
                              remedy="set normalise to null")
    _change(config, _NO_LAYERDROP)
    if dropout is not None:
        _change(config, dict.fromkeys(_DROPOUTS, dropout))
    try:
        model, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder}: cannot be loaded.", [_first_line(error)]) from error
    missing = [name for name in report["missing_keys"] if "masked_spec_embed" not in name]
    if missing:
        raise ConfigError(f"{folder}: weights are missing.", sorted(missing))
    _change(model.config, _NO_MASKS)  # not before: the weights hold the mask's vector
    if config.model_type == "whisper":
        sound = WindowedWhisper(model.get_encoder(), extractor)
        values = {**settings_of(config), "extractor": extractor.to_dict()}
        return WhisperUpstream(sound, values, library_version(), trainable, freeze_frontend)
    if normalise is None:
        normalise = _trained_on_normalised(folder, config)
    return TransformersUpstream(model, normalise, trainable, freeze_frontend)


class TransformersUpstream(Upstream):
    """A model of transformers that hears waveforms through strided convolutions.

    Kinds that padding would disturb (group norm over time, unmasked convolutions) hear groups of
    exactly equal length, mostly one utterance at a time: slower, but right.

    Args:
        model: the bare model, without a head.
        normalise: zero mean, unit variance over each utterance's own samples.
        trainable, freeze_frontend: as in `load_upstream`.
    """

    sample_rate = _RATE

    def __init__(
        self,
        model: nn.Module,
        normalise: bool,
        trainable: bool = False,
        freeze_frontend: bool = True,
    ):
        config = model.config
        values = {**settings_of(config), "normalise_waveform": normalise}
        super().__init__(model, values, library_version(), trainable)
        self.normalise = normalise
        self.dim, self.num_layers = config.hidden_size, config.num_hidden_layers
        self.frame_rate = _RATE / math.prod(config.conv_stride)
        self.masked = config.model_type in MASKED and _layer_norm(config)
        if getattr(config, "conv_pos_batch_norm", False):
            self.masked = False  # silence is no longer silent behind the batch norm
        if freeze_frontend:
            model.feature_extractor.requires_grad_(False)
            model.feature_extractor._requires_grad = False  # else it asks for the input's gradient

    @property
    def frontend(self) -> nn.Module:
        """Return the convolutions."""
        return self.model.feature_extractor

    def encode(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Encode a batch, in groups of equal length where that is needed."""
        if lengths is None:
            lengths = waveforms.new_full((len(waveforms),), waveforms.shape[1], dtype=torch.long)
        lengths = lengths.to(waveforms.device)
        field = _receptive_field(self.model.config)
        waveforms = self._prepare(waveforms, lengths, field)
        lengths = lengths.clamp(min=field)
        frames = self._frames(lengths)
        if self.masked:
            steps = torch.arange(waveforms.shape[1], device=waveforms.device)
            mask = (steps[None] < lengths[:, None]).long()
            layers = self._run(waveforms, mask, hidden)
        else:
            layers = self._run_groups(waveforms, lengths, hidden)
        return Encoded(last=layers[-1], hidden=layers[:-1] if hidden else None, lengths=frames)

    def _prepare(self, waveforms: Tensor, lengths: Tensor, field: int) -> Tensor:
        """Silence padding, normalise over valid samples (B, L), lengthen to one frame."""
        steps = torch.arange(waveforms.shape[1], device=waveforms.device)
        valid = steps[None] < lengths[:, None]
        waveforms = waveforms.masked_fill(~valid, 0.0)
        if self.normalise:
            count = lengths[:, None]
            mean = waveforms.sum(1, keepdim=True) / count
            centred = (waveforms - mean).masked_fill(~valid, 0.0)
            variance = centred.square().sum(1, keepdim=True) / count
            waveforms = centred / torch.sqrt(variance + 1e-7)  # as Wav2Vec2FeatureExtractor
        return F.pad(waveforms, (0, max(0, field - waveforms.shape[1])))

    def _frames(self, samples: Tensor) -> Tensor:
        config = self.model.config
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def _run(self, waveforms: Tensor, mask: Tensor | None, hidden: bool) -> list[Tensor]:
        """Return the wanted depths and, last, the final output, each (B, T, D)."""
        output = self.model(waveforms, attention_mask=mask, output_hidden_states=hidden)
        if not hidden:
            return [output.last_hidden_state]
        assert len(output.hidden_states) == self.num_layers + 1
        return [*output.hidden_states, output.last_hidden_state]

    def _run_groups(self, waveforms: Tensor, lengths: Tensor, hidden: bool) -> list[Tensor]:
        groups = defaultdict(list)
        for row, length in enumerate(lengths.tolist()):
            groups[length].append(row)
        rows: list[list[Tensor]] = [[] for _ in range(len(waveforms))]
        for length, members in groups.items():
            for layer in self._run(waveforms[members, :length], None, hidden):
                for row, frames in zip(members, layer, strict=True):
                    rows[row].append(frames)
        return [
            nn.utils.rnn.pad_sequence(list(layer), batch_first=True)
            for layer in zip(*rows, strict=True)
        ]


def _trained_on_normalised(folder: Path, config) -> bool:
    file = folder / "preprocessor_config.json"
    default = _layer_norm(config)
    return bool(read_json(file).get("do_normalize", default)) if file.is_file() else default


def _layer_norm(config) -> bool:
    """Say whether the convolutions use LayerNorm; data2vec knows no other kind."""
    return getattr(config, "feat_extract_norm", "layer") == "layer"


def _change(config, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if hasattr(config, name):
            setattr(config, name, value)


def _receptive_field(config) -> int:
    field = 1
    for kernel, stride in zip(
        reversed(config.conv_kernel), reversed(config.conv_stride), strict=True
    ):
        field = (field - 1) * stride + kernel
    return field


def settings_of(config) -> dict[str, Any]:
    """Return a configuration without what says where it came from."""
    values = config.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        values.pop(name, None)
    return values


def library_version() -> str:
    import transformers

    return f"transformers {transformers.__version__}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
