"""From file trees to one tree without includes and references, by HyperPyYAML's own rules."""

from __future__ import annotations

import functools
from io import StringIO

import yaml
from sertools.recipe.references import REFERENCE, settle, target
from sertools.recipe.references import Place as At
from sertools.recipe.tree import LOADER, UNFILLED, File, children, null


def resolve(file: File) -> yaml.Node:
    """Return the resolved root of a file; nodes that were shared or referred to are shared.

    Raises:
        ValueError, TypeError, ArithmeticError: when HyperPyYAML cannot resolve a reference.
    """
    text = yaml.serialize(_spliced(file.root, file, {}), allow_unicode=True, width=10**6)
    resolved = yaml.compose(_referred(text), LOADER)
    return null() if resolved is None else resolved


@functools.lru_cache(maxsize=256)
def _referred(text: str) -> str:
    """Return a text with its references replaced; many configurations include the same files."""
    from hyperpyyaml import resolve_references

    return resolve_references(StringIO(text)).getvalue()


def _spliced(node: yaml.Node, file: File, seen: dict[int, yaml.Node]) -> yaml.Node:
    """Copy a tree with the resolved content of every include in its place."""
    if id(node) in seen:
        return seen[id(node)]
    if id(node) in file.includes:
        included = file.includes[id(node)]
        for name, value in children(node):
            _place(included, (name,), _settled(value, file))
        seen[id(node)] = resolve(included)
        return seen[id(node)]
    if isinstance(node, yaml.ScalarNode):
        copy = yaml.ScalarNode(node.tag, node.value, style=node.style)
        if node.tag == "!PLACEHOLDER":
            copy = yaml.ScalarNode("tag:yaml.org,2002:str", UNFILLED, style="'")
        seen[id(node)] = copy
    elif isinstance(node, yaml.SequenceNode):
        copy = seen[id(node)] = yaml.SequenceNode(node.tag, [], flow_style=node.flow_style)
        copy.value = [_spliced(item, file, seen) for item in node.value]
    else:
        copy = seen[id(node)] = yaml.MappingNode(node.tag, [], flow_style=node.flow_style)
        copy.value = [(_key(key), _spliced(value, file, seen)) for key, value in node.value]
    return copy


def _key(key: yaml.Node) -> yaml.Node:
    """Copy a key: one node in two places would be written as an alias, which no key may be."""
    return yaml.ScalarNode(key.tag, key.value, style=key.style)


def _place(file: File, path: tuple[str, ...], new: yaml.Node) -> None:
    """Set a key of an included file; an untagged mapping is merged into one that is there."""
    node = file.root
    for depth, name in enumerate(path):
        if id(node) in file.includes:
            _place(file.includes[id(node)], path[depth:], new)
            return
        if isinstance(node, yaml.ScalarNode):
            node = _opened(file, path[:depth])
        below = dict(children(node))
        last = depth == len(path) - 1
        if not last:
            node = below[name]
            continue
        old = below.get(name)
        if _is_plain_mapping(new) and old is not None and not isinstance(old, yaml.SequenceNode):
            for inner, value in children(new):
                _place(file, (*path, inner), value)
            return
        key = yaml.ScalarNode("tag:yaml.org,2002:str", name, style="'")
        pairs = [(k, v) for k, v in node.value if str(k.value) != name]
        node.value = [*pairs, (key, new)]


def _opened(file: File, path: tuple[str, ...]) -> yaml.MappingNode:
    """Turn a section without keys into an empty mapping with the same tag."""
    old = file.root
    parent = None
    for name in path:
        parent, old = old, dict(children(old))[name]
    tag = old.tag if old.tag.startswith("!") else "tag:yaml.org,2002:map"
    new = yaml.MappingNode(tag, [])
    if parent is None:
        file.root = new
    else:
        parent.value = [(key, new if value is old else value) for key, value in parent.value]
    return new


def _is_plain_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map"


def _settled(node: yaml.Node, file: File) -> yaml.Node:
    """Return a value for an included file with its references replaced: they mean this file."""
    from hyperpyyaml.core import parse_arithmetic

    if node.tag in ("!ref", "!copy"):
        settled = settle(At(node, file))
        if settled is not None and settled.node is not node:
            return _settled(settled.node, settled.file)
        text = REFERENCE.sub(lambda found: _text(file, found[1]), str(node.value))
        value = parse_arithmetic(text)
        if isinstance(value, str):
            return yaml.ScalarNode("tag:yaml.org,2002:str", value, style="'")
        return yaml.compose(repr(value), yaml.SafeLoader)
    if id(node) in file.includes:
        return _spliced(node, file, {})
    if isinstance(node, yaml.MappingNode):
        pairs = [(key, _settled(value, file)) for key, value in node.value]
        return yaml.MappingNode(node.tag, pairs)
    if isinstance(node, yaml.SequenceNode):
        return yaml.SequenceNode(node.tag, [_settled(item, file) for item in node.value])
    return node


def _text(file: File, reference: str) -> str:
    place = target(file, reference)
    return str(_settled(place.node, place.file).value)
