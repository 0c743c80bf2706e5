"""A recipe whose only stage writes results.json at once; tests copy it as run.py.

Files beside it steer it: `fail-<system>` makes a system fail, `wait-<system>` makes it wait until
it is asked to stop, `stuck` makes all wait longer, `meet` until two runs are there. `ran.txt`
lists what ran, and on which GPU.
"""

import os
import time
from pathlib import Path

from sertools.errors import DataError, Interrupted
from sertools.files import write_json
from sertools.recipe import Recipe, Stage

HERE = Path(__file__).parent


def report(job):
    """Write the results that the configuration names."""
    with open(HERE / "ran.txt", "a") as file:
        file.write(f"{job.system} {job.config['width']} "
                   f"{os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\n")
    if (HERE / f"fail-{job.system}").exists():
        raise DataError("the toy is broken", ["one wheel is missing; buy one"])
    if (HERE / "meet").exists():
        (HERE / f"here-{job.system}").touch()
        wait_for(lambda: len(list(HERE.glob("here-*"))) >= 2)
    if (HERE / f"wait-{job.system}").exists():
        (HERE / f"ready-{job.system}").touch()
        wait_for(job.should_stop)
        raise Interrupted("saved after 3 steps")
    if (HERE / "stuck").exists():
        (HERE / f"ready-{job.system}").touch()
        time.sleep(60)
    return [write_json(job.folder / "results.json", results(job))]


def wait_for(condition):
    """Wait until a condition holds, at most 30 s."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def results(job):
    """Return what stage report would write of one fold."""
    score = job.config["score"]
    entry = {"pooled": score, "low": score - 0.05, "high": score + 0.04, "std_over_seeds": 0.01,
             "mean_over_folds": score - 0.01, "std_over_folds": 0.02}
    protocol = job.config["protocol"]
    return {
        "format": 1, "task": "classification",
        "experiment": {"tag": job.tag, "system": job.system, "corpus": "toy"},
        "protocol": {"name": "x", "protocol": protocol, "own_table": protocol != "clean",
                     "reasons": [], "warnings": []},
        "coverage": {"missing": [], "seeds_counted": job.config["seeds"], "units_done": 1,
                     "units_total": 1, "folds_done": ["1"], "folds_total": 1, "n": 9,
                     "speakers": 3},
        "metrics": ["UA"], "summary": {"UA": entry}, "units": [],
        "further_tests": {"test2": {"summary": {"UA": {**entry, "pooled": score / 2}}}},
        "provenance": job.provenance(),
    }  # fmt: skip


recipe = Recipe(__file__, stages=[Stage(
    "report", report, does="write results", keys=("score", "width", "protocol", "seeds"),
    runtime=("data_folder", "device"))])

if __name__ == "__main__":
    recipe.main()
