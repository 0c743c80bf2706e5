"""RelevanceTrainer: what each layer of a frozen encoder knows, one head per layer or a mixture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sertools.brains.best import FILES, read_description, read_model, write_model
from sertools.brains.cost import encoder_size, write_cost
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.inputs import FeatureInputs
from sertools.brains.pooled import pooled_table
from sertools.brains.relevance_loop import (
    HeadOptions,
    draw_seeds,
    head_outputs,
    train_heads,
)
from sertools.brains.tasks import Classification, Dimensions
from sertools.brains.weights import TrainedWeights
from sertools.brains.work import FoldWork
from sertools.errors import ConfigError, DataError
from sertools.files import publish, write_json
from sertools.models.probes import LayerHeads, LayerMixture, LayerProbes
from sertools.scoring.predictions import Prediction
from sertools.scoring.relevance import additive_statistics, score_of
from sertools.scoring.resampling import choose_clusters, cluster_of
from torch import Tensor

KINDS = {"weights": LayerMixture, "probes": LayerProbes}
DONE = "training.json"


class RelevanceTrainer:
    """Train small heads on the averaged layers of a frozen encoder, all of them at once.

    With `relevance: weights` each dimension learns a softmax over the layers and a linear head on
    the weighted sum (Yang et al. 2021, SUPERB, section 3); with `probes` every layer has a linear
    head of its own for each dimension. All layers, dimensions and draws are one batched matrix
    product per step. Every head keeps its epoch with the best dev score, and the dev part chooses
    the layer whose head predicts: of each dimension the one with the best score, averaged over the
    draws. Predictions are those of the first draw; the others say how much a seed matters.

    Args:
        relevance: weights or probes.
        draws: heads that differ in their seed alone (weights, order of utterances).
        normalise: LayerNorm without scale and shift on every frame of every layer before frames
            are averaged; False takes layers as they are, whose size then counts in `weights`.
        task: dimensions or classification.
        dimensions: for task dimensions, any of arousal, valence, dominance.
        scale: for task dimensions, lowest and highest rating of the corpus.
        epochs: passes over the training part.
        batch: utterances per step; the CCC is that of a batch.
        lr: learning rate of the heads (AdamW).
        mixture_lr: learning rate of the weights of the layers.
        weight_decay: of the heads.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    inputs = "features"

    def __init__(
        self,
        relevance: str = "weights",
        draws: int = 5,
        normalise: bool = True,
        task: str = "dimensions",
        dimensions: Sequence[str] = ("arousal", "valence", "dominance"),
        scale: Sequence[float] | None = None,
        epochs: int = 100,
        batch: int = 32,
        lr: float = 1e-3,
        mixture_lr: float = 1e-2,
        weight_decay: float = 0.01,
    ):
        _check(relevance, task, scale, {"draws": draws, "epochs": epochs, "batch": batch})
        self.relevance, self.draws, self.normalise = relevance, draws, normalise
        self.task, self.dimensions, self.scale = task, list(dimensions), scale
        self.options = HeadOptions(epochs, batch, lr, mixture_lr, weight_decay)

    def fit(self, work: FoldWork) -> None:
        """Train all heads and publish `best/`; do nothing if it is there.

        Raises:
            Interrupted: a stop was asked for.
            ConfigError: the cache holds a single layer.
            DataError: utterances without a usable label or features; probes without a dev part.
        """
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        if ranks.share(all(path.is_file() for path in self.artefacts(work))):
            return
        began = time.monotonic()
        if self.relevance == "probes" and not work.dev:
            raise DataError("this fold has no dev part, which must choose the layer",
                            remedy="use folds with a dev part, or relevance: weights")
        task, inputs = self._task(work), FeatureInputs(work, None, ranks)
        table = pooled_table(inputs.cache, ranks, self.normalise)
        if not ranks.main:
            return
        features, targets = self._part(work, task, inputs, table, work.train, device)
        dev = self._part(work, task, inputs, table, work.dev, device) if work.dev else None
        model = self._model(work, task, inputs)
        model.learn_scale(features)
        model = model.to(device)
        seeds = draw_seeds(work.seed, self.draws)
        best, epochs = train_heads(model, features, targets, dev, seeds, self.options,
                                   work.should_stop)
        # a curve of the dev part, (S, L or 1, G) -> the best layer of each group
        chosen = [0] * epochs.shape[2] if best is None else best.mean(0).argmax(0).tolist()
        folder = Path(work.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._publish(folder / "best", model, {
            **task.describe(), "relevance": self.relevance, "normalise": self.normalise,
            "draws": self.draws, "layers": inputs.cache.num_layers, "chosen": chosen,
            "dev": None if best is None else best.tolist(), "epochs": epochs.tolist(),
        })
        size = sum(parameter.numel() for parameter in model.parameters())
        write_cost(folder, size, size, time.monotonic() - began, device,
                   encoder=encoder_size(model, work.features))
        work.say(f"{self.draws} draws of heads on {inputs.cache.num_layers} layers"
                 + self._told(best, chosen))
        write_json(folder / DONE, {"chosen": chosen})

    def predict(self, work: FoldWork, ids: Sequence[str]) -> list[Prediction]:
        """Return predictions of the chosen heads, sorted by id; on other ranks than 0 none.

        Raises:
            DataError: nothing was trained yet, the model is damaged, or features are missing.
        """
        task, about, outputs, ids = self._outputs(work, ids)
        if outputs is None:
            return []
        groups = [outputs[0, layer, group] for group, layer in enumerate(about["chosen"])]
        return task.predictions(work.manifest, ids, torch.cat(groups, -1).cpu())

    def measure(self, work: FoldWork, ids: Sequence[str]) -> dict[str, Any] | None:
        """Return how good every head is on a part, whatever the dev part chose; see `KINDS`.

        Returns:
            `dev` and `test` scores (S, L or 1, G), `weights` (S, G, L; None for probes),
            `statistics` (clusters, S, L or 1, G, ...) that add up over folds, and names. None on
            other ranks than 0.
        """
        task, about, outputs, ids = self._outputs(work, ids)
        if outputs is None:
            return None
        answers = task.predictions(work.manifest, ids, outputs[0, 0].transpose(0, 1).flatten(1))
        clusters = choose_clusters(answers)
        places = [clusters.names.index(cluster_of(answer)) for answer in answers]
        truth = self._targets(task, work, ids).numpy()
        heads, score = tuple(outputs.shape[:3]), self.score
        if self.task == "dimensions":
            truth = np.broadcast_to(truth[:, None, None], (len(ids), *heads)).reshape(len(ids), -1)
            said = outputs[..., 0].permute(3, 0, 1, 2).flatten(1)
        else:
            said = outputs.permute(3, 0, 1, 2, 4).flatten(1, 3)
        sums = additive_statistics(truth, said.double().cpu().numpy(), places, len(clusters.names))
        sums = sums.reshape(len(clusters.names), *heads, *sums.shape[2:])
        test = score_of(sums.sum(0), score)
        return {
            "relevance": self.relevance, "score": score, "groups": self.groups,
            "layers": about["layers"], "draws": self.draws, "normalise": self.normalise,
            "chosen": about["chosen"], "dev": about["dev"], "test": test.tolist(),
            "weights": about.get("weights"), "cluster": clusters.unit, "clusters": clusters.names,
            "statistics": sums,
        }

    def artefacts(self, work: FoldWork) -> list[Path]:
        """Return the files whose presence means that training is complete."""
        return [*(Path(work.folder) / "best" / name for name in FILES), Path(work.folder) / DONE]

    @property
    def groups(self) -> list[str]:
        """Return what the heads tell, by name."""
        return self.dimensions if self.task == "dimensions" else ["class"]

    @property
    def score(self) -> str:
        """Return the score of a head."""
        return "CCC" if self.task == "dimensions" else "UA"

    def _task(self, work: FoldWork) -> Classification | Dimensions:
        if self.task == "dimensions":
            return Dimensions(self.dimensions, self.scale)
        return Classification(work.classes)

    def _part(self, work, task, inputs, table, ids, device) -> tuple[Tensor, Tensor]:
        """Return features (n, L, D) and targets of a part of the corpus, in the order of ids."""
        inputs.refuse_missing(ids)
        targets = self._targets(task, work, ids)
        return torch.stack([table[id] for id in ids]).to(device), targets.to(device)

    def _targets(self, task, work: FoldWork, ids: Sequence[str]) -> Tensor:
        targets = task.targets(work.manifest, ids)
        return torch.stack([torch.as_tensor(targets[id]) for id in ids])

    def _model(self, work: FoldWork, task, inputs: FeatureInputs) -> LayerHeads:
        if inputs.cache.num_layers < 2:
            raise ConfigError("the feature cache holds a single layer",
                              remedy="set feature_layers: all")
        groups = len(self.groups)
        return KINDS[self.relevance](
            draw_seeds(work.seed, self.draws), inputs.cache.num_layers, inputs.cache.dim,
            groups, task.num_outputs // groups)

    def _told(self, best: Tensor | None, chosen: list[int]) -> str:
        """Say the dev scores of the chosen heads, averaged over the draws."""
        if best is None:
            return ""
        mean, layers = best.mean(0).tolist(), self.relevance == "probes"
        said = [f"{name} {mean[layer][index]:.3f}" + (f" (layer {layer})" if layers else "")
                for index, (name, layer) in enumerate(zip(self.groups, chosen, strict=True))]
        return f", dev {self.score}: {', '.join(said)}"

    def _publish(self, place: Path, model: LayerHeads, about: dict[str, Any]) -> None:
        if isinstance(model, LayerMixture):
            about["weights"] = model.layer_weights.detach().double().tolist()
        with publish(place) as folder:
            folder.mkdir()
            write_model(folder, TrainedWeights(model), about)

    def _outputs(self, work: FoldWork, ids: Sequence[str]):
        """Return task, description, outputs (S, L or 1, G, n, O) and sorted ids."""
        device, ids = resolve_device(work.device), sorted(ids)
        ranks = Ranks.start(device, work.rank, work.world_size)
        task, inputs = self._task(work), FeatureInputs(work, None, ranks)
        about = read_description(Path(work.folder) / "best")
        table = pooled_table(inputs.cache, ranks, about["normalise"])
        if not ranks.main:
            return task, about, None, ids
        features, _ = self._part(work, task, inputs, table, ids, device)
        model = self._model(work, task, inputs)
        read_model(Path(work.folder) / "best", model)
        return task, about, head_outputs(model.to(device), features), ids


def _check(relevance: str, task: str, scale, counts: dict[str, Any]) -> None:
    problems = []
    if relevance not in KINDS:
        problems.append(f"relevance is {relevance!r}: use {' or '.join(KINDS)}; truncate is a "
                        "fine-tuning of an encoder that is loaded with fewer `layers`")
    if task not in ("classification", "dimensions"):
        problems.append(f"task is {task!r}: use classification or dimensions")
    if task == "dimensions" and scale is None:
        problems.append("scale is missing: give the lowest and highest rating, such as [1, 7]")
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(f"{name} is {value!r}: give a whole number of 1 or more")
    if problems:
        raise ConfigError("the trainer's options are not sound", problems)
