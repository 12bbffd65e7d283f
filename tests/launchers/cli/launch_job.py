"""`homerec launch` as it is, but that its ranks run tests.launchers.cli.job."""

import sys

from launchers.cli import launch
from launchers.cli.main import main

if __name__ == "__main__":
    launch.RANK_MODULE = "tests.launchers.cli.job"
    sys.exit(main(["launch", *sys.argv[1:]]))
