"""The command line: few fixed flags, everything else is a key of the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sertools.errors import ConfigError
from sertools.recipe.stage import number_of
from sertools.recipe.words import nearest

HELP = """usage: python run.py CONFIG [options] [--key value ...]

{title}

CONFIG is a file such as hparams/x.yaml; it is looked for in the current folder, then in the
recipe's folder, then in the repository's hparams/. Running the same command again goes on where
the last run stopped and does nothing twice.

Which stages (numbers and names are both understood, see --list-stages):
  --stage S          begin at stage S and run it even if it is done
  --stop-stage S     end after stage S
  --fold K|all       only fold K (folds may run as jobs side by side); default all
  --seed N           only seed N of the key `seeds`
  --force            begin at --stage although an earlier stage is not up to date
  --verify           compare large files by their full hash, not by size and time

How:
  --nproc N          processes for the parallel stages, through torchrun; default 1
  --launcher "..."   start parallel stages with this instead, e.g. "srun torchrun --nnodes 2"
  --data-dir, --dump-dir, --exp-dir DIR   places of data/, dump/ and exp/

Looking only:
  --list-stages      what each stage does
  --dry-run          what would run, and why; touches nothing
  --help             this text

Any other --key value (or --key=value, or --section.key value) replaces a key of CONFIG; the value
gets the type that the key has there; `null` empties a key. Dashes and underscores are the same.

Exit codes: 0 done or nothing to do, 2 usage or configuration, 3 data, 4 interrupted (the last line
is the command that goes on), 1 a bug (with a traceback).
"""

FOLD = re.compile(r"[A-Za-z0-9_+-]+")
"""Names of folds; they become names of folders."""

SWITCHES = ("force", "verify", "list_stages", "dry_run", "help")
VALUES = ("stage", "stop_stage", "fold", "seed", "nproc", "launcher",
          "data_dir", "dump_dir", "exp_dir")
HIDDEN = ("worker", "unit")
"""Flags that the engine passes to the processes it starts."""


@dataclass
class Options:
    """What the command line said."""

    config: str | None = None
    stage: int | None = None
    stop_stage: int = 7
    fold: str | None = None
    seed: int | None = None
    nproc: int = 1
    launcher: str | None = None
    data_dir: str | None = None
    dump_dir: str | None = None
    exp_dir: str | None = None
    force: bool = False
    verify: bool = False
    list_stages: bool = False
    dry_run: bool = False
    help: bool = False
    worker: str | None = None
    unit: str | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    """Dotted config key -> text, as typed; the last one of a key counts."""


def parse(argv: list[str]) -> Options:
    """Read a command line.

    Raises:
        ConfigError: listing everything that cannot be understood.
    """
    options, problems, rest = Options(), [], list(argv)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "-help"):
            word = "--help"
        if not word.startswith("--"):
            _positional(options, word, problems)
            continue
        name, equals, value = word[2:].partition("=")
        flag = name.replace("-", "_")
        if flag in SWITCHES:
            if equals:
                problems.append(f"--{name} takes no value")
            setattr(options, flag, True)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                problems.append(f"{word} needs a value: {word} VALUE, or {word}=VALUE"
                                + nearest(flag, SWITCHES + VALUES))
                continue
            value = rest.pop(0)
        if flag in VALUES + HIDDEN:
            _set(options, flag, value, problems)
        else:
            options.overrides[name] = value
    if options.stage is not None and options.stage > options.stop_stage:
        problems.append("--stage comes after --stop-stage: there is nothing between them")
    if problems:
        raise ConfigError("the command line cannot be understood", problems,
                          "see --help for the options")
    return options


def _positional(options: Options, word: str, problems: list[str]) -> None:
    if word.startswith("-") and len(word) > 1:
        problems.append(f"{word}: options begin with two dashes (-{word})")
    elif options.config is not None:
        problems.append(f"{word}: the config is the only plain argument, and it is already "
                        f"{options.config}; write other settings as --key value")
    else:
        options.config = word


def _set(options: Options, flag: str, value: str, problems: list[str]) -> None:
    dashed = "--" + flag.replace("_", "-")
    try:
        if flag in ("stage", "stop_stage"):
            setattr(options, flag, number_of(value, dashed))
        elif flag in ("nproc", "seed"):
            number = int(value)
            if flag == "nproc" and number < 1:
                raise ValueError
            setattr(options, flag, number)
        elif flag == "fold":
            if not FOLD.fullmatch(value):
                raise ConfigError(f"--fold {value}: this is not the name of a fold")
            options.fold = None if value == "all" else value
        else:
            setattr(options, flag, value)
    except ConfigError as error:
        problems.append(error.summary)
    except ValueError:
        problems.append(f"{dashed} {value}: a whole number is expected")
