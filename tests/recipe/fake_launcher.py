"""Starts the rest of its command line in N processes, as torchrun would: `N script arguments`."""

import os
import subprocess
import sys

count = int(sys.argv[1])
children = [
    subprocess.Popen([sys.executable, *sys.argv[2:]],
                     env={**os.environ, "RANK": str(rank), "WORLD_SIZE": str(count)})
    for rank in range(count)
]
sys.exit(max(child.wait() for child in children))
