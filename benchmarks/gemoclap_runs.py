"""GEmo-CLAP's model, its updates and what answers closed questions, as benchmarks run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from sertools.brains import groups
from sertools.brains.distributed import Ranks
from sertools.brains.gemoclap import GemoClapBrain, PromptedAudio
from sertools.brains.numerics import Guard
from sertools.brains.options import LoopOptions, Schedule
from sertools.brains.prompts import Prompts
from sertools.brains.tasks import Classification
from sertools.brains.work import Work
from sertools.data.spoken import SpokenBatch
from sertools.models.presets import build_encoder
from sertools.models.text import TransformersText
from sertools.objectives.contrastive import ContrastiveObjective
from torch import Tensor
from turns import waveforms

SIZES = {
    "large": ({}, {"vocab_size": 50265}),
    "small": (
        {"dim": 256, "num_layers": 4, "num_heads": 4, "ffn_dim": 1024, "conv_dim": 64},
        {"vocab_size": 12566, "hidden_size": 192, "num_hidden_layers": 2,
         "num_attention_heads": 3, "intermediate_size": 768}),
}
"""Settings of WavLM-large and RoBERTa-base; small has a quarter of the channels of both (an
eighth in the convolutions) and a sixth of the blocks."""
CLASSES = ["angry", "happy", "neutral", "sad"]
OWN, PADDED = 6, 32
"""Tokens of "emotion is neutral", and those that the transcription pads every prompt to."""


def build(options, heard: bool = True, dropout: float = 0.1) -> PromptedAudio:
    """Return a model with random weights, equal in every process.

    Args:
        options: size and device.
        heard: with an encoder of sound; else vectors are the input.
        dropout: of both encoders.
    """
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    sound, text = SIZES[options.size]
    audio = build_encoder("wavlm_large", dropout=dropout, attention_dropout=dropout, **sound)
    width, audio = audio.dim, audio if heard else None
    text = RobertaModel(RobertaConfig(
        max_position_embeddings=514, type_vocab_size=1, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, **text), add_pooling_layer=False)
    made = PromptedAudio(audio, TransformersText(text, "none"),
                         **({} if heard else {"audio_dim": width}))
    return made.to(options.device)


def prompts_of(length: int, options) -> Prompts:
    """Return a prompt of `OWN` tokens for every class, padded to a length."""
    draw = torch.Generator().manual_seed(2)
    tokens = torch.ones(len(CLASSES), 1, length, dtype=torch.long)  # RoBERTa pads with 1
    tokens[..., :OWN] = torch.randint(4, 10000, (len(CLASSES), 1, OWN), generator=draw)
    counts = torch.full((len(CLASSES), 1), OWN)
    return Prompts(CLASSES, tokens, counts, torch.ones(len(CLASSES), 1)).to(options.device)


def batch_of(options, model: PromptedAudio) -> SpokenBatch:
    """Return a batch of noise, or of vectors for a model that hears none, with labels."""
    count = options.batch
    inputs = waveforms(count, options.seconds, "cpu")
    if "audio" not in model.encoders:
        inputs = inputs[:, : model.audio_head[0].in_features].contiguous()
    classes, genders = torch.arange(count) % len(CLASSES), torch.arange(count) // 2 % 2
    return SpokenBatch(
        [f"u{n:04d}" for n in range(count)], inputs, torch.full((count,), inputs.shape[1]),
        torch.stack([classes, genders], 1).float())


def brain_of(
    options, model: PromptedAudio, folder: Path, precision: str, length: int = OWN,
    per_item: bool = False, passes: int = 1,
) -> GemoClapBrain:
    """Return a brain ready for updates that hardly move the weights.

    Args:
        options: of the benchmark.
        model: what it trains.
        folder: for its logs.
        precision: fp32 or bf16.
        length: what prompts are padded to, in tokens.
        per_item: encode the prompt of every utterance anew.
        passes: of equal size that the batch is cut into.
    """
    work = Work(folder=folder, seed=1, device=options.device, precision=precision, num_workers=0,
                should_stop=lambda: False, say=lambda text: None)
    ranks = Ranks()
    share = -(-options.batch // passes)

    def optimizer(model: PromptedAudio) -> torch.optim.Optimizer:
        return groups.adamw()(groups.parameter_groups(model, 1e-8, 0.01, 1e-8, encoder="encoders"))

    brain = GemoClapBrain(
        model, work, options.device, ranks, LoopOptions(clip=1.0, tensorboard=False),
        Schedule("constant", warmup=0.0),
        optimizer, task=Classification(CLASSES), objective=ContrastiveObjective(),
        prompts=[prompts_of(length, options)], about=lambda model: {},
        write_more=lambda folder, classes: None, per_item=per_item,
        samples=float("inf") if passes == 1 else share * round(16000 * options.seconds))
    brain.optimizer = optimizer(model)
    brain.guard = Guard(ranks, folder, 0, work.say, lazily=options.device.startswith("cuda"))
    brain.seconds = {id: options.seconds for id in batch_of(options, model).ids}
    brain._batches = 10**9  # an epoch that does not end
    brain.between_steps = lambda: None
    model.train()
    return brain


def gradient(brain: GemoClapBrain, update: Callable[[], None]) -> Tensor:
    """Return all gradients that an update leaves to the optimizer, as one vector."""
    found = []

    def keep() -> None:
        found.extend(p.grad.flatten().float().clone() for p in brain.raw_model.parameters()
                     if p.grad is not None)
        brain.optimizer.zero_grad(set_to_none=True)

    step, brain.optimizers_step = brain.optimizers_step, keep
    torch.manual_seed(3)
    update()
    brain.optimizers_step = step
    return torch.cat(found)
