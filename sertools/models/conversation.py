"""From the turns of a conversation so far to the emotion of the next one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sertools.models.heads import valid_frames
from torch import Tensor, nn


class NextTurnHead(nn.Module):
    """Read the turns before a turn in their order and say what that turn will be.

    A recurrent network of gated units and a linear layer on its state after the last turn: the
    model of emotion prediction in conversation of emotion2vec (Ma et al. 2023, arXiv 2312.15185:
    two layers over the previous six turns; its width and dropout are not published).

    Args:
        num_layers: layers of the upstream that `forward` gets; the last one is read.
        dim: width D of a turn.
        num_outputs: classes.
        hidden: width of the recurrent network.
        layers: its depth.
        dropout: share dropped between its layers and before the output, in training.
        parts: widths of the vectors that make up a turn, D together, such as one of speech and one
            of text; each is projected linearly, and the projections are concatenated for the
            network (our choice). None: the network reads the turn as it is.
        projection: width of each projection.
    """

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_outputs: int,
        hidden: int = 256,
        layers: int = 2,
        dropout: float = 0.0,
        parts: Sequence[int] | None = None,
        projection: int = 256,
    ):
        super().__init__()
        self.num_layers, self.parts = num_layers, None if parts is None else list(parts)
        self.projections = None
        if parts is not None:
            self.projections = nn.ModuleList(nn.Linear(part, projection) for part in parts)
            dim = projection * len(parts)
        self.recurrent = nn.GRU(
            dim, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, num_outputs)

    def forward(self, turns: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs (B, num_outputs) for the turn after the last one.

        What stands behind a conversation's own turns never matters: the network reads forward, and
        its state is taken before it gets there.

        Args:
            turns: (B, N, T, D), oldest first, padded on the right; any floating type.
            lengths: turns of each conversation, long (B,), 1 or more.
        """
        values = turns[:, -1].to(self.output.weight.dtype)
        values = values.masked_fill(~valid_frames(lengths, values.shape[1])[..., None], 0)
        if self.projections is not None:
            pairs = zip(self.projections, values.split(self.parts, -1), strict=True)
            values = torch.cat([project(part) for project, part in pairs], -1)
        states, _ = self.recurrent(values)
        last = states[torch.arange(len(states), device=states.device), lengths - 1]
        return self.output(self.dropout(last))
