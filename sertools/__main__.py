"""`python -m sertools`."""

import sys

from sertools.cli import main

sys.exit(main())
