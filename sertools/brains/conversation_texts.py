"""What was said in the turns before a turn: one vector per turn, from a frozen text encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sertools.brains.audio_text import notes_of
from sertools.brains.downstream_brain import DownstreamBrain
from sertools.brains.settings import describe
from sertools.brains.two_encoders import text_encoder, text_vectors
from sertools.brains.work import FoldWork
from sertools.data.tokens import transformers_tokeniser
from sertools.data.transcripts import Transcripts
from sertools.models.text import TextEncoder, pool_text
from torch import Tensor

SETTINGS = ("text", "max_tokens", "transcripts", "transcripts_model", "transcripts_missing")
"""The options of a `ConversationTrainer` that say what is read."""


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts, and what they depend on."""

    vectors: dict[str, Tensor]
    """(D,), float32, by text."""
    cut: set[str]
    """Texts that are longer than the encoder reads."""
    parameters: int
    """Of the encoder."""
    identity: dict[str, Any]
    """Source and what the vectors depend on beside the texts."""


_HELD: dict[tuple, Encoded] = {}
"""Of the last texts and encoder that were asked for: folds and seeds share them."""


class TurnTexts:
    """What was said in some turns: masked means over the tokens of a frozen text encoder.

    Every different text is computed once per process, without dropout and in single precision. A
    turn without text has the vector of the special tokens alone.

    Args:
        work: the unit.
        given: options, of which `SETTINGS` are read.
        turns: ids of the turns; no other text is looked at.
        device: where texts are encoded.

    Raises:
        ConfigError: there is no such encoder, tokeniser or file.
        DataError: none of the turns has a text, or the recogniser's file has faults.
    """

    def __init__(
        self, work: FoldWork, given: Mapping[str, Any], turns: Sequence[str], device: str
    ):
        transcripts = Transcripts(given["transcripts"], given["transcripts_model"],
                                  given["transcripts_missing"], allow_unknown=True)
        read = transcripts.read(work.manifest, turns)
        encoded = _encoded(given["text"], given["max_tokens"], sorted(set(read.texts.values())),
                           device)
        self.vectors = {id: encoded.vectors[text] for id, text in read.texts.items()}
        """Of each turn, by id."""
        self.dim = len(next(iter(self.vectors.values())))
        self.encoder = encoded.identity
        """Which text encoder and tokeniser these are."""
        self.identity = {"text_encoder": encoded.identity, "texts": transcripts.identity}
        """What the vectors depend on, beside the manifest."""
        self.notes = [
            f"texts as means over the tokens of {encoded.identity['source']}, frozen: "
            f"{encoded.parameters / 1e6:.2f}M parameters, SHA-256 "
            f"{encoded.identity['weights'][:12]}",
            *notes_of(read, transcripts.wer(work.manifest, turns),
                      sum(text in encoded.cut for text in read.texts.values()), len(read.texts)),
        ]
        """What results tell of the texts."""


def _encoded(
    make: Callable[..., TextEncoder], max_tokens: int, texts: Sequence[str], device: str
) -> Encoded:
    key = (json.dumps(describe(make), sort_keys=True, default=str), max_tokens, device, *texts)
    if key not in _HELD:
        _HELD.clear()
        _HELD[key] = _encode(make, max_tokens, texts, device)
    return _HELD[key]


def _encode(
    make: Callable[..., TextEncoder], max_tokens: int, texts: Sequence[str], device: str
) -> Encoded:
    source = str(make.keywords["source"])
    tokeniser = transformers_tokeniser(source, max_tokens)
    encoder = text_encoder(make, ["text"], tokeniser).to(device).eval()
    encoding = tokeniser.encode_all({text: text for text in texts})
    vectors = text_vectors(lambda tokens, lengths: pool_text(encoder(tokens, lengths), lengths),
                           encoding.tokens, tokeniser.padding, device)
    identity = {"source": source, **encoder.identity, "tokens": tokeniser.identity}
    count = sum(parameter.numel() for parameter in encoder.parameters())
    return Encoded(vectors, set(encoding.cut), count, identity)


class ConversationBrain(DownstreamBrain):
    """Learn from turns; tell what was read of them.

    Args:
        rest: arguments of `DownstreamBrain`.
        texts: what was read; None: nothing was.
    """

    def __init__(self, *rest: Any, texts: TurnTexts | None = None, **more: Any):
        super().__init__(*rest, **more)
        self.texts = texts
        self.notes = [] if texts is None else texts.notes
        for note in self.notes if self.ranks.main else ():
            self.work.say(note)

    def describe(self) -> dict[str, Any]:
        """Return what is known of the model beside its last epoch."""
        read = {} if self.texts is None else {"text_encoder": self.texts.encoder}
        return {**super().describe(), **read}
