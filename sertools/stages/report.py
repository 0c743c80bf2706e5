"""Stage report: every fold and seed that is done -> RESULTS.md, results.json, report.html."""

from __future__ import annotations

from pathlib import Path

from sertools.data.prepare import SUMMARY
from sertools.data.protocol import read_folds
from sertools.files import read_json
from sertools.report.aggregate import aggregate
from sertools.report.terminal import print_report
from sertools.report.units import ReportMeta, UnitResult
from sertools.report.write import write_report
from sertools.scoring.predictions import read_predictions
from sertools.stages.evaluate import DEV, SCORES, TEST
from sertools.stages.unit import prepared


def report(job) -> list[Path]:
    """Gather the units, write the three files and print the table."""
    corpus = job.build("corpus")
    split = read_folds(prepared(job, "folds"))
    summary = read_json(prepared(job, SUMMARY))
    units = [_unit(job, fold, seed) for fold, seed in job.units]
    meta = ReportMeta(
        tag=job.tag,
        system=job.tag,
        corpus=corpus.name,
        language=corpus.language,
        protocol=split.protocol,
        protocol_name=split.name,
        flags=split.flags,
        warnings=[*summary.get("warnings", []), *split.notes],
        folds=[fold.name for fold in split.folds],
        seeds=job.all_seeds,
        provenance=job.provenance(),
    )
    results = aggregate(units, corpus.classes, meta)
    outputs = write_report(results, job.folder)
    print_report(results)
    job.say(f"written: {', '.join(str(path) for path in outputs)}")
    return outputs


def _unit(job, fold: str, seed: int) -> UnitResult:
    trained = job.folder_of("train", fold, seed)
    evaluated = job.folder_of("evaluate", fold, seed)
    facts = read_json(trained / "training.json")
    history = trained / "metrics.jsonl"
    return UnitResult(
        fold=fold,
        seed=seed,
        scores=read_json(evaluated / SCORES),
        test=read_predictions(evaluated / TEST),
        dev=read_predictions(evaluated / DEV),
        history=[read_line(line) for line in history.read_text().splitlines()]
        if history.is_file()
        else [],
        **facts,
    )
