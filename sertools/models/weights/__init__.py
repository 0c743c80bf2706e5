"""Official checkpoint formats, read into our own encoder without running code in them."""

from sertools.models.weights.folders import save_encoder
from sertools.models.weights.load import load_encoder

__all__ = ["load_encoder", "save_encoder"]
