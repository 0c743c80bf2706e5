"""Files of a model on the Hugging Face hub, or in its local cache."""

from __future__ import annotations

from pathlib import Path

from sertools.errors import ConfigError


def fetch(name: str, patterns: list[str]) -> Path:
    """Return the folder with the files of an id ("...@revision") that match `patterns`.

    Raises:
        ConfigError: the model is neither in the cache nor to be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise ConfigError(
            f"{name}: not a folder or file here, and not to be had from the Hugging Face hub.",
            [str(error).splitlines()[0]],
            "check the spelling and the connection, or download the model elsewhere and name its "
            "folder",
        ) from error
