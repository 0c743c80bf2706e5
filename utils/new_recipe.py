#!/usr/bin/env python3
"""Make egs/NAME from egs/TEMPLATE, ready for a corpus of your own."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from sertools.errors import ConfigError
from sertools.files import publish

EGS = Path(__file__).resolve().parents[1] / "egs"
TEMPLATE = "TEMPLATE"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt")
                                         for n in range(1, 10))}
"""Names that Windows keeps for devices."""
RESULTS = ("__pycache__", "data", "dump", "exp", "downloads", "RESULTS.md", "results.json",
           "report.html", ".*")
"""What runs leave behind; it is not copied."""
STEPS = """made {folder}

1. Put the audio and a metadata.csv into one folder, or rewrite {name}/prepare.py.
2. Edit {name}/hparams/corpus.yaml: classes, label map, expected counts.
3. Check the data:  cd {folder} && python run.py hparams/scratch.yaml --data_folder <folder> \
--stop-stage prepare
4. Train and score: python run.py hparams/scratch.yaml --data_folder <folder>"""


def known_recipes(egs: Path) -> list[str]:
    """Return the names of the recipes in a folder."""
    return sorted(path.parent.name for path in egs.glob("*/run.py") if path.parent.name != TEMPLATE)


def new_recipe(name: str, egs: Path = EGS) -> Path:
    """Copy the template to `egs/name`, with the name in its files, and return the folder.

    Raises:
        ConfigError: the name will not do, or the folder exists.
    """
    recipes = f"recipes there are: {', '.join(known_recipes(egs)) or 'none'}"
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ConfigError(
            f"{name!r} cannot be the name of a recipe", [recipes],
            "use up to 40 small letters, digits and '_', beginning with a letter: my_corpus")
    folder = egs / name
    if folder.exists():
        raise ConfigError(f"{folder} exists already", [recipes], "choose another name")
    if not (egs / TEMPLATE / "run.py").is_file():
        raise ConfigError(f"{egs} holds no {TEMPLATE}", [recipes], "get a whole checkout")
    with publish(folder) as temporary:
        shutil.copytree(egs / TEMPLATE, temporary, ignore=shutil.ignore_patterns(*RESULTS))
        for path in temporary.rglob("*"):
            if path.suffix in (".py", ".yaml", ".md"):
                text = path.read_text(encoding="utf-8")
                path.write_text(text.replace(TEMPLATE, name), encoding="utf-8", newline="\n")
    return folder


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"recipes there are: {', '.join(known_recipes(EGS))}")
    parser.add_argument("name", metavar="NAME", help="small letters, digits and '_'")
    parser.add_argument("--egs", type=Path, default=EGS, metavar="FOLDER",
                        help="folder of the recipes (default: egs of this checkout)")
    arguments = parser.parse_args(argv)
    try:
        folder = new_recipe(arguments.name, arguments.egs)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(STEPS.format(folder=folder, name=arguments.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
