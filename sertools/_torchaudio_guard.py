"""Let `import torchaudio` succeed when its compiled extension does not fit the installed torch.

torchaudio's wheels are linked against one CUDA release. Beside a CPU build of torch, or beside a
torch built for another CUDA release, loading that extension raises and takes `import torchaudio`
(and with it speechbrain) down, although everything sertools uses (resampling, Kaldi features,
model bundles) is pure Python. `import sertools` therefore watches for the import of
`torchaudio._extension` and, if it fails for that reason alone, puts a stand-in in its place that
says "no extension", which torchaudio understands. Nothing is deleted, nothing is imported early.

Without the extension there is no forced alignment, RNN-T loss or CUDA CTC decoder; lfilter and
its relatives fall back to slow Python loops.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import re
import sys
from types import ModuleType

EXTENSION = "torchaudio._extension"

reason: str | None = None
"""Why the extension could not be loaded; None while it is unused or works."""


class _TolerantLoader(importlib.abc.Loader):
    """Runs the real loader; on a binary mismatch fills the module with the stand-in's names."""

    def __init__(self, loader: importlib.abc.Loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        global reason
        try:
            self.loader.exec_module(module)
        except (OSError, RuntimeError) as error:  # missing CUDA library; other CUDA release
            reason = _first_line(error)
            _fill_stand_in(module)


class _ExtensionFinder(importlib.abc.MetaPathFinder):
    """Finds `torchaudio._extension` alone and wraps its loader."""

    def find_spec(self, name, path=None, target=None):
        if name != EXTENSION:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _TolerantLoader(spec.loader)
        return spec


def _fill_stand_in(module: ModuleType) -> None:
    from torchaudio._internal.module_utils import fail_with_message

    refuse = fail_with_message(
        "This needs torchaudio's compiled extension, which does not fit the installed torch "
        f"({reason}). Install a matching pair; `python -m sertools doctor` says which."
    )
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module.fail_if_no_align = refuse


def _first_line(error: Exception) -> str:
    """Return the error's first line, with files named without their folders."""
    return re.sub(r"\S*/", "", str(error).strip().splitlines()[0])


def install() -> None:
    """Start watching for torchaudio's extension; calling it again changes nothing."""
    if not any(isinstance(finder, _ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ExtensionFinder())
