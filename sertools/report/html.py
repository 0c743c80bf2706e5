"""Results as one HTML page that needs nothing but itself."""

from __future__ import annotations

from html import escape
from typing import Any

from sertools.report import text
from sertools.report.figures import (
    calibration_figure,
    confusion_figure,
    curve_figure,
    interval_strip,
    recall_figure,
)
from sertools.report.further import further_tables
from sertools.report.layer_weights import layer_weights_figure
from sertools.report.relevance_view import (
    relevance_figure,
    relevance_sentences,
    relevance_table,
)
from sertools.report.style import CSS
from sertools.report.tables import Table, classes_table, scores_table, seeds_table, units_table


def page(results: dict[str, Any]) -> str:
    """Return report.html of one experiment."""
    names = results["experiment"]
    title = f"{names['system']} on {names['corpus']}"
    body = [f"<h1>{escape(title)}</h1>", f"<p class=soft>{escape(text.setting(results))}</p>"]
    body += [_chips(results), *(_note(note) for note in text.notes(results)), _heroes(results)]
    body.append(_section(scores_table(results).title, _scores(results)))
    body += [_full(table) for table in further_tables(results)]
    if results["task"] == "classification":
        body.append(_classes(results))
    body += [_curves(results), _layer_weights(results), _relevance(results), _calibration(results)]
    if len(results["seeds"]) > 1:
        body.append(_full(seeds_table(results)))
    body.append(_full(units_table(results)))
    body.append(_provenance(results))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n<footer>Made by code from results.json; RESULTS.md holds the same numbers.</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _chips(results: dict[str, Any]) -> str:
    coverage, size = results["coverage"], results["cost"]["parameters"] or {}
    facts = [
        ("protocol", results["protocol"]["name"]),
        ("language", results["experiment"]["language"]),
        ("folds", text.folds(coverage)),
        ("seeds", ", ".join(map(str, coverage["seeds_counted"]))),
        ("parameters", text.count(size["total"]) if size.get("total") else None),
        ("trained", text.count(size["trainable"]) if size.get("trainable") else None),
        ("encoder", text.encoder_sentence(results)),
        ("finished", results["cost"]["finished"]),
    ]
    shown = [f"<li>{name} <b>{escape(str(value))}</b></li>" for name, value in facts if value]
    return f"<ul class=chips>{''.join(shown)}</ul>"


def _note(note: str) -> str:
    return f"<p class=note role=note>{escape(note)}</p>"


def _heroes(results: dict[str, Any]) -> str:
    chance, tiles = results.get("chance") or {}, []
    for index, name in enumerate(results["metrics"]):
        entry = results["summary"][name]
        unit = "" if name.startswith("CCC") else " %"
        span = text.interval(name, entry["low"], entry["high"])
        below = [] if span == text.NONE else [span]
        below += [f"chance {text.number(name, chance[name], 1)}"] if name in chance else []
        tiles.append(
            f'<div class="hero{" first" if index == 0 else ""}">'
            f"<div class=what>{escape(text.name_of(name))}</div>"
            f"<div class=value>{text.number(name, entry['pooled'])}<small>{unit}</small></div>"
            f'<div class="soft range">{escape(" · ".join(below))}</div></div>'
        )
    return f"<div class=heroes>{''.join(tiles)}</div>"


def _scores(results: dict[str, Any]) -> str:
    table = scores_table(results)
    lows = [results["summary"][name]["low"] for name in results["metrics"]]
    extra = []
    if all(low is not None for low in lows):
        chance = results.get("chance") or {}
        edge = min(0.0, *lows)
        for name in results["metrics"]:
            entry = results["summary"][name]
            facts = (entry["low"], entry["high"], entry["pooled"], chance.get(name), edge)
            extra.append(interval_strip(*facts))
    meaning = [
        f"{name}: {text.DEFINITIONS[name]}."
        for name in results["metrics"]
        if name in text.DEFINITIONS
    ]
    about = " ".join([text.interval_note(results), *meaning])
    return f"{_table(table, extra)}<p class='soft below'>{escape(about)}</p>"


def _confusion(results: dict[str, Any]) -> str:
    seeds = results["coverage"]["seeds_counted"]
    about = "Percent of each row; counts below"
    about += f", summed over {len(seeds)} seeds." if len(seeds) > 1 else "."
    figure = confusion_figure(results)
    return _section("Confusion", f"{figure}<p class='soft below'>{about}</p>")


