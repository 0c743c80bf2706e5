"""Which trained model GEmo-CLAP starts from, what that one has learned from, and what to say of it.

A start is named by the folder `best` of a model, or by what lies above it: `train`, a unit's folder
(`exp/<tag>/fold<k>/seed<n>`), that of a fold, or an experiment, perhaps of another recipe. Where it
leaves a choice, seed n takes seed n, or the first seed there is; and a fold takes the fold of its
own name where the model was trained on the same corpus, else the first fold.

It may also be a file of the public transcription, `fold_<k>_best.pth`. It says nothing of
tokeniser, prompts and corpora: the tokeniser is then the trainer's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sertools.brains.base import DONE
from sertools.brains.best import DESCRIPTION, read_description
from sertools.brains.gemoclap_best import refuse_other_kinds
from sertools.brains.work import FoldWork
from sertools.data.record import Record
from sertools.errors import DataError
from sertools.files import read_json, sha256

BELOW = ("", "best", "train/best")
"""Where `best` lies below a folder that names one model."""
Corpora = dict[str, list[str] | None]
"""Corpus -> speakers that were learned from, those that chose the epoch included; None: unknown."""


@dataclass(frozen=True)
class Start:
    """A trained model to begin with."""

    best: Path
    """Its folder; of the public transcription the file."""
    description: dict[str, Any]
    words: str
    """Which model it is, without folders of this machine."""

    @property
    def corpora(self) -> Corpora | None:
        """Return what it was trained on, all that it started from included; None: unknown."""
        return self.description.get("trained_on", {}).get("corpora")

    @property
    def prompts(self) -> list[str]:
        """Return all prompts that were learned."""
        return learned_prompts(self.description)


def learned_prompts(description: Mapping[str, Any]) -> list[str]:
    """Return all prompts that a model was trained with, those of models before it included."""
    own = [text for texts in description["prompts"].values() for text in texts]
    return description.get("trained_on", {}).get("prompts", own)


def find_start(place: str | Path, work: FoldWork) -> Start:
    """Return the model that a unit starts from.

    Args:
        place: of the start, see above.
        work: the unit.

    Raises:
        DataError: there is no such model, or it is damaged.
        ConfigError: it is another kind of model.
    """
    place = Path(place)
    if place.is_file():
        about = {"tokeniser": None, "prompts": {}, "temperature": None, "sha256": sha256(place)}
        return Start(place, about, f"{place.name}, a file of the public transcription")
    best = next((place / name for name in BELOW if (place / name / DESCRIPTION).is_file()), None)
    same = False
    if best is None:
        best, same = _chosen(place, work)
    description = read_description(best)
    refuse_other_kinds(best, description)
    words = shown(best)
    if same:
        words = f"the same fold and seed of {words.rpartition('/fold')[0]}"
    return Start(best, description, words)


def _chosen(place: Path, work: FoldWork) -> tuple[Path, bool]:
    """Return the model of an experiment or fold; and whether fold and seed are the unit's own."""
    folds = [place] if place.name.startswith("fold") else _numbered(place, "fold")
    found = {fold.name[4:]: seeds for fold in folds if (seeds := {
        seed.name[4:]: seed / "train" / "best" for seed in _numbered(fold, "seed")
        if (seed / "train" / DONE).is_file() and (seed / "train/best" / DESCRIPTION).is_file()})}
    if not found:
        raise DataError(
            f"{place} holds no trained model",
            remedy="name the folder best of one, or an experiment whose stage train is done")
    name = next(iter(found))
    first = next(iter(found[name].values()))
    known = read_json(first / DESCRIPTION).get("trained_on", {}).get("corpora", {})
    own = set(known) & set(corpora_of(work.manifest.values()))
    if own and work.fold is not None and len(folds) > 1:
        if work.fold not in found:
            raise DataError(f"{place} has no trained model of fold {work.fold}, of the same corpus",
                            remedy="train it, or name the fold to start from: <experiment>/fold1")
        name = work.fold
    seeds = found[name]
    seed = str(work.seed) if str(work.seed) in seeds else next(iter(seeds))
    return seeds[seed], (name, seed) == (work.fold, str(work.seed)) and bool(own)


