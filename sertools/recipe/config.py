"""A recipe's configuration: read with HyperPyYAML, plain for hashing, built piece by piece."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from sertools.errors import ConfigError
from sertools.recipe import overrides, references, relative, resolve, tree
from sertools.recipe.references import Place


class Config:
    """One configuration file with its includes and the settings of the command line.

    Args:
        path: the YAML file.
        settings: dotted key -> text, from the command line.
        recipe: the recipe's folder, from which relative paths of the file count (`data_folder`,
            and whatever begins with ./ or ../); one from the command line counts from the current
            folder.

    Whatever is wrong with the text of the files is in `problems`, and null in the values.

    Raises:
        ConfigError: when the file itself is not YAML with keys.
    """

    def __init__(self, path: Path, settings: dict[str, str], recipe: Path):
        self.path, self.recipe, self.problems = path, recipe, []
        self.referenced: set[str] = set()
        self.file = tree.read(path, self.problems)
        if not isinstance(self.file.root, yaml.MappingNode):
            if not self.problems:
                self.problems.append(f"{tree.shown(path)}: keys with values are expected")
            raise ConfigError("the configuration cannot be read", self.problems)
        self.links = self._links()
        references.mend(self.file, self.problems, self.referenced)
        mine = relative.settings_from(recipe, settings)
        self.changed = overrides.apply(self.file, mine, self.problems)
        self.root = self._resolve()

    def _resolve(self) -> yaml.Node:
        try:
            root = resolve.resolve(self.file)
        except (ValueError, TypeError, ArithmeticError) as error:
            self.problems.append(f"{tree.shown(self.path)}: {error}")
            root = tree.null()
        return root

    def _links(self) -> dict[str, set[str]]:
        """Return, per top-level key, the top-level keys that it refers to."""
        links = {}
        for key, value in tree.children(self.file.root):
            found = links.setdefault(key, set())
            for _, node in tree.walk(value):
                if node.tag in ("!ref", "!copy"):
                    texts = references.REFERENCE.findall(str(node.value))
                    found.update(text.split("[")[0] for text in texts)
        return links

    def reached(self, keys: Iterable[str]) -> set[str]:
        """Return these keys and all that they refer to, directly or not."""
        todo, found = list(keys), set()
        while todo:
            key = todo.pop()
            if key not in found:
                found.add(key)
                todo += self.links.get(key, ())
        return found

    @functools.cached_property
    def nodes(self) -> dict[str, yaml.Node]:
        """Return the resolved node of every top-level key."""
        return {key: node for key, node in tree.children(self.root) if not key.startswith("__")}

    @functools.cached_property
    def values(self) -> dict[str, Any]:
        """Return the whole configuration as plain values; `!new:X` becomes the key "!new"."""
        seen: dict[int, yaml.Node] = {}
        pairs = [(_text(key), _data(node, seen)) for key, node in self.nodes.items()]
        values = jsonable(_load(yaml.MappingNode("tag:yaml.org,2002:map", pairs)))
        folder = values.get("data_folder")
        if folder and folder != tree.UNFILLED:
            base = Path.cwd() if "data_folder" in self.changed else self.recipe
            values["data_folder"] = os.path.abspath(base / Path(str(folder)).expanduser())
        return values

    def given(self, key: str) -> bool:
        """Return whether a key is there and not null."""
        return not tree.is_null(self.nodes.get(key))

    def where(self, path: tuple[str, ...]) -> str:
        """Return "file:line" of a key."""
        place = references.find(Place(self.file.root, self.file), path)
        return tree.where(place.node) if place else tree.shown(self.path)

    def pick(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the plain values of some keys; an absent key is null."""
        return {key: copy.deepcopy(self.values.get(key)) for key in sorted(keys)}

    def build(self, key: str, **more: Any) -> Any:
        """Construct what stands under a key; `more` are further arguments of its `!new:`."""
        node = self.nodes.get(key)
        if tree.is_null(node):
            return None
        node = relative.rooted(node, self.recipe)
        if not more:
            return _load(_pairs(value=node))["value"]
        assert node.tag.startswith(("!new:", "!name:")), f"{key} takes no further arguments"
        partial = copy.copy(node)
        partial.tag = "!name:" + node.tag.partition(":")[2]
        return _load(_pairs(value=partial))["value"](**more)


def digest(value: Any) -> str:
    """Return the hex SHA-256 of a plain value, the same for equal values."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def jsonable(value: Any) -> Any:
    """Turn tuples into lists, keys and anything else that JSON lacks into text."""
    if isinstance(value, dict):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(inner) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _load(root: yaml.MappingNode) -> dict:
    text = yaml.serialize(root, allow_unicode=True, width=10**6)
    return dict(_loader()(text).get_single_data() or {})


@functools.cache
def _loader() -> type:
    """Return a loader with HyperPyYAML's constructors, for text whose references are resolved.

    `load_hyperpyyaml` would resolve them once more, which takes twice as long as reading.
    """
    import ruamel.yaml
    from hyperpyyaml import load_hyperpyyaml

    class Loader(ruamel.yaml.SafeLoader):
        def construct_object(self, node, deep=True):
            return super().construct_object(node, deep=True)  # as HyperPyYAML does

    load_hyperpyyaml("{}", loader=Loader)  # gives it the constructors
    return Loader


def _data(node: yaml.Node, seen: dict[int, yaml.Node]) -> yaml.Node:
    """Copy a tree with `!new:` and `!name:` turned into keys, so that loading builds nothing."""
    if id(node) in seen:
        return seen[id(node)]
    if isinstance(node, yaml.MappingNode):
        pairs = [(key, _data(value, seen)) for key, value in node.value]
        new = yaml.MappingNode(node.tag, pairs)
    elif isinstance(node, yaml.SequenceNode):
        new = yaml.SequenceNode(node.tag, [_data(item, seen) for item in node.value])
    else:
        new = node
    if node.tag.startswith(("!new:", "!name:")):
        kind, _, name = node.tag.partition(":")
        head = [(_text(kind), _text(name))]
        if isinstance(node, yaml.SequenceNode):
            new.tag = "tag:yaml.org,2002:seq"
            head.append((_text("args"), new))
        elif isinstance(node, yaml.MappingNode):
            head += new.value
        new = yaml.MappingNode("tag:yaml.org,2002:map", head)
    seen[id(node)] = new
    return new


def _pairs(**nodes: yaml.Node) -> yaml.MappingNode:
    pairs = [(_text(key), node) for key, node in nodes.items()]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs)


def _text(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="'")
