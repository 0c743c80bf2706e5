"""The stages that most recipes share, as one-line entries for a recipe's list.

Each function returns a `Stage`: what it does, the config keys that change its outputs, the stages
it reads from. The work itself is in the module of the same name and is imported when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sertools.recipe import Stage
from sertools.stages import chain, listing

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
    """Run what is frozen once: an upstream over the corpus, a teacher over pretraining's audio."""
    return Stage(
        "features",
        "sertools.stages.features:features",
        does="a frozen upstream's layers, a teacher's targets -> cache",
        keys=("upstream", "feature_layers", "feature_seconds", "precision", "pretrainer",
              "pretraining_data", "pretrained"),
        runtime=(*RUNTIME, "corpus"),
        after=("prepare",),
        when={"prepare": chain.hears_upstream},
        requires=chain.caches,
        serves=chain.served_by_features,
        narrow=chain.narrow_features,
        fingerprint=chain.features_fingerprint,
    )


def pretrain() -> Stage:
    """Learn an encoder from audio without labels, unless `pretrained` names one."""
    return Stage(
        "pretrain",
        "sertools.stages.pretrain:pretrain",
        does="audio without labels -> an encoder",
        keys=("pretrainer", "pretraining_data", "precision"),
        runtime=(*RUNTIME, "corpus", "pretrained"),
        after=("features",),
        # Targets follow from our own keys and files, and may be deleted once all is learned.
        when={"features": lambda config: False},
        requires=chain.pretrains,
        needs=("pretraining_data",),
        parallel=True,
        precious=True,
        home="shared",
        fingerprint=chain.pretraining_fingerprint,
    )


def train() -> Stage:
    """Train one model per fold and seed."""
    return Stage(
        "train",
        "sertools.stages.train:train",
        does="one model per fold and seed",
        first="sertools.stages.layers:cache_layers",
        fingerprint=chain.units_fingerprint,
        **_of_units("prepare", "features", "pretrain"),
    )


def evaluate() -> Stage:
    """Predict the dev and test utterances of each fold and score them."""
    return Stage(
        "evaluate",
        "sertools.stages.evaluate:evaluate",
        does="predictions and scores per fold and seed",
        first="sertools.stages.layers:cache_layers",
        **_of_units("prepare", "features", "pretrain", "train"),
    )


def _of_units(*after: str) -> dict[str, Any]:
    """Return what the stages of a unit, a fold and a seed, have in common."""
    return {
        "keys": ("trainer", "precision", "corpus", "pretrained", "pretrainer", "feature_layers",
                 "feature_seconds"),
        "runtime": (*RUNTIME, "upstream"),
        "after": after,
        "when": {"features": chain.hears_upstream},
        "narrow": chain.narrow_units,
        "needs": ("corpus", "trainer"),
        "units": True,
        "parallel": True,
    }


def report() -> Stage:
    """Gather all folds and seeds into tables, JSON and a page."""
    return Stage(
        "report",
        "sertools.stages.report:report",
        does="all folds and seeds -> RESULTS.md, results.json, report.html",
        keys=("corpus", "protocol", "seeds", "upstream", "trainer", "pretrained", "pretrainer"),
        after=("prepare", "pretrain", "train", "evaluate"),
        needs=("corpus",),
    )
