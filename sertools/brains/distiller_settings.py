"""Settings of a distillation that cannot be meant, found before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sertools.brains.checks import odd_betas, odd_choices, odd_numbers, refuse_faults, too_small
from sertools.brains.options import LoopOptions, Schedule

CHOICES = {
    "initialisation": ("teacher", "random", "file"),
    "teacher_mode": ("eval", "released"),
    "teacher_precision": ("fp32", "bf16"),
    "teacher_hears": ("utterance", "crop"),
    "targets": ("cached", "online"),
    "crop": ("start", "random"),
    "padding": ("valid", "released"),
    "frontend_norm": ("masked", "plain"),
    "wd": ("released", "no_norm"),
}
WD_EXCLUDE = {"released": "bias", "no_norm": "norm_bias"}
"""Our `wd` -> what `parameter_groups` spares of weight decay."""
SIZES = ("dim", "num_heads", "ffn_dim")
AT_LEAST = {"layers": 1, **dict.fromkeys(SIZES, 1), "epochs": 0, "updates": 1, "batch": 1,
            "weight_decay": 0, "cosine_weight": 0, "frontend_gradient": 0, "dropout": 0,
            "keep_epochs": 1}
POSITIVE = ("crop_seconds", "batch_seconds", "lr", "eps")
OF_LOOP = ("clip", "patience", "checkpoint_minutes", "checkpoint_steps", "log_every", "tensorboard")
NUMBERS = (*AT_LEAST, *POSITIVE, "warmup", "clip", "patience", "checkpoint_minutes",
           "checkpoint_steps", "log_every")
WHOLE = {"layers", *SIZES, "epochs", "updates", "batch", "patience", "keep_epochs",
         "checkpoint_steps", "log_every"}
OPTIONAL = {*SIZES, "epochs", "updates", "dropout", "clip", "patience", "keep_epochs",
            "checkpoint_steps"}


def refuse(given: Mapping[str, Any]) -> None:
    """Check the values of a `DistillerPretrainer`.

    Raises:
        ConfigError: with all faults.
    """
    refuse_faults(
        "nothing can be distilled as configured",
        [*odd_numbers(given, NUMBERS, WHOLE, OPTIONAL), *odd_betas(given["betas"]),
         *_odd_teacher(given)],
        lambda: _sense(given),
        (lambda: loop_options(given, 1), lambda: schedule(given)),
        odd_choices(given, CHOICES),
    )


def _odd_teacher(given: Mapping[str, Any]) -> Iterator[str]:
    if not callable(given["teacher"]):
        yield (f"teacher: {given['teacher']!r}; give `!name:sertools.models.upstream."
               "load_upstream` with a source")
    depths = given["teacher_layers"]
    if not isinstance(depths, list | tuple) or not depths or any(
            isinstance(depth, bool) or not isinstance(depth, int | float) or not depth >= 0
            for depth in depths):
        yield (f"teacher_layers: {depths!r}; give layers of the teacher, such as [4, 8, 12], or "
               "shares of its depth up to 1")
    elif len(set(depths)) < len(depths):
        yield f"teacher_layers: {list(depths)}; name each once"


def _sense(given: Mapping[str, Any]) -> Iterator[str]:
    yield from too_small(given, AT_LEAST, POSITIVE)
    if (given["updates"] is None) == (given["epochs"] is None):
        yield "updates and epochs: give one of them, and null for the other"
    way = given["initialisation"]
    if (way == "file") != (given["source"] is not None):
        yield (f"source: {given['source']!r}, but initialisation is {way}; file needs a source, "
               "nothing else has one")
    if given["blocks"] is not None and way != "teacher":
        yield f"blocks: {given['blocks']!r}, but initialisation is {way}; only teacher has blocks"
    sizes = [name for name in SIZES if given[name] is not None]
    if sizes and way != "random":
        yield f"{', '.join(sizes)}: only with initialisation: random; else they are given already"
    if given["targets"] == "cached":
        yield from (f"{name}: {given[name]}, but targets is cached; use targets: online"
                    for name, kept in (("teacher_mode", "eval"), ("teacher_hears", "utterance"))
                    if given[name] != kept)


def loop_options(given: Mapping[str, Any], epochs: int, accumulation: int = 1) -> LoopOptions:
    """Return the options of the loop: the training loss chooses the best epoch."""
    return LoopOptions(
        epochs=epochs, accumulation=accumulation, select="loss", judge_training=True,
        **{name: given[name] for name in OF_LOOP},
    )


def schedule(given: Mapping[str, Any]) -> Schedule:
    """Return the schedule: up to the rate, then linearly down to 0."""
    return Schedule("linear", given["warmup"])
