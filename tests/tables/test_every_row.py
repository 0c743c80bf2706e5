"""Every run of every table ends with a report, in a small form: no configuration can rot."""

import itertools
from pathlib import Path

import pytest
import tiny_models
from releases import RELEASES
from sertools.tables import Registry, Run, read_registry
from smoke import Smoke

EGS = Path(__file__).resolve().parents[2] / "egs"


def runs_of(registry: Registry) -> dict[Run, tuple[Run, ...]]:
    """Return all different runs and those that they need, those that are needed too."""
    rows = [(table, row) for table in registry.tables for row in table.rows]
    found = {run: row.needs for table, row in rows for run in table.runs_of(row)}
    needed = itertools.chain.from_iterable(row.needs for _, row in rows)
    return {**dict.fromkeys(needed, ()), **found}


RUNS = runs_of(read_registry(EGS))


def name_of(run: Run) -> str:
    """Return what names a run; its first two words keep those together that share most."""
    return " ".join([run.recipe, run.config, *run.arguments[1:]])


@pytest.fixture(scope="session")
def smoke(repository, tmp_path_factory) -> Smoke:
    """Return the folder in which all runs are made."""
    return Smoke(repository, tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("run", [
    pytest.param(run, id=name_of(run))
    for run in sorted(RUNS, key=lambda run: (run.recipe, run.config))
])  # fmt: skip
def test_run_ends_with_its_report(smoke, run):
    outcome = smoke.run(run, RUNS[run])
    if outcome.results is None:  # its end is an encoder
        assert (outcome.pretrained / "best/encoder/config.json").is_file()
        assert run.recipe == "pretrain"
        return
    results = outcome.results
    assert results["coverage"]["units_done"] == 1 and results["experiment"]["corpus"] == run.recipe
    assert results["protocol"]["protocol"] == dict(run.options).get("protocol", "clean")
    assert -1 <= results["summary"]["CCC" if "CCC" in results["summary"] else "UA"]["pooled"] <= 1


def test_an_encoder_or_corpus_that_is_not_known_is_told():
    with pytest.raises(LookupError, match="some/dragon: .* knows no tiny encoder"):
        tiny_models.maker_of("some/dragon")
    with pytest.raises(LookupError, match="knows no tiny encoder"):
        tiny_models.maker_of("../pretrain/exp/dragon_pretrainer.teacher=wavlm/pretrain/best/encoder")
    assert {run.recipe for run in RUNS} <= {*RELEASES, "mini", "pretrain"}
