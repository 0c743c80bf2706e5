#!/usr/bin/env python
"""Show the results of experiments in one table, best first if asked.

python utils/show_results.py                            every experiment below this folder
python utils/show_results.py exp/small exp/large        these two
python utils/show_results.py --sort UA --markdown       for a paper or a README
python utils/show_results.py egs/emodb --write egs/emodb/RESULTS.md
"""

import argparse
import signal
import sys
from pathlib import Path

from sertools.errors import UserError
from sertools.files import write_text
from sertools.report import text
from sertools.report.collect import find_results, read_results, sort_results, to_csv
from sertools.report.markdown import many_experiments, render
from sertools.report.students import students
from sertools.report.tables import brief_table, by_standing, experiments_table
from sertools.report.terminal import is_narrow, print_tables


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        several = read_results(find_results(options.places))
        if options.sort:
            several = sort_results(several, options.sort)
        if options.write:
            print(write_text(options.write, many_experiments(several, options.title)))
        else:
            show(several, options)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def show(several: list[dict], options: argparse.Namespace) -> None:
    """Print experiments in the form that the options ask for."""
    if options.csv:
        print(to_csv(several), end="")
        return
    groups = by_standing(several)
    if options.markdown:
        tables = [experiments_table(chosen, title) for title, chosen in groups]
        print("\n\n".join(f"**{table.title}**\n\n{render(table)}" for table in tables))
        return
    tables = [brief_table(chosen, title, is_narrow()) for title, chosen in groups]
    notes = [f"{r['experiment']['system']}: {note}" for r in several for note in text.notes(r)]
    print_tables(tables, [*intervals_told(several), *students(several)], notes)


def intervals_told(several: list[dict]) -> list[str]:
    """Say how the intervals were made, once for each way, and what the chance level is."""
    ways = dict.fromkeys(text.interval_note(results) for results in several)
    guessed = any(results.get("chance") for results in several)
    return [*ways, *(["chance is reached by always the same answer."] if guessed else [])]


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    formatter = argparse.RawDescriptionHelpFormatter
    result = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    result.add_argument("places", nargs="*", type=Path, help="results.json files or folders")
    result.add_argument("--sort", metavar="METRIC", help="best first by UA, WA, MF1, CCC, ...")
    form = result.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    form.add_argument("--csv", action="store_true", help="print all digits, comma separated")
    form.add_argument("--write", metavar="FILE", type=Path, help="write a RESULTS.md with commands")
    result.add_argument("--title", default="Results", help="heading of that file")
    return result


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())
