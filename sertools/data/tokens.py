"""Texts to tokens: tokenisers of pretrained text encoders, and SentencePiece on own texts.

Texts are taken as they are. What a tokeniser does by itself (an uncased one lowers letters, all
may merge spaces) is part of it.
"""

from __future__ import annotations

import abc
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertools.errors import ConfigError, DataError
from sertools.files import publish, sha256
from sertools.hub import find_folder

if TYPE_CHECKING:
    from torch import Tensor

FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
         "merges.txt")
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")
"""Files of tokenisers of transformers; one of the second kind is needed."""


@dataclass(frozen=True)
class Encoding:
    """Tokens of many texts, and what happened to them."""

    tokens: dict[str, list[int]]
    """Tokens of each utterance, special ones included, by id."""
    empty: list[str]
    """Ids of utterances without any text: they have the one special-token sequence."""
    cut: list[str]
    """Ids of utterances whose text was longer and lost its end."""
    unknown: int
    """Tokens that stand for what the vocabulary does not know."""

    @property
    def flags(self) -> list[str]:
        """Return what a result should say of them, as sentences."""
        total = len(self.tokens)
        flags = [f"{len(self.empty)} of {total} utterances have no text"] if self.empty else []
        if self.cut:
            flags.append(f"{len(self.cut)} of {total} texts were cut at the longest length")
        if self.unknown:
            flags.append(f"{self.unknown} tokens are unknown to the tokeniser")
        return flags


class Tokeniser(abc.ABC):
    """Text to token numbers, special tokens included, never more than `max_tokens`."""

    vocabulary: int
    """Number of different tokens; every number is below it."""
    max_tokens: int
    """Longest sequence that `encode` returns."""
    padding: int
    """Token to pad with."""
    identity: str
    """Hash of all that the tokens of a text depend on."""
    unknown: int | None
    """Token for what the vocabulary does not know; None: there is none."""

    def encode(self, text: str | None) -> list[int]:
        """Return the tokens of a text; of none, of "" and of blanks the special tokens alone."""
        return self._encode(text)[0]

    def encode_all(self, texts: Mapping[str, str | None]) -> Encoding:
        """Return the tokens of all texts by id, and count what is worth knowing."""
        tokens, empty, cut, unknown = {}, [], [], 0
        for id, text in texts.items():
            tokens[id], longer = self._encode(text)
            if not (text or "").strip():
                empty.append(id)
            if longer:
                cut.append(id)
            unknown += tokens[id].count(self.unknown) if self.unknown is not None else 0
        return Encoding(tokens, empty, cut, unknown)

    def _encode(self, text: str | None) -> tuple[list[int], bool]:
        """Return tokens and whether the text was cut."""
        text = text if text and text.strip() else ""
        tokens = self._tokens(text)
        if len(tokens) <= self.max_tokens:
            return tokens, False
        return self._tokens(text, cut=True), True

    @abc.abstractmethod
    def _tokens(self, text: str, cut: bool = False) -> list[int]:
        """Return the tokens of a text or of "", never none, cut at `max_tokens` if wanted."""


