"""Numbers and facts of results.json as words; the one place that decides how they look."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

NONE = "–"

NAMES = {
    "UA": "UA (unweighted accuracy)",
    "WA": "WA (weighted accuracy)",
    "WF1": "Weighted F1",
    "MF1": "Macro F1",
    "CCC": "CCC, mean",
}

DEFINITIONS = {
    "UA": "mean recall of the classes that occur in the references",
    "WA": "share of utterances that are right",
    "WF1": "F1 by class, weighted by the class's utterances",
    "MF1": "F1 by class, plain mean over the classes that occur",
    "CCC": "concordance correlation coefficient over the whole partition",
}

MAC_DEFINITION = (
    "multiply-accumulates of its matrix products and convolutions per second of audio, counted on "
    "an utterance of 10 s"
)


def name_of(metric: str) -> str:
    """Return the readable name of a metric."""
    return NAMES.get(metric) or short(metric)


def short(metric: str) -> str:
    """Return the name of a metric for a narrow column."""
    return metric.replace("_", " ")


def initials(metric: str) -> str:
    """Return the shortest name of a metric, e.g. `CCC A` for arousal."""
    kind, _, dimension = metric.partition("_")
    return f"{kind} {dimension[0].upper()}" if dimension else kind


def number(metric: str, value: float | None, digits: int = 2) -> str:
    """Write a score: shares in percent (no sign), CCC with three decimals."""
    if value is None:
        return NONE
    if metric.startswith("CCC"):
        return f"{value:.3f}".replace("-", "−")
    return f"{100 * value:.{digits}f}"


def interval(metric: str, low: float | None, high: float | None) -> str:
    """Write an interval, one decimal for percent."""
    if low is None or high is None:
        return NONE
    return f"[{number(metric, low, 1)}, {number(metric, high, 1)}]"


def with_interval(metric: str, entry: dict[str, Any]) -> str:
    """Write the pooled score with its interval behind it."""
    text = number(metric, entry["pooled"])
    return (
        text if entry["low"] is None else f"{text} {interval(metric, entry['low'], entry['high'])}"
    )


def spread(metric: str, mean: float | None, std: float | None) -> str:
    """Write mean ± standard deviation; without a deviation only the mean."""
    return (
        number(metric, mean) if std is None else f"{number(metric, mean)} ± {number(metric, std)}"
    )


def ece_pair(before: float | None, after: float | None) -> str:
    """Write the calibration error in percent, before → after temperature scaling."""
    if before is None:
        return NONE
    return f"{100 * before:.1f} → {NONE if after is None else f'{100 * after:.1f}'}"


def folds(coverage: dict[str, Any]) -> str:
    """Write how many folds are in the numbers, e.g. `3 of 10`."""
    done = len(coverage["folds_done"])
    return f"{done}" if done == coverage["folds_total"] else f"{done} of {coverage['folds_total']}"


def duration(seconds: float | None) -> str:
    """Write a time span in the unit that suits it."""
    if seconds is None:
        return NONE
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(value: int | None) -> str:
    """Write a whole number with thin groups of three."""
    return NONE if value is None else f"{value:,}".replace(",", "\u202f")


def encoder(results: dict[str, Any]) -> tuple[str, str]:
    """Write an encoder's parameters and multiply-accumulates per second of audio, if known."""
    size = encoder_size(results)
    macs = size.get("macs_per_second")
    return (
        f"{size['parameters'] / 1e6:.2f}M" if size else NONE,
        NONE if macs is None else f"{macs / 1e9:.3g}G",
    )


