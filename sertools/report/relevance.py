"""What each layer of an encoder knows: curves over layers, their place in depth, with intervals.

Curves of a head per layer are scores of all test utterances together, averaged over the draws;
their intervals draw speakers, the same ones for every layer and dimension. Curves of mixtures are
softmax weights, averaged over folds and draws; their intervals are jackknives over folds, or, with
a single fold, over the draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sertools.report import text
from sertools.report.units import UnitResult
from sertools.scoring.relevance import (
    above_worst,
    depth_of,
    interval_over_draws,
    interval_over_folds,
    score_of,
)
from sertools.scoring.resampling import draw

LEVEL, DRAWS = 0.95, 2000
SHALLOW, DEEP = "arousal", "valence"
"""Arousal is held to lie in shallower layers than valence."""


def summarise_relevance(seeds: Sequence[Mapping[str, UnitResult]]) -> dict[str, Any] | None:
    """Return curves, places in depth and their intervals; None where no trainer measured layers.

    Args:
        seeds: the units of each seed that counts, by fold.

    Returns:
        `groups`: name -> `curve`, `low`, `high`, `std` over the draws (each by layer), `score` of
        the chosen head (mean over draws), `dev_layers` (how often each layer was chosen), `depth`,
        `depth_low`, `depth_high`; `claim`; `interval`: in words.
    """
    found = [[unit.relevance for unit in folds.values()] for folds in seeds]
    if not all(item for row in found for item in row):
        return None
    first = found[0][0]
    curves, samples, words = (_mixtures if first["relevance"] == "weights" else _probes)(found)
    mean = curves.mean(0)  # (G, L)
    depths = depth_of(mean if first["relevance"] == "weights" else above_worst(mean))
    groups = {}
    for index, name in enumerate(first["groups"]):
        low, high = samples["curve"][index]
        if first["relevance"] == "weights" and low is not None:  # a share: Student's may be wider
            low, high = [max(0.0, end) for end in low], [min(1.0, end) for end in high]
        depth_low, depth_high = samples["depth"][index]
        layers = [unit["chosen"][index] for row in found for unit in row]
        groups[name] = {
            "curve": mean[index].tolist(), "low": low, "high": high,
            "std": curves[:, index].std(0, ddof=1).tolist() if len(curves) > 1 else None,
            "chosen": {str(layer): layers.count(layer) for layer in sorted(set(layers))}
            if first["relevance"] == "probes" else None,
            "depth": float(depths[index]), "depth_low": depth_low, "depth_high": depth_high,
        }
    return {
        "relevance": first["relevance"], "score": first["score"], "layers": first["layers"],
        "draws": len(curves), "normalise": first["normalise"],
        "interval": {"level": LEVEL, "over": words}, "groups": groups,
        "claim": _claim(groups, samples["difference"]),
    }


def _probes(found: list[list[dict]]) -> tuple[np.ndarray, dict[str, Any], str]:
    """Return test curves (draws, G, L) and intervals over speakers."""
    score = found[0][0]["score"]
    names = sorted({name for row in found for unit in row for name in unit["clusters"]})
    place = {name: index for index, name in enumerate(names)}
    runs = []
    for row in found:
        sums = np.zeros((len(names), *row[0]["statistics"].shape[1:]))
        for unit in row:
            for name, statistics in zip(unit["clusters"], unit["statistics"], strict=True):
                sums[place[name]] += statistics
        runs += list(np.moveaxis(sums, 1, 0))  # a draw: (clusters, L, G, ...)

    def measure(statistics: np.ndarray) -> dict[str, np.ndarray]:
        return {"curves": np.swapaxes(score_of(statistics, score), -1, -2)}

    statistics = np.stack(runs)
    curves = measure(statistics.sum(1))["curves"]
    unit = found[0][0]["cluster"]
    if len(names) > 1:
        drawn = draw(statistics, measure, DRAWS, 0)["curves"].mean(0)  # (samples, G, L)
        depths = depth_of(above_worst(drawn))
        words = f"{text.count(DRAWS)} bootstrap draws of {len(names)} test {unit}s"
        return curves, _percentiles(drawn, depths, found[0][0]["groups"]), words
    depths = depth_of(above_worst(curves))
    return curves, _from(curves, depths, found[0][0]["groups"], interval_over_draws), _of_draws(
        len(curves))


def _mixtures(found: list[list[dict]]) -> tuple[np.ndarray, dict[str, Any], str]:
    """Return weights (draws, G, L), means over folds, and intervals over folds or draws."""
    weights = np.concatenate([np.array([unit["weights"] for unit in row]) for row in found], 1)
    curves, folds = weights.mean(0), weights.mean(1)
    groups = found[0][0]["groups"]
    if len(folds) > 1:
        words = f"a jackknife over {len(folds)} folds, each the mean of its draws"
        return curves, _from(folds, depth_of(folds), groups, interval_over_folds), words
    return curves, _from(curves, depth_of(curves), groups, interval_over_draws), _of_draws(
        len(curves))


def _of_draws(draws: int) -> str:
    return (f"{draws} draws of initial weights and order, which say nothing of other speakers"
            if draws > 1 else "nothing: a single draw")


def _percentiles(curves: np.ndarray, depths: np.ndarray, groups: list[str]) -> dict[str, Any]:
    def ends(values: np.ndarray) -> tuple[Any, Any]:
        low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        return low.tolist(), high.tolist()

    return {"curve": [ends(curves[:, index]) for index in range(len(groups))],
            "depth": [ends(depths[:, index]) for index in range(len(groups))],
            "difference": _difference(depths, groups, ends)}


def _from(curves: np.ndarray, depths: np.ndarray, groups: list[str], interval) -> dict[str, Any]:
    """Return intervals of means over the first axis of (n, G, L) and (n, G)."""
    def by_layer(values: np.ndarray) -> tuple[Any, Any]:
        found = [interval(layer, LEVEL) for layer in values.T]
        return (None, None) if None in found else tuple(map(list, zip(*found, strict=True)))

    def ends(values: np.ndarray) -> tuple[Any, Any]:
        return interval(values, LEVEL) or (None, None)

    return {"curve": [by_layer(curves[:, index]) for index in range(len(groups))],
            "depth": [ends(depths[:, index]) for index in range(len(groups))],
            "difference": _difference(depths, groups, ends)}


def _difference(depths: np.ndarray, groups: list[str], ends) -> tuple[Any, Any] | None:
    if not {SHALLOW, DEEP} <= set(groups):
        return None
    return ends(depths[:, groups.index(DEEP)] - depths[:, groups.index(SHALLOW)])


def _claim(groups: dict[str, dict], difference: tuple[Any, Any] | None) -> dict[str, Any] | None:
    """Return whether arousal lies in shallower layers than valence, intervals apart."""
    if difference is None:
        return None
    shallow, deep = groups[SHALLOW], groups[DEEP]
    known = shallow["depth_high"] is not None and deep["depth_low"] is not None
    return {
        "shallow": SHALLOW, "deep": DEEP,
        "holds": bool(shallow["depth_high"] < deep["depth_low"]) if known else None,
        "difference": deep["depth"] - shallow["depth"],
        "low": difference[0], "high": difference[1],
    }
