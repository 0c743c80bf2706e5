"""Where `!ref <key[inner]>` points, and what is wrong when it points nowhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml
from sertools.recipe.tree import File, children, null, walk, where
from sertools.recipe.words import nearest

REFERENCE = re.compile(r"<([^>]*)>")


@dataclass(frozen=True)
class Place:
    """A node and the file whose keys its references mean."""

    node: yaml.Node
    file: File


def lookup(place: Place, name: str) -> list[Place]:
    """Return what may stand under `name`: a section's own keys first, then an include's."""
    found = [Place(child, place.file) for key, child in children(place.node) if key == name]
    included = place.file.includes.get(id(place.node))
    if included is not None:
        found += lookup(Place(included.root, included), name)
    return found


def names(places: list[Place]) -> list[str]:
    """Return the keys directly below any of these places."""
    found: dict[str, None] = {}
    for place in places:
        found.update((key, None) for key, _ in children(place.node))
        included = place.file.includes.get(id(place.node))
        if included:
            found.update((name, None) for name in names([Place(included.root, included)]))
    return list(found)


def find_all(place: Place, parts: tuple[str, ...]) -> list[Place]:
    """Return what stands at a path of keys: what counts first, then what it is merged into."""
    if not parts:
        return [place]
    return [found for candidate in lookup(place, parts[0])
            for found in find_all(candidate, parts[1:])]


def find(place: Place, parts: tuple[str, ...]) -> Place | None:
    """Return the node that counts at a path of keys, or None."""
    return next(iter(find_all(place, parts)), None)


def target(file: File, text: str, stack: tuple[str, ...] = ()) -> Place | None:
    """Follow "key[inner]", through further references, to a node; None if it does not exist."""
    if text in stack:
        return None
    place: Place | None = Place(file.root, file)
    for part in (piece.rstrip("]") for piece in text.split("[")):
        place = place and find(place, (part,))
        place = place and settle(place, (*stack, text))
    return place


def settle(place: Place, stack: tuple[str, ...] = ()) -> Place | None:
    """Replace a node that is nothing but one reference by what it refers to."""
    if place.node.tag in ("!ref", "!copy"):
        whole = REFERENCE.fullmatch(str(place.node.value))
        if whole:
            return target(place.file, whole[1], stack)
    return place


def mend(file: File, problems: list[str], referenced: set[str], top: bool = True) -> None:
    """Note references that point nowhere and make them null; gather top-level keys referred to."""
    for path, node in list(walk(file.root)):
        if node.tag not in ("!ref", "!copy"):
            continue
        for text in REFERENCE.findall(str(node.value)):
            if top:
                referenced.add(text.split("[")[0])
            if target(file, text) is None:
                problems.append(_dangling(file, path, node, text))
                replacement = null()
                node.tag, node.value = replacement.tag, replacement.value
                break
    for included in file.includes.values():
        mend(included, problems, referenced, top=False)


def _dangling(file: File, path: tuple[str, ...], node: yaml.Node, text: str) -> str:
    if "." in text:
        first, *rest = text.split(".")
        hint = f"; write <{first}{''.join(f'[{part}]' for part in rest)}>"
    else:
        hint = nearest(text.split("[")[0], names([Place(file.root, file)]))
    reason = "refers to itself" if text.split("[")[0] == path[0] else "there is no such key"
    return f"{where(node)}: {'.'.join(path)}: {node.tag} <{text}>: {reason}{hint}"
