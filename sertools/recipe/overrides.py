"""Settings from the command line: found in the files, typed like the value they replace."""

from __future__ import annotations

import re
from typing import Any

import yaml
from sertools.recipe.references import Place, find, find_all, lookup, names, settle
from sertools.recipe.tree import STANDARD, File, children, is_null, null
from sertools.recipe.words import nearest

FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.inf|\.nan")
SECTION = (yaml.MappingNode, yaml.ScalarNode)
"""What may have keys inside: an include without keys of its own is a scalar."""
INTEGER = re.compile(r"[-+]?\d[\d_]*")


def apply(file: File, overrides: dict[str, str], problems: list[str]) -> dict[str, bool]:
    """Write the overrides into the tree; return each dotted key with whether it changed anything.

    What cannot be applied is noted in `problems` and left out.
    """
    top, changed = Place(file.root, file), {}
    for name, text in overrides.items():
        path = _path(top, name)
        if path is None:
            problems.append(_unknown(top, name))
            continue
        place, mapping = find(top, path), _owner(top, path)
        try:
            new = _typed(place, text)
        except ValueError as error:
            problems.append(f"--{'.'.join(path)} {text}: {error}")
            continue
        changed[".".join(path)] = _plain(new) != _plain(place.node)
        mapping.value = [
            (key, new if str(key.value) == path[-1] else value) for key, value in mapping.value
        ]
    return changed


def _path(top: Place, name: str) -> tuple[str, ...] | None:
    """Return the path of a dotted name, dashes and underscores being the same."""
    path: tuple[str, ...] = ()
    for part in name.split("."):
        places = find_all(top, path)
        known = names(places) if isinstance(places[0].node, SECTION) else []
        alike = [key for key in known if key.replace("-", "_") == part.replace("-", "_")]
        if not alike:
            return None
        path += (part if part in alike else alike[0],)
    return path


def _owner(place: Place, path: tuple[str, ...]) -> yaml.MappingNode | None:
    """Return the mapping that directly holds the last key of a path, in whichever file."""
    if len(path) > 1:
        owners = (_owner(candidate, path[1:]) for candidate in lookup(place, path[0]))
        return next((owner for owner in owners if owner is not None), None)
    if any(key == path[0] for key, _ in children(place.node)):
        return place.node
    included = place.file.includes.get(id(place.node))
    return _owner(Place(included.root, included), path) if included else None


def _unknown(top: Place, name: str) -> str:
    known = [".".join(path) for path in every_key(top)]
    hint = nearest(name.replace("-", "_"), known)
    hint = hint or f"; its keys are {', '.join(names([top]))}"
    return f"--{name}: {top.file.path.name} has no such key{hint}"


def every_key(top: Place, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of all keys that can be set."""
    places, paths = find_all(top, path), []
    for name in names(places) if isinstance(places[0].node, SECTION) else ():
        paths.append((*path, name))
        paths += every_key(top, (*path, name))
    return paths


def _typed(place: Place, text: str) -> yaml.Node:
    """Return a node with the type of the value at `place`.

    Raises:
        ValueError: saying why the text does not fit.
    """
    if text == "null":
        return null()
    node = place.node
    if node.tag in ("!ref", "!copy"):
        settled = settle(place)
        if settled is None or settled.node is node:
            return _guess(text)
        place, node = settled, settled.node
    if isinstance(node, yaml.SequenceNode):
        return _flow(text if text.startswith("[") else f"[{text}]")
    if names([place]) or node.tag.startswith(("!new:", "!name:", "!include:")):
        raise ValueError("this is a section; set the keys inside it, or null to leave it out")
    if node.tag == "!PLACEHOLDER" or node.style:
        return _string(text)
    return _flow(text) if is_null(node) and text[:1] in ("[", "{") else _scalar(text, node)


def _scalar(text: str, node: yaml.ScalarNode) -> yaml.ScalarNode:
    if is_null(node):
        return _guess(text)
    if node.value.lower() in ("true", "false"):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"true or false is expected (the file says {node.value})")
        return _bare(text.lower())
    if FLOAT.fullmatch(node.value):
        if not FLOAT.fullmatch(text):
            raise ValueError(f"a number is expected (the file says {node.value})")
        whole = INTEGER.fullmatch(text) and not INTEGER.fullmatch(node.value)
        return _bare(f"{text}.0" if whole else text)
    return _string(text)


def _guess(text: str) -> yaml.ScalarNode:
    """Return a number or truth value if the text reads as one, else a string."""
    if FLOAT.fullmatch(text) or text in ("true", "false"):
        return _bare(text)
    return _string(text)


def _string(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode(STANDARD + "str", text, style="'")


def _bare(text: str) -> yaml.ScalarNode:
    """Return a scalar that is written without quotes, whatever PyYAML thinks its type is."""
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _flow(text: str) -> yaml.Node:
    """Read a list or mapping that is written on one line."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"this is not a list: {getattr(error, 'problem', error)}") from error
    if not all(inner.tag.startswith(STANDARD) and "python" not in inner.tag
               for inner in _every(node)):
        raise ValueError("tags are not allowed on the command line")
    return node


def _every(node: yaml.Node):
    yield node
    for _, child in children(node):
        yield from _every(child)


def _plain(node: yaml.Node) -> Any:
    """Return a value that is equal for equal nodes."""
    below = [(name, _plain(child)) for name, child in children(node)]
    return below if not isinstance(node, yaml.ScalarNode) else (is_null(node), node.value)
