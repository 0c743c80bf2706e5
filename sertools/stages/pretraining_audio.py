"""Notice that the audio of a pretraining changed: its manifests or shards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sertools.recipe.marker import Fingerprint

UNWRITTEN = "its own manifest, which stage prepare writes first"


def fingerprint(config: Mapping) -> str | None:
    """Return a hash over the manifests and shard indices that `pretraining_data` names.

    The manifest of this very recipe may be still to be written by its stage prepare; the
    fingerprint is then another one, and is looked at again after that stage.
    """
    values = config.get("pretraining_data")
    if not values:
        return None
    from sertools.data.pretraining import PretrainingData

    given = {name: value for name, value in values.items() if not name.startswith("!")}
    folder = Path(config.get("data_folder") or ".")
    given, waits = _without_unwritten(given, config)
    if waits and not given["sources"] and not given.get("shards"):
        return UNWRITTEN
    data = PretrainingData(**given)
    found = data.fingerprint(config.recipe, folder)
    if waits:
        return f"{found} and {UNWRITTEN}"
    return Fingerprint(found, [data.former_fingerprint(config.recipe, folder)])


def _without_unwritten(given: dict[str, Any], config: Mapping) -> tuple[dict[str, Any], bool]:
    """Leave out this recipe's own manifest while it is not there; say whether it was left out."""
    corpus, listed = config.get("corpus"), given.get("sources")
    if not isinstance(corpus, Mapping) or not isinstance(listed, Mapping):
        return given, False
    own = config.recipe / "data" / str(corpus.get("set") or "all") / "utts.json"
    there = {name: source for name, source in listed.items()
             if own.is_file() or not _is(source, config.recipe, own)}
    return {**given, "sources": there}, len(there) < len(listed)


def _is(source: Any, recipe: Path, manifest: Path) -> bool:
    named = source.get("manifest") if isinstance(source, Mapping) else None
    return isinstance(named, str) and os.path.abspath(recipe / named) == os.path.abspath(manifest)
