"""What a distillation is put together from: teacher, student, how long, where from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sertools.brains.distiller_settings import SIZES
from sertools.brains.randomness import seed_weights
from sertools.brains.target_parts import about_teacher, frozen_teacher, parameters_of
from sertools.brains.teacher import Teacher
from sertools.errors import ConfigError
from sertools.models.distilled import student_of
from sertools.models.encoder import SpeechEncoder
from sertools.models.thinning import target_depths
from sertools.models.upstream import OwnUpstream, Upstream
from sertools.models.weights import load_encoder
from torch import nn

_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")
_OPTIONS = ("crop", "crop_seconds", "padding", "frontend_norm", "frontend_gradient",
            "cosine_weight", "teacher_mode", "teacher_hears", "targets")
"""Told of a student beside teacher and sizes."""


def build_models(given: Mapping[str, Any], seed: int) -> tuple[OwnUpstream, SpeechEncoder]:
    """Return the frozen teacher and the student, equal on all processes.

    Raises:
        ConfigError: the teacher is not frozen or not run by sertools, or there can be no such
            student.
    """
    seed_weights(seed)
    upstream = frozen_teacher(given["teacher"], given["teacher_mode"])
    dropouts = {} if given["dropout"] is None else dict.fromkeys(_DROPOUTS, given["dropout"])
    if given["initialisation"] != "file":
        sizes = {name: given[name] for name in SIZES}
        return upstream, student_of(upstream.model, given["layers"], given["initialisation"],
                                    given["blocks"], **sizes, **dropouts)
    encoder = load_encoder(given["source"], mask_embedding=False, layerdrop=0.0, **dropouts)
    if encoder.num_layers != given["layers"]:
        raise ConfigError(f"layers: {given['layers']}, but the student in {given['source']} has "
                          f"{encoder.num_layers} blocks")
    return upstream, encoder.train()


def teacher_of(given: Mapping[str, Any], upstream: Upstream) -> Teacher:
    """Return the teacher with the layers that are predicted."""
    padded = (given["padding"], given["targets"], given["teacher_hears"])
    return Teacher(
        upstream, target_depths(given["teacher_layers"], upstream.num_layers),
        given["teacher_precision"], given["teacher_hears"],
        padded=padded == ("released", "online", "crop"),
    )


def epochs_of(given: Mapping[str, Any], batches: int, passes: int) -> int:
    """Return the epochs, those of `updates` rounded up.

    Args:
        given: options.
        batches: passes per epoch and process.
        passes: of them per update.
    """
    return given["epochs"] or math.ceil(given["updates"] / math.ceil(batches / passes))


def about(
    given: Mapping[str, Any], upstream: Upstream, encoder: SpeechEncoder, model: nn.Module
) -> dict[str, Any]:
    """Return where a student comes from, for `distilled.json`.

    Args:
        given: options.
        upstream: the teacher.
        encoder: the student.
        model: what is trained: the student with its heads, or without.
    """
    return {
        "teacher": about_teacher(upstream, teacher_of(given, upstream)),
        "student": {
            "layers": encoder.num_layers, "dim": encoder.dim,
            "initialisation": given["initialisation"], "source": given["source"],
            "blocks": given["blocks"], "parameters": parameters_of(encoder)["total"],
            "with_heads": parameters_of(model),
        },
        **{name: given[name] for name in _OPTIONS},
    }
