"""What a downstream model hears: audio through an encoder, or cached features of an upstream."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sertools.brains.distributed import Ranks
from sertools.brains.frames import HeldFeatures
from sertools.brains.pooled import PooledFeatures, pooled_table
from sertools.brains.work import FoldWork
from sertools.data.audio import AudioReader
from sertools.data.dataset import AudioDataset, FeatureDataset
from sertools.data.feature_cache import FeatureCache
from sertools.errors import ConfigError, DataError
from sertools.models.heads import EncoderWithHead, LayerReader
from sertools.models.upstream import OwnUpstream
from torch import nn
from torch.utils.data import Dataset

MakeHead = Callable[..., LayerReader]


class AudioInputs:
    """Waveforms, through an encoder that is part of the model.

    Args:
        work: the unit.
        head: builds the head.
        encoder: builds the encoder.
        reader: arguments of `AudioReader`.
        crop_prediction: let dev and test utterances begin at their start and be as short as those
            in training; else they are whole.
        padding: fixed, or released: padding matters as in the code released with Vesper.
    """

    def __init__(
        self,
        work: FoldWork,
        head: MakeHead,
        encoder: Callable[[], nn.Module],
        reader: Mapping[str, Any],
        crop_prediction: bool = False,
        padding: str = "fixed",
    ):
        self.work, self.make_head, self.make_encoder = work, head, sourced(encoder, work.encoder)
        self.released = padding == "released"
        self._readers = readers(reader, crop_prediction)

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> Dataset:
        """Return the utterances, cropped in training and, if that is wanted, in prediction."""
        return AudioDataset(
            self.work.manifest, ids, self.work.data_folder, self._readers[not train], targets,
            self.work.seed,
        )

    def model(self, num_outputs: int) -> EncoderWithHead:
        """Return a fresh encoder with a head."""
        encoder = self.make_encoder()
        rate = getattr(getattr(encoder, "config", encoder), "sample_rate", None)
        if rate not in (None, self._readers[0].sample_rate):
            raise ConfigError(
                f"the encoder hears {rate} samples per second, the audio has "
                f"{self._readers[0].sample_rate}",
                remedy=f"set sample_rate: {rate} in the trainer block",
            )
        if self.released:
            return self._released(encoder, num_outputs)
        head = self.make_head(encoder.num_layers + 1, encoder.dim, num_outputs)
        if head.layers == "last":
            head.num_layers = 1
        return EncoderWithHead(encoder, head)

    def _released(self, encoder: nn.Module, num_outputs: int) -> EncoderWithHead:
        if not isinstance(encoder, OwnUpstream):
            raise ConfigError(f"padding is released, the encoder a {type(encoder).__name__}",
                              remedy="load it with load_upstream, implementation sertools")
        reader = self._readers[0]
        encoder.released_length = round(reader.crop_seconds * reader.sample_rate)
        return EncoderWithHead(encoder, self.make_head(
            encoder.num_layers + 1, encoder.dim, num_outputs, padding="released"))

    def leaves_unused(self, model: EncoderWithHead) -> bool:
        """Say whether some trained parameters may take no part in a step.

        A norm after the last block that the head does not read is one, or a mask embedding; with
        layer drop any block may be.
        """
        configs = [getattr(module, "config", None) for module in model.modules()]
        if any(getattr(config, "layerdrop", 0) for config in configs):
            return True
        rate = self._readers[0].sample_rate
        return unused_in(model, lambda: (torch.randn(1, rate), torch.tensor([rate])))


class FeatureInputs:
    """Cached features of a frozen upstream; the model is the head alone.

    Args:
        work: the unit; `features` is the folder of the cache.
        head: builds the head.
        ranks: the processes of this training.
        megabytes: memory for frames of a head that needs them all.
    """

    def __init__(self, work: FoldWork, head: MakeHead, ranks: Ranks, megabytes: float = 512):
        if work.features is None:
            raise ConfigError(
                "the trainer wants features, but this recipe has no feature cache",
                remedy="add an `upstream:` block to the recipe, or use inputs: audio",
            )
        self.work, self.make_head, self.ranks = work, head, ranks
        self.cache = FeatureCache(work.features)
        self._table, self._megabytes = None, megabytes

    def dataset(self, ids: Sequence[str], targets: Mapping | None, train: bool) -> Dataset:
        """Return the utterances; averaged over time if the head allows it."""
        self.refuse_missing(ids)
        if not self.model(1).linear_before_pooling:
            held = HeldFeatures(self.cache, self._megabytes)
            held.hold(ids)
            return FeatureDataset(held, ids, targets)
        if self._table is None:
            self._table = pooled_table(self.cache, self.ranks)
        return PooledFeatures(self.cache, self._table, ids, targets)

    def refuse_missing(self, ids: Sequence[str]) -> None:
        """Raise DataError for utterances that the cache does not have; all are listed."""
        missing = [f"{id}: not in the cache" for id in ids if id not in self.cache]
        if missing:
            raise DataError(f"the feature cache {self.cache.folder} is not of these utterances",
                            missing, "run stage features again")

    def leaves_unused(self, model: LayerReader) -> bool:
        """Say no: every parameter of a head takes part in every step."""
        return False

    def model(self, num_outputs: int) -> LayerReader:
        """Return a fresh head."""
        return self.make_head(self.cache.num_layers, self.cache.dim, num_outputs)


def readers(
    options: Mapping[str, Any], crop_prediction: bool = False
) -> tuple[AudioReader, AudioReader]:
    """Return what reads audio in training, and what reads it elsewhere.

    Args:
        options: of `AudioReader`.
        crop_prediction: what is no training begins at its start and is as short; else it is whole.
    """
    train = other = AudioReader(**options)
    if options["crop"]:
        longest = options["crop_seconds"] if crop_prediction else None
        other = AudioReader(**{**options, "crop": longest and "start", "crop_seconds": longest})
    return train, other


def unused_in(model: nn.Module, arguments: Callable[[], tuple]) -> bool:
    """Say whether some trained parameter takes no part in a pass over `arguments`."""
    mode = model.training
    with torch.random.fork_rng(devices=[]):
        found = model.eval()(*arguments())
        found = [found] if isinstance(found, torch.Tensor) else found
        sum(each.sum() for each in found if each is not None).backward()
    model.train(mode)
    unused = any(p.requires_grad and p.grad is None for p in model.parameters())
    model.zero_grad(set_to_none=True)
    return unused


def sourced(
    encoder: Callable[[], nn.Module], source: str | None
) -> Callable[[], nn.Module]:
    """Let a partial that lacks its `source` take the encoder that was pretrained for the unit.

    Raises:
        ConfigError: there is none.
    """
    if not isinstance(encoder, functools.partial) or encoder.args or "source" in encoder.keywords:
        return encoder
    parameter = inspect.signature(encoder.func).parameters.get("source")
    if parameter is None or parameter.default is not parameter.empty:
        return encoder
    if source is None:
        raise ConfigError("trainer.encoder has no source, and nothing was pretrained",
                          remedy="give it a source, or the recipe `pretrained` or a `pretrainer`")
    return functools.partial(encoder, source=source)


def frontend(model: EncoderWithHead) -> nn.Module:
    """Return the part of the encoder that reads the waveform.

    Raises:
        ConfigError: the encoder has none of a known name, or it is frozen for good already.
    """
    names = ("frontend", "model.frontend", "model.feature_extractor")
    modules = dict(model.encoder.named_modules())
    found = next((modules[name] for name in names if name in modules), None)
    if found is None:
        raise ConfigError(f"freeze_frontend is given, but the encoder has none of {names}")
    if not any(p.requires_grad for p in found.parameters()):
        raise ConfigError(
            "freeze_frontend is given, but the encoder's front end is frozen already",
            remedy="remove it, or set freeze_frontend: false where the upstream is loaded",
        )
    return found
