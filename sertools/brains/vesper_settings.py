"""Settings of a Vesper pretraining that cannot be meant, found before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sertools.brains.checks import odd_betas, odd_choices, odd_numbers, refuse_faults, too_small
from sertools.brains.options import LoopOptions, Schedule
from sertools.errors import ConfigError
from sertools.models.thinning import INITIALISATIONS
from sertools.objectives.emotion_masking import MaskRule

CHOICES = {
    "initialisation": INITIALISATIONS,
    "targets": ("cached", "online"),
    "frontend": ("audio", "cached"),
    "crop": ("start", "random"),
    "padding": ("fixed", "released"),
}
SIZES = ("dim", "num_heads", "ffn_dim")
WEIGHTS = ("acoustic_weight", "semantic_weight", "cross_weight")
AT_LEAST = {"layers": 1, **dict.fromkeys(SIZES, 1), **dict.fromkeys(WEIGHTS, 0), "epochs": 0,
            "batch": 1, "weight_decay": 0, "keep_epochs": 1}
POSITIVE = ("crop_seconds", "batch_seconds", "lr", "eps")
OF_LOOP = ("clip", "patience", "checkpoint_minutes", "checkpoint_steps", "log_every", "tensorboard")
OF_MASKS = {"mask": "mask", "mask_budget": "budget", "small_span": "small_span",
            "small_spans": "small_spans", "large_span": "large_span",
            "large_spans": "large_spans", "mask_share": "share", "high": "high", "low": "low"}
"""Our options -> fields of `MaskRule`."""
NUMBERS = (*AT_LEAST, *POSITIVE, "warmup", "floor", "clip", "patience", "checkpoint_minutes",
           "checkpoint_steps", "log_every")
WHOLE = {"layers", *SIZES, "epochs", "batch", "patience", "keep_epochs", "checkpoint_steps",
         "log_every"}
OPTIONAL = {*SIZES, "clip", "patience", "keep_epochs", "checkpoint_steps"}


def refuse(given: Mapping[str, Any]) -> None:
    """Check the values of a `VesperPretrainer`.

    Raises:
        ConfigError: with all faults.
    """
    refuse_faults(
        "Vesper cannot be pretrained as configured",
        [*odd_numbers(given, NUMBERS, WHOLE, OPTIONAL), *odd_betas(given["betas"]),
         *_odd_teacher(given)],
        lambda: _sense(given),
        (lambda: loop_options(given), lambda: schedule(given), lambda: mask_rule(given)),
        odd_choices(given, CHOICES),
    )


def _odd_teacher(given: Mapping[str, Any]) -> Iterator[str]:
    if not callable(given["teacher"]):
        yield (f"teacher: {given['teacher']!r}; give `!name:sertools.models.upstream."
               "load_upstream` with a source")
    depths = given["teacher_layers"]
    if not isinstance(depths, list | tuple) or len(depths) != 2 or any(
            isinstance(depth, bool) or not isinstance(depth, int | float) or not depth >= 0
            for depth in depths):
        yield (f"teacher_layers: {depths!r}; give two shares of the teacher's depth, such as "
               "[0.5, 1.0], or two of its layers")


def _sense(given: Mapping[str, Any]) -> Iterator[str]:
    yield from too_small(given, AT_LEAST, POSITIVE)
    if given["epochs"] and not any(given[name] for name in WEIGHTS):
        yield (f"{', '.join(WEIGHTS)}: nothing is left to learn from; epochs: 0 leaves the "
               "student as it is initialised")
    custom = str(given["initialisation"]).startswith("custom")
    if custom != (given["blocks"] is not None):
        yield (f"blocks: {given['blocks']!r}, but initialisation is {given['initialisation']}; "
               "custom_extract and custom_average need blocks, nothing else has them")
    sizes = [name for name in SIZES if given[name] is not None]
    if sizes and given["initialisation"] != "random":
        yield f"{', '.join(sizes)}: only with initialisation: random; else they are the teacher's"
    if (given["frontend"], given["padding"], given["crop"]) == ("cached", "released", "random"):
        yield ("frontend: cached, but crop is random and padding released, which depends on the "
               "crop; use frontend: audio, padding: fixed or crop: start")


def loop_options(
    given: Mapping[str, Any], accumulation: int = 1, together: bool = False
) -> LoopOptions:
    """Return the options of the loop: the training loss chooses the best epoch."""
    to_the_end = given["semantic_weight"] or given["cross_weight"]
    return LoopOptions(
        epochs=max(1, given["epochs"]), accumulation=accumulation, select="loss",
        judge_training=True, find_unused_parameters=together and not to_the_end,
        **{name: given[name] for name in OF_LOOP},
    )


def schedule(given: Mapping[str, Any]) -> Schedule:
    """Return the schedule, one rate per epoch."""
    return Schedule("cosine", given["warmup"], given["floor"], per_epoch=True)


def mask_rule(given: Mapping[str, Any]) -> MaskRule:
    """Return the rule of the masks.

    Raises:
        ConfigError: it makes no sense; its faults go by our names.
    """
    try:
        return MaskRule(**{field: given[name] for name, field in OF_MASKS.items()})
    except ConfigError as error:
        names = {field: name for name, field in OF_MASKS.items()}
        faults = []
        for problem in error.problems:
            field, colon, rest = problem.partition(":")
            faults.append(f"{names.get(field, field)}{colon}{rest}")
        raise ConfigError(error.summary, faults) from error
