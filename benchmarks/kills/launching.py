"""`homerec launch`, but that its ranks run `benchmarks.kills.dying`, and know whom to stop."""

from __future__ import annotations

import argparse
import os
import sys

from launchers.cli import launch

if __name__ == "__main__":
    os.environ["HOMEREC_LAUNCHER"] = str(os.getpid())
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    parser.set_defaults(module="benchmarks.kills.dying")
    sys.exit(launch.run(parser.parse_args()))
