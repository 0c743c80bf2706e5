"""ClassicalTrainer: acoustic statistics and a support vector machine, the floor of every table."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sertools.brains.cost import write_cost
from sertools.brains.kernel_machine import (
    Logistic,
    Machine,
    SupportVectors,
    from_tensors,
    standardiser,
)
from sertools.brains.statistics import statistics_table
from sertools.brains.tasks import Classification, Dimensions
from sertools.brains.work import FoldWork
from sertools.errors import ConfigError, DataError, Interrupted
from sertools.files import publish, read_json, sha256, write_json
from sertools.models import acoustics
from sertools.scoring.calibration import fit_temperature
from sertools.scoring.predictions import Prediction

FILES = ("model.safetensors", "best.json")
DONE = "training.json"
COSTS = {"svm": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0), "logistic": (1e-4, 1e-3, 1e-2, 1e-1, 1.0)}

PER_SPEAKER = "statistics normalised per speaker with the test speakers' own recordings"
"""What every result of `per_speaker: true` says."""


class ClassicalTrainer:
    """Learn classes or dimensions from the acoustic statistics of whole utterances.

    The statistics (`models.acoustics`) are standardised over the training part. The cost is the
    one with the best dev score; the smallest among equals; the middle one without a dev part. The
    dev part is never learned from. Memory of the svm grows with the square of the training part:
    take logistic beyond some 20,000 utterances.

    Args:
        classifier: svm (Gaussian kernel, one class against the rest) or logistic.
        costs: costs of errors to choose from; None for the defaults.
        class_weights: balanced (n / (K n_class)) or None.
        per_speaker: give each speaker's statistics zero mean and unit variance first. This uses
            all recordings of the test speakers (not their labels): results are not comparable
            with those of systems that hear one utterance at a time.
        task: classification or dimensions (svm only).
        dimensions: for task dimensions, any of arousal, valence, dominance.
        scale: for task dimensions, lowest and highest rating of the corpus.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    def __init__(
        self,
        classifier: str = "svm",
        costs: Sequence[float] | None = None,
        class_weights: str | None = "balanced",
        per_speaker: bool = False,
        task: str = "classification",
        dimensions: Sequence[str] = ("arousal", "valence", "dominance"),
        scale: Sequence[float] | None = None,
    ):
        _check(classifier, costs, task, scale)
        self.classifier, self.task = classifier, task
        self.costs = sorted(float(cost) for cost in costs or COSTS[classifier])
        self.class_weights, self.per_speaker = class_weights, per_speaker
        self.dimensions, self.scale = dimensions, scale

    def fit(self, work: FoldWork) -> None:
        """Learn with every cost and publish the best as `best/`; do nothing if it is there.

        Raises:
            Interrupted: a stop was asked for.
            DataError: utterances without a usable label or audio.
        """
        if work.rank != 0 or all(path.is_file() for path in self.artefacts(work)):
            return
        began = time.monotonic()
        task = self._task(work)
        targets = task.targets(work.manifest, work.train)
        task.targets(work.manifest, work.dev)
        table = statistics_table(work, work.train, self.per_speaker)
        dev = statistics_table(work, work.dev, self.per_speaker) if work.dev else None
        grid, machines = [], []
        learner = self._learner(task, table)
        wanted = torch.stack([torch.as_tensor(targets[id]) for id in work.train]).numpy()
        for cost in self.costs:
            if work.should_stop():
                raise Interrupted(
                    "Stopped while classifiers were learned; nothing is lost but time."
                )
            machines.append(self._learn(learner, wanted, cost))
            scores = self._scores(task, work, machines[-1], dev)
            grid.append({"cost": cost, "dev": scores})
            best = scores.get(task.select)
            shown = "" if best is None else f", dev {task.select} {best:.4f}"
            work.say(f"{self.classifier} with cost {cost:g}{shown}")
        chosen = _choose(grid, task.select)
        sharpness = self._sharpness(task, work, machines[chosen], dev)
        self._publish(work, task, machines[chosen], sharpness, grid, chosen)
        size = machines[chosen].size
        flags = [PER_SPEAKER] if self.per_speaker else []
        write_cost(work.folder, size, size, time.monotonic() - began, "cpu", flags=flags)
        write_json(Path(work.folder) / DONE, {"cost": grid[chosen]["cost"]})

    def predict(self, work: FoldWork, ids: Sequence[str]) -> list[Prediction]:
        """Return predictions, sorted by id; on other ranks than 0 none.

        Raises:
            DataError: nothing was trained yet, the model is damaged, or audio cannot be used.
        """
        if work.rank != 0:
            return []
        task, ids = self._task(work), sorted(ids)
        task.targets(work.manifest, ids)
        machine, about = _read(Path(work.folder) / "best")
        table = statistics_table(work, ids, about["per_speaker"])
        outputs = about["sharpness"] * machine.outputs(table)
        return task.predictions(work.manifest, ids, torch.from_numpy(outputs))

    def artefacts(self, work: FoldWork) -> list[Path]:
        """Return the files whose presence means that training is complete."""
        return [*(Path(work.folder) / "best" / name for name in FILES), Path(work.folder) / DONE]

    def _task(self, work: FoldWork) -> Classification | Dimensions:
        if self.task == "dimensions":
            return Dimensions(self.dimensions, self.scale)
        return Classification(work.classes, self.class_weights)

    def _learner(self, task, table: np.ndarray) -> SupportVectors | Logistic:
        start = standardiser(table, task.num_outputs)
        return (SupportVectors if self.classifier == "svm" else Logistic)(start, table)

    def _learn(self, learner, targets: np.ndarray, cost: float) -> Machine:
        if self.task == "dimensions":
            return learner.regress(targets, cost)
        return learner.classify(targets, cost, self.class_weights == "balanced")

    def _scores(self, task, work: FoldWork, machine: Machine, dev) -> dict[str, float]:
        if dev is None:
            return {}
        outputs = torch.from_numpy(machine.outputs(dev))
        scores = task.scores(work.manifest, work.dev, outputs)
        return {key: float(value) for key, value in scores.items() if isinstance(value, float)}

    def _sharpness(self, task, work: FoldWork, machine: Machine, dev) -> float:
        """Return the factor on a support vector machine's outputs before the softmax.

        Its outputs are distances, not log-odds; the one number is fitted on the dev part.
        """
        if self.classifier != "svm" or self.task != "classification" or dev is None:
            return 1.0
        outputs = torch.from_numpy(machine.outputs(dev))
        targets = task.targets(work.manifest, work.dev)
        truth = np.array([targets[id] for id in work.dev])
        return 1.0 / fit_temperature(outputs.softmax(-1).numpy(), truth)

    def _publish(self, work, task, machine: Machine, sharpness, grid, chosen: int) -> None:
        from safetensors.numpy import save_file

        with publish(Path(work.folder) / "best") as folder:
            folder.mkdir()
            save_file(
                {name: np.ascontiguousarray(value) for name, value in machine.tensors().items()},
                folder / FILES[0],
            )
            write_json(
                folder / FILES[1],
                {
                    **task.describe(),
                    "classifier": self.classifier,
                    "cost": grid[chosen]["cost"],
                    "grid": grid,
                    "sharpness": sharpness,
                    "per_speaker": self.per_speaker,
                    "statistics_version": acoustics.CODE_VERSION,
                    "statistics": list(acoustics.statistic_names()),
                    "sha256": sha256(folder / FILES[0]),
                },
            )


