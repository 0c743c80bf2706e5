"""Pretrained encoders behind one face, whoever wrote them: frozen if wanted, and identifiable."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models.encoder import Encoded, SpeechEncoder
from torch import Tensor, nn

CODE_VERSION = 1
"""Raised when the encoders of this package give other values for the same weights."""


class Upstream(nn.Module):
    """A pretrained encoder from waveforms to frames of all depths.

    A frozen one is truly frozen: no gradients, and `train()` leaves it (and with it dropout,
    layer drop and masking) in evaluation mode. The features of an utterance do not depend on what
    it is padded or batched with. Waveforms are normalised here if the model was trained so: the
    reader should leave them as they are.
    """

    sample_rate: int
    """Samples per second that it expects."""
    dim: int
    """Width of its frames."""
    num_layers: int
    """Number of its blocks; there is one hidden tensor more."""
    frame_rate: float
    """Frames per second."""

    def __init__(self, model: nn.Module, config: dict[str, Any], code: str, trainable: bool):
        super().__init__()
        self.model, self.trainable = model, trainable
        self.identity = _identity(model, config, code)
        self.origin: dict[str, str] = {}
        """Where it came from, for people: `source` and, from a hub, `revision`."""
        if not trainable:
            self.requires_grad_(False)
        self.train()

    @property
    def frontend(self) -> nn.Module:
        """Return the convolutions on the waveform, which fine-tuning often keeps as they are."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Upstream:
        """Set the training mode; without effect on a frozen upstream."""
        return super().train(mode and self.trainable)

    def forward(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, hidden: bool = False
    ) -> Encoded:
        """Encode (B, L) right-padded waveforms with (B,) valid samples (None: all L)."""
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return self.encode(waveforms, lengths, hidden)

    def encode(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Do what `forward` promises; each kind of model in its way."""
        raise NotImplementedError


class OwnUpstream(Upstream):
    """An encoder of this package.

    Args:
        encoder: with pretrained weights.
        trainable: False freezes all of it.
        freeze_frontend: keep the convolutions on the waveform fixed while the rest is trained.
    """

    def __init__(
        self, encoder: SpeechEncoder, trainable: bool = False, freeze_frontend: bool = True
    ):
        super().__init__(encoder, encoder.config.to_dict(), f"sertools {CODE_VERSION}", trainable)
        self.sample_rate, self.frame_rate = encoder.config.sample_rate, encoder.frame_rate
        self.dim, self.num_layers = encoder.dim, encoder.num_layers
        if freeze_frontend and encoder.config.frontend == "conv":
            encoder.frontend.layers.requires_grad_(False)

    @property
    def frontend(self) -> nn.Module:
        """Return the encoder's front end."""
        return self.model.frontend

    def encode(self, waveforms: Tensor, lengths: Tensor | None, hidden: bool) -> Encoded:
        """Encode as the package's encoders do."""
        return self.model(waveforms, lengths, hidden=hidden)


def load_upstream(
    source: str | Path,
    implementation: str = "auto",
    trainable: bool = False,
    freeze_frontend: bool = True,
    dropout: float | None = None,
    normalise: bool | None = None,
) -> Upstream:
    """Load a pretrained encoder.

    Args:
        source: whatever `models.weights.load_encoder` takes, or the folder or id
            ("organisation/model" or "...@revision") of another audio encoder of transformers.
        implementation: "sertools" is this package's own, faster encoder; "transformers" the one
            of that library; "auto" takes the own one wherever it knows the model.
        trainable: False freezes it.
        freeze_frontend: keep its convolutions on the waveform fixed in training.
        dropout: of blocks, attention and feed-forward networks in training; None as published.
        normalise: zero mean, unit variance of each waveform; None as the model was trained.

    Raises:
        ConfigError: it is absent, unreadable, of no known kind, or lacks weights.
    """
    if implementation not in ("auto", "sertools", "transformers"):
        raise ConfigError(
            f"implementation is {implementation!r}.",
            remedy="choose auto, sertools or transformers",
        )
    place, origin = _find(str(source))
    if implementation == "auto":
        implementation = "sertools" if _is_own(place) else "transformers"
    if implementation == "sertools":
        from sertools.models.weights import load_encoder

        dropouts = ("dropout", "attention_dropout", "activation_dropout")
        changes: dict[str, Any] = {} if dropout is None else dict.fromkeys(dropouts, dropout)
        changes |= {} if normalise is None else {"normalise_waveform": normalise}
        upstream: Upstream = OwnUpstream(load_encoder(place, **changes), trainable, freeze_frontend)
    else:
        from sertools.models.transformers_upstream import load_transformers

        upstream = load_transformers(Path(place), trainable, freeze_frontend, dropout, normalise)
    upstream.origin = origin
    return upstream


def _find(source: str) -> tuple[str, dict[str, str]]:
    """Return where the files of a source lie, fetching them from the hub if need be."""
    name, _, revision = source.partition("@")
    if Path(source).exists() or source.startswith("torchaudio:") or name.count("/") != 1:
        return source, {"source": source}
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    wanted = {"revision": revision or None, "allow_patterns": ["*.json", "*.safetensors", "*.bin"]}
    try:
        folder = _snapshot(snapshot_download, name, wanted)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ConfigError(
            f"{source}: no such file or folder, not in the local Hugging Face cache, and not to "
            "be had from the hub.",
            [str(error).splitlines()[0]],
            f"check the spelling; or, where there is a network, run `hf download {name}` and copy "
            "the folder it prints, then name that folder",
        ) from error
    return folder, {"source": name, "revision": Path(folder).name}


def _snapshot(download, name: str, wanted: dict[str, Any]) -> str:
    """Prefer what is in the cache, so that nothing is asked of the network without need."""
    with contextlib.suppress(OSError):
        folder = download(name, local_files_only=True, **wanted)
        if any(Path(folder).glob("*.safetensors")) or any(Path(folder).glob("*.bin")):
            return folder
    listed = {**wanted, "allow_patterns": ["*.json", "*.safetensors"]}
    folder = download(name, **listed)
    return folder if any(Path(folder).glob("*.safetensors")) else download(name, **wanted)


def _is_own(place: str) -> bool:
    from sertools.models.weights import folders, huggingface

    path = Path(place)
    if not path.is_dir() or folders.is_own(path):
        return True
    try:
        huggingface.read_config(path)
    except ConfigError:
        return False
    return True


def _identity(model: nn.Module, config: dict[str, Any], code: str) -> dict[str, str]:
    """Return all that the features of a model depend on, as short texts."""
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        weights.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    text = json.dumps(config, sort_keys=True, default=str)
    return {
        "class": type(model).__name__,
        "weights": weights.hexdigest(),
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "code": code,
    }
