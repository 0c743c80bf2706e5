"""From units to the content of results.json: over folds, over seeds, with intervals.

* pooled: all test predictions of a seed together, each utterance once, then the mean over seeds.
  The interval belongs to this number: speakers are drawn, the same ones for every seed.
* over folds: mean and sample standard deviation (n - 1) of the folds' own scores.
* over seeds: sample standard deviation of the pooled score.

Only seeds that finished the same, largest set of folds enter the means; the rest is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sertools.errors import DataError
from sertools.report.calibration import summarise_calibration
from sertools.report.curves import training_curves
from sertools.report.further import further_tests
from sertools.report.layer_weights import summarise_layer_weights
from sertools.report.relevance import summarise_relevance
from sertools.report.units import ReportMeta, UnitResult
from sertools.scoring.classification import METRICS, chance_levels
from sertools.scoring.dimensions import dimensions_of
from sertools.scoring.intervals import bootstrap_intervals
from sertools.scoring.predictions import Prediction, round_number
from sertools.scoring.unit import score_predictions

FORMAT = 1
"""Version of results.json."""


def aggregate(
    units: Sequence[UnitResult], classes: Sequence[str], meta: ReportMeta
) -> dict[str, Any]:
    """Return the content of results.json; equal arguments give equal content.

    Raises:
        DataError: no unit, a unit twice, a fold or seed that the experiment does not have, or
            utterances that differ between the seeds.
    """
    seeds = _by_seed(units, meta)
    counted = _counted(seeds)
    runs = [_pool(seeds[seed]) for seed in counted]
    metrics = _metrics(runs[0])
    per_seed = [_one_seed(seed, seeds[seed], classes, metrics) for seed in seeds]
    used = [entry for entry in per_seed if entry["seed"] in counted]
    intervals = bootstrap_intervals(runs, classes)
    results: dict[str, Any] = {
        "format": FORMAT,
        "task": "dimensions" if runs[0][0].dimensional else "classification",
        "experiment": _experiment(meta),
        "protocol": _protocol(meta),
        "coverage": _coverage(seeds, counted, runs, meta),
        "classes": [] if runs[0][0].dimensional else list(classes),
        "metrics": metrics,
        "summary": {name: _summary(name, used, intervals["metrics"]) for name in metrics},
        "interval": {key: value for key, value in intervals.items() if key != "metrics"},
    }
    if results["task"] == "classification":
        confusion = sum(np.array(entry["confusion"]) for entry in used)
        results["chance"] = chance_levels(confusion)
        results["by_class"] = _by_class(classes, confusion, used, intervals["metrics"])
        results["confusion"] = confusion.tolist()
        results["calibration"] = summarise_calibration(
            [list(seeds[seed].values()) for seed in counted], classes
        )
    results["test_part"] = meta.part
    results["further_tests"] = further_tests(units, classes, meta, aggregate)
    results["seeds"] = per_seed
    results["units"] = [_unit(unit, metrics) for folds in seeds.values() for unit in folds.values()]
    results["curves"] = training_curves(units)
    results["layer_weights"] = summarise_layer_weights(units)
    results["relevance"] = summarise_relevance([seeds[seed] for seed in counted])
    results["cost"] = _cost(units)
    results["provenance"] = dict(meta.provenance)
    return _rounded(results)


def _by_seed(units: Sequence[UnitResult], meta: ReportMeta) -> dict[int, dict[str, UnitResult]]:
    if not units:
        raise DataError("no fold is finished, so there is nothing to report", remedy="run train")
    problems = []
    seeds: dict[int, dict[str, UnitResult]] = {}
    for unit in units:
        if unit.fold not in meta.folds or unit.seed not in meta.seeds:
            problems.append(f"fold {unit.fold} seed {unit.seed} is not part of this experiment")
        if unit.fold in seeds.setdefault(unit.seed, {}):
            problems.append(f"fold {unit.fold} seed {unit.seed} is there twice")
        if not unit.test:
            problems.append(f"fold {unit.fold} seed {unit.seed} has no test predictions")
        seeds[unit.seed][unit.fold] = unit
    if problems:
        raise DataError("these results cannot be put together", problems)
    return {
        seed: {fold: seeds[seed][fold] for fold in meta.folds if fold in seeds[seed]}
        for seed in meta.seeds
        if seed in seeds
    }


def _counted(seeds: dict[int, dict[str, UnitResult]]) -> list[int]:
    """Return the seeds that finished the same folds as the first of those with the most."""
    most = max(len(folds) for folds in seeds.values())
    chosen = next(set(folds) for folds in seeds.values() if len(folds) == most)
    return [seed for seed, folds in seeds.items() if set(folds) == chosen]


def _pool(folds: dict[str, UnitResult]) -> list[Prediction]:
    return [item for unit in folds.values() for item in unit.test]


def _metrics(run: Sequence[Prediction]) -> list[str]:
    if not run[0].dimensional:
        return list(METRICS)
    return ["CCC", *(f"CCC_{name}" for name in dimensions_of([run[0].reference]))]


def _one_seed(
    seed: int, folds: dict[str, UnitResult], classes: Sequence[str], metrics: Sequence[str]
) -> dict[str, Any]:
    pooled = score_predictions(_pool(folds), classes)
    over_folds = {
        name: _mean_and_std([unit.scores.get(name) for unit in folds.values()]) for name in metrics
    }
    return {"seed": seed, "folds": list(folds), "pooled": pooled, "over_folds": over_folds} | (
        {"confusion": pooled.pop("confusion")} if "confusion" in pooled else {}
    )


def _summary(
    name: str, used: Sequence[dict[str, Any]], intervals: dict[str, list[float] | None]
) -> dict[str, Any]:
    pooled = _mean_and_std([entry["pooled"][name] for entry in used])
    folds = [entry["over_folds"][name] for entry in used]
    low, high = intervals[name] or (None, None)
    return {
        "pooled": pooled["mean"],
        "low": low,
        "high": high,
        "std_over_seeds": pooled["std"],
        "mean_over_folds": _mean_and_std([entry["mean"] for entry in folds])["mean"],
        "std_over_folds": _mean_and_std([entry["std"] for entry in folds])["mean"],
    }


def _by_class(
    classes: Sequence[str],
    confusion: np.ndarray,
    used: Sequence[dict[str, Any]],
    intervals: dict[str, list[float] | None],
) -> list[dict[str, Any]]:
    rows = []
    for index, name in enumerate(classes):
        low, high = intervals[f"recall {name}"] or (None, None)
        rows.append(
            {
                "class": name,
                "n": int(confusion[index].sum()) // len(used),
                "recall": _mean_and_std([entry["pooled"]["recall"][name] for entry in used])[
                    "mean"
                ],
                "low": low,
                "high": high,
                "f1": _mean_and_std([entry["pooled"]["f1"][name] for entry in used])["mean"],
            }
        )
    return rows


def _mean_and_std(values: Sequence[float | None]) -> dict[str, float | None]:
    known = np.array([value for value in values if value is not None], dtype=float)
    return {
        "mean": float(known.mean()) if len(known) else None,
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
    }


def _experiment(meta: ReportMeta) -> dict[str, Any]:
    return {
        "tag": meta.tag,
        "system": meta.system,
        "corpus": meta.corpus,
        "language": meta.language,
        "artefacts": dict(meta.artefacts),
    }


def _protocol(meta: ReportMeta) -> dict[str, Any]:
    reasons = list(meta.flags)
    if meta.protocol != "clean" and not reasons:
        reasons = [f"protocol: {meta.protocol}, the authors' own selection"]
    return {
        "name": meta.protocol_name,
        "protocol": meta.protocol,
        "flags": list(meta.flags),
        "own_table": bool(reasons),
        "reasons": reasons,
        "warnings": list(meta.warnings),
        "in_domain_pretraining": meta.in_domain_pretraining,
    }


def _coverage(
    seeds: dict[int, dict[str, UnitResult]],
    counted: Sequence[int],
    runs: Sequence[Sequence[Prediction]],
    meta: ReportMeta,
) -> dict[str, Any]:
    speakers = {item.speaker for item in runs[0]}
    done = list(seeds[counted[0]])
    repeated = len(runs[0]) - len({item.id for item in runs[0]})
    return {
        "n": len(runs[0]),
        "speakers": None if None in speakers else len(speakers),
        "folds_done": done,
        "folds_total": len(meta.folds),
        "seeds_counted": list(counted),
        "seeds_total": len(meta.seeds),
        "units_done": sum(len(folds) for folds in seeds.values()),
        "units_total": len(meta.folds) * len(meta.seeds),
        "missing": [
            {"fold": fold, "seed": seed}
            for seed in meta.seeds
            for fold in meta.folds
            if fold not in seeds.get(seed, {})
        ],
        "tested_more_than_once": repeated,
    }


def _unit(unit: UnitResult, metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"fold": unit.fold, "seed": unit.seed}
    row |= {name: unit.scores.get(name) for name in ("n", "speakers", *metrics)}
    row["dev"] = unit.scores.get("dev")
    if "ece_before" in unit.scores:
        row |= {name: unit.scores[name] for name in ("temperature", "ece_before", "ece_after")}
    return row | {"seconds": unit.seconds, "device": unit.device, "finished": unit.finished}


def _cost(units: Sequence[UnitResult]) -> dict[str, Any]:
    seconds = [unit.seconds for unit in units if unit.seconds is not None]
    return {
        "parameters": next((dict(unit.parameters) for unit in units if unit.parameters), None),
        "encoder": next((dict(unit.encoder) for unit in units if unit.encoder), None),
        "seconds": sum(seconds) if seconds else None,
        "devices": sorted({unit.device for unit in units if unit.device}),
        "finished": max((unit.finished for unit in units if unit.finished), default=None),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round_number(value) if np.isfinite(value) else None
    return value
