"""Two rows of a table on the same utterances: is their difference one?"""

from __future__ import annotations

from dataclasses import dataclass

from sertools.errors import ConfigError, DataError
from sertools.report.compare import compare
from sertools.report.tables import Table as Sheet
from sertools.report.text import interval, name_of, number
from sertools.tables import cells
from sertools.tables.data import Column, Row, Run, Table
from sertools.tables.status import Standing, Stock

LEVEL = 0.05
"""Below which p a difference is called one."""


@dataclass(frozen=True)
class Paired:
    """One score of one recipe's test part, the first row minus the second."""

    column: Column
    difference: float
    """As the scoring gives it: shares from -1 to 1."""
    low: float | None
    high: float | None
    p: float | None
    """Two-sided, of this score alone."""
    drawn: str
    """What was drawn, in words."""


@dataclass(frozen=True)
class Against:
    """Two rows compared."""

    rows: tuple[Row, Row]
    scores: tuple[Paired, ...]
    left: dict[str, str]
    """Recipe, or recipe and test part -> why it is left out."""

    def adjusted(self) -> list[float | None]:
        """Return Holm's p of every score: of several, one is below 0.05 by chance."""
        order = sorted((score.p, n) for n, score in enumerate(self.scores) if score.p is not None)
        found: list[float | None] = [None] * len(self.scores)
        highest = 0.0
        for rank, (p, n) in enumerate(order):
            highest = max(highest, min(1.0, (len(order) - rank) * p))
            found[n] = highest
        return found


def against(table: Table, names: list[str], stock: Stock, metric: str | None = None) -> Against:
    """Compare two rows in every recipe where both are done here.

    Seeds are averaged, speakers are drawn for both at once (`scoring.intervals`).

    Args:
        table: the table.
        names: names of two rows.
        stock: how runs stand here.
        metric: only this score, such as UA; None: those of the table's columns.

    Raises:
        ConfigError: unknown rows, or a score that no column has.
    """
    known = {row.name: row for row in table.rows}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ConfigError(f"{table.name} has no row {', '.join(wrong)}",
                          remedy=f"its rows are {', '.join(known)}")
    if names[0] == names[1]:
        raise ConfigError(f"{names[0]}: a row is not compared with itself")
    columns = [column for column in table.columns if column.recipe
               and metric in (None, column.metric)]
    if not columns:
        scores = dict.fromkeys(column.metric for column in table.columns if column.recipe)
        raise ConfigError(f"{table.name} has no column of {metric or 'a recipe'}",
                          remedy=f"its scores are {', '.join(scores) or 'none'}")
    rows, scores, left = (known[names[0]], known[names[1]]), [], {}
    for column in columns:
        runs = [row.run(column) for row in rows]
        reason, place = _lacking(rows, runs, column, stock), column.recipe
        if reason is None:
            place = _place(column)
            try:
                scores.append(_paired(column, [stock.standing(run) for run in runs]))
                continue
            except DataError as error:
                reason = "; ".join([error.summary, *error.problems[:1]])
        left.setdefault(place, reason)
    return Against(rows, tuple(scores), left)


def _place(column: Column) -> str:
    return f"{column.recipe} {column.part}" if column.part else column.recipe


def _lacking(rows: tuple[Row, Row], runs: list[Run | None], column: Column,
             stock: Stock) -> str | None:
    for row, run in zip(rows, runs, strict=True):
        if run is None:
            return f"{row.name} has no command there"
        state = stock.standing(run).state
        if state != "done" and column.recipe in row.results:
            return (f"of {row.name} the repository holds scores, no predictions; make it with "
                    f"`run --rows {row.name}`")
        if state != "done":
            return f"{row.name} is {state}"
    if runs[0] == runs[1]:
        return "both rows are one run"
    made = [stock.standing(run).results["protocol"]["protocol"] for run in runs]
    return f"the protocols are {made[0]} and {made[1]}" if made[0] != made[1] else None


def _paired(column: Column, standings: list[Standing]) -> Paired:
    result = compare(*(standing.folder for standing in standings), column.part)
    entry = result["metrics"].get(column.metric)
    if entry is None or entry["difference"] is None:
        raise DataError(f"these results have no {column.metric}")
    seeds = " and ".join(str(len(standing.results["coverage"]["seeds_counted"]))
                         for standing in standings)
    drawn = f"{result['clusters']} {result['unit']}s, seeds {seeds}"
    return Paired(column, entry["difference"], entry["low"], entry["high"], entry["p"],
                  result["reason"] or drawn)


def sheet_of(found: Against) -> Sheet:
    """Return one line per score: difference, interval, p, and what it means."""
    first, second = (cells.system(row) for row in found.rows)
    sheet = Sheet(f"{first} minus {second}",
                  ["corpus", "score", "difference", "95 %", "p", "Holm", "", "drawn"], words=2)
    for score, holm in zip(found.scores, found.adjusted(), strict=True):
        metric = score.column.metric
        said = ("cannot be said" if holm is None else "no difference shown" if holm >= LEVEL
                else "higher" if score.difference > 0 else "lower")
        sheet.rows.append([
            _place(score.column), name_of(metric), number(metric, score.difference),
            interval(metric, score.low, score.high), *("—" if p is None else f"{p:.3f}"
                                                       for p in (score.p, holm)),
            said, score.drawn])
    if len(found.scores) < 2:  # of one score Holm's p is p
        sheet = Sheet(sheet.title, [*sheet.header[:5], *sheet.header[6:]],
                      [[*row[:5], *row[6:]] for row in sheet.rows], words=2)
    return sheet


def remarks(found: Against) -> list[str]:
    """Return what belongs below."""
    told = [f"{recipe}: left out, {why}" for recipe, why in found.left.items()]
    if found.scores:
        several = ("; Holm: p times how many scores are told, in order, so that chance does not "
                   "make one of several" if len(found.scores) > 1 else "")
        called = "Holm's p" if several else "p"
        told += ["The same utterances and the same drawn speakers for both, seeds averaged; p is "
                 f"two-sided{several}. A difference is called one where "
                 f"{called} is below {LEVEL:g}."]
    return told
