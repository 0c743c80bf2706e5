"""Files of a model on the Hugging Face hub, in its local cache, or in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from sertools.errors import ConfigError


def fetch(name: str, patterns: list[str]) -> Path:
    """Return the folder with the files of an id ("...@revision") that match `patterns`.

    Raises:
        ConfigError: the model is neither in the cache nor to be had.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return _snapshot(name, patterns)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ConfigError(
            f"{name}: not a folder or file here, and not to be had from the Hugging Face hub.",
            [str(error).splitlines()[0]],
            "check the spelling and the connection, or download the model elsewhere and name its "
            "folder",
        ) from error


def find_folder(source: str | Path, small: Sequence[str], either: Sequence[str]) -> Path:
    """Return the folder of a source, fetching as little as possible and only what is not here.

    Args:
        source: a folder, or an id ("model", "organisation/model", "...@revision").
        small: patterns of the files that are fetched along.
        either: names or patterns of which the first that exists is fetched and the others are
            not; what the cache holds comes before what the hub has.

    Raises:
        ConfigError: no such folder, and the model is neither in the cache nor to be had. Whether
            the folder then holds what is wanted is the caller's to see.
    """
    name = str(source).strip()
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if not name or path.exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ConfigError(
            f"{name or 'an empty name'}: not a folder, and no id of the Hugging Face hub.",
            remedy="name the folder that holds its config.json, or an id such as "
            "distilbert-base-uncased",
        )
    with contextlib.suppress(OSError, ValueError):
        folder = _snapshot(name, [*small, *either], local_files_only=True)  # asks no network
        if any(any(folder.glob(pattern)) for pattern in either):
            return folder
    for pattern in either:
        folder = fetch(name, [*small, pattern])
        if any(folder.glob(pattern)):
            break
    return folder


def _snapshot(name: str, patterns: list[str], **options: bool) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    return Path(
        snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=patterns,
            **options,
        )
    )
