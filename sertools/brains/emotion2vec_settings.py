"""Settings of an emotion2vec pretraining that cannot be meant, found before anything is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sertools.brains.checks import odd_betas, odd_choices, odd_numbers, refuse_faults, too_small
from sertools.brains.work import PretrainingWork
from sertools.errors import ConfigError, DataError
from sertools.models.encoder import SpeechEncoder
from sertools.objectives.distillation import (
    UTTERANCE_LOSSES,
    UTTERANCE_REDUCTIONS,
    UTTERANCE_TARGETS,
)

CHOICES = {
    "utterance_loss": UTTERANCE_LOSSES,
    "utterance_target": UTTERANCE_TARGETS,
    "utterance_reduction": UTTERANCE_REDUCTIONS,
    "token_dropout": ("released", "none"),
    "mask_timing": ("after_crop", "before_crop"),
    "wd_exclude": ("none", "norm_bias"),
}
AT_LEAST = {
    "context_layers": 0, "clones": 1, "mask_span": 1, "mask_adjust": 0, "alpha": 0,
    "frame_weight": 0, "ema_steps": 0, "weight_decay": 0, "guard_after": 0, "min_target_std": 0,
    "min_prediction_std": 0, "keep_epochs": 1,
}
NUMBERS = (*AT_LEAST, "mask_share", "ema_start", "ema_end", "lr", "eps", "updates", "epochs",
           "batch_seconds", "update_seconds", "warmup_updates", "clip", "checkpoint_minutes",
           "checkpoint_steps", "log_every")
WHOLE = {"context_layers", "clones", "mask_span", "ema_steps", "updates", "epochs",
         "warmup_updates", "guard_after", "keep_epochs", "checkpoint_steps", "log_every"}
OPTIONAL = {"updates", "epochs", "clip", "keep_epochs", "checkpoint_steps"}


def refuse(given: Mapping[str, Any], *parts: Callable[[], object]) -> None:
    """Check the values of an `Emotion2vecPretrainer`.

    Args:
        given: all of them, by name.
        parts: make objects that check some of them on their own.

    Raises:
        ConfigError: with all faults.
    """
    refuse_faults(
        "emotion2vec cannot be pretrained as configured",
        [*odd_numbers(given, NUMBERS, WHOLE, OPTIONAL), *odd_betas(given["betas"])],
        lambda: _sense(given), parts, odd_choices(given, CHOICES),
    )


def _sense(given: Mapping[str, Any]) -> Iterator[str]:
    yield from too_small(given, AT_LEAST, ("lr", "eps"))
    if given["mask_span"] % 2 == 0:
        yield f"mask_span: {given['mask_span']}; give an odd number of frames"
    if not 0 < given["mask_share"] < 1:
        yield f"mask_share: {given['mask_share']}; give more than 0, less than 1"
    if not 0 <= given["ema_start"] <= given["ema_end"] <= 1:
        yield (f"ema_start, ema_end: {given['ema_start']}, {given['ema_end']}; give "
               "0 <= start <= end <= 1")
    if given["start"] is not None and not str(given["start"]).strip():
        yield "start: ''; name a file, or null for a cold start"
    if given["frame_weight"] == 0 and (
            given["utterance_loss"] == "none" or given["alpha"] == 0):
        yield "frame_weight, alpha, utterance_loss: nothing is left to learn from"


def refuse_tokens(encoder: SpeechEncoder, variant: str, say: Callable[[str], None]) -> None:
    """Check that the utterance loss has the tokens that it reads; note an odd number of them.

    Raises:
        ConfigError: there are none.
    """
    count = encoder.config.extra_tokens
    if variant in ("chunk", "token") and not count:
        raise ConfigError(f"utterance_loss: {variant} needs extra_tokens of 1 or more")
    if variant == "token" and count > 1:
        say(f"note: utterance_loss token reads the last of {count} tokens, as the released code")


def refuse_audio(work: PretrainingWork, encoder: SpeechEncoder, mask_share: float) -> None:
    """Check that every clip leaves a frame to mask and one to show, at the encoder's rate.

    Raises:
        ConfigError: the audio has another rate.
        DataError: clips are too short; all are listed.
    """
    config, rate = encoder.config, work.dataset.reader.sample_rate
    if rate != config.sample_rate:
        raise ConfigError(
            f"pretraining_data.sample_rate is {rate}, but the encoder hears {config.sample_rate}"
        )
    least = max(2, math.ceil(1 / mask_share))
    short = [f"{id}: {seconds:g} s" for id, seconds in
             zip(work.dataset.ids, work.dataset.seconds, strict=True)
             if config.frames(round(seconds * rate)) < least]
    if short:
        seconds = (config.receptive_field + (least - 1) * config.hop) / rate
        raise DataError(
            f"clips are too short to mask a part of them: {least} frames are needed", short,
            f"raise pretraining_data.min_seconds to {seconds:.3f} or more",
        )
