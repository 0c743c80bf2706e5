"""emotion2vec's pretraining and extraction, our way and the released one: what is run."""

from __future__ import annotations

import copy
from collections.abc import Callable

import released_emotion2vec as released
import torch
from sertools.brains.groups import adamw
from sertools.brains.numerics import scale_and_clip
from sertools.models.emotion2vec import DecoderConfig, Distillation, Emotion2vec
from sertools.models.precision import cast_matrices
from sertools.models.presets import build_encoder
from sertools.objectives.distillation import follow, frame_loss, utterance_loss
from sertools.objectives.masking import block_mask
from turns import autocast, waveforms

SIZES = {
    "base": ({"dropout": 0.1, "attention_dropout": 0.1}, DecoderConfig(), 4),
    "small": (
        {"dropout": 0.1, "attention_dropout": 0.1, "dim": 192, "num_layers": 6, "num_heads": 6,
         "ffn_dim": 768, "conv_dim": 128}, DecoderConfig(dim=96), 2),
}
LR, TAU = 1e-7, 0.999


def build(options) -> Distillation:
    """Return student and teacher with random weights, equal in every process."""
    torch.manual_seed(0)
    settings, decoder, context_layers = SIZES[options.size]
    encoder = build_encoder("emotion2vec_base", **settings)
    return Distillation(Emotion2vec(encoder, decoder, context_layers)).to(options.device)


def our_step(model: Distillation, waves: torch.Tensor, clones: int, precision: str) -> Callable:
    """Return a function that makes an update as `Emotion2vecBrain` does."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    group = {"params": parameters, "lr": LR, "weight_decay": 0.01}
    optimizer = adamw((0.9, 0.98), 1e-6)([group])
    frames = model.student.config.frames(waves.shape[1])

    def run() -> None:
        mask = block_mask(clones * len(waves), frames, device=waves.device)
        with autocast(waves.device, precision):
            loss = our_loss(model, waves, mask)
        count = int(0.5 * frames) * len(mask)
        (loss * count).backward()
        scale_and_clip(parameters, 1 / count, None)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        follow(model.teacher.encoder, model.student.encoder, TAU)

    return run


def our_loss(model: Distillation, waves: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return frame loss + utterance loss."""
    out = model(waves, mask, int(0.5 * mask.shape[1]))
    return frame_loss(out.prediction, out.target) + utterance_loss(out.summary, out.utterance)


def released_step(
    model: Distillation, waves: torch.Tensor, clones: int, precision: str
) -> Callable:
    """Return a function that makes an update as the released code does."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LR, betas=(0.9, 0.98), eps=1e-6, foreach=False)
    frames = model.student.config.frames(waves.shape[1])

    def run() -> None:
        mask = released.draw_masks(clones * len(waves), frames).to(waves.device)
        with autocast(waves.device, precision):
            loss = released.loss_of(model, waves, mask)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        released.follow(model, TAU)

    return run


def prepare_pretraining(
    name: str, precision: str, batch: int, length: float, options, model: Distillation
) -> Callable:
    """Return one of the runs that task pretraining compares; all may share the model."""
    model.train()
    waves = waveforms(batch, length, options.device)
    step = our_step if name == "sertools" else released_step
    return step(model, waves, options.clones, precision)


def prepare_extraction(
    name: str, precision: str, batch: int, length: float, options, model: Distillation
) -> Callable:
    """Return one of the runs that task extraction compares: frames of every utterance."""
    encoder = model.student.encoder.eval().requires_grad_(False)
    waves = waveforms(batch, length, options.device)
    lengths = utterance_lengths(batch, waves.shape[1])
    if name == "released":
        alone = [wave[:n] for wave, n in zip(waves, lengths, strict=True)]
        return lambda: within(waves.device, precision, lambda: released.extract(encoder, alone))
    if precision == "bf16":
        encoder = cast_matrices(copy.deepcopy(encoder), torch.bfloat16)
    counts = torch.tensor(lengths, device=options.device)

    def run() -> list[torch.Tensor]:
        out = within(waves.device, precision, lambda: encoder(waves, counts))
        return [row[:n] for row, n in zip(out.last, out.lengths.tolist(), strict=True)]

    return run


TASKS = {"pretraining": prepare_pretraining, "extraction": prepare_extraction}


def within(device: torch.device, precision: str, function: Callable):
    """Call a function without gradients in a precision."""
    with torch.no_grad(), autocast(device, precision):
        return function()


def utterance_lengths(batch: int, longest: int) -> list[int]:
    """Return samples of each utterance of a batch of similar lengths: down to 80 %."""
    return [round(longest * (1 - 0.2 * row / batch)) for row in range(batch)]
