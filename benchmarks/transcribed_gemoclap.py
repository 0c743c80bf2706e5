"""GEmo-CLAP computed as its only public transcription does, or as the equations read.

The authors released no code. What is known of the transcription: it encodes every utterance's
prompt, padded to 32 tokens, and joins the embeddings of several micro-batches with their graphs
before the loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sertools.brains.gemoclap import GemoClapBrain
from sertools.brains.true_batch import passes
from sertools.data.spoken import SpokenBatch
from sertools.models.language_audio import LanguageAudio
from torch import Tensor


def update(brain: GemoClapBrain, batch: SpokenBatch) -> None:
    """Learn from a batch in passes whose graphs are all kept until the loss is known."""
    brain.guard.begin_step()
    found = []
    parts = [part.to(brain.device) for part in passes(batch, brain.samples)]
    for part in parts:
        with brain.training_ctx:
            found.append(brain.found(part, brain.raw_model, part is parts[-1]))
    rows = [torch.cat(each) for each in zip(*(each.rows for each in found), strict=True)]
    brain.update_loss(rows, found[-1].shared, batch.targets.to(brain.device)).backward()
    brain.progress.batch += 1
    brain._weight = 1.0
    brain.optimizers_step()


def pair_by_pair(
    audio: Tensor, text: Tensor, scales: Tensor, emotion: Tensor, gender: Tensor, alpha: float
) -> Tensor:
    """Return the loss of SL-GEmo-CLAP (equation 7), one pair of items at a time."""
    count, total = len(audio), torch.zeros((), device=audio.device)
    emotion, gender = emotion.tolist(), gender.tolist()
    for rows, columns, scale in ((audio, text, scales[0]), (text, audio, scales[1])):
        for i in range(count):
            logits = [scale * (rows[i] * columns[j]).sum() for j in range(count)]
            agreed = [alpha * float(emotion[i] == emotion[j])
                      + (1 - alpha) * float(gender[i] == gender[j]) for j in range(count)]
            whole = torch.stack(logits).exp().sum()
            wanted = torch.tensor(agreed).exp().sum()
            for j in range(count):
                target = torch.tensor(agreed[j]).exp() / wanted
                total = total + target * (target.log() - logits[j] + whole.log())
    return total / (2 * count)


def as_matrices(
    audio: Tensor, text: Tensor, scales: Tensor, emotion: Tensor, gender: Tensor, alpha: float
) -> Tensor:
    """Return the same loss with the library's divergence."""
    same = (emotion[:, None] == emotion[None]).float()
    other = (gender[:, None] == gender[None]).float()
    target = (alpha * same + (1 - alpha) * other).softmax(-1)
    parts = [F.kl_div((scale * rows @ columns.T).log_softmax(-1), target, reduction="batchmean")
             for rows, columns, scale in ((audio, text, scales[0]), (text, audio, scales[1]))]
    return (parts[0] + parts[1]) / 2


def classify(model: LanguageAudio, inputs: Tensor, prompts: tuple[Tensor, Tensor]) -> Tensor:
    """Return the logits (B, K) of utterances, with the prompts encoded anew."""
    audio, classes = LanguageAudio.forward(model, inputs, None, *prompts)
    return model.logits(audio, classes)
