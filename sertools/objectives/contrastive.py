"""Contrastive learning of sound and sentences with soft targets: GEmo-CLAP (arXiv 2306.07848).

The authors released no code. The equations are those of the only public transcription, which cites
the paper's numbers: 4 (Emo-CLAP), 6 (ML-GEmo-CLAP) and 7 (SL-GEmo-CLAP).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sertools.errors import ConfigError
from torch import Tensor

MODELS = ("emo", "ml", "sl")
TARGETS = ("softmax", "row_normalised")
DIVERGENCES = ("kl", "symmetric_kl", "infonce")
GENDER_LOGITS = ("shared", "separate")
SOFT_SOURCES = ("gender", "annotators")
_LOWEST = 0.02
"""Below it exp(-1 / temperature) is next to nothing, and the KL divergence to it without bound."""


def agreement(labels: Tensor) -> Tensor:
    """Return how far the items of a batch agree, (B, B) float32, symmetric, 1 on the diagonal.

    Args:
        labels: long (B,): 1 where two are equal, else 0; or floating (B, K), distributions over K
            classes (rows sum to 1): their overlap, sum over k of min(p_ik, p_jk), which is the same
            for rows that are one-hot.
    """
    if not labels.is_floating_point():
        return (labels[:, None] == labels[None]).float()
    labels = labels.float()
    return torch.minimum(labels[:, None], labels[None]).sum(-1)


def soft_targets(agreement: Tensor, how: str = "softmax", temperature: float = 1.0) -> Tensor:
    """Return targets (B, B) whose rows sum to 1.

    Args:
        agreement: (B, B), 1 on the diagonal.
        how: "softmax" of agreement / temperature over each row; "row_normalised" divides each row
            by its sum.
        temperature: of the softmax; a low one makes the targets sharp.
    """
    if how == "softmax":
        return (agreement / temperature).softmax(-1)
    return agreement / agreement.sum(-1, keepdim=True)


def divergence(targets: Tensor | None, logits: Tensor, kind: str = "kl") -> Tensor:
    """Return how far softmax(logits) is from the targets, mean over the rows, scalar.

    Args:
        targets: T, (B, B), rows sum to 1; not looked at for "infonce".
        logits: (B, B), with P their softmax over each row.
        kind: "kl" is KL(T; P) = sum_j T_ij log(T_ij / P_ij); "symmetric_kl" half of
            KL(T; P) + KL(P; T), infinite where a target is 0; "infonce" the cross-entropy with one
            target per row, the item itself (CLIP, arXiv 2103.00020).
    """
    if kind == "infonce":
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
    log = logits.log_softmax(-1)
    forward = (torch.xlogy(targets, targets) - targets * log).sum(-1).mean()
    if kind == "kl":
        return forward
    backward = (log.exp() * (log - targets.log())).sum(-1).mean()
    return (forward + backward) / 2


@dataclass(frozen=True)
class ContrastiveObjective:
    """The loss of Emo-CLAP, ML-GEmo-CLAP or SL-GEmo-CLAP over a whole batch.

    With E_a, E_t the unit vectors of sound and sentence of each item, M_e and M_g the agreement in
    emotion and attribute, S that of `soft_targets`, D the divergence:

        C_a = scale_audio E_a E_t^T, C_t = scale_text E_t E_a^T
        L(T) = (D(T; C_a) + D(T; C_t)) / 2

        emo   L(S(M_e))                                     equation 4
        ml    alpha L(S(M_e)) + (1 - alpha) L(S(M_g))       equation 6
        sl    L(S(alpha M_e + (1 - alpha) M_g))             equation 7

    With shared logits ml and sl differ only by where S is taken, since KL is affine in its target
    up to a constant.

    Raises:
        ConfigError: options that are unknown or do not go together; all are listed.
    """

    model: str = "sl"
    """emo, ml or sl."""
    alpha: float = 0.9
    """Weight of emotion, 0 to 1; not looked at for emo. The paper's value is not known."""
    target: str = "softmax"
    """softmax or row_normalised: how agreement becomes a target; see `soft_targets`."""
    target_temperature: float = 1.0
    """Of the softmax, above 0."""
    divergence: str = "kl"
    """kl, symmetric_kl or infonce. The last is plain CLIP: it looks at no target, and therefore at
    no attribute unless the attribute has logits of its own."""
    gender_logits: str = "shared"
    """shared: L(S(M_g)) of ml is on C_a and C_t; separate: on logits of sound and the sentences
    that name the attribute, with scales of their own."""
    soft_source: str = "gender"
    """gender: M_g of sl is agreement in the attribute; annotators: the overlap of the annotators'
    distributions stands in its place. With alpha 0 that overlap is all there is."""

    def __post_init__(self):
        problems = [
            f"{name} is {getattr(self, name)!r}: use {', '.join(known)}"
            for name, known in (
                ("model", MODELS), ("target", TARGETS), ("divergence", DIVERGENCES),
                ("gender_logits", GENDER_LOGITS), ("soft_source", SOFT_SOURCES),
            ) if getattr(self, name) not in known
        ]  # fmt: skip
        problems += [] if problems else self._contradictions()
        if not 0 <= self.alpha <= 1:
            problems.append(f"alpha is {self.alpha}: use 0 to 1")
        if not self.target_temperature > 0:
            problems.append(f"target_temperature is {self.target_temperature}: use more than 0")
        if problems:
            raise ConfigError("the contrastive objective cannot be as configured", problems)

    def _contradictions(self) -> list[str]:
        normalised = self.target == "row_normalised"
        symmetric = self.divergence == "symmetric_kl"
        cold = 0 < self.target_temperature < _LOWEST
        wrong = {
            f"gender_logits is separate, model {self.model}: only ml has a loss of its own for the "
            "attribute": self.gender_logits == "separate" and self.model != "ml",
            f"soft_source is annotators, model {self.model}: only sl has such a target":
                self.soft_source == "annotators" and self.model != "sl",
            f"target_temperature is {self.target_temperature}, target row_normalised: only softmax "
            "has a temperature": normalised and self.target_temperature != 1,
            "divergence is symmetric_kl, target row_normalised: it is infinite where a target is "
            "0; use softmax": normalised and symmetric,
            f"divergence is symmetric_kl, target_temperature {self.target_temperature}: targets "
            f"would be 0 and it infinite; use {_LOWEST} or more": cold and symmetric,
        }  # fmt: skip
        return [problem for problem, given in wrong.items() if given]

    @property
    def needs_attribute(self) -> bool:
        """Say whether the items' attribute, or the sentence that names it, has any effect."""
        if self.model == "emo" or self.alpha == 1:
            return False
        if self.model == "ml" and self.gender_logits == "separate":
            return True
        return self.divergence != "infonce" and self.soft_source == "gender"

    @property
    def needs_attribute_text(self) -> bool:
        """Say whether sentences that name the attribute, and scales for them, have any effect."""
        return self.needs_attribute and self.gender_logits == "separate"

    @property
    def needs_distributions(self) -> bool:
        """Say whether the annotators' distributions have any effect."""
        annotators = self.soft_source == "annotators" and self.alpha < 1
        return annotators and self.divergence != "infonce"

    def __call__(
        self,
        audio: Tensor,
        text: Tensor,
        scales: Tensor,
        emotion: Tensor,
        attribute: Tensor | None = None,
        distributions: Tensor | None = None,
        attribute_text: Tensor | None = None,
        attribute_scales: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, scalar float32 whatever autocast says; no value is read.

        Args:
            audio: E_a (B, D), unit vectors.
            text: E_t (B, D), those of each item's emotion.
            scales: (2,), of C_a and C_t, not logarithms.
            emotion: long (B,).
            attribute: long (B,); needed if `needs_attribute`.
            distributions: (B, K), rows sum to 1; needed if `needs_distributions`.
            attribute_text: (B, D) of each item's attribute; needed if `needs_attribute_text`.
            attribute_scales: (2,); needed if `needs_attribute_text`.
        """
        with torch.autocast(audio.device.type, enabled=False):
            same = agreement(emotion)
            if self.model == "sl" and (self.needs_attribute or self.needs_distributions):
                other = distributions if self.needs_distributions else attribute
                same = self.alpha * same + (1 - self.alpha) * agreement(other)
            loss = self._loss(same, audio, text, scales)
            if self.model != "ml" or not self.needs_attribute:
                return loss
            if self.needs_attribute_text:
                text, scales = attribute_text, attribute_scales
            other = self._loss(agreement(attribute), audio, text, scales)
            return self.alpha * loss + (1 - self.alpha) * other

    def _loss(self, same: Tensor, audio: Tensor, text: Tensor, scales: Tensor) -> Tensor:
        """Return L of the targets for this agreement (B, B)."""
        targets = soft_targets(same, self.target, self.target_temperature)
        cosine, scales = audio.float() @ text.float().T, scales.float()
        parts = [divergence(targets, scale * logits, self.divergence)
                 for scale, logits in zip(scales, (cosine, cosine.T), strict=True)]
        return (parts[0] + parts[1]) / 2
