"""`python -m pipeline.report RUN`: write a run's report.html and print its path."""

import sys
from pathlib import Path

from pipeline.io.errors import UserError
from pipeline.report.run_report import write_report

if __name__ == "__main__":
    try:
        sys.stdout.write(f"{write_report(Path(sys.argv[1]))}\n")
    except (UserError, OSError) as error:
        sys.exit(str(error))
