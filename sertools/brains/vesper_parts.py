"""What a Vesper pretraining is put together from: teacher and student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sertools.brains.randomness import seed_weights
from sertools.brains.target_parts import about_teacher, frozen_teacher, parameters_of
from sertools.brains.teacher import Teacher
from sertools.brains.vesper_settings import OF_MASKS, SIZES, WEIGHTS
from sertools.models.encoder import SpeechEncoder
from sertools.models.thinning import target_depths, thin
from sertools.models.upstream import Upstream
from torch import nn


def build_models(given: Mapping[str, Any], seed: int) -> tuple[Upstream, SpeechEncoder]:
    """Return the frozen teacher and the student, equal on all processes.

    Raises:
        ConfigError: the teacher is not frozen, is not run by sertools, or cannot be thinned so.
    """
    seed_weights(seed)
    upstream = frozen_teacher(given["teacher"])
    encoder = thin(upstream.model, given["layers"], given["initialisation"], given["blocks"],
                   **{name: given[name] for name in SIZES})
    return upstream, encoder


def teacher_of(given: Mapping[str, Any], upstream: Upstream) -> Teacher:
    """Return the teacher with its lower and upper target."""
    return Teacher(upstream, target_depths(given["teacher_layers"], upstream.num_layers))


def about(
    given: Mapping[str, Any], upstream: Upstream, encoder: SpeechEncoder, model: nn.Module
) -> dict[str, Any]:
    """Return where a student comes from, for `vesper.json`.

    Args:
        model: what is pretrained: the student with its predictors, or without.
    """
    return {
        "teacher": about_teacher(upstream, teacher_of(given, upstream)),
        "student": {
            "layers": encoder.num_layers, "dim": encoder.dim,
            "initialisation": given["initialisation"], "blocks": given["blocks"],
            "parameters": parameters_of(encoder)["total"],
            "with_predictors": parameters_of(model),
        },
        "masks": {name: given[name] for name in OF_MASKS},
        **{name: given[name] for name in (*WEIGHTS, "crop", "crop_seconds", "padding")},
    }
