"""Which encoder a recipe's head hears, and what of the configuration that makes a stage depend on.

An upstream's cached layers (`upstream`); or an encoder that the recipe pretrains itself
(`pretrainer`) or is given (`pretrained`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sertools.data.feature_shards import digest
from sertools.stages import pretraining_audio, sources

OF_TARGETS = ("!new", "teacher", "teacher_layers", "targets", "frontend", "crop", "crop_seconds")
"""Options of a pretrainer that what it caches depends on; all others leave the cache as it is."""
OF_CONVOLUTIONS = ("layers", "initialisation", "blocks", "padding", "dim", "num_heads", "ffn_dim",
                   "seed")
"""Further ones where the student's own convolutions are cached."""


def hears_upstream(config: Mapping) -> bool:
    """Say whether the head hears an upstream's cached layers."""
    return config.get("upstream") is not None


def pretrains(config: Mapping) -> bool:
    """Say whether the recipe pretrains an encoder: none is given."""
    return config.get("pretrainer") is not None and config.get("pretrained") is None


def has_encoder(config: Mapping) -> bool:
    """Say whether an encoder of this run, or a given one, is to be heard."""
    return pretrains(config) or config.get("pretrained") is not None


def caches_targets(config: Mapping) -> bool:
    """Say whether the pretraining reads a teacher's frames, or convolutions, from a cache."""
    options = config.get("pretrainer")
    if not pretrains(config) or not isinstance(options, Mapping) or "teacher" not in options:
        return False
    if options.get("epochs") == 0:  # nothing is learned
        return False
    return "cached" in (options.get("targets", "cached"), options.get("frontend"))


def caches(config: Mapping) -> bool:
    """Say whether anything is to be cached before a training."""
    return hears_upstream(config) or caches_targets(config)


def served_by_features(config: Mapping) -> str | None:
    """Return the stage for whose sake alone features are cached, if there is such a one."""
    return None if hears_upstream(config) else "pretrain"


def narrow_features(values: dict[str, Any]) -> dict[str, Any]:
    """Leave of the keys of stage features what its caches depend on."""
    kept, pretrainer = dict(values), values["pretrainer"]
    if caches_targets(values):
        more = OF_CONVOLUTIONS if pretrainer.get("frontend") == "cached" else ()
        kept["pretrainer"] = {name: pretrainer.get(name) for name in (*OF_TARGETS, *more)}
    else:
        kept.update(pretrainer=None, pretraining_data=None)
    if not hears_upstream(values):
        kept.update(feature_layers=None, feature_seconds=None)
    return kept | {"pretrained": None}


def narrow_units(values: dict[str, Any]) -> dict[str, Any]:
    """Leave of the keys of a unit what it depends on; its inputs stand for the rest."""
    kept = values | {"pretrainer": None}
    if not has_encoder(values):
        kept.update(feature_layers=None, feature_seconds=None)
    return kept


def features_fingerprint(config: Mapping) -> str | None:
    """Return a hash over the upstream's or the teacher's files, and over the teacher's audio."""
    audio = pretraining_audio.fingerprint(config) if caches_targets(config) else None
    return _joined(sources.fingerprint(config, without=("pretrained",)), audio)


def pretraining_fingerprint(config: Mapping) -> str | None:
    """Return a hash over the audio of a pretraining and the files of its teacher."""
    return _joined(pretraining_audio.fingerprint(config),
                   sources.fingerprint(config, without=("pretrained",)))


def units_fingerprint(config: Mapping) -> str | None:
    """Return a hash over files that units need and the recipe does not make: encoders, starts."""
    return _joined(sources.fingerprint(config, without=("pretrainer", "upstream")),
                   sources.start_of(config))


def _joined(*found: str | None) -> str | None:
    """Return one hash of several; a single one as it is."""
    known = [each for each in found if each is not None]
    return digest(known) if len(known) > 1 else next(iter(known), None)