def transformers_tokeniser(source: str | Path, max_tokens: int = 128) -> TransformersTokeniser:
    """Load the tokeniser of a pretrained text encoder.

    Args:
        source: a folder, or an id of the Hugging Face hub, as `models.text.load_text` takes it;
            only the tokeniser's own small files are fetched, and only where the cache lacks them.
        max_tokens: longest sequence, special tokens included; the rest of a text is cut off.

    Raises:
        ConfigError: it is absent or unreadable, or `max_tokens` leaves no room.
    """
    from transformers import AutoTokenizer

    folder = find_folder(source, FILES, VOCABULARIES)
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ConfigError(
            f"{folder}: no tokeniser.", [f"none of {', '.join(VOCABULARIES)} is there"]
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the tokenizers library raises bare Exceptions
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{folder}: the tokeniser cannot be read.", [why]) from error
    return TransformersTokeniser(tokenizer, max_tokens, str(folder))


class TransformersTokeniser(Tokeniser):
    """A tokeniser of transformers; see `transformers_tokeniser`.

    Args:
        tokenizer: of transformers.
        max_tokens: longest sequence.
        origin: what messages call it.
    """

    def __init__(self, tokenizer: Any, max_tokens: int = 128, origin: str = "tokeniser"):
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.vocabulary = max(tokenizer.get_vocab().values(), default=-1) + 1
        self.padding = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.unknown = tokenizer.unk_token_id
        self.identity = _identity(_content(tokenizer), max_tokens)
        _check_room(max_tokens, tokenizer.num_special_tokens_to_add(), origin)
        marks = (tokenizer.cls_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id,
                 tokenizer.pad_token_id)
        alone = [mark for mark in marks if mark is not None][:1]
        self.nothing = tokenizer("", verbose=False)["input_ids"] or alone
        if not self.nothing:
            raise ConfigError(f"{origin}: has no special token, so nothing stands for no text.")

    def _tokens(self, text: str, cut: bool = False) -> list[int]:
        options = {"truncation": True, "max_length": self.max_tokens} if cut else {}
        tokens = self.tokenizer(text, verbose=False, **options)["input_ids"]
        return tokens or list(self.nothing)


class SentencePieceTokeniser(Tokeniser):
    """A SentencePiece model as `train_sentencepiece` writes it: begin, pieces, end.

    Args:
        model_file: the model.
        max_tokens: longest sequence, the two special tokens included.

    Raises:
        ConfigError: the file is absent or no such model, or lacks the marks of begin and end.
    """

    def __init__(self, model_file: str | Path, max_tokens: int = 128):
        import sentencepiece

        try:
            self.model = sentencepiece.SentencePieceProcessor(
                model_proto=Path(model_file).read_bytes()
            )
            marks = [self.model.bos_id(), self.model.eos_id()]
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"{model_file}: not a SentencePiece model.", [str(error)]) from error
        if min(marks) < 0 or self.model.get_piece_size() == 0:
            raise ConfigError(f"{model_file}: has no pieces, or no marks of begin and end.")
        self.begin, self.end = marks
        self.vocabulary, self.max_tokens = self.model.get_piece_size(), max_tokens
        self.padding, self.unknown = max(self.model.pad_id(), 0), self.model.unk_id()
        self.identity = _identity(sha256(model_file), max_tokens)
        _check_room(max_tokens, 2, str(model_file))

    def _tokens(self, text: str, cut: bool = False) -> list[int]:
        pieces = self.model.encode(text)
        pieces = pieces[: self.max_tokens - 2] if cut else pieces
        return [self.begin, *pieces, self.end]


def train_sentencepiece(
    texts: Iterable[str | None],
    size: int,
    path: str | Path,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Train a SentencePiece unigram model and publish it at `path`.

    The same texts, in any order, give the same file. Nothing is normalised but white space.
    Characters that the texts lack, or have too seldom, are written as bytes (256 pieces). Give it
    the texts of the training part only.

    Args:
        texts: None and blanks are left out.
        size: pieces wanted; where the texts are too few for as many, there are fewer.
        path: of the model file.
        say: is told if there are fewer.

    Raises:
        ConfigError: `size` has no room for the bytes and characters.
        DataError: there is no text.
    """
    import sentencepiece

    lines = sorted(line for text in texts if (line := " ".join((text or "").split())))
    if not lines:
        raise DataError("There is no text to learn a vocabulary from.",
                        remedy="give transcripts, or leave the text branch out")
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=written, vocab_size=size,
            model_type="unigram", byte_fallback=True, hard_vocab_limit=False,
            normalization_rule_name="identity", shuffle_input_sentence=False, num_threads=1,
            max_sentence_length=1 << 20, pad_id=0, unk_id=1, bos_id=2, eos_id=3, minloglevel=3,
        )  # fmt: skip
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"A SentencePiece vocabulary of {size} cannot be learnt from {len(lines)} texts.",
            [str(error)],
            "4 special tokens, 256 bytes and the characters of the texts must fit in: take more",
        ) from error
    with publish(path) as temporary:
        temporary.write_bytes(written.getvalue())
    found = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue()).get_piece_size()
    if say is not None and found < size:
        say(f"the vocabulary has {found} pieces instead of {size}: the texts have no more")
    return Path(path)


def pad_tokens(tokens: Sequence[Sequence[int]], padding: int = 0) -> tuple[Tensor, Tensor]:
    """Return long (B, S) right-padded tokens and (B,) lengths."""
    import torch

    lengths = torch.tensor([len(row) for row in tokens])
    batch = torch.full((len(tokens), int(lengths.max())), padding)
    for row, values in zip(batch, tokens, strict=True):
        row[: len(values)] = torch.tensor(values)
    return batch, lengths


def _content(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    values = json.loads(backend.to_str()) if backend is not None else {
        "class": type(tokenizer).__name__,
        "vocabulary": tokenizer.get_vocab(),
        "special": tokenizer.special_tokens_map,
    }
    values.pop("truncation", None)  # states of the last call
    values.pop("padding", None)
    return json.dumps(values, sort_keys=True, default=str)


def _identity(content: str, max_tokens: int) -> str:
    return hashlib.sha256(f"{max_tokens}\n{content}".encode()).hexdigest()


def _check_room(max_tokens: int, special: int, origin: str) -> None:
    if max_tokens < special + 1:
        raise ConfigError(
            f"{origin}: max_tokens is {max_tokens}, {special} special tokens leave no room.",
            remedy="allow more tokens, such as 128",
        )
