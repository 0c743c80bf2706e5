"""Relative paths in a configuration: they count from the recipe's folder, wherever one stands."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

STARTS = ("./", "../")
"""How a value begins that is meant as a relative path; a hub's id (`owner/model`) does not."""


def settings_from(recipe: Path, settings: dict[str, str]) -> dict[str, str]:
    """Turn relative paths of the command line, which count from the current folder, into ours.

    `data_folder` stays: it has no need to begin with a dot.
    """
    return {key: _from_recipe(value, recipe) if _meant(key, value) else value
            for key, value in settings.items()}


def rooted(node: yaml.Node, recipe: Path) -> yaml.Node:
    """Return a copy of a tree whose relative paths are absolute."""
    return _rooted(node, recipe, {})


def root(value: str, recipe: Path) -> str:
    """Return one value, absolute if it is a relative path."""
    return os.path.abspath(recipe / value) if value.startswith(STARTS) else value


def _meant(key: str, value: str) -> bool:
    return key != "data_folder" and value.startswith(STARTS)


def _from_recipe(value: str, recipe: Path) -> str:
    path = Path(os.path.relpath(os.path.abspath(value), recipe)).as_posix()
    return path if path.startswith(STARTS) else f"./{path}"


def _rooted(node: yaml.Node, recipe: Path, seen: dict[int, yaml.Node]) -> yaml.Node:
    if id(node) in seen:
        return seen[id(node)]
    if isinstance(node, yaml.ScalarNode):
        new = yaml.ScalarNode(node.tag, root(node.value, recipe), style=node.style)
        seen[id(node)] = new = new if node.value.startswith(STARTS) else node
        return new
    new = type(node)(node.tag, [])
    seen[id(node)] = new
    if isinstance(node, yaml.MappingNode):
        new.value = [(key, _rooted(value, recipe, seen)) for key, value in node.value]
    else:
        new.value = [_rooted(item, recipe, seen) for item in node.value]
    return new
