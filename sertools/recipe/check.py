"""What can be wrong with a configuration besides its text: keys, folders, classes, arguments."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml
from sertools.recipe import options, tree
from sertools.recipe.config import Config
from sertools.recipe.stage import Stage
from sertools.recipe.words import nearest

ENGINE_KEYS = ("seeds", "corpus")
"""Keys that the engine itself reads: `seeds`, and `corpus.set` for the name of the data folder."""


def keys(config: Config, stages: Sequence[Stage]) -> list[str]:
    """Return problems with top-level keys that nothing reads, and with `seeds`."""
    known = set(ENGINE_KEYS).union(*(stage.declared for stage in stages))
    known |= {stage.requires for stage in stages if isinstance(stage.requires, str)}
    flags = options.SWITCHES + options.VALUES + options.HIDDEN
    problems = []
    for node, _ in config.file.root.value:
        name = str(node.value)
        if name in flags:
            hint = "; use the list seeds" if name == "seed" else ""
            problems.append(f"{tree.where(node)}: the key {name} is taken by the option "
                            f"--{name.replace('_', '-')}{hint}")
        elif name not in known | config.referenced and not name.startswith("__"):
            problems.append(f"{tree.where(node)}: {name}: no stage reads this key"
                            f"{nearest(name, known)}")
    seeds = config.values.get("seeds", [1])
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not (whole and seeds and len(set(seeds)) == len(seeds)):
        problems.append(f"{config.where(('seeds',))}: seeds: {seeds}: a list of different whole "
                        "numbers is expected, such as [1, 2, 3]")
    return problems


def values(config: Config, stages: Iterable[Stage], downloading: bool) -> list[str]:
    """Return problems with values that these stages need: absent, placeholders, the data folder."""
    stages, problems = list(stages), []
    reading: dict[str, list[str]] = {}
    for stage in stages:
        for key in stage.declared:
            reading.setdefault(key, []).append(stage.name)
    lacking = {key: stage.name for stage in reversed(stages) for key in stage.needs
               if not config.given(key)}
    problems += [f"{tree.shown(config.path)}: {key} is missing or null, and stage {name} needs it"
                 for key, name in lacking.items()]
    for key, names in reading.items():
        unfilled = [path for path, node in _below(config, key) if _unfilled(node)]
        for path in unfilled:
            name = ".".join(path)
            problems.append(f"{config.where(path)}: {name} is not filled in, and stage {names[0]} "
                            f"reads it; give --{name} VALUE or write it there")
        if key == "data_folder" and not unfilled:
            problems += _data_folder(config, names[0], downloading)
    return problems


def _data_folder(config: Config, stage: str, downloading: bool) -> list[str]:
    folder = config.values.get("data_folder")
    if folder in (None, ""):
        return [f"{tree.shown(config.path)}: data_folder is missing, and stage {stage} reads it; "
                "give --data_folder FOLDER, the folder of the official release"]
    if not downloading and not Path(str(folder)).is_dir():
        return [f"{config.where(('data_folder',))}: data_folder: {folder}: there is no such "
                f"folder, and stage {stage} reads it; give --data_folder FOLDER"]
    return []


def calls(config: Config, names: Iterable[str]) -> list[str]:
    """Return problems with every `!new:` and `!name:` under these keys; imports what they name."""
    problems: list[str] = []
    seen: set[int] = set()
    for key in dict.fromkeys(names):
        for path, node in _below(config, key, seen):
            if node.tag.startswith(("!new:", "!name:")):
                faults = _call(node)
                problems += [f"{config.where(path)}: {'.'.join(path)}: {node.tag}: {fault}"
                             for fault in faults]
    return problems


def _below(config: Config, key: str, seen: set[int] | None = None):
    node = config.nodes.get(key)
    return list(tree.walk(node, (key,), seen)) if node is not None else []


def _call(node: yaml.Node) -> list[str]:
    kind, _, name = node.tag.partition(":")
    try:
        target = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        return [f"importing it failed: {error.value}"]
    if target is None:
        return [f"there is no such class or function{_similar(name)}"]
    if kind == "!new" and not inspect.isclass(target):
        return ["this is not a class; write !name: for a function"]
    if not callable(target):
        return ["this cannot be called; arguments make no sense"] if tree.children(node) else []
    try:
        parameters = inspect.signature(target).parameters
    except (ValueError, TypeError):  # builtins without a signature
        return []
    given = tree.children(node)
    if isinstance(node, yaml.SequenceNode):
        return _positions(parameters, len(given), kind == "!new")
    return _arguments(parameters, [argument for argument, _ in given], kind == "!new")


def _arguments(parameters, given: list[str], complete: bool) -> list[str]:
    kinds = inspect.Parameter
    named = {name: p for name, p in parameters.items()
             if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    faults = []
    if not any(p.kind is kinds.VAR_KEYWORD for p in parameters.values()):
        faults += [f"it has no argument {name}{nearest(name, named)}"
                   for name in given if name not in named]
    if complete:
        faults += [f"the argument {name} is missing" for name, p in named.items()
                   if p.default is kinds.empty and name not in given]
    return faults


def _positions(parameters, given: int, complete: bool) -> list[str]:
    kinds = inspect.Parameter
    places = [p for p in parameters.values()
              if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    if given > len(places) and not any(p.kind is kinds.VAR_POSITIONAL
                                       for p in parameters.values()):
        return [f"it takes at most {len(places)} arguments, {given} are given"]
    missing = [p.name for p in places[given:] if p.default is kinds.empty]
    return [f"the argument {name} is missing" for name in missing] if complete else []


def _similar(name: str) -> str:
    module, _, last = name.rpartition(".")
    try:
        parent = pydoc.locate(module) if module else None
    except pydoc.ErrorDuringImport:
        parent = None
    if parent is None:
        return f" (there is no {module} either)" if module else ""
    return nearest(last, dir(parent))


def _unfilled(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and tree.UNFILLED in node.value
