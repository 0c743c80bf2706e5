#!/usr/bin/env python
"""Say whether two experiments on the same utterances differ: paired, over speakers.

python utils/compare.py egs/emodb/exp/scratch egs/emodb/exp/classical
"""

import argparse
import sys
from pathlib import Path

from sertools.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("first", type=Path, help="folder of an experiment, exp/<tag>")
    parser.add_argument("second", type=Path, help="folder of the one it is compared with")
    options = parser.parse_args(arguments)

    from sertools.report.compare import compare, comparison_table
    from sertools.report.terminal import print_tables

    try:
        result = compare(options.first, options.second)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    below = [result["reason"]] if result["reason"] else [
        f"{result['draws']} bootstrap draws over {result['clusters']} {result['unit']}s, the same "
        "for both; p is two-sided"
    ]
    print_tables([comparison_table(result, options.first.name, options.second.name)], below, [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
