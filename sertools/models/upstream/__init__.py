"""Pretrained encoders behind one face, whoever wrote them: frozen if wanted, and identifiable."""

from sertools.models.upstream.base import Upstream
from sertools.models.upstream.load import load_upstream
from sertools.models.upstream.own import OwnUpstream, untrained_upstream

__all__ = ["OwnUpstream", "Upstream", "load_upstream", "untrained_upstream"]
