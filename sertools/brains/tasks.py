"""What is learned from an utterance: one of some classes, or numbers on affect dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sertools.errors import ConfigError, DataError
from sertools.objectives.concordance import concordance_loss
from sertools.scoring.classification import classification_scores
from sertools.scoring.dimensions import DIMENSIONS, dimensional_scores
from sertools.scoring.predictions import Prediction
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from sertools.data.record import Record


class Classification:
    """Cross-entropy over classes.

    Args:
        classes: names in the order of the outputs.
        class_weights: `balanced` weighs each class with n / (K n_class) of the training part;
            None weighs all utterances alike.
        label_smoothing: share of the target spread over all classes.
    """

    select = "UA"

    def __init__(
        self,
        classes: Sequence[str],
        class_weights: str | None = None,
        label_smoothing: float = 0.0,
    ):
        if class_weights not in (None, "balanced"):
            raise ConfigError(f"class_weights is {class_weights!r}: use balanced or null")
        self.classes, self.balanced = list(classes), class_weights == "balanced"
        self.label_smoothing = label_smoothing
        self._weights: Tensor | None = None

    @property
    def num_outputs(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    def targets(self, manifest: Mapping[str, Record], ids: Sequence[str]) -> dict[str, int]:
        """Return class indices by id.

        Raises:
            DataError: utterances without a class of this task; all are listed.
        """
        place = {name: index for index, name in enumerate(self.classes)}
        odd = [f"{id}: label {manifest[id].label!r}" for id in ids
               if manifest[id].label not in place]
        if odd:
            raise DataError(f"these utterances have none of the classes {self.classes}", odd,
                            "mend the label map or the classes of the corpus block")
        return {id: place[manifest[id].label] for id in ids}

    def learn_from(self, targets: Mapping[str, int]) -> None:
        """Take the class weights from the targets of the training part."""
        if self.balanced:
            counts = torch.bincount(torch.tensor(list(targets.values())),
                                    minlength=self.num_outputs).double()
            self._weights = (len(targets) / (len(counts) * counts.clamp(min=1))).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy (weighted mean with class weights), scalar float32."""
        weights = None if self._weights is None else self._weights.to(outputs.device)
        return F.cross_entropy(outputs.float(), targets, weights,
                               label_smoothing=self.label_smoothing)

    def loss_weight(self, targets: Tensor) -> float | Tensor:
        """Return what `loss` is a mean over."""
        if self._weights is None:
            return float(len(targets))
        return self._weights.to(targets.device)[targets].sum()

    def scores(
        self, manifest: Mapping[str, Record], ids: Sequence[str], outputs: Tensor
    ) -> dict[str, Any]:
        """Return UA, WA and more from outputs (n, K)."""
        said = [self.classes[index] for index in outputs.argmax(-1).tolist()]
        return classification_scores([manifest[id].label for id in ids], said, self.classes)

    def predictions(
        self, manifest: Mapping[str, Record], ids: Sequence[str], outputs: Tensor
    ) -> list[Prediction]:
        """Return predictions with probabilities from outputs (n, K)."""
        probabilities = outputs.double().softmax(-1)
        return [
            Prediction(id, manifest[id].speaker, manifest[id].label,
                       self.classes[int(row.argmax())], row.tolist())
            for id, row in zip(ids, probabilities, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Return what a saved model must carry to be understood."""
        return {"task": "classification", "classes": self.classes}


class Dimensions:
    """Affect dimensions, learned by concordance (1 - CCC over the batch).

    Args:
        names: any of arousal, valence, dominance, in the order of the outputs.
        scale: lowest and highest rating of the corpus; the model learns on 0 to 1.
    """

    select = "CCC"
    classes: list[str] = []

    def __init__(self, names: Sequence[str], scale: Sequence[float]):
        self.names = list(names)
        unknown = [f"{name} is none of {', '.join(DIMENSIONS)}" for name in self.names
                   if name not in DIMENSIONS]
        if unknown or not self.names:
            raise ConfigError(f"dimensions is {self.names}", unknown or ["name one at least"])
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"dimensions is {self.names}", ["name each once"])
        pair = scale if isinstance(scale, list | tuple) and len(scale) == 2 else (None, None)
        if not all(isinstance(end, int | float) for end in pair) or not pair[0] < pair[1]:
            raise ConfigError(f"scale is {scale!r}: give the lowest, then the highest rating")
        self.low, self.high = (float(end) for end in scale)

    @property
    def num_outputs(self) -> int:
        """Return the number of dimensions."""
        return len(self.names)

    def targets(self, manifest: Mapping[str, Record], ids: Sequence[str]) -> dict[str, Tensor]:
        """Return ratings (K,) on 0 to 1, by id.

        Raises:
            DataError: ratings that are missing or off the scale; all are listed.
        """
        rated = {id: self._ratings(manifest[id]) for id in ids}
        odd = [f"{id}: {name} is {value}" for id, values in rated.items()
               for name, value in values.items()
               if value is None or not self.low <= value <= self.high]
        if odd:
            raise DataError(
                f"these ratings are not numbers on the scale {self.low:g} to {self.high:g}", odd,
                "mend `scale` of the trainer, or leave these utterances out in prepare.py")
        span = self.high - self.low
        return {id: torch.tensor([(value - self.low) / span for value in values.values()])
                for id, values in rated.items()}

    def learn_from(self, targets: Mapping[str, Tensor]) -> None:
        """Take nothing from the training part."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return 1 - CCC, mean over the dimensions, scalar float32."""
        return concordance_loss(outputs, targets)

    def loss_weight(self, targets: Tensor) -> float:
        """Return the utterances of the batch."""
        return float(len(targets))

    def scores(
        self, manifest: Mapping[str, Record], ids: Sequence[str], outputs: Tensor
    ) -> dict[str, Any]:
        """Return CCC and more from outputs (n, K)."""
        predictions = self.predictions(manifest, ids, outputs)
        return dimensional_scores([p.reference for p in predictions],
                                  [p.prediction for p in predictions])

    def predictions(
        self, manifest: Mapping[str, Record], ids: Sequence[str], outputs: Tensor
    ) -> list[Prediction]:
        """Return predictions on the scale of the corpus from outputs (n, K)."""
        said = (outputs.double() * (self.high - self.low) + self.low).tolist()
        return [
            Prediction(id, manifest[id].speaker, self._ratings(manifest[id]),
                       dict(zip(self.names, row, strict=True)))
            for id, row in zip(ids, said, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Return what a saved model must carry to be understood."""
        return {"task": "dimensions", "dimensions": self.names, "scale": [self.low, self.high]}

    def _ratings(self, record: Record) -> dict[str, float | None]:
        return {name: getattr(record, name) for name in self.names}
