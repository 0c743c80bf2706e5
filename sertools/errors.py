"""Errors that a user can mend: said in words, without a traceback, each with an exit code."""

from __future__ import annotations

from collections.abc import Sequence

MOST_EXAMPLES = 20
"""Problems shown per error before the rest is only counted."""


class UserError(Exception):
    """Something that the user can mend; the command line prints it and exits with `exit_code`.

    Args:
        summary: one sentence that says what is wrong.
        problems: every single fault, each with its place and its remedy.
        remedy: what to do next, when one remedy fits all problems.
    """

    exit_code = 1

    def __init__(self, summary: str, problems: Sequence[str] = (), remedy: str | None = None):
        self.summary, self.problems, self.remedy = summary, list(problems), remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.summary]
        lines += [f"  - {problem}" for problem in self.problems[:MOST_EXAMPLES]]
        if len(self.problems) > MOST_EXAMPLES:
            lines.append(f"  ... and {len(self.problems) - MOST_EXAMPLES} more")
        if self.remedy:
            lines.append(f"  To mend it: {self.remedy}")
        return "\n".join(lines)


class ConfigError(UserError):
    """Wrong usage or configuration; nothing was touched."""

    exit_code = 2


class DataError(UserError):
    """Data that cannot be used as it is: counts, missing or broken files, leaks."""

    exit_code = 3


class Interrupted(UserError):
    """Stopped on request with everything saved; the same command goes on."""

    exit_code = 4
