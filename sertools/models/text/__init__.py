"""Text encoders: tokens in, one vector per token out, whatever they are padded with."""

from sertools.models.text.base import TextEncoder, pool_text
from sertools.models.text.own import SmallText, small_text
from sertools.models.text.pretrained import TransformersText, load_text

__all__ = [
    "SmallText", "TextEncoder", "TransformersText", "load_text", "pool_text", "small_text",
]  # fmt: skip
