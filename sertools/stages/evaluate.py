"""Stage evaluate: read dev and every test part once, write predictions and scores."""

from __future__ import annotations

from pathlib import Path

from sertools.files import write_json
from sertools.scoring.predictions import write_predictions
from sertools.scoring.relevance import write_relevance
from sertools.scoring.unit import score_unit
from sertools.stages.unit import fold_of, fold_work

DEV, TEST, SCORES = "dev.jsonl", "test.jsonl", "scores.json"


def further_file(name: str) -> str:
    """Return the name of the file with the predictions of a further test part."""
    return f"test_{name}.jsonl"


def evaluate(job) -> list[Path]:
    """Write predictions of the dev and test parts and the scores of the test part."""
    fold = fold_of(job)
    work = fold_work(job, fold)
    trainer = job.build("trainer")
    dev = trainer.predict(work, fold.dev)
    test = dev if fold.test == fold.dev else trainer.predict(work, fold.test)
    further = {name: trainer.predict(work, ids) for name, ids in fold.further.items()}
    measured = trainer.measure(work, fold.test) if hasattr(trainer, "measure") else None
    if job.rank != 0:
        return []
    scores = score_unit(dev, test, work.classes)
    outputs = [job.folder / name for name in (DEV, TEST, SCORES)]
    write_predictions(outputs[0], dev)
    write_predictions(outputs[1], test)
    write_json(outputs[2], scores)
    outputs += [write_predictions(job.folder / further_file(name), predictions)
                for name, predictions in further.items()]
    outputs += [] if measured is None else write_relevance(job.folder, measured)
    shown = ", ".join(
        f"{name} {scores[name]:.3f}" for name in ("UA", "WA", "CCC")
        if scores.get(name) is not None
    )
    job.say(f"test {shown or 'scores are not defined'} on {len(test)} utterances")
    return outputs
