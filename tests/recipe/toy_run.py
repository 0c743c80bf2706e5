"""A recipe of small text files; tests copy it into a folder of their own as run.py.

`ran.txt` lists what ran, one line per stage or unit. `TOY_FAULT=<what>@<stage>[/<fold>/<seed>]`
makes one call misbehave: kill, kill-late, wait (until asked to stop), bug, data, full (a full
disk), meddle (with shared files).
"""

import json
import os
import signal
import threading
from pathlib import Path

from sertools.errors import DataError, Interrupted
from sertools.recipe import Recipe, Stage

HERE = Path(__file__).parent


def leave(job, name, *parts):
    """Note the call, misbehave if asked to, write one output."""
    what = name if job.fold is None else f"{name}/{job.fold}/{job.seed}"
    if job.rank == 0:
        with open(HERE / "ran.txt", "a") as file:
            file.write(what + "\n")
    fault, _, place = os.environ.get("TOY_FAULT", "").partition("@")
    path = job.folder / f"{name}.txt"
    half = job.folder / "half.txt"
    if half.exists():
        job.say(f"{what} found half of its work")
    if place == what:
        half.write_text("half")
        misbehave(job, fault)
    path.write_text(" ".join(map(str, parts)))
    if place == what and fault == "kill-late":
        os.kill(os.getpid(), signal.SIGKILL)
    return [path] if job.rank == 0 else []


def misbehave(job, fault):
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "wait":
        (HERE / f"ready{job.rank}").write_text(str(os.getpid()))
        while not job.should_stop():
            threading.Event().wait(0.01)
        raise Interrupted("saved after 7 steps")
    if fault == "stuck":
        (HERE / f"ready{job.rank}").write_text(str(os.getpid()))
        threading.Event().wait(60)
    if fault == "meddle":
        (job.data / "utts.json").write_text("another run's")
    if fault == "bug":
        raise ZeroDivisionError("a bug of the toy")
    if fault == "full":
        Path("/dev/full").write_text("more")
    if fault == "data":
        raise DataError("2 files are broken", ["a.wav: empty; delete it", "b.wav: cut; copy it"])


def listing(config):
    return ",".join(sorted(path.name for path in Path(config["data_folder"]).iterdir()))


def prepare(job):
    folds = job.home / "folds" / f"{job.config['protocol']}.json"
    folds.parent.mkdir(parents=True, exist_ok=True)
    names = [str(number + 1) for number in range(job.config["folds"]["count"])]
    folds.write_text(json.dumps({"folds": [{"name": name} for name in names]}))
    manifest = job.home / "utts.json"
    files = listing(job.config)
    manifest.write_text(f"{files} {job.config['corpus']}")
    return [manifest, folds, *leave(job, "prepare")]


def features(job):
    return leave(job, "features", job.config["upstream"])


def train(job):
    text = [path.read_text() for path in job.outputs_of("prepare")[:1]]
    return leave(job, "train", job.config["optim"], *text, job.world_size, job.fold, job.seed)


def evaluate(job):
    weights = job.folder_of("train") / "train.txt"
    return leave(job, "evaluate", weights.read_text(), job.config.get("beam", 1))


def report(job):
    scores = [path.read_text() for path in job.outputs_of("evaluate")]
    return leave(job, "report", job.command, len(scores), job.units, *scores)


recipe = Recipe(
    __file__,
    stages=[
        Stage("prepare", prepare, "files -> manifest", keys=("corpus", "protocol", "folds"),
              runtime=("data_folder",), home="data", fingerprint=listing),
        Stage("features", features, "features", keys=("upstream",), after=("prepare",),
              requires="upstream"),
        Stage("train", train, "weights", keys=("optim", "model"), runtime=("workers",),
              after=("prepare", "features"), units=True, parallel=True),
        Stage("evaluate", evaluate, "scores", keys=("beam",), runtime=("workers",),
              after=("train",), units=True),
        Stage("report", report, "tables", keys=("title",), after=("evaluate",)),
    ],
)

if __name__ == "__main__":
    recipe.main()
