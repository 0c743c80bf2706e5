"""sertools: recipes that reproduce, compare and use speech emotion recognition research."""

from sertools import _torchaudio_guard

__version__ = "0.1.0"

_torchaudio_guard.install()
