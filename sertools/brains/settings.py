"""Settings of a trainer: checked together, and as plain values to compare with a checkpoint's."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

from sertools.brains.randomness import derive
from sertools.errors import ConfigError
from sertools.models.heads import UtteranceHead
from sertools.scoring.classification import METRICS

MOST = {"lr": math.inf, "encoder_lr": math.inf, "weight_decay": math.inf, "momentum": 1,
        "label_smoothing": 1}
"""Numbers of a `DownstreamTrainer` of 0 or more, with the largest that means something."""


def describe(value: Any) -> Any:
    """Return a plain value that stands for an option: partials by name and arguments."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, functools.partial):
        keywords = {name: describe(item) for name, item in value.keywords.items()}
        return {"name": describe(value.func), "args": [describe(v) for v in value.args], **keywords}
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value


def fingerprint(ids: Sequence[str]) -> str:
    """Return how many ids these are and a hash of them, whatever their order."""
    return f"{len(ids)} utterances, {derive(*sorted(ids)):016x}"


def refuse_contradictions(given: dict[str, Any]) -> None:
    """Raise ConfigError with all options of a `DownstreamTrainer` that cannot be meant."""
    known = {"inputs": ("audio", "features"), "task": ("classification", "dimensions"),
             "optimizer": ("adamw", "sgd", "rmsprop"), "wd_exclude": ("norm_bias", "none"),
             "padding": ("fixed", "released")}
    problems = [f"{name} is {given[name]!r}: use {' or '.join(values)}"
                for name, values in known.items() if given[name] not in values]
    for name, most in MOST.items():
        value = given[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= most and value < math.inf):
            limit = "" if most == math.inf else f", at most {most}"
            problems.append(f"{name} is {value!r}: give a number of 0 or more{limit}")
    features = given["inputs"] == "features"
    if features and given["encoder"] is not None:
        problems.append("encoder is given, but inputs is features: remove it, or use inputs: audio")
    if not features and given["encoder"] is None:
        problems.append("encoder is missing: inputs: audio needs one")
    audio_only = ("encoder_lr", "freeze_frontend", "crop", "crop_prediction", "speeds", "noise",
                  "silences")
    problems += [f"{name} is given, but inputs is features: it acts on audio only"
                 for name in audio_only if features and given[name]]
    if given["crop_prediction"] and not features and not given["crop"]:
        problems.append("crop_prediction is given, but crop is not: name start or random")
    if given["votes"] and given["select"] == "loss":
        problems.append("votes is given, but select is loss: name scores, such as WA+UA")
    if given["padding"] == "released":
        head = getattr(given["head"], "func", given["head"])
        fits = given["crop"] == "start" and given["crop_prediction"] and not given["speeds"]
        if features or not fits or head not in (None, UtteranceHead):
            problems.append("padding is released: that needs inputs: audio, crop: start, "
                            "crop_prediction: true, no speeds, and an UtteranceHead")
    if given["momentum"] is not None and given["optimizer"] == "adamw":
        problems.append("momentum is given, but optimizer is adamw: it has betas")
    if given["optimizer"] == "adamw" and getattr(given["cycle"], "momentum", None) is not None:
        problems.append("cycle.momentum is given, but optimizer is adamw: set it to null")
    if given["task"] == "dimensions" and given["scale"] is None:
        problems.append("scale is missing: give the lowest and highest rating, such as [1, 7]")
    if not (given["freeze_frontend"] == "always" or isinstance(given["freeze_frontend"], int)):
        problems.append(f"freeze_frontend is {given['freeze_frontend']!r}: epochs, or always")
    scores = _scores(given)
    wanted = summands(given["select"] or scores[0])
    sound = set(wanted) <= set(scores) and len(set(wanted)) == len(wanted)
    if not sound or (len(wanted) > 1 and "loss" in wanted):
        problems.append(f"select is {given['select']!r}: use one of {', '.join(scores)}, or a sum "
                        "of scores such as WA+UA")
    if problems:
        raise ConfigError("the trainer's options are not sound", problems)


def summands(select: str) -> list[str]:
    """Return the dev scores whose sum `select` names: one, or several as in WA+UA."""
    return select.split("+")


def _scores(given: dict[str, Any]) -> list[str]:
    """Return the dev scores that may choose the best epoch."""
    if given["task"] == "dimensions":
        return ["CCC", *(f"CCC_{name}" for name in given["dimensions"]), "loss"]
    return [*METRICS, "loss"]