def _classes(results: dict[str, Any]) -> str:
    """Return matrix and recalls side by side, or one below the other for many classes."""
    bars, table = recall_figure(results), _table(classes_table(results))
    if len(results["classes"]) <= 6:
        right = _section("Classes", f"{bars}<div class=below>{table}</div>")
        return f"<div class=grid2>{_confusion(results)}{right}</div>"
    return _confusion(results) + _section("Classes", _beside(bars, table))


def _curves(results: dict[str, Any]) -> str:
    curves = results["curves"]
    score = curves["dev_score"]
    figures = [curve_figure(curves, "train_loss", "Train loss", False)]
    if score:
        unit = "" if score == "CCC" else " in %"
        figures.append(curve_figure(curves, "dev", f"Dev {score}{unit}", score != "CCC"))
    figures = [figure for figure in figures if figure]
    if not figures:
        return ""
    drawn = _beside(*figures) if len(figures) == 2 else figures[0]
    about = "Thin: one fold and seed each. Bold: their mean. Dot: the epoch that was evaluated."
    return _section("Training", f"{drawn}<p class='soft below'>{about}</p>")


def _layer_weights(results: dict[str, Any]) -> str:
    facts = results.get("layer_weights")
    if not facts:
        return ""
    about = f"Learned by the head, mean of {facts['units']} folds and seeds. Whisker: one standard "
    about += "deviation. Dashed: all layers alike. A layer of large values counts for more."
    figure = layer_weights_figure(facts)
    return _section("Layers", f"{figure}<p class='soft below'>{about}</p>")


def _relevance(results: dict[str, Any]) -> str:
    facts = results.get("relevance")
    if not facts:
        return ""
    about = " ".join(relevance_sentences(facts))
    shown = f"{relevance_figure(facts)}<p class='soft below'>{escape(about)}</p>"
    table = relevance_table(facts)
    return _section(table.title, shown + _table(table), "long")


def _calibration(results: dict[str, Any]) -> str:
    facts = results.get("calibration")
    if not facts or not facts["bins_before"]:
        return ""
    pair = text.ece_pair(facts["ece_before"], facts["ece_after"])
    about = (
        "<p>Expected calibration error (15 bins), before → after one temperature per unit, fitted "
        f"on dev:</p><p class=large>{escape(pair)} %</p>"
        "<p><span class='key before'></span>before"
        "<span class='key after'></span>after temperature scaling</p><p class=soft>A dot on the "
        "dashed line means that the model is right exactly as often as it believes. Larger dots "
        "hold more utterances.</p>"
    )
    return _section("Calibration", _beside(calibration_figure(facts), about))


def _provenance(results: dict[str, Any]) -> str:
    rows = text.provenance(results)
    command = dict(rows).get("command")
    first = f"<pre>{escape(command)}</pre>" if command else ""
    shown = [
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in rows
        if name != "command"
    ]
    return _section("How to get these numbers again", f"{first}<dl>{''.join(shown)}</dl>")


def _full(table: Table) -> str:
    return _section(table.title, _table(table), "long")


def _beside(left: str, right: str) -> str:
    return f"<div class='grid2 inner'><div>{left}</div><div>{right}</div></div>"


def _section(title: str, content: str, kind: str = "") -> str:
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{content}</section>'


def _table(table: Table, extra: list[str] | None = None) -> str:
    """Return a table; `extra` holds the strip of each row."""

    def row(cells: list[str], tag: str, more: str | None) -> str:
        looks = [
            " class='word lead'" if i == 0 else " class=word" if i < table.words else ""
            for i in range(len(cells))
        ]
        inner = "".join(
            f"<{tag}{look}>{escape(cell)}</{tag}>" for cell, look in zip(cells, looks, strict=True)
        )
        return f"<tr>{inner}{'' if more is None else f'<{tag}>{more}</{tag}>'}</tr>"

    head = row(table.header, "th", "interval and chance" if extra else None)
    body = [
        row(cells, "td", extra[index] if extra else None) for index, cells in enumerate(table.rows)
    ]
    inner = f"<thead>{head}</thead><tbody>{''.join(body)}</tbody>"
    return f"<div class=scroll><table>{inner}</table></div>"
