"""Everything that is said about one unit (one fold with one seed), as plain JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sertools.errors import DataError
from sertools.scoring.calibration import calibrate
from sertools.scoring.classification import METRICS, chance_levels, classification_scores
from sertools.scoring.dimensions import dimensional_scores
from sertools.scoring.predictions import Prediction


def score_unit(
    dev: Sequence[Prediction], test: Sequence[Prediction], classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Score the test predictions of one unit; dev only fits the temperature and is reported.

    Args:
        dev: predictions of the part that chose the model; may be empty.
        test: predictions of the held-out part.
        classes: class order of the task; not used for dimensions.

    Returns:
        `task`, the scores of `classification_scores` or `dimensional_scores`, `speakers`
        (None when unknown), `dev` scores, and for classes also `chance` and `calibrate`'s values.

    Raises:
        DataError: no test utterance, unknown classes, or classes mixed with dimensions.
    """
    if not test:
        raise DataError("no test predictions to score", remedy="run evaluate again for this fold")
    if len({item.dimensional for item in [*dev, *test]}) > 1:
        raise DataError("these predictions mix classes with dimensions")
    scores = {"task": "dimensions" if test[0].dimensional else "classification"}
    scores |= score_predictions(test, classes)
    known = {item.speaker for item in test}
    scores["speakers"] = None if None in known else len(known)
    if not test[0].dimensional:
        scores["chance"] = chance_levels(np.array(scores["confusion"]))
        scores |= calibrate(dev, test, classes)
    scores["dev"] = _brief(score_predictions(dev, classes)) if dev else None
    return scores


def score_predictions(
    predictions: Sequence[Prediction], classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return `classification_scores` or `dimensional_scores` of predictions, as fits them."""
    references = [item.reference for item in predictions]
    answers = [item.prediction for item in predictions]
    if predictions and predictions[0].dimensional:
        return dimensional_scores(references, answers)
    return classification_scores(references, answers, classes)


def _brief(scores: dict[str, Any]) -> dict[str, Any]:
    kept = [name for name in scores if name in METRICS or name == "n" or name.startswith("CCC")]
    return {name: scores[name] for name in kept}
