"""`python -m sertools COMMAND`: what is useful outside a recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sertools import __version__
from sertools.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sertools", description=__doc__)
    parser.add_argument("--version", action="version", version=f"sertools {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    doctor = commands.add_parser(
        "doctor", help="print versions and devices, and what is wrong with the environment"
    )
    doctor.set_defaults(command=_doctor)

    info = commands.add_parser(
        "info", help="print a model's parameters by part and its cost per second of audio"
    )
    info.add_argument("model", help="a preset (wavlm_large, ...), a YAML file or a checkpoint")
    info.add_argument("--seconds", type=float, default=10.0, help="length counted at (default: 10)")
    info.add_argument("--json", action="store_true", help="print JSON instead of a table")
    info.set_defaults(command=_info)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    from sertools.doctor import main as doctor

    return doctor()


def _info(options: argparse.Namespace) -> int:
    from sertools.info import print_account

    print_account(options.model, seconds=options.seconds, as_json=options.json)
    return 0
