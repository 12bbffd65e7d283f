"""`homerec launch`, but that its ranks run `benchmarks.kills.dying`, and know whom to stop."""

from __future__ import annotations

import os
import sys

from launchers.cli import launch
from launchers.cli.main import main

if __name__ == "__main__":
    os.environ["HOMEREC_LAUNCHER"] = str(os.getpid())
    launch.RANK_MODULE = "benchmarks.kills.dying"
    sys.exit(main(["launch", *sys.argv[1:]]))
