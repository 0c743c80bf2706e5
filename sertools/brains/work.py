"""What a trainer gets, with everything that comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sertools.data.pretraining_dataset import PretrainingDataset
    from sertools.data.record import Record


@dataclass(kw_only=True)
class Work:
    """A folder, a seed and a machine: what every training needs."""

    folder: Path
    """Where everything about this training is written."""
    seed: int
    """Of weights, data order, masks and dropout."""
    device: str
    """auto, cpu or cuda."""
    precision: str
    """fp32 or bf16."""
    num_workers: int
    """Processes that load data, per rank; 0 loads in the training process."""
    should_stop: Callable[[], bool]
    """Says whether a signal asked to stop."""
    say: Callable[[str], None]
    """Prints one line for the user."""
    rank: int = 0
    world_size: int = 1


@dataclass(kw_only=True)
class FoldWork(Work):
    """One unit of training: the utterances of a fold."""

    manifest: dict[str, Record]
    """Every utterance of the corpus, by id."""
    train: list[str]
    """Ids to learn from."""
    dev: list[str]
    """Ids that select the best epoch; empty: the last epoch is taken."""
    classes: list[str]
    """Class names in the order of the model's outputs."""
    data_folder: Path
    """Folder of the release that the records' paths start from."""
    features: Path | None
    """Folder of the feature cache; None where a recipe has none."""
    encoder: str | None = None
    """Folder or id of the encoder that was pretrained for this; None where there is none."""
    fold: str | None = None
    """Name of the fold."""


@dataclass(kw_only=True)
class PretrainingWork(Work):
    """Audio without labels, from any number of corpora."""

    dataset: PretrainingDataset
    """Its utterances."""
    summary: dict[str, Any]
    """Corpora, their hours, and what was left out; kept beside the weights."""
    caches: list[Path] = field(default_factory=list)
    """index.json of each cache that the pretrainer's `write_caches` left."""
