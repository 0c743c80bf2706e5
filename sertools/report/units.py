"""What a report is made from: the results of units, and facts about their experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sertools.scoring.predictions import Prediction


@dataclass
class UnitResult:
    """One fold trained with one seed."""

    fold: str
    seed: int
    scores: dict[str, Any]
    """What `score_unit` returned."""
    test: list[Prediction]
    dev: list[Prediction] = field(default_factory=list)
    further: dict[str, list[Prediction]] = field(default_factory=dict)
    """Predictions of the other test parts, by name."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Lines of metrics.jsonl, one per epoch; empty for systems without epochs."""
    parameters: dict[str, int] | None = None
    """`total` and `trainable`."""
    encoder: dict[str, Any] | None = None
    """`parameters`, `macs_per_second` (None: not counted) and the `seconds` of audio counted."""
    seconds: float | None = None
    """Time of training and evaluation."""
    device: str | None = None
    best_epoch: int | None = None
    """Epoch that was evaluated; when None, the one with the best dev score."""
    layer_weights: list[float] | None = None
    """What the head weighs each layer with, sums to 1; None where it learns no such weights."""
    relevance: dict[str, Any] | None = None
    """What `RelevanceTrainer.measure` found for every layer; None for other systems."""
    finished: str | None = None
    """Date, ISO 8601, taken from the unit's artefacts so that a report made again is equal."""


@dataclass
class ReportMeta:
    """Facts about the experiment that its units do not hold."""

    tag: str
    system: str
    corpus: str
    protocol_name: str
    """Name of the folds file, e.g. `loso-speaker-clean`."""
    folds: list[str]
    """All folds of the protocol, in order, done or not."""
    seeds: list[int]
    """All seeds of the config, done or not."""
    part: str | None = None
    """Name of the test part, where there are several."""
    protocol: str = "clean"
    """`clean` or `paper`."""
    flags: list[str] = field(default_factory=list)
    """What leaks, in words; empty when nothing does."""
    warnings: list[str] = field(default_factory=list)
    """What else makes the numbers hard to compare, e.g. that only a subset of a corpus was used."""
    in_domain_pretraining: bool = False
    """Whether the encoder heard this corpus's audio before; the warnings say it in words."""
    language: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    """command, config_hash, commit, dirty, versions; pretraining (where the encoder comes from)."""
    artefacts: dict[str, str] = field(default_factory=dict)
    """Name -> path relative to the recipe folder, e.g. of the log and the checkpoints."""
