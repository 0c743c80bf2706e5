"""The stages that most recipes share, as one-line entries for a recipe's list.

Each function returns a `Stage`: what it does, the config keys that change its outputs, the stages
it reads from. The work itself is in the module of the same name and is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Callable

from sertools.recipe import Stage
from sertools.stages import listing, pretraining_audio, sources

RUNTIME = ("data_folder", "device", "num_workers")
"""Keys that say where and how fast, never what."""


def download(function: Callable, keys: tuple[str, ...] = ()) -> Stage:
    """Fetch or make what may be fetched or made; `function(job)` puts it into `data_folder`.

    Args:
        function: returns the files that prove that everything is there.
        keys: the config keys that change what it fetches or makes.
    """
    return Stage(
        "download",
        function,
        does="get what may be downloaded into data_folder",
        keys=keys,
        runtime=("data_folder",),
        home="data",
    )


def prepare(records: Callable) -> Stage:
    """Turn the official release into a checked manifest and its folds.

    Args:
        records: `records(root, faults, **options)` of the corpus, which yields its utterances.
    """

    def run(job):
        from sertools.stages.prepare import prepare

        return prepare(job, records)

    return Stage(
        "prepare",
        run,
        does="official release -> checked manifest and folds",
        keys=("corpus", "protocol", "folds"),
        runtime=("data_folder",),
        after=("download",),
        needs=("corpus",),
        home="data",
        fingerprint=listing.fingerprint,
    )


def features() -> Stage:
    """Run a frozen upstream once over every utterance and keep its layers."""
    return Stage(
        "features",
        "sertools.stages.features:features",
        does="frozen upstream -> cached layers of every utterance",
        keys=("upstream", "feature_layers", "feature_seconds", "precision"),
        runtime=RUNTIME,
        after=("prepare",),
        requires="upstream",
        fingerprint=sources.fingerprint,
    )


def pretrain() -> Stage:
    """Learn an encoder from audio without labels."""
    return Stage(
        "pretrain",
        "sertools.stages.pretrain:pretrain",
        does="audio without labels -> an encoder",
        keys=("pretrainer", "pretraining_data", "precision"),
        runtime=RUNTIME,
        needs=("pretrainer", "pretraining_data"),
        parallel=True,
        precious=True,
        fingerprint=pretraining_audio.fingerprint,
    )


def train() -> Stage:
    """Train one model per fold and seed."""
    return Stage(
        "train",
        "sertools.stages.train:train",
        does="one model per fold and seed",
        keys=("trainer", "precision", "corpus"),
        runtime=RUNTIME,
        after=("prepare", "features"),
        needs=("corpus", "trainer"),
        units=True,
        parallel=True,
        fingerprint=sources.fingerprint,
    )


def evaluate() -> Stage:
    """Predict the dev and test utterances of each fold and score them."""
    return Stage(
        "evaluate",
        "sertools.stages.evaluate:evaluate",
        does="predictions and scores per fold and seed",
        keys=("trainer", "precision", "corpus"),
        runtime=RUNTIME,
        after=("prepare", "features", "train"),
        needs=("corpus", "trainer"),
        units=True,
        parallel=True,
    )


def report() -> Stage:
    """Gather all folds and seeds into tables, JSON and a page."""
    return Stage(
        "report",
        "sertools.stages.report:report",
        does="all folds and seeds -> RESULTS.md, results.json, report.html",
        keys=("corpus", "protocol", "seeds", "upstream", "trainer"),
        after=("prepare", "train", "evaluate"),
        needs=("corpus",),
    )
