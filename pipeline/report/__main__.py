"""`python -m pipeline.report RUN`: write a run's report.html."""

import sys
from pathlib import Path

from pipeline.io.errors import UserError
from pipeline.report.run_report import write_report

if __name__ == "__main__":
    try:
        write_report(Path(sys.argv[1]))
    except (UserError, OSError) as error:
        sys.exit(str(error))
