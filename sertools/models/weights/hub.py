"""Files of a model on the Hugging Face hub, or in its local cache."""

from sertools.hub import fetch

__all__ = ["fetch"]
