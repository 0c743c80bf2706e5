"""A trained GEmo-CLAP, rebuilt from what is stored beside it, that can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sertools.brains.best import DESCRIPTION, read_description
from sertools.brains.gemoclap_best import (
    load_classifier,
    own_tokeniser,
    read_classes,
    refuse_other_kinds,
)
from sertools.brains.gemoclap_start import BELOW, learned_prompts
from sertools.brains.gemoclap_trainer import GemoClapTrainer
from sertools.brains.prompts import unknown_tokens
from sertools.brains.randomness import seed_weights
from sertools.brains.stored import NEW, build, read_config
from sertools.brains.two_encoders import audio_encoder, text_encoder
from sertools.data.tokens import Tokeniser, pad_tokens, transformers_tokeniser
from sertools.errors import ConfigError, DataError
from sertools.files import hash_tensors
from sertools.models.encoder import Encoded
from sertools.models.fusion import hear
from sertools.models.heads import valid_frames
from sertools.models.language_audio import LanguageAudio
from sertools.models.upstream import load_upstream
from torch import Tensor, nn

_EPS = 1e-5  # as in sertools.data.audio


class Hearing(nn.Module):
    """The sound branch up to its pooling, with the face of an `Upstream`.

    The mean over time of its frames (B, T, W) is all that `Trained.embed` needs, so that long
    recordings can be heard in windows.

    Args:
        model: whose audio encoder, layers and pooling are used.
        upstream: the frozen encoder of a model on cached features; None: the model's own.
        depths: layers that were cached; None: the final output.
        normalise: zero mean, unit variance of each waveform.
    """

    def __init__(
        self, model: LanguageAudio, upstream: nn.Module | None, depths: Sequence[int] | None,
        normalise: bool,
    ):
        super().__init__()
        self.encoder = model.encoders["audio"] if upstream is None else upstream
        self.reader, self.attention = model.reader, model.attention
        self.own, self.depths, self.normalise = upstream is None, depths, normalise
        config = getattr(self.encoder, "config", self.encoder)
        self.sample_rate, self.frame_rate = config.sample_rate, self.encoder.frame_rate
        self.dim, self.num_layers = self.encoder.dim, self.encoder.num_layers
        self.max_seconds = getattr(self.encoder, "max_seconds", None)

    @property
    def identity(self) -> dict[str, str]:
        """Return what the frames depend on, as short texts."""
        settings = f"{self.reader.layers} {self.depths} {self.normalise} {self.own}"
        return {"class": type(self.encoder).__name__, "weights": hash_tensors(self.state_dict()),
                "settings": settings}

    def settle(self, precision: str) -> None:
        """Get ready for passes in fp32 or bf16 alone."""
        if hasattr(self.encoder, "settle"):
            self.encoder.settle(precision)

    def forward(self, waveforms: Tensor, lengths: Tensor, *, hidden: bool = False) -> Encoded:
        """Return frames (B, T, W): D wide, or with weights of attention D + 1."""
        if self.normalise:
            waveforms = _levelled(waveforms, lengths)
        if self.own:
            layers, frames = hear(self.encoder, self.reader, waveforms, lengths)
        else:
            encoded = self.encoder(waveforms, lengths, hidden=self.depths is not None)
            layers = [encoded.last] if self.depths is None else [
                encoded.hidden[depth] for depth in self.depths]
            layers = self.reader.read(layers[-1:] if self.reader.layers == "last" else layers)
            frames = encoded.lengths
        found = self.reader.merge(layers).float()
        if self.attention is not None:  # a mean over time of both gives the weighted mean
            weights = self.attention.score(found).float().exp()
            found = torch.cat([weights * found, weights], -1)
        return Encoded(found, None, frames)


@dataclass
class Trained:
    """A trained model that can be asked."""

    folder: Path
    description: dict[str, Any]
    model: LanguageAudio
    hearing: Hearing
    classes: dict[str, Tensor]
    """Unit vectors (dim,) of the classes that it was evaluated with, in their order."""
    seconds: float | None
    """What it hears of an utterance, from its beginning; None: all."""
    tokeniser: Tokeniser | None
    """None: it was loaded without its text encoder."""

    @property
    def temperature(self) -> float | None:
        """Return what calibrates the probabilities; None: nothing was calibrated."""
        return self.description.get("temperature")

    @property
    def learned(self) -> list[str]:
        """Return the prompts that were learned."""
        return learned_prompts(self.description)

    @torch.inference_mode()
    def embed(self, pooled: Tensor) -> Tensor:
        """Return unit vectors (n, dim) of utterances from the means of their frames (n, W)."""
        pooled = pooled.to(self.model.log_scales.device).float()
        if self.model.attention is not None:
            pooled = pooled[:, :-1] / pooled[:, -1:]
        return F.normalize(self.model.audio_head(pooled).float(), dim=-1).cpu()

    @torch.inference_mode()
    def read(self, sentences: Sequence[str]) -> Tensor:
        """Return unit vectors (k, dim) of sentences."""
        device = self.model.log_scales.device
        tokens, lengths = pad_tokens([self.tokeniser.encode(text) for text in sentences],
                                     self.tokeniser.padding)
        return self.model.embed_text(tokens.to(device), lengths.to(device)).cpu()

    def unknown(self, sentences: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return how many tokens of each sentence were never learned, and how many it has."""
        own = own_tokeniser(self.folder, self.tokeniser.max_tokens) is not None
        learned = self.learned if own else None
        return unknown_tokens({text: [text] for text in sentences}, self.tokeniser, learned)

    def probabilities(self, cosines: Tensor) -> Tensor:
        """Return softmax(exp(s_a) cosine / T) over the last axis, with the calibrated T."""
        scale = self.description["scales"]["audio"] / (self.temperature or 1.0)
        return (scale * cosines.double()).softmax(-1)


