"""A small Transformer as the head: frames of an utterance to one vector of outputs."""

from __future__ import annotations

from collections.abc import Sequence

from sertools.models.config import EncoderConfig
from sertools.models.encoder import Block, key_mask
from sertools.models.heads import LayerReader, masked_mean, valid_frames
from sertools.models.position import build_position, silence
from torch import Tensor, nn


class TransformerHead(LayerReader):
    """Give the frames a position, run some blocks, average the valid frames, map to the outputs.

    This is the second downstream model of the code released with Vesper (Chen et al. 2024, IEEE
    Trans. Affective Computing, arXiv 2307.10757): a convolution for position, pre-norm blocks as
    wide as the frames, LayerNorm, mean, and three linear layers of D, D/2 and D/4 inputs. There the
    mean is over padding too; here the outputs of an utterance do not depend on it.

    Args:
        num_layers, layers: what it hears, see `LayerReader`.
        dim: width D of a frame, and of the blocks.
        num_outputs: classes, or affect dimensions.
        depth: number of blocks.
        num_heads: attention heads per block.
        ffn_dim: inner width of the feed-forward networks.
        position_kernel: frames that the convolution for position sees.
        position_groups: its groups.
        dropout: share dropped in attention, in and after the two parts of a block, and between the
            last linear layers.

    Raises:
        ConfigError: sizes that do not fit together, or a layer that does not exist.
    """

    linear_before_pooling = False
    """Every frame is needed; pooled ones would say something else."""

    def __init__(
        self,
        num_layers: int,
        dim: int,
        num_outputs: int,
        layers: str | int | Sequence[int] = "weighted_sum",
        depth: int = 4,
        num_heads: int = 8,
        ffn_dim: int = 512,
        position_kernel: int = 128,
        position_groups: int = 16,
        dropout: float = 0.1,
    ):
        super().__init__(num_layers, layers)
        config = EncoderConfig(
            dim=dim, num_layers=depth, num_heads=num_heads, ffn_dim=ffn_dim, block_norm="pre",
            position="conv", position_kernel=position_kernel, position_groups=position_groups,
            dropout=dropout, attention_dropout=dropout, activation_dropout=dropout,
        )
        self.position = build_position(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        widths = (dim, dim // 2, dim // 4)
        self.output = nn.Sequential(
            *(layer for wide, narrow in zip(widths, widths[1:], strict=False)
              for layer in (nn.Linear(wide, narrow), nn.GELU(), nn.Dropout(dropout))),
            nn.Linear(widths[-1], num_outputs),
        )

    def forward(self, hidden: Tensor | Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Return the outputs (B, num_outputs), float32 outside autocast.

        Args:
            hidden: (B, N, T, D), or N tensors (B, T, D); any floating type.
            lengths: valid frames, long (B,), 1 or more.
        """
        layers = [layer.to(self.norm.weight.dtype) for layer in self.read(hidden)]
        valid = valid_frames(lengths, layers[0].shape[1])[..., None]
        x = self.merge([silence(layer, valid) for layer in layers])
        x = x + self.position(x, valid)
        mask = key_mask(valid, 0)
        for block in self.blocks:
            x, _ = block(x, None, mask)
        return self.output(masked_mean(self.norm(x), lengths))
