"""Where things are: folders of a recipe, an experiment, a stage, a unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sertools.recipe.config import Config, digest
from sertools.recipe.stage import Stage

Unit = tuple[str, int]
"""One fold and one seed."""

LONGEST_TAG = 80
UNSAFE = re.compile(r"[^A-Za-z0-9._=+,-]+")


@dataclass(frozen=True)
class Places:
    """The folders of one experiment."""

    recipe: Path
    """The folder of run.py."""
    data: Path
    """data/<set>: what experiments with this corpus share."""
    dump: Path
    exp: Path
    """exp/<tag>."""
    shared: Path
    """exp/<tag> of what experiments share that differ in other keys only."""

    @property
    def tag(self) -> str:
        """Return the experiment's name."""
        return self.exp.name

    def home(self, stage: Stage) -> Path:
        """Return the folder where a stage keeps its markers."""
        return {"data": self.data, "exp": self.exp, "shared": self.shared}[stage.home]

    def folder(self, stage: Stage, unit: Unit | None) -> Path:
        """Return the work folder of a stage, or of one unit of it."""
        if unit is None:
            return self.home(stage) / stage.name
        return self.exp / f"fold{unit[0]}" / f"seed{unit[1]}" / stage.name

    def record(self, stage: Stage, unit: Unit | None, kind: str) -> Path:
        """Return the path of a marker (`kind` "" or a hash) or of another record of a stage."""
        part = f".fold{unit[0]}.seed{unit[1]}" if unit else ""
        end = f".{kind}.json" if kind else ".json"
        return self.home(stage) / ".done" / f"{stage.name}{part}{end}"

    def shown(self, path: Path) -> str:
        """Return a path relative to the recipe's folder when it is inside, else as it is."""
        path = Path(path).absolute()
        return path.relative_to(self.recipe).as_posix() if self.inside(path) else str(path)

    def inside(self, path: Path) -> bool:
        """Return whether a path is inside the recipe's folder."""
        return path.is_relative_to(self.recipe)


def tag_of(config: Config, stages: list[Stage]) -> str:
    """Return the experiment's name: the config's, and every override that changes results."""
    hashed = config.reached(key for stage in stages for key in stage.keys)
    parts, exact = [config.path.stem], []
    for name in sorted(config.changed):
        if not config.changed[name] or name.split(".")[0] not in hashed or name == "seeds":
            continue
        value = config.values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        exact.append([name, value])
        parts.append(f"{name}={_short(value)}")
    tag = UNSAFE.sub("-", "_".join(parts))
    if len(tag) > LONGEST_TAG or tag != "_".join(parts):
        tag = f"{tag[:LONGEST_TAG].rstrip('._-')}_{digest(exact)[:8]}"
    return tag


def _short(value) -> str:
    if isinstance(value, list):
        return ",".join(_short(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
