"""Stage report: every fold and seed that is done -> RESULTS.md, results.json, report.html."""

from __future__ import annotations

import json
from pathlib import Path

from sertools.brains.best import DESCRIPTION
from sertools.brains.cost import COST
from sertools.data.folds import Fold, read_folds
from sertools.data.prepare import SUMMARY
from sertools.files import read_json
from sertools.models.weights.heard import in_domain
from sertools.report.aggregate import aggregate
from sertools.report.terminal import print_report
from sertools.report.units import ReportMeta, UnitResult
from sertools.report.write import write_report
from sertools.scoring.predictions import read_predictions
from sertools.scoring.relevance import read_relevance
from sertools.stages.evaluate import DEV, SCORES, TEST, further_file
from sertools.stages.given import encoder_of, prepared
from sertools.stages.origin import teacher_of, told
from sertools.stages.sources import sources

TRAINING_FACTS = ("parameters", "encoder", "seconds", "device", "best_epoch", "finished")
"""What trainers may note about a unit in training.json and cost.json."""


def report(job) -> list[Path]:
    """Gather the units, write the three files and print the table."""
    corpus = job.build("corpus")
    split = read_folds(prepared(job, "folds"))
    summary = read_json(prepared(job, SUMMARY))
    folds = {fold.name: fold for fold in split.folds}
    units = [_unit(job, folds[fold], seed) for fold, seed in job.units]
    facts = [_facts(job, fold, seed) for fold, seed in job.units]
    flags, notes = ([text for fact in facts for text in fact.get(name, [])]
                    for name in ("flags", "notes"))
    heard = _in_domain(job, corpus.name, {item.speaker for unit in units for item in unit.test})
    encoder = encoder_of(job)
    meta = ReportMeta(
        tag=job.tag,
        system=job.system,
        corpus=corpus.name,
        language=corpus.language,
        protocol=split.protocol,
        protocol_name=split.name,
        flags=[*split.flags, *dict.fromkeys(flags)],
        warnings=[*heard, *summary.get("warnings", []), *split.notes, *dict.fromkeys(notes)],
        in_domain_pretraining=bool(heard),
        folds=list(folds),
        part=split.folds[0].part,
        seeds=job.config.get("seeds") or [1],
        provenance=job.provenance() | (_origin(job, encoder) if encoder else {}),
        artefacts={"units": f"exp/{job.tag}/fold<fold>/seed<seed>", "log": f"exp/{job.tag}/log"},
    )
    results = aggregate(units, corpus.classes, meta)
    outputs = write_report(results, job.folder)
    print_report(results)
    job.say(f"written: {', '.join(str(path) for path in outputs)}")
    return outputs


def _origin(job, encoder: str) -> dict:
    """Return what the results say about where our encoder comes from."""
    frozen = job.config["trainer"].get("inputs") != "audio"
    teacher = teacher_of(encoder, frozen)
    return {"pretraining": told(encoder), **({"teacher": teacher} if teacher else {})}


def _in_domain(job, corpus: str, speakers: set[str | None]) -> list[str]:
    """Say for each encoder that is heard whether it knows the corpus's audio already.

    What the teacher of our own encoder has heard is noted with that encoder.
    """
    heard = {*sources(job.config, without=("pretrainer",)), encoder_of(job)} - {None}
    said = [in_domain(source, corpus, speakers) for source in sorted(heard)]
    return [text for text in dict.fromkeys(said) if text]


def _unit(job, fold: Fold, seed: int) -> UnitResult:
    evaluated, trained = (job.folder_of(stage, fold.name, seed) for stage in ("evaluate", "train"))
    facts = _facts(job, fold.name, seed)
    metrics = trained / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    return UnitResult(
        fold=fold.name,
        seed=seed,
        scores=read_json(evaluated / SCORES),
        test=read_predictions(evaluated / TEST),
        dev=read_predictions(evaluated / DEV),
        further={name: read_predictions(evaluated / further_file(name)) for name in fold.further},
        history=[json.loads(line) for line in lines],
        layer_weights=_layer_weights(trained),
        relevance=read_relevance(evaluated),
        **{name: facts.get(name) for name in TRAINING_FACTS},
    )


def _facts(job, fold: str, seed: int) -> dict:
    """Return what the trainer noted about the unit: its end and its cost."""
    folder = job.folder_of("train", fold, seed)
    cost = folder / COST
    return read_json(folder / "training.json") | (read_json(cost) if cost.is_file() else {})


def _layer_weights(folder: Path) -> list[float] | None:
    """Return the layer weights of a unit's head, if it learned any."""
    best = folder / "best" / DESCRIPTION
    return read_json(best).get("layer_weights") if best.is_file() else None
