"""What a stage may see of the configuration: the keys that it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sertools.recipe.config import Config
from sertools.recipe.stage import Stage


class UndeclaredKeyError(KeyError):
    """A stage asked for a key that its entry does not declare."""

    def __str__(self) -> str:
        return str(self.args[0])


class View(Mapping):
    """Read-only plain values of the declared keys; a key that the YAML lacks is not in it."""

    def __init__(self, config: Config, stage: Stage):
        self.recipe = config.recipe
        self._stage, self._values = stage, config.pick(
            key for key in stage.declared if key in config.values)

    def allow(self, key: str) -> None:
        """Refuse a key that the stage does not declare.

        Raises:
            UndeclaredKeyError: naming the stage and where to declare the key.
        """
        if key not in self._stage.declared:
            raise UndeclaredKeyError(
                f"stage {self._stage.name} reads the key {key} but does not declare it; add it to "
                "its `keys` (if it changes results) or `runtime`")

    def __getitem__(self, key: str) -> Any:
        self.allow(key)
        return self._values[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or `default` when the YAML lacks the key."""
        self.allow(key)
        return self._values.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
