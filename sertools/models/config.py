"""What a speech encoder is made of, as plain values that YAML and JSON can hold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sertools.errors import ConfigError

WAV2VEC_CONVS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
"""(kernel, stride) of the seven convolutions that wav2vec 2.0 and its relatives share: 50 Hz."""

_CHOICES = {
    "frontend": ("conv", "mel"),
    "conv_norm": ("layer", "group"),
    "mel_norm": ("utterance", "bin"),
    "position": ("conv", "stack", "depthwise", "none"),
    "block_norm": ("pre", "post"),
    "bias": ("none", "gated", "alibi"),
    "attention": ("auto", "fused", "explicit"),
}


@dataclass(frozen=True)
class EncoderConfig:
    """Describe one encoder; every preset and every weights file comes down to this.

    Raises:
        ConfigError: for unknown choices and impossible sizes, all of them at once.
    """

    frontend: str = "mel"
    """"conv": convolutions on the waveform; "mel": log-mel frames, stacked."""
    sample_rate: int = 16000
    """Samples per second that the encoder expects."""
    normalise_waveform: bool = False
    """Zero mean, unit variance over each utterance's own samples, before anything else."""
    conv_dim: int = 512
    """Channels of the convolutions."""
    conv_norm: str = "layer"
    """"layer": LayerNorm after each convolution; "group": per channel over time, only the first."""
    conv_bias: bool = False
    """Whether the convolutions have biases."""
    convs: tuple[tuple[int, int], ...] = WAV2VEC_CONVS
    """(kernel, stride) of each convolution."""
    projection_norm: bool = True
    """LayerNorm between the convolutions and their projection to the blocks' width."""
    num_mels: int = 80
    """Mel bands per frame of 25 ms every 10 ms."""
    mel_stack: int = 4
    """Neighbouring 10 ms frames that make one frame of the encoder: 4 is 25 Hz, 2 is 50 Hz."""
    mel_norm: str = "utterance"
    """Zero mean, unit variance per utterance over valid frames: of all bands or of each "bin"."""
    dim: int = 256
    """Width of the blocks."""
    num_layers: int = 4
    """Number of Transformer blocks."""
    num_heads: int = 4
    """Attention heads per block."""
    ffn_dim: int = 1024
    """Inner width of the feed-forward networks."""
    block_norm: str = "pre"
    """LayerNorm before ("pre") or after ("post") attention and feed-forward network."""
    input_norm: bool = False
    """LayerNorm between position and the first block."""
    final_norm: bool = True
    """LayerNorm after the last block, in `Encoded.last` only."""
    norm_eps: float = 1e-5
    """Epsilon of all LayerNorms."""
    position: str = "depthwise"
    """What is added to the frames so that they know their order."""
    position_kernel: int = 31
    """Frames that a position convolution sees."""
    position_groups: int = 16
    """Groups of a position convolution ("conv", "stack")."""
    position_depth: int = 5
    """Convolutions of "stack"."""
    bias: str = "none"
    """Additive attention bias: WavLM's gated relative position, ALiBi with a learned scale."""
    num_buckets: int = 320
    """Distances that the gated bias tells apart, both directions together."""
    max_distance: int = 800
    """Frames from which on the gated bias tells no distances apart."""
    extra_tokens: int = 0
    """Learned vectors in front of the frames."""
    mask_embedding: bool = False
    """Whether there is a learned vector for masked frames (only for pretraining)."""
    dropout: float = 0.0
    """Dropout after position, attention and feed-forward network."""
    attention_dropout: float = 0.0
    """Dropout of attention weights."""
    activation_dropout: float = 0.0
    """Dropout inside the feed-forward network."""
    layerdrop: float = 0.0
    """Probability of leaving out a block in training."""
    attention: str = "auto"
    """"fused": PyTorch's fused attention; "explicit": softmax spelled out; "auto": the faster."""

    def __post_init__(self):
        object.__setattr__(self, "convs", tuple(tuple(conv) for conv in self.convs))
        problems = [
            f"{name}: {getattr(self, name)!r}; choose from {', '.join(choices)}"
            for name, choices in _CHOICES.items()
            if getattr(self, name) not in choices
        ]
        problems += self._size_problems()
        if problems:
            raise ConfigError("The encoder cannot be built as configured.", problems)

    def _size_problems(self) -> list[str]:
        problems = []
        for name in ("dim", "num_heads", "ffn_dim", "conv_dim", "num_mels", "mel_stack"):
            if getattr(self, name) < 1:
                problems.append(f"{name}: {getattr(self, name)}; must be positive")
        if problems:
            return problems
        for name in ("num_layers", "extra_tokens"):
            if getattr(self, name) < 0:
                problems.append(f"{name}: {getattr(self, name)}; must be 0 or more")
        if self.dim % self.num_heads:
            problems.append(f"dim: {self.dim} is not divisible by num_heads {self.num_heads}")
        if self.position in ("conv", "stack") and self.dim % self.position_groups:
            problems.append(
                f"dim: {self.dim} is not divisible by position_groups {self.position_groups}"
            )
        if self.bias == "gated" and (self.num_buckets < 4 or self.num_buckets % 4):
            problems.append(f"num_buckets: {self.num_buckets}; must be a multiple of 4")
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name}: {getattr(self, name)}; must be in [0, 1)")
        return problems

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """(kernel, stride) in samples of every step from waveform to frames."""
        if self.frontend == "conv":
            return self.convs
        window, hop = self.sample_rate // 40, self.sample_rate // 100
        return ((window + hop * (self.mel_stack - 1), hop * self.mel_stack),)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        hop = 1
        for _, stride in self.windows:
            hop *= stride
        return hop

    @property
    def receptive_field(self) -> int:
        """Samples that one frame of the front end sees."""
        field = 1
        for kernel, stride in reversed(self.windows):
            field = (field - 1) * stride + kernel
        return field

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    def frames(self, samples):
        """Return how many frames `samples` (int or integer tensor) give: at least one.

        Utterances shorter than the receptive field are zero-padded up to it.
        """
        longer = samples - self.receptive_field
        longer = max(longer, 0) if isinstance(samples, int) else longer.clamp(min=0)
        return longer // self.hop + 1

    def to_dict(self) -> dict[str, Any]:
        """Return all values as plain JSON-ready data."""
        values = dataclasses.asdict(self)
        values["convs"] = [list(conv) for conv in self.convs]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: str = "configuration") -> EncoderConfig:
        """Build from plain data.

        Raises:
            ConfigError: for keys that no encoder has; the message names `origin`.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(
                f"{origin}: unknown settings of an encoder.",
                [f"{name}: {values[name]!r}" for name in unknown],
                f"known settings are {', '.join(sorted(known))}",
            )
        return cls(**values)
