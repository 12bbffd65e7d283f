"""`homerec report`."""

from __future__ import annotations

from pathlib import Path


def report(run: Path, /) -> int:
    """Write the report.html of a run, study or search.

    Args:
        run: folder of the run, study or search, such as runs/NAME.
    """
    from pipeline.experiments.rolling.file_types import is_rolling, load_rolling
    from pipeline.experiments.rolling.report import write_rolling_report
    from pipeline.experiments.search_report import FOUND, read_found, write_tune_report
    from pipeline.experiments.study import NAME, load_study
    from pipeline.experiments.study_report import write_study_report
    from pipeline.io.files import has_file
    from pipeline.report.run_report import write_report

    if is_rolling(run):
        path = write_rolling_report(run, load_rolling(run))
    elif has_file(run / NAME):
        path = write_study_report(run, load_study(run))
    elif has_file(run / FOUND):
        path = write_tune_report(run, read_found(run))
    else:
        path = write_report(run)
    print(path)  # noqa: T201
    return 0
