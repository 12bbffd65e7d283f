"""`homerec launch` as it is, but that its ranks run tests.launchers.cli.job."""

import argparse
import sys

from launchers.cli import launch

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    parser.set_defaults(module="tests.launchers.cli.job")
    sys.exit(launch.run(parser.parse_args()))
