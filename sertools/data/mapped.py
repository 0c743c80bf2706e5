"""Arousal, valence and dominance of corpora without ratings, from a table of emotion words.

One value for all utterances of a class: no rating of what is heard. It serves analyses of layers on
open corpora, and every result says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sertools.data.record import DIMENSIONS, Record
from sertools.errors import ConfigError


@dataclass(frozen=True)
class MappedDimensions:
    """Values of the classes of a corpus on the affect dimensions.

    Raises:
        ConfigError: values that are no numbers on known dimensions; all are listed.
    """

    table: str
    """Where the values are from; every result names it."""
    values: Mapping[str, Mapping[str, float] | None]
    """Class -> arousal, valence, dominance; null: the table has none, so that the utterances of the
    class are left out and counted."""

    def __post_init__(self) -> None:
        problems = [*self._wrong()]
        if not isinstance(self.table, str) or not self.table.strip():
            problems.append("table: name the publication that the values are from")
        if problems:
            raise ConfigError("the recipe's corpus.dimensions are not sound", problems)

    @property
    def warning(self) -> str:
        """What every result says."""
        return (f"dimensions are a mapping of categories, not ratings: one value per class, from "
                f"{self.table}")

    def missing(self, classes: Sequence[str], scale: Sequence[float] | None) -> Iterator[str]:
        """Yield what does not fit the classes and the scale of a corpus."""
        for name in classes:
            if name not in self.values:
                yield f"dimensions: no values for class {name!r}; null would leave it out"
        for name in self.values:
            if name not in classes:
                yield f"dimensions: {name!r} is not among the classes"
        if scale is None:
            yield "scale: give the lowest and highest value of the table of dimensions"
            return
        for name, values in self.values.items():
            for key, value in (values or {}).items():
                if not scale[0] <= value <= scale[1]:
                    yield f"dimensions: {name}: {key} is {value}, outside the scale {scale}"

    def apply(self, record: Record) -> Record | None:
        """Return a labelled record with the values of its class; None if the class has none.

        A record without a class stays as it is.
        """
        if record.label is None:
            return record
        values = self.values[record.label]
        return None if values is None else dataclasses.replace(record, **values)

    def rated(self, record: Record) -> str | None:
        """Say what is wrong with a record that has ratings of its own; None: it has none."""
        own = [name for name in DIMENSIONS if getattr(record, name) is not None]
        return f"has ratings of {', '.join(own)} already" if own else None

    def _wrong(self) -> Iterator[str]:
        keys = None
        for name, values in self.values.items():
            if values is None:
                continue
            if not isinstance(values, Mapping) or not values or set(values) - set(DIMENSIONS):
                yield f"values: {name}: {values!r}: name any of {', '.join(DIMENSIONS)}"
            elif not all(_number(value) for value in values.values()):
                yield f"values: {name}: {dict(values)!r}: give numbers"
            elif keys not in (None, set(values)):
                yield f"values: {name}: other dimensions than the classes before"
            else:
                keys = set(values)
        if keys is None:
            yield "values: no class has any"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
