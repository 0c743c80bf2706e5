"""Many small linear heads on the layers of a frozen encoder, trained side by side as one module.

Every parameter begins with the axes (S, L, G): S draws that differ in their seed alone, L layers,
G groups of outputs (affect dimensions, or one group for all classes). The heads share nothing, so
that a sum of their losses trains each as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerHeads(nn.Module):
    """What both kinds have in common: standardised inputs and how weights are drawn.

    Args:
        seeds: one per draw; a draw's weights depend on its own seed alone.
        layers: of the encoder.
        dim: width D of a layer.
        groups: G.
        outputs: O numbers per group.
        own: heads per draw and group: one for every layer, or a single one.
    """

    def __init__(
        self, seeds: Sequence[int], layers: int, dim: int, groups: int, outputs: int, own: int
    ):
        super().__init__()
        shape, bound = (own, groups, dim, outputs), dim**-0.5
        drawn = [torch.rand(shape, generator=torch.Generator().manual_seed(seed))
                 for seed in seeds]
        self.weight = nn.Parameter((2 * torch.stack(drawn) - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(len(seeds), own, groups, outputs))
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("scale", torch.ones(layers, dim))

    def standardise(self, features: Tensor) -> Tensor:
        """Return features (..., L, D) with the mean and scale of the training part taken out.

        What `forward` gets must have gone through it: once, not in every step.
        """
        return (features - self.mean) / self.scale


class LayerProbes(LayerHeads):
    """One linear head for each layer (and draw, and group): `own` is L.

    `learn_scale` gives every feature of every layer unit variance, so that heads of different
    layers learn equally fast.
    """

    def __init__(self, seeds: Sequence[int], layers: int, dim: int, groups: int, outputs: int):
        super().__init__(seeds, layers, dim, groups, outputs, own=layers)

    def learn_scale(self, features: Tensor) -> None:
        """Take mean and standard deviation from the training part (n, L, D)."""
        self.mean.copy_(features.mean(0))
        spread = features.std(0, correction=0)
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs (S, L, G, B, O) of standardised features (S, B, L, D)."""
        return torch.einsum("sbld,slgdo->slgbo", features, self.weight) + self.bias[:, :, :, None]


class LayerMixture(LayerHeads):
    """A softmax over layers for each group, then one linear head on the weighted sum: `own` is 1.

    The layers are only moved to mean 0 and divided by one number for all of them: what a layer's
    values are worth against another's stays as it is.
    """

    def __init__(self, seeds: Sequence[int], layers: int, dim: int, groups: int, outputs: int):
        super().__init__(seeds, layers, dim, groups, outputs, own=1)
        self.mixture = nn.Parameter(torch.zeros(len(seeds), 1, groups, layers))

    def learn_scale(self, features: Tensor) -> None:
        """Take the means, and one scale for all layers, from the training part (n, L, D)."""
        self.mean.copy_(features.mean(0))
        spread = features.var(0, correction=0).mean().sqrt()
        self.scale.fill_(float(spread) if spread > 1e-6 else 1.0)

    @property
    def layer_weights(self) -> Tensor:
        """Return softmax(w), (S, G, L)."""
        return self.mixture.softmax(-1)[:, 0]

    def forward(self, features: Tensor) -> Tensor:
        """Return outputs (S, 1, G, B, O) of standardised features (S, B, L, D)."""
        mixed = torch.einsum("sgl,sbld->sgbd", self.layer_weights, features)
        outputs = torch.einsum("sgbd,sgdo->sgbo", mixed, self.weight[:, 0])
        return outputs[:, None] + self.bias[:, :, :, None]
