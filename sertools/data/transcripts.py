"""What was said: by the corpus, or by a file of a speech recogniser, and how far they differ.

Texts are handed on as they are, unless `normalise` asks for `plain`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sertools.data.recognised import read_recognised
from sertools.data.record import Record
from sertools.errors import ConfigError, DataError
from sertools.files import sha256

CORPUS = "corpus"
NORMALISE = ("none", "plain")
UNITS = ("word", "character")


@dataclass(frozen=True)
class Read:
    """The texts of some utterances, and what is to be said of them."""

    texts: dict[str, str]
    """Text by id, "" where there is none."""
    missing: list[str]
    """Ids of which the source knows nothing."""
    empty: list[str]
    """Ids of which the source says that no word was spoken or recognised."""
    flags: list[str]
    """What a result should say of them, as sentences."""


@dataclass(frozen=True)
class WordErrors:
    """Errors of recognised texts against human ones."""

    errors: int
    """Substitutions, deletions and insertions."""
    words: int
    """Words (or characters) of the human texts."""
    utterances: int
    """Utterances that were compared; the others have no human text."""
    unit: str
    """What was counted: word or character."""
    normalise: str
    """What was done to both texts before: none or plain."""

    @property
    def rate(self) -> float | None:
        """Return errors per word, which may exceed 1; None if no word was compared."""
        return self.errors / self.words if self.words else None


class Transcripts:
    """One source of texts.

    Args:
        source: "corpus" for the texts of the manifest, or a file as `data.recognised` reads.
        model: name of the recogniser, for results; needed with a file, and with nothing else.
        allow_missing: let utterances go without text of which the file knows nothing.
        allow_unknown: let the file have utterances that the manifest has not.
        normalise: what is done to every text: "none", or "plain", see `plain`.

    Raises:
        ConfigError: settings that contradict each other.
    """

    def __init__(
        self,
        source: str | Path = CORPUS,
        model: str | None = None,
        allow_missing: bool = False,
        allow_unknown: bool = False,
        normalise: str = "none",
    ):
        self.source, self.model = str(source), model
        self.allow_missing, self.allow_unknown = allow_missing, allow_unknown
        self.normalise = normalise
        problems = []
        if self.of_corpus and model is not None:
            problems.append(f"model is {model!r}, but the source is the corpus")
        if not self.of_corpus and not model:
            problems.append(f"{self.source} comes from a recogniser: name it by model")
        if normalise not in NORMALISE:
            problems.append(f"normalise is {normalise!r}; choose from {', '.join(NORMALISE)}")
        if problems:
            raise ConfigError("The transcripts cannot be had as configured.", problems)

    @property
    def of_corpus(self) -> bool:
        """Say whether the texts are the corpus's own."""
        return self.source == CORPUS

    @property
    def identity(self) -> str:
        """Return what the texts depend on besides the manifest."""
        content = CORPUS if self.of_corpus else sha256(self._file())
        return f"{content} {self.normalise}"

    def texts(self, manifest: Mapping[str, Record], ids: Iterable[str]) -> dict[str, str]:
        """Return the text of every id, "" where there is none; see `read`."""
        return self.read(manifest, ids).texts

    def read(self, manifest: Mapping[str, Record], ids: Iterable[str]) -> Read:
        """Return the texts of `ids`, what they lack, and how that is to be said.

        Raises:
            DataError: ids that the manifest lacks; a file with faults, all of them; utterances
                without a line in it; a source without a single word.
        """
        ids = list(ids)
        found = self._found(manifest, ids)
        texts = {id: self._normalised(found.get(id) or "") for id in ids}
        missing = [id for id in ids if found.get(id) is None]
        empty = [id for id in ids if found.get(id) is not None and not texts[id].strip()]
        if ids and len(missing) + len(empty) == len(ids):
            raise DataError(
                f"None of {len(ids)} utterances has a text in {self._name}.",
                remedy="name a recogniser's file of them by transcripts, or leave the text out",
            )
        flags = [] if self.of_corpus else [f"texts recognised by {self.model}"]
        if missing:
            flags.append(f"{len(missing)} of {len(ids)} utterances have no transcript")
        if empty:
            flags.append(f"the transcripts of {len(empty)} of {len(ids)} utterances are empty")
        return Read(texts, missing, empty, flags)

    def wer(
        self,
        manifest: Mapping[str, Record],
        ids: Iterable[str],
        unit: str = "word",
        normalise: str = "plain",
    ) -> WordErrors | None:
        """Compare a recogniser's texts with the corpus's own; None if these are the corpus's own.

        Errors and words are summed over all utterances with a human text (also an empty one)
        before they are divided. Utterances that the file may lack count as deletions.

        Args:
            manifest: records by id.
            ids: utterances to compare.
            unit: "word", or "character" (without blanks) for scripts without blanks.
            normalise: what is done to both texts before they are compared.
        """
        from sertools.scoring.word_errors import edit_distance

        if unit not in UNITS or normalise not in NORMALISE:
            raise ConfigError(
                f"unit is {unit!r}, normalise is {normalise!r}.",
                remedy=f"choose from {', '.join(UNITS)} and from {', '.join(NORMALISE)}",
            )
        if self.of_corpus:
            return None
        heard = self._found(manifest, ids := list(ids))
        errors = words = compared = 0
        for id in ids:
            if (spoken := manifest[id].text) is None:
                continue
            compared += 1
            reference, hypothesis = (
                units(plain(text) if normalise == "plain" else text, unit)
                for text in (spoken, heard.get(id) or "")
            )
            errors += edit_distance(reference, hypothesis)
            words += len(reference)
        return WordErrors(errors, words, compared, unit, normalise)

    @property
    def _name(self) -> str:
        return "the corpus" if self.of_corpus else self.source

    def _normalised(self, text: str) -> str:
        return plain(text) if self.normalise == "plain" else text

    def _found(self, manifest: Mapping[str, Record], ids: list[str]) -> dict[str, str | None]:
        """Return the text by id for what the source knows, checked against the manifest."""
        if absent := [id for id in ids if id not in manifest]:
            raise DataError("Utterances are not in the manifest.", absent)
        if self.of_corpus:
            return {id: manifest[id].text for id in ids}
        found, problems = read_recognised(self._file())
        if not self.allow_unknown:
            problems += [f"{id!r} is not in the manifest" for id in found if id not in manifest]
        if not self.allow_missing:
            problems += [f"{id!r} has no line" for id in ids if id not in found]
        if problems:
            raise DataError(
                f"{self.source}: {len(problems)} faults.", problems,
                "mend the file; utterances without a line can be allowed (transcripts_missing of "
                "the trainer)",
            )  # fmt: skip
        return dict(found)

    def _file(self) -> Path:
        path = Path(self.source)
        if not path.is_file():
            raise ConfigError(
                f"{path}: no such file.", remedy="name a recogniser's file, or write corpus"
            )
        return path


def plain(text: str) -> str:
    """Return a text as NFKC, casefolded, without punctuation, one blank between words.

    Apostrophes inside words stay; other punctuation and symbols part words. Numbers and hesitations
    are left as they are.
    """
    text = unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    kept = "".join(_kept(letter) for letter in text.casefold())
    return " ".join(word for piece in kept.split() if (word := piece.strip("'")))


def _kept(letter: str) -> str:
    """Return a letter, a blank for what parts words, or nothing for invisible marks inside them."""
    kind = unicodedata.category(letter)
    return "" if kind == "Cf" else " " if letter != "'" and kind[0] in "PSC" else letter


def units(text: str, unit: str) -> list[str]:
    """Return the words of a text, or its characters without blanks."""
    return text.split() if unit == "word" else list("".join(text.split()))
