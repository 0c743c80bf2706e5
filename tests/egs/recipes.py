"""Run recipes as their user does: by command line, in a copy of the repository's folders."""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def copy_recipe(repository: Path, name: str, folder: Path) -> Path:
    """Copy egs/<name> and the shared hparams below `folder`; return the recipe's folder."""
    shutil.copytree(repository / "hparams", folder / "hparams", dirs_exist_ok=True)
    leave = shutil.ignore_patterns("data", "dump", "exp", "downloads", "__pycache__")
    target = folder / "egs" / name
    return Path(shutil.copytree(repository / "egs" / name, target, ignore=leave))


def run_recipe(recipe: Path, *arguments: object, code: int = 0, timeout: float = 280) -> str:
    """Run `run.py` with arguments, check its exit code and return everything it printed."""
    result = subprocess.run(
        [sys.executable, "run.py", *map(str, arguments)], cwd=recipe, text=True, timeout=timeout,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == code, result.stdout
    return result.stdout


def run_here(recipe: Path, *arguments: object, code: int = 0) -> str:
    """Do the same in this process, for many runs that are short."""
    import sertools.stages

    sys.modules.pop("prepare", None)
    sys.path.insert(0, str(recipe))
    before, said = Path.cwd(), io.StringIO()
    os.chdir(recipe)
    try:
        importlib.reload(sertools.stages)  # its modules hide factories of the same name
        spec = importlib.util.spec_from_file_location("recipe_run", recipe / "run.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found = module.recipe.run([str(word) for word in arguments])
    finally:
        os.chdir(before)
        sys.path.remove(str(recipe))
        sys.modules.pop("prepare", None)
    assert found == code, said.getvalue()
    return said.getvalue()


def results_of(recipe: Path, tag: str = "*") -> dict:
    """Return results.json of the only experiment whose tag matches."""
    (path,) = recipe.glob(f"exp/{tag}/report/results.json")
    return json.loads(path.read_text())
