"""Which corpora a pretrained encoder has heard: what is published, and what our own folders say."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from sertools.files import read_json

UNLABELLED = ("IEMOCAP", "MELD", "CMU-MOSEI", "MOSEI", "MEAD", "MSP-Podcast")
"""Audio of emotion2vec's pretraining, 262 h (arXiv 2312.15185, table of datasets); CMU-MOSEI goes
by two names."""
LABELLED = (
    "AESDD", "ASED", "ASVP-ESD", "CaFE", "CASIA", "CREMA-D", "EMNS", "EmoDB", "EmoV-DB", "EMOVO",
    "Emozionalmente", "eNTERFACE", "ESD", "IEMOCAP", "JL-Corpus", "M3ED", "MEAD", "MELD",
    "MER2023", "MESD", "MSP-Podcast", "Oreau", "PAVOQUE", "Polish", "RAVDESS", "RESD", "SAVEE",
    "ShEMO", "SUBESCO", "TESS", "TurEV-DB", "URDU",
)  # fmt: skip
"""Corpora whose training parts, with labels, fine-tuned emotion2vec+ (README of
github.com/ddlBoJack/emotion2vec, the 32 sets of EmoBox)."""
BASE = "emotion2vec_base"
PLUS = ("emotion2vec_plus_seed", "emotion2vec_plus_base", "emotion2vec_plus_large")

Heard = dict[str, list[str] | None]
"""Corpus -> its speakers that were heard; None where they are unknown."""


def pretrained_on(source: str | Path) -> Heard:
    """Return the corpora whose audio an encoder has heard; empty if nothing is known of it.

    Of Vesper no weights are published, so that a file of it is known by its pretraining alone.

    Args:
        source: of an encoder, as `load_encoder` takes it: a published one is known by its name, a
            folder of our own by its config.json, or by the audio.json of the pretraining that it
            still lies in.
    """
    said = _own(Path(source))
    if said is not None:
        return said
    return dict.fromkeys(UNLABELLED if _published(source) else ())


def _own(folder: Path) -> Heard | None:
    """Return what a folder of our own says, whatever it is called; None if it says nothing."""
    said = _read(folder / "config.json").get("pretrained_on")
    if said is not None:
        return dict(said)
    places = [parent / "audio.json" for parent in folder.absolute().parents[:2]]
    found = next(filter(None, (_read(place).get("corpora") for place in places)), None)
    return None if found is None else dict.fromkeys(found)


def _read(path: Path) -> dict:
    """Return what a JSON file says, nothing if there is none."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def in_domain(source: str | Path, corpus: str, speakers: Collection[str | None]) -> str | None:
    """Say that an encoder has heard a corpus before, in words; None if that is not known.

    Args:
        source: of the encoder.
        corpus: its name, in any spelling.
        speakers: of the test part; None among them where unknown.
    """
    own = _own(Path(source)) is not None
    if not own and _published(source) in PLUS and _plain(corpus) in map(_plain, LABELLED):
        return "the encoder was fine-tuned on this corpus's training part, with its labels"
    heard = {_plain(name): who for name, who in pretrained_on(source).items()}
    if _plain(corpus) not in heard:
        return None
    known, tested = heard[_plain(corpus)], set(speakers)
    if known is None or None in tested:
        which = "probably test speakers too"
    elif tested <= set(known):
        which = "test speakers included"
    elif tested & set(known):
        which = f"{len(tested & set(known))} of {len(tested)} test speakers included"
    else:
        which = "but not on the test speakers"
    return f"the encoder was pretrained on this corpus's audio, {which}, without labels"


def _published(source: str | Path) -> str | None:
    """Return the published name that an id, a file or a folder of the hub's cache goes by."""
    parts = re.split(r"[/\\]|--", str(source).partition("@")[0])
    names = {part.removesuffix(".pt") for part in parts}
    return next((name for name in (BASE, *PLUS) if name in names), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
