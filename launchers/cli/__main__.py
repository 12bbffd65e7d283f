"""`python -m launchers.cli`: the homerec command."""

import sys

from launchers.cli.main import main

sys.exit(main())
