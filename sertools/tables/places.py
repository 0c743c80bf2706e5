"""YAML with places: plain values, and the line of each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from sertools.recipe.tree import LOADER

Keys = tuple[str | int, ...]
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of rows and columns: they are typed on command lines and in files."""
HYPHEN = re.compile(r"\w-$")


class Source:
    """One YAML file while it is read; faults are added to a list that all files share.

    Args:
        path: the file.
        faults: gets "<file>:<line>: <keys>: <what is wrong>".
        root: folder that file names are shown from.
    """

    def __init__(self, path: Path, faults: list[str], root: Path):
        self.faults, self.lines = faults, {}
        self.shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        self.value: Any = None
        self.broken = True
        """Whether it is no YAML at all; what lacks in it is then not told."""
        try:
            text = path.read_text(encoding="utf-8")
            self.written = text.splitlines()
            node = yaml.compose(text, LOADER)
            self.value = None if node is None else self._plain(node, ())
            self.broken = False
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            self.fault((), f"cannot be read: {why}")
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            faults.append(f"{self.shown}{line}: {getattr(error, 'problem', None) or error}")

    def _plain(self, node: yaml.Node, path: Keys) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, n)) for n, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            self._folds(node, path)
            return yaml.SafeLoader("").construct_object(node)
        yaml.SafeLoader("").flatten_mapping(node)
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            twice = name in found
            found[name] = self._plain(value, (*path, name))
            self.lines[*path, name] = key.start_mark.line + 1
            if twice:
                self.fault((*path, name), "is given twice")
        return found

    def _folds(self, node: yaml.Node, path: Keys) -> None:
        """Note lines of a text that end with a hyphen: YAML puts a blank into the word."""
        for number in range(node.start_mark.line, node.end_mark.line):
            line = self.written[number].strip()
            if HYPHEN.search(line) and not line.startswith("#"):
                self.faults.append(
                    f"{self.shown}:{number + 1}: {'.'.join(map(str, path))}: a line may not end "
                    f"with the hyphen of {line.split()[-1]}: a blank would follow it")
                return

    def fault(self, path: Keys, text: str) -> None:
        """Note what is wrong at a path of keys."""
        line = next((self.lines[path[:n]] for n in range(len(path), -1, -1)
                     if path[:n] in self.lines), None)
        place = self.shown if line is None else f"{self.shown}:{line}"
        words = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)
        self.faults.append(f"{place}: {words[1:]}: {text}" if path else f"{place}: {text}")

    def mapping(self, path: Keys, value: Any, known: Iterable[str] | None = None,
                needed: Iterable[str] = ()) -> dict[str, Any]:
        """Return a mapping without keys that are unknown; note these and those that lack."""
        if self.broken:
            return {}
        if not isinstance(value, dict):
            self.fault(path, "keys with values are expected")
            return {}
        for key in sorted(set(needed) - set(value)):
            self.fault(path, f"{key} is missing")
        unknown = [] if known is None else [key for key in value if key not in set(known)]
        for key in unknown:
            near = get_close_matches(key, list(known), 1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {_listed(list(known))}"
            self.fault((*path, key), f"this key is unknown; {hint}")
        return {key: inner for key, inner in value.items() if key not in unknown}

    def text(self, path: Keys, value: Any, name: bool = False) -> str | None:
        """Return a text (a name that can be typed, if asked); None after noting that it is none."""
        if not isinstance(value, str) or not value.strip():
            self.fault(path, "a text is expected" + (
                "; write numbers in quotes" if isinstance(value, int | float) else ""))
            return None
        if name and not WORD.fullmatch(value):
            self.fault(path, f"{value!r}: letters, digits and _ . + - are expected")
            return None
        return value

    def number(self, path: Keys, value: Any, least: float | None = None) -> float | None:
        """Return a finite number; None after noting that it is none."""
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not abs(value) < float("inf") or (least is not None and value < least):
            more = "" if least is None else f" of at least {least:g}"
            self.fault(path, f"a number{more} is expected, not {value!r}")
            return None
        return value

    def choice(self, path: Keys, value: Any, known: Iterable[str]) -> str | None:
        """Return one of some words; None after noting that it is none."""
        if value not in tuple(known):
            self.fault(path, f"one of {', '.join(known)} is expected, not {value!r}")
            return None
        return value


def _listed(names: list[str], most: int = 12) -> str:
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