def best_of(place: str | Path) -> Path:
    """Return the folder `best` that a path names: itself, its unit, or its stage train.

    Raises:
        DataError: there is no trained model.
    """
    found = [Path(place) / name for name in BELOW if (Path(place) / name / DESCRIPTION).is_file()]
    if not found:
        raise DataError(f"{place} holds no trained model", [f"{DESCRIPTION} is missing"],
                        "name a unit, exp/<tag>/fold<k>/seed<n>, whose stage train is done")
    return found[0].absolute()


def load_trained(
    place: str | Path, texts: bool = True, recipe: str | Path | None = None
) -> Trained:
    """Rebuild a trained model from its experiment's configuration; nothing but JSON and tensors.

    Args:
        place: see `best_of`.
        texts: False leaves the text encoder away: only the classes' own vectors are there.
        recipe: from where relative paths of the configuration count; None: two folders above the
            experiment.

    Raises:
        DataError: there is no such model, or it is damaged.
        ConfigError: it is another kind of model, lies outside its experiment, or its pretrained
            encoders are away or are others.
    """
    best = best_of(place)
    description = read_description(best)
    refuse_other_kinds(best, description)
    config = read_config(best.parents[3])
    base = best.parents[5] if recipe is None else Path(recipe)
    kind = (config.get("trainer") or {}).get(NEW)
    if kind != f"{GemoClapTrainer.__module__}.{GemoClapTrainer.__name__}":
        raise ConfigError(f"{best.parents[3]} was made by {kind}, not by GemoClapTrainer")
    given = build(config["trainer"], base).given
    source = _encoder(best, description)
    seed_weights(description["seed"])  # frozen ones that were drawn are drawn again
    audio = upstream = depths = None
    if given["inputs"] == "features":
        upstream = _upstream(config, source, base)
        if description.get("upstream") not in (None, upstream.identity):
            raise ConfigError(f"{best} heard the features of another upstream",
                              [f"now {upstream.origin.get('source', 'unknown')}"],
                              "give back the upstream, or run the stages features and train again")
        depths = _depths(config.get("feature_layers"), upstream.num_layers + 1)
    else:
        audio = audio_encoder(given["audio"], source, given["freeze"], given["sample_rate"])
    tokeniser = text = None
    if texts:
        tokeniser = own_tokeniser(best, given["max_tokens"]) or transformers_tokeniser(
            given["tokeniser"] or given["text"].keywords["source"], given["max_tokens"])
        text = text_encoder(given["text"], given["freeze"], tokeniser)
    loaded = load_classifier(best, audio, text)
    names, _ = read_classes(best)
    cut = given["crop_seconds"] if given["crop_prediction"] else None
    seconds = config.get("feature_seconds") if upstream is not None else cut
    hearing = Hearing(loaded.model, upstream, depths, upstream is None and bool(given["normalise"]))
    return Trained(best, description, loaded.model.eval(), hearing.eval(),
                   dict(zip(names, loaded.classes, strict=True)), seconds, tokeniser)


def _encoder(best: Path, description: Mapping[str, Any]) -> str | None:
    """Return what was pretrained for the run: a place beside the model, or a hub's id."""
    source = description.get("encoder")
    there = source is not None and (best / source).exists()
    return str((best / source).resolve()) if there else source


def _upstream(config: Mapping[str, Any], source: str | None, base: Path) -> nn.Module:
    """Return the frozen encoder behind the features of a run."""
    if config.get("upstream") is not None:
        return build(config["upstream"], base)()
    if source is None:
        raise ConfigError("the model hears features, but its configuration has no upstream")
    return load_upstream(source)


def _depths(layers: str | Sequence[int] | None, count: int) -> list[int] | None:
    """Return the depths that a feature cache has; None: the final output alone."""
    if layers == "last":
        return None
    return [depth % count for depth in (range(count) if layers in (None, "all") else layers)]


def _levelled(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Return waveforms (B, L) with zero mean and unit variance over their own samples."""
    valid = valid_frames(lengths, waveforms.shape[1])
    count = lengths[:, None].to(waveforms.dtype)
    mean = waveforms.masked_fill(~valid, 0).sum(1, keepdim=True) / count
    centred = (waveforms - mean).masked_fill(~valid, 0)
    return centred / torch.sqrt(centred.square().sum(1, keepdim=True) / count + _EPS)