def encoder_size(results: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of an encoder; nothing where there is none, or in older files."""
    return (results.get("cost") or {}).get("encoder") or {}


def encoder_sentence(results: dict[str, Any]) -> str | None:
    """Say how large the encoder is; None if that is not known."""
    size, macs = encoder_size(results), encoder(results)[1]
    if not size:
        return None
    per = f"; {macs} multiply-accumulates per second of audio" if macs != NONE else ""
    length = f" ({size['seconds']:g} s at a time)" if per else ""
    return f"{count(size['parameters'])} parameters{per}{length}"


def system(results: dict[str, Any]) -> str:
    """Return an experiment's name: its configuration, and the settings that differ from it."""
    words = shlex.split(str((results.get("provenance") or {}).get("command") or ""))
    pairs = zip(words, words[1:], strict=False)
    changed = [f"{key[2:].rpartition('trainer.')[2]}={_end_of(value)}" for key, value in pairs
               if key.startswith("--") and key.lstrip("-") not in _TOLD_ELSEWHERE]
    return " ".join([results["experiment"]["system"], *changed])


_TOLD_ELSEWHERE = {"data_folder", "data-folder", "fold", "seed", "seeds", "protocol"}


def _end_of(value: str) -> str:
    """Return what tells a long path from others: below exp/, else its last three parts."""
    parts = value.split("/")
    if len(parts) <= 4:
        return value
    return "/".join(["…", *(parts[parts.index("exp") + 1:] if "exp" in parts else parts[-3:])])


def setting(results: dict[str, Any]) -> str:
    """Say in one sentence on what the numbers were measured."""
    coverage = results["coverage"]
    speakers = coverage["speakers"]
    by = "speakers not all known" if speakers is None else _plural(speakers, "speaker")
    done = f"{folds(coverage)} fold{'' if coverage['folds_total'] == 1 else 's'}"
    seeds = _listed("seed", coverage["seeds_counted"])
    return f"{_plural(coverage['n'], 'utterance')} of {by}, {done}, {seeds}."


def incomplete(results: dict[str, Any]) -> str | None:
    """Say plainly what is missing; None when every fold and seed is done."""
    coverage = results["coverage"]
    if not coverage["missing"]:
        return None
    done = f"{coverage['units_done']} of {coverage['units_total']} units (fold x seed) are done"
    hold = f"{_listed('fold', coverage['folds_done'])} of {coverage['folds_total']}"
    seeds = _listed("seed", coverage["seeds_counted"])
    text = f"PARTIAL RESULT: {done}. The numbers hold for {hold} with {seeds} only."
    left = sorted({row["seed"] for row in results["units"]} - set(coverage["seeds_counted"]))
    if left:
        text += f" Left out of the means, as other folds are done: {_listed('seed', left)}."
    return text


def interval_note(results: dict[str, Any]) -> str:
    """Say how the interval was made, or why there is none."""
    facts = results["interval"]
    level = f"{100 * facts['level']:g} %"
    if facts["clusters"] < 2:
        return f"No {level} interval: {facts['reason']}."
    text = (
        f"[low, high] is the {level} interval of the pooled score: {count(facts['draws'])} "
        f"bootstrap draws over {_plural(facts['clusters'], facts['unit'])} with replacement"
    )
    if len(results["coverage"]["seeds_counted"]) > 1:
        text += ", each draw the same for all seeds and averaged over them"
    return text + (f" ({facts['reason']})." if facts["reason"] else ".")


def notes(results: dict[str, Any]) -> list[str]:
    """Return every sentence that a reader of the numbers must see beside them."""
    protocol, coverage = results["protocol"], results["coverage"]
    found = [incomplete(results)]
    if protocol["own_table"]:
        found.append(
            f"NOT COMPARABLE with results of the clean protocol: {'; '.join(protocol['reasons'])}."
        )
    found += [f"{warning.rstrip('.')}." for warning in protocol["warnings"]]
    if coverage["tested_more_than_once"]:
        repeated = _plural(coverage["tested_more_than_once"], "repeated utterance")
        found.append(f"Folds overlap: {repeated} in the pooled numbers.")
    calibration = (results.get("calibration") or {}).get("note")
    found.append(f"Calibration: {calibration}." if calibration else None)
    return [note for note in found if note]


def provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is needed to get the numbers again, as (name, value)."""
    facts, cost = results["provenance"], results["cost"]
    commit = facts.get("commit")
    if commit and facts.get("dirty"):
        commit = f"{commit} with uncommitted changes"
    size = cost["parameters"] or {}
    parameters = f"{count(size.get('total'))} ({count(size.get('trainable'))} trained)"
    versions = facts.get("versions") or {}
    rows = [
        ("command", facts.get("command")),
        ("config hash", facts.get("config_hash")),
        ("pretraining", facts.get("pretraining")),
        ("commit", commit),
        ("parameters", parameters if size else None),
        ("encoder", encoder_sentence(results)),
        ("device", ", ".join(cost["devices"])),
        ("time of all units", duration(cost["seconds"]) if cost["seconds"] is not None else None),
        ("finished", cost["finished"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    rows += results["experiment"]["artefacts"].items()
    return [(name, _as_text(value)) for name, value in rows if value]


def _as_text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _plural(number_of: int, noun: str) -> str:
    return f"{count(number_of)} {noun}{'' if number_of == 1 else 's'}"


def _listed(noun: str, items: Sequence[Any]) -> str:
    return f"{noun}{'' if len(items) == 1 else 's'} {', '.join(map(str, items))}"
