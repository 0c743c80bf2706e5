"""Objects from a configuration as an experiment keeps it: config.json, plain values."""

from __future__ import annotations

import functools
import os
import pydoc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.files import read_json

CONFIG = "config.json"
NEW, NAME = "!new", "!name"
OURS = "sertools."
"""How the name of everything begins that may be built: a folder may come from others."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return the resolved configuration of an experiment, exp/<tag>.

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    path = folder / CONFIG
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}",
                          remedy="name a model inside its experiment: "
                          "exp/<tag>/fold<k>/seed<n>/train/best") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no configuration")
    return found


def build(value: Any, base: Path) -> Any:
    """Return a plain value with its `!new` made into objects and its `!name` into partials.

    Args:
        value: of a configuration.
        base: the recipe's folder, from which paths with ./ and ../ count.

    Raises:
        ConfigError: a name that is not this package's, or that does not exist.
    """
    if isinstance(value, str) and value.startswith(("./", "../")):
        return os.path.abspath(base / value)
    if isinstance(value, list):
        return [build(item, base) for item in value]
    if not isinstance(value, Mapping):
        return value
    rest = {key: build(item, base) for key, item in value.items()
            if key not in (NEW, NAME, "args")}
    name = value.get(NEW) or value.get(NAME)
    if name is None:
        return rest
    target = pydoc.locate(name) if str(name).startswith(OURS) else None
    if not callable(target):
        raise ConfigError(f"{CONFIG} names {name}, which is not built here",
                          remedy=f"only what this package has, {OURS}*, can be built again")
    arguments = build(value.get("args", []), base)
    if NEW in value:
        return target(*arguments, **rest)
    return functools.partial(target, *arguments, **rest) if arguments or rest else target
