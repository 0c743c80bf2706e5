"""Find a published file of data2vec 2.0 or emotion2vec and sort what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.models.weights.data2vec2 import AUDIO, Structure, structure
from sertools.models.weights.fairseq import dig, is_tensors, plain, read_fairseq
from torch import Tensor

FILES = ("emotion2vec_base.pt", "model.pt")
"""What the file is called in the folders that are published."""
FETCHED = [*FILES, "tokens.txt", "config.json", "config.yaml"]
"""What to fetch from a hub."""
_PREFIX = "d2v_model."


@dataclass
class Checkpoint:
    """What a file holds, by names without prefix."""

    path: Path
    tensors: Mapping[str, Tensor]
    teacher: Mapping[str, Tensor] | None
    cfg: Mapping[str, Any] | None

    def structure(self) -> Structure:
        """Return the structure that its shapes and `cfg` tell."""
        return structure(self.tensors, self.cfg, self.path)


def find_file(source: str | Path) -> Path | None:
    """Return the checkpoint that a file or a published folder is or holds, if any."""
    path = Path(source)
    if path.is_file():
        return path
    return next((path / name for name in FILES if (path / name).is_file()), None)


def is_of_kind(content: Any) -> bool:
    """Say whether the content of a file looks like data2vec 2.0 audio or emotion2vec."""
    return any(name.removeprefix(_PREFIX).startswith(AUDIO) for name in _tensors(content) or ())


def _tensors(content: Any) -> Mapping[str, Any] | None:
    if isinstance(content, Mapping):
        for key in ("model", "state_dict", "model_state_dict"):
            if isinstance(content.get(key), Mapping):
                return content[key]
    return content if is_tensors(content) else None


def checkpoint(content: Any, path: Path) -> Checkpoint:
    """Sort what a file holds.

    Raises:
        ConfigError: it is another kind of file, or lacks `cfg` or `model`.
    """
    tensors = _tensors(content)
    if tensors is None or not is_of_kind(content):
        why = "it has no 'cfg' and 'model'"
        if tensors is not None:
            why = f"no name in it begins with {AUDIO} or {_PREFIX}{AUDIO}"
        raise ConfigError(
            f"{path}: not an emotion2vec or data2vec 2.0 audio file; {why}.",
            remedy="name emotion2vec_base.pt, model.pt of emotion2vec+, data2vec 2.0's "
            "base_libri.pt, or the folder or Hugging Face id of one",
        )
    cfg = plain(content.get("cfg"))
    prefixed = any(name.startswith(_PREFIX) for name in tensors)
    if prefixed:
        cfg = {"task": dig(cfg, "task")}  # cfg.model is that of the fine-tuning
    elif not isinstance(cfg, Mapping):
        raise ConfigError(
            f"{path}: 'cfg' is missing, which pretrained files hold beside 'model'.",
            remedy="get the file again, or export it with its configuration",
        )
    named = {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
    teacher = named.pop("_ema", None)
    odd = [name for part in (named, teacher or {}) for name, value in part.items()
           if not isinstance(value, Tensor)]  # fmt: skip
    if odd:
        raise ConfigError(f"{path}: something else than tensors is in 'model'.", odd)
    return Checkpoint(path, named, teacher, cfg)


def read(source: str | Path) -> Checkpoint:
    """Read a file, a published folder or a Hugging Face id ("emotion2vec/emotion2vec_base").

    Raises:
        ConfigError: it is absent, cannot be had, holds code, or is something else.
    """
    path = find_file(source)
    if path is None and Path(source).is_dir():
        raise ConfigError(
            f"{source}: no {' or '.join(FILES)} is in this folder.",
            remedy="name a file of the released layout; stage pretrain leaves one, emotion2vec.pt, "
            "beside best/ if the model is of the released structure",
        )
    if path is None and str(source).count("/") == 1 and Path(source).suffix != ".pt":
        from sertools.models.weights.hub import fetch

        path = find_file(fetch(str(source), FETCHED))
    if path is None:
        raise ConfigError(f"{source}: no such file, folder or model.")
    return checkpoint(read_fairseq(path), path)
