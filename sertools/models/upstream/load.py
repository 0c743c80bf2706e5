"""Find a pretrained encoder's files and choose what runs it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.upstream.base import Upstream
from sertools.models.upstream.own import OwnUpstream


def load_upstream(
    source: str | Path,
    implementation: str = "auto",
    trainable: bool = False,
    freeze_frontend: bool = True,
    dropout: float | None = None,
    normalise: bool | None = None,
    frozen_mode: str = "eval",
    mask_embedding: bool = False,
    layers: int | None = None,
) -> Upstream:
    """Load a pretrained encoder.

    Args:
        source: whatever `models.weights.load_encoder` takes, or the folder or id
            ("organisation/model" or "...@revision") of another audio encoder of transformers,
            Whisper's (`openai/whisper-base`) among them.
        implementation: "sertools" is this package's own, faster encoder; "transformers" the one
            of that library; "auto" takes the own one wherever it knows the model.
        trainable: False freezes it.
        freeze_frontend: keep its convolutions on the waveform fixed in training.
        dropout: of blocks, attention and feed-forward networks in training; None as published.
        normalise: zero mean, unit variance of each waveform; None as the model was trained.
        frozen_mode: "eval"; "released" lets the dropouts of a frozen encoder act while a head is
            trained on it (never its layer drop or masks), to reproduce results of code that does.
        mask_embedding: keep the learned vector of masked frames, for a student that is pretrained
            further; own implementation only, fresh where the file has none.
        layers: keep this many blocks, from the first, and, where some are cut off, no LayerNorm
            after them; own implementation only. None keeps all.

    Raises:
        ConfigError: it is absent, unreadable, of no known kind, or lacks weights.
    """
    if implementation not in ("auto", "sertools", "transformers"):
        raise ConfigError(
            f"implementation is {implementation!r}.",
            remedy="choose auto, sertools or transformers",
        )
    if frozen_mode not in ("eval", "released") or (frozen_mode == "released" and trainable):
        raise ConfigError(
            f"frozen_mode is {frozen_mode!r}, trainable is {trainable}.",
            remedy="choose eval or released, the latter for a frozen encoder only",
        )
    if source is None:
        raise ConfigError("source is null.", remedy="name a model, a folder or a file")
    place, origin = _find(str(source))
    if implementation == "auto":
        implementation = "sertools" if _is_own(place) else "transformers"
    if implementation == "sertools":
        from sertools.models.thinning import shorten
        from sertools.models.weights import load_encoder

        dropouts = ("dropout", "attention_dropout", "activation_dropout")
        changes: dict[str, Any] = {} if dropout is None else dict.fromkeys(dropouts, dropout)
        changes |= {} if normalise is None else {"normalise_waveform": normalise}
        changes |= {"mask_embedding": mask_embedding}  # as large from every kind of file
        changes |= {"layerdrop": 0.0} if frozen_mode == "released" else {}
        encoder = load_encoder(place, **changes)
        if layers is not None:
            encoder = shorten(encoder, layers)
        upstream: Upstream = OwnUpstream(encoder, trainable, freeze_frontend)
    else:
        if layers is not None:
            raise ConfigError(f"layers is {layers}, but transformers runs this encoder.",
                              remedy="only encoders of this package can be cut: layers: null")
        from sertools.models.upstream.transformers import load_transformers

        upstream = load_transformers(Path(place), trainable, freeze_frontend, dropout, normalise)
    upstream.origin, upstream.frozen_mode = origin, frozen_mode
    return upstream


def _find(source: str) -> tuple[str, dict[str, str]]:
    """Return where the files of a source lie, fetching them from the hub if need be."""
    if not source.strip():
        raise ConfigError("source is empty.", remedy="name a model, a folder or a file")
    name, _, revision = source.partition("@")
    a_path = Path(source).exists() or source.startswith(("/", ".", "~"))
    if a_path or source.startswith("torchaudio:") or name.count("/") != 1:
        return source, {"source": source}
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from sertools.models.weights.checkpoint import FETCHED

    patterns = ["*.json", "*.safetensors", "*.bin", *FETCHED]
    wanted = {"revision": revision or None, "allow_patterns": patterns}
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
    from sertools.models.weights.checkpoint import find_file

    with contextlib.suppress(OSError):
        folder = download(name, local_files_only=True, **wanted)
        if any(Path(folder).glob("*.safetensors")) or any(Path(folder).glob("*.bin")):
            return folder
        if find_file(folder) is not None:
            return folder
    listed = {**wanted, "allow_patterns": ["*.json", "*.safetensors"]}
    folder = download(name, **listed)
    return folder if any(Path(folder).glob("*.safetensors")) else download(name, **wanted)


def _is_own(place: str) -> bool:
    from sertools.models.weights import checkpoint, folders, huggingface

    path = Path(place)
    if not path.is_dir() or folders.is_own(path):
        return True
    if checkpoint.find_file(path) is not None and not (path / "model.safetensors").is_file():
        return True
    try:
        huggingface.read_config(path)
    except ConfigError:
        return False
    return True
