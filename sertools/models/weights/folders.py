"""Our own folders: config.json with the structure, model.safetensors with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from sertools.errors import ConfigError
from sertools.files import publish, read_json, write_json
from sertools.models.config import EncoderConfig
from sertools.models.encoder import SpeechEncoder
from sertools.models.weights.assemble import assemble
from sertools.models.weights.heard import Heard, pretrained_on
from sertools.models.weights.read import read_safetensors

__all__ = ["is_own", "load_folder", "pretrained_on", "save_encoder"]

FORMAT = "sertools-encoder-1"
"""Value of `format` in config.json; the number grows when names or meanings change."""


def is_own(folder: Path) -> bool:
    """Tell whether `folder` was written by `save_encoder`."""
    try:
        return str(read_json(folder / "config.json").get("format", "")).startswith("sertools-")
    except (OSError, ValueError, AttributeError):
        return False


def save_encoder(
    encoder: SpeechEncoder, folder: str | Path, pretrained_on: Heard | None = None
) -> Path:
    """Publish structure and weights of `encoder` as `folder`.

    Args:
        encoder: of this package.
        folder: replaced as a whole.
        pretrained_on: the corpora that it has heard, kept in config.json for reports.
    """
    tensors = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
    with publish(folder) as temporary:
        temporary.mkdir()
        known = {} if pretrained_on is None else {"pretrained_on": pretrained_on}
        config = {"format": FORMAT, **encoder.config.to_dict(), **known}
        write_json(temporary / "config.json", config)
        save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
    return Path(folder)


def load_folder(folder: Path, **overrides: Any) -> SpeechEncoder:
    """Load what `save_encoder` wrote.

    Raises:
        ConfigError: if it is of a newer version, incomplete or inconsistent.
    """
    values = read_json(folder / "config.json")
    if values.pop("format") != FORMAT:
        raise ConfigError(
            f"{folder}: written by another version of sertools.", remedy="update sertools"
        )
    values.pop("pretrained_on", None)  # no part of the structure
    config = EncoderConfig.from_dict({**values, **overrides}, str(folder / "config.json"))
    tensors = read_safetensors(folder / "model.safetensors")
    return assemble(config, tensors, {"": ""}, (), str(folder), taps_last=False)