def _choose(grid: list[dict[str, Any]], score: str) -> int:
    if not grid[0]["dev"]:
        return len(grid) // 2
    # a score that is not defined (nothing varies) is below all others
    return max(range(len(grid)),
               key=lambda index: (grid[index]["dev"].get(score, -math.inf), -index))


def _read(folder: Path) -> tuple[Machine, dict[str, Any]]:
    from safetensors.numpy import load_file

    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        faults = [f"{name} is missing" for name in missing]
        raise DataError(f"{folder} holds no trained model", faults, "run stage train")
    about = read_json(folder / FILES[1])
    if sha256(folder / FILES[0]) != about["sha256"]:
        raise DataError(
            f"{folder / FILES[0]} is damaged: its SHA-256 is not what was written",
            remedy=f"delete {folder.parent} and run stage train again",
        )
    if about["statistics_version"] != acoustics.CODE_VERSION:
        raise DataError(
            f"{folder} was trained on acoustic statistics that this version computes differently",
            remedy=f"delete {folder.parent} and run stage train again",
        )
    return from_tensors(load_file(folder / FILES[0])), about


def _check(classifier: str, costs, task: str, scale) -> None:
    problems = []
    if classifier not in COSTS:
        problems.append(f"classifier is {classifier!r}: use {' or '.join(COSTS)}")
    if costs is not None and (not costs or min(costs) <= 0):
        problems.append(f"costs are {list(costs)}: give positive numbers, or null")
    if task not in ("classification", "dimensions"):
        problems.append(f"task is {task!r}: use classification or dimensions")
    if task == "dimensions" and classifier == "logistic":
        problems.append("classifier is logistic: task dimensions needs svm")
    if task == "dimensions" and scale is None:
        problems.append("scale is missing: give the lowest and highest rating, such as [1, 7]")
    if problems:
        raise ConfigError("the trainer's options are not sound", problems)
