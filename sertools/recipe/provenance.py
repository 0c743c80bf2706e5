"""Where a result comes from: command, commit, versions."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from sertools.recipe.config import Config
from sertools.recipe.options import Options
from sertools.recipe.places import Places
from sertools.recipe.stage import NAMES

PACKAGES = ("sertools", "torch", "torchaudio", "speechbrain", "transformers", "numpy")
GENERATED = (":(exclude)*RESULTS.md", ":(exclude)*results.json", ":(exclude)*report.html")


@functools.cache
def code(folder: Path) -> dict:
    """Return the commit of the checkout around `folder` and whether files differ from it."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {"git": None, "dirty": None}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", *GENERATED)
    return {"git": commit, "dirty": bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run([program, "-C", str(folder), *words], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def reproduce(options: Options, config: Config, places: Places, hashed: set[str]) -> str:
    """Return the command that makes the same results, without paths of this machine."""
    path = config.path.absolute()
    words = ["python", "run.py", places.shown(path) if places.inside(path) else path.name]
    if "data_folder" in config.changed:
        words += ["--data_folder", "DATA_FOLDER"]
    for key, text in sorted(options.overrides.items()):
        if key.split(".")[0].replace("-", "_") in hashed:
            words += [f"--{key}={text}"] if text.startswith("--") else [f"--{key}", text]
    if options.fold is not None:
        words += ["--fold", options.fold]
    if options.seed is not None:
        words += ["--seed", str(options.seed)]
    return shlex.join(words)


def resume(script: str, arguments: list[str], stage: int) -> str:
    """Return the command that goes on, beginning at `stage` if the last one forced an earlier."""
    words, rest = [sys.executable, script], list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if name == "--stage":
            rest[:0 if equals else 1] = []
            words += ["--stage", NAMES[stage]]
        else:
            words.append(word)
    return shlex.join(words)
