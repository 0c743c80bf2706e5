"""Prompts: the sentences that name classes, as tokens, and what cannot be a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sertools.data.tokens import SentencePieceTokeniser, Tokeniser, pad_tokens
from sertools.errors import ConfigError
from torch import Tensor

Sentences = dict[str, list[str]]
"""The prompts of every class, in the order of the classes."""


def sentences_of(
    given: Any, classes: Sequence[str], place: str = "emotion", key: str = "prompts",
    words: Any = None,
) -> tuple[Sentences, list[str]]:
    """Return the prompts of every class, and what is wrong with them.

    Args:
        given: a template with `{emotion}`, a list of templates, or a text or list of texts by
            class; several prompts of a class are averaged.
        classes: in their order.
        place: what stands between the braces of a template.
        key: the option's name, for problems.
        words: what fills templates, by class; a class without one, or None: the class's own name.
    """
    odd = _odd_words(words, classes)
    if isinstance(given, str) or _listed(given):
        templates = [given] if isinstance(given, str) else list(given)
        problems = [f"{key}: {each!r} is no template: write {{{place}}} where the class goes"
                    for each in templates
                    if not isinstance(each, str) or f"{{{place}}}" not in each]
        if isinstance(given, str) and _flow(given):
            problems = [f"{key}: {given!r} is text that looks like a mapping or list, which have "
                        "to stand in the YAML, not on the command line"]
        problems += [] if templates else [f"{key} is an empty list: give one template at least"]
        problems += odd
        if problems:
            return {}, problems
        said = {name: [each.replace(f"{{{place}}}", (words or {}).get(name, name))
                       for each in templates] for name in classes}
        return said, _repeated(said, key)
    if not isinstance(given, Mapping):
        return {}, [
            f"{key} is {given!r}: give a template with {{{place}}}, or a prompt per class", *odd]
    problems = [f"{key} has none for {name}" for name in classes if name not in given]
    problems += [f"{key} names {name!r}, which is none of {', '.join(classes)}"
                 for name in given if name not in classes]
    problems += odd
    said = {}
    for name in classes:
        texts = given.get(name, [])
        texts = [texts] if isinstance(texts, str) else list(texts) if _listed(texts) else [texts]
        if name in given and not texts:
            problems.append(f"{key}: {name} has an empty list")
        problems += [f"{key}: {name} has {text!r}, which is no sentence" for text in texts
                     if not isinstance(text, str) or not text.strip()]
        said[name] = texts
    return said, problems or _repeated(said, key)


def unknown_tokens(
    said: Sentences, tokeniser: Tokeniser, learned: Sequence[str] | None = None
) -> dict[str, tuple[int, int]]:
    """Return for every class how many tokens of its prompts are unknown, and how many there are.

    Args:
        said: the prompts.
        tokeniser: makes their tokens; special ones and spaces are not counted.
        learned: texts without which the tokens were never trained; None: the vocabulary is general,
            and only its own token for what it does not know counts.
    """
    special = set(tokeniser.encode(""))
    if isinstance(tokeniser, SentencePieceTokeniser):
        special.add(tokeniser.model.piece_to_id("\u2581"))  # a space by itself says nothing
    known = None if learned is None else {
        token for text in learned for token in tokeniser.encode(text)}
    counts = {}
    for name, texts in said.items():
        tokens = [token for text in texts for token in tokeniser.encode(text)
                  if token not in special]
        odd = sum(token == tokeniser.unknown or (known is not None and token not in known)
                  for token in tokens)
        counts[name] = (odd, len(tokens))
    return counts


def _odd_words(words: Any, classes: Sequence[str]) -> list[str]:
    """Name what cannot fill a template for a class."""
    if words is None:
        return []
    if not isinstance(words, Mapping):
        return [f"words is {words!r}: give null, or a mapping of classes to words in the YAML"]
    return [f"words names {name!r}, which is none of {', '.join(classes)}"
            for name in words if name not in classes] + [
            f"words: {name} has {word!r}, which is no word"
            for name, word in words.items() if not isinstance(word, str) or not word.strip()]


def _flow(text: str) -> bool:
    """Say whether a text is a mapping or list as YAML writes it on one line."""
    text = text.strip()
    return (text[:1] + text[-1:] == "[]"
            or text[:1] + text[-1:] == "{}" and bool(re.search(r":\s", text)))


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _repeated(said: Sentences, key: str) -> list[str]:
    return [f"{key}: {name} has a prompt twice" for name, texts in said.items()
            if len(set(texts)) < len(texts)]


@dataclass
class Prompts:
    """Prompts of K classes as tensors, P per class; a class with fewer has some of weight 0."""

    names: list[str]
    tokens: Tensor
    """Long (K, P, S)."""
    lengths: Tensor
    """Long (K, P)."""
    weights: Tensor
    """Of a class's prompts, (K, P), rows sum to 1."""

    def to(self, device: str | torch.device) -> Prompts:
        """Return the same on another device."""
        return Prompts(self.names, self.tokens.to(device), self.lengths.to(device),
                       self.weights.to(device))

    def flat(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return tokens (n P, S) and lengths (n P,), of all classes or those of some rows (n,)."""
        tokens, lengths = self.tokens, self.lengths
        if rows is not None:
            tokens, lengths = tokens[rows], lengths[rows]
        return tokens.flatten(0, 1), lengths.flatten()

    def merged(self, vectors: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return one unit vector (n, D) per class or row from those of `flat`, (n P, D)."""
        if self.weights.shape[1] == 1:
            return vectors
        weights = self.weights if rows is None else self.weights[rows]
        vectors = vectors.unflatten(0, weights.shape)
        return F.normalize((weights[..., None] * vectors).sum(1), dim=-1)


def encode_prompts(
    said: Sequence[Sentences], tokeniser: Tokeniser
) -> tuple[list[Prompts], list[str]]:
    """Return sets of prompts padded to one length, and the prompts that were cut.

    Raises:
        ConfigError: two classes have the same tokens; all such pairs are listed.
    """
    texts = {(group, name, number): text for group, sentences in enumerate(said)
             for name, prompts in sentences.items() for number, text in enumerate(prompts)}
    encoding = tokeniser.encode_all(texts)
    owner: dict[tuple, tuple] = {}
    problems = []
    for place, tokens in encoding.tokens.items():
        other = owner.setdefault((place[0], *tokens), place)
        if other[1] != place[1]:
            problems.append(f"{other[1]} ({texts[other]!r}) and {place[1]} ({texts[place]!r})")
    if problems:
        raise ConfigError(
            "prompts of different classes are the same tokens, so nothing can tell them apart",
            problems, "write other prompts, allow more max_tokens, or take another tokeniser")
    padded, lengths = pad_tokens(list(encoding.tokens.values()), tokeniser.padding)
    place = {key: row for row, key in enumerate(texts)}
    sets = []
    for group, sentences in enumerate(said):
        most = max(map(len, sentences.values()))
        rows = torch.tensor([[place[group, name, number if number < len(prompts) else 0]
                              for number in range(most)] for name, prompts in sentences.items()])
        counts = torch.tensor([len(prompts) for prompts in sentences.values()])
        weights = (torch.arange(most) < counts[:, None]) / counts[:, None]
        sets.append(Prompts(list(sentences), padded[rows], lengths[rows], weights.float()))
    return sets, [texts[key] for key in encoding.cut]