def _numbered(folder: Path, kind: str) -> list[Path]:
    """Return the folders fold1, fold2, ..., or seed1, ..., in their natural order."""
    found = [path for path in folder.glob(f"{kind}*") if path.is_dir()]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def shown(best: Path) -> str:
    """Return recipe, experiment, fold and seed of a model; else its folder's last two names."""
    parts = best.absolute().parts
    in_recipe = len(parts) > 7 and parts[-6] == "exp" and parts[-2:] == ("train", "best")
    return "/".join(parts[-7:-2] if in_recipe else parts[-2:])


# What is said of it


def corpora_of(records: Iterable[Record]) -> Corpora:
    """Return corpora and speakers; every id begins with the name of its corpus."""
    found: dict[str, set[str | None]] = {}
    for record in records:
        found.setdefault(record.id.partition("-")[0], set()).add(record.speaker)
    return {name: None if None in who else sorted(who) for name, who in sorted(found.items())}


def trained_on(start: Start | None, work: FoldWork, prompts: Iterable[str], trained: bool
               ) -> dict[str, Any]:
    """Return what a model's description says of all that it has learned from.

    Args:
        start: what it began with.
        work: the unit.
        prompts: its own.
        trained: whether anything was learned here.
    """
    corpora: Corpora | None = {} if start is None else start.corpora
    known = [] if start is None else start.prompts
    if trained:
        known = list(dict.fromkeys([*known, *prompts]))
        own = corpora_of(work.manifest[id] for id in (*work.train, *work.dev))
        corpora = None if corpora is None else {
            name: _joined([part[name] for part in (corpora, own) if name in part])
            for name in sorted({*corpora, *own})}
    return {"corpora": corpora, "prompts": known}


def _joined(speakers: Iterable[list[str] | None]) -> list[str] | None:
    known = list(speakers)
    return None if None in known else sorted(set().union(*known))


def said_of(start: Start, work: FoldWork, zero_shot: bool) -> tuple[list[str], list[str]]:
    """Return flags and notes that the results of a unit carry."""
    where = "on corpora that are not known" if start.corpora is None else (
        f"on {', '.join(start.corpora) or 'no corpus'}, with labels")
    notes = [f"the model starts from {start.words}, which was trained {where}"]
    if zero_shot:
        calibrated = "; labels of its dev part serve the calibration in this report alone"
        notes.append("zero-shot: nothing was learned here" + (calibrated if work.dev else ""))
    flags: list[str] = []
    for name, heard in corpora_of(_tested(work)).items():
        if name in (start.corpora or {}):
            said = _overlap(start.corpora[name], heard)
            (notes if said.startswith("but") else flags).append(
                f"the model it starts from was trained on {name}, {said}")
    return flags, notes


def _tested(work: FoldWork) -> list[Record]:
    """Return what is left for testing: all that is in no other part; if nothing is, dev."""
    for parts in ((work.train, work.dev), (work.train,)):
        used = {id for part in parts for id in part}
        left = [record for id, record in work.manifest.items() if id not in used]
        if left:
            return left
    return []


def _overlap(known: list[str] | None, tested: list[str] | None) -> str:
    if known is None or tested is None:
        return "probably on test speakers too"
    both = set(known) & set(tested)
    if not both:
        return "but not on the test speakers"
    share = "" if len(both) == len(tested) else f"{len(both)} of {len(tested)} "
    return f"{share}test speakers included"


def unknown_words(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return a note on tokens that a model never learned.

    Args:
        counts: unknown tokens and all tokens of every class's prompts.
    """
    odd = {name: count for name, count in counts.items() if count[0]}
    if not odd:
        return []
    unknown, total = (sum(count[at] for count in counts.values()) for at in (0, 1))
    listed = ", ".join(f"{name} {count[0]} of {count[1]}" for name, count in odd.items())
    return [f"{unknown} of {total} tokens of the prompts are unknown to the model it starts from: "
            f"{listed}"]
